"""What a remote said is answered without it, and what it never said is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from oxenfs.errors import RemoteUnavailable
from oxenfs.model import ObjectHash
from oxenfs.remote.base import TreePlace
from oxenfs.store.records import ListingRecords
from oxenfs.store.remembered import Offline


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("Grüße".encode(), "'Grüße'"),
        (b"two\nlines", r"'two\nlines'"),
        (b"not \xff", r"'not \xff'"),
    ],
)
def test_a_folder_that_was_never_fetched_is_named_on_one_line(
    tmp_path: Path, path: bytes, shown: str
) -> None:
    records = ListingRecords("key", tmp_path)
    offline = Offline("key", "http://host/ns/name", records)
    with pytest.raises(RemoteUnavailable) as raised:
        offline.directory(ObjectHash(1), TreePlace(ObjectHash(2), path))
    records.close()
    wanted = f"offline: folder {shown} of http://host/ns/name was never fetched here"
    assert str(raised.value) == wanted
