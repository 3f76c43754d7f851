"""Folders to import, and what became of them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from remote.reference import Tree, tree_of
from repositories import AUTHOR

from oxenfs.importing import import_tree
from oxenfs.model import Published
from oxenfs.remote.local.repository import LocalRemote


def fill(folder: Path, tree: Tree) -> None:
    for path, data in tree.items():
        place = folder / os.fsdecode(path)
        (place if data is None else place.parent).mkdir(parents=True, exist_ok=True)
        if data is not None:
            place.write_bytes(data)


def take(remote: LocalRemote, source: Path, **options: Any) -> Published:
    branch = options.pop("branch", "main")
    return import_tree(remote, source, branch, message="m", author=AUTHOR, **options)


def head_tree(remote: LocalRemote, branch: str = "main") -> Tree:
    return tree_of(remote, remote.branch(branch).commit)
