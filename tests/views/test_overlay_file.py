"""An open file of an overlay, in states that only a kill at the wrong moment leaves."""

from __future__ import annotations

from pathlib import Path

import pytest
from in_trio import in_trio
from repositories import make_repository

from oxenfs.address import parse
from oxenfs.overlay.nodes import ROOT
from oxenfs.overlay.upper import Upper
from oxenfs.views import stack
from oxenfs.views.overlay import Overlay
from oxenfs.views.overlay_file import OpenFile
from oxenfs.views.plan import Plan


@in_trio
async def test_killed_before_a_first_write_is_noted_its_bytes_are_the_same_however_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_repository(tmp_path / "data", {b"file": b"c" * 100}).close()
    built = stack.build(Plan(parse(f"{tmp_path / 'data'}@main"), tmp_path / "cache"))
    (tmp_path / "layer").mkdir()
    upper = Upper(tmp_path / "layer", built.facts.commit.id, "main")
    overlay = Overlay(upper, built.root, 0, 0)
    try:
        file = await overlay.open(await overlay.promote(ROOT, b"file"))

        def killed(*_: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(OpenFile, "_note", killed)
        with pytest.raises(KeyboardInterrupt):
            await file.write(100, b"x" * 50)
        assert bytes(await file.read(0, 1000)) == b"c" * 100 + b"x" * 50
        assert bytes(await file.read(100, 1000)) == b"x" * 50
        file.close()
    finally:
        upper.close()
        built.close()
