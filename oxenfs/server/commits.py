"""Endpoints of commits: history, what is missing, and the index of directories."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice

from starlette.responses import Response

from oxenfs.errors import IntegrityError, NotFound, OxenfsError, UsageError
from oxenfs.model import Commit, ObjectHash, parse_hash
from oxenfs.remote.archive import Limits, read_members
from oxenfs.remote.archive_write import write_members
from oxenfs.remote.local.advance import check, unlisted
from oxenfs.remote.local.dir_hashes import keep, members_of
from oxenfs.remote.local.lookup import entry_at
from oxenfs.remote.local.ranges import commits_between
from oxenfs.remote.local.repository import LocalRemote
from oxenfs.remote.payloads import FilePayload
from oxenfs.server import answers
from oxenfs.server.answers import Refusal, page, streamed
from oxenfs.server.endpoint import Call
from oxenfs.server.revisions import resolve, revision
from oxenfs.server.shapes import commit_json

_LIMITS = Limits(members=1_000_000, member_bytes=512 << 20)
_UPLOAD_ID = re.compile(r"[0-9A-Za-z_-]{1,64}\Z")
_CHUNKS_MAX = 100_000


def show(call: Call) -> Response:
    """`GET R/commits/{commit}`."""
    return answers.found(commit=commit_json(_commit(call.remote, call.word("commit"))))


def history(call: Call) -> Response:
    """`GET R/commits/history/{resource}`: of a revision, or of a path in it."""
    text = call.word("resource")
    number, size = call.paging()
    if not call.remote.branches():
        return answers.found(commits=[], **page(number, size, 0))
    base, dots, head = text.partition("..")
    if dots:
        ids = revision(call.remote, base), revision(call.remote, head)
        commits = commits_between(call.remote, *ids)
    else:
        resource = resolve(call.remote, text)
        if resource.path:
            return _path_history(call, resource.commit, resource.path, number, size)
        commits = list(call.remote.history(resource.commit))
    shown = commits[(number - 1) * size : number * size]
    return answers.found(
        commits=[commit_json(commit) for commit in shown], **page(number, size, len(commits))
    )


def all_commits(call: Call) -> Response:
    """`GET R/commits/all`."""
    number, size = call.paging()
    found: dict[ObjectHash, Commit] = {}
    for branch in call.remote.branches():
        if branch.commit not in found:
            found.update((commit.id, commit) for commit in call.remote.history(branch.commit))
    commits = sorted(found.values(), key=lambda commit: commit.timestamp_ns)
    shown = commits[(number - 1) * size : number * size]
    return answers.found(
        commits=[commit_json(commit) for commit in shown], **page(number, size, len(commits))
    )


def root(call: Call) -> Response:
    """`GET R/commits/root`."""
    branches = call.remote.branches()
    if not branches:
        return answers.found(commit=None)
    for commit in call.remote.history(branches[0].commit):
        last = commit
    return answers.found(commit=commit_json(last))


def parents(call: Call) -> Response:
    """`GET R/commits/{revision}/parents`: all ancestors."""
    head = revision(call.remote, call.word("revision"))
    return answers.found(commits=[commit_json(commit) for commit in call.remote.history(head)])


def complete(call: Call) -> Response:
    """`POST R/commits/{commit}/complete`: a client tells that it is done."""
    return answers.created(commit=commit_json(_commit(call.remote, call.word("commit"))))


def missing(call: Call) -> Response:
    """`POST R/commits/missing`: those that a push must send."""
    hashes = hashes_in(call)
    return answers.found(hashes=[text for text in hashes if not _is_here(call.remote, text)])


def missing_files(call: Call) -> Response:
    """`GET R/commits/missing_files`: blobs that a listed commit lacks here, so none."""
    _commit(call.remote, call.query("head") or "")
    return answers.found(entries=[])


def download_dir_hashes(call: Call) -> Response:
    """`GET R/commits/{range}/download_dir_hashes_db`: of a commit's history, or of a range."""
    base, dots, head = call.word("range").partition("..")
    if dots:
        first = _commit(call.remote, base)
        commits: Iterator[Commit] = iter(
            [*commits_between(call.remote, first.id, _commit(call.remote, head).id), first]
        )
    else:
        commits = call.remote.history(_commit(call.remote, base).id)
    return streamed(write_members(members_of(call.remote, commits)), "application/gzip")


def commit_db(call: Call) -> Response:
    """`GET R/commits/{commit}/commit_db`: the index of one commit."""
    commit = _commit(call.remote, call.word("commit"))
    return streamed(write_members(members_of(call.remote, [commit])), "application/gzip")


def upload(call: Call) -> Response:
    """`POST R/commits/upload`: the index of a pushed commit."""
    _keep(call.remote, call.body.pieces())
    return answers.created()


def upload_chunk(call: Call) -> Response:
    """`POST R/commits/upload_chunk`: a piece of a large index; the last one completes it."""
    id = call.query("hash") or ""
    number, count = call.number("chunk_num", 0), call.number("total_chunks", 1)
    if not _UPLOAD_ID.match(id) or not 0 <= number < count <= _CHUNKS_MAX:
        raise UsageError("hash, chunk_num or total_chunks is not right")
    folder = call.remote.layout.tmp / f"index-{id}"
    folder.mkdir(mode=0o700, exist_ok=True)
    arriving = folder / f"{number}.part"
    with arriving.open("wb") as file:
        for piece in call.body.pieces():
            file.write(piece)
    arriving.rename(folder / str(number))
    files = [folder / str(each) for each in range(count)]
    if all(each.exists() for each in files):
        _keep(call.remote, (each.read_bytes() for each in files))
        for each in files:
            each.unlink(missing_ok=True)
    return answers.created()


def hashes_in(call: Call) -> list[str]:
    """Return the list `hashes` of a request's body; raise `UsageError`."""
    hashes = call.body.fields().get("hashes")
    if not isinstance(hashes, list) or not all(isinstance(item, str) for item in hashes):
        raise UsageError("the request needs 'hashes'")
    return hashes


def _keep(remote: LocalRemote, pieces: Iterator[bytes]) -> None:
    try:
        keep(remote, read_members(pieces, _LIMITS))
    except IntegrityError as exc:
        raise UsageError(str(exc)) from exc


def _is_here(remote: LocalRemote, text: str) -> bool:
    try:
        commits = unlisted(remote, parse_hash(text))
        check(remote, commits)
    except OxenfsError:
        return False
    return True


def _path_history(call: Call, head: ObjectHash, path: bytes, number: int, size: int) -> Response:
    """Follow the entry's own record of the commit that last changed it, back in time."""
    found = _changes_of(call.remote, head, path)
    shown = list(islice(found, (number - 1) * size, number * size + 1))
    return answers.found(
        commits=[commit_json(commit) for commit in shown[:size]],
        page_number=number,
        page_size=size,
        has_more=len(shown) > size,
    )


def _changes_of(remote: LocalRemote, head: ObjectHash, path: bytes) -> Iterator[Commit]:
    def at(commit: ObjectHash) -> ObjectHash | None:
        try:
            entry = entry_at(remote, commit, path)
        except NotFound:
            return None
        return entry.hash if isinstance(entry, FilePayload) else entry.id

    for commit in remote.history(head):
        now = at(commit.id)
        before = [at(parent) for parent in commit.parents]
        if now not in before and not (now is None and not before):
            yield commit


def _commit(remote: LocalRemote, text: str) -> Commit:
    try:
        return remote.commit(parse_hash(text))
    except (NotFound, UsageError) as exc:
        detail = f"Could not find branch or commit: {text}"
        raise Refusal(404, "resource_not_found", "Revision not found", detail) from exc
