"""The suite's assertions are to be explained like those of test modules."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("views.suite")
