"""The application: which handler answers which route."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from oxenfs.server import (
    answers,
    branches,
    commits,
    content,
    files,
    listing,
    repositories,
    staging,
    tree,
    versions,
    workspaces,
)
from oxenfs.server.endpoint import Endpoint, Handler
from oxenfs.server.guard import Guard
from oxenfs.server.hosting import Hosting, check_root

_R = "/api/repos/{namespace}/{name}"
_W = _R + "/workspaces/{workspace}"

SERVER_ROUTES: list[tuple[str, str, Handler]] = [
    ("GET", "/api/version", repositories.version),
    ("GET", "/api/min_version", repositories.min_version),
    ("GET", "/api/health", repositories.health),
    ("GET", "/api/namespaces", repositories.namespaces),
    ("POST", "/api/repos", repositories.create),
    ("GET", "/api/repos/{namespace}", repositories.listed),
]
"""What is not about one repository."""

# In the order in which they are tried: a branch called `x/merge` cannot be reached, as at Oxen's.
REPOSITORY_ROUTES: list[tuple[str, str, Handler]] = [
    ("GET", _R, repositories.show),
    ("DELETE", _R, repositories.delete),
    ("GET", _R + "/stats", repositories.stats),
    ("GET", _R + "/size", repositories.size),
    ("POST", _R + "/size", repositories.size),
    ("POST", _R + "/action/{state}/{action}", repositories.action),
    ("GET", _R + "/branches", branches.listed),
    ("POST", _R + "/branches", branches.create),
    ("PUT", _R + "/branches/{branch:path}/merge", branches.merge),
    ("GET", _R + "/branches/{branch:path}", branches.show),
    ("PUT", _R + "/branches/{branch:path}", branches.move),
    ("DELETE", _R + "/branches/{branch:path}", branches.delete),
    ("GET", _R + "/commits/history/{resource:path}", commits.history),
    ("GET", _R + "/commits/all", commits.all_commits),
    ("GET", _R + "/commits/root", commits.root),
    ("POST", _R + "/commits/missing", commits.missing),
    ("GET", _R + "/commits/missing_files", commits.missing_files),
    ("POST", _R + "/commits/upload", commits.upload),
    ("POST", _R + "/commits/upload_chunk", commits.upload_chunk),
    ("POST", _R + "/commits/{commit}/complete", commits.complete),
    ("GET", _R + "/commits/{commit}/commit_db", commits.commit_db),
    ("GET", _R + "/commits/{range}/download_dir_hashes_db", commits.download_dir_hashes),
    ("GET", _R + "/commits/{revision:path}/parents", commits.parents),
    ("GET", _R + "/commits/{commit}", commits.show),
    ("GET", _R + "/revisions/{resource:path}", listing.revisions),
    ("GET", _R + "/dir/{resource:path}", listing.directory),
    ("GET", _R + "/meta/{resource:path}", listing.meta),
    ("GET", _R + "/file/{resource:path}", content.file),
    ("PUT", _R + "/file/{resource:path}", files.put),
    ("DELETE", _R + "/file/{resource:path}", files.delete),
    ("PATCH", _R + "/file/{resource:path}", files.rename),
    ("GET", _R + "/chunk/{resource:path}", content.chunk),
    ("QUERY", _R + "/versions", versions.download),
    ("POST", _R + "/versions", versions.upload_batch),
    ("POST", _R + "/versions/uploads", versions.begin_upload),
    ("PUT", _R + "/versions/uploads/{upload}/parts/{number:int}", versions.upload_part),
    ("GET", _R + "/versions/{hash}/metadata", versions.metadata),
    ("GET", _R + "/versions/{resource:path}", content.file),
    ("GET", _R + "/tree/download", tree.download_all),
    ("GET", _R + "/tree/download/{range}", tree.download),
    ("POST", _R + "/tree/nodes", tree.upload),
    ("POST", _R + "/tree/nodes/missing_node_hashes", tree.missing_nodes),
    ("POST", _R + "/tree/nodes/mark_nodes_as_synced", tree.mark_synced),
    ("POST", _R + "/tree/nodes/missing_file_hashes_from_commits", tree.missing_files),
    ("GET", _R + "/tree/nodes/resource/{resource:path}", tree.at_path),
    ("GET", _R + "/tree/nodes/hash/{hash}/download", tree.node_download),
    ("GET", _R + "/tree/nodes/hash/{hash}/missing_file_hashes", tree.missing_files_of_node),
    ("GET", _R + "/tree/nodes/hash/{hash}", tree.node_json),
    ("PUT", _R + "/workspaces", workspaces.put),
    ("POST", _R + "/workspaces", workspaces.put),
    ("GET", _R + "/workspaces", workspaces.listed),
    ("DELETE", _R + "/workspaces", workspaces.delete_all),
    ("GET", _W, workspaces.show),
    ("DELETE", _W, workspaces.delete),
    ("POST", _W + "/validate", workspaces.validate),
    ("POST", _W + "/commit/{branch:path}", workspaces.commit),
    ("POST", _W + "/merge/{branch:path}", workspaces.commit),
    ("GET", _W + "/merge/{branch:path}", workspaces.mergeable),
    ("GET", _W + "/changes", staging.changes),
    ("GET", _W + "/changes/{path:path}", staging.changes),
    ("DELETE", _W + "/changes", staging.unstage_many),
    ("DELETE", _W + "/staged", staging.unstage_many),
    ("DELETE", _W + "/changes/{path:path}", staging.unstage),
    ("DELETE", _W + "/files", staging.remove),
    ("POST", _W + "/files", staging.add),
    ("POST", _W + "/files/{path:path}", staging.add),
    ("GET", _W + "/files/{path:path}", staging.read),
    ("PATCH", _W + "/files/{path:path}", staging.rename),
    ("DELETE", _W + "/files/{path:path}", staging.unstage),
]
"""What is about one repository."""


def create_app(path: Path, *, host: str = "127.0.0.1", token: str | None = None) -> ASGIApp:
    """Return the application that serves the repositories below `path`.

    Args:
        path: the folder of `namespace/name`; made if it is not there.
        host: what it listens on: a name by which it may be called.
        token: what clients must show; None: nobody is asked.
    """
    hosting = Hosting(check_root(path))

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        hosting.close()

    routes = [
        Route(where, Endpoint(handler, hosting, repository=False), methods=[method])
        for method, where, handler in SERVER_ROUTES
    ]
    routes += [
        Route(where, Endpoint(handler, hosting), methods=[method])
        for method, where, handler in REPOSITORY_ROUTES
    ]
    app = Starlette(routes=routes, lifespan=lifespan, exception_handlers={HTTPException: _no_route})
    # A redirect to another spelling would lose the body of a request.
    app.router.redirect_slashes = False
    return Guard(app, host, token)


async def _no_route(_: Request, exc: Exception) -> Response:
    code = exc.status_code if isinstance(exc, HTTPException) else 500
    message = "resource_not_found" if code == 404 else "method_not_allowed"
    return answers.plain_error(code, message)
