"""Where things lie in the folder of a local repository.

config.toml        format, uuid, default branch, vnode size
meta/              LMDB: nodes, refs, commits, blobs, digests; workspaces, staged, dir_hashes
packs/00000001     small blobs one after the other (`oxenfs.remote.local.packs`)
blobs/ab/cd...     larger blobs, a file each, named by the padded hash
tmp/               files that are being written; anything here may be removed by the next writer
lock               flock held while a branch moves
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import tomllib
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from oxenfs.errors import AccessDenied, IntegrityError, NotFound, OxenfsError, UsageError
from oxenfs.kv import Environment, open_environment
from oxenfs.model import ObjectHash

FORMAT = "oxenfs local repository 1"
TABLES = (
    "nodes",
    "refs",
    "commits",
    "blobs",
    "digests",
    # What a server keeps: staging areas, and what pushing clients sent along with commits.
    "workspaces",
    "staged",
    "dir_hashes",
)


@dataclass(frozen=True, slots=True)
class Layout:
    """The folder of one repository, and what its config file says.

    Attributes:
        uuid: made at `init`; names the repository in caches, wherever its folder is moved.
        vnode_size: entries in a bucket of a directory, at the most on average.
    """

    root: Path
    uuid: str
    default_branch: str
    vnode_size: int

    @property
    def packs(self) -> Path:
        """The folder of packs."""
        return self.root / "packs"

    @property
    def tmp(self) -> Path:
        """The folder of unfinished files."""
        return self.root / "tmp"

    @property
    def lock(self) -> Path:
        """The file whose flock serialises moves of branches."""
        return self.root / "lock"

    def blob(self, hash: ObjectHash) -> Path:
        """Return the file of a large blob."""
        text = format(hash, "032x")
        return self.root / "blobs" / text[:2] / text[2:]

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold the repository against others who move branches, threads and processes alike.

        The kernel lets go if we are killed.
        """
        fd = os.open(self.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    def open_meta(self, *, create: bool = False) -> Environment:
        """Open the repository's index; raise `IntegrityError` if it is missing or damaged."""
        return open_environment(self.root / "meta", TABLES, durable=True, create=create)


def make_layout(root: Path, *, default_branch: str = "main", vnode_size: int = 10_000) -> Layout:
    """Make the folders of a new repository; its config file comes last, by `finish`.

    Raises:
        UsageError: there is something at `root` already.
        AccessDenied: `root` cannot be made or written to.
    """
    root = root.absolute()
    try:
        root.mkdir(parents=True, exist_ok=True)
        if any(root.iterdir()):
            what = "a repository already" if (root / "config.toml").exists() else "not empty"
            raise UsageError(f"{root} is {what}; name a new or empty folder")
        layout = Layout(root, str(uuid.uuid4()), default_branch, vnode_size)
        for folder in (layout.packs, root / "blobs", layout.tmp):
            folder.mkdir(mode=0o700)
        layout.lock.touch(mode=0o600)
    except (FileExistsError, NotADirectoryError) as exc:
        raise UsageError(f"{root} is not a folder") from exc
    except PermissionError as exc:
        raise AccessDenied(f"no permission to make a repository at {root}") from exc
    except OSError as exc:
        raise OxenfsError(f"cannot make a repository at {root}: {exc.strerror}") from exc
    return layout


def finish(layout: Layout) -> None:
    """Write the config file: from now on the folder is a repository."""
    text = (
        f'format = "{FORMAT}"\nuuid = "{layout.uuid}"\n'
        # A JSON string of printable characters is a TOML string too.
        f"default_branch = {json.dumps(layout.default_branch, ensure_ascii=False)}\n"
        f"vnode_size = {layout.vnode_size}\n"
    )
    unfinished = layout.tmp / "config.toml"
    with unfinished.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    unfinished.rename(layout.root / "config.toml")
    sync_folder(layout.root)


def read_layout(root: Path) -> Layout:
    """Return the layout of the repository at `root`.

    Raises:
        NotFound: there is none; says what to do.
        IntegrityError: its config file cannot be understood.
    """
    root = root.absolute()
    config = root / "config.toml"
    try:
        values = tomllib.loads(config.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as exc:
        raise NotFound(_why_none(root)) from exc
    except PermissionError as exc:
        raise AccessDenied(f"no permission to read the repository at {root}") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as exc:
        raise IntegrityError(f"{config} is damaged: {exc}") from exc
    if values.get("format") != FORMAT:
        raise NotFound(f"{root} is not a repository that this version knows")
    wanted = {"uuid": str, "default_branch": str, "vnode_size": int}
    if wrong := [key for key, kind in wanted.items() if type(values.get(key)) is not kind]:
        raise IntegrityError(f"{config} is damaged: {', '.join(wrong)} missing or of a wrong type")
    try:
        name = str(uuid.UUID(values["uuid"]))
    except ValueError as exc:
        raise IntegrityError(f"{config} is damaged: {exc}") from exc
    if values["vnode_size"] < 1:
        raise IntegrityError(f"{config} is damaged: vnode_size is {values['vnode_size']}")
    return Layout(root, name, values["default_branch"], values["vnode_size"])


def bare_layout(root: Path) -> Layout:
    """Return where things lie at `root`, whatever its config file says: for who only looks."""
    return Layout(root.absolute(), uuid="", default_branch="", vnode_size=1)


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` survive a power cut."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _why_none(root: Path) -> str:
    if (root / ".oxen").is_dir():
        return (
            f"{root} is a clone made by the official client, which cannot be mounted yet; "
            f"copy it into a repository: oxenfs init REPO && oxenfs import {root} REPO@main -m ..."
        )
    if root.exists():
        return f"{root} is not a repository; make one in a new folder: oxenfs init REPO"
    return f"no repository at {root}; make one: oxenfs init {root}"
