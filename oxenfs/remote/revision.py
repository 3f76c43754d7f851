"""What a user may write behind the `@` of an address, to a commit."""

from __future__ import annotations

import re
from dataclasses import dataclass

from oxenfs.errors import NotFound
from oxenfs.model import Commit, hash_text
from oxenfs.remote.base import Remote

PREFIX_DIGITS_MIN = 6
_CANDIDATES = 10
_FULL_DIGITS = 32
_HEX = re.compile(r"[0-9a-f]{1,32}\Z")


class AmbiguousRevision(NotFound):
    """A prefix that several commits share."""


@dataclass(frozen=True, slots=True)
class Revision:
    """What a revision stands for now.

    Attributes:
        branch: None when a commit was named.
    """

    commit: Commit
    branch: str | None


def resolve(remote: Remote, rev: str | None) -> Revision:
    """Return the commit of a branch, a full commit id or a unique prefix, tried in this order.

    Args:
        remote: where to look.
        rev: None means the default branch.

    Raises:
        NotFound: there is none; the text names the nearest branches.
        AmbiguousRevision: several commits begin like this; the text lists them.
    """
    if rev is None:
        branch = remote.default_branch()
        return Revision(remote.commit(branch.commit), branch.name)
    try:
        branch = remote.branch(rev)
    except NotFound:
        pass
    else:
        return Revision(remote.commit(branch.commit), branch.name)
    digits = rev.lower()
    if _HEX.match(digits):
        if len(digits) == _FULL_DIGITS:
            # Oxen writes ids without leading zeros, other programs may not.
            digits = digits.lstrip("0") or "0"
        found = remote.commits_with_prefix(digits, _CANDIDATES + 1)
        exact = [id for id in found if hash_text(id) == digits]
        if exact:
            return Revision(remote.commit(exact[0]), None)
        if len(digits) >= PREFIX_DIGITS_MIN and len(found) == 1:
            return Revision(remote.commit(found[0]), None)
        if found and len(digits) < PREFIX_DIGITS_MIN:
            raise NotFound(
                f"no branch {rev!r}; a commit id must be given with at least "
                f"{PREFIX_DIGITS_MIN} digits"
            )
        if found:
            more = " ..." if len(found) > _CANDIDATES else ""
            listed = " ".join(hash_text(id) for id in found[:_CANDIDATES])
            raise AmbiguousRevision(f"several commits begin with {rev}: {listed}{more}")
    raise NotFound(_unknown(remote, rev))


def _unknown(remote: Remote, rev: str) -> str:
    names = [branch.name for branch in remote.branches()]
    import difflib  # only for whoever mistyped

    near = difflib.get_close_matches(rev, names, n=3, cutoff=0.5) or names[:5]
    hint = f"; there is {', '.join(near)}" if near else "; the repository has no branches"
    return f"no branch or commit {rev!r} in {remote.address}{hint}"
