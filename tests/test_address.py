from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oxenfs import address
from oxenfs.address import Address, Hosted
from oxenfs.errors import UsageError

CWD = Path("/work")
HUB = "hub.example.org"


def existing(paths: Collection[str]) -> Callable[[Path], bool]:
    known = {Path(path) for path in paths}
    return known.__contains__


def parse(text: str, *paths: str, host: str = HUB) -> Address:
    return address.parse(text, exists=existing(paths), cwd=CWD, default_host=lambda: host)


@pytest.mark.parametrize(
    ("text", "path", "rev"),
    [
        ("data", "/work/data", None),
        ("data@main", "/work/data", "main"),
        ("data@feature/x", "/work/data", "feature/x"),
        ("./x", "/work/x", None),
        ("./ns/name@main", "/work/ns/name", "main"),
        ("../x@v1", "/work/../x", "v1"),
        ("/x", "/x", None),
        ("/x/y@main", "/x/y", "main"),
        ("a/b/c", "/work/a/b/c", None),
        ("a/b/c@main", "/work/a/b/c", "main"),
        ("data/", "/work/data", None),
        ("data/@main", "/work/data", "main"),
        ("file:///x", "/x", None),
        ("FILE:///x@main", "/x", "main"),
        ("file://localhost/x@main", "/x", "main"),
        ("file:///a%20b@main", "/a b", "main"),
        ("file:///a%40b@main", "/a@b", "main"),
        ("data@user@host", "/work/data", "user@host"),
        ("name with spaces@main", "/work/name with spaces", "main"),
        ("C:x", "/work/C:x", None),
        ("@x/data@main", "/work/@x/data", "main"),
        ("data\n@main", "/work/data\n", "main"),
    ],
)
def test_paths(text: str, path: str, rev: str | None) -> None:
    assert parse(text) == Address(Path(path), rev)


@pytest.mark.parametrize(
    ("text", "paths", "path", "rev"),
    [
        # A path that exists as a whole has no revision.
        ("data@main", ["/work/data", "/work/data@main"], "/work/data@main", None),
        ("@x", ["/work/@x"], "/work/@x", None),
        # Otherwise the first `@` whose left side exists.
        ("/mnt/u@h/data@main", ["/mnt/u@h/data", "/mnt/u@h"], "/mnt/u@h/data", "main"),
        ("/mnt/u@h/data@a@b", ["/mnt/u@h/data"], "/mnt/u@h/data", "a@b"),
        ("data@a@b", ["/work/data", "/work/data@a"], "/work/data", "a@b"),
        ("data@a@b", ["/work/data@a"], "/work/data@a", "b"),
        # Otherwise the first.
        ("/mnt/u@h/data@main", [], "/mnt/u", "h/data@main"),
        ("u@h/data@main", ["/work/u@h/data"], "/work/u@h/data", "main"),
        ("file:///mnt/u@h/data@main", ["/mnt/u@h/data"], "/mnt/u@h/data", "main"),
    ],
)
def test_which_at_begins_the_revision(
    text: str, paths: list[str], path: str, rev: str | None
) -> None:
    assert parse(text, *paths) == Address(Path(path), rev)


def test_tilde_is_the_home_folder(home: Path) -> None:
    assert parse("~/x@main") == Address(home / "x", "main")
    assert parse("~/u@h@main", f"{home}/u@h") == Address(home / "u@h", "main")
    assert parse("./~/x") == Address(Path("/work/~/x"))
    with pytest.raises(UsageError, match="home folder"):
        parse("~no-such-user-here/x")


def test_the_default_looks_at_the_disk_and_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "u@h").mkdir()
    monkeypatch.chdir(tmp_path)
    assert address.parse("u@h") == Address(tmp_path / "u@h")
    assert address.parse("u@h@main") == Address(tmp_path / "u@h", "main")
    assert address.parse("x" * 300 + "@main").rev == "main"
    assert address.parse("ns/name") == Address(Hosted("https", "hub.oxen.ai", "ns", "name"))


@pytest.mark.parametrize(
    ("text", "host", "rev"),
    [
        ("http://localhost:3000/ox/pics", "localhost:3000", None),
        ("http://localhost:3000/ox/pics@main", "localhost:3000", "main"),
        ("http://LocalHost:03000/ox/pics@a/b@c", "localhost:3000", "a/b@c"),
        ("HTTP://h/ox/pics", "h", None),
        ("http://h:80/ox/pics", "h", None),
        ("http://h:443/ox/pics", "h:443", None),
        ("http://[::1]:3000/ox/pics@main", "[::1]:3000", "main"),
        ("http://[FE80::1]/ox/pics", "[fe80::1]", None),
        ("http://10.0.0.1/ox/pics/", "10.0.0.1", None),
        ("http://h/ox/pics/@main", "h", "main"),
    ],
)
def test_urls(text: str, host: str, rev: str | None) -> None:
    assert parse(text) == Address(Hosted("http", host, "ox", "pics"), rev)


def test_https_drops_its_own_port() -> None:
    assert parse("https://h:443/ox/pics").repo == "https://h/ox/pics"
    assert parse("https://h:80/ox/pics").repo == "https://h:80/ox/pics"


@pytest.mark.parametrize(
    ("text", "rev"),
    [
        ("ox/pics", None),
        ("ox/pics@main", "main"),
        ("ox/pics@feature/x", "feature/x"),
        ("ox/pics@a@b", "a@b"),
        ("o-x_1/p.i-c_s", None),
    ],
)
def test_bare_names_are_on_the_default_host(text: str, rev: str | None) -> None:
    namespace, name = text.partition("@")[0].split("/")
    # Even where a folder of that name exists: that one is written `./ox/pics`.
    for paths in ([], ["/work/ox/pics", "/work/ox"]):
        assert parse(text, *paths) == Address(Hosted("https", HUB, namespace, name), rev)


@pytest.mark.parametrize(
    ("host", "scheme"),
    [
        ("localhost:3000", "http"),
        ("127.0.0.1:3000", "http"),
        ("0.0.0.0:3000", "http"),
        ("data.example.org", "https"),
    ],
)
def test_the_default_hosts_scheme_is_the_official_clients(host: str, scheme: str) -> None:
    assert parse("ox/pics", host=host).repo == f"{scheme}://{host}/ox/pics"


def test_a_broken_default_host_is_refused() -> None:
    with pytest.raises(UsageError, match="default_host"):
        parse("ox/pics", host="https://hub.oxen.ai")


@pytest.mark.parametrize(
    "text",
    [
        "http://ada:hunter2@h/ox/pics",
        "https://hunter2@h:80/ox/pics@main",
        "http://hunter2@/ox/pics",
        "http://ada:hunter2@h",
        "HTTPS://ada:hunter2@[::1]/ox/pics",
        "ftp://ada:hunter2@h/ox/pics",
        "file://ada:hunter2@h/x",
    ],
)
def test_user_information_is_refused_and_not_echoed(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(text)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "empty address"),
        ("@main", "no repository before"),
        ("@", "no repository before"),
        ("data@", "no revision after"),
        ("./data@", "no revision after"),
        ("ox/pics@", "no revision after"),
        ("http://h/ox/pics@", "no revision after"),
        ("file:///x@", "no revision after"),
        ("o x/pics", r"not a namespace.*\./o x/pics"),
        ("-x/pics", "not a namespace"),
        ("o.x/pics", "not a namespace"),
        ("ox/.pics", "not a repository name"),
        ("ox/pi cs", "not a repository name"),
        ("ox/..", "not a repository name"),
        ("öx/pics", "not a namespace"),
        ("http://h/ox", "NAMESPACE/NAME"),
        ("http://h", "NAMESPACE/NAME"),
        ("http://h/ox/pics/more", "NAMESPACE/NAME"),
        ("http://h//pics", "not a namespace"),
        ("http://h/ox//", "not a repository name"),
        ("http://h/ox/pics?x=1", "not a repository name"),
        ("http://h/ox/pics#x", "not a repository name"),
        ("http:///ox/pics", "not a host name"),
        ("http://h:/ox/pics", "not a port"),
        ("http://h:0/ox/pics", "not a port"),
        ("http://h:99999/ox/pics", "not a port"),
        ("http://h:8²/ox/pics", "not a port"),
        ("http://h h/ox/pics", "not a host name"),
        ("http://hö/ox/pics", "xn--"),
        ("http://::1/ox/pics", "not a host name"),
        ("http://h\n/ox/pics", "not a host name"),
        ("s3://bucket/ox/pics", "no s3:// addresses"),
        ("file://elsewhere/x", "file:///FOLDER"),
        ("file://x", "file:///FOLDER"),
    ],
)
def test_what_cannot_be_an_address(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        parse(text)


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("data@main", "/work/data@main"),
        ("ox/pics@a/b", f"https://{HUB}/ox/pics@a/b"),
        ("http://[::1]:3000/ox/pics", "http://[::1]:3000/ox/pics"),
        ("file:///a%40b%25c@main", "file:///a%40b%25c@main"),
        ("file:///a%25c@main", "/a%c@main"),
    ],
)
def test_printing(text: str, printed: str) -> None:
    assert str(parse(text)) == printed
    assert parse(printed) == parse(text)


def test_repo_leaves_the_revision_out() -> None:
    assert parse("data@main").repo == "/work/data"
    assert parse("ox/pics@main").repo == f"https://{HUB}/ox/pics"
    assert parse("file:///a%40b@main").repo == "file:///a%40b"


def test_path_is_that_of_a_local_repository_only() -> None:
    assert parse("data@main").path == Path("/work/data")
    assert parse("ox/pics").path is None


texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)


@given(path=texts, rev=st.none() | texts)
def test_any_path_can_be_printed_and_parsed(path: str, rev: str | None) -> None:
    given_address = Address(Path("/", path), rev)
    assert parse(str(given_address)) == given_address


@given(st.text())
def test_any_text_is_an_address_or_a_usage_error(text: str) -> None:
    try:
        found = parse(text)
    except UsageError:
        return
    assert parse(str(found)) == found
