"""The index of directories that the official client wants with every commit: path to node id.

A client that pushes a commit sends one, a RocksDB of its own making; it is kept and handed on.
For other commits one is made from the tree.

Table `dir_hashes`: commit id (16 bytes LE) and the name of a file to the file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from oxenfs.errors import IntegrityError
from oxenfs.model import Commit, Kind, ObjectHash, hash_text
from oxenfs.remote.archive import Member
from oxenfs.remote.base import TreePlace
from oxenfs.remote.hashing import little
from oxenfs.remote.local.repository import LocalRemote
from oxenfs.remote.local.rocks import database_files
from oxenfs.remote.rows import rows_of

_NAME = re.compile(r"(?:\./)?history/([0-9a-f]{1,32})/dir_hashes/([A-Za-z0-9._-]{1,64})\Z")


def keep(remote: LocalRemote, members: Iterable[Member]) -> None:
    """Store an uploaded index; what was stored for the same commit is replaced.

    Raises:
        IntegrityError: a file is not part of an index.
    """
    with remote.meta.write() as txn:
        cleared: set[bytes] = set()
        for member in members:
            match = _NAME.match(member.name)
            if match is None:
                raise IntegrityError(f"an index of directories with {member.name[:80]!r} in it")
            key = little(int(match[1], 16))
            if key not in cleared:
                cleared.add(key)
                for old in list(txn.keys("dir_hashes", key)):
                    txn.delete("dir_hashes", old)
            txn.put("dir_hashes", key + match[2].encode(), member.content)


def members_of(remote: LocalRemote, commits: Iterable[Commit]) -> Iterator[Member]:
    """Yield the files of the indexes of `commits`, one index after the other."""
    folders: dict[ObjectHash, list[tuple[bytes, ObjectHash]]] = {}
    for commit in commits:
        folder = f"history/{hash_text(commit.id)}/dir_hashes/"
        files = _kept(remote, commit.id)
        if "CURRENT" not in files:
            files = database_files(dict(_directories(remote, commit.id, folders)))
        for name, content in files.items():
            yield Member(folder + name, content)


def _kept(remote: LocalRemote, commit: ObjectHash) -> dict[str, bytes]:
    key = little(commit)
    try:
        with remote.meta.read() as txn:
            return {
                name[len(key) :].decode(): content for name, content in txn.scan("dir_hashes", key)
            }
    except IntegrityError:
        return {}


def _directories(
    remote: LocalRemote,
    commit: ObjectHash,
    folders: dict[ObjectHash, list[tuple[bytes, ObjectHash]]],
) -> Iterator[tuple[bytes, bytes]]:
    """Yield path and id of each directory; `folders` is what was read already, and grows."""
    waiting = [(b"", remote.root(commit))]
    while waiting:
        path, id = waiting.pop()
        yield path, hash_text(id).encode()
        if id not in folders:
            rows = rows_of(remote.directory(id, TreePlace(commit, path)))
            folders[id] = [(row.name, row.id) for row in rows if row.kind == Kind.DIRECTORY]
        prefix = path + b"/" if path else b""
        waiting += [(prefix + name, below) for name, below in folders[id]]
