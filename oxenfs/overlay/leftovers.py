"""What a commit leaves in the overlay: what Oxen cannot store, and what nobody wants to store."""

from __future__ import annotations

import fnmatch
import re
import stat
from collections.abc import Sequence

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
        names = list(_EDITORS)
        paths: list[bytes] = []
        for pattern in patterns:
            bare = pattern.rstrip(b"/")
            if b"/" in bare:
                paths.append(bare.lstrip(b"/"))
            else:
                names.append(bare)
        self._names = _any_of(names)
        self._paths = _any_of(paths) if paths else None

    def matches(self, path: bytes) -> bool:
        """Return whether `path` is left out."""
        name = path.rpartition(b"/")[2]
        if self._names.match(name):
            return True
        return self._paths is not None and self._paths.match(path) is not None


def _any_of(patterns: Sequence[bytes]) -> re.Pattern[bytes]:
    """Return one expression for all patterns: a million files are matched one by one."""
    return re.compile(
        b"|".join(
            fnmatch.translate(pattern.decode("latin-1")).encode("latin-1") for pattern in patterns
        )
    )


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
