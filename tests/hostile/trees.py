"""Hostile names and trees: what is sent, and which names may be shown of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgpack

from oxenfs.model import ObjectHash
from oxenfs.remote.base import RawNode
from oxenfs.remote.payloads import (
    DIRECTORY,
    FILE,
    VNODE,
    DirectoryPayload,
    VnodePayload,
    encode_payload,
)
from oxenfs.remote.wire import Child, encode_node

from .building import BUCKET, HEAD, ROOT, Tree, bucket, commit_of, file, folder, packed, tree

GOOD = b"good.txt"

NEVER_SHOWN: dict[str, bytes] = {
    "empty": b"",
    "dot": b".",
    "dot dot": b"..",
    "slash": b"/",
    "slash within": b"a/b",
    "up and away": b"../../../etc/passwd",
    "absolute": b"/etc/passwd",
    "slash at the end": b"folder/",
    "NUL": b"\0",
    "NUL within": b"a\0b",
    "NUL at the end": b"good.txt\0",
    "256 bytes": b"n" * 256,
    "10 kB": b"n" * 10_000,
    "1 MB": b"n" * 1_000_000,
    "256 bytes of UTF-8": "é".encode() * 128,
    "the client's folder": b".oxen",
    "the client's folder in capitals": b".OXEN",
    "the client's folder, mixed": b".Oxen",
    "the client's folder, short name": b"OXEN~1",
}

SHOWN: dict[str, bytes] = {
    "255 bytes": b"n" * 255,
    "three dots": b"...",
    "many dots": b"....",
    "almost the client's folder": b".oxens",
    "newline": b"a\nb",
    "carriage return": b"a\rb",
    "tab": b"a\tb",
    "bell": b"a\x07b",
    "backspace": b"good.txt\x08\x08\x08\x08.exe",
    "escape sequence": b"\x1b[2J\x1b[1;1Howned",
    "title of the terminal": b"\x1b]0;owned\x07",
    "delete": b"a\x7fb",
    "C1": "a\u009b31mb".encode(),
    "right to left override": "gpj.\u202eexe.txt".encode(),
    "isolate": "a\u2066b\u2069".encode(),
    "mark": "a\u200fb".encode(),
    "zero width": "a\u200bb".encode(),
    "byte order mark": "\ufeffgood.txt".encode(),
    "line separator": "a\u2028b".encode(),
    "combining": "e\u0301".encode(),
    "composed": "é".encode(),
    "private use": "\ue000".encode(),
    "not a character": "\uffff".encode(),
    "invalid UTF-8": b"\xff\xfe",
    "overlong slash": b"..\xc0\xaf..\xc0\xafetc",
    "surrogate": b"\xed\xa0\x80",
    "cut off": b"caf\xc3",
    "spaces": b"  a  ",
    "only a space": b" ",
    "option": b"-rf",
    "home": b"~",
    "shell": b"$(reboot)`x`;&|",
    "backslashes": b"..\\..\\x",
    "percent": b"%2e%2e%2f",
    "percent NUL": b"%00",
    "reserved elsewhere": b"CON",
    "ours": b".oxenfs",
    "frames": b".frames",
    "git": b".git",
    "comma": b"a,b",
    "query": b"a?b#c&d=e",
    "glob": b"*?[a]",
}

NOT_NAMES: dict[str, Any] = {
    "None": None,
    "a number": 7,
    "a list": ["a"],
    "a map": {"a": 1},
    "a float": 1.5,
    "true": True,
    "a date": msgpack.Timestamp(1),
    "an extension": msgpack.ExtType(5, b"x"),
}

FIELDS: dict[str, dict[str, Any]] = {
    "size negative": {"size": -1},
    "size 2^63": {"size": 1 << 63},
    "size 2^64-1": {"size": (1 << 64) - 1},
    "size text": {"size": "5"},
    "size float": {"size": 5.0},
    "size true": {"size": True},
    "size none": {"size": None},
    "hash short": {"hash": b"x" * 15},
    "hash long": {"hash": b"x" * 17},
    "hash empty": {"hash": b""},
    "hash list": {"hash": [0] * 16},
    "commit short": {"commit": b"x"},
    "commit none": {"commit": None},
    "seconds text": {"mtime_s": "x" * 1000},
    "seconds float": {"mtime_s": 1e300},
    "seconds list": {"mtime_s": [1] * 1000},
    "nanoseconds text": {"mtime_ns": "x"},
    "type a map": {"data_type": {"a": 1}},
}

STRANGE: dict[str, dict[str, Any]] = {
    "hash as text": {"hash": "x" * 16},
    "largest size": {"size": (1 << 63) - 1},
    "no size": {"size": 0},
    "long ago": {"mtime_s": -(1 << 63)},
    "far away": {"mtime_s": (1 << 64) - 1},
    "many nanoseconds": {"mtime_ns": (1 << 64) - 1},
    "negative nanoseconds": {"mtime_ns": -(1 << 63)},
    "type unknown": {"data_type": "\x1b[2J"},
    "metadata deep": {"metadata": [[[[[[[[1]]]]]]]]},
    "metadata long": {"metadata": ["x" * 1_000_000]},
    "metadata odd": {"metadata": {"a": float("nan"), "b": msgpack.ExtType(1, b"x")}},
    "chunks": {"chunks": [b"x" * 16] * 1000},
}


def raw_tree(children: bytes, rows: int = 1) -> Tree:
    """Return a tree whose bucket has these bytes for its children's payloads."""
    made = tree()
    listed = [Child(FILE, ObjectHash(1), children if not number else b"") for number in range(rows)]
    return made._replace(buckets=(bucket(listed),))


def broken_trees() -> Iterator[tuple[str, Tree]]:
    """Yield trees that must be refused as a whole."""
    sound = tree([file(GOOD)])
    for what, fields in FIELDS.items():
        yield what, tree([file(GOOD), file("other", **fields)])
    for what, name in NOT_NAMES.items():
        yield f"a name that is {what}", tree([file(GOOD), file(name)])
    for what, raw in {
        "an array of two billion": b"\x91\x81\xa7V0_25_0\xdd\x7f\xff\xff\xff" + b"\x91" * 50,
        "a map of two billion": b"\x91\x81\xa7V0_25_0\xdf\x7f\xff\xff\xff" + b"\x91" * 50,
        "a string of four gigabytes": b"\x91\x81\xa7V0_25_0\x91\xdb\xff\xff\xff\xff",
        "bytes of four gigabytes": b"\x91\x81\xa7V0_25_0\x91\xc6\xff\xff\xff\xff",
        "an extension of four gigabytes": b"\x91\x81\xa7V0_25_0\x91\xc9\xff\xff\xff\xff\x01",
        "nested very deeply": b"\x91" * 100_000,
        "maps in maps": b"\x81\x01" * 50_000,
        "no msgpack": b"\xc1" * 100,
        "nothing but zeros": bytes(100),
        "an old version": msgpack.packb([{"V0_19_0": []}]),
        "two versions": msgpack.packb([{"V0_25_0": [], "V0_26_0": []}]),
        "no fields": packed([]),
        "fields of a commit": packed(["Commit"] * 7),
        "fields of a bucket": packed([b"x" * 16, "VNode", 5]),
        "too few fields": packed(["File", "x"]),
        "text": b"<html>not a tree</html>",
    }.items():
        yield what, raw_tree(raw)
    yield "a bucket that is missing", sound._replace(buckets=())
    yield (
        "a bucket under another id",
        sound._replace(buckets=(sound.buckets[0]._replace(id=ObjectHash(BUCKET ^ 1)),)),
    )
    yield "a directory for a bucket", sound._replace(buckets=(sound.root._replace(id=BUCKET),))
    yield (
        "a file for a bucket",
        sound._replace(buckets=(encode_node(FILE, BUCKET, 0, file(GOOD).payload, []),)),
    )
    yield "a commit for the root", sound._replace(root=sound.commit._replace(id=ROOT))
    yield "a bucket for the root", sound._replace(root=sound.buckets[0]._replace(id=ROOT))
    yield "no root", sound._replace(commit=commit_of(ROOT, children=[]))
    yield (
        "two roots",
        sound._replace(
            commit=commit_of(ROOT, children=[folder("", ROOT), folder("", ObjectHash(9))])
        ),
    )
    yield "a root that is not sent", sound._replace(commit=commit_of(ObjectHash(9)))
    yield "the commit as its own root", sound._replace(commit=commit_of(HEAD))
    for cut in (0, 1, 20, 21, 30, len(sound.root.node) - 1):
        yield (
            f"a root cut off at {cut}",
            sound._replace(root=sound.root._replace(node=sound.root.node[:cut])),
        )
    vnode = sound.buckets[0]
    for cut in (0, 1, 20, 25, len(vnode.node) - 1):
        yield (
            f"a bucket cut off at {cut}",
            sound._replace(buckets=(vnode._replace(node=vnode.node[:cut]),)),
        )
    yield "entries cut off", sound._replace(buckets=(vnode._replace(children=vnode.children[:-3]),))
    yield (
        "a payload of four gigabytes",
        sound._replace(
            root=sound.root._replace(
                node=sound.root.node[:17] + b"\xff\xff\xff\xff" + sound.root.node[21:]
            )
        ),
    )
    yield (
        "an unknown type",
        sound._replace(root=sound.root._replace(node=b"\x09" + sound.root.node[1:])),
    )
    own = DirectoryPayload("", ROOT, 1, 5, HEAD, 0, {}, {})
    many = [Child(VNODE, ObjectHash(n), b"") for n in range(100_000)]
    yield (
        "very many buckets that are not sent",
        sound._replace(root=encode_node(DIRECTORY, ROOT, HEAD, encode_payload(own), many)),
    )
    yield (
        "itself as a bucket",
        sound._replace(
            root=encode_node(DIRECTORY, ROOT, HEAD, encode_payload(own), [Child(VNODE, ROOT, b"")])
        ),
    )


def odd_trees() -> Iterator[tuple[str, Tree, set[bytes]]]:
    """Yield trees that are strange but can be shown, and the names to be seen."""
    for what, name in NEVER_SHOWN.items():
        yield f"a name: {what}", tree([file(GOOD), file(name)]), {GOOD}
        if len(name) < 300:
            hidden = folder(name.decode("utf-8", "surrogateescape"), ObjectHash(77))
            yield f"a folder's name: {what}", tree([file(GOOD), hidden]), {GOOD}
    for what, name in SHOWN.items():
        yield f"a name: {what}", tree([file(GOOD), file(name)]), {GOOD, name}
    for what, fields in STRANGE.items():
        yield what, tree([file(GOOD), file("other", **fields)]), {GOOD, b"other"}
    yield "one name twice", tree([file(GOOD), file(GOOD, size=99)]), {GOOD}
    yield "one name a thousand times", tree([file(GOOD, size=n) for n in range(1000)]), {GOOD}
    yield "a file and a folder of one name", tree([file("x"), folder("x", ObjectHash(9))]), {b"x"}
    yield "only names that cannot be", tree([file(name) for name in NEVER_SHOWN.values()]), set()
    yield "a folder that is its own child", tree([folder("again", ROOT)]), {b"again"}
    yield "a bucket twice", _bucket_twice(), {GOOD}
    yield "a bucket twice, and before its folder", _bucket_twice(), {GOOD}
    yield "sizes that do not add up", tree([file(GOOD)], size=-(1 << 62), entries=10**9), {GOOD}
    yield "more than can be counted", tree([file(GOOD)], size=(1 << 64) - 1), {GOOD}
    yield "counts below zero", tree([file(GOOD)], counts={"text": -5}), {GOOD}
    yield "nodes nobody asked for", _with_strangers(), {GOOD}


def _bucket_twice() -> Tree:
    made = tree([file(GOOD)])
    row = Child(VNODE, BUCKET, encode_payload(VnodePayload(BUCKET, 1)))
    own = DirectoryPayload("", ROOT, 1, 5, HEAD, 0, {}, {})
    return made._replace(root=encode_node(DIRECTORY, ROOT, HEAD, encode_payload(own), [row, row]))


def _with_strangers() -> Tree:
    made = tree([file(GOOD)])
    strangers: list[RawNode] = [
        bucket([file("stranger")], ObjectHash(1000 + number)) for number in range(1000)
    ]
    return made._replace(buckets=(*made.buckets, *strangers))
