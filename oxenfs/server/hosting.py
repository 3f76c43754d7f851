"""The repositories below one folder, `namespace/name`: opened when asked for, made, removed.

Whoever uses a repository holds a lease. A removed one is out of sight at once, and its files go
when the last lease ends; an index must not be closed under a thread that reads it.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import threading
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

from oxenfs.errors import Busy, NotFound, OxenfsError
from oxenfs.remote.local.layout import read_layout
from oxenfs.remote.local.lookup import Pages
from oxenfs.remote.local.repository import LocalRemote, create_empty, open_repository
from oxenfs.server.answers import Refusal
from oxenfs.server.uploads import Uploads

# An open index takes 1 TiB of a process's 128 TiB of addresses.
_OPEN_MAX = 48
_LEAVE_S = 10
_NAMESPACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{1,49}\Z")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{1,99}\Z")


class Hosted:
    """An open repository.

    Attributes:
        uploads: blobs that are arriving in parts.
    """

    def __init__(self, namespace: str, name: str, remote: LocalRemote) -> None:
        """Host `remote`."""
        self.namespace = namespace
        self.name = name
        self.remote = remote
        self.uploads = Uploads(remote)
        self.leases = 0
        self.trash: Path | None = None

    def close(self) -> None:
        """Let go of its files, and remove them if it was deleted."""
        self.uploads.close()
        self.remote.close()
        if self.trash is not None:
            shutil.rmtree(self.trash, ignore_errors=True)


class Hosting:
    """All repositories of a server. Safe to use from several threads.

    Attributes:
        pages: the order of directories that were listed.
    """

    def __init__(self, root: Path) -> None:
        """Serve what is below `root`."""
        self._root = root
        self.pages = Pages()
        self._lock = threading.Condition()
        self._open: OrderedDict[tuple[str, str], Hosted] = OrderedDict()
        self._leaving: dict[tuple[str, str], Hosted] = {}
        for left in root.glob(".deleted-*"):
            shutil.rmtree(left, ignore_errors=True)

    @contextlib.contextmanager
    def lease(self, namespace: str, name: str) -> Iterator[Hosted]:
        """Give a repository for as long as it is used; raise `NotFound` or a `Refusal`."""
        hosted = self.take(namespace, name)
        try:
            yield hosted
        finally:
            self.give_back(hosted)

    def take(self, namespace: str, name: str) -> Hosted:
        """Return a repository; each call wants one of `give_back`."""
        check_names(namespace, name)
        key = (namespace, name)
        with self._lock:
            hosted = self._open.get(key)
            if hosted is None:
                if key in self._leaving:
                    raise NotFound(f"Repository '{namespace}/{name}' not found")
                remote = self._open_remote(namespace, name)
                hosted = self._open[key] = Hosted(namespace, name, remote)
            self._open.move_to_end(key)
            hosted.leases += 1
            self._shrink()
        return hosted

    def take_now(self, namespace: str, name: str) -> Hosted | None:
        """Return a repository as `take` does if that costs nothing: it is open, nobody is busy."""
        if not self._lock.acquire(blocking=False):
            return None
        try:
            hosted = self._open.get((namespace, name))
            if hosted is not None:
                self._open.move_to_end((namespace, name))
                hosted.leases += 1
            return hosted
        finally:
            self._lock.release()

    def give_back_now(self, hosted: Hosted) -> bool:
        """End one lease if that costs nothing; return False if `give_back` has to do it."""
        if not self._lock.acquire(blocking=False):
            return False
        try:
            if hosted.trash is not None:
                return False
            hosted.leases -= 1
            return True
        finally:
            self._lock.release()

    def give_back(self, hosted: Hosted) -> None:
        """End one lease. May have to remove files."""
        with self._lock:
            hosted.leases -= 1
            if hosted.leases or hosted.trash is None:
                return
        hosted.close()
        with self._lock:
            self._leaving.pop((hosted.namespace, hosted.name), None)
            self._lock.notify_all()

    def create(self, namespace: str, name: str) -> None:
        """Make an empty repository; a kill in between leaves none.

        Raises:
            Refusal: a name that must not be, or one that is taken.
        """
        check_names(namespace, name)
        key = (namespace, name)
        place = self._root / namespace / name
        with self._lock:
            # The same path may not be opened again before the old index is closed.
            if not self._lock.wait_for(lambda: key not in self._leaving, _LEAVE_S):
                raise Busy(f"Repository '{namespace}/{name}' is being deleted", 1)
            if place.exists():
                raise Refusal(409, "resource_already_exists", "Repo already exists.")
            making = self._root / f".deleted-{secrets.token_hex(8)}"
            try:
                create_empty(making).close()
                place.parent.mkdir(exist_ok=True)
                making.rename(place)
            except OSError as exc:
                raise OxenfsError(f"cannot make {namespace}/{name}: {exc.strerror}") from exc
            finally:
                shutil.rmtree(making, ignore_errors=True)

    def delete(self, hosted: Hosted) -> None:
        """Remove a repository; the caller's lease, and those of others, are good to their end."""
        trash = self._root / f".deleted-{secrets.token_hex(8)}"
        key = (hosted.namespace, hosted.name)
        with self._lock:
            if self._open.get(key) is not hosted:
                raise NotFound(f"Repository '{hosted.namespace}/{hosted.name}' not found")
            (self._root / hosted.namespace / hosted.name).rename(trash)
            hosted.trash = trash
            del self._open[key]
            self._leaving[key] = hosted

    def names(self) -> dict[str, list[str]]:
        """Return the names of all repositories, by namespace."""
        found: dict[str, list[str]] = {}
        for config in sorted(self._root.glob("*/*/config.toml")):
            namespace, name = config.parts[-3:-1]
            if _NAMESPACE.match(namespace) and _NAME.match(name):
                found.setdefault(namespace, []).append(name)
        return found

    def close(self) -> None:
        """Close all repositories."""
        with self._lock:
            for hosted in self._open.values():
                hosted.close()
            self._open.clear()

    def _open_remote(self, namespace: str, name: str) -> LocalRemote:
        try:
            return open_repository(self._root / namespace / name)
        except NotFound as exc:
            raise NotFound(f"Repository '{namespace}/{name}' not found") from exc

    def _shrink(self) -> None:
        for key, hosted in list(self._open.items()):
            if len(self._open) <= _OPEN_MAX:
                return
            if not hosted.leases and not hosted.uploads.count:
                hosted.close()
                del self._open[key]


def check_names(namespace: str, name: str) -> None:
    """Raise a `Refusal` unless both may be names; nothing else may become part of a path."""
    if not _NAMESPACE.match(namespace) or namespace == "repo":
        raise Refusal(
            400,
            "bad_request",
            f"Invalid namespace name '{namespace[:60]}'. "
            "Must match [a-zA-Z0-9][a-zA-Z0-9_-]{1,49}",
        )
    if not _NAME.match(name):
        raise Refusal(400, "bad_request", f"Invalid repository name {name[:120]!r}.")


def check_root(root: Path) -> Path:
    """Return the folder to serve, made if it is not there; raise `OxenfsError`."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        if not os.access(root, os.R_OK | os.W_OK | os.X_OK):
            raise OxenfsError(f"no permission to serve {root}")
    except OSError as exc:
        raise OxenfsError(f"cannot serve {root}: {exc.strerror}") from exc
    root = root.resolve()
    if _is_repository(root):
        namespace, name = root.parts[-2:] if len(root.parts) > 2 else ("NAMESPACE", "NAME")
        raise OxenfsError(
            f"{root} is a repository itself, and serve takes the folder two levels above: "
            f"{root.parent.parent}, which serves this one as {namespace}/{name}"
        )
    return root


def _is_repository(root: Path) -> bool:
    try:
        read_layout(root)
    except OxenfsError:
        return False
    return True
