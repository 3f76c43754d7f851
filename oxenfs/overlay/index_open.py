"""Opens an overlay's index as its journal has it: after a crash, or anew."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

from oxenfs.errors import OxenfsError
from oxenfs.kv import Environment
from oxenfs.overlay.index import Index
from oxenfs.overlay.index_fill import Filling, boot_id, open_tables, place_of, read_state
from oxenfs.overlay.journal import Journal, open_journal

log = logging.getLogger(__name__)


def open_index(folder: Path) -> Index:
    """Open journal and index in `folder`.

    Raises:
        IntegrityError: the journal is not one.
        UpperFull: the index has to be made again, and there is no space for it.
    """
    journal = open_journal(folder / "journal")
    try:
        place = place_of(folder, journal.id)
        # Of journals that were replaced, or never finished.
        for other in folder.glob("index-*"):
            if other != place:
                shutil.rmtree(other, ignore_errors=True)
        env = _trusted(place, journal)
        start = None
        if env is not None:
            state = read_state(env)
            assert state is not None
            start = state.position
        else:
            shutil.rmtree(place, ignore_errors=True)
            env = open_tables(place)
        filling = Filling(env, journal.id)
        for edits in journal.records() if start is None else journal.records(start):
            filling.add(edits)
        filling.finish(journal.end)
    except BaseException:
        journal.close()
        raise
    return Index(journal, env)


def _trusted(path: Path, journal: Journal) -> Environment | None:
    """Return the environment if it belongs to this journal and this boot of the machine."""
    if not (path / "data.mdb").exists():
        return None
    env = None
    try:
        env = open_tables(path)
        state = read_state(env)
        if state is not None and state.id == journal.id and state.position <= journal.end:
            if state.boot == boot_id():
                return env
            log.info("the machine has been restarted: the index in %s is made again", path)
    except OxenfsError as exc:
        log.warning("the index is made again from the journal: %s", exc)
    if env is not None:
        env.close()
    return None
