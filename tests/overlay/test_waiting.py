"""Changes that wait for their mount: whose they are, and what commands say of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .mounting import OverlayMount, listed, write

pytestmark = pytest.mark.fuse


def pending(mount: OverlayMount) -> list[tuple[object, ...]]:
    """Return folder, branch and number of changes of what is not mounted."""
    code, said = mount.call("mounts", "--pending", "--json")
    assert code == 0, said
    return [(row["dir"], row["branch"], row["changes"]) for row in json.loads(said)]


def test_a_refused_move_leaves_the_changes_where_they_are(
    mount: OverlayMount, repository: Path, tmp_path: Path
) -> None:
    mount.errors_expected = True  # the refused mount's
    write(mount.dir / "new", b"new")
    mount.commit("-b", "side")
    write(mount.dir / "more", b"more")
    mount.stop()
    other = tmp_path.resolve() / "other"
    other.mkdir()
    words = ("mount", f"{repository}@main", str(other), "--overlay-of", str(mount.dir))
    code, said = mount.call(*words)
    assert code == 3
    assert f"{mount.dir} has changes on top of side" in said
    assert str(other) not in said
    assert pending(mount) == [(str(mount.dir), "side", 1)]
    assert mount.call("discard", str(mount.dir), "--yes")[0] == 0
    mount.start()
    assert listed(mount.dir) == ["big.bin", "d", "top.txt"]
