"""A mount with an overlay for tests, and the commands on it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from semantics.mounted import STOP_S, Mounted

COMMAND = ("-m", "oxenfs_cli", "mount", "--foreground", "--overlay")


class OverlayMount(Mounted):
    """A mount of a repository that takes changes. Starts and stops as often as one likes."""

    def __init__(self, folder: Path, address: str, **options: Any) -> None:
        super().__init__(folder, address, command=COMMAND, **options)
        config = self._home / ".config" / "oxen"
        config.mkdir(parents=True, exist_ok=True)
        (config / "user_config.toml").write_text('name = "Ada"\nemail = "ada@example.com"\n')

    def call(self, *words: str) -> tuple[int, str]:
        """Run an oxenfs command; return its exit code and all that it prints."""
        process = self.popen("-m", "oxenfs_cli", *words)
        try:
            said, _ = process.communicate(timeout=4 * STOP_S)
        finally:
            process.kill()
        assert "internal error" not in said, said
        return process.returncode, said

    def status(self) -> list[tuple[str, ...]]:
        """Return the changes: op, path, and the old path of what is renamed."""
        code, said = self.call("status", str(self.dir), "--json")
        assert code == 0, said
        rows = json.loads(said)["changes"]
        return [tuple(row[k] for k in ("op", "path", "old") if row[k] is not None) for row in rows]

    def commit_id(self) -> str:
        """Return the commit that the overlay stands on."""
        code, said = self.call("status", str(self.dir), "--json")
        assert code == 0, said
        found: str = json.loads(said)["commit"]
        return found

    def commit(self, *options: str, message: str = "a commit") -> str:
        """Commit; return the new commit's id."""
        code, said = self.call("commit", str(self.dir), "-m", message, *options)
        assert code == 0, said
        return said.split()[-1]

    def kill_hard(self) -> None:
        """Kill the daemon as a crash would, and take the dead mount away."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(STOP_S)
        self.kill()
        for log in self._home.glob(".local/state/oxenfs/log/*.log"):
            assert "Traceback" not in log.read_text(), log.read_text()


def write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def listed(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))
