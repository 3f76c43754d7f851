"""A proxy between a mount and a server that spoils answers, with a script and a seed.

with chaos(server.host, seed=1) as between:
    between.play(Fault("reset", 0.1), Fault("stall", 0.01, ("GET chunk",)))
    ...
    assert between.fired("reset")
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BLOBS = ("GET chunk", "QUERY versions")


@dataclass(frozen=True)
class Fault:
    """What happens to a share of the requests.

    Attributes:
        what: `latency`, `stall` (before an answer or `within` it), `reset`, `reset within`,
            `truncate`, `short length`, `long length`, `flip` (one byte), `drip`, `status`.
        share: of the requests that it is about, 0 to 1; those of one script add up.
        kinds: which requests, such as `GET chunk`; none: all.
        most: how often at the most.
        seconds: how long a stall or a latency lasts at the most, or between dripped bytes.
        status, retry_after, location, body, content_type: of an answer `status`.
    """

    what: str
    share: float = 1.0
    kinds: tuple[str, ...] = ()
    most: int | None = None
    seconds: float | None = None
    status: int = 500
    retry_after: str | None = None
    location: str | None = None
    body: str = ""
    content_type: str = "application/json"

    def rule(self) -> dict[str, Any]:
        """Return it as the proxy takes it."""
        rule = {
            "fault": self.what,
            "share": self.share,
            "kinds": list(self.kinds),
            "most": self.most,
        }
        if self.seconds is not None:
            rule["seconds"] = self.seconds
        if self.what == "status":
            rule |= {
                "status": self.status,
                "retry_after": self.retry_after,
                "location": self.location,
                "body": self.body,
                "content_type": self.content_type,
            }
        return rule


class Between:
    """A running proxy. Safe to use from several threads.

    Attributes:
        host: `127.0.0.1:PORT`, to be used instead of the server's.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._lock = threading.Lock()
        self.host = f"127.0.0.1:{self._answer()['port']}"

    def play(self, *faults: Fault) -> None:
        """Let these happen from now on, instead of what happened before."""
        self._order({"rules": [fault.rule() for fault in faults]})

    def calm(self) -> None:
        """Let everything through again; what is stalled stays so."""
        self.play()

    def cut(self) -> None:
        """Reset all connections."""
        self._order({"cut": True})

    def lead_to(self, host: str) -> None:
        """Ask another server from now on."""
        name, _, port = host.rpartition(":")
        self._order({"target": [name, int(port)]})

    def fired(self, what: str, kind: str | None = None) -> int:
        """Return how often a fault happened so far, to requests of one kind or of all."""
        of_kind: dict[str, int] = self._order({})["fired"].get(what, {})
        return sum(of_kind.values()) if kind is None else of_kind.get(kind, 0)

    @property
    def open(self) -> int:
        """The number of connections."""
        return int(self._order({})["open"])

    def asked(self) -> list[tuple[str, str]]:
        """Return all that was asked for: kind, and target or hash of a blob."""
        return [(kind, what) for kind, what in self._order({"asked": True})["asked"]]

    def forget(self) -> None:
        """Forget what was asked for."""
        self._order({"forget": True})

    def authorizations(self) -> dict[str, int]:
        """Return the `Authorization` headers that came, and how often."""
        return dict(self._order({})["authorized"])

    def stop(self) -> None:
        """End the proxy and its connections."""
        self._process.communicate(timeout=20)

    def _order(self, order: dict[str, Any]) -> dict[str, Any]:
        with self._lock:
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
            return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the chaos proxy ended"
        said: dict[str, Any] = json.loads(line)
        return said


@contextlib.contextmanager
def chaos(host: str, *, seed: object = 0) -> Iterator[Between]:
    """Stand in front of the server at `host`."""
    name, _, port = host.rpartition(":")
    process = subprocess.Popen(
        [
            sys.executable,
            "-S",
            "-E",
            str(Path(__file__).with_name("proxy.py")),
            name,
            port,
            repr(seed),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        between = Between(process)
        yield between
        between.stop()
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
