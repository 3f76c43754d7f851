"""The process behind `chaos.py`: an HTTP proxy that spoils answers as a script tells it.

Which fault a request gets depends on the seed, on what is asked, and on how often that was asked
before: not on the order in which connections happen to come. Standard library only.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import random
import socket
import struct
import sys
from collections import Counter, defaultdict
from typing import Any

_HEAD_BYTES = 1 << 20
_FOR_EVER_S = 3600.0
_REPOSITORY = "/api/repos/"
_JSON = b'{"status": "error", "status_message": "chaos"}'


class Gone(Exception):
    """One side of a connection ended."""


class Upstream:
    """The connection of one client to the server, made when it is needed."""

    def __init__(self) -> None:
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, target: tuple[str, int], request: bytes) -> tuple[bytes, bytes, bytes]:
        """Return head, body as it came, and content of the answer to a request."""
        fresh = self._streams is None
        try:
            return await self._ask(target, request)
        except (OSError, EOFError, asyncio.IncompleteReadError) as exc:
            self.close()
            if fresh:
                raise Gone from exc
        # A kept connection may have been ended by the server just now.
        try:
            return await self._ask(target, request)
        except (OSError, EOFError, asyncio.IncompleteReadError) as exc:
            self.close()
            raise Gone from exc

    async def _ask(self, target: tuple[str, int], request: bytes) -> tuple[bytes, bytes, bytes]:
        if self._streams is None:
            self._streams = await asyncio.open_connection(*target, limit=_HEAD_BYTES)
        source, sink = self._streams
        sink.write(request)
        await sink.drain()
        head = await source.readuntil(b"\r\n\r\n")
        fields = fields_of(head)
        if request.startswith(b"HEAD ") or head[9:12] in (b"204", b"304"):
            raw = content = b""
        elif b"chunked" in fields.get(b"transfer-encoding", b""):
            raw, content = await _chunked(source)
        elif b"content-length" in fields:
            raw = content = await source.readexactly(int(fields[b"content-length"]))
        else:
            raw = content = await source.read(-1)
            self.close()
        return head, raw, content

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


class Proxy:
    """Takes connections until its orders end."""

    def __init__(self, target: tuple[str, int], seed: str) -> None:
        self.target = target
        self.rules: list[dict[str, Any]] = []
        self._seed = seed
        self._fired: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._used: Counter[int] = Counter()
        self._asked: list[tuple[str, str]] = []
        self._times: Counter[bytes] = Counter()
        self._clients: set[asyncio.StreamWriter] = set()
        self._authorized: Counter[str] = Counter()

    async def serve(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        """Answer one client until one side has enough."""
        upstream = Upstream()
        self._clients.add(sink)
        sink.transport.get_extra_info("socket").setsockopt(
            socket.IPPROTO_TCP, socket.TCP_NODELAY, 1
        )
        try:
            while await self._serve_one(source, sink, upstream):
                pass
        except (Gone, OSError, EOFError, asyncio.IncompleteReadError):
            _reset(sink)
        except asyncio.CancelledError:
            # Only at the end of the process.
            pass
        finally:
            self._clients.discard(sink)
            upstream.close()
            sink.close()

    def order(self, wanted: dict[str, Any]) -> dict[str, Any]:
        """Carry out an order and say what happened until now."""
        if "rules" in wanted:
            self.rules = wanted["rules"]
            self._used.clear()
        if "target" in wanted:
            host, port = wanted["target"]
            self.target = (host, port)
        if wanted.get("cut"):
            for sink in list(self._clients):
                _reset(sink)
        if wanted.get("forget"):
            self._asked.clear()
        return {
            "fired": self._fired,
            "open": len(self._clients),
            "requests": len(self._asked),
            "authorized": self._authorized,
            **({"asked": self._asked} if wanted.get("asked") else {}),
        }

    async def _serve_one(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, upstream: Upstream
    ) -> bool:
        """Answer one request; return whether another one may follow."""
        try:
            head = await source.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return False
        fields = fields_of(head)
        body = await source.readexactly(int(fields.get(b"content-length", b"0")))
        method, target = head.split(b" ", 2)[:2]
        kind = kind_of(method.decode(), target.decode())
        for what in asked_for(method, target, body):
            self._asked.append((kind, what))
        self._authorized[fields.get(b"authorization", b"").decode()] += 1
        rule = self._rule(kind, b"%b %b %b" % (method, target, body))
        fault = rule["fault"] if rule else ""
        if rule:
            self._fired[fault][kind] += 1
            ready = _BEFORE.get(fault)
            if ready is not None:
                return await ready(rule, source, sink)
        answer = await upstream.ask(self.target, head + body)
        if rule is None:
            sink.write(answer[0] + answer[1])
            await sink.drain()
            return True
        return await _AFTER[fault](rule, source, sink, answer, self._random(head))

    def _rule(self, kind: str, what: bytes) -> dict[str, Any] | None:
        self._times[what] += 1
        drawn = random.Random(f"{self._seed} {what!r} {self._times[what]}").random()
        for number, rule in enumerate(self.rules):
            if rule["kinds"] and kind not in rule["kinds"]:
                continue
            if rule["most"] is not None and self._used[number] >= rule["most"]:
                continue
            if drawn < rule["share"]:
                self._used[number] += 1
                return rule
            drawn -= rule["share"]
        return None

    def _random(self, what: bytes) -> random.Random:
        return random.Random(f"{self._seed} {what!r}")


Answer = tuple[bytes, bytes, bytes]
Rule = dict[str, Any]


async def _status(rule: Rule, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> bool:
    extra = ""
    if rule.get("retry_after") is not None:
        extra = f"Retry-After: {rule['retry_after']}\r\n"
    if rule.get("location"):
        extra += f"Location: {rule['location']}\r\n"
    kind = rule.get("content_type", "application/json")
    body = rule.get("body", "").encode() or _JSON
    head = f"HTTP/1.1 {rule['status']} Chaos\r\nContent-Type: {kind}\r\n{extra}"
    sink.write(head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    await sink.drain()
    return True


async def _stall_at_once(
    rule: Rule, source: asyncio.StreamReader, sink: asyncio.StreamWriter
) -> bool:
    await _stalled(source, rule.get("seconds", _FOR_EVER_S))
    return False


async def _reset_at_once(
    rule: Rule, source: asyncio.StreamReader, sink: asyncio.StreamWriter
) -> bool:
    raise Gone


async def _latency(
    rule: Rule,
    source: asyncio.StreamReader,
    sink: asyncio.StreamWriter,
    answer: Answer,
    draw: random.Random,
) -> bool:
    await asyncio.sleep(draw.uniform(0, rule.get("seconds", 0.05)))
    sink.write(answer[0] + answer[1])
    await sink.drain()
    return True


async def _part(sink: asyncio.StreamWriter, answer: Answer, draw: random.Random) -> None:
    """Send some of an answer, never all of it.

    The end of the line behind the last chunk is not enough to be missing: clients do not mind.
    """
    whole = answer[0] + answer[1]
    sink.write(whole[: draw.randrange(1, max(2, len(whole) - 4))])
    await sink.drain()


async def _stall(
    rule: Rule,
    source: asyncio.StreamReader,
    sink: asyncio.StreamWriter,
    answer: Answer,
    draw: random.Random,
) -> bool:
    await _part(sink, answer, draw)
    await _stalled(source, rule.get("seconds", _FOR_EVER_S))
    return False


async def _reset_within(
    rule: Rule,
    source: asyncio.StreamReader,
    sink: asyncio.StreamWriter,
    answer: Answer,
    draw: random.Random,
) -> bool:
    await _part(sink, answer, draw)
    raise Gone


async def _truncate(
    rule: Rule,
    source: asyncio.StreamReader,
    sink: asyncio.StreamWriter,
    answer: Answer,
    draw: random.Random,
) -> bool:
    await _part(sink, answer, draw)
    return False


async def _short(
    rule: Rule,
    source: asyncio.StreamReader,
    sink: asyncio.StreamWriter,
    answer: Answer,
    draw: random.Random,
) -> bool:
    """Announce less than what is sent."""
    head, _, content = answer
    sink.write(with_length(head, draw.randrange(0, max(1, len(content)))) + content)
    await sink.drain()
    return True


async def _long(
    rule: Rule,
    source: asyncio.StreamReader,
    sink: asyncio.StreamWriter,
    answer: Answer,
    draw: random.Random,
) -> bool:
    """Announce more than what is sent, and end."""
    head, _, content = answer
    sink.write(with_length(head, len(content) + draw.randrange(1, 100_000)) + content)
    await sink.drain()
    return False


async def _flip(
    rule: Rule,
    source: asyncio.StreamReader,
    sink: asyncio.StreamWriter,
    answer: Answer,
    draw: random.Random,
) -> bool:
    """Change one byte of the content."""
    head, _, content = answer
    hurt = bytearray(content)
    if hurt:
        hurt[draw.randrange(len(hurt))] ^= draw.randrange(1, 256)
    sink.write(with_length(head, len(hurt)) + hurt)
    await sink.drain()
    return True


async def _drip(
    rule: Rule,
    source: asyncio.StreamReader,
    sink: asyncio.StreamWriter,
    answer: Answer,
    draw: random.Random,
) -> bool:
    """Send byte by byte: each one in time, all of them never."""
    for byte in answer[0] + answer[1]:
        sink.write(bytes([byte]))
        await sink.drain()
        await asyncio.sleep(rule.get("seconds", 0.02))
        if source.at_eof():
            return False
    return True


_BEFORE = {"status": _status, "stall": _stall_at_once, "reset": _reset_at_once}
_AFTER = {
    "latency": _latency,
    "stall within": _stall,
    "reset within": _reset_within,
    "truncate": _truncate,
    "short length": _short,
    "long length": _long,
    "flip": _flip,
    "drip": _drip,
}


async def _stalled(source: asyncio.StreamReader, seconds: float) -> None:
    """Say nothing until the client goes."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(source.read(1), seconds)


async def _chunked(source: asyncio.StreamReader) -> tuple[bytes, bytes]:
    raw, content = bytearray(), bytearray()
    while True:
        line = await source.readuntil(b"\r\n")
        size = int(line.partition(b";")[0], 16)
        piece = await source.readexactly(size + 2)
        raw += line + piece
        content += piece[:-2]
        if not size:
            return bytes(raw), bytes(content)


def fields_of(head: bytes) -> dict[bytes, bytes]:
    """Return the headers, names in lowercase."""
    fields = (line.partition(b":") for line in head.split(b"\r\n")[1:])
    return {name.strip().lower(): value.strip() for name, _, value in fields if name}


def with_length(head: bytes, length: int) -> bytes:
    """Return a head that announces another length."""
    lines = [
        line
        for line in head.rstrip(b"\r\n").split(b"\r\n")
        if not line.lower().startswith((b"content-length:", b"transfer-encoding:"))
    ]
    return b"\r\n".join([*lines, b"Content-Length: %d" % length]) + b"\r\n\r\n"


def kind_of(method: str, target: str) -> str:
    """Return method and what follows the repository's name: `GET chunk`."""
    parts = target.partition("?")[0].removeprefix(_REPOSITORY).split("/")
    return " ".join((method, *parts[2:3]))


def asked_for(method: bytes, target: bytes, body: bytes) -> list[str]:
    """Return what a request asks for: each blob of a batch, else its target."""
    if method != b"QUERY":
        return [target.decode()]
    with contextlib.suppress(OSError, EOFError):
        body = gzip.decompress(body)
    return body.decode("latin-1").split() or [target.decode()]


def _reset(sink: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        sock = sink.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sink.transport.abort()


async def main() -> None:
    """Proxy for `HOST PORT SEED`; orders come as lines of JSON, each is answered by one."""
    host, port, seed = sys.argv[1:4]
    proxy = Proxy((host, int(port)), seed)
    server = await asyncio.start_server(
        proxy.serve, "127.0.0.1", 0, limit=_HEAD_BYTES, backlog=1024
    )
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    orders = asyncio.StreamReader(limit=_HEAD_BYTES)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    while line := await orders.readline():
        print(json.dumps(proxy.order(json.loads(line))), flush=True)
    server.close()


if __name__ == "__main__":
    asyncio.run(main())
