"""Brings an overlay that nobody has mounted in order: after a crash, and before it is judged."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path

from oxenfs.model import ObjectHash, hash_text
from oxenfs.overlay.contents import Contents
from oxenfs.overlay.item import Item
from oxenfs.overlay.layer import Layer
from oxenfs.overlay.lower import LowerTree
from oxenfs.overlay.nodes import DIRECTORY_MODE, FILE_MODE, Nid, Node
from oxenfs.overlay.pieces import Pieces
from oxenfs.overlay.placed import Placed
from oxenfs.overlay.publishing import find_published, unpack_intent
from oxenfs.overlay.rebase import Rebase
from oxenfs.overlay.standing import PUBLISHING
from oxenfs.overlay.status import find_items
from oxenfs.overlay.upper import Upper
from oxenfs.remote.base import Remote
from oxenfs.store.records import ListingRecords

log = logging.getLogger(__name__)

_PIECE_BYTES = 1 << 20
_NOWHERE = Placed()


def settle(upper: Upper, remote: Remote, records: ListingRecords) -> None:
    """Finish a commit that a crash interrupted: find out whether it happened, and stand on it.

    Raises:
        RemoteUnavailable: it cannot be told now; the layer is as it was.
    """
    packed = upper.meta(PUBLISHING)
    if packed is None:
        return
    intent = unpack_intent(packed)
    found = find_published(remote, intent)
    if found is None:
        upper.set_meta(PUBLISHING, None)
        log.info("the interrupted commit has not happened; commit again")
        return
    log.info("the interrupted commit has happened: %s", hash_text(found))
    rebase_unmounted(upper, remote, records, found, intent.branch, intent.placed)


def tidy(upper: Upper, remote: Remote, records: ListingRecords) -> None:
    """Drop what is no change: files that are the commit's again."""
    rebase_unmounted(upper, remote, records, upper.base, upper.branch)


def rebase_unmounted(
    upper: Upper,
    remote: Remote,
    records: ListingRecords,
    commit: ObjectHash,
    branch: str | None,
    placed: Placed = _NOWHERE,
) -> None:
    """Put a layer that nobody has mounted on another commit, or the same.

    `placed`: where its folders were when that commit was made of it.
    """
    old = LowerTree(remote, records, upper.base)
    new = old if commit == upper.base else LowerTree(remote, records, commit)
    parents = remote.commit(commit).parents
    others = LowerTree(remote, records, parents[0]) if parents and new is not old else None
    while True:
        with _layer(upper) as layer:
            contents = Contents(layer, old)
            rebase = Rebase(layer, old, new, contents, others=others, placed=placed)
            prepared = upper.prepare(rebase.records(branch))
            if not rebase.outcome.incomplete:
                break
            prepared.drop()
            for nid in rebase.outcome.incomplete:
                _complete(upper, layer, old, contents, nid)
    upper.adopt(prepared, rebase.outcome.dropped, rebase.outcome.garbage)


def status_unmounted(
    upper: Upper, remote: Remote, records: ListingRecords, *, sizes: bool = True
) -> list[Item]:
    """Return the changes of a layer that nobody has mounted."""
    lower = LowerTree(remote, records, upper.base)
    with _layer(upper) as layer:
        contents = Contents(layer, lower)
        items = find_items(layer, lower, contents, sizes=sizes)
    upper.keep_hashes(contents.hashes)
    return items


@contextlib.contextmanager
def records_of(remote: Remote, cache_dir: Path) -> Iterator[ListingRecords]:
    """Give the kept listings of a repository."""
    records = ListingRecords(remote.key, cache_dir)
    try:
        yield records
    finally:
        records.close()


@contextlib.contextmanager
def _layer(upper: Upper) -> Iterator[Layer]:
    upper.index.flush()
    with upper.index.snapshot() as snapshot:
        yield Layer(snapshot, upper.files)


def _complete(upper: Upper, layer: Layer, lower: LowerTree, contents: Contents, nid: Nid) -> None:
    """Give a file all its bytes, those of the commit too; a folder all its entries."""
    node = upper.node(nid)
    if node.is_directory:
        _promote_all(upper, lower, nid, node)
        return
    facts = layer.facts(node)
    data = upper.new_file()
    fd = upper.files.open(data)
    try:
        with contents.content(node).open() as source:
            while piece := source.read(_PIECE_BYTES):
                os.write(fd, piece)
        os.utime(fd, ns=(node.atime_ns, facts.mtime_ns))
    finally:
        os.close(fd)
    if node.data:
        upper.drop_file(node.data)
    upper.set_node(nid, node._replace(data=data, limit=None), Pieces())


def _promote_all(upper: Upper, lower: LowerTree, nid: Nid, folder: Node) -> None:
    """Give all that shows through a folder a number."""
    assert folder.origin is not None
    listing = lower.listing(folder.origin)
    for name in () if listing is None else listing.names_between(0, listing.count):
        origin = folder.origin + b"/" + name if folder.origin else name
        found = lower.find(origin)
        if found is None or upper.entry(nid, name) is not None:
            continue
        inside = lower.listing(origin) if found.directory else None
        nlink = 1 if inside is None else 2 + bytes(inside.kinds).count(0)
        mode = DIRECTORY_MODE if found.directory else FILE_MODE
        size, time_ns = 0 if found.directory else found.size, found.mtime_ns
        uid, gid = folder.uid, folder.gid
        node = Node(mode, uid, gid, nlink, size, time_ns, time_ns, time_ns, origin=origin)
        upper.promote(nid, name, node)
