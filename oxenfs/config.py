"""The official client's configuration: who commits, on which host, with which token.

Source: the client 0.65, `$OXEN_CONFIG_DIR` or `~/.config/oxen`: `user_config.toml` with `name` and
`email`, `auth_config.toml` with `default_host` and one `[[host_configs]]` per host.
"""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from oxenfs.errors import OxenfsError
from oxenfs.model import Author

HUB = "hub.oxen.ai"
"""The host of a bare `ns/name` where no configuration names another."""

_TOKEN_BYTES_MAX = 64 * 1024


@dataclass(frozen=True, slots=True)
class Token:
    """A secret for exactly one host; printing it shows the host only."""

    host: str
    secret: str = field(repr=False)


def folder() -> Path:
    """Return the official client's configuration folder; it may not exist."""
    named = os.environ.get("OXEN_CONFIG_DIR", "")
    if named:
        return Path(named)
    try:
        return Path.home() / ".config" / "oxen"
    except RuntimeError as exc:
        raise OxenfsError("there is no home folder here; set HOME or OXEN_CONFIG_DIR") from exc


def author() -> Author | None:
    """Return the configured author, None where there is none.

    Raises:
        OxenfsError: the file is there and cannot be used.
    """
    path = folder() / "user_config.toml"
    config = _read(path)
    if config is None:
        return None
    name, email = _text(config, "name", path), _text(config, "email", path)
    return Author(name, email) if name and email else None


def fallback_author() -> Author:
    """Return login name and `login@host`, for commits where no author is configured."""
    import pwd
    import socket

    uid = os.geteuid()
    try:
        login = pwd.getpwuid(uid).pw_name
    except KeyError:
        # Containers often run as a number that no passwd entry has.
        login = f"uid{uid}"
    return Author(login, f"{login}@{socket.gethostname() or 'localhost'}")


def default_host() -> str:
    """Return the host that a bare `ns/name` is on, with its port if it has one."""
    path = folder() / "auth_config.toml"
    return _text(_read(path) or {}, "default_host", path) or HUB


def token(host: str) -> Token | None:
    """Return the token for exactly `host` (with `:port` where that is not the scheme's own).

    `OXENFS_TOKEN_FILE` names a file that replaces the configured one for one host:
    `OXENFS_TOKEN_HOST`, or the default host.

    Raises:
        OxenfsError: a file that should have it cannot be used. The text never quotes a token.
    """
    file = _token_file(host)
    if file is not None:
        return Token(host, _read_token(file))
    path = folder() / "auth_config.toml"
    entries = (_read(path) or {}).get("host_configs", [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise OxenfsError(f"{path}: host_configs must be a list of [[host_configs]] tables")
    for entry in entries:
        # Host names have no case, and an address has its own in lowercase.
        if (_text(entry, "host", path) or "").lower() == host.lower():
            secret = _text(entry, "auth_token", path)
            return Token(host, secret) if secret else None
    return None


def token_hint(host: str) -> str:
    """Return what to do about a token for `host` that is refused, in the words of a message."""
    file = _token_file(host)
    if file is None:
        return f"oxen config --auth {host} TOKEN"
    return f"it came from OXENFS_TOKEN_FILE {file}; put another one there, or unset the variable"


def _token_file(host: str) -> Path | None:
    """Return the file that replaces the configured token for `host`, None if there is none."""
    named = os.environ.get("OXENFS_TOKEN_FILE", "")
    if not named:
        return None
    chosen = os.environ.get("OXENFS_TOKEN_HOST", "") or default_host()
    return Path(named) if host.lower() == chosen.lower() else None


def _read(path: Path) -> dict[str, Any] | None:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as exc:
        raise OxenfsError(f"cannot read {path}: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise OxenfsError(f"{path} is not UTF-8 text") from exc
    except ValueError as exc:
        # A TOMLDecodeError, or a number of thousands of digits. tomllib quotes single letters at
        # most, so no token gets into the text.
        raise OxenfsError(f"{path} is not valid TOML: {exc}") from exc


def _text(config: dict[str, Any], key: str, path: Path) -> str | None:
    value = config.get(key)
    if value is None:
        return None
    if not isinstance(value, str):
        raise OxenfsError(f"{path}: {key} must be text in quotes")
    return value.strip() or None


def _read_token(path: Path) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(_TOKEN_BYTES_MAX + 1)
    except OSError as exc:
        raise OxenfsError(f"cannot read OXENFS_TOKEN_FILE {path}: {exc.strerror}") from exc
    secret = raw.decode("ascii", "replace").strip()
    # One printable word: anything else would break, or add to, the request's header.
    if not secret.isascii() or not secret.isprintable() or " " in secret or not secret:
        raise OxenfsError(
            f"OXENFS_TOKEN_FILE {path} must hold the token, one word, and nothing else"
        )
    if len(raw) > _TOKEN_BYTES_MAX:
        raise OxenfsError(f"OXENFS_TOKEN_FILE {path} is too large to be a token")
    return secret
