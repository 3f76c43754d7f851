"""Uses a cache until it is killed: `python -m store.filling FOLDER SEED LIMIT`."""

from __future__ import annotations

import itertools
import random
import sys
from pathlib import Path

from repositories import noise

from oxenfs.store.cache_open import open_cache
from oxenfs.store.upkeep import clear
from store.caching import chunk, held, smalls


def main() -> None:
    folder, seed, limit = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    rng = random.Random(seed)
    cache = open_cache(folder, limit)
    print("open", flush=True)
    for turn in itertools.count():
        kind = rng.randrange(20)
        number = rng.randrange(30)
        if kind < 9:
            group = smalls(rng.randint(1, 30), rng.randint(1, 30_000), number)
        elif kind < 18:
            group = [chunk(number, at) for at in range(rng.randint(1, 8))]
        elif kind == 18 and turn % 7 == 0:
            clear(cache)
            continue
        else:
            cache.put(b"derived %d" % number, noise(50_000, number))
            assert cache.get(b"derived %d" % number) in (None, noise(50_000, number))
            continue
        cache.put_many(group)
        for each in group:
            # Wrong bytes would fail the assertion in there.
            held(cache, each)


if __name__ == "__main__":
    main()
