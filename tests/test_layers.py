"""Imports point down only, and each library has one owner. See docs/architecture.md.

cli -> mount, server -> views -> overlay, frames -> store -> remote -> kv, model, errors
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCES = {"oxenfs": ROOT / "oxenfs", "oxenfs_cli": ROOT / "cli" / "oxenfs_cli"}

FREE = {
    "oxenfs",
    "oxenfs.errors",
    "oxenfs.failures",
    "oxenfs.model",
    "oxenfs.names",
    "oxenfs.address",
    "oxenfs.config",
    "oxenfs.places",
}
"""What everybody may use: values, errors, and where things are. They use only each other."""

LAYERS: list[set[str]] = [
    {"oxenfs.kv", "oxenfs.textdiff"},
    # History and import ask a remote, as the store does, and nobody below the CLI asks them.
    {"oxenfs.remote", "oxenfs.samples", "oxenfs.source"},
    {"oxenfs.comparing", "oxenfs.history", "oxenfs.importing", "oxenfs.store"},
    {"oxenfs.frames", "oxenfs.overlay"},
    {"oxenfs.views"},
    {"oxenfs.mount", "oxenfs.server"},
    {"oxenfs_cli"},
]
"""From the lowest to the highest. Those of one layer know nothing of each other."""

OWNERS: dict[str, set[str]] = {
    "av": {"oxenfs.frames", "oxenfs.samples"},
    "blake3": {"oxenfs.remote", "oxenfs.store", "oxenfs.overlay"},
    "click": {"oxenfs_cli"},
    "isal": {"oxenfs.remote"},
    "lmdb": {"oxenfs.kv"},
    "msgpack": {"oxenfs.remote", "oxenfs.store", "oxenfs.overlay"},
    "numpy": {"oxenfs.samples", "oxenfs_cli.demo", "oxenfs.store"},
    "pyfuse3": {"oxenfs.mount"},
    "requests": {"oxenfs.remote.http"},
    "starlette": {"oxenfs.server"},
    "python_multipart": {"oxenfs.server"},
    "uvicorn": {"oxenfs.server"},
    "anyio": {"oxenfs.server"},
    "tqdm": {"oxenfs_cli"},
    "trio": {"oxenfs.frames", "oxenfs.mount", "oxenfs.overlay", "oxenfs.store", "oxenfs.views"},
    "urllib3": {"oxenfs.remote.http"},
    "xxhash": {
        "oxenfs.history",
        "oxenfs.kv",
        "oxenfs.overlay",
        "oxenfs.remote",
        "oxenfs.store",
    },
}
"""The modules, with all below them, that may import a library. No others may be imported."""


def within(module: str, names: set[str]) -> bool:
    return any(module == name or module.startswith(name + ".") for name in names)


def layer(module: str) -> int:
    """Return the layer's number, from 0; -1 for what is free to all."""
    if module in FREE:
        return -1
    for number, names in enumerate(LAYERS):
        if within(module, names):
            return number
    raise LookupError(f"{module} is in no layer; say in {Path(__file__).name} where it belongs")


def part(module: str) -> str:
    """Return the member of the layers that `module` is in, or the module itself."""
    names = set().union(*LAYERS)
    return next((name for name in names if within(module, {name})), module)


def imports(tree: ast.AST) -> Iterator[str]:
    """Yield the full names that are imported anywhere in a module, also inside functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            # `from . import x` hides where it goes; nobody writes it here.
            assert node.level == 0, "relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def complaints(module: str, source: str) -> list[str]:
    """Return what is wrong with the imports of `module`."""
    found = []
    own = layer(module)
    for name in imports(ast.parse(source)):
        top = name.partition(".")[0]
        if top in SOURCES:
            target = known(name)
            other = layer(target)
            if other > own or (other == own and part(target) != part(module) and own >= 0):
                found.append(f"{module} imports {name}, which is not below it")
        elif top not in sys.stdlib_module_names and not within(module, OWNERS.get(top, set())):
            found.append(f"{module} imports {top}, which is not its own")
    return found


def known(name: str) -> str:
    """Return the module that `name` (a module, or something in one) is in."""
    parts = name.split(".")
    while parts:
        path = SOURCES[parts[0]].joinpath(*parts[1:])
        if path.with_suffix(".py").is_file() or (path / "__init__.py").is_file():
            return ".".join(parts)
        parts.pop()
    raise LookupError(name)


def modules() -> list[tuple[str, Path]]:
    found = []
    for top, folder in SOURCES.items():
        for path in sorted(folder.rglob("*.py")):
            parts = [top, *path.relative_to(folder).with_suffix("").parts]
            found.append((".".join(parts[:-1] if parts[-1] == "__init__" else parts), path))
    return found


@pytest.mark.parametrize(("module", "path"), modules(), ids=lambda value: str(value))
def test_imports_point_down(module: str, path: Path) -> None:
    assert complaints(module, path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("module", "source", "culprit"),
    [
        ("oxenfs.remote.base", "from oxenfs.views.base import Directory", "oxenfs.views.base"),
        ("oxenfs.views.base", "import oxenfs.mount.registry", "oxenfs.mount.registry"),
        ("oxenfs.model", "from oxenfs import kv", "oxenfs.kv"),
        ("oxenfs.kv", "def late():\n    from oxenfs.remote import base", "oxenfs.remote.base"),
        ("oxenfs.mount.registry", "from oxenfs_cli.main import cli", "oxenfs_cli.main"),
        ("oxenfs.history", "from oxenfs.importing import import_tree", "oxenfs.importing"),
        ("oxenfs.views.base", "import lmdb", "lmdb"),
        ("oxenfs.remote.base", "import requests", "requests"),
        ("oxenfs.store.columns", "if x:\n    from pyfuse3 import Operations", "pyfuse3"),
        ("oxenfs.mount.registry", "import click", "click"),
        ("oxenfs_cli.mount", "import pandas.io", "pandas"),
    ],
)
def test_a_planted_violation_is_found(module: str, source: str, culprit: str) -> None:
    (complaint,) = complaints(module, source)
    assert complaint.startswith(f"{module} imports {culprit}")


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("oxenfs_cli.mount", "import click\nfrom oxenfs.kv import Environment"),
        ("oxenfs.remote.base", "from oxenfs.errors import NotFound\nfrom oxenfs import kv, model"),
        ("oxenfs.remote.base", "from oxenfs.remote import wire\nimport os.path, json"),
    ],
)
def test_what_is_allowed_is_let_through(module: str, source: str) -> None:
    assert complaints(module, source) == []


def test_a_module_in_no_layer_is_noticed() -> None:
    with pytest.raises(LookupError, match="in no layer"):
        complaints("oxenfs.brand_new", "")
