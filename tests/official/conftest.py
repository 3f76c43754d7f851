"""A server of ours and the official client, each in a process of its own."""

from __future__ import annotations

import importlib.util
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from serving import Running, running

from .client import Client


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if importlib.util.find_spec("oxen") is None:
        here = Path(__file__).parent
        for item in items:
            if item.path.is_relative_to(here):
                item.add_marker(pytest.mark.skip(reason="no oxenai (pip install oxenai)"))


@pytest.fixture(scope="session")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    client = Client(tmp_path_factory.mktemp("client"))
    yield client
    client.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("served") / "root") as server:
        yield server
        assert server.problems() == ""


@pytest.fixture
def drawn() -> random.Random:
    """Random numbers; the seed is printed where a test fails."""
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed: {seed}")
    return random.Random(seed)


@pytest.fixture
def name(drawn: random.Random) -> str:
    """A name for a repository."""
    return f"some/repo-{drawn.randrange(1 << 48):x}"
