"""One transaction: point reads, many at once, and scans, each value sealed and copied out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oxenfs.kv.seals import seal, unseal

if TYPE_CHECKING:
    import lmdb


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
        return None if sealed is None else unseal(sealed, table, key, self._path)

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
            return {key: unseal(sealed, table, key, path) for key, sealed in found}

    def put_many(self, table: str, items: Sequence[tuple[bytes, bytes]]) -> None:
        """Set many values; one call of LMDB for all of them, and one wait for the interpreter."""
        sealed = [(key, value + seal(key, value)) for key, value in items]
        with self._txn.cursor(db=self._tables[table]) as cursor:
            cursor.putmulti(sealed)

    def put(self, table: str, key: bytes, value: bytes) -> None:
        """Set the value."""
        self._txn.put(key, value + seal(key, value), db=self._tables[table])

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
            yield key, unseal(cursor.value(), table, key, path)

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
                yield here, unseal(memoryview(cursor.value()), table, here, self._path)
                found = cursor.next()
