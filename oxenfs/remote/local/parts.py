"""A blob that arrives in numbered parts, in any order and several at a time.

Parts lie at their place in one file. Their chunk digests are made while they arrive (parts are
whole chunks), the hash of the whole as soon as all before is there: while the pages are warm.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable

import xxhash

from oxenfs.errors import Busy, NotFound, UsageError
from oxenfs.model import CHUNK_BYTES, ObjectHash, hash_text
from oxenfs.remote.local.blob_writer import chunk_digests
from oxenfs.remote.local.receive import Receiver, new_file
from oxenfs.remote.local.repository import LocalRemote

PART_BYTES = 10 << 20
PART_WINDOW = 102
_PARTS_MAX = 10_000
_STEP_BYTES = 1 << 20


class PartsUpload:
    """One upload. Safe to use from several threads."""

    def __init__(self, remote: LocalRemote, blob: ObjectHash, size: int) -> None:
        """Begin to receive `blob`, of `size` bytes."""
        self._remote = remote
        self.blob = blob
        self.size = size
        steps = -(-size // (PART_BYTES * _PARTS_MAX))
        self.part_bytes = PART_BYTES * max(steps, 1)
        self.parts = -(-size // self.part_bytes)
        self.touched = time.monotonic()
        self._path = new_file(remote)
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._lock = threading.Lock()
        self._busy: set[int] = set()
        self._digests: dict[int, list[bytes]] = {}
        self._state = xxhash.xxh3_128()
        self._hashed = 0
        self._hashing = False

    @property
    def idle(self) -> bool:
        """Whether no part is arriving."""
        return not self._busy

    def put(self, number: int, pieces: Iterable[bytes]) -> bool:
        """Take part `number`, from 1; return whether it was the last one that was missing.

        Raises:
            UsageError: there is no such part, it has another length, or all of it another hash.
            Busy: the same part is arriving, or it is too far ahead of the others.
        """
        if not 1 <= number <= self.parts:
            raise UsageError(f"there is no part {number} of {self.parts}")
        with self._lock:
            self._use()
            if number in self._busy:
                raise Busy(f"part {number} is arriving already", 1)
            if number > self._hashed + PART_WINDOW:
                raise Busy(f"part {number} is too far ahead", 1)
            if number in self._digests:
                return False
            self._busy.add(number)
        try:
            digests = self._receive(number, pieces)
            with self._lock:
                self._digests[number] = digests
        finally:
            with self._lock:
                self._busy.discard(number)
                self.touched = time.monotonic()
        return self._hash_on()

    def finish(self) -> bytes:
        """Make it a blob, once `put` has said that it is complete; return its first bytes.

        Raises:
            UsageError: its hash is another; the upload is over then, too.
        """
        value = ObjectHash(self._state.intdigest())
        try:
            if value != self.blob:
                raise UsageError(
                    f"the file's {self.size} bytes hash to {hash_text(value)}, "
                    f"not {hash_text(self.blob)}"
                )
            os.fsync(self._fd)
            head = os.pread(self._fd, _STEP_BYTES, 0)
            digests = [d for number in sorted(self._digests) for d in self._digests[number]]
            receiver = Receiver(self._remote)
            try:
                receiver.adopt(self._path, value, self.size, digests)
                receiver.flush()
            finally:
                receiver.close()
        finally:
            self.abandon()
        return head

    def abandon(self) -> None:
        """Drop what has arrived."""
        with self._lock:
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1
                self._path.unlink(missing_ok=True)

    def _use(self) -> None:
        if self._fd < 0:
            raise NotFound("the upload is over")
        self.touched = time.monotonic()

    def _receive(self, number: int, pieces: Iterable[bytes]) -> list[bytes]:
        start = (number - 1) * self.part_bytes
        wanted = min(self.part_bytes, self.size - start)
        digests: list[bytes] = []
        waiting = bytearray()
        at = 0
        for piece in pieces:
            if at + len(piece) > wanted:
                raise UsageError(f"part {number} has more than {wanted} bytes")
            left = memoryview(piece)
            while left:
                written = os.pwrite(self._fd, left, start + at)
                at += written
                left = left[written:]
            waiting += piece
            whole = len(waiting) - len(waiting) % CHUNK_BYTES
            if whole:
                digests += chunk_digests(memoryview(bytes(waiting[:whole])))
                del waiting[:whole]
        if at != wanted:
            raise UsageError(f"part {number} is {at} bytes, not {wanted}")
        return digests + chunk_digests(memoryview(bytes(waiting)))

    def _hash_on(self) -> bool:
        """Hash the parts that have none missing before them; one thread does it at a time."""
        while True:
            with self._lock:
                if self._hashing or self._hashed + 1 not in self._digests:
                    return False
                self._hashing = True
                number = self._hashed + 1
            start = (number - 1) * self.part_bytes
            end = min(start + self.part_bytes, self.size)
            done = False
            try:
                for at in range(start, end, _STEP_BYTES):
                    self._state.update(os.pread(self._fd, min(_STEP_BYTES, end - at), at))
                done = True
            finally:
                with self._lock:
                    self._hashed += done
                    self._hashing = False
            if number == self.parts:
                return True
