"""A local repository does what every remote does."""

from __future__ import annotations

from .conflict_suite import ConflictSuite
from .publish_suite import PublishingSuite
from .suite import ReadingSuite


class TestReading(ReadingSuite):
    pass


class TestPublishing(PublishingSuite):
    pass


class TestConflicts(ConflictSuite):
    pass
