"""The control socket: a real one, with the server in a trio loop and the client in a thread."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import stat
import struct
import time
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import outcome
import pytest
import trio

from oxenfs import failures
from oxenfs.errors import Busy, Conflict, MountError, NotFound, UsageError
from oxenfs.mount import client, control
from oxenfs.mount.client import Event, ask
from oxenfs.mount.control import Command, Send
from oxenfs.mount.registry import Entry


def _entry(folder: Path | None) -> Entry:
    return Entry(
        dir=Path("/mnt/x"),
        repo="/data/x",
        revision=None,
        branch=None,
        commit="",
        base=None,
        pid=4711,
        alive=True,
        mounted=True,
        overlay=None,
        changes=None,
        log=None,
        folder=folder,
        started=None,
    )


class Commands:
    """A table of commands, and what happened to them."""

    def __init__(self) -> None:
        self.cancelled = trio.Event()
        self.started = trio.Event()

    async def echo(self, request: Mapping[str, Any], send: Send) -> Any:
        for number in range(int(request.get("lines", 0))):
            await send({"line": number})
        return {"said": request["text"]}

    async def wait(self, request: Mapping[str, Any], send: Send) -> Any:
        self.started.set()
        try:
            await trio.sleep_forever()
        finally:
            self.cancelled.set()

    async def fail(self, request: Mapping[str, Any], send: Send) -> Any:
        await trio.lowlevel.checkpoint()
        if request["how"] == "conflict":
            raise Conflict("somebody was faster", (b"a", b"\xff"))
        if request["how"] == "missing":
            raise NotFound("no such path")
        raise ZeroDivisionError("a bug")

    async def flood(self, request: Mapping[str, Any], send: Send) -> Any:
        self.started.set()
        try:
            while True:
                await send({"fill": "x" * 100_000})
        finally:
            self.cancelled.set()

    async def nothing(self, request: Mapping[str, Any], send: Send) -> Any:
        return None

    def table(self) -> dict[str, Command]:
        return {
            "echo": Command(self.echo),
            "wait": Command(self.wait),
            "briefly": Command(self.wait, deadline_s=0.05),
            "fail": Command(self.fail),
            "flood": Command(self.flood),
            "nothing": Command(self.nothing),
        }


@contextlib.asynccontextmanager
async def _serving(folder: Path) -> AsyncIterator[Commands]:
    commands = Commands()
    with control.listening(folder) as listener:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(control.serve, listener, commands.table())
            yield commands
            nursery.cancel_scope.cancel()


def _with_server(folder: Path, blocking: Callable[[], Any]) -> Any:
    """Run `blocking` in a thread while a server is there, and return or raise what it does."""

    async def main() -> outcome.Outcome[Any]:
        with trio.fail_after(20):
            async with _serving(folder):
                # Captured: the nursery would wrap what it raises in a group.
                return await trio.to_thread.run_sync(outcome.capture, blocking)

    return trio.run(main).unwrap()


def _raw(folder: Path, *parts: bytes, end: bool = False) -> Any:
    """Send bytes as they are; return the last line of the answer, None without one."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(20)
        client.connect(connection, folder)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            # The server may have refused us before.
            for part in parts:
                connection.sendall(part)
        if end:
            connection.shutdown(socket.SHUT_WR)
        received = b""
        with contextlib.suppress(ConnectionResetError):
            while part := connection.recv(65536):
                received += part
    return json.loads(received.splitlines()[-1]) if received else None


def test_a_command_is_answered(tmp_path: Path) -> None:
    text = "ä\n\udcff\u202e"
    assert _with_server(tmp_path, lambda: ask(_entry(tmp_path), "echo", text=text)) == {
        "said": text
    }
    assert _with_server(tmp_path, lambda: ask(_entry(tmp_path), "nothing")) is None


def test_progress_comes_line_by_line_before_the_result(tmp_path: Path) -> None:
    events: list[Event] = []
    result = _with_server(
        tmp_path,
        lambda: ask(_entry(tmp_path), "echo", on_event=events.append, text="", lines=1000),
    )
    assert [event["line"] for event in events] == list(range(1000))
    assert result == {"said": ""}


@pytest.mark.parametrize("exc", [BrokenPipeError(errno.EPIPE, "Broken pipe"), TimeoutError()])
def test_what_the_callback_raises_passes_through(tmp_path: Path, exc: OSError) -> None:
    def show(event: Event) -> None:
        raise exc

    def call() -> None:
        ask(_entry(tmp_path), "echo", text="hello", lines=3, on_event=show)

    with pytest.raises(type(exc)) as caught:
        _with_server(tmp_path, call)
    assert caught.value is exc


def test_errors_keep_their_type(tmp_path: Path) -> None:
    entry = _entry(tmp_path)
    with pytest.raises(Conflict, match="somebody was faster") as caught:
        _with_server(tmp_path, lambda: ask(entry, "fail", how="conflict"))
    assert caught.value.paths == (b"a", b"\xff")
    with pytest.raises(NotFound, match="no such path"):
        _with_server(tmp_path, lambda: ask(entry, "fail", how="missing"))
    with pytest.raises(MountError, match="internal error: ZeroDivisionError: a bug"):
        _with_server(tmp_path, lambda: ask(entry, "fail", how="bug"))
    with pytest.raises(UsageError, match="knows no command 'nonsense'"):
        _with_server(tmp_path, lambda: ask(entry, "nonsense"))


def test_a_command_that_takes_too_long_is_cancelled(tmp_path: Path) -> None:
    with pytest.raises(MountError, match=r"briefly did not finish in 0.05 s"):
        _with_server(tmp_path, lambda: ask(_entry(tmp_path), "briefly"))


def test_a_client_that_hangs_up_cancels_its_command(tmp_path: Path) -> None:
    async def main() -> None:
        with trio.fail_after(20):
            async with _serving(tmp_path) as commands:
                with socket.socket(socket.AF_UNIX) as connection:
                    client.connect(connection, tmp_path)
                    connection.sendall(b'{"command": "wait"}\n')
                    await commands.started.wait()
                    assert not commands.cancelled.is_set()
                await commands.cancelled.wait()

    trio.run(main)


def test_a_client_that_reads_nothing_holds_up_nobody(tmp_path: Path) -> None:
    async def main() -> None:
        with trio.fail_after(20):
            async with _serving(tmp_path) as commands:
                with socket.socket(socket.AF_UNIX) as connection:
                    client.connect(connection, tmp_path)
                    connection.sendall(b'{"command": "flood"}\n')
                    await commands.started.wait()
                    entry = _entry(tmp_path)
                    await trio.to_thread.run_sync(lambda: ask(entry, "nothing"))
                await commands.cancelled.wait()

    trio.run(main)


def test_a_server_that_does_not_answer_is_told_in_time(tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(MountError, match=r"\(4711\) does not answer; .*--lazy /mnt/x"):
        _with_server(tmp_path, lambda: ask(_entry(tmp_path), "wait", timeout_s=0.2))
    assert time.monotonic() - began < 10


def test_nobody_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(MountError, match="is gone; mount there again, or oxenfs umount /mnt/x"):
        ask(_entry(tmp_path), "info")
    with control.listening(tmp_path):
        pass
    with pytest.raises(MountError, match="is gone"):
        ask(_entry(tmp_path), "info")
    with pytest.raises(MountError, match="not registered"):
        ask(_entry(None), "info")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"hello\n", "one line of JSON"),
        (b"[" * 50_000 + b"\n", "one line of JSON"),
        (b"[1]\n", "a JSON object"),
        (b"{}\n", "knows no command None"),
        (b"\xff\xfe\n", "one line of JSON"),
        (b"x" * (control.REQUEST_BYTES_MAX + 100_000), "more than 65536 bytes"),
    ],
)
def test_a_bad_request_gets_a_reason(tmp_path: Path, line: bytes, reason: str) -> None:
    answer = _with_server(tmp_path, lambda: _raw(tmp_path, line))
    assert answer["error"]["type"] == "UsageError"
    assert reason in answer["error"]["message"]


def test_a_request_cut_short_or_late_is_let_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _with_server(tmp_path, lambda: _raw(tmp_path, b'{"comm', end=True)) is None
    monkeypatch.setattr(control, "_REQUEST_S", 0.05)
    answer = _with_server(tmp_path, lambda: _raw(tmp_path, b'{"comm'))
    assert "no complete request in time" in answer["error"]["message"]


def test_too_many_connections_are_refused_and_the_others_live(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "CONNECTIONS_MAX", 1)

    async def main() -> None:
        with trio.fail_after(20):
            async with _serving(tmp_path) as commands:
                with socket.socket(socket.AF_UNIX) as connection:
                    client.connect(connection, tmp_path)
                    connection.sendall(b'{"command": "wait"}\n')
                    await commands.started.wait()
                    answer = await trio.to_thread.run_sync(_raw, tmp_path)
                    assert answer["error"]["message"] == "too many at once"
                    assert not commands.cancelled.is_set()

    trio.run(main)


def test_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    credentials = struct.pack("3i", 1, os.geteuid() + 1000, 0)

    class Other:
        def getsockopt(self, *_: int) -> bytes:
            return credentials

    real = control._check_peer

    def check(stream: Any) -> None:
        class Stream:
            socket = Other()

        real(Stream())  # type: ignore[arg-type]

    monkeypatch.setattr(control, "_check_peer", check)
    answer = _with_server(tmp_path, lambda: _raw(tmp_path, b'{"command": "nothing"}\n'))
    assert answer["error"]["type"] == "AccessDenied"


def test_an_answer_that_came_before_the_request_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = client.connect

    def connect(connection: socket.socket, folder: Path) -> None:
        real(connection, folder)
        accepted, _ = refusing.accept()
        with accepted:
            accepted.sendall(json.dumps({"error": failures.to_json(Busy("no", 1.0))}).encode())
            accepted.sendall(b"\n")

    with socket.socket(socket.AF_UNIX) as refusing:
        refusing.bind(str(tmp_path / client.SOCKET))
        refusing.listen()
        monkeypatch.setattr(client, "connect", connect)
        with pytest.raises(Busy, match="no"):
            ask(_entry(tmp_path), "echo")


def test_the_socket_is_private_and_its_path_may_be_long(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 120) / ("y" * 120)
    folder.mkdir(parents=True)

    def look() -> Any:
        assert stat.S_IMODE((folder / client.SOCKET).stat().st_mode) == 0o600
        return ask(_entry(folder), "echo", text="far")

    assert _with_server(folder, look) == {"said": "far"}
    assert not (folder / client.SOCKET).exists()


def test_a_busy_server_is_told_as_such() -> None:
    told = failures.from_json(failures.to_json(Busy("the server is busy", 7.0)))
    assert isinstance(told, Busy)
    assert str(told) == "the server is busy"
