"""Every parameter of every operator and sensor is checked before anything is sent.

The classes and their parameters are found, not listed. A parameter that has no entry in :data:`PARAMETERS`
fails :func:`test_parameters_are_all_known`.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import requests
from airflow.providers.common.compat.sdk import AirflowFailException, ObjectStoragePath

from remote_tasks_provider.a2a.decorators import _A2ADecoratedOperator
from remote_tasks_provider.bases.arguments import CheckedOperator
from remote_tasks_provider.bases.requests import RequestOperator
from remote_tasks_provider.core.polling.policy import PollPolicy
from remote_tasks_provider.manus.decorators import _ManusDecoratedOperator
from remote_tasks_provider.manus.operators import (
    ManusGetTaskOperator,
    ManusListTasksOperator,
    ManusSendMessageOperator,
    ManusTaskOperator,
    ManusUpdateTaskOperator,
)
from remote_tasks_provider.manus.triggers import ManusTaskTrigger
from remote_tasks_provider.qstash.decorators import _QStashDecoratedOperator
from remote_tasks_provider.qstash.operators import (
    QStashCancelMessageOperator,
    QStashCancelWorkflowOperator,
    QStashDeleteDlqOperator,
    QStashPublishOperator,
    QStashWorkflowOperator,
)

NAN, INF = float("nan"), float("inf")
DAY = timedelta(days=1)
MODULES = [
    f"remote_tasks_provider.{vendor}.{one}"
    for vendor in ("a2a", "manus", "qstash")
    for one in ("operators", "sensors")
]
CLASSES: list[type[Any]] = [
    *(getattr(module, name) for module in map(import_module, MODULES) for name in module.__all__),
    _A2ADecoratedOperator,
    _ManusDecoratedOperator,
    _QStashDecoratedOperator,
]


class Kind(NamedTuple):
    """What a parameter must be.

    :param wrong: values that are refused, ``None`` aside: that is refused where it is not the default.
    :param right: spellings that are taken.
    """

    wrong: list[Any]
    right: list[Any]


_NO_NUMBER = ["", "abc", "None", True, [], {}, b"5", NAN, "nan"]
_NO_TEXT = ["", " ", 5, NAN, True, [], {}, b"a", DAY]
ZERO_SECONDS = Kind([*_NO_NUMBER, -1, "-1", -DAY, INF, "inf", 1e300], [90, "90", timedelta(seconds=90)])
SECONDS = Kind([*ZERO_SECONDS.wrong, 0, "0", timedelta(0)], ZERO_SECONDS.right)
WHOLE = Kind([*_NO_NUMBER, -1, "-1", 2.5, "2.5", INF, DAY], [5, "5", " 5 "])
COUNT = Kind([*WHOLE.wrong, 0, "0"], WHOLE.right)
FLAG = Kind(["", "abc", "None", 1, 0, NAN, [], DAY], [True, "True", "true"])
TEXT = Kind(_NO_TEXT, ["a text"])
ID = Kind([*_NO_TEXT, "None", ["a"]], ["a-1"])
IDS = Kind(["", " ", "None", 5, NAN, True, [""], [None], [5], {}, DAY], ["a", ["a", "b"], ("a", "b")])
_NAIVE = datetime(2026, 1, 1)  # noqa: DTZ001 - it is refused
_WRONG_IDS = [one for one in IDS.wrong if one not in ("", {})]
MOMENT = Kind(
    ["", "abc", "None", NAN, INF, -1, True, [], DAY, _NAIVE],
    [5, "5", datetime(2026, 1, 1, tzinfo=UTC)],
)
LOG_MOMENT = Kind([*MOMENT.wrong, 0, 86400, 1_780_000_000_000], [1_780_000_000, MOMENT.right[-1]])
PATH = Kind(
    ["", " ", 5, NAN, True, [], {}, b"a", DAY, "a\0b"],
    ["file:///tmp/a", Path("/tmp/a"), ObjectStoragePath("file:///tmp/a")],
)
PATHS = Kind(
    ["", 5, NAN, True, [""], [None], [5], DAY], ["file:///tmp/a", ["file:///tmp/a"], [Path("/tmp/a")]]
)
OBJECT = Kind(["", "abc", 5, NAN, True, ["a"], DAY, {1: 2}], [{"a": 1}])
SCHEMA = Kind(
    [*OBJECT.wrong, {"type": "no such type"}],
    [
        {
            "type": "object",
            "properties": {"a": {"type": "string"}},
            "required": ["a"],
            "additionalProperties": False,
        }
    ],
)
NAME = Kind([*_NO_TEXT, "a/b", "a b"], ["a-1"])
URL = Kind([*_NO_TEXT, "ftp://example.com", "https://"], ["https://example.com/a"])
SPAN = Kind([*ZERO_SECONDS.wrong, 0, "0"], [90, "90", timedelta(seconds=90), "1m30s"])
BRANCH = Kind(["", " ", 5, NAN, True, [""], [None], DAY], ["a", ["a", "b"], ("a", "b")])


def words(*right: str) -> Kind:
    return Kind(["", "abc", 5, NAN, True, [], DAY], list(right))


PARAMETERS: Mapping[str, Kind] = {
    "action": words("list"),
    "context_id": ID,
    "message": TEXT,
    "include_artifacts": FLAG,
    "include_history": FLAG,
    "metadata": OBJECT,
    "parts": OBJECT,
    "text": TEXT,
    "updated_after": MOMENT,
    "after": ID,
    "agent_profile": Kind([" ", 5, NAN, ["a"], DAY], ["manus-1.6"]),
    "assigned_users": IDS,
    "attachments": PATHS,
    "auto_confirm_limit": COUNT,
    "auto_confirm": Kind([*OBJECT.wrong, {"a": 5}], [None]),
    "body": Kind([{1, 2}, NAN, DAY], ["", b"a", {"a": 1}, None]),
    "callback": URL,
    "callback_options": Kind([*OBJECT.wrong, {"a": 1}], [{"retries": 2}]),
    "cancel_on_kill": FLAG,
    "cancel_on_timeout": FLAG,
    "cancelled": BRANCH,
    "completed": BRANCH,
    "connectors": Kind(_WRONG_IDS, IDS.right),
    "content": TEXT,
    "created_after": MOMENT,
    "created_before": MOMENT,
    "cron": Kind([*_NO_TEXT, "abc", "* *"], ["0 4 * * *"]),
    "deduplication_id": Kind([" ", 5, NAN, ["a"], DAY, "a:b"], ["a-1", ""]),
    "deferrable": FLAG,
    "delay": Kind(ZERO_SECONDS.wrong, SPAN.right),
    "delivery_retries": WHOLE,
    "delivery_retry_delay": TEXT,
    "delivery_timeout": SPAN,
    "destination": URL,
    "dlq_id": ID,
    "dlq_ids": Kind(["", " ", "None", [""], [None]], IDS.right),
    "endpoints": Kind(
        ["", 5, NAN, [5], ["abc"], [{}], DAY],
        ["https://example.com", ["https://example.com"], [{"name": "a"}]],
    ),
    "end_from_trigger": FLAG,
    "event_data": Kind([{1, 2}, NAN, DAY], ["", b"a", {"a": 1}, None]),
    "event_id": ID,
    "expect": TEXT,
    "failed": BRANCH,
    "extra_body": Kind(["", "abc", 5, NAN, True, ["a"], DAY, {1: 2}], [{"new_field": 1}]),
    "extra_headers": Kind([*OBJECT.wrong, {"Authorization": "a"}], [{"Upstash-New": "a"}]),
    "failure_callback": URL,
    "failure_callback_options": Kind([*OBJECT.wrong, {"a": 1}], [{"retries": 2}]),
    "filters": Kind(
        ["", "abc", 5, NAN, ["a"], {"no_filter": 1}, {"url": ""}], [{"url": "https://example.com"}]
    ),
    "flow_control": Kind(
        ["abc", 5, NAN, ["a"], {"key": "a"}, {"key": "a", "rate": -1}, {"rate": 5}], [{"key": "a", "rate": 5}]
    ),
    "caller_ip": ID,
    "flow_control_key": ID,
    "host": ID,
    "path": ID,
    "from_date": LOG_MOMENT,
    "headers": Kind(["abc", 5, NAN, ["a"], {"a b": "c"}, {"a": None}], [{"a": "b"}]),
    "hide_in_task_list": FLAG,
    "notify_airflow": FLAG,
    "include_output": FLAG,
    "input": OBJECT,
    "interactive_mode": FLAG,
    "labels": Kind([[""], [None], "a,b", "None", {}], ["a", ["a", "b"], 5, [5]]),
    "limit": COUNT,
    "locale": Kind([" ", 5, NAN, ["a"], DAY], ["en"]),
    "a2a_conn_id": TEXT,
    "manus_conn_id": TEXT,
    "max_credits": COUNT,
    "min_credits": COUNT,
    "max_file_size": COUNT,
    "max_wait": ZERO_SECONDS,
    "message_id": ID,
    "message_ids": Kind(["", " ", "None", [""], [None]], IDS.right),
    "messages": Kind(
        ["", "abc", 5, NAN, [5], [{}], [{"destination": "abc d"}], {"a": 1}],
        [[{"destination": "https://example.com"}]],
    ),
    "method": words("POST", "get"),
    "missing_ok": FLAG,
    "not_before": Kind([one for one in MOMENT.wrong if one != ""], MOMENT.right),
    "not_found_grace": ZERO_SECONDS,
    "on_orphaned_intent": words("search", "start", "fail"),
    "on_stale_state": words("fail", "restart", "reattach"),
    "on_waiting": words("wait", "return", "fail"),
    "options": Kind(["", "abc", 5, NAN, ["a"], {"no_option": 1}, {"delay": -1}], [{"method": "GET"}]),
    "order": words("asc", "desc"),
    "order_by": words("created_at", "updated_at"),
    "outage_tolerance": SECONDS,
    "output_grace": ZERO_SECONDS,
    "output_path": PATH,
    "overwrite": FLAG,
    "page_size": Kind([*COUNT.wrong, 1001], COUNT.right),
    "parallelism": COUNT,
    "paused": FLAG,
    "period": COUNT,
    "poke_interval": ZERO_SECONDS,
    "poll_interval": SECONDS,
    "project_id": Kind([" ", 5, NAN, ["a"], DAY], ["a-1"]),
    "prompt": Kind([*_NO_TEXT, "word " * 6000], ["a text"]),
    "qstash_conn_id": TEXT,
    "qstash_queue": NAME,
    "query": Kind([" ", 5, NAN, ["a"], DAY], ["a"]),
    "raise_on_failure": FLAG,
    "redact": TEXT,
    "remote_task_id": ID,
    "response_status": Kind(["", "abc", NAN, 99, 600, [], [5], DAY], [500, "500", [500, 502]]),
    "response_timeout": SECONDS,
    "require_waiter": FLAG,
    "restart": FLAG,
    "result_path": PATH,
    "schedule_id": NAME,
    "share_visibility": Kind(["abc", 5, NAN, ["a"], DAY], ["private", "public"]),
    "start_from_trigger": FLAG,
    "state": Kind(["", "abc", 5, [""], [None]], ["FAILED", ["failed", "DELIVERED"]]),
    "status": Kind(["", "abc", 5, NAN, [""], [None]], ["failed", ["failed", "running"]]),
    "structured": FLAG,
    "since": MOMENT,
    "slides_format": words("pptx"),
    "structured_output_schema": SCHEMA,
    "task_references": Kind([*_WRONG_IDS, ["a"] * 21], IDS.right),
    "timeout": SECONDS,
    "title": Kind([" ", "None", NAN, ["a"], DAY], ["a title", 5]),
    "rate": COUNT,
    "to_date": LOG_MOMENT,
    "url": Kind(["", " ", [""], [None]], ["https://example.com"]),
    "url_group": NAME,
    "visibility": words("public", "team"),
    "visible_in_task_list": FLAG,
    "wait_for_completion": FLAG,
    "website_id": ID,
    "workflow_run_id": ID,
    "workflow_run_ids": Kind(["", " ", "None", [""], [None]], IDS.right),
    "workflow_url": URL,
    "waiting": BRANCH,
    "waiting_timeout": SECONDS,
}
OF_SENSORS: Mapping[str, Kind] = {
    **dict.fromkeys(("remote_task_id", "message_id", "workflow_run_id"), IDS),
    "timeout": ZERO_SECONDS,
}
"""What differs there."""
OF_A2A: Mapping[str, Kind] = {
    "status": words("working", "input_required"),
    "metadata": Kind([*OBJECT.wrong], [{"a": 1}, None]),
    "page_size": Kind([*COUNT.wrong, 101], COUNT.right),
    "parts": Kind(
        ["abc", 5, NAN, True, DAY, {"text": "a"}, [{}], [{"text": "a", "data": 1}], ["a"]], [[{"text": "a"}]]
    ),
    "text": TEXT,
}
"""What differs for agents."""
OF_FILTERS: Mapping[str, Kind] = {
    name: Kind(["", " ", "None", [""], [None]], ["a-1", ["a-1", "b"]])
    for name in (
        *("url_group", "schedule_id", "qstash_queue", "labels"),
        *("caller_ip", "flow_control_key", "host", "path", "workflow_url"),
    )
}
OF_CANCEL: Mapping[str, Kind] = {
    name: Kind([*IDS.wrong, []], IDS.right) for name in ("message_id", "workflow_run_id")
}
"""What differs where several are cancelled."""
OF_RUNS: Mapping[str, Kind] = {
    "event_id": Kind([*ID.wrong, "a b", "a/b"], ID.right),
    "filters": Kind(
        ["", "abc", 5, NAN, ["a"], {"no_filter": 1}, {"workflow_url": ""}],
        [{"workflow_url": "https://a.test"}],
    ),
    "state": Kind(["", "abc", "FAILED", 5, [""], [None]], ["RUN_FAILED", ["run_failed", "RUN_CANCELLED"]]),
}
"""What differs for workflow runs."""
NEEDED: Mapping[str, dict[str, Any]] = {
    "A2ADownloadArtifactsOperator": {"output_path": "file:///tmp/a"},
    "A2ASendMessageOperator": {"text": "a"},
    "A2ATaskOperator": {"message": "a"},
    "ManusConfirmActionOperator": {"input": {}, "expect": "a"},
    "ManusDownloadFilesOperator": {"output_path": "file:///tmp/a"},
    "ManusPublishWebsiteOperator": {"remote_task_id": "a"},
    "ManusSendMessageOperator": {"content": "a"},
    "ManusTaskOperator": {"prompt": "a"},
    "ManusUpdateTaskOperator": {"title": "a"},
    "QStashCancelMessageOperator": {"message_id": "a"},
    "QStashCancelWorkflowOperator": {"workflow_run_id": "a"},
    "QStashDeleteDlqOperator": {"dlq_id": "a"},
    "QStashPublishBatchOperator": {"messages": [{"destination": "https://example.com"}]},
    "QStashFlowControlOperator": {"action": "list"},
    "QStashPublishOperator": {
        **{"destination": "https://example.com", "callback": "https://example.com"},
        "failure_callback": "https://example.com",
    },
    "QStashQueueOperator": {"action": "list"},
    "QStashRetryDlqOperator": {"dlq_id": "a"},
    "QStashScheduleOperator": {"action": "list"},
    "QStashUrlGroupOperator": {"action": "list"},
    "_A2ADecoratedOperator": {"python_callable": lambda: "a"},
    "_ManusDecoratedOperator": {"python_callable": lambda: "a"},
    "_QStashDecoratedOperator": {
        **{"python_callable": lambda: "a", "destination": "https://example.com"},
        **{"callback": "https://example.com", "failure_callback": "https://example.com"},
    },
}
INSTEAD: Mapping[str, tuple[str, ...]] = {
    "notify_airflow": ("callback", "failure_callback"),
    "url_group": ("destination",),
    "filters": ("message_id", "workflow_run_id"),
    "website_id": ("remote_task_id",),
}
"""A parameter → those that must be left out for it."""


def parameters_of(kind: type[Any]) -> dict[str, inspect.Parameter]:
    """Return the parameters that this provider has added to Airflow's."""
    found: dict[str, inspect.Parameter] = {}
    for base in kind.__mro__:
        if base.__module__.startswith("remote_tasks_provider") and "__init__" in vars(base):
            for name, one in inspect.signature(base.__init__).parameters.items():
                if one.kind is one.KEYWORD_ONLY:
                    found.setdefault(name, one)
    filled = getattr(kind, "filled", None)
    ours = {"conn_id", "python_callable", "op_args", "op_kwargs", filled}
    return {name: one for name, one in found.items() if name not in ours and _is_taken(kind, name)}


def _is_taken(kind: type[Any], name: str) -> bool:
    return name in inspect.signature(kind.__init__).parameters or not (
        name == "remote_task_id"
        and getattr(getattr(kind, "remote_task_type", None), "id_param", name) != name
    )


def kind_of(kind: type[Any], name: str) -> Kind:
    if kind.__name__.endswith("Sensor") and name in OF_SENSORS:
        return OF_SENSORS[name]
    if name in OF_FILTERS and isinstance(getattr(kind, "filters", None), tuple):
        return OF_FILTERS[name]
    if kind in (QStashCancelMessageOperator, QStashCancelWorkflowOperator) and name in OF_CANCEL:
        return OF_CANCEL[name]
    if kind.__name__.lstrip("_").startswith("A2A") and name in OF_A2A:
        return OF_A2A[name]
    if "Workflow" in kind.__name__ and name in OF_RUNS:
        return OF_RUNS[name]
    return PARAMETERS[name]


CASES = [
    pytest.param(kind, name, id=f"{kind.__name__}-{name}") for kind in CLASSES for name in parameters_of(kind)
]


def arguments(kind: type[Any], **given: Any) -> dict[str, Any]:
    needed = {"task_id": "t", **NEEDED.get(kind.__name__, {})}
    for name, one in parameters_of(kind).items():
        if one.default is one.empty and name not in needed:
            needed[name] = kind_of(kind, name).right[0]
    for name in given:
        for other in INSTEAD.get(name, ()):
            needed.pop(other, None)
    if "dlq_ids" in parameters_of(kind) and set(given) & set(kind.filters):
        needed.pop("dlq_id", None)
    if set(given) & {"start_from_trigger", "end_from_trigger"}:
        needed["deferrable"] = True
    return needed | given


def wrong_values(kind: type[Any], name: str) -> list[Any]:
    default = parameters_of(kind)[name].default
    return [*kind_of(kind, name).wrong, *([] if default is None or name in NONE_IS_RIGHT else [None])]


SUBMIT = {
    *("A2ATaskOperator", "_A2ADecoratedOperator"),
    *("ManusTaskOperator", "_ManusDecoratedOperator"),
    *("QStashWorkflowOperator", "QStashResumeWorkflowOperator"),
}
"""Operators whose places are tried with a whole task instance in ``tests/manus/operators``,
``tests/qstash/operators`` and ``tests/a2a/operators``."""
NONE_IS_RIGHT = {"attachments", "body", "endpoints", "event_data", "waiting_timeout"}


@pytest.fixture(autouse=True)
def requests_sent(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Count what would be sent, and send nothing."""
    sent: list[Any] = []

    def send(_self: Any, request: Any, **_how: Any) -> Any:
        sent.append(request)
        pytest.fail("a request was sent")

    monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", send)
    for vendor in ("MANUS", "QSTASH"):
        monkeypatch.setenv(
            f"AIRFLOW_CONN_{vendor}_DEFAULT",
            f'{{"conn_type": "{vendor.lower()}", "password": "key", "host": "http://127.0.0.1:9"}}',
        )
    return sent


def refusal(value: Any, use: Callable[[], Any], kind: type[Exception] = ValueError) -> str:
    """Return the message with which a value is refused."""
    try:
        use()
    except ValueError as error:
        found = error
    else:
        pytest.fail(f"{value!r} was taken")
    assert isinstance(found, kind)
    return str(found)


# Airflow does not retry it: the next attempt would get the same value.
refusal_for_good = partial(refusal, kind=AirflowFailException)


def test_parameters_are_all_known() -> None:
    missing = {
        f"{kind.__name__}.{name}"
        for kind in CLASSES
        for name in parameters_of(kind)
        if name not in PARAMETERS
    }

    assert not missing, "say in PARAMETERS what these must be"


def test_operators_are_all_checked() -> None:
    assert [kind for kind in CLASSES if not issubclass(kind, CheckedOperator)] == []


def test_operators_that_send_requests_all_say_what_they_did() -> None:
    silent = [
        kind
        for kind in CLASSES
        if issubclass(kind, RequestOperator) and kind.summary is RequestOperator.summary
    ]

    assert silent == [], "return one sentence for the log in summary()"


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_literal_value_that_is_wrong_is_refused_when_the_dag_is_parsed(kind: type[Any], name: str) -> None:
    for value in wrong_values(kind, name):
        assert name in refusal(value, partial(kind, **arguments(kind, **{name: value})))


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_value_in_each_spelling_is_taken_and_means_the_same(kind: type[Any], name: str) -> None:
    spec = kind_of(kind, name)
    found = [getattr(kind(**arguments(kind, **{name: value})), name, None) for value in spec.right]

    if spec in (SECONDS, ZERO_SECONDS, COUNT, WHOLE, FLAG):
        assert found == [found[0]] * len(found)


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_rendered_value_that_is_wrong_is_refused_before_any_request(
    kind: type[Any], name: str, requests_sent: list[Any]
) -> None:
    if name not in kind.template_fields:
        assert name in refusal("{{ x }}", partial(kind, **arguments(kind, **{name: "{{ x }}"})))
        return
    for value in wrong_values(kind, name):
        operator = kind(**arguments(kind, **{name: "{{ x }}"}))
        assert name in refusal_for_good(value, partial(setattr, operator, name, value))

    assert requests_sent == []


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_value_that_is_wrong_is_refused_by_the_execution_before_any_request(
    kind: type[Any], name: str, requests_sent: list[Any]
) -> None:
    if name in ("start_from_trigger", "max_wait"):
        pytest.skip("the constructor is all that uses it")
    for value in wrong_values(kind, name):
        operator = kind(**arguments(kind))
        # However it came there: by a copy, or by a template that rendered to a template.
        vars(operator)[name] = value
        assert name in refusal_for_good(value, partial(operator.execute, {}))

    assert requests_sent == []


@pytest.mark.parametrize("name", ["poll_interval", "outage_tolerance", "not_found_grace"])
def test_policy_of_a_trigger_refuses_what_is_no_duration(name: str) -> None:
    for value in ZERO_SECONDS.wrong:
        assert name in refusal(
            value, partial(PollPolicy, **{"started_at": 0.0, "poll_interval": 30.0, name: value})
        )


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        one
        for one in CASES
        if one.values[1] in ("result_path", "output_path") and one.values[0].__name__ not in SUBMIT
    ],
)
def test_place_that_cannot_be_written_is_refused_before_any_request(
    kind: type[Any], name: str, requests_sent: list[Any], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    operator = kind(**arguments(kind, **{name: f"file://{tmp_path}/file/more"}))

    assert f"{name} is" in refusal("a file as a folder", partial(operator.execute, {}))
    assert requests_sent == []


def test_attachments_are_all_looked_at_before_any_is_sent(requests_sent: list[Any], tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    given = [f"file://{tmp_path}/a.txt", f"file://{tmp_path}/missing.txt"]
    operator = ManusSendMessageOperator(task_id="t", remote_task_id="a", content="a", attachments=given)

    with pytest.raises(FileNotFoundError, match=r"missing\.txt"):
        operator.execute({})
    assert requests_sent == []


@pytest.mark.parametrize("name", ["poll_interval", "outage_tolerance", "not_found_grace", "waiting_timeout"])
def test_trigger_refuses_what_is_no_duration_before_any_request(name: str, requests_sent: list[Any]) -> None:
    async def first(trigger: Any) -> Any:
        return await anext(trigger.run())

    for value in ZERO_SECONDS.wrong:
        given = {"poll_interval": 30.0, name: value}
        trigger = ManusTaskTrigger("manus_default", ["a"], **given)
        assert name in refusal(value, lambda trigger=trigger: asyncio.run(first(trigger)))

    assert requests_sent == []


TOGETHER = [
    (
        ManusTaskOperator,
        {"prompt": "p", "wait_for_completion": False, "max_credits": 5},
        "wait_for_completion",
    ),
    (ManusUpdateTaskOperator, {"remote_task_id": "a"}, "nothing to update"),
    (ManusListTasksOperator, {"limit": 10**6}, "output_path"),
    (QStashPublishOperator, {"destination": "https://example.com", "url_group": "g"}, "one of destination"),
    (QStashDeleteDlqOperator, {}, "dlq_id"),
    (QStashCancelMessageOperator, {}, "message_id"),
    (QStashCancelWorkflowOperator, {}, "workflow_run_id"),
    (QStashWorkflowOperator, {"workflow_url": "https://a.test", "delay": 5, "not_before": 5}, "choose one"),
]
"""Parameters that do not fit together, and a part of what says so."""


@pytest.mark.parametrize(("kind", "given", "words"), TOGETHER, ids=lambda one: getattr(one, "__name__", None))
def test_parameters_that_do_not_fit_together_fail_a_mapped_task_for_good(
    kind: type[Any], given: dict[str, Any], words: str
) -> None:
    """A worker makes a mapped task of what it was expanded with."""
    assert words in refusal_for_good(given, partial(kind, task_id="t", **given))


def test_connection_of_another_service_fails_a_task_for_good_before_any_request(
    requests_sent: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(
        "AIRFLOW_CONN_MANUS_DEFAULT", '{"conn_type": "qstash", "password": "t", "host": "http://127.0.0.1:9"}'
    )
    operator = ManusGetTaskOperator(task_id="t", remote_task_id="a")

    with pytest.raises(AirflowFailException, match="conn_type: is 'qstash', but Manus needs"):
        operator.execute({})
    assert requests_sent == []
