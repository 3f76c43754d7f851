"""Hostile archives, in the place of a commit's tree and of a batch of blobs."""

from __future__ import annotations

import bz2
import gzip
import lzma
import tarfile
import zlib
from collections.abc import Iterator

from repositories import noise

from oxenfs.model import hash_text
from oxenfs.remote.archive import Member
from oxenfs.remote.archive_nodes import node_members
from oxenfs.remote.archive_write import write_members

from .building import BLOB, BLOB_ID, archive, file, tarred, tree, with_header

TREE = tree([file("good.txt")])
NODES = TREE.nodes()
SOUND = archive(NODES)
BLOB_NAME = hash_text(BLOB_ID)
SOUND_BLOB = b"".join(write_members([Member(BLOB_NAME, BLOB)]))
ZEROS = bytes(1 << 20)


def bomb(name: str, claimed: bytes, megabytes: int) -> bytes:
    """Return a member of that many megabytes of zeros, which claims a size."""
    squeeze = zlib.compressobj(9, zlib.DEFLATED, 31)
    head = bytearray(gzip.decompress(b"".join(write_members([Member(name, b"")])))[:512])
    head[124 : 124 + len(claimed)] = claimed
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    parts = [squeeze.compress(bytes(head))]
    parts += [squeeze.compress(ZEROS) for _ in range(megabytes)]
    return b"".join([*parts, squeeze.flush()])


def many_members(count: int) -> bytes:
    """Return an archive of very many folders with nothing in them."""
    squeeze = zlib.compressobj(9, zlib.DEFLATED, 31)
    head = bytearray(gzip.decompress(b"".join(write_members([Member("d", b"")])))[:512])
    head[156:157] = b"5"
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    block = bytes(head) * 2048
    parts = [squeeze.compress(block) for _ in range(count // 2048)]
    return b"".join([*parts, squeeze.flush()])


def of_any_kind(sound: bytes, name: str) -> Iterator[tuple[str, bytes]]:
    """Yield what is no archive, or none of plain files; `name` is that of a good first member."""
    yield "nothing", b""
    yield "one byte", b"\x1f"
    yield "gzip's magic", b"\x1f\x8b\x08"
    yield "zeros", bytes(4096)
    yield "a page", b"<html><title>Sign in to the WiFi</title></html>"
    yield "tar without gzip", gzip.decompress(sound)
    yield "gzip without tar", gzip.compress(b"not tar " * 1000)
    yield "gzip in gzip", gzip.compress(sound)
    yield "bzip2", bz2.compress(gzip.decompress(sound))
    yield "xz", lzma.compress(gzip.decompress(sound))
    yield "a zip", b"PK\x03\x04" + bytes(1000)
    yield "zlib", zlib.compress(gzip.decompress(sound))
    for share in (1, 10, 30, 50, 70, 90, 99):
        yield f"cut off at {share}%", sound[: len(sound) * share // 100]
    yield "without its last byte", sound[:-1]
    yield "without its checksum", sound[:-8]
    yield "with another checksum", sound[:-8] + b"abcd" + sound[-4:]
    yield "without the end of tar", gzip.compress(gzip.decompress(sound)[:-1024])
    yield "with more behind it", sound + b"more"
    yield "with more in gzip behind it", sound + gzip.compress(b"more")
    yield "with itself behind it", sound + sound
    for what, kind in {
        "a symlink": tarfile.SYMTYPE,
        "a hard link": tarfile.LNKTYPE,
        "a character device": tarfile.CHRTYPE,
        "a block device": tarfile.BLKTYPE,
        "a pipe": tarfile.FIFOTYPE,
        "a contiguous file": tarfile.CONTTYPE,
        "a sparse file": tarfile.GNUTYPE_SPARSE,
        "an unknown kind": b"Z",
    }.items():
        yield what, tarred({name: b""}, type=kind, linkname="/etc/passwd")
    yield (
        "a pax header",
        tarred({name: b"x"}, pax_headers={"path": "../x"}, format=tarfile.PAX_FORMAT),
    )
    yield "a global pax header", with_header(sound, 156, b"g")
    for what, size in {
        "of eight gigabytes": b"77777777777\0",
        "of a number in base 256": b"\x80" + bytes(3) + b"\xff" * 8,
        "below zero": b"\xff" * 12,
        "with a sign": b"-0000000001\0",
        "of letters": b"xxxxxxxxxxxx",
    }.items():
        yield f"a member {what}", with_header(sound, 124, size)
    yield "a wrong checksum of tar", gzip.compress(b"\1" + gzip.decompress(sound)[1:])
    yield "a long name without end", bomb("././@LongLink", b"77777777777\0", 1)
    yield "a bomb", bomb(name, b"77777777777\0", 300)
    yield "a bomb that says less", bomb(name, b"00000000005\0", 300)
    yield "a bomb of empty members", many_members(200_000)
    for what, other in {
        "an absolute name": "/etc/cron.d/x",
        "a name that leads out": "../../../../etc/cron.d/x",
        "a name with dots": "tree/nodes/../../x",
        "an empty name": "",
        "a name of control characters": "\x1b[2J\x07",
        "a name of 10 kB": "n" * 10_000,
    }.items():
        yield what, tarred({other: b"x"})


def of_nodes() -> Iterator[tuple[str, bytes]]:
    """Yield archives in the place of a tree."""
    node, children = next(iter([list(node_members([NODES[0]]))]))
    rest = list(node_members(NODES[1:]))
    yield from of_any_kind(SOUND, "tree/nodes/abc/123/node")
    for what, members in {
        "half a node": [node],
        "half a node before others": [node, *rest],
        "half a node behind others": [*rest, children],
        "a half twice": [node, node, children],
        "halves in a wild order": [node, *rest, children],
        "no node at all": [],
        "other files": [Member("HEAD", b"x")],
        "a name in capitals": [Member(node.name.upper(), b"")],
        "a name that goes on": [Member(node.name + "/x", b"")],
        "an id that is too long": [Member("tree/nodes/abc/" + "1" * 30 + "/node", b"")],
    }.items():
        yield what, b"".join(write_members(members))
    big = Member(node.name, bytes(1))
    yield (
        "a large node that is not squeezed much",
        b"".join(
            write_members([big, Member(children.name, (noise(8 << 10, 1) + ZEROS) * 300)], level=9)
        ),
    )
    yield (
        "very large nodes",
        b"".join(write_members([big, Member(children.name, ZEROS * 700)], level=9)),
    )


def of_blobs() -> Iterator[tuple[str, bytes]]:
    """Yield archives in the place of one blob."""
    yield from of_any_kind(SOUND_BLOB, BLOB_NAME)
    for what, members in {
        "no blob": [],
        "other bytes": [Member(BLOB_NAME, BLOB + b"!")],
        "no bytes": [Member(BLOB_NAME, b"")],
        "another name": [Member("1" * 32, BLOB)],
        "a name that is no hash": [Member("x", BLOB)],
        "a name below a folder": [Member("a/" + BLOB_NAME, BLOB)],
        "a name in capitals": [Member(BLOB_NAME.upper() + "A", BLOB)],
        "one too many": [Member(BLOB_NAME, BLOB), Member(BLOB_NAME, BLOB)],
        "17 MB": [Member(BLOB_NAME, ZEROS * 17)],
    }.items():
        yield what, b"".join(write_members(members))
