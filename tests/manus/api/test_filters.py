"""Which filters of a list are taken, and what their words mean."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from remote_tasks_provider.manus.api.filters import STATUSES, TaskFilter, task_filter


def test_empty_filter_means_all_tasks_newest_first() -> None:
    assert task_filter() == TaskFilter(order="desc", order_by="created_at", page_size=100)


@pytest.mark.parametrize(
    ("status", "states"),
    [
        (None, set()),
        ("completed", {"completed"}),
        (["failed", "running"], {"failed", "running"}),
        ("pending", {"waiting"}),
        (["waiting", "pending"], {"waiting"}),
    ],
)
def test_words_of_both_versions_mean_states(status: Any, states: set[str]) -> None:
    assert task_filter(status=status).states == states


@pytest.mark.parametrize("word", ["stopped", "error", "cancelled", "unknown", "RUNNING", ""])
def test_unknown_word_is_refused_with_the_known_ones(word: str) -> None:
    with pytest.raises(ValueError, match=f"status is {word!r}; it must be one of {', '.join(STATUSES)}"):
        task_filter(status=word)


@pytest.mark.parametrize(
    ("moment", "seconds"),
    [
        (1763501439, 1763501439),
        ("1763501439", 1763501439),
        ("2025-11-18T21:30:39Z", 1763501439),
        ("2025-11-18T22:30:39+01:00", 1763501439),
        (datetime(2025, 11, 18, 21, 30, 39, 999_999, tzinfo=UTC), 1763501439),
        (0, 0),
    ],
)
def test_moments_become_whole_seconds(moment: Any, seconds: int) -> None:
    wanted = task_filter(created_after=moment, created_before=moment)

    assert (wanted.created_after, wanted.created_before) == (seconds, seconds)


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        ({"created_after": "yesterday"}, "created_after"),
        ({"created_before": datetime(2025, 1, 1)}, "created_before"),  # noqa: DTZ001 - what is refused
        ({"created_after": -1}, "created_after"),
        ({"project_id": ""}, "project_id"),
        ({"after": "None"}, "after"),
        ({"order": "newest"}, "order"),
        ({"order_by": "title"}, "order_by"),
        ({"page_size": 0}, "page_size"),
        ({"page_size": 1001}, "page_size"),
        ({"page_size": 1.5}, "page_size"),
    ],
    ids=str,
)
def test_invalid_value_is_refused_by_name(wrong: dict[str, Any], name: str) -> None:
    with pytest.raises(ValueError, match=name):
        task_filter(**wrong)


@pytest.mark.parametrize(("page_size", "limit", "size"), [(100, 3, 3), (2, 3, 2), (1000, None, 1000)])
def test_page_is_no_larger_than_the_limit(page_size: int, limit: int | None, size: int) -> None:
    assert task_filter(page_size=page_size, limit=limit).page_size == size
