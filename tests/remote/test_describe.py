"""What is noted about a file beside its bytes."""

from __future__ import annotations

import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oxenfs.model import Kind, ObjectHash
from oxenfs.remote.describe import KINDS, combined_hash, describe
from oxenfs.remote.hashing import little, xxh3

PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"


@pytest.mark.parametrize(
    ("name", "data_type", "mime_type"),
    [
        ("a.jpg", "image", "image/jpeg"),
        ("a.JPG", "image", "image/jpeg"),
        ("a.webp", "image", "image/webp"),
        ("a.mp4", "video", "video/mp4"),
        ("a.mkv", "video", "video/x-matroska"),
        ("a.webm", "video", "video/webm"),
        ("a.ts", "video", "video/mp2t"),
        ("a.flac", "audio", "audio/flac"),
        ("a.csv", "tabular", "text/csv"),
        ("a.parquet", "tabular", "application/vnd.apache.parquet"),
        ("a.jsonl", "tabular", "application/x-ndjson"),
        ("a.md", "text", "text/markdown"),
        ("a.json", "text", "application/json"),
        ("a.py", "text", "text/x-python"),
        ("a.npy", "binary", "application/octet-stream"),
        ("a.zip", "binary", "application/zip"),
    ],
)
def test_a_known_ending_decides(name: str, data_type: str, mime_type: str) -> None:
    for head in (b"", b"text", b"\0\xff"):
        described = describe(name, head, whole=True)
        assert (described.data_type, described.mime_type) == (data_type, mime_type)


@pytest.mark.parametrize("name", ["README", "a.unknown", ".hidden", "a.", "data:,x", "a:b"])
def test_without_one_the_first_bytes_decide(name: str) -> None:
    assert describe(name, "plain ünï".encode(), whole=True)[:2] == ("text", "text/plain")
    assert describe(name, b"", whole=True)[:2] == ("text", "text/plain")
    for head in (b"a\0b", b"\xff\xfe", PNG, "ünï".encode("latin-1")):
        assert describe(name, head, whole=True)[:2] == ("binary", "application/octet-stream")


def test_compressed_text_is_not_text() -> None:
    for name in ("a.txt.gz", "a.csv.gz", "a.gz"):
        assert describe(name, gzip.compress(b"text"), whole=True).data_type == "binary"


def test_a_character_cut_in_two_is_still_text() -> None:
    for shift in range(3):
        head = b"x" * shift + "€".encode() * 2000
        assert describe("README", head, whole=False).data_type == "text"
    assert describe("README", b"x" * 100 + b"\xe2\x82", whole=True).data_type == "binary"


@pytest.mark.parametrize(
    ("name", "extension"),
    [("a.TXT", "txt"), ("a.tar.gz", "gz"), (".hidden", ""), ("a", ""), ("a.", "")],
)
def test_the_extension_is_the_last_one_in_lower_case(name: str, extension: str) -> None:
    assert describe(name, b"", whole=True).extension == extension


def test_text_is_counted_when_all_of_it_is_there() -> None:
    described = describe("a.txt", "ünï\nx".encode(), whole=True)
    assert described.metadata == [[2, 5]]
    assert described.metadata_hash == xxh3(b'{"text":{"num_lines":2,"num_chars":5}}')
    assert describe("a.txt", b"", whole=True).metadata == [[1, 0]]
    for head, whole in ((b"text", False), (b"\xff", True)):
        described = describe("a.txt", head, whole=whole)
        assert (described.metadata, described.metadata_hash) == (None, None)
    assert describe("a.csv", b"a,b", whole=True).metadata is None


def test_hashes_of_content_and_metadata_are_combined() -> None:
    assert combined_hash(ObjectHash(5), None) == 5
    both = combined_hash(ObjectHash(5), ObjectHash(7))
    assert both == xxh3(little(5), little(7)) != combined_hash(ObjectHash(7), ObjectHash(5))


def test_each_data_type_has_its_kind() -> None:
    kinds = {kind.name.lower().encode(): kind for kind in Kind if kind != Kind.DIRECTORY}
    assert kinds == KINDS


@given(st.text(max_size=20), st.binary(max_size=50), st.booleans())
def test_any_name_and_bytes_can_be_described(name: str, head: bytes, whole: bool) -> None:
    described = describe(name, head, whole)
    assert described.data_type in {kind.name.lower() for kind in Kind}
    assert (described.metadata is None) == (described.metadata_hash is None)
