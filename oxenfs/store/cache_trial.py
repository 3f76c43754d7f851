"""Whether the databases of a cache folder can be used: tried in a process that may die of them.

LMDB checks nothing of what it maps, and a damaged page can kill the process that looks at it. So a
database is tried in a child first if its last user was killed, or if its file is not the one that
the last user left: somebody else has changed it.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

from oxenfs.errors import IntegrityError
from oxenfs.kv import Transaction, open_environment
from oxenfs.store import cache_rows as rows
from oxenfs.store.cache_folder import BLOBS, INDEX, TREE

log = logging.getLogger(__name__)

_LEFT = "left.json"
_TRY_S = 20.0
_TRY_ROWS_S = 0.3
_KEY = b"\0tried"


def note_left(cache_dir: Path) -> None:
    """Note what the databases are like, when their last user has closed them."""
    found = {name: _state(cache_dir, name) for name in (BLOBS, TREE)}
    new = cache_dir / BLOBS / f"{_LEFT}.{uuid4().hex}"
    with contextlib.suppress(OSError):
        new.write_text(json.dumps(found))
        new.replace(cache_dir / BLOBS / _LEFT)


def changed(cache_dir: Path) -> list[str]:
    """Return which databases are not as they were left; only right while nobody uses them."""
    left: object = None
    with contextlib.suppress(OSError, ValueError):
        left = json.loads((cache_dir / BLOBS / _LEFT).read_text())
    known = left if isinstance(left, dict) else {}
    states = {name: _state(cache_dir, name) for name in (BLOBS, TREE)}
    return [name for name, state in states.items() if state and state != known.get(name)]


def broken(cache_dir: Path, names: Sequence[str], *, values: bool) -> list[str]:
    """Return those of some databases that a process cannot open, read and write to, and live.

    Args:
        cache_dir: the folder that they are in.
        names: which.
        values: whether a single damaged value of the index is reason enough.
    """
    found: list[str] = []
    left = [name for name in names if _state(cache_dir, name)]
    while left:
        trial = "values" if values else "keys"
        command = [sys.executable, "-m", "oxenfs.store.cache_trial", os.fspath(cache_dir), trial]
        try:
            done = subprocess.run(
                [*command, *left],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_TRY_S,
                check=False,
            )
            passed, status = done.stdout.split(), str(done.returncode)
        except (OSError, subprocess.TimeoutExpired) as exc:
            passed, status = [], str(exc)
        left = [name for name in left if name not in passed]
        if left:
            log.warning("the database of %s does not open (%s)", cache_dir / left[0], status)
            found.append(left.pop(0))
    return found


def _database(cache_dir: Path, name: str) -> Path:
    return cache_dir / BLOBS / INDEX if name == BLOBS else cache_dir / name


def _state(cache_dir: Path, name: str) -> list[int] | None:
    """Return what tells whether somebody wrote to a database; None if there is none."""
    try:
        status = (_database(cache_dir, name) / "data.mdb").stat()
    except OSError:
        return None
    return [status.st_ino, status.st_size, status.st_mtime_ns]


def _try(cache_dir: Path, name: str, *, values: bool) -> None:
    """Open a database, read from each table for a while, write to it; raise what goes wrong."""
    tables: Sequence[str] = rows.TABLES
    if name == TREE:
        from oxenfs.store.records import TABLES

        tables = TABLES
    env = open_environment(_database(cache_dir, name), tables, durable=False)
    try:
        until = time.monotonic() + _TRY_ROWS_S
        with env.read() as txn:
            keys = {table: _keys(txn, table, until) for table in tables}
            for table in tables if values and name == BLOBS else ():
                for turn, _ in enumerate(txn.scan(table)):
                    if turn % 256 == 0 and time.monotonic() > until:
                        break
        # Pages in each other's places are sound ones to whoever reads.
        until = time.monotonic() + _TRY_ROWS_S
        with contextlib.suppress(_Undone), env.write() as txn:
            for table in tables:
                for turn, key in enumerate(keys[table]):
                    txn.delete(table, key)
                    if turn % 256 == 0 and time.monotonic() > until:
                        break
            raise _Undone
        with env.write() as txn:
            txn.put(tables[0], _KEY, b"")
            txn.delete(tables[0], _KEY)
    finally:
        env.close()


class _Undone(Exception):
    """Ends a transaction without a trace."""


def _keys(txn: Transaction, table: str, until: float) -> list[bytes]:
    """Return a table's keys, those seen until a time; raise `IntegrityError` if some are lost."""
    found: list[bytes] = []
    for key in txn.keys(table):
        if found and key <= found[-1]:
            raise IntegrityError(f"the keys of {table} are not in order")
        found.append(key)
        if len(found) % 256 == 0 and time.monotonic() > until:
            return found
    if len(found) != txn.count(table):
        raise IntegrityError(f"{table} has {len(found)} keys of {txn.count(table)}")
    return found


if __name__ == "__main__":
    for _name in sys.argv[3:]:
        _try(Path(sys.argv[1]), _name, values=sys.argv[2] == "values")
        print(_name, flush=True)
