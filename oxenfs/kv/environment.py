"""An environment: opened once per path and process, shared, of no use in a forked process."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import lmdb

from oxenfs.errors import IntegrityError, OxenfsError
from oxenfs.kv.datafile import MAP_BYTES, extend_to_last_page, length, refuse_cut_off
from oxenfs.kv.failures import opening, translate, translated
from oxenfs.kv.seals import unseal
from oxenfs.kv.transaction import Transaction

_READERS_MAX = 510

_open_environments: dict[Path, Environment] = {}
_registry_lock = threading.Lock()


def _after_fork() -> None:
    # The lock may have been held by a thread that does not exist here.
    global _registry_lock
    _registry_lock = threading.Lock()
    for environment in _open_environments.values():
        environment.disown()


os.register_at_fork(after_in_child=_after_fork)


class Environment:
    """An LMDB environment with a fixed set of tables. Use `open_environment`."""

    def __init__(self, path: Path, tables: Sequence[str], *, durable: bool) -> None:
        """Open or create the environment in the folder `path`."""
        self.path = path
        self.users = 1
        self._pid = os.getpid()
        with opening(path):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            readonly = bool(os.statvfs(path).f_flag & os.ST_RDONLY)
            if readonly:
                refuse_cut_off(path / "data.mdb")
            else:
                extend_to_last_page(path / "data.mdb")
            self._env: Any = lmdb.open(
                os.fspath(path),
                map_size=MAP_BYTES,
                max_dbs=len(tables),
                max_readers=_READERS_MAX,
                mode=0o600,
                sync=durable,
                metasync=durable,
                readonly=readonly,
                lock=not readonly,
            )
            try:
                self._env.reader_check()
                self._tables: dict[str, Any] = {n: self._env.open_db(n.encode()) for n in tables}
            except BaseException:
                # LMDB refuses a second opening as long as the failed one is referred to anywhere.
                self._env.close()
                raise

    def get(self, table: str, key: bytes) -> bytes | None:
        """Return one value or None, in a transaction of its own; made for the event loop."""
        try:
            with self._env.begin(buffers=True) as txn:
                sealed = txn.get(key, db=self._tables[table])
                return None if sealed is None else unseal(sealed, table, key, self.path)
        except lmdb.Error as exc:
            raise translate(exc, self.path) from exc

    def has(self, table: str, key: bytes) -> bool:
        """Return whether there is a value, without looking at it; a transaction of its own."""
        try:
            with self._env.begin(buffers=True) as txn:
                return txn.get(key, db=self._tables[table]) is not None
        except lmdb.Error as exc:
            raise translate(exc, self.path) from exc

    @contextlib.contextmanager
    def read(self) -> Iterator[Transaction]:
        """Give a read transaction: one consistent state. Point reads cost about a microsecond."""
        with translated(self.path), self._env.begin(buffers=True) as txn:
            yield Transaction(txn, self._tables, self.path)

    @contextlib.contextmanager
    def write(self) -> Iterator[Transaction]:
        """Give the write transaction; it is committed at the end and dropped on an exception.

        Waits for other writers. The commit waits for the disk in a durable environment.
        """
        with translated(self.path), self._env.begin(write=True, buffers=True) as txn:
            yield Transaction(txn, self._tables, self.path)

    def forget_dead_readers(self) -> None:
        """Free what killed processes held for reading; it keeps old pages from being reused."""
        with translated(self.path):
            self._env.reader_check()

    def close(self) -> None:
        """Let go of the environment; the last user closes it."""
        with _registry_lock:
            self.users -= 1
            if self.users == 0:
                _open_environments.pop(self.path, None)
                if self._pid == os.getpid():
                    self._env.close()

    def disown(self) -> None:
        """Refuse all use from now on, in a process forked from the one that opened this.

        LMDB keeps locks and reader slots by process; a child that used them would break both. Nor
        can it be opened anew in the child: the binding takes it for open.
        """
        self._inherited, self._env = self._env, _Inherited(self.path)


class _Inherited:
    """Stands in for an environment in a forked process."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def begin(self, **_: object) -> NoReturn:
        raise OxenfsError(f"{self._path} was opened before a fork; spawn a process to use it")


def open_environment(
    path: Path, tables: Sequence[str], *, durable: bool, create: bool = True
) -> Environment:
    """Return the environment in the folder `path`.

    Args:
        path: a folder of its own; created with mode 0700.
        tables: names of all tables; the same at every opening.
        create: whether to make it if it is not there.
        durable: whether a committed transaction survives a power cut. Without it a kill of the
            process still loses nothing, but a power cut may damage the environment.

    Raises:
        IntegrityError: the files are damaged beyond opening.
        AccessDenied: no permission.
    """
    path = path.resolve()
    with _registry_lock:
        found = _open_environments.get(path)
        if found is not None:
            found.users += 1
            return found
        # LMDB takes an empty file for a new environment.
        if not create and length(path / "data.mdb") == 0:
            raise IntegrityError(f"the index in {path} is missing")
        made = Environment(path, tables, durable=durable)
        _open_environments[path] = made
        return made
