"""The official client in a process of its own: it holds the GIL while it talks.

python client.py: reads one JSON object per line, {"code": ..., "values": {...}}, runs the code with
the values as its globals, and writes {"result": ...} or {"error": ...} as one line.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import textwrap
import time
import traceback
from pathlib import Path
from typing import Any

# A pull after fifty merges takes the client half a minute on a busy machine.
ANSWER_S = 300


class ClientError(Exception):
    """What the official client raised."""


class Client:
    """A process with the client in it, and a configuration of its own."""

    def __init__(self, folder: Path) -> None:
        environment = {
            **os.environ,
            "HOME": str(folder),
            "OXEN_CONFIG_DIR": str(folder / "config"),
            # Retries of what fails would only make a failing test slow.
            "OXEN_NUM_RETRIES": "1",
        }
        self._log = folder / "client.log"
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, __file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment,
            )

    def run(self, code: str, **values: Any) -> Any:
        """Run `code` and return what it leaves in `result`; raise `ClientError`."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        sent = json.dumps({"code": textwrap.dedent(code), "values": values})
        self._process.stdin.write(sent.encode() + b"\n")
        self._process.stdin.flush()
        ready, _, _ = select.select([self._process.stdout], [], [], ANSWER_S)
        line = self._process.stdout.readline() if ready else b""
        if not line:
            raise TimeoutError(f"the client hangs or died: {self._log.read_text()[-2000:]}")
        answer = json.loads(line)
        if "error" in answer:
            raise ClientError(answer["error"])
        return answer["result"]

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(timeout=10)
        self._process.stdout.close()


def tree_of(folder: Path) -> dict[str, bytes]:
    """Return the files of a working folder, without the client's own."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and ".oxen" not in path.relative_to(folder).parts
    }


def _main() -> None:
    # What the client prints must not get between the answers.
    answers = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
    os.dup2(2, 1)
    import oxen
    from oxen.user import config_user

    config_user("Ünï Person", "person@example.com")
    base = {
        "Path": Path,
        "RemoteRepo": oxen.RemoteRepo,
        "Repo": oxen.Repo,
        "Workspace": oxen.Workspace,
        "oxen": oxen,
        "time": time,
    }
    for line in sys.stdin:
        request = json.loads(line)
        names = {**base, **request["values"], "result": None}
        try:
            exec(request["code"], names)
            answer = {"result": names["result"]}
        except Exception as exc:
            traceback.print_exc()
            answer = {"error": f"{type(exc).__name__}: {exc}"}
        answers.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    _main()
