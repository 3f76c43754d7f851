"""A small typed layer over LMDB; the only place that uses it.

What it adds to LMDB:

- Every value carries an xxh3-64 of itself and its key and is checked when it is read. LMDB checks
  nothing: a flipped bit or a lost page shows as other bytes, not as an error.
- Values are copied out, so no view of the map outlives its transaction.
- A file that lost its tail is made long enough again (with zeros) before it is mapped: touching
  a page behind the end of the file would kill the process with SIGBUS, zeros are found by the
  checks.
- On a read-only file system it is opened for reading, without locks: nobody can write there.
- One environment per path and process, shared by whoever opens it again: LMDB's locks break
  when one process opens a file twice.

Writes of one environment are serialised between processes by LMDB; keep write transactions short.
"""

from __future__ import annotations

import contextlib
import os
import struct
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import lmdb
import xxhash

from oxenfs.errors import AccessDenied, IntegrityError, OxenfsError

# One size for all: a map that another process has grown could not be read here without closing
# every transaction first. It is address space, not disk. ext4 refuses 16 TiB.
MAP_BYTES = 1 << 40
_READERS_MAX = 510
_SEAL_BYTES = 8
_digest, _number = xxhash.xxh3_64_digest, xxhash.xxh3_64_intdigest
# What LMDB says when its pages make no sense; which of them depends on where it notices.
_DAMAGE = (
    lmdb.BadTxnError,
    lmdb.CorruptedError,
    lmdb.CursorFullError,
    lmdb.IncompatibleError,
    lmdb.InvalidError,
    lmdb.PageFullError,
    lmdb.PageNotFoundError,
    lmdb.PanicError,
    lmdb.ProblemError,
)
_META_BYTES = 16 + 8 + 16 + 2 * 48 + 16

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
        with _opening(path):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            readonly = bool(os.statvfs(path).f_flag & os.ST_RDONLY)
            if readonly:
                _refuse_cut_off(path / "data.mdb")
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
                return None if sealed is None else _unseal(sealed, table, key, self.path)
        except lmdb.Error as exc:
            raise _translate(exc, self.path) from exc

    def has(self, table: str, key: bytes) -> bool:
        """Return whether there is a value, without looking at it; a transaction of its own."""
        try:
            with self._env.begin(buffers=True) as txn:
                return txn.get(key, db=self._tables[table]) is not None
        except lmdb.Error as exc:
            raise _translate(exc, self.path) from exc

    @contextlib.contextmanager
    def read(self) -> Iterator[Transaction]:
        """Give a read transaction: one consistent state. Point reads cost about a microsecond."""
        with _translated(self.path), self._env.begin(buffers=True) as txn:
            yield Transaction(txn, self._tables, self.path)

    @contextlib.contextmanager
    def write(self) -> Iterator[Transaction]:
        """Give the write transaction; it is committed at the end and dropped on an exception.

        Waits for other writers. The commit waits for the disk in a durable environment.
        """
        with _translated(self.path), self._env.begin(write=True, buffers=True) as txn:
            yield Transaction(txn, self._tables, self.path)

    def forget_dead_readers(self) -> None:
        """Free what killed processes held for reading; it keeps old pages from being reused."""
        with _translated(self.path):
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


class Transaction:
    """Reads and writes of one transaction. Not to be kept beyond it."""

    def __init__(self, txn: lmdb.Transaction, tables: dict[str, Any], path: Path) -> None:
        """Wrap `txn`."""
        self._txn = txn
        self._tables = tables
        self._path = path

    def get(self, table: str, key: bytes) -> bytes | None:
        """Return the value, or None; raise `IntegrityError` when its seal does not fit."""
        sealed = self._txn.get(key, db=self._tables[table])
        return None if sealed is None else _unseal(sealed, table, key, self._path)

    def has(self, table: str, key: bytes) -> bool:
        """Return whether there is a value, without looking at it."""
        return self._txn.get(key, db=self._tables[table]) is not None

    def has_many(self, table: str, keys: Sequence[bytes]) -> set[bytes]:
        """Return those of `keys` that have a value; one call of LMDB for all of them."""
        with self._txn.cursor(db=self._tables[table]) as cursor:
            return {bytes(key) for key, _ in cursor.getmulti(keys)}

    def get_many(self, table: str, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return the values of those of `keys` that have one; one call of LMDB for all of them."""
        path = self._path
        with self._txn.cursor(db=self._tables[table]) as cursor:
            found = [(bytes(key), sealed) for key, sealed in cursor.getmulti(keys)]
            return {key: _unseal(sealed, table, key, path) for key, sealed in found}

    def put_many(self, table: str, items: Sequence[tuple[bytes, bytes]]) -> None:
        """Set many values; one call of LMDB for all of them, and one wait for the interpreter."""
        sealed = [(key, value + _seal(key, value)) for key, value in items]
        with self._txn.cursor(db=self._tables[table]) as cursor:
            cursor.putmulti(sealed)

    def put(self, table: str, key: bytes, value: bytes) -> None:
        """Set the value."""
        seal = _seal(key, value)
        self._txn.put(key, value + seal, db=self._tables[table])

    def delete(self, table: str, key: bytes) -> bool:
        """Remove the value; return whether there was one."""
        return bool(self._txn.delete(key, db=self._tables[table]))

    def count(self, table: str) -> int:
        """Return the number of values in `table`."""
        return int(self._txn.stat(db=self._tables[table])["entries"])

    def scan(self, table: str, prefix: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Yield keys that start with `prefix` and their values, in key order."""
        path = self._path
        for key, cursor in self._from(table, prefix):
            yield key, _unseal(cursor.value(), table, key, path)

    def keys(self, table: str, prefix: bytes = b"") -> Iterator[bytes]:
        """Yield the keys that start with `prefix`, in order, without looking at the values."""
        for key, _ in self._from(table, prefix):
            yield key

    def _from(self, table: str, prefix: bytes) -> Iterator[tuple[bytes, lmdb.Cursor]]:
        with self._txn.cursor(db=self._tables[table]) as cursor:
            found = cursor.set_range(prefix) if prefix else cursor.first()
            while found:
                key = bytes(cursor.key())
                if not key.startswith(prefix):
                    return
                yield key, cursor
                found = cursor.next()

    def after(self, table: str, key: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield the keys from `key` on and their values, in key order, to the table's end."""
        with self._txn.cursor(db=self._tables[table]) as cursor:
            found = cursor.set_range(key) if key else cursor.first()
            while found:
                here = bytes(cursor.key())
                yield here, _unseal(memoryview(cursor.value()), table, here, self._path)
                found = cursor.next()


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
        if not create and _length(path / "data.mdb") == 0:
            raise IntegrityError(f"the index in {path} is missing")
        made = Environment(path, tables, durable=durable)
        _open_environments[path] = made
        return made


def extend_to_last_page(data: Path) -> None:
    """Make an LMDB data file as long as its meta pages say, if it is shorter.

    `posix_fallocate` never shrinks a file nor touches what is there, so a process that writes to
    the environment at the same time is not disturbed. Only the last page takes up space: a damaged
    meta page may name one far away.

    Source: `MDB_meta` in LMDB's mdb.c (data format 1): magic, version, address, map size, two
    database records of 48 bytes (the first one begins with the page size), last page, transaction.
    """
    try:
        fd = os.open(data, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        wanted, page_bytes = _wanted_bytes(fd)
        if 0 < os.fstat(fd).st_size < wanted:
            os.posix_fallocate(fd, wanted - page_bytes, page_bytes)
    finally:
        os.close(fd)


def _wanted_bytes(fd: int) -> tuple[int, int]:
    """Return how long a data file should be at least, and the length of its pages."""
    wanted = 0
    page_bytes = 4096
    for number in range(2):
        meta = os.pread(fd, _META_BYTES, number * page_bytes)
        if len(meta) < _META_BYTES or meta[16:20] != b"\xde\xc0\xef\xbe":
            continue
        (size,) = struct.unpack_from("<I", meta, 40)
        last_page, _ = struct.unpack_from("<QQ", meta, 136)
        if 512 <= size <= 65536 and last_page < MAP_BYTES // size:
            page_bytes = size
            wanted = max(wanted, (last_page + 1) * size)
    return wanted, page_bytes


def _refuse_cut_off(data: Path) -> None:
    """Raise `IntegrityError` for a file that would have to be made longer, and cannot be."""
    fd = os.open(data, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if os.fstat(fd).st_size < _wanted_bytes(fd)[0]:
            raise IntegrityError(f"the index in {data.parent} is cut off, on a read-only disk")
    finally:
        os.close(fd)


def _length(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0
    except OSError as exc:
        raise AccessDenied(f"no permission for the index in {file.parent} ({exc})") from exc


@contextlib.contextmanager
def _opening(path: Path) -> Iterator[None]:
    try:
        with _translated(path):
            yield
    except PermissionError as exc:
        raise AccessDenied(f"no permission for the index in {path} ({exc})") from exc
    except OSError as exc:
        raise OxenfsError(f"the index in {path} cannot be opened: {exc.strerror}") from exc


@contextlib.contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except lmdb.Error as exc:
        raise _translate(exc, path) from exc


def _translate(exc: lmdb.Error, path: Path) -> OxenfsError:
    if isinstance(exc, lmdb.VersionMismatchError):
        return IntegrityError(f"the index in {path} was made by another version ({exc})")
    if isinstance(exc, _DAMAGE):
        return IntegrityError(f"the index in {path} is damaged ({exc})")
    if isinstance(exc, lmdb.ReadonlyError):
        return AccessDenied(f"the index in {path} is on a read-only disk")
    if isinstance(exc, lmdb.LockError):
        return AccessDenied(f"no permission for the index in {path} ({exc})")
    # A full disk shows here as "Input/output error" or ENOSPC, without an errno.
    return OxenfsError(f"the index in {path}: {exc}; is the disk full?")


def _seal(key: bytes, value: bytes) -> bytes:
    # The key is in it too: a sound record of another key, on a stale page, must not pass.
    return _digest(value, seed=_number(key))


def _unseal(sealed: bytes | memoryview, table: str, key: bytes, path: Path) -> bytes:
    whole = bytes(sealed)
    value = whole[:-_SEAL_BYTES]
    if _seal(key, value) != whole[-_SEAL_BYTES:]:
        raise IntegrityError(f"damaged record {key.hex()} in table {table} of {path}")
    return value
