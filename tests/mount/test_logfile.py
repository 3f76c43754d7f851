"""Where a mount's log is and how it is written."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from pathlib import Path

from oxenfs import places
from oxenfs.mount import logfile

from .conftest import ROOT

_WRITER = """
import logging, sys, threading
from pathlib import Path
from oxenfs.mount import logfile
logfile._FILE_BYTES = 2000
logfile.start(Path(sys.argv[1]), also_stderr=True)
for number in range(300):
    logging.getLogger("oxenfs.x").info("line %d", number)
logging.getLogger("oxenfs.x").warning("beware of \\udcff")
thread = threading.Thread(target=lambda: 1 / 0)
thread.start()
thread.join()
raise ValueError("nobody catches this")
"""


def _write(path: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", _WRITER, str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        umask=0,
    )
    return done.stderr


def test_it_rotates_and_stays_private(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    _write(log)
    files = sorted(tmp_path.iterdir())
    assert [path.name for path in files] == ["x.log", "x.log.1", "x.log.2", "x.log.3"]
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in files)
    assert all(path.stat().st_size <= 2000 for path in files[1:])


def test_what_nobody_catches_is_in_it_and_one_line_on_the_terminal(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    told = _write(log)
    text = "".join(path.read_text() for path in tmp_path.iterdir())
    assert "ZeroDivisionError" in text
    assert "ValueError: nobody catches this" in text
    assert "beware of \\udcff" in text
    assert "line 299" in text
    assert "Traceback" not in told
    assert "line 299" not in told
    assert "oxenfs: beware of" in told


def test_the_tail_is_one_line(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    assert logfile.tail(log) == ""
    log.write_text("".join(f"{number}\n" for number in range(10_000)))
    assert logfile.tail(log, 2) == "9998 | 9999"


def test_logs_that_nothing_was_written_to_for_long_are_removed() -> None:
    folder = logfile.path_of(Path("/mnt/x")).parent
    assert folder == places.state_dir() / "log"
    old, new = folder / "old.log", folder / "new.log"
    for path, age_days in ((old, 40), (new, 20)):
        path.touch()
        os.utime(path, (time.time() - age_days * 86400,) * 2)
    logfile.path_of(Path("/mnt/x"))
    assert not old.exists()
    assert new.exists()
