"""Damaged nodes are refused, whatever the damage: no other exception, no memory, no hang."""

from __future__ import annotations

import contextlib
import random
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oxenfs.errors import IntegrityError
from oxenfs.model import Author, Commit, ObjectHash
from oxenfs.remote.base import DirectoryNodes, RawNode
from oxenfs.remote.payloads import (
    COMMIT,
    DIRECTORY,
    FILE,
    VERSION,
    VNODE,
    DirectoryPayload,
    FilePayload,
    VnodePayload,
    decode_payload,
    encode_payload,
)
from oxenfs.remote.rows import rows_of
from oxenfs.remote.wire import Child, children_of, decode_node, encode_node


@pytest.fixture(autouse=True, scope="module")
def little_memory() -> Iterator[None]:
    """Let a reader that makes room for what damage claims fail, not the machine."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 30), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def some_directory() -> DirectoryNodes:
    """Return a directory of three files and a folder, in two vnodes."""
    make = random.Random(3)

    def hash() -> ObjectHash:
        return ObjectHash(make.getrandbits(128))

    entries = []
    for name in ("a.txt", "b.png", "ünï"):
        file = FilePayload(
            name, hash(), hash(), hash(), 1234, hash(), 10**18 + 5, "text", [[2, 3]], "t/p", "txt"
        )
        entries.append(Child(FILE, file.hash, encode_payload(file)))
    folder = DirectoryPayload("sub", hash(), 3, 70_000, hash(), 0, {"text": 3}, {"text": 70_000})
    entries.append(Child(DIRECTORY, folder.id, encode_payload(folder)))
    id = hash()
    vnodes = []
    for part in (entries[:2], entries[2:]):
        vnode = VnodePayload(hash(), len(part))
        vnodes.append(encode_node(VNODE, vnode.id, id, encode_payload(vnode), part))
    own = DirectoryPayload("", id, 4, 73_702, hash(), 0, {"text": 6}, {"text": 73_702})
    rows = [
        Child(VNODE, v.id, v.node[21 : 21 + int.from_bytes(v.node[17:21], "little")])
        for v in vnodes
    ]
    return DirectoryNodes(encode_node(DIRECTORY, id, 0, encode_payload(own), rows), tuple(vnodes))


WHOLE = some_directory()
SOUND = [WHOLE.directory, *WHOLE.vnodes]


def read_all(nodes: DirectoryNodes) -> None:
    """Read a directory in both ways; damage may show as other values, and as `IntegrityError`."""
    for raw in (nodes.directory, *nodes.vnodes):
        try:
            node = decode_node(raw)
            for child in node.children:
                decode_payload(child.type, child.payload)
        except IntegrityError:
            pass
    try:
        rows = rows_of(nodes)
    except IntegrityError:
        return
    names = [row.name for row in rows]
    assert names == sorted(set(names))
    for row in rows:
        assert 0 < len(row.name) <= 255
        assert len(row.hash) == len(row.commit) == 16
        assert 0 <= row.size < 1 << 63
        assert -(1 << 63) <= row.mtime_ns < 1 << 63


def with_damage(damage: Any) -> None:
    """Apply `damage` to each byte string of the sound directory in turn, and read it."""
    for number, raw in enumerate(SOUND):
        for field in ("node", "children"):
            hurt = raw._replace(**{field: damage(getattr(raw, field))})
            nodes = [*SOUND[:number], hurt, *SOUND[number + 1 :]]
            read_all(DirectoryNodes(nodes[0], tuple(nodes[1:])))


def test_the_sound_directory_is_read() -> None:
    assert [row.name.decode() for row in rows_of(WHOLE)] == ["a.txt", "b.png", "sub", "ünï"]


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_random_bytes_are_only_ever_an_integrity_error(garbage: bytes) -> None:
    with_damage(lambda sound: garbage)
    with_damage(lambda sound: sound[:21] + garbage)
    for kind in range(5):
        with contextlib.suppress(IntegrityError):
            decode_payload(kind, garbage)


def test_a_node_cut_off_anywhere_is_only_ever_an_integrity_error() -> None:
    longest = max(len(part) for raw in SOUND for part in raw[1:])
    for length in range(longest):
        with_damage(lambda sound: sound[:length])  # noqa: B023


def test_a_flipped_bit_is_only_ever_other_values_or_an_integrity_error() -> None:
    longest = max(len(part) for raw in SOUND for part in raw[1:])
    for bit in range(8 * longest):

        def flip(sound: bytes) -> bytes:
            if bit >= 8 * len(sound):  # noqa: B023
                return sound
            hurt = bytearray(sound)
            hurt[bit // 8] ^= 1 << bit % 8  # noqa: B023
            return bytes(hurt)

        with_damage(flip)


VALUES: list[Any] = [
    None,
    True,
    -1,
    1.5,
    "text",
    b"bytes",
    b"x" * 16,
    2**64 - 1,
    [],
    [1],
    {},
    {1: 2},
]


@pytest.mark.parametrize("kind", [FILE, DIRECTORY], ids=["file", "directory"])
def test_fields_of_any_other_type_are_only_ever_an_integrity_error(kind: int) -> None:
    child = next(c for raw in WHOLE.vnodes for c in children_of(raw) if c.type == kind)
    fields = msgpack.unpackb(child.payload)[0][VERSION]
    for number in range(len(fields)):
        for value in [*VALUES, [None] * 16, (1,) * 16]:
            other = [*fields[:number], value, *fields[number + 1 :]]
            payload = msgpack.packb([{VERSION: other}])
            read_all(directory_of([Child(child.type, child.hash, payload)]))
    for wrong in (
        [],
        [fields],
        [{VERSION: fields, "x": 1}],
        [{"V0_19_0": fields}],
        {VERSION: fields},
    ):
        read_all(directory_of([Child(child.type, child.hash, msgpack.packb(wrong))]))


def directory_of(children: list[Child]) -> DirectoryNodes:
    """Return a directory whose vnode has these children, whatever they are."""
    vnode = VnodePayload(ObjectHash(7), len(children))
    raw = encode_node(VNODE, vnode.id, 5, encode_payload(vnode), children)
    return WHOLE._replace(vnodes=(raw,))


def test_a_claim_of_very_many_items_is_refused_without_making_room_for_them() -> None:
    # An array of 2^31 - 1 items would take 16 GiB before the first one is missing.
    for header in (b"\xdd\x7f\xff\xff\xff", b"\xdf\x7f\xff\xff\xff", b"\xdc\xff\xff"):
        bomb = b"\x91\x81\xa7V0_25_0" + header + b"\x91" * 50
        with pytest.raises(IntegrityError):
            decode_payload(FILE, bomb)
        with pytest.raises(IntegrityError):
            rows_of(directory_of([Child(FILE, ObjectHash(1), bomb)]))


def test_values_nested_very_deeply_are_refused() -> None:
    bomb = b"\x91" * 100_000
    with pytest.raises(IntegrityError):
        decode_payload(FILE, bomb)
    with pytest.raises(IntegrityError):
        rows_of(directory_of([Child(FILE, ObjectHash(1), bomb)]))


def test_a_node_under_another_id_is_refused() -> None:
    for raw in SOUND:
        with pytest.raises(IntegrityError, match="id"):
            decode_node(RawNode(ObjectHash(raw.id ^ 1), raw.node, raw.children))


def test_a_commit_node_is_no_directory() -> None:
    commit = Commit(ObjectHash(9), (), Author("a", "e"), "m", 10**18)
    raw = encode_node(COMMIT, commit.id, 0, encode_payload(commit), [])
    with pytest.raises(IntegrityError):
        rows_of(DirectoryNodes(raw, ()))
    with pytest.raises(IntegrityError):
        rows_of(WHOLE._replace(vnodes=(raw,)))
    with pytest.raises(IntegrityError):
        rows_of(WHOLE._replace(vnodes=(WHOLE.directory,)))
