"""From an address to a remote: when a token may travel."""

from __future__ import annotations

from pathlib import Path

import pytest

from oxenfs import config
from oxenfs.address import parse
from oxenfs.errors import UsageError
from oxenfs.remote.open import open_remote


@pytest.fixture
def token_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    monkeypatch.setattr(config, "token", lambda host: config.Token(host, "s3cret"))
    return monkeypatch


@pytest.mark.parametrize(
    "host", ["example.org", "127.example.org", "127.0.0.1.example.org", "10.0.0.1", "localhost.org"]
)
def test_a_token_does_not_travel_in_the_clear(token_for: object, host: str) -> None:
    with pytest.raises(UsageError, match="--insecure") as caught:
        open_remote(parse(f"http://{host}/ns/name"))
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("address", ["http://127.0.0.1:3000", "http://localhost", "http://[::1]:1"])
def test_on_this_machine_it_may(token_for: object, address: str) -> None:
    open_remote(parse(f"{address}/ns/name")).close()


def test_over_tls_and_when_told_to_it_may(token_for: object) -> None:
    open_remote(parse("https://example.org/ns/name")).close()
    open_remote(parse("http://example.org/ns/name"), insecure=True).close()
