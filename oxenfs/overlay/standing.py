"""What is noted about a layer as a whole, and what one without changes consists of."""

from __future__ import annotations

import os
import stat
import time

from oxenfs.model import ObjectHash
from oxenfs.overlay.index_fill import META, NODES, ORIGINS
from oxenfs.overlay.journal import Edit
from oxenfs.overlay.nodes import DIRECTORY_MODE, ROOT, Node, node_key, origin_key, pack_node

NEXT = b"next"
BASE = b"base"
BRANCH = b"branch"
PUBLISHING = b"publishing"
"""Key of what is known about a commit under way."""

CONFLICTS = (META, b"conflicts")
"""Table and key of the paths that others have changed too."""
_CLOCK_REALTIME_COARSE = 5  # Linux: <time.h>; not in Python's module


def base_edits(base: ObjectHash, branch: str | None) -> list[Edit]:
    """Return what says on which commit a layer stands."""
    return [
        Edit(META, BASE, base.to_bytes(16, "big")),
        Edit(META, BRANCH, None if branch is None else branch.encode()),
    ]


def first_edits(base: ObjectHash, branch: str | None) -> list[Edit]:
    """Return what a layer without changes consists of."""
    now = now_ns()
    root = Node(DIRECTORY_MODE, os.getuid(), os.getgid(), 2, 0, now, now, now, origin=b"")
    return [
        *base_edits(base, branch),
        Edit(NODES, node_key(ROOT), pack_node(root)),
        Edit(ORIGINS, origin_key(b""), node_key(ROOT)),
    ]


def now_ns() -> int:
    """Return the time as the kernel gives it to files."""
    return time.clock_gettime_ns(_CLOCK_REALTIME_COARSE)


def permissions(mode: int) -> int:
    """Return a mode without its type."""
    return stat.S_IMODE(mode)
