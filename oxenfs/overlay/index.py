"""The state of an overlay by key: what the journal adds up to, in LMDB.

The last edits wait in memory and go into LMDB together. LMDB is not flushed: after a kill of the
process it is sound and lacks the last edits, which the journal has; after a power cut (told by the
boot id) it is thrown away and made again from the journal.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from oxenfs.errors import OxenfsError
from oxenfs.kv import Environment, Transaction
from oxenfs.overlay.index_fill import META, STATE, TABLES, Filling, open_tables, place_of, put_state
from oxenfs.overlay.journal import Edit, Journal, JournalWriter, sync_folder

_PENDING_MAX = 512
_DUMP_AT_ONCE = 2_000


class Index:
    """Values by table and key. For one thread; `snapshot` gives others a view of their own."""

    def __init__(self, journal: Journal, env: Environment) -> None:
        self._journal = journal
        self._env = env
        self._pending: list[dict[bytes, bytes | None]] = [{} for _ in TABLES]
        self._pending_count = 0

    @property
    def journal(self) -> Journal:
        """Where edits are noted."""
        return self._journal

    def get(self, table: int, key: bytes) -> bytes | None:
        """Return a value, or None."""
        pending = self._pending[table]
        if key in pending:
            return pending[key]
        return self._env.get(TABLES[table], key)

    def scan(self, table: int, prefix: bytes = b"") -> list[tuple[bytes, bytes]]:
        """Return the keys that start with `prefix`, and their values, in order of the keys."""
        with self._env.read() as txn:
            found = list(txn.scan(TABLES[table], prefix))
        changed = {k: v for k, v in self._pending[table].items() if k.startswith(prefix)}
        if changed:
            merged = {**dict(found), **changed}
            found = sorted((k, v) for k, v in merged.items() if v is not None)
        return found

    def apply(self, edits: list[Edit]) -> None:
        """Note the edits of one operation in the journal, then let them count.

        Raises:
            UpperFull: the journal has no space; nothing has changed.
        """
        self._journal.append(edits)
        for table, key, value in edits:
            self._pending[table][key] = value
        self._pending_count += len(edits)
        if self._pending_count >= _PENDING_MAX:
            # A full disk is no reason to fail: the journal has it, memory has it.
            with contextlib.suppress(OxenfsError):
                self.flush()

    def flush(self) -> None:
        """Put what waits in memory into LMDB; raise `OxenfsError` if the disk is full."""
        with self._env.write() as txn:
            self._flush_into(txn)
        self._forget_pending()

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        """Give the state as it is in LMDB; `flush` before. For any one thread."""
        with self._env.read() as txn:
            yield Snapshot(txn)

    def open_snapshot(self) -> contextlib.AbstractContextManager[Snapshot]:
        """Return the state as it is in LMDB now, not when the context is entered."""
        stack = contextlib.ExitStack()
        snapshot = stack.enter_context(self.snapshot())

        @contextlib.contextmanager
        def held() -> Iterator[Snapshot]:
            with stack:
                yield snapshot

        return held()

    def compact(self) -> None:
        """Write the journal anew, with what counts alone."""
        self.flush()
        with self.snapshot() as snapshot:
            prepared = self.prepare(snapshot.dump())
        self.adopt(prepared)

    def prepare(self, records: Iterable[list[Edit]]) -> Prepared:
        """Write a journal and an index that consist of `records`; for any thread.

        Raises:
            UpperFull: there is no space for them.
        """
        writer = JournalWriter(self._folder / "journal")
        env = None
        try:
            env = open_tables(place_of(self._folder, writer.id))
            filling = Filling(env, writer.id)
            for edits in records:
                writer.append(edits)
                filling.add(edits)
            writer.sync()
            filling.finish(writer.end)
        except BaseException:
            writer.close()
            if env is not None:
                env.close()
                shutil.rmtree(env.path, ignore_errors=True)
            raise
        return Prepared(writer, env)

    def adopt(self, prepared: Prepared) -> None:
        """Let what was prepared be everything there is; nothing else may have changed meanwhile.

        A crash leaves the old or the new state.
        """
        journal = prepared.writer.finish()
        old, old_env = self._journal, self._env
        self._journal, self._env = journal, prepared.env
        self._forget_pending()
        old.close()
        old_env.close()
        shutil.rmtree(old_env.path, ignore_errors=True)
        sync_folder(self._folder)

    def live(self) -> int:
        """Return about how many values there are."""
        with self._env.read() as txn:
            return sum(txn.count(table) for table in TABLES) + self._pending_count

    def close(self) -> None:
        """Flush and close."""
        try:
            with contextlib.suppress(OxenfsError):
                self.flush()
        finally:
            self._env.close()
            self._journal.close()

    @property
    def _folder(self) -> Path:
        return self._env.path.parent

    def _flush_into(self, txn: Transaction) -> None:
        for table, pending in zip(TABLES, self._pending, strict=True):
            for key, value in pending.items():
                if value is None:
                    txn.delete(table, key)
                else:
                    txn.put(table, key, value)
        put_state(txn, self._journal.id, self._journal.end)

    def _forget_pending(self) -> None:
        for pending in self._pending:
            pending.clear()
        self._pending_count = 0


class Snapshot:
    """One state of the index, for reading."""

    def __init__(self, txn: Transaction) -> None:
        self._txn = txn

    def get(self, table: int, key: bytes) -> bytes | None:
        """Return a value, or None."""
        return self._txn.get(TABLES[table], key)

    def scan(self, table: int, prefix: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Yield the keys that start with `prefix`, and their values, in order of the keys."""
        return self._txn.scan(TABLES[table], prefix)

    def dump(self) -> Iterator[list[Edit]]:
        """Yield everything, some thousand edits at a time."""
        edits: list[Edit] = []
        for number, table in enumerate(TABLES):
            for key, value in self._txn.scan(table):
                if number == META and key == STATE:
                    continue
                edits.append(Edit(number, key, value))
                if len(edits) >= _DUMP_AT_ONCE:
                    yield edits
                    edits = []
        if edits:
            yield edits


class Prepared(NamedTuple):
    """A journal and an index that are to take the place of others."""

    writer: JournalWriter
    env: Environment

    def drop(self) -> None:
        """Give them up."""
        self.writer.close()
        self.env.close()
        shutil.rmtree(self.env.path, ignore_errors=True)
