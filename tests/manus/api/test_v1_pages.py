"""Listed tasks: their conversations are read late, and are otherwise those of any task."""

from __future__ import annotations

import copy
import gc
import json
import pickle
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from remote_tasks_provider.core.http.operation import Response
from remote_tasks_provider.manus.api.v1 import get_task
from remote_tasks_provider.manus.api.v1_pages import TaskPages
from remote_tasks_provider.manus.models import ManusTask


class Answer(Response):
    """A response that can be watched."""


def _item(task_id: str, **fields: Any) -> dict[str, Any]:
    said = {"role": "assistant", "content": [{"type": "output_text", "text": f"I am {task_id}."}]}
    return {"id": task_id, "status": "completed", "metadata": {}, "brand_new": 7, "output": [said]} | fields


def _answer(*items: Any) -> Answer:
    return Answer(200, {}, json.dumps({"object": "list", "data": items, "has_more": False}).encode())


def _page(*items: Any, pages: TaskPages | None = None) -> list[ManusTask]:
    return (pages or TaskPages())(_answer(*items)).data or []


def _single(item: Any) -> ManusTask:
    return get_task("x").parse(Response(200, {}, json.dumps(item).encode()))


def _text(task: ManusTask) -> str | None:
    return task.output[0].content[0].text


@pytest.mark.parametrize(
    "item",
    [
        _item("a"),
        _item("a", output=None),
        _item("a", output={"role": "user"}),
        _item("a", output="text"),
        _item("a", output=[1, None, "x", {"role": "user", "content": 5}]),
        {"id": "a"},
    ],
)
class TestListedTask:
    """It is what reading it alone gives."""

    def test_listed_task_equals_the_task_read_alone(self, item: Any) -> None:
        listed, alone = _page(item)[0], _single(item)

        assert isinstance(listed, ManusTask)
        assert listed == alone
        assert alone == listed
        assert listed == _page(item)[0]
        assert listed != _single(_item("b"))

    def test_listed_task_gives_the_same_conversation(self, item: Any) -> None:
        assert _page(item)[0].raw_output == _single(item).raw_output
        assert _page(item)[0].output == _single(item).output

    @pytest.mark.parametrize("mode", ["python", "json"])
    def test_listed_task_dumps_its_conversation(self, item: Any, mode: str) -> None:
        assert _page(item)[0].model_dump(mode=mode) == _single(item).model_dump(mode=mode)
        assert _page(item)[0].model_dump_json() == _single(item).model_dump_json()
        assert _page(item)[0].to_json(include_output=True) == _single(item).to_json(include_output=True)

    @pytest.mark.parametrize(
        "duplicate",
        [
            copy.copy,
            copy.deepcopy,
            lambda task: task.model_copy(),
            lambda task: task.model_copy(deep=True),
            lambda task: pickle.loads(pickle.dumps(task)),
        ],
    )
    def test_listed_task_is_copied_and_pickled_whole(
        self, item: Any, duplicate: Callable[[ManusTask], ManusTask]
    ) -> None:
        assert duplicate(_page(item)[0]).raw_output == _single(item).raw_output


class TestConversation:
    def test_conversation_belongs_to_its_task_where_odd_ones_are_between(self) -> None:
        tasks = _page(_item("a"), _item("b", output=7), _item("c"))

        assert [_text(tasks[2]), tasks[1].raw_output, _text(tasks[0])] == ["I am c.", [], "I am a."]

    def test_conversation_is_the_same_list_each_time(self) -> None:
        task = _page(_item("a"))[0]

        assert task.raw_output is task.raw_output

    def test_conversation_can_be_replaced_in_a_copy(self) -> None:
        task = _page(_item("a"))[0].model_copy(update={"raw_output": []})

        assert task.output == []

    def test_unread_conversation_is_not_shown(self) -> None:
        assert repr(_page(_item("a"))[0]) == repr(_single(_item("a")))


class TestMemory:
    def test_page_is_dropped_once_a_conversation_is_read(self) -> None:
        answer = _answer(_item("a"), _item("b"))
        watched = weakref.ref(answer)
        first, second = TaskPages()(answer).data or []
        del answer

        assert _text(first) == "I am a."
        assert watched() is None
        assert _text(second) == "I am b."

    def test_kept_task_keeps_its_conversation_and_not_its_page(self) -> None:
        pages, kept, watched = TaskPages(), [], []
        for number in range(4):
            answer = _answer(_item(f"kept-{number}"), _item("other"))
            watched.append(weakref.ref(answer))
            kept.append((pages(answer).data or [])[0])
            del answer

        assert [page() is None for page in watched] == [True, True, False, False]
        assert [_text(task) for task in kept] == [f"I am kept-{number}." for number in range(4)]

    def test_page_whose_tasks_are_gone_is_gone(self) -> None:
        answer = _answer(_item("a"))
        watched = weakref.ref(answer)
        pages, collects = TaskPages(), gc.isenabled()
        gc.disable()  # no cycle may keep it
        try:
            pages(answer)
            del answer
            assert watched() is None
        finally:
            if collects:
                gc.enable()
