"""Parses and prints addresses: `REPO@REV`, where REPO is a URL, `ns/name` or a path."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from oxenfs import config
from oxenfs.errors import UsageError

_DEFAULT_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?\Z")
_IPV6_HOST = re.compile(r"\[[0-9A-Fa-f:.]+(?:%25[A-Za-z0-9_.-]+)?\]\Z")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
# The reference server's characters. Its lengths are left to the server: they differ by version.
_NAMESPACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*\Z")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*\Z")


@dataclass(frozen=True, slots=True)
class Hosted:
    """A repository on a server.

    Attributes:
        scheme: `http` or `https`.
        host: in lowercase, with `:port` unless it is the scheme's own: as tokens are kept.
    """

    scheme: str
    host: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.scheme}://{self.host}/{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Address:
    """A repository, and perhaps a revision of it.

    Attributes:
        repository: the absolute path of a folder, or a repository on a server.
        rev: a branch, a commit id or a prefix of one; None for the default branch.
    """

    repository: Path | Hosted
    rev: str | None = None

    @property
    def path(self) -> Path | None:
        """The folder of a local repository, None for one on a server."""
        return self.repository if isinstance(self.repository, Path) else None

    @property
    def repo(self) -> str:
        """The address without the revision, as `parse` takes it."""
        return str(replace(self, rev=None))

    def __str__(self) -> str:
        """Return text from which `parse` makes an equal address."""
        repo = str(self.repository)
        if isinstance(self.repository, Path) and "@" in repo:
            # As a plain path it would mean this only as long as the folder exists.
            repo = "file://" + repo.replace("%", "%25").replace("@", "%40")
        return repo if self.rev is None else f"{repo}@{self.rev}"


def _exists(path: Path) -> bool:
    # `Path.exists` raises where a folder on the way may not be searched.
    try:
        return path.exists()
    except OSError:
        return False


def parse(
    text: str,
    *,
    exists: Callable[[Path], bool] = _exists,
    cwd: Path | None = None,
    default_host: Callable[[], str] = config.default_host,
) -> Address:
    """Return the address that `text` is.

    Args:
        text: as typed.
        exists: whether there is something at an absolute path. Decides which `@` of a path
            begins the revision.
        cwd: what relative paths start from; None for the current folder.
        default_host: gives the host of a bare `ns/name`.

    Raises:
        UsageError: it cannot be an address. The text never quotes a URL that may hold a secret.
    """
    scheme = _SCHEME.match(text)
    if scheme is not None:
        kind, rest = scheme.group(1).lower(), text[scheme.end() :]
        if kind in _DEFAULT_PORTS:
            return _parse_url(kind, rest)
        if kind == "file":
            return _parse_file_url(rest, exists)
        raise UsageError(f"oxenfs knows no {kind}:// addresses, only http, https and file")
    head, at, rev = text.partition("@")
    namespace, slash, name = head.partition("/")
    if head[:1] not in (".", "/", "~") and slash and name and "/" not in name:
        _check_names(namespace, name, f"; write ./{head} if it is a path")
        hosted = Hosted(*_server(default_host()), namespace, name)
        return Address(hosted, _checked_rev(rev) if at else None)
    start = cwd if cwd is not None else Path.cwd()
    return _split_path(text, lambda part: start / _expanded(part), exists)


def _parse_url(scheme: str, rest: str) -> Address:
    authority, _, tail = rest.partition("/")
    if "@" in authority:
        raise UsageError(
            "an address holds no user or password (and a revision goes after the name); "
            "tokens belong in auth_config.toml of the oxen client, or in OXENFS_TOKEN_FILE"
        )
    host = _checked_host(scheme, authority)
    repo, at, rev = tail.partition("@")
    namespace, slash, name = repo.removesuffix("/").partition("/")
    if not slash or "/" in name:
        raise UsageError(f"a repository on a server is {scheme}://{host}/NAMESPACE/NAME[@REVISION]")
    _check_names(namespace, name, "")
    return Address(Hosted(scheme, host, namespace, name), _checked_rev(rev) if at else None)


def _parse_file_url(rest: str, exists: Callable[[Path], bool]) -> Address:
    from urllib.parse import unquote_to_bytes

    rest = rest.removeprefix("localhost")
    if not rest.startswith("/"):
        raise UsageError("a file:// address names a folder of this machine: file:///FOLDER")
    # Decoded after the split: an `@` written as %40 never begins a revision.
    return _split_path(rest, lambda part: Path(os.fsdecode(unquote_to_bytes(part))), exists)


def _split_path(
    text: str, locate: Callable[[str], Path], exists: Callable[[Path], bool]
) -> Address:
    """Split `text` at the first `@` whose left side exists, else at the first `@`.

    An `@` at the very start ends nothing: `@x/data@main` is branch `main` of `@x/data`.
    """
    if not text:
        raise UsageError("an empty address; a repository is a folder, NAMESPACE/NAME or a URL")
    if "@" not in text or exists(locate(text)):
        return Address(locate(text))
    places = [index for index, letter in enumerate(text) if letter == "@" and index > 0]
    if not places:
        raise UsageError(f"{text!r} names no repository before the '@'")
    split = next((index for index in places if exists(locate(text[:index]))), places[0])
    return Address(locate(text[:split]), _checked_rev(text[split + 1 :]))


def _expanded(path: str) -> Path:
    # Of the text: `Path` would make `./~` the home folder, too.
    if not path.startswith("~"):
        return Path(path)
    try:
        return Path(path).expanduser()
    except RuntimeError as exc:
        raise UsageError(f"there is no home folder of that name: {path!r}") from exc


def _checked_host(scheme: str, authority: str) -> str:
    """Return the host in lowercase, with its port unless that is the scheme's own."""
    host, port = authority, ""
    if not authority.endswith("]"):
        before, colon, after = authority.rpartition(":")
        if colon:
            host, port = before, after
            if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
                raise UsageError(f"not a port: {port!r}")
    if not (_HOST.match(host) or _IPV6_HOST.match(host)):
        raise UsageError(f"not a host name: {host!r} (of other alphabets, write the xn-- form)")
    host = host.lower()
    return f"{host}:{int(port)}" if port and int(port) != _DEFAULT_PORTS[scheme] else host


def _check_names(namespace: str, name: str, hint: str) -> None:
    if not _NAMESPACE.match(namespace):
        raise UsageError(f"not a namespace: {namespace!r} (letters, digits, - and _){hint}")
    if not _NAME.match(name):
        raise UsageError(f"not a repository name: {name!r} (letters, digits, -, _ and .){hint}")


def _checked_rev(rev: str) -> str:
    if not rev:
        raise UsageError("no revision after the '@'; leave it out for the default branch")
    return rev


def _server(default_host: str) -> tuple[str, str]:
    # The scheme is what the official client takes for a host that comes without one.
    local = any(word in default_host for word in ("localhost", "127.0.0.1", "0.0.0.0"))
    scheme = "http" if local else "https"
    try:
        return scheme, _checked_host(scheme, default_host)
    except UsageError as exc:
        raise UsageError(f"default_host in auth_config.toml of the oxen client: {exc}") from exc
