"""What differs between two listings."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from oxenfs.model import Kind
from oxenfs.remote.rows import Row
from oxenfs.store.columns import Listing, columns_of
from oxenfs.store.difference import Step, steps_between

Tree = dict[bytes, tuple[int, int, int]]


def row(name: bytes, kind: int, content: int, commit: int) -> Row:
    size = 0 if kind == Kind.DIRECTORY else content
    return Row(name, kind, content.to_bytes(16, "big"), size, content, commit.to_bytes(16, "big"))


def listing(tree: Tree) -> Listing:
    return Listing(columns_of([row(name, *what) for name, what in sorted(tree.items())]))


values = st.tuples(st.sampled_from([0, 1, 2]), st.integers(0, 3), st.integers(1, 4))
trees = st.dictionaries(st.binary(min_size=1, max_size=2).filter(lambda n: b"\0" not in n), values)


def told(old: Listing, new: Listing, *, with_commits: bool) -> dict[str, set[bytes]]:
    """Return what steps say, after a check that they cover every row once and in order."""
    found: dict[str, set[bytes]] = {"same": set(), "changed": set(), "gone": set(), "new": set()}
    at_old = at_new = 0
    for step in steps_between(old, new, with_commits=with_commits):
        if step.old >= 0:
            assert step.old == at_old
            at_old += step.length
        if step.new >= 0:
            assert step.new == at_new
            at_new += step.length
        if step.same:
            names = old.names_between(step.old, step.old + step.length)
            assert names == new.names_between(step.new, step.new + step.length)
            found["same"].update(names)
        elif step.old < 0:
            found["new"].add(new.name(step.new))
        elif step.new < 0:
            found["gone"].add(old.name(step.old))
        else:
            assert old.name(step.old) == new.name(step.new)
            found["changed"].add(old.name(step.old))
    assert (at_old, at_new) == (old.count, new.count)
    return found


@given(before=trees, after=trees, common=trees)
def test_steps_are_the_difference_of_two_dictionaries(
    before: Tree, after: Tree, common: Tree
) -> None:
    before, after = before | common, after | common
    both = before.keys() & after.keys()
    same = {name for name in both if before[name][:2] == after[name][:2]}
    found = told(listing(before), listing(after), with_commits=False)
    assert found["same"] == same
    assert found["changed"] == both - same
    assert found["gone"] == before.keys() - after.keys()
    assert found["new"] == after.keys() - before.keys()
    identical = {name for name in both if before[name] == after[name]}
    found = told(listing(before), listing(after), with_commits=True)
    assert found["same"] == identical
    assert found["changed"] == both - identical


def test_equal_listings_are_one_step() -> None:
    tree: Tree = {b"%06d" % number: (1, number, 1) for number in range(10_000)}
    assert list(steps_between(listing(tree), listing(tree))) == [Step(0, 0, 10_000, same=True)]


def test_equal_rows_behind_an_insertion_are_one_step() -> None:
    tree: Tree = {b"%06d" % number: (1, number, 1) for number in range(10_000)}
    new = listing(tree | {b"005000x": (1, 1, 2)})
    assert list(steps_between(listing(tree), new, with_commits=True)) == [
        Step(0, 0, 5001, same=True),
        Step(-1, 5001, 1, same=False),
        Step(5001, 5002, 4999, same=True),
    ]
