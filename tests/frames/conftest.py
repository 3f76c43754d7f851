"""Clips for all tests of this folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from . import clips

pytest.importorskip("av", reason="no PyAV (pip install 'oxenfs[video]')")


@pytest.fixture(scope="session")
def videos() -> Path:
    """The folder of odd clips."""
    return clips.folder()
