"""A directory's nodes decoded to one sorted row per entry: the one reader of trees for all."""

from __future__ import annotations

import logging
from typing import NamedTuple

import msgpack

from oxenfs.errors import IntegrityError, NotADirectory, NotFound
from oxenfs.model import NAME_BYTES_MAX, Kind, ObjectHash, hash_text
from oxenfs.remote.base import DirectoryNodes, Remote, TreePlace
from oxenfs.remote.describe import kind_of
from oxenfs.remote.wire import DIRECTORY, LENGTH_MAX, VERSION, VNODE

log = logging.getLogger(__name__)

_VERSION = VERSION.encode()
_DAMAGE = (ValueError, TypeError, KeyError, IndexError, OverflowError, msgpack.UnpackException)
_SIZE_MAX = 1 << 63


class Row(NamedTuple):
    """One entry of a directory; rows compare by name first.

    Attributes:
        hash: blob of a file, node id of a directory; 16 bytes, big-endian.
        size: bytes of a file, 0 for a directory.
        mtime_ns: of a file; 0 for a directory, whose date is that of its last commit.
        commit: the commit that last changed the entry, as `hash`.
    """

    name: bytes
    kind: int
    hash: bytes
    size: int
    mtime_ns: int
    commit: bytes

    @property
    def id(self) -> ObjectHash:
        """The hash as a number."""
        return ObjectHash(int.from_bytes(self.hash, "big"))

    @property
    def last_commit(self) -> ObjectHash:
        """The commit as a number."""
        return ObjectHash(int.from_bytes(self.commit, "big"))


def rows_of(nodes: DirectoryNodes) -> list[Row]:
    """Return the entries of a directory, sorted by name.

    Names that no file system can show (empty, `.`, `..`, with a slash or NUL, longer than 255
    bytes) are left out with a line in the log; of two entries with one name the smaller row stays.
    About 0.7 microseconds per entry: call it in a thread for large directories.

    Raises:
        IntegrityError: a node is damaged, or of a version before 0.25.
    """
    id = nodes.directory.id
    if nodes.directory.node[:1] != bytes([DIRECTORY]):
        raise IntegrityError(f"node {hash_text(id)} is not a directory")
    rows: list[Row] = []
    try:
        for vnode in nodes.vnodes:
            if vnode.node[0] != VNODE:
                raise ValueError("a child is not a vnode")
            # Whatever length a damaged header claims is allocated before it is found to be wrong.
            most = min(len(vnode.children), LENGTH_MAX)
            unpacker = msgpack.Unpacker(
                raw=True,
                use_list=False,
                strict_map_key=False,
                max_buffer_size=0,
                max_array_len=most,
                max_map_len=most,
            )
            unpacker.feed(vnode.children)
            rows.extend([_row(item[0][_VERSION]) for item in unpacker])
            if unpacker.tell() != len(vnode.children):
                raise ValueError("a vnode ends within an entry")
    except _DAMAGE as exc:
        raise IntegrityError(
            f"directory node {hash_text(id)} is damaged or of an unknown version: {exc!r}"
        ) from exc
    rows.sort()
    return rows if _names_are_fine(rows) else _without_bad_names(rows, id)


def find_row(remote: Remote, commit: ObjectHash, path: bytes) -> Row | None:
    """Return the entry at `path` in `commit`; None for the root.

    Raises:
        NotFound: there is none.
        NotADirectory: the path goes on below a file.
    """
    directory = remote.root(commit)
    row = None
    walked: list[bytes] = []
    for name in [part for part in path.split(b"/") if part]:
        if row is not None and row.kind != Kind.DIRECTORY:
            raise NotADirectory(f"{_shown(walked)} is a file")
        rows = rows_of(remote.directory(directory, TreePlace(commit, b"/".join(walked))))
        walked.append(name)
        row = next((row for row in rows if row.name == name), None)
        if row is None:
            raise NotFound(f"no {_shown(walked)} in commit {hash_text(commit)}")
        directory = row.id
    return row


def _row(fields: tuple[object, ...]) -> Row:
    if fields[0] == b"File":
        _, name, _, hash, _, size, commit, seconds, ns, data_type, *_ = fields
        if not type(size) is type(seconds) is type(ns) is int:
            raise ValueError("a size or time is not a number")
        kind = int(kind_of(data_type))  # type: ignore[arg-type]
        mtime_ns = seconds * 1_000_000_000 + ns
    elif fields[0] == b"Dir":
        _, name, hash, _, _, commit, *_ = fields
        kind = size = mtime_ns = 0
    else:
        raise ValueError(f"an entry of type {fields[0]!r}")
    if not type(name) is type(hash) is type(commit) is bytes:
        raise ValueError("a name or hash is not bytes")
    if len(hash) != 16 or len(commit) != 16 or not 0 <= size < _SIZE_MAX:
        raise ValueError("a hash or size is out of range")
    if not -_SIZE_MAX <= mtime_ns < _SIZE_MAX:
        mtime_ns = 0
    return Row(name, kind, hash, size, mtime_ns, commit)


def _names_are_fine(rows: list[Row]) -> bool:
    names = [row.name for row in rows]
    block = b"\0".join(names)
    return (
        b"/" not in block
        and block.count(b"\0") == max(len(names) - 1, 0)
        and max(map(len, names), default=1) <= NAME_BYTES_MAX
        and len(set(names)) == len(names)
        and not {b"", b".", b".."}.intersection(names)
    )


def _without_bad_names(rows: list[Row], directory: ObjectHash) -> list[Row]:
    kept: list[Row] = []
    for row in rows:
        name = row.name
        bad = not name or name in (b".", b"..") or b"/" in name or b"\0" in name
        if bad or len(name) > NAME_BYTES_MAX:
            log.warning("directory %s: left out %.80r", hash_text(directory), name)
        elif kept and kept[-1].name == name:
            log.warning("directory %s: has %.80r twice", hash_text(directory), name)
        else:
            kept.append(row)
    return kept


def _shown(names: list[bytes]) -> str:
    return repr(b"/".join(names).decode("utf-8", "replace"))
