"""The application in this process, and small helpers to ask it."""

from __future__ import annotations

import gzip
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import httpx

with warnings.catch_warnings():
    # What the test client is made of changes its mind about its own dependencies.
    warnings.simplefilter("ignore")
    from starlette.testclient import TestClient

from oxenfs.remote.local.repository import LocalRemote, open_repository
from oxenfs.server.app import create_app

NAME = "ns/repo"
R = f"/api/repos/{NAME}"


class Api:
    """Asks a server; each method gives the answer's JSON after checking its code."""

    def __init__(self, client: httpx.Client, root: Path) -> None:
        self.client = client
        self.root = root

    def call(self, method: str, path: str, code: int = 200, **more: Any) -> Any:
        answer = self.client.request(method, path, **more)
        assert answer.status_code == code, answer.text
        return answer.json()

    def get(self, path: str, code: int = 200, **more: Any) -> Any:
        return self.call("GET", R + path, code, **more)

    def post(self, path: str, code: int = 200, **more: Any) -> Any:
        return self.call("POST", R + path, code, **more)

    def put(self, path: str, code: int = 200, **more: Any) -> Any:
        return self.call("PUT", R + path, code, **more)

    def delete(self, path: str, code: int = 200, **more: Any) -> Any:
        return self.call("DELETE", R + path, code, **more)

    def content(self, path: str, **more: Any) -> bytes:
        answer = self.client.get(R + path, **more)
        assert answer.status_code == 200, answer.text
        return answer.content

    def create(self) -> None:
        self.call("POST", "/api/repos", json={"namespace": "ns", "name": "repo"})

    def workspace(self, id: str = "w", branch: str = "main", name: str | None = None) -> Any:
        body = {"workspace_id": id, "branch_name": branch, "name": name}
        return self.put("/workspaces", json=body)["workspace"]

    def stage(self, files: dict[str, bytes], id: str = "w", *, zipped: bool = True) -> list[str]:
        parts = [
            (
                "file[]",
                (path, gzip.compress(data), "application/gzip")
                if zipped
                else (path, data, "application/octet-stream"),
            )
            for path, data in files.items()
        ]
        paths: list[str] = self.post(f"/workspaces/{id}/files/", files=parts)["paths"]
        return paths

    def commit(self, id: str = "w", branch: str = "main", code: int = 200, text: str = "m") -> Any:
        body = {"message": text, "author": "Ada", "email": "a@b.c"}
        return self.post(f"/workspaces/{id}/merge/{branch}", code, json=body)

    def fill(self, files: dict[str, bytes]) -> str:
        """Commit files to main through a workspace, and return the commit."""
        self.workspace("filling")
        self.stage(files, "filling")
        id: str = self.commit("filling")["commit"]["id"]
        return id

    def opened(self) -> LocalRemote:
        """The repository's files, opened beside the server; close it."""
        return open_repository(self.root / NAME)


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    root = tmp_path / "root"
    app = create_app(root)
    with TestClient(app, base_url="http://127.0.0.1:3000", raise_server_exceptions=False) as client:
        yield Api(client, root)


@pytest.fixture
def repo(api: Api) -> Api:
    """With a repository that is empty."""
    api.create()
    return api
