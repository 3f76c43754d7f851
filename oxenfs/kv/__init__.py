"""A small typed layer over LMDB; the only place that uses it.

What it adds to LMDB:

- Every value carries an xxh3-64 of itself and its key and is checked when it is read. LMDB checks
  nothing: a flipped bit or a lost page shows as other bytes, not as an error.
- Values are copied out, so no view of the map outlives its transaction.
- A file that lost its tail is made long enough again (with zeros) before it is mapped: touching
  a page behind the end of the file would kill the process with SIGBUS, zeros are found by the
  checks.
- On a read-only file system it is opened for reading, without locks: nobody can write there.
- One environment per path and process, shared by whoever opens it again: LMDB's locks break
  when one process opens a file twice.

Writes of one environment are serialised between processes by LMDB; keep write transactions short.
"""

from oxenfs.kv.environment import Environment, open_environment
from oxenfs.kv.transaction import Transaction

__all__ = ["Environment", "Transaction", "open_environment"]
