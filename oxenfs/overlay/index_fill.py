"""The tables of an overlay's index, and how records of its journal get into them.

Beside the values lies how far they go: which journal, up to which position, in which boot of the
machine. An index that does not say so belongs to nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import msgpack

from oxenfs.kv import Environment, Transaction, open_environment
from oxenfs.overlay.journal import Edit

NODES, ENTRIES, XATTRS, ORIGINS, PIECES, META, HASHES = range(7)
TABLES = ("nodes", "entries", "xattrs", "origins", "pieces", "meta", "hashes")
"""Their names, by number."""

STATE = b"state"
"""The key in `META` of how far the index goes."""

_REPLAY_AT_ONCE = 20_000


class State(NamedTuple):
    """How far an index goes.

    Attributes:
        id: of the journal.
        position: where that is to be read on.
        boot: of the machine when it was written.
    """

    id: int
    position: int
    boot: str


class Filling:
    """Puts records into an environment, many in one transaction."""

    def __init__(self, env: Environment, id: int) -> None:
        """Fill `env` with records of the journal `id`."""
        self._env = env
        self._id = id
        self._waiting: list[dict[bytes, bytes | None]] = [{} for _ in TABLES]
        self._count = 0

    def add(self, edits: list[Edit]) -> None:
        """Add a record; raise `UpperFull` if there is no space."""
        for table, key, value in edits:
            self._waiting[table][key] = value
        self._count += len(edits)
        if self._count >= _REPLAY_AT_ONCE:
            # Position 0: killed on the way, it is not to be trusted.
            self._put(0)

    def finish(self, end: int) -> None:
        """Note that everything up to `end` was added."""
        self._put(end)

    def _put(self, position: int) -> None:
        with self._env.write() as txn:
            for table, edits in zip(TABLES, self._waiting, strict=True):
                for key in sorted(edits):
                    value = edits[key]
                    if value is None:
                        txn.delete(table, key)
                    else:
                        txn.put(table, key, value)
                edits.clear()
            put_state(txn, self._id, position)
        self._count = 0


def put_state(txn: Transaction, id: int, position: int) -> None:
    """Note how far the index goes that `txn` writes to."""
    packed: bytes = msgpack.packb([id, position, boot_id()])
    txn.put(TABLES[META], STATE, packed)


def read_state(env: Environment) -> State | None:
    """Return how far an index goes; None if it was not finished."""
    packed = env.get(TABLES[META], STATE)
    if packed is None:
        return None
    state = State(*msgpack.unpackb(packed))
    return state if state.position else None


def place_of(folder: Path, id: int) -> Path:
    """Return where the index of the journal `id` is: one is never taken for another's."""
    return folder / f"index-{id:016x}"


def open_tables(place: Path) -> Environment:
    """Open the index at `place`, or make an empty one; raise `OxenfsError`."""
    return open_environment(place, TABLES, durable=False)


def boot_id() -> str:
    """Return what names this boot of the machine."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
