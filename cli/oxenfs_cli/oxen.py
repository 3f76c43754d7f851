"""The console script `oxen`: our commands where they concern a mount, else the official client.

Every call of the official client goes through here, so this imports little: `click` and the
command only where the call is ours.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from oxenfs_cli.start import INTERRUPTED, run

OURS = frozenset(["mount", "umount", "mounts"])
"""Commands that the official client does not have."""

SHARED = frozenset(
    ["status", "commit", "diff", "log", "branch", "checkout", "pull", "restore", "discard"]
)
"""Commands that both have: ours when they concern a mount."""

# Options of ours that take a value: the word after them is no DIR.
_WITH_VALUE = frozenset(["-C", "-m", "-b", "-n", "--message", "--keep", "--repo"])

GUARD = "OXENFS_EXEC_GUARD"
"""How many calls in a row ended up here again instead of in an official client."""

# An official client that calls `oxen` itself passes the variable on: one or two are no loop.
_LOOP = 5

_MISSING = (
    "oxen: there is no official oxen client on PATH to run this; get it at "
    "https://docs.oxen.ai/getting-started/install (oxenfs itself has `oxen mount`, `umount`, "
    "`mounts`, and the commands for what is mounted)"
)


def main(args: Sequence[str] | None = None) -> int:
    """Run our command and return its exit code, or become the official client."""
    words = list(sys.argv[1:] if args is None else args)
    try:
        ours = is_ours(words)
    except KeyboardInterrupt:
        return INTERRUPTED
    return run(words) if ours else _hand_over(words)


def is_ours(words: Sequence[str]) -> bool:
    """Return whether the call `oxen WORDS...` is one for oxenfs."""
    if not words or words[0] not in OURS | SHARED:
        return False
    return words[0] in OURS or _concerns_mount(words[1:])


def _concerns_mount(words: Sequence[str]) -> bool:
    from oxenfs.errors import OxenfsError
    from oxenfs.mount import mountinfo

    try:
        mounts = {mounted.path for mounted in mountinfo.read() if mounted.ours}
        if not mounts:
            return False
        directory, arguments = _split(words)
        if any(mountinfo.real_path(word) in mounts for word in arguments):
            return True
        return mountinfo.is_within(mountinfo.real_path(directory), mounts)
    except (OSError, OxenfsError):
        # No /proc, or a current folder that is gone: the official client will say what it thinks.
        return False


def _split(words: Sequence[str]) -> tuple[str, list[str]]:
    """Return what `-C` says (`.` without it), and the words that are no options or their values."""
    directory = "."
    arguments: list[str] = []
    rest = iter(words)
    for word in rest:
        if word == "--":
            arguments += rest
        elif word in _WITH_VALUE:
            value = next(rest, "")
            directory = value if word == "-C" else directory
        elif word.startswith("-C"):
            directory = word[2:]
        elif not word.startswith("-"):
            arguments.append(word)
    return directory, arguments


def _hand_over(words: list[str]) -> int:
    """Become the official client; return an exit code where that is impossible."""
    try:
        calls = int(os.environ.get(GUARD, "0"))
    except ValueError:
        calls = 0
    official = next(_official(os.environ.get("PATH", "")), None)
    if official is None:
        print(_MISSING, file=sys.stderr)
        return 1
    if calls >= _LOOP:
        print(
            f"oxen: {official} only leads back here; take it from PATH, or put the official "
            "oxen client before it",
            file=sys.stderr,
        )
        return 1
    os.environ[GUARD] = str(calls + 1)
    try:
        os.execv(official, ["oxen", *words])
    except OSError as exc:
        print(f"oxen: cannot run {official}: {exc.strerror}", file=sys.stderr)
        return 1


def _official(search: str) -> Iterator[Path]:
    """Yield the programs called `oxen` on the path `search` that are not oxenfs's."""
    own = {os.path.realpath(sys.argv[0]), os.path.realpath(__file__)}
    for folder in search.split(os.pathsep):
        # An empty or relative one is the current folder: whoever made that may not run here.
        if not folder.startswith("/"):
            continue
        program = Path(folder, "oxen")
        if not os.access(program, os.X_OK) or not program.is_file():
            continue
        if os.path.realpath(program) not in own and not _is_oxenfs(program):
            yield program


def _is_oxenfs(program: Path) -> bool:
    """Return whether `program` is this console script, of this or any other installation."""
    try:
        with program.open("rb") as file:
            head = file.read(2048)
    except OSError:
        return False
    return head.startswith(b"#!") and b"oxenfs_cli" in head


if __name__ == "__main__":
    sys.exit(main())
