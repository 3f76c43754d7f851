"""From an address to a remote; the one place that knows which kinds there are."""

from __future__ import annotations

from oxenfs.address import Address
from oxenfs.errors import NotFound
from oxenfs.remote.base import Remote


def open_remote(address: Address) -> Remote:
    """Return the repository at `address`, whatever its revision.

    Raises:
        NotFound: there is no repository; says what to do.
        IntegrityError: a local one is damaged.
    """
    if address.path is None:
        raise NotFound(
            f"{address.repo}: this version mounts local repositories only; "
            "a folder is written ./name or /path/name"
        )
    from oxenfs.remote.local.repository import open_repository

    return open_repository(address.path)
