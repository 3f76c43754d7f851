"""What the official client asked the real server, asked of ours: the answers have the same form.

Nothing is prepared but through the API: each request builds on those before.
"""

from __future__ import annotations

import json

from oxenfs.remote.archive import Limits, read_members

from .conftest import Api
from .replaying import Exchange, Replay, node_shapes, recorded


def test_recorded_requests_get_the_recorded_answers(api: Api) -> None:
    replay = Replay()
    exchanges = recorded()
    assert len(exchanges) == 132
    problems = [f"{each.name}: {line}" for each in exchanges for line in asked(api, replay, each)]
    assert problems == []


def asked(api: Api, replay: Replay, exchange: Exchange) -> list[str]:
    """Make a request again, and return what is different about the answer."""
    body = replay.body(exchange)
    path = replay.here(exchange.path) + (f"?{exchange.query}" if exchange.query else "")
    headers = {
        name: value
        for name, value in exchange.headers.items()
        if name in ("content-type", "user-agent")
    }
    answer = api.client.request(
        exchange.method, replay.here(path), content=body or None, headers=headers
    )
    if answer.status_code != exchange.status:
        return [f"{exchange.status} was recorded, not {answer.status_code} {answer.text[:500]}"]
    problems = []
    for name, wanted in exchange.answer_headers.items():
        if name != "content-length" and replay.here(wanted) != answer.headers.get(name):
            problems.append(f"{name}: {wanted}, not {answer.headers.get(name)}")
    if exchange.answer_headers.get("content-type") == "application/json":
        got = json.loads(answer.content)
        problems += replay.compare(json.loads(exchange.body or b""), got)
        if exchange.path.endswith("/versions/uploads"):
            replay.started(exchange, got)
    else:
        problems += compared(replay, exchange, answer.content)
    return problems


def compared(replay: Replay, exchange: Exchange, got: bytes) -> list[str]:
    """Compare bodies that are no JSON: content to the byte, archives by what is in them."""
    if "/chunk/" in exchange.path:
        start, size = (int(each.partition("=")[2]) for each in exchange.query.split("&"))
        wanted = [data[start : start + size] for data in replay.drawn.values()]
        return [] if got in wanted and len(got) == size else ["other bytes"]
    if exchange.path.endswith("download_dir_hashes_db"):
        folders = {member.name.rpartition("/")[0] for member in read_members([got], Limits())}
        ids = exchange.path.split("/")[-2].split("..")
        missing = [id for id in ids if f"history/{replay.here(id)}/dir_hashes" not in folders]
        return [f"no index of {id}" for id in missing]
    if "/tree/download/" in exchange.path:
        shapes = node_shapes(got)
        if exchange.body is not None and shapes != node_shapes(exchange.body):
            return [f"nodes {node_shapes(exchange.body)} were recorded, not {shapes}"]
        return [] if shapes else ["no nodes"]
    assert exchange.body is not None
    if exchange.method == "QUERY":
        before, now = (list(read_members([data], Limits())) for data in (exchange.body, got))
        return [] if before == now else [f"members {before} were recorded, not {now}"]
    return [] if got == exchange.body else ["other content"]
