"""The upper layer without a mount: names, numbers, reopening, and a journal cut anywhere."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from oxenfs.errors import Exists, InvalidMove, NotEmpty, NotFound, OxenfsError
from oxenfs.model import ObjectHash
from oxenfs.overlay.journal import open_journal
from oxenfs.overlay.nodes import ROOT, Node
from oxenfs.overlay.pieces import Pieces
from oxenfs.overlay.upper import Upper

from .model import file_node, folder_node, shown

BASE = ObjectHash(0xABCDEF)


def opened(folder: Path) -> Upper:
    folder.mkdir(exist_ok=True)
    return Upper(folder, BASE, "main")


@pytest.fixture
def upper(tmp_path: Path) -> Iterator[Upper]:
    layer = opened(tmp_path / "layer")
    yield layer
    layer.close()


def lower_file(path: bytes) -> Node:
    return file_node()._replace(origin=path, size=5)


def test_a_new_layer_has_no_changes_and_keeps_its_base(tmp_path: Path) -> None:
    layer = opened(tmp_path / "layer")
    assert not layer.has_changes()
    layer.close()
    again = Upper(tmp_path / "layer", ObjectHash(5), "other")
    assert (again.base, again.branch) == (BASE, "main")
    again.close()


def test_names_come_and_go(upper: Upper) -> None:
    folder = upper.make(ROOT, b"d", folder_node(), covers=False)
    file = upper.make(folder, b"f", file_node(), covers=False)
    upper.link(file, ROOT, b"g", covers=False)
    assert upper.node(file).nlink == 2
    assert upper.node(ROOT).nlink == 3
    with pytest.raises(Exists):
        upper.make(folder, b"f", file_node(), covers=False)
    with pytest.raises(NotEmpty):
        upper.remove(ROOT, b"d", covers=False)
    upper.remove(folder, b"f", covers=False)
    upper.remove(ROOT, b"d", covers=False)
    assert upper.node(ROOT).nlink == 2
    assert shown(upper) == {b"g": (upper.node(file).mode, 1)}


def test_a_name_of_the_commit_leaves_a_whiteout(upper: Upper) -> None:
    upper.remove(ROOT, b"f", covers=True)
    assert shown(upper) == {b"f": (0, 0)}
    upper.make(ROOT, b"f", file_node(), covers=True)
    upper.remove(ROOT, b"f", covers=True)
    assert shown(upper) == {b"f": (0, 0)}


def test_a_folder_of_the_commit_is_renamed_by_one_entry(upper: Upper) -> None:
    node = folder_node()._replace(origin=b"d")
    folder = upper.promote(ROOT, b"d", node)
    upper.rename(ROOT, b"d", ROOT, b"e", covers=False)
    assert upper.node(folder).origin == b"d"
    assert upper.path(folder) == b"e"
    assert upper.of_origin(b"d") == folder
    found = upper.entry(ROOT, b"d")
    assert found is not None
    assert found.is_whiteout


def test_a_folder_cannot_go_into_itself(upper: Upper) -> None:
    one = upper.make(ROOT, b"a", folder_node(), covers=False)
    two = upper.make(one, b"b", folder_node(), covers=False)
    with pytest.raises(InvalidMove):
        upper.rename(ROOT, b"a", two, b"c", covers=False)


def test_exchange_swaps_a_folder_and_a_file(upper: Upper) -> None:
    one = upper.make(ROOT, b"a", folder_node(), covers=False)
    upper.make(one, b"x", folder_node(), covers=False)
    file = upper.make(one, b"f", file_node(), covers=False)
    upper.make(ROOT, b"g", file_node(), covers=False)
    upper.exchange(one, b"x", ROOT, b"g")
    assert upper.node(ROOT).nlink == 4
    assert upper.node(one).nlink == 2
    assert upper.node(file).nlink == 1


def test_what_is_held_outlives_its_name(upper: Upper) -> None:
    file = upper.make(ROOT, b"f", file_node()._replace(data=77), covers=False)
    os.close(upper.files.open(77))
    path = Path(upper.files.path(77))
    upper.hold(file)
    upper.remove(ROOT, b"f", covers=False)
    upper.collect()
    assert upper.node(file).nlink == 0
    assert path.exists()
    upper.release(file)
    upper.collect()
    assert not path.exists()


def test_frozen_bytes_stay_until_thawed(upper: Upper) -> None:
    data = upper.new_file()
    os.close(upper.files.open(data))
    upper.make(ROOT, b"f", file_node()._replace(data=data), covers=False)
    upper.freeze()
    upper.remove(ROOT, b"f", covers=False)
    upper.collect()
    assert Path(upper.files.path(data)).exists()
    upper.thaw()
    upper.collect()
    assert not Path(upper.files.path(data)).exists()


def test_a_sweep_removes_what_a_crash_left(tmp_path: Path) -> None:
    layer = opened(tmp_path / "layer")
    layer.make(ROOT, b"f", file_node()._replace(data=5), covers=False)
    for number in (5, 6):
        os.close(layer.files.open(number))
    layer.index.close()  # as a kill leaves it: no closing in order
    again = opened(tmp_path / "layer")
    assert Path(again.files.path(5)).exists()
    assert not Path(again.files.path(6)).exists()
    again.close()


class Random:
    """Random operations on a layer, some of which must fail."""

    def __init__(self, upper: Upper, seed: int) -> None:
        self._upper = upper
        self._random = random.Random(seed)

    def step(self) -> None:
        folders = [ROOT, *self._below(ROOT)]
        pick = self._random.choice
        names = [b"a", b"b", b"c", b"d"]
        parent, name, other, new = pick(folders), pick(names), pick(folders), pick(names)
        entry = self._upper.entry(parent, name)
        seen = entry is not None and not entry.is_whiteout
        covers = pick([False, False, True])
        try:
            match pick(["make", "folder", "remove", "rename", "link", "exchange", "set", "xattr"]):
                case "make":
                    self._upper.make(parent, name, file_node(), covers=covers)
                case "folder":
                    self._upper.make(parent, name, folder_node(), covers=covers)
                case "remove":
                    self._upper.remove(parent, name, covers=covers)
                case "rename":
                    self._upper.rename(parent, name, other, new, covers=covers)
                case "exchange":
                    self._upper.exchange(parent, name, other, new)
                case "link" if seen and entry is not None:
                    if not self._upper.node(entry.nid).is_directory:
                        there = self._upper.entry(other, new)
                        if there is None or there.is_whiteout:
                            self._upper.link(entry.nid, other, new, covers=covers)
                case "set" if seen and entry is not None:
                    node = self._upper.node(entry.nid)
                    self._upper.set_node(entry.nid, node._replace(mode=node.mode ^ 0o11))
                case "xattr" if seen and entry is not None:
                    self._upper.set_xattr(entry.nid, b"user.x", b"1")
        except (Exists, NotFound, NotEmpty, InvalidMove):
            pass

    def _below(self, folder: int) -> list[int]:
        found = []
        for _, entry in self._upper.entries(folder):
            if not entry.is_whiteout and self._upper.node(entry.nid).is_directory:
                found += [entry.nid, *self._below(entry.nid)]
        return found


def link_counts(upper: Upper, folder: int = ROOT) -> dict[int, int]:
    counts: dict[int, int] = {folder: 2}
    for _, entry in upper.entries(folder):
        if entry.is_whiteout:
            continue
        if upper.node(entry.nid).is_directory:
            counts[folder] += 1
            counts |= link_counts(upper, entry.nid)
        else:
            for nid, count in counts.items():
                if nid == entry.nid:
                    counts[nid] = count + 1
                    break
            else:
                counts[entry.nid] = 1
    return counts


@pytest.mark.parametrize("seed", range(8))
def test_random_operations_are_the_same_after_reopening(tmp_path: Path, seed: int) -> None:
    layer = opened(tmp_path / "layer")
    steps = Random(layer, seed)
    for _ in range(150):
        steps.step()
    before = shown(layer)
    assert layer.node(ROOT).nlink == link_counts(layer)[ROOT]
    layer.index.journal.sync()
    layer.index._env.close()  # as a kill leaves it
    layer.index.journal.close()
    again = opened(tmp_path / "layer")
    assert shown(again) == before
    again.index.compact()
    assert shown(again) == before
    again.close()
    for index in (tmp_path / "layer").glob("index-*"):
        shutil.rmtree(index)
    rebuilt = opened(tmp_path / "layer")
    assert shown(rebuilt) == before
    rebuilt.close()


def test_cut_at_every_byte_each_operation_is_whole_or_absent(tmp_path: Path) -> None:
    layer = opened(tmp_path / "layer")
    steps = Random(layer, 99)
    states = {layer.index.journal.end: shown(layer)}
    for _ in range(40):
        steps.step()
        states[layer.index.journal.end] = shown(layer)
    layer.index.flush()
    layer.index.close()
    whole = (tmp_path / "layer" / "journal").read_bytes()
    first = min(states)
    for size in range(first, max(states) + 1):
        cut = tmp_path / "cut"
        shutil.rmtree(cut, ignore_errors=True)
        cut.mkdir()
        if size % 3 == 0:
            # An index that is ahead of what the disk has of the journal must not be believed.
            (index,) = (tmp_path / "layer").glob("index-*")
            shutil.copytree(index, cut / index.name)
        (cut / "journal").write_bytes(whole[:size])
        (cut / "data").symlink_to(tmp_path / "layer" / "data")
        again = opened(cut)
        assert shown(again) == states[max(end for end in states if end <= size)]
        again.index.close()


def test_a_damaged_index_is_made_again(tmp_path: Path) -> None:
    layer = opened(tmp_path / "layer")
    layer.make(ROOT, b"f", file_node(), covers=False)
    layer.close()
    (data,) = (tmp_path / "layer").glob("index-*/data.mdb")
    data.write_bytes(b"\0" * data.stat().st_size)
    again = opened(tmp_path / "layer")
    assert set(shown(again)) == {b"f"}
    again.close()


def test_a_full_disk_takes_nothing_and_loses_nothing(
    upper: Upper, monkeypatch: pytest.MonkeyPatch
) -> None:
    upper.make(ROOT, b"before", file_node(), covers=False)
    before = shown(upper)

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.pwritev", full)
        with pytest.raises(OxenfsError, match="no space left"):
            upper.make(ROOT, b"f", file_node(), covers=False)
    assert shown(upper) == before
    upper.make(ROOT, b"f", file_node(), covers=False)
    assert len(list(open_journal(upper.index._folder / "journal").records())) == 3


def test_pieces_are_what_was_put_in() -> None:
    pieces = Pieces()
    pieces.add(3, 2)
    pieces.add(70_000)
    again = Pieces(pieces.pack())
    assert [c for c in (0, 2, 3, 4, 5, 69_999, 70_000) if again.has(c)] == [3, 4, 70_000]
    assert again.missing(2 * 262_144 + 1, 6 * 262_144) == [2, 5]
    assert again.missing(5, 5) == []
