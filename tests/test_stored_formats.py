"""Formats that Airflow stores across an upgrade: today's code reads what an earlier release has stored.

``tests/samples/stored`` holds one example of each format. An example is never edited: a format that grows
gets a second example, and the first one must still be read. A database may reorder the keys of an object, so
each example is also read with its keys in another order.
"""

from __future__ import annotations

import copy
import hashlib
import importlib
import inspect
import json
import logging
import re
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from remote_tasks_provider.a2a.api.messages import outgoing
from remote_tasks_provider.a2a.hooks import A2AHook
from remote_tasks_provider.a2a.operators import A2ATaskOperator
from remote_tasks_provider.a2a.submission import A2ASubmission
from remote_tasks_provider.a2a.triggers import A2ATaskTrigger
from remote_tasks_provider.bases.event_triggers import RemoteEventTrigger
from remote_tasks_provider.bases.files import RemoteFile, save_files
from remote_tasks_provider.bases.from_trigger import SensorSettings
from remote_tasks_provider.bases.hitl import _Asked
from remote_tasks_provider.bases.hitl_forms import Question, Reply
from remote_tasks_provider.bases.once import _Intent
from remote_tasks_provider.bases.records import TaskRecord
from remote_tasks_provider.bases.triggers import RemoteTaskTrigger
from remote_tasks_provider.core.errors import NotFoundError, error_from_json
from remote_tasks_provider.core.files.content import SignedLink
from remote_tasks_provider.core.polling.policy import PollPolicy
from remote_tasks_provider.core.polling.result import WaitResult
from remote_tasks_provider.core.polling.tracker import PollTracker
from remote_tasks_provider.core.push.watch import Cursor
from remote_tasks_provider.core.submission import SubmissionRecord
from remote_tasks_provider.get_provider_info import get_provider_info
from remote_tasks_provider.manus import models as manus_models
from remote_tasks_provider.manus.operators import ManusTaskOperator
from remote_tasks_provider.manus.sensors import ManusTaskSensor
from remote_tasks_provider.manus.triggers import ManusWebsiteTrigger
from remote_tasks_provider.qstash import models as qstash_models
from remote_tasks_provider.qstash.dlq import StoredPages
from remote_tasks_provider.qstash.operators import (
    QStashPublishOperator,
    QStashRetryDlqOperator,
    QStashWorkflowOperator,
)
from remote_tasks_provider.qstash.submission import Publisher, recall
from remote_tasks_provider.qstash.triggers import QStashWorkflowTrigger
from tests.docs import pages

SAMPLES = Path(__file__).parent / "samples"
ALL_TRIGGERS = [
    getattr(importlib.import_module(path), name)
    for entry in get_provider_info()["triggers"]
    for path in entry["python-modules"]
    for name in importlib.import_module(path).__all__
]
TRIGGERS = [kind for kind in ALL_TRIGGERS if issubclass(kind, RemoteTaskTrigger)]
EVENT_TRIGGERS = [kind for kind in ALL_TRIGGERS if issubclass(kind, RemoteEventTrigger)]
FORMATS = ("", "_2", "_3", "_4")
# A trigger that is younger than a format was never stored in it.
FIRST_FORMATS = {A2ATaskTrigger: "_3", ManusWebsiteTrigger: "_3", QStashWorkflowTrigger: "_3"}
STORED_TRIGGERS = [
    (kind, number) for kind in TRIGGERS for number in FORMATS if number >= FIRST_FORMATS.get(kind, "")
]
Order = Callable[[Any], Any]


def stored(name: str) -> Any:
    return json.loads((SAMPLES / "stored" / f"{name}.json").read_text(encoding="utf-8"))


def reordered(data: Any) -> Any:
    """Return the data with the keys of every object in another order."""
    if isinstance(data, dict):
        return {key: reordered(data[key]) for key in reversed(data)}
    return [reordered(item) for item in data] if isinstance(data, list) else data


ORDERS = pytest.mark.parametrize("order", [copy.copy, reordered], ids=["as_stored", "reordered"])


def as_json(data: Any) -> Any:
    return json.loads(json.dumps(data))


class Store(dict[str, Any]):
    """A task state store that must not be written to."""

    def set(self, key: str, value: Any) -> None:
        raise AssertionError(f"{key} was stored again as {value}")


class WritableStore(Store):
    def set(self, key: str, value: Any) -> None:
        self[key] = value


class TaskInstance:
    dag_id, task_id, run_id, map_index, try_number, max_tries = "dag", "task", "run", -1, 2, 2
    start_date = None

    def xcom_push(self, key: str, value: Any) -> None: ...


def context(store: Store | None = None) -> Any:
    instance = TaskInstance()
    return {"ti": instance, "task_instance": instance, "run_id": "run", "task_state_store": store}


def test_samples_are_all_read_by_a_test() -> None:
    text = Path(__file__).read_text(encoding="utf-8")
    names = {path.stem for path in (SAMPLES / "stored").glob("*.json")}
    in_classes = {f"trigger_{kind.__name__}{number}" for kind, number in STORED_TRIGGERS}
    in_classes |= {f"carried_{kind.__name__}" for kind in CARRYING}

    assert {name for name in names - in_classes if f'"{name}"' not in text} == set()


def test_stability_page_names_the_fields_of_every_stored_format() -> None:
    rows = pages.table(pages.section("docs/stability.md", "## Stored formats"), "what")
    listed = {row["what"]: set(re.findall(r"`(\w+)`", row["names"])) for row in rows}

    triggers = [stored(f"trigger_{kind.__name__}{FORMATS[-1]}")["kwargs"] for kind in TRIGGERS]
    assert listed["trigger arguments"] == {name for arguments in triggers for name in arguments}
    assert listed["[the event](#the-event)"] == stored("event_packed").keys()
    assert listed["submission record"] == stored("submission_record_2").keys()
    assert listed["message or confirmation"] == stored("effect_record").keys()
    assert listed["answer without a task (A2A)"] == stored("a2a_answer").keys()
    assert listed["start of a wait"] == stored("wait_start_2").keys()
    published = stored("published_messages_2")
    names = {
        name for one in (published, *published["parts"], *published["parts"][0]["messages"]) for name in one
    }
    assert listed["messages that were sent"] == names
    dlq = [stored("dlq_record"), stored("dlq_page"), stored("dlq_page")["left"][0]]
    assert listed["DLQ messages that a task retries or deletes"] == {name for one in dlq for name in one}
    carried = [stored(f"carried_{kind.__name__}") for kind in CARRYING]
    assert listed["resume arguments"] == {name for arguments in carried for name in arguments}
    assert listed["open question"] == stored("pending_question").keys()
    watcher = stored("watcher")
    assert listed["watcher arguments"] == watcher["arguments"].keys()
    assert listed["cursor of a watcher"] == watcher["cursor"].keys()
    assert listed["record of saved files"] == stored("saved_files").keys()


def _named(one: Any) -> str:
    return str(getattr(one, "__name__", one))


class TestWatcher:
    @ORDERS
    @pytest.mark.parametrize("kind", EVENT_TRIGGERS, ids=_named)
    def test_watcher_is_made_from_stored_arguments(self, kind: type, order: Order) -> None:
        arguments = stored("watcher")["arguments"]

        assert kind(**order(arguments)).serialize() == (f"{kind.__module__}.{kind.__name__}", arguments)

    @ORDERS
    def test_cursor_is_read(self, order: Order) -> None:
        saved = stored("watcher")["cursor"]

        assert Cursor(order(saved)).to_json() == saved


class TestTrigger:
    @ORDERS
    @pytest.mark.parametrize(("kind", "number"), STORED_TRIGGERS, ids=_named)
    def test_trigger_is_made_from_stored_arguments(self, kind: type, order: Order, number: str) -> None:
        sample = stored(f"trigger_{kind.__name__}{number}")
        module, _, name = sample["classpath"].rpartition(".")

        trigger = getattr(importlib.import_module(module), name)(**order(sample["kwargs"]))

        path, arguments = trigger.serialize()
        assert type(trigger) is kind
        assert path == sample["classpath"]
        assert {**arguments, **sample["kwargs"]} == as_json(arguments)

    @ORDERS
    @pytest.mark.parametrize(("kind", "number"), STORED_TRIGGERS, ids=_named)
    def test_trigger_resumes_the_stored_wait(self, kind: type, order: Order, number: str) -> None:
        arguments = stored(f"trigger_{kind.__name__}{number}")["kwargs"]
        trigger = kind(**order(arguments))

        policy = trigger._policy(SensorSettings(**trigger.sensor) if trigger.sensor else None)

        names = set(inspect.signature(PollPolicy).parameters) & arguments.keys()
        assert policy == PollPolicy(**{name: arguments[name] for name in names})
        tracker = PollTracker(trigger.remote_task_ids, policy, trigger.checkpoint)
        assert list(tracker.unfinished_ids) == list(trigger.remote_task_ids)
        if number:
            assert as_json(tracker.checkpoint()) == arguments["checkpoint"]
        else:
            missing_since = [one["missing_since"] for one in arguments["checkpoint"].values()]
            assert [one["doubt_since"] for one in tracker.checkpoint()] == missing_since

    @pytest.mark.parametrize("kind", TRIGGERS, ids=_named)
    def test_trigger_stores_no_more_than_the_sample_has(self, kind: type) -> None:
        sample = stored(f"trigger_{kind.__name__}{FORMATS[-1]}")

        _, arguments = kind(**sample["kwargs"]).serialize()

        assert arguments.keys() == sample["kwargs"].keys(), "add another sample"


def tracker_of(checkpoint: Any) -> PollTracker:
    return PollTracker(["MnTask1", "MnTask2"], PollPolicy(started_at=0.0, poll_interval=30.0), checkpoint)


class TestWait:
    @ORDERS
    def test_sensor_settings_are_read(self, order: Order) -> None:
        first, second = stored("trigger_ManusTaskTrigger")["kwargs"]["sensor"], stored("sensor_settings")

        assert as_json(asdict(SensorSettings(**order(first)))) == {**first, "native": False}
        assert as_json(asdict(SensorSettings(**order(second)))) == second

    @ORDERS
    def test_checkpoint_is_read(self, order: Order) -> None:
        checkpoint = stored("checkpoint_2")

        assert as_json(tracker_of(order(checkpoint)).checkpoint()) == checkpoint

    @ORDERS
    def test_checkpoint_that_counted_failures_is_read(self, order: Order) -> None:
        """What it counted is forgotten; since when a task is missing is not."""
        checkpoint = stored("checkpoint")
        missing_since = checkpoint["MnTask2"]["missing_since"]

        assert tracker_of(order(checkpoint)).checkpoint() == [
            {
                "trouble_since": missing_since,
                "doubt": "NotFoundError",
                "doubt_since": missing_since,
                "tasks": [[1, 2]],
            }
        ]

    @ORDERS
    def test_event_is_read(self, order: Order) -> None:
        event = stored("event")

        result = WaitResult.from_event(order(event))

        assert as_json(result.to_event()) == event
        error = error_from_json(result.errors["MnTask2"])
        assert isinstance(error, NotFoundError)
        assert as_json(error.to_json()) == event["errors"]["MnTask2"]

    @ORDERS
    def test_packed_event_is_read(self, order: Order) -> None:
        plain = stored("event")

        result = WaitResult.from_event(order(stored("event_packed")), ["MnTask1", "MnTask2", "MnTask3"])

        assert (result.records, result.errors) == (plain["records"], plain["errors"])
        assert result.omitted == ["MnTask3"]

    @ORDERS
    @pytest.mark.parametrize("name", ["wait_start", "wait_start_2"])
    def test_start_of_the_wait_is_read(self, order: Order, name: str) -> None:
        saved = stored(name)
        sensor = ManusTaskSensor(task_id="wait", remote_task_id="MnTask1", retries=2)

        assert sensor._started_at(context(Store(remote_wait_started=order(saved))), "poke") == saved["at"]

    def test_start_of_the_wait_is_stored_like_the_sample(self) -> None:
        store = WritableStore()
        sensor = ManusTaskSensor(task_id="wait", remote_task_id="MnTask1", retries=2)

        sensor._started_at(context(store), "poke")

        assert store["remote_wait_started"].keys() == stored("wait_start_2").keys()


CARRYING: dict[type, dict[str, Any]] = {
    ManusTaskOperator: {"prompt": "Do it."},
    QStashPublishOperator: {"destination": "https://example.com"},
    QStashRetryDlqOperator: {"dlq_id": "1-0"},
    QStashWorkflowOperator: {"workflow_url": "https://example.com"},
    A2ATaskOperator: {"message": "Do it."},
}


class TestCarried:
    @ORDERS
    @pytest.mark.parametrize("kind", CARRYING, ids=lambda kind: kind.__name__)
    def test_operator_resumes_with_what_it_carried(
        self, kind: Any, order: Order, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        carried = stored(f"carried_{kind.__name__}")
        operator = kind(task_id="task", **CARRYING[kind])
        monkeypatch.setattr(operator, "finish", lambda context, result: operator._restore(context))

        operator.resume_execution("execute_complete", {"event": stored("event"), **order(carried)}, context())

        assert operator.carried == carried
        assert list(operator._own) == carried["ids"]


class TestSubmission:
    @ORDERS
    def test_submission_record_is_read(self, order: Order) -> None:
        record = stored("submission_record")

        read = SubmissionRecord.from_json(order(record))

        assert read is not None
        assert {**as_json(asdict(read)), **record} == as_json(asdict(read))
        assert read.max_tries is None

    @ORDERS
    def test_submission_record_of_today_is_read(self, order: Order) -> None:
        record = stored("submission_record_2")

        read = SubmissionRecord.from_json(order(record))

        assert read is not None
        assert as_json(asdict(read)) == record

    @ORDERS
    def test_effect_record_is_read(self, order: Order) -> None:
        record = stored("effect_record")

        read = _Intent.from_json(order(record))

        assert read is not None
        assert as_json(asdict(read)) == record

    @ORDERS
    def test_answer_without_a_task_is_read(self, order: Order) -> None:
        record = stored("a2a_answer")
        answers = TaskRecord(
            context(Store(remote_task_answer=order(record))), "remote_task_answer", logging.root
        )
        submission = A2ASubmission(A2AHook(), outgoing("Hello"), 2, answers)

        submission.read(record["of"])

        assert submission.answer == record["answer"]

    @ORDERS
    def test_dlq_pages_are_read(self, order: Order) -> None:
        saved = {"qstash_dlq_retry": stored("dlq_record"), "qstash_dlq_retry_0": stored("dlq_page")}

        pages = StoredPages(context(Store(order(saved))), None)

        assert pages.is_resumed
        assert [as_json(asdict(page)) for page in pages.pages] == [saved["qstash_dlq_retry_0"]]

    @ORDERS
    def test_published_messages_are_read(self, order: Order) -> None:
        saved = stored("published_messages")
        operator = QStashPublishOperator(task_id="task", destination="https://example.com", retries=2)

        messages = recall(operator, context(Store(qstash_messages=order(saved))))

        assert [{"message_id": one.message_id, "url": one.url} for one in messages] == saved["messages"]

    @ORDERS
    def test_published_parts_are_read(self, order: Order) -> None:
        saved = stored("published_messages_2")
        operator = QStashPublishOperator(task_id="task", destination="https://example.com")
        publisher = Publisher(operator, context(Store(qstash_messages=order(saved))), None)  # type: ignore[arg-type]

        parts, is_retry = publisher._read()

        assert is_retry
        assert [as_json(asdict(part)) for part in parts] == saved["parts"]


class TestQuestion:
    @ORDERS
    def test_pending_question_is_read(self, order: Order) -> None:
        pending = stored("pending_question")

        assert as_json(_Asked.from_json(order(pending)).to_json()) == pending

    @ORDERS
    def test_pending_question_keeps_its_code(self, order: Order) -> None:
        question = stored("pending_question")["question"]

        assert Question(**order(question)).code == stored("xcom_question")["code"]

    @ORDERS
    def test_pending_question_resumes_a_method_that_takes_its_arguments(self, order: Order) -> None:
        pending = _Asked.from_json(order(stored("pending_question")))
        operator = ManusTaskOperator(task_id="task", prompt="Do it.")

        assert inspect.signature(getattr(operator, pending.then)).bind(context(), Reply(), **pending.kwargs)


class TestFiles:
    @ORDERS
    def test_record_of_saved_files_is_read(self, order: Order, tmp_path: Path) -> None:
        record = stored("saved_files")
        (entry,) = record["files"].values()
        (tmp_path / entry["name"]).write_text("hello world")
        name = f".remote-tasks-{hashlib.sha256(record['owner'].encode()).hexdigest()[:16]}.json"
        (tmp_path / name).write_text(json.dumps(order(record)))

        # No server runs at this address, so a download would fail.
        link = SignedLink("http://127.0.0.1:9/report.md?Signature=new")
        (saved,) = save_files(
            [RemoteFile(entry["name"], link, entry["content_type"])],
            str(tmp_path),
            owner=record["owner"],
            max_bytes_per_file=100,
            log=logging.getLogger(__name__),
        )

        assert (saved["size"], saved["sha256"]) == (entry["size"], entry["sha256"])
        assert json.loads((tmp_path / name).read_text()) == record


class TestXCom:
    """DAGs read these; a field may be added, none may go or change its type."""

    @pytest.mark.parametrize(
        ("name", "answer", "read"),
        [
            (
                "xcom_manus_record",
                "manus/completed_with_file.json",
                lambda data: manus_models.snapshot(manus_models.ManusTask.model_validate(data)),
            ),
            (
                "xcom_qstash_record",
                "qstash/delivered_after_an_error.json",
                lambda data: qstash_models.snapshot(qstash_models.QStashTask.model_validate(data)),
            ),
        ],
    )
    def test_record_has_every_stored_field(self, name: str, answer: str, read: Callable[[Any], Any]) -> None:
        record = as_json(read(json.loads((SAMPLES / answer).read_text(encoding="utf-8"))).to_record())

        assert {**record, **stored(name)} == record
