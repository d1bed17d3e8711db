"""Every answer that the published schemas allow is read; so is one that bends them as services do.

The schemas require no field at all. What the provider insists on stands in ``OPERATIONS``: above all ids,
since a task that was created but has no id could not be found again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from remote_tasks_provider.core.http.operation import Operation, Refused, Response
from remote_tasks_provider.core.states import TaskState
from remote_tasks_provider.manus.api.v2_models import ManusEvent, ManusTaskV2
from remote_tasks_provider.manus.models import ManusTask, ManusTaskSummary, snapshot
from remote_tasks_provider.manus.results import ManusTaskRef, result_v1, result_v2
from remote_tasks_provider.manus.websites import ManusPublication, ManusWebsite, website_snapshot
from tests.contract.manus_operations import SPECS, built_by
from tests.specs.made_up import allowed_by, bent
from tests.specs.published import published

# The same examples on every run, and no limit of time: the machines that run this are of all kinds.
BOUNDED = settings(
    derandomize=True,
    max_examples=30,
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def _use_task(task: ManusTask) -> None:
    assert isinstance(task.state, TaskState)
    json.dumps([snapshot(task).to_record(), task.to_json(include_output=True)])
    # v2 tells the rest in events, of which there are none.
    result = result_v2(task.with_events([]), []) if isinstance(task, ManusTaskV2) else result_v1(task)
    json.dumps(result.to_json())
    assert result.id == task.id
    assert all(isinstance(one.content, list) for one in task.output)


def _use_summaries(page: Any) -> None:
    for task in page.items:
        assert isinstance(task, ManusTaskSummary)
        json.dumps(snapshot(task).to_record())


def _use_tasks(page: Any) -> None:
    for task in page.items:
        _use_task(task)


def _use_events(page: Any) -> None:
    events = list(page.items)
    assert all(isinstance(one, ManusEvent) for one in events)
    for status in ("running", "waiting", "stopped", "error", "dreaming"):
        task = ManusTaskV2(id="t1", status=status).with_events(events)
        json.dumps(result_v2(task, events).to_json())
        _use_task(task)


def _use_ref(ref: Any) -> None:
    assert isinstance(ref, ManusTaskRef)
    assert ref.id


def _use_website(website: Any) -> None:
    assert isinstance(website, ManusWebsite)
    assert isinstance(website.state, TaskState)
    json.dumps([website_snapshot(website).to_record(), website.to_json()])


def _use_publication(publication: Any) -> None:
    assert isinstance(publication, ManusPublication)
    assert publication.website_id


def _use_pair(pair: Any) -> None:
    assert all(isinstance(part, str) and part for part in pair)


@dataclass(frozen=True)
class Reading:
    """What one operation's answer must have, and what is done with it.

    :param needs: fields without which an answer is refused; those of an object inside only where it is there
    """

    needs: tuple[str, ...] = ()
    use: Callable[[Any], None] = lambda _: None


OPERATIONS: dict[tuple[str, str], Reading] = {
    ("v1", "get_task"): Reading(("id",), _use_task),
    # Where there is more, where it goes on must be told.
    ("v1", "list_tasks"): Reading(("data", "data.*.id", "last_id"), _use_tasks),
    ("v1", "list_summaries"): Reading(("data", "data.*.id", "last_id"), _use_summaries),
    ("v1", "create_task"): Reading(("task_id",), _use_ref),
    ("v1", "continue_task"): Reading(("task_id",), _use_ref),
    ("v1", "update_task"): Reading(("task_id",), _use_ref),
    ("v1", "create_upload"): Reading(("id", "upload_url"), _use_pair),
    ("v2", "get_task"): Reading(("task", "task.id"), _use_task),
    ("v2", "list_tasks"): Reading(("data", "data.*.id", "next_cursor"), _use_tasks),
    ("v2", "list_summaries"): Reading(("data", "data.*.id", "next_cursor"), _use_summaries),
    ("v2", "list_messages"): Reading(("messages", "next_cursor"), _use_events),
    ("v2", "create_task"): Reading(("task_id",), _use_ref),
    ("v2", "update_task"): Reading(("task_id",), _use_ref),
    ("v2", "create_upload"): Reading(("file", "file.id", "upload_url"), _use_pair),
    ("v2", "available_credits"): Reading(("data",)),
    ("v2", "list_usage"): Reading(("data", "next_cursor")),
    ("v2", "publish_website"): Reading(("website_id",), _use_publication),
    ("v2", "get_website"): Reading(("website_id",), _use_website),
}
NAMES = [(version, name) for version in SPECS for name in built_by(version)]


def _call(version: str, name: str) -> Operation[Any]:
    return built_by(version)[name][0]


def _schema(version: str, name: str, needs: tuple[str, ...]) -> dict[str, Any]:
    """Return the schema of a good answer."""
    request = _call(version, name).request
    schema = published(SPECS[version][1]).answer_schema(request.method, request.path, needs=needs)
    if version == "v2":
        # One that says "not ok" is an error, whatever else it has.
        schema["properties"]["ok"] = {"const": True}
        schema["required"] = sorted({*schema.get("required", ()), "ok"})
    return schema


def _read(operation: Operation[Any], body: Any) -> Any:
    return operation.parse(Response(200, {}, json.dumps(body).encode()))


@pytest.mark.parametrize(("version", "name"), NAMES)
def test_valid_answers_are_read(version: str, name: str) -> None:
    reading, operation = OPERATIONS.get((version, name), Reading()), _call(version, name)

    @BOUNDED
    @given(allowed_by(_schema(version, name, reading.needs)))
    def check(body: Any) -> None:
        reading.use(_read(operation, body))

    check()


@pytest.mark.parametrize(("version", "name"), NAMES)
def test_sloppy_answers_are_read(version: str, name: str) -> None:
    """Integers as strings, ``null`` for what is not there, and fields that nobody knows yet."""
    reading, operation = OPERATIONS.get((version, name), Reading()), _call(version, name)
    kept = frozenset(one.rpartition(".")[2] for one in reading.needs) | {"ok"}

    @BOUNDED
    @given(bent(_schema(version, name, reading.needs), kept))
    def check(body: Any) -> None:
        reading.use(_read(operation, body))

    check()


@pytest.mark.parametrize(("version", "name"), NAMES)
def test_valid_answers_are_read_or_refused_as_invalid(version: str, name: str) -> None:
    operation = _call(version, name)
    request = operation.request
    schema = published(SPECS[version][1]).answer_schema(request.method, request.path)

    @BOUNDED
    @given(allowed_by(schema))
    def check(body: Any) -> None:
        if body.get("ok") is False:
            with pytest.raises(Refused):
                _read(operation, body)
            return
        try:
            _read(operation, body)
        except ValueError as refusal:
            assert str(refusal)  # noqa: PT017 - not every answer is refused

    check()


def _lacking(version: str, name: str) -> Iterator[Any]:
    """Good answers, each without one of the fields that are needed, or with an empty one."""
    full: dict[tuple[str, str], dict[str, Any]] = {
        ("v1", "get_task"): {"id": "t1"},
        ("v1", "list_tasks"): {"data": [{"id": "t1"}]},
        ("v1", "create_task"): {"task_id": "t1"},
        ("v1", "continue_task"): {"task_id": "t1"},
        ("v1", "update_task"): {"task_id": "t1"},
        ("v1", "create_upload"): {"id": "f1", "upload_url": "https://x"},
        ("v2", "get_task"): {"ok": True, "task": {"id": "t1"}},
        ("v2", "create_task"): {"ok": True, "task_id": "t1"},
        ("v2", "update_task"): {"ok": True, "task_id": "t1"},
        ("v2", "publish_website"): {"ok": True, "website_id": "w1"},
        ("v2", "get_website"): {"ok": True, "website_id": "w1"},
        ("v2", "create_upload"): {"ok": True, "file": {"id": "f1"}, "upload_url": "https://x"},
    }
    body = full[(version, name)]
    for key in body.keys() - {"ok"}:
        yield {other: value for other, value in body.items() if other != key}
        yield body | {key: None}
        empty = [{"id": ""}, {"id": ""}] if key == "data" else {} if isinstance(body[key], dict) else ""
        yield body | {key: empty}


@pytest.mark.parametrize(
    ("version", "name", "body"),
    [
        *(
            pytest.param(version, name, body, id=f"{version}-{name}-{body}")
            for version, name in OPERATIONS
            if name not in ("list_summaries", "list_messages", "available_credits", "list_usage")
            if (version, name) != ("v2", "list_tasks")
            for body in _lacking(version, name)
        ),
        ("v1", "list_tasks", {"data": [], "has_more": True}),
        ("v2", "list_tasks", {"ok": True, "data": [{"status": "running"}, {}]}),
        ("v2", "list_tasks", {"ok": True, "data": [], "has_more": True}),
        ("v2", "list_tasks", {"health": "good"}),
        ("v2", "list_messages", {"ok": True, "messages": [], "has_more": True, "next_cursor": ""}),
        ("v2", "list_messages", {}),
        ("v2", "available_credits", {}),
        ("v2", "list_usage", {}),
        ("v2", "list_usage", {"ok": True, "data": [], "has_more": True}),
        ("v2", "get_task", []),
        ("v2", "stop_task", "stopped"),
    ],
)
def test_answer_without_an_id_is_refused(version: str, name: str, body: Any) -> None:
    with pytest.raises(ValueError, match=r"[a-z]"):
        _read(_call(version, name), body)


def test_listed_operations_exist() -> None:
    assert set(OPERATIONS) <= set(NAMES)
