"""Commits, branches and entries as the server's JSON. Clients refuse fields they do not know."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from oxenfs.errors import NotFound
from oxenfs.model import Branch, Commit, ObjectHash, hash_text
from oxenfs.remote.local.repository import LocalRemote
from oxenfs.remote.local.workspaces import Workspace
from oxenfs.remote.payloads import DirectoryPayload, FilePayload
from oxenfs.server.revisions import Resource

JSON = dict[str, Any]

_METADATA = {
    "text": ("num_lines", "num_chars"),
    "image": ("width", "height", "color_space"),
    "video": ("num_seconds", "width", "height"),
    "audio": ("num_seconds", "num_channels", "sample_rate"),
}


def commit_json(commit: Commit) -> JSON:
    """Return a commit."""
    return {
        "id": hash_text(commit.id),
        "parent_ids": [hash_text(parent) for parent in commit.parents],
        "message": commit.message,
        "author": commit.author.name,
        "email": commit.author.email,
        "timestamp": time_text(commit.timestamp_ns),
    }


def branch_json(branch: Branch) -> JSON:
    """Return a branch."""
    return {"name": branch.name, "commit_id": hash_text(branch.commit)}


def workspace_json(remote: LocalRemote, workspace: Workspace) -> JSON:
    """Return a workspace."""
    return {
        "id": workspace.id,
        "name": workspace.name,
        "commit": commit_json(remote.commit(workspace.commit)),
        "created_at": time_text(workspace.created_ns),
    }


def resource_json(remote: LocalRemote, resource: Resource, path: bytes | None = None) -> JSON:
    """Return what a resource string stands for, at `path` instead of its own if one is given."""
    shown = (resource.path if path is None else path).decode()
    workspace = resource.workspace
    return {
        "workspace": None if workspace is None else workspace_json(remote, workspace),
        "commit": commit_json(remote.commit(resource.commit)),
        "branch": None if resource.branch is None else branch_json(resource.branch),
        "path": shown,
        "version": resource.version,
        "resource": f"{resource.version}/{shown}" if shown else resource.version,
    }


class Entries:
    """Makes entries of one listing; commits that many of them share are read once."""

    def __init__(self, remote: LocalRemote, resource: Resource) -> None:
        """Make entries below `resource`."""
        self._remote = remote
        self._resource = resource
        self._base = resource_json(remote, resource)
        self._commits: dict[ObjectHash, JSON | None] = {}

    def entry(self, payload: FilePayload | DirectoryPayload, path: bytes) -> JSON:
        """Return the entry of a file or directory at `path`."""
        shown = path.decode()
        version = self._resource.version
        resource = {**self._base, "path": shown, "resource": f"{version}/{shown}"}
        latest = self._commit(payload.last_commit)
        if isinstance(payload, FilePayload):
            return file_entry(payload, payload.name, latest, resource)
        return {
            "filename": payload.name,
            "hash": hash_text(payload.id),
            "is_dir": True,
            # Clients take it for granted that a directory has one.
            "latest_commit": latest or self._base["commit"],
            "resource": resource,
            "size": payload.size,
            "data_type": "dir",
            "mime_type": "inode/directory",
            "extension": "",
            "metadata": {"dir": {"data_types": type_counts(payload)}},
            "is_queryable": None,
        }

    def _commit(self, id: ObjectHash) -> JSON | None:
        if id not in self._commits:
            try:
                self._commits[id] = commit_json(self._remote.commit(id))
            except NotFound:
                self._commits[id] = None
        return self._commits[id]


def file_entry(
    file: FilePayload, filename: str, latest: JSON | None, resource: JSON | None
) -> JSON:
    """Return the entry of a file."""
    return {
        "filename": filename,
        "hash": hash_text(file.hash),
        "is_dir": False,
        "latest_commit": latest,
        "resource": resource,
        "size": file.size,
        "data_type": file.data_type,
        "mime_type": file.mime_type,
        "extension": file.extension,
        "metadata": _metadata(file),
        "is_queryable": False if file.data_type == "tabular" else None,
    }


def placeholder_entry(path: bytes) -> JSON:
    """Return the entry of a change in a workspace: its path and nothing else, as the server's."""
    extension = path.rpartition(b"/")[2].rpartition(b".")[2].decode() if b"." in path else ""
    return {
        "filename": path.decode(),
        "hash": "",
        "is_dir": False,
        "latest_commit": None,
        "resource": None,
        "size": 0,
        "data_type": "binary",
        "mime_type": "application/octet-stream",
        "extension": extension,
        "metadata": None,
        "is_queryable": None,
    }


def type_counts(payload: DirectoryPayload) -> list[JSON]:
    """Return the number of files below a directory, by data type."""
    return [{"count": count, "data_type": name} for name, count in sorted(payload.counts.items())]


def time_text(ns: int) -> str:
    """Return RFC 3339 with nanoseconds."""
    seconds, rest = divmod(ns, 1_000_000_000)
    moment = datetime.fromtimestamp(seconds, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{rest:09}Z"


def _metadata(file: FilePayload) -> JSON | None:
    names = _METADATA.get(file.data_type)
    values = file.metadata
    if names is None or not isinstance(values, list) or len(values) != 1:
        return None
    if not isinstance(values[0], list) or len(values[0]) != len(names):
        return None
    return {file.data_type: dict(zip(names, values[0], strict=True))}
