"""docs/semantics.md and the tests say the same."""

from __future__ import annotations

import re
from pathlib import Path

from .mounted import ROOT

DOCUMENT = (ROOT / "docs" / "semantics.md").read_text(encoding="utf-8")


def names_in(folder: str) -> set[str]:
    return {
        name
        for path in (ROOT / "tests" / folder).glob("test_*.py")
        if path.name != Path(__file__).name
        for name in re.findall(r"def (test_\w+)\(", path.read_text(encoding="utf-8"))
    }


def test_each_promise_has_a_test_and_each_test_a_promise() -> None:
    named = set(re.findall(r"`(test_\w+)`", DOCUMENT))
    here = names_in("semantics")
    elsewhere = {
        name for folder in ("mount", "overlay", "hostile", "remote") for name in names_in(folder)
    }
    assert named - here - elsewhere == set()
    assert here - named == set()


def test_each_row_names_a_test() -> None:
    promises = DOCUMENT.partition("## Errors")[0].splitlines()
    rows = [line for line in promises if line.startswith("| ") and "---" not in line]
    without = [row for row in rows if "`test_" not in row and row != "| promise | test |"]
    assert without == []
    assert len(rows) > 40
