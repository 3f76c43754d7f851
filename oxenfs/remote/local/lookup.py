"""Single entries of a commit's tree by path, and pages of a directory, without decoding all of it.

A directory of a million files is some 200 MB of nodes. A name is searched for in the bytes of the
vnode where Oxen puts it, and in the others only if it is not there. For pages the order of a
directory is worked out once and kept: 8 bytes per entry.
"""

from __future__ import annotations

import contextlib
import threading
from array import array
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import xxhash

from oxenfs.errors import IntegrityError, NotFound
from oxenfs.model import ObjectHash
from oxenfs.remote.local.repository import LocalRemote
from oxenfs.remote.payloads import DIRECTORY, DirectoryPayload, FilePayload, decode_payload, name_of
from oxenfs.remote.wire import Child, child_at, children_of, decode_node, find_child

Entry = FilePayload | DirectoryPayload

_KEPT_ENTRIES = 2_000_000
_VNODE_SHIFT = 40


def entry_at(remote: LocalRemote, commit: ObjectHash, path: bytes) -> Entry:
    """Return the file or directory at `path`, the root at an empty one; raise `NotFound`."""
    *_, entry = entries_to(remote, commit, path)
    return entry


def entries_to(remote: LocalRemote, commit: ObjectHash, path: bytes) -> Iterator[Entry]:
    """Yield the root, then what is at each component of `path`; raise `NotFound`."""
    payload = decode_node(remote.nodes.get(remote.root(commit))).payload
    if not isinstance(payload, DirectoryPayload):
        raise IntegrityError("the root of a commit is not a directory")
    entry: Entry = payload
    yield entry
    walked = b""
    for name in [part for part in path.split(b"/") if part]:
        if isinstance(entry, FilePayload):
            raise NotFound(f"{path!r} goes on below a file")
        walked = walked + b"/" + name if walked else name
        child = _child(remote, entry.id, walked, name)
        if child is None:
            raise NotFound(f"no {path!r}")
        entry = _entry(child)
        yield entry


class Order(NamedTuple):
    """How a directory is listed: directories first, always, then by this.

    Attributes:
        by_date: of the commit that last changed an entry; those of one commit stay by name.
        reverse: the latest, or the last name, first.
    """

    by_date: bool = False
    reverse: bool = False


BY_NAME = Order()


def children_at(remote: LocalRemote, directory: ObjectHash, order: Order = BY_NAME) -> list[Entry]:
    """Return all entries of a directory in `order`."""
    found = []
    for bucket in children_of(remote.nodes.get(directory)):
        found += [_entry(child) for child in children_of(remote.nodes.get(bucket.hash))]
    names = [_sort_name(isinstance(each, DirectoryPayload), each.name.encode()) for each in found]
    dates = _dates(remote, (each.last_commit for each in found)) if order.by_date else None
    return [found[at] for at in _arranged(names, dates, order)]


def files_below(
    remote: LocalRemote, directory: ObjectHash, path: bytes
) -> Iterator[tuple[bytes, FilePayload]]:
    """Yield paths and nodes of all files below a directory, which is at `path`."""
    for entry in children_at(remote, directory):
        inner = path + b"/" + entry.name.encode() if path else entry.name.encode()
        if isinstance(entry, DirectoryPayload):
            yield from files_below(remote, entry.id, inner)
        else:
            yield inner, entry


class Pages:
    """Pages of directories. Safe in threads."""

    def __init__(self) -> None:
        """Begin with nothing known."""
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, ObjectHash, Order], array[int]] = OrderedDict()
        self._entries = 0

    def page(
        self,
        remote: LocalRemote,
        directory: ObjectHash,
        start: int,
        stop: int,
        order: Order = BY_NAME,
    ) -> tuple[list[Entry], int]:
        """Return the entries from number `start` up to `stop`, and how many there are in all."""
        places = self._places(remote, directory, order)
        vnodes = [child.hash for child in children_of(remote.nodes.get(directory))]
        wanted = places[start:stop]
        found: dict[int, Entry] = {}
        for number in sorted({place >> _VNODE_SHIFT for place in wanted}):
            vnode = remote.nodes.get(vnodes[number])
            for place in wanted:
                if place >> _VNODE_SHIFT == number:
                    row = place & (1 << _VNODE_SHIFT) - 1
                    found[place] = _entry(child_at(vnode, row))
        return [found[place] for place in wanted], len(places)

    def _places(self, remote: LocalRemote, directory: ObjectHash, order: Order) -> array[int]:
        key = (remote.key, directory, order)
        with self._lock:
            places = self._kept.get(key)
            if places is not None:
                self._kept.move_to_end(key)
                return places
        places = _sorted(remote, directory, order)
        with self._lock:
            if key not in self._kept:
                self._kept[key] = places
                self._entries += len(places)
            while self._entries > _KEPT_ENTRIES and len(self._kept) > 1:
                self._entries -= len(self._kept.popitem(last=False)[1])
        return places


def _sorted(remote: LocalRemote, directory: ObjectHash, order: Order) -> array[int]:
    """Return the places of all entries in that order: number of the vnode, and of its row."""
    names: list[bytes] = []
    commits: list[ObjectHash] = []
    places = array("Q")
    for number, bucket in enumerate(children_of(remote.nodes.get(directory))):
        for row, child in enumerate(children_of(remote.nodes.get(bucket.hash))):
            names.append(_sort_name(child.type == DIRECTORY, name_of(child.payload)))
            places.append(number << _VNODE_SHIFT | row)
            if order.by_date:
                commits.append(_entry(child).last_commit)
    dates = _dates(remote, commits) if order.by_date else None
    return array("Q", (places[at] for at in _arranged(names, dates, order)))


def _sort_name(is_directory: bool, name: bytes) -> bytes:
    return (b"0" if is_directory else b"1") + name


def _dates(remote: LocalRemote, commits: Iterable[ObjectHash]) -> list[int]:
    known: dict[ObjectHash, int] = {}
    found = []
    for commit in commits:
        if commit not in known:
            # A commit that a shallow copy lacks: its entries are the oldest.
            with contextlib.suppress(NotFound):
                known[commit] = remote.commit(commit).timestamp_ns
        found.append(known.setdefault(commit, 0))
    return found


def _arranged(names: Sequence[bytes], dates: Sequence[int] | None, order: Order) -> list[int]:
    """Return the numbers of rows in that order; `names` begin with the digit of their kind."""
    arranged = sorted(range(len(names)), key=names.__getitem__)
    if dates is not None:
        arranged.sort(key=dates.__getitem__, reverse=order.reverse)
    elif order.reverse:
        arranged.reverse()
    if order != BY_NAME:
        arranged.sort(key=lambda at: names[at][:1])
    return arranged


def _child(remote: LocalRemote, directory: ObjectHash, path: bytes, name: bytes) -> Child | None:
    vnodes = [child.hash for child in children_of(remote.nodes.get(directory))]
    if not vnodes:
        return None
    first = xxhash.xxh3_128_intdigest(path) % len(vnodes)
    order = [vnodes[first], *vnodes[:first], *vnodes[first + 1 :]]
    for id in order:
        found = find_child(remote.nodes.get(id), name)
        if found is not None:
            return found
    for id in order:
        for child in children_of(remote.nodes.get(id)):
            if name_of(child.payload) == name:
                return child
    return None


def _entry(child: Child) -> Entry:
    payload = decode_payload(child.type, child.payload)
    if not isinstance(payload, Entry):
        raise IntegrityError(f"an entry of type {child.type} in a directory")
    return payload
