"""`python -m oxenfs_cli` is `oxenfs`."""

from __future__ import annotations

import sys

from oxenfs_cli.start import main

if __name__ == "__main__":
    sys.exit(main())
