"""Recorded requests of the official client, made again here, with the ids that this server gave.

What a recording holds only in part (files of 11 MiB, a RocksDB) is drawn anew, and the hashes in
the requests that follow are changed accordingly.
"""

from __future__ import annotations

import base64
import json
import random
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import xxhash

from oxenfs.model import ObjectHash, hash_text, parse_hash
from oxenfs.remote.archive import Limits, Member
from oxenfs.remote.archive_nodes import node_members, read_nodes
from oxenfs.remote.archive_write import write_members
from oxenfs.remote.base import RawNode
from oxenfs.remote.local.rocks import database_files
from oxenfs.remote.payloads import COMMIT
from oxenfs.remote.wire import children_of

FOLDER = Path(__file__).with_name("traces")
_ID = re.compile(r"[0-9a-f]{28,32}\Z|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?Z\Z")
_PART = re.compile(r".*/versions/uploads/([^/]+)/parts/(\d+)\Z")


@dataclass(frozen=True)
class Exchange:
    """One recorded request and its answer."""

    number: int
    step: str
    method: str
    path: str
    query: str
    headers: dict[str, str]
    sent: Any
    status: int
    answer_headers: dict[str, str]
    answer: Any

    @property
    def name(self) -> str:
        return f"{self.number} {self.step}: {self.method} {self.path}"

    @property
    def body(self) -> bytes | None:
        """The recorded answer; None if only its beginning was kept."""
        return _bytes(self.answer)


def recorded() -> list[Exchange]:
    """Return all exchanges in the order in which they happened."""
    found = []
    for path in FOLDER.glob("*.jsonl"):
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            if "about" not in row:
                found.append(
                    Exchange(
                        row["n"],
                        row["step"],
                        row["method"],
                        row["path"],
                        row["query"],
                        row["request_headers"],
                        row["request_body"],
                        row["status"],
                        row["response_headers"],
                        row["response_body"],
                    )
                )
    return sorted(found, key=lambda each: each.number)


@dataclass
class Replay:
    """What became of the recorded ids, and the content that was drawn.

    Attributes:
        ids: recorded id to the one here.
        drawn: contents by the hash that they have here.
        large: recorded id of an upload to its content.
    """

    ids: dict[str, str] = field(default_factory=dict)
    drawn: dict[str, bytes] = field(default_factory=dict)
    large: dict[str, bytes] = field(default_factory=dict)
    _pushed: RawNode | None = None

    def here(self, text: str) -> str:
        """Return `text` with the ids of this server."""
        for old, new in self.ids.items():
            text = text.replace(old, new)
        return text

    def body(self, exchange: Exchange) -> bytes | None:
        """Return what to send."""
        if part := _PART.match(exchange.path):
            content, number = self.large[part[1]], int(part[2])
            return content[(number - 1) * (10 << 20) : number * (10 << 20)]
        if exchange.path.endswith("/commits/upload"):
            return self._dir_hashes()
        sent = _bytes(exchange.sent)
        if not sent:
            return sent
        if exchange.path.endswith("/tree/nodes"):
            return self._nodes(sent)
        if exchange.path.endswith("/versions/uploads"):
            self._draw(json.loads(sent))
        if "text" in exchange.sent:
            return self.here(sent.decode()).encode()
        return sent

    def compare(self, wanted: Any, got: Any, where: str = "") -> list[str]:
        """Return where two JSON values differ in more than ids and times, and learn the ids."""
        if type(wanted) is not type(got):
            return [f"{where}: {wanted!r} was recorded, not {got!r}"]
        if isinstance(wanted, dict):
            if wanted.keys() != got.keys():
                return [f"{where}: keys {sorted(wanted)} were recorded, not {sorted(got)}"]
            return [
                line
                for key in wanted
                for line in self.compare(wanted[key], got[key], f"{where}.{key}")
            ]
        if isinstance(wanted, list):
            if len(wanted) != len(got):
                return [f"{where}: {len(wanted)} items were recorded, not {len(got)}"]
            pairs = zip(_ordered(wanted), _ordered(got), strict=True)
            return [
                line
                for number, (a, b) in enumerate(pairs)
                for line in self.compare(a, b, f"{where}[{number}]")
            ]
        if isinstance(wanted, str) and _ID.match(wanted) and _ID.match(got):
            known = self.ids.setdefault(wanted, got)
            return [] if known == got else [f"{where}: {wanted} was {known}, and now is {got}"]
        if isinstance(wanted, str) and _TIME.match(wanted) and _TIME.match(got):
            return []
        same = self.here(wanted) == got if isinstance(wanted, str) else wanted == got
        # Ids of 128 bits are numbers in the JSON of a node.
        same = same or (isinstance(wanted, int) and min(wanted, got) > 1 << 100)
        return [] if same else [f"{where}: {wanted!r} was recorded, not {got!r}"]

    def _draw(self, upload: dict[str, Any]) -> None:
        content = random.Random(upload["hash"]).randbytes(upload["size"])
        self.ids[upload["hash"]] = hash_text(ObjectHash(xxhash.xxh3_128_intdigest(content)))
        self.drawn[self.ids[upload["hash"]]] = content

    def started(self, exchange: Exchange, answer: dict[str, Any]) -> None:
        """Note to which content the parts of an upload belong that has just begun."""
        recorded_id = json.loads(exchange.body or b"")["upload_id"]
        asked = self.here(json.loads(_bytes(exchange.sent) or b"")["hash"])
        self.large[recorded_id] = self.drawn[asked]
        assert answer["upload_id"] == self.here(recorded_id)

    def _nodes(self, sent: bytes) -> bytes:
        changed = []
        for raw in read_nodes([sent], Limits()):
            node, children = raw.node, raw.children
            for old, new in self.ids.items():
                if new in self.drawn:
                    for order in ("big", "little"):
                        before = parse_hash(old).to_bytes(16, order)
                        after = parse_hash(new).to_bytes(16, order)
                        node = node.replace(before, after)
                        children = children.replace(before, after)
            changed.append(RawNode(raw.id, node, children))
            if node[0] == COMMIT:
                self._pushed = changed[-1]
        return b"".join(write_members(node_members(changed, prefix="")))

    def _dir_hashes(self) -> bytes:
        assert self._pushed is not None
        (root,) = children_of(self._pushed)
        files = database_files({b"": hash_text(root.hash).encode()})
        folder = f"history/{hash_text(self._pushed.id)}/dir_hashes"
        return b"".join(write_members(Member(f"{folder}/{n}", d) for n, d in files.items()))


def node_shapes(archive: bytes) -> list[tuple[int, int]]:
    """Return type and number of children of each node in an archive."""
    return sorted(
        (raw.node[0], len(list(children_of(raw)))) for raw in read_nodes([archive], Limits())
    )


def _bytes(body: Any) -> bytes | None:
    if body is None:
        return b""
    if "text" in body:
        return str(body["text"]).encode()
    return base64.b64decode(body["base64"]) if "base64" in body else None


def _ordered(values: list[Any]) -> list[Any]:
    """Data types are counted, and changes listed, in any order."""
    if values and all(isinstance(value, dict) and "data_type" in value for value in values):
        return sorted(values, key=lambda value: (value.get("filename", ""), value["data_type"]))
    return values
