"""The first lines of the console script `oxenfs`, before anything is imported that takes time."""

from __future__ import annotations

import sys
from collections.abc import Sequence

# With these, no process in the background will be needed.
_ALONE = frozenset(["-h", "--help", "--foreground"])


INTERRUPTED = 130
"""The exit code after Ctrl-C, as shells have it: 128 and the number of the signal."""


def main() -> int:
    """Run one command and return the exit code."""
    return run(sys.argv[1:])


def run(words: Sequence[str]) -> int:
    """Run the command of `words` and return the exit code, also of Ctrl-C during the imports."""
    try:
        begin_ahead(words)
        from oxenfs_cli.main import main as command

        return command(words)
    except KeyboardInterrupt:
        return INTERRUPTED


def begin_ahead(words: Sequence[str]) -> None:
    """Let a process import what the command of `words` will need, if that is a mount."""
    if words and words[0] == "mount" and _ALONE.isdisjoint(words):
        from oxenfs.mount import spare

        spare.begin()
