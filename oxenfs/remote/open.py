"""From an address to a remote; the one place that knows which kinds there are."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from urllib.parse import urlsplit

from oxenfs import config
from oxenfs.address import Address, Hosted
from oxenfs.errors import UsageError
from oxenfs.remote.base import Remote


def open_remote(address: Address, *, insecure: bool = False, timeout_s: float = 30.0) -> Remote:
    """Return the repository at `address`, whatever its revision.

    Args:
        address: a folder, or a repository on a server.
        insecure: send a token over plain http to hosts other than this one.
        timeout_s: for connecting to a server, and the longest silence in an answer.

    Raises:
        NotFound: there is no such folder; says what to do. Servers are not asked here.
        IntegrityError: a local repository is damaged.
        UsageError: there is a token for the host, and sending it would not be safe.
    """
    # Imported where used: a local mount must not wait for `requests` to load.
    if isinstance(address.repository, Path):
        from oxenfs.remote.local.repository import open_repository

        return open_repository(address.repository)
    from oxenfs.remote.http.remote import HttpRemote
    from oxenfs.remote.retry import Patience, Retrying

    hosted = address.repository
    token = config.token(hosted.host)
    if token is not None and not insecure and not _is_safe(hosted):
        raise UsageError(
            f"there is a token for {hosted.host}, and {hosted.scheme} would send it in the clear; "
            "use https, or --insecure if you trust the network"
        )
    secret = None if token is None else token.secret
    remote = HttpRemote(hosted, secret, timeout_s)
    return Retrying(remote, Patience(deadline_s=timeout_s), met=False)


def _is_safe(hosted: Hosted) -> bool:
    if hosted.scheme == "https":
        return True
    name = urlsplit(str(hosted)).hostname or ""
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        # A name may look like an address of this machine and be anybody's: 127.example.org.
        return name == "localhost"
