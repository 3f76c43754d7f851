"""The state of an overlay by key: what the journal adds up to, in LMDB.

The last edits wait in memory and go into LMDB together. LMDB is not flushed: after a kill of the
process it is sound and lacks the last edits, which the journal has; after a power cut (told by the
boot id) it is thrown away and made again from the journal.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import msgpack

from oxenfs.errors import OxenfsError
from oxenfs.kv import Environment, Transaction, open_environment
from oxenfs.overlay.journal import Edit, Journal, JournalWriter, open_journal, sync_folder

log = logging.getLogger(__name__)

NODES, ENTRIES, XATTRS, ORIGINS, PIECES, META, HASHES = range(7)
_TABLES = ("nodes", "entries", "xattrs", "origins", "pieces", "meta", "hashes")
_STATE = b"state"
_PENDING_MAX = 512
_REPLAY_AT_ONCE = 20_000
_DUMP_AT_ONCE = 2_000


class Index:
    """Values by table and key. For one thread; `snapshot` gives others a view of their own."""

    def __init__(self, journal: Journal, env: Environment) -> None:
        self._journal = journal
        self._env = env
        self._pending: list[dict[bytes, bytes | None]] = [{} for _ in _TABLES]
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
        return self._env.get(_TABLES[table], key)

    def scan(self, table: int, prefix: bytes = b"") -> list[tuple[bytes, bytes]]:
        """Return the keys that start with `prefix`, and their values, in order of the keys."""
        with self._env.read() as txn:
            found = list(txn.scan(_TABLES[table], prefix))
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
            env = open_environment(_place(self._folder, writer.id), _TABLES, durable=False)
            filling = _Filling(env, writer.id)
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
            return sum(txn.count(table) for table in _TABLES) + self._pending_count

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
        for table, pending in zip(_TABLES, self._pending, strict=True):
            for key, value in pending.items():
                if value is None:
                    txn.delete(table, key)
                else:
                    txn.put(table, key, value)
        txn.put("meta", _STATE, _state(self._journal.id, self._journal.end))

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
        return self._txn.get(_TABLES[table], key)

    def scan(self, table: int, prefix: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Yield the keys that start with `prefix`, and their values, in order of the keys."""
        return self._txn.scan(_TABLES[table], prefix)

    def dump(self) -> Iterator[list[Edit]]:
        """Yield everything, some thousand edits at a time."""
        edits: list[Edit] = []
        for number, table in enumerate(_TABLES):
            for key, value in self._txn.scan(table):
                if number == META and key == _STATE:
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


def open_index(folder: Path) -> Index:
    """Open journal and index in `folder`.

    Raises:
        IntegrityError: the journal is not one.
        UpperFull: the index has to be made again, and there is no space for it.
    """
    journal = open_journal(folder / "journal")
    try:
        place = _place(folder, journal.id)
        # Of journals that were replaced, or never finished.
        for other in folder.glob("index-*"):
            if other != place:
                shutil.rmtree(other, ignore_errors=True)
        env = _trusted(place, journal)
        start = None
        if env is not None:
            state = _read_state(env)
            assert state is not None
            start = state[1]
        else:
            shutil.rmtree(place, ignore_errors=True)
            env = open_environment(place, _TABLES, durable=False)
        filling = _Filling(env, journal.id)
        for edits in journal.records() if start is None else journal.records(start):
            filling.add(edits)
        filling.finish(journal.end)
    except BaseException:
        journal.close()
        raise
    return Index(journal, env)


def _place(folder: Path, id: int) -> Path:
    """Return where the index of the journal `id` is: one is never taken for another's."""
    return folder / f"index-{id:016x}"


def _trusted(path: Path, journal: Journal) -> Environment | None:
    """Return the environment if it belongs to this journal and this boot of the machine."""
    if not (path / "data.mdb").exists():
        return None
    env = None
    try:
        env = open_environment(path, _TABLES, durable=False)
        state = _read_state(env)
        if state is not None and state[0] == journal.id and state[1] <= journal.end:
            if state[2] == _boot_id():
                return env
            log.info("the machine has been restarted: the index in %s is made again", path)
    except OxenfsError as exc:
        log.warning("the index is made again from the journal: %s", exc)
    if env is not None:
        env.close()
    return None


class _Filling:
    """Puts records into an environment, many in one transaction."""

    def __init__(self, env: Environment, id: int) -> None:
        self._env = env
        self._id = id
        self._waiting: list[dict[bytes, bytes | None]] = [{} for _ in _TABLES]
        self._count = 0

    def add(self, edits: list[Edit]) -> None:
        for table, key, value in edits:
            self._waiting[table][key] = value
        self._count += len(edits)
        if self._count >= _REPLAY_AT_ONCE:
            # Position 0: killed on the way, it is not to be trusted.
            self._put(0)

    def finish(self, end: int) -> None:
        self._put(end)

    def _put(self, position: int) -> None:
        with self._env.write() as txn:
            for table, edits in zip(_TABLES, self._waiting, strict=True):
                for key in sorted(edits):
                    value = edits[key]
                    if value is None:
                        txn.delete(table, key)
                    else:
                        txn.put(table, key, value)
                edits.clear()
            txn.put("meta", _STATE, _state(self._id, position))
        self._count = 0


def _state(id: int, position: int) -> bytes:
    packed: bytes = msgpack.packb([id, position, _boot_id()])
    return packed


def _read_state(env: Environment) -> tuple[int, int, str] | None:
    packed = env.get("meta", _STATE)
    if packed is None:
        return None
    id, position, boot = msgpack.unpackb(packed)
    return (id, position, boot) if position else None


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
