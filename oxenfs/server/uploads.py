"""Blobs that are arriving in parts, of one repository: begun, looked up, given up when idle."""

from __future__ import annotations

import threading
import time
import uuid
from typing import NamedTuple

from oxenfs.errors import Busy, NotFound
from oxenfs.model import ObjectHash
from oxenfs.remote.local.parts import PartsUpload
from oxenfs.remote.local.repository import LocalRemote

_IDLE_S = 60.0
_UPLOADS_MAX = 64


class Destination(NamedTuple):
    """Where a finished upload is staged."""

    workspace: str
    path: bytes


class Session(NamedTuple):
    """An upload and where it goes; None: it is only stored."""

    upload: PartsUpload
    destination: Destination | None


class Uploads:
    """The sessions of one repository. Safe to use from several threads."""

    def __init__(self, remote: LocalRemote) -> None:
        """Begin with none."""
        self._remote = remote
        self._lock = threading.Lock()
        self._sessions: dict[str, Session] = {}

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._sessions)

    def begin(
        self, blob: ObjectHash, size: int, destination: Destination | None
    ) -> tuple[str, Session]:
        """Return a new session and its id; raise `Busy` when there are too many."""
        with self._lock:
            self._drop_idle()
            if len(self._sessions) >= _UPLOADS_MAX:
                raise Busy("too many uploads at a time", 1)
            session = Session(PartsUpload(self._remote, blob, size), destination)
            id = str(uuid.uuid4())
            self._sessions[id] = session
        return id, session

    def get(self, id: str) -> Session:
        """Return a session; raise `NotFound`."""
        with self._lock:
            session = self._sessions.get(id)
        if session is None:
            raise NotFound(f"Version upload {id} not found")
        return session

    def end(self, id: str) -> None:
        """Forget a session, and drop what has arrived."""
        with self._lock:
            session = self._sessions.pop(id, None)
        if session is not None:
            session.upload.abandon()

    def close(self) -> None:
        """End all."""
        for id in list(self._sessions):
            self.end(id)

    def _drop_idle(self) -> None:
        now = time.monotonic()
        for id, session in list(self._sessions.items()):
            if session.upload.idle and now - session.upload.touched > _IDLE_S:
                del self._sessions[id]
                session.upload.abandon()
