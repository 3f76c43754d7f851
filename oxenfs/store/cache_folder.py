"""What lies where in a cache folder, and how a part of it that is damaged is put out of the way."""

from __future__ import annotations

import contextlib
import logging
import shutil
import threading
from pathlib import Path
from uuid import uuid4

log = logging.getLogger(__name__)

BLOBS, TREE = "blobs", "tree"
"""The folders of a cache folder: what was fetched with its index, and listings."""

INDEX = "index"
"""Where the database of `BLOBS` lies in it; that of `TREE` is the folder itself."""

USERS = "users"
"""The folder in `BLOBS` in which each process that uses the cache has a file."""


def set_aside(folder: Path) -> None:
    """Move an unusable database away, and delete bytes of blobs beside the start."""
    aside = folder.with_name(f"{folder.name}.damaged")
    log.warning("the index of the cache %s is damaged; it is set aside as %s", folder, aside)
    old = folder.with_name(f"{folder.name}.old-{uuid4().hex}")
    with contextlib.suppress(FileNotFoundError):
        aside.rename(old)
    with contextlib.suppress(FileNotFoundError):
        folder.rename(aside)
    delete = threading.Thread(
        target=_delete, args=(old, aside / "data"), daemon=True, name="cache set aside"
    )
    delete.start()


def _delete(*folders: Path) -> None:
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
