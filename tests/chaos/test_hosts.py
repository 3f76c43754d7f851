"""What one server says about a hash is never shown for another server's files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from remote.http import serving
from repositories import KIB, MIB, noise

from .conftest import mounted
from .faults import Between, Fault, chaos
from .files import Files, import_into

pytestmark = pytest.mark.fuse

FILES: Files = {
    "large.bin": noise(3 * MIB + 5, "large"),
    "small.bin": noise(40 * KIB, "small"),
}


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[tuple[Between, Between]]:
    """Two servers with the same repository, thus with equal hashes of everything."""
    if (reason := serving.why_ours_is_missing()) is not None:
        pytest.skip(reason)
    folder = tmp_path / "served"
    import_into(folder / "ns" / "files", FILES)
    with serving.ours(folder) as server, chaos(server.host) as evil, chaos(server.host) as good:
        yield evil, good


def test_a_server_cannot_plant_bytes_for_another_ones_files(
    servers: tuple[Between, Between], tmp_path: Path
) -> None:
    evil, good = servers
    words = ("--cache-dir", str(tmp_path / "cache"))
    evil.play(Fault("flip", kinds=("GET chunk",)))
    address = f"http://{evil.host}/ns/files@main"
    with mounted(tmp_path / "evil", address, timeout_s=10, words=words) as mount:
        # Only a range: the hash of the whole, which would show it, is not known yet.
        with (mount.dir / "large.bin").open("rb", buffering=0) as file:
            got = file.read(MIB)
        assert (mount.dir / "small.bin").read_bytes() == FILES["small.bin"]
    assert evil.fired("flip")
    assert got != FILES["large.bin"][:MIB], "nothing was planted"

    address = f"http://{good.host}/ns/files@main"
    with mounted(tmp_path / "good", address, timeout_s=10, words=words) as mount:
        for name, data in FILES.items():
            assert (mount.dir / name).read_bytes() == data
    kinds = [kind for kind, _ in good.asked()]
    # Nor is what was right taken from there.
    assert "QUERY versions" in kinds
    assert "GET chunk" in kinds
