"""Small files of a remote that come before anybody asks for them, and who is told of them."""

from __future__ import annotations

from collections.abc import Sequence

from oxenfs.remote.breaker import Breaker
from oxenfs.store.arrivals import Told
from oxenfs.store.flights import Data
from oxenfs.store.queued import Ahead
from oxenfs.store.remote_here import Here
from oxenfs.store.remote_readers import Tags
from oxenfs.store.siblings import Sibling, Siblings
from oxenfs.store.transfers import Transfers

_TOLD_MAX = 100_000


class SmallAhead:
    """What is read ahead of small files. Used from one trio loop."""

    def __init__(self, here: Here, transfers: Transfers | None, breaker: Breaker) -> None:
        """Let come by `transfers` what is not `here`; None: nothing ever comes."""
        self._here = here
        self._transfers = transfers
        self._breaker = breaker
        self._siblings = Siblings()
        # Tags of what came ahead and was told, until somebody opens it.
        self._told: set[int] = set()

    def tell(self, told: Told) -> None:
        """Call `told`, in a worker, with small blobs that came before anybody asked for them.

        Those of which readers know tags (`SmallReader.tags`).
        """
        if self._transfers is not None:

            def note(came: Sequence[tuple[int, Data]]) -> None:
                if len(self._told) > _TOLD_MAX:
                    self._told.clear()
                # Before: it may be read as soon as it is told.
                self._told.update(tag for tag, _ in came)
                told(came)

            self._transfers.tell_ahead(note)

    def note_read(self, sibling: Sibling, tags: Tags | None) -> list[Ahead]:
        """Note the first read of a small file; return others of its folder that are to come."""
        transfers = self._transfers
        if transfers is None or self._breaker.is_open:
            return []
        found: list[Ahead] = []
        room = transfers.room_ahead()
        listing = sibling.listing
        tag = _no_tag if tags is None else tags

        def ahead(rows: list[int]) -> int:
            nonlocal room
            blobs = [(listing.hash(row), listing.sizes[row], tag(row)) for row in rows]
            wanted = [each for each in blobs if not transfers.has(each[0], each[1])]
            before = len(found)
            for each in self._here.not_on_disk(wanted):
                if each[1] <= room:
                    room -= each[1]
                    found.append(each)
            return len(found) - before

        self._siblings.read(sibling, ahead)
        return found

    def note_closed(self, sibling: Sibling, tags: Tags) -> None:
        """Note that a file was closed without a read: whoever was told of it may have had it."""
        tag = tags(sibling.row)
        if tag in self._told:
            self._told.discard(tag)
            ahead = self.note_read(sibling, tags)
            if ahead and self._transfers is not None:
                self._transfers.small_ahead(ahead)


def _no_tag(row: int) -> int:
    return 0
