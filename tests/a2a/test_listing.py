"""A list that ends early is read again, and what is missing all the same is told."""

from __future__ import annotations

from typing import Any

import pytest

from remote_tasks_provider.a2a.api import operations
from remote_tasks_provider.a2a.api.filters import TaskFilter
from remote_tasks_provider.a2a.listing import whole_list
from remote_tasks_provider.a2a.models import A2ATask
from remote_tasks_provider.core.http.operation import Page

MORE = operations.list_tasks(TaskFilter(page_token="more"))


def page(ids: str, total: int, *, more: bool = False) -> Page[A2ATask]:
    tasks = [A2ATask.model_validate({"id": one, "status": {"state": "TASK_STATE_WORKING"}}) for one in ids]
    return Page(tasks, "more" if more else None, MORE if more else None, total)


class Pages:
    """Answers with these pages, one after the other."""

    def __init__(self, *pages: Page[A2ATask]) -> None:
        self.left = list(pages)

    def send(self, _: Any) -> Page[A2ATask]:
        return self.left.pop(0)


def read(*pages: Page[A2ATask]) -> str:
    client = Pages(*pages)
    found = "".join(task.id for task in whole_list(client, TaskFilter()))
    assert client.left == []
    return found


def test_whole_list_is_read_once() -> None:
    assert read(page("ab", 3, more=True), page("c", 3)) == "abc"


def test_list_without_a_count_is_read_once() -> None:
    assert read(page("ab", 0)) == "ab"


def test_list_that_ends_early_is_read_again_and_gives_each_task_once() -> None:
    early = [page("ab", 4, more=True), page("", 4)]
    assert read(*early, page("ba", 4, more=True), page("cd", 4)) == "abcd"


@pytest.mark.parametrize(("again", "found"), [("ab", "ab"), ("", "ab")], ids=["the same", "nothing"])
def test_list_that_never_has_what_it_announces_is_told(again: str, found: str, log_lines: list[str]) -> None:
    assert read(page("ab", 4), page(again, 4)) == found
    assert any("announced 4 tasks, and listed 2" in line for line in log_lines)


def test_list_that_brings_more_each_time_is_not_read_for_ever() -> None:
    assert read(*(page(one, 9) for one in "abcde")) == "abcde"
