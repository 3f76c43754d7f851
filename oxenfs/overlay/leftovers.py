"""What a commit leaves in the overlay: what Oxen cannot store, and what nobody wants to store."""

from __future__ import annotations

import fnmatch
import stat

from oxenfs.errors import Unsupported
from oxenfs.model import DEPTH_MAX, check_name
from oxenfs.overlay.nodes import Node

IGNORE_FILE = b".oxenignore"
_EDITORS = (b".*.sw?", b".*.swpx", b"*~", b".#*", b"#*#", b"4913")


class Ignored:
    """Which paths are left out without a word of complaint: by pattern.

    A pattern without `/` is one for a name anywhere, one with `/` for a path from the root; one
    that ends in `/` is for folders. `#` begins a comment.
    """

    def __init__(self, text: bytes = b"") -> None:
        """Leave out editors' files, and what `text`, that of `.oxenignore`, says."""
        lines = [line.strip() for line in text.splitlines()]
        patterns = [line for line in lines if line and not line.startswith(b"#")]
        self._names = list(_EDITORS)
        self._paths: list[bytes] = []
        for pattern in patterns:
            bare = pattern.rstrip(b"/")
            if b"/" in bare:
                self._paths.append(bare.lstrip(b"/"))
            else:
                self._names.append(bare)

    def matches(self, path: bytes) -> bool:
        """Return whether `path` is left out."""
        name = path.rpartition(b"/")[2]
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in self._names):
            return True
        return any(fnmatch.fnmatchcase(path, pattern) for pattern in self._paths)


def why_unsupported(path: bytes, node: Node | None) -> str | None:
    """Return why Oxen cannot store what is at `path`; None if it can."""
    if node is not None:
        if stat.S_ISLNK(node.mode):
            return "a symlink"
        if not node.is_directory and not node.is_file:
            return "a special file"
        if node.is_directory and path.count(b"/") >= DEPTH_MAX:
            return f"a folder below {DEPTH_MAX} others"
    name = path.rpartition(b"/")[2]
    try:
        name.decode()
    except UnicodeDecodeError:
        return "a name that is not UTF-8"
    try:
        check_name(name)
    except Unsupported:
        return "a name that Oxen refuses"
    return None
