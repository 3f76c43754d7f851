"""What the console scripts load before they know what to do: it is paid by every call."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {
    "av",
    "blake3",
    "lmdb",
    "msgpack",
    "numpy",
    "pyfuse3",
    "requests",
    "tqdm",
    "trio",
    "xxhash",
}


def loaded(code: str) -> set[str]:
    """Return the top-level modules that are loaded in a new process after `code`."""
    program = f"{code}\nimport sys\nprint('\\n'.join(sys.modules), file=sys.__stderr__)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    return {name.partition(".")[0] for name in done.stderr.split()}


@pytest.mark.parametrize(
    "code",
    [
        "import oxenfs_cli.main",
        "import oxenfs_cli.main as m; m.main(['--help'])",
        "import oxenfs_cli.main as m; m.main(['--version'])",
        "import oxenfs_cli.main as m; [m.cli.get_command(None, name) for name in m.COMMANDS]",
        "import oxenfs_cli.target, oxenfs.address, oxenfs.mount.registry",
    ],
)
def test_nothing_heavy_is_loaded_at_the_start(code: str) -> None:
    modules = loaded(code)
    assert "oxenfs" in modules
    assert not modules & HEAVY


def test_handing_over_to_the_official_client_loads_next_to_nothing() -> None:
    modules = loaded(
        "import os; os.environ['PATH'] = ''\n"
        "from oxenfs_cli.oxen import main\n"
        "sys_stderr = __import__('sys'); sys_stderr.stderr = open(os.devnull, 'w')\n"
        "assert main(['push']) == 1"
    )
    assert "oxenfs_cli" in modules
    assert not modules & (HEAVY | {"click", "oxenfs", "json"})


def test_the_check_sees_what_is_loaded() -> None:
    assert "numpy" in loaded("import numpy") & HEAVY


@pytest.mark.parametrize("script", ["start", "oxen"])
@pytest.mark.parametrize("module", ["click", "oxenfs.mount"])
def test_ctrl_c_during_the_imports_is_130_without_a_word(script: str, module: str) -> None:
    program = (
        "import os, signal, sys\n"
        "class Finder:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == {module!r}: os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Finder())\n"
        f"from oxenfs_cli.{script} import main\n"
        "sys.argv = ['oxenfs', 'mounts']\n"
        "sys.exit(main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr.strip()) == (130, b"", b"")
