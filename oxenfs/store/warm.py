"""Makes the listings of a whole commit ahead of whoever lists it, in a process of its own.

Decoding a tree is Python that holds the interpreter's lock: a thread in the daemon would delay
every answer by its turns. So a mount starts `python -m oxenfs.store.warm`, tells it on its standard
input what to do, and finds the listings in the shared database when it looks for them. If it
fails, or is killed, nothing is lost: listings are then made one by one.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import trio

from oxenfs.address import parse
from oxenfs.errors import OxenfsError
from oxenfs.model import Kind, ObjectHash, parse_hash
from oxenfs.remote.base import BlobFiles, DirectoryNodes, Elsewhere, Remote, TreePlace
from oxenfs.remote.open import open_remote
from oxenfs.store.columns import Listing
from oxenfs.store.metadata import commit_or_none
from oxenfs.store.records import ListingRecords, complete_directories, make_columns
from oxenfs.store.remembered import Remembering

_NICE = 10
_LOOK_S = 1.0


@dataclass(frozen=True, slots=True)
class Task:
    """What to make the listings of.

    Attributes:
        address: of the repository; its revision does not matter.
        commit: the id, as text.
        insecure, timeout_s: how to speak to a server.
    """

    address: str
    commit: str
    cache_dir: str
    insecure: bool
    timeout_s: float


class Done(NamedTuple):
    """What the other process asked a server for."""

    requests: int = 0
    received_bytes: int = 0


async def warm_in_child(task: Task) -> Done:
    """Let another process do `task`; returns when it has ended, however. Cancelling kills it."""
    fields = {name: getattr(task, name) for name in Task.__slots__}
    text = json.dumps({"parent": os.getpid(), "task": fields})
    command = [sys.executable, "-m", "oxenfs.store.warm"]
    with contextlib.suppress(OSError, ValueError, TypeError):
        ended = await trio.run_process(
            command, stdin=text.encode(), capture_stdout=True, capture_stderr=True, check=False
        )
        return Done(*json.loads(ended.stdout))
    return Done()


def warm(remote: Remote, records: ListingRecords, commit: ObjectHash) -> int:
    """Make the listings of `commit` that are not kept yet; return how many were made.

    Raises:
        OxenfsError: the remote failed; what was made until then is kept.
    """

    @functools.cache
    def date_of(id: ObjectHash) -> int:
        found = commit_or_none(remote, id)
        return 0 if found is None else found.timestamp_ns

    made = 0
    if records.is_complete(commit):
        return made
    if isinstance(remote, BlobFiles):
        for id, nodes in _missing(remote, records, commit):
            records.put(id, make_columns(nodes, date_of))
            made += 1
    else:
        # Over a network everything in one answer costs less than asking for each folder.
        for nodes in complete_directories(remote.tree(commit)):
            if records.get(nodes.directory.id) is None:
                records.put(nodes.directory.id, make_columns(nodes, date_of))
                made += 1
    records.set_complete(commit)
    return made


def _missing(
    remote: Remote, records: ListingRecords, commit: ObjectHash
) -> Iterator[tuple[ObjectHash, DirectoryNodes]]:
    """Yield directories without a record, depth first in the order of names, as `find` goes."""
    place = TreePlace(commit, b"")
    waiting = [remote.root(commit)]
    while waiting:
        id = waiting.pop()
        columns = records.get(id)
        if columns is None:
            yield id, remote.directory(id, place)
            columns = records.get(id)
            if columns is None:
                raise OxenfsError("listings cannot be kept")
        listing = Listing(columns)
        if not listing.all_files:
            kinds = listing.kinds
            waiting.extend(
                listing.hash(row)
                for row in range(listing.count - 1, -1, -1)
                if kinds[row] == Kind.DIRECTORY
            )


def _end_with(parent: int) -> None:
    """End this process when its parent has ended.

    Not by a parent-death signal: that comes when the thread that started us ends, and trio ends
    its threads when they have had nothing to do for some seconds.
    """
    while os.getppid() == parent:
        time.sleep(_LOOK_S)
    os._exit(1)


def main() -> None:
    """Do the task on standard input, quietly, and not beyond the life of the parent."""
    os.nice(_NICE)
    # Rows are made by the thousand and dropped at once; there are no cycles to look for.
    gc.disable()
    order = json.load(sys.stdin)
    threading.Thread(target=_end_with, args=(order["parent"],), daemon=True).start()
    task = Task(**order["task"])
    remote = open_remote(parse(task.address), insecure=task.insecure, timeout_s=task.timeout_s)
    records = ListingRecords(remote.key, Path(task.cache_dir))
    if isinstance(remote, Elsewhere):
        remote = Remembering(remote, records)
    try:
        warm(remote, records, parse_hash(task.commit))
    finally:
        source = remote.source if isinstance(remote, Elsewhere) else None
        print(json.dumps([source.requests, source.received_bytes] if source else [0, 0]))


if __name__ == "__main__":
    main()
