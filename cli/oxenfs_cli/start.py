"""The first lines of the console script `oxenfs`, before anything is imported that takes time."""

from __future__ import annotations

import sys
from collections.abc import Sequence

# With these, no process in the background will be needed.
_ALONE = frozenset(["-h", "--help", "--foreground"])


def main() -> int:
    """Run one command and return the exit code."""
    words = sys.argv[1:]
    begin_ahead(words)
    from oxenfs_cli.main import main as run

    return run(words)


def begin_ahead(words: Sequence[str]) -> None:
    """Let a process import what the command of `words` will need, if that is a mount."""
    if words and words[0] == "mount" and _ALONE.isdisjoint(words):
        from oxenfs.mount import spare

        spare.begin()
