"""Where each branch is shown below `branches/`.

Branches are folders, a slash in a name is one more folder. What cannot be shown like that stands in
`branches/` itself, percent-encoded: `a/b` where there is a branch `a` (whose folder is its tree,
and nothing else), names with `.` or `..` or nothing between slashes, with `%` and two hex digits,
too long ones.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from urllib.parse import quote

from oxenfs.model import NAME_BYTES_MAX, ObjectHash

_ENCODED = re.compile(r"%[0-9A-Fa-f]{2}")

Names = dict[bytes, "Names | str"]
"""A folder of names: folders, or the branch that is there."""


def nested(branches: Mapping[str, ObjectHash], *, encode: bool = True) -> Names:
    """Return where each branch is shown; those without a place of their own are encoded, or not."""
    root: Names = {}
    for name in sorted(branches):
        parts = name.split("/")
        prefixes = ("/".join(parts[:length]) for length in range(1, len(parts)))
        if not fits(name) or any(prefix in branches for prefix in prefixes):
            if encode:
                root[encode_name(name)] = name
            continue
        folder = root
        for part in parts[:-1]:
            below = folder.setdefault(part.encode(), {})
            assert isinstance(below, dict), "no prefix is a branch"
            folder = below
        folder[parts[-1].encode()] = name
    return root


def fits(branch: str) -> bool:
    """Return whether a branch can be shown as a path, and no encoded name looks like it."""
    try:
        parts = branch.encode().split(b"/")
    except UnicodeEncodeError:
        return False
    if _ENCODED.search(branch) or "\0" in branch:
        return False
    return all(part not in (b"", b".", b"..") and len(part) <= NAME_BYTES_MAX for part in parts)


def encode_name(branch: str) -> bytes:
    """Return a name for a branch that no other branch has, and that always holds a `%`."""
    encoded = quote(branch, safe=" ", errors="surrogateescape")
    if branch in (".", ".."):
        encoded = branch.replace(".", "%2E")
    if "%" not in encoded or len(encoded) > NAME_BYTES_MAX:
        digest = hashlib.blake2s(branch.encode("utf-8", "surrogateescape"), digest_size=16)
        encoded = f"{encoded[:200]}%7E{digest.hexdigest()}"
    return encoded.encode()
