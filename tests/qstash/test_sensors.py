"""The message sensor: poke, reschedule and deferrable end alike, also where no worker takes part."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    TaskDeferred,
)
from airflow.triggers.base import TaskFailedEvent, TaskSuccessEvent

from remote_tasks_provider.bases import from_trigger
from remote_tasks_provider.bases import sensors as sensor_module
from remote_tasks_provider.bases.compat import STARTS_FROM_TRIGGER, AirflowRescheduleException
from remote_tasks_provider.core.errors import RemoteTaskError
from remote_tasks_provider.qstash.sensors import QStashMessageSensor
from remote_tasks_provider.qstash.triggers import QStashMessageTrigger
from tests.manus.airflow_task import AirflowTask, over_json, run_trigger
from tests.qstash.account import QStash

MODES = ("poke", "reschedule", "deferrable")
MANY = [f"m{number}" for number in range(40)]
STEPS = [("CREATED", 10.0), ("ACTIVE", 10.0), ("ERROR", 0.0), ("RETRY", 60.0), ("ACTIVE", 10.0)]


def sensor(mode: str, ids: Any = "m", **options: Any) -> QStashMessageSensor:
    given = {"task_id": "ask", "poke_interval": 30, "timeout": 2000, "message_id": ids}
    modes = {"deferrable": True} if mode == "deferrable" else {"deferrable": False, "mode": mode}
    return QStashMessageSensor(**{**given, **modes, **options})


def live(account: QStash, mode: str, make: Callable[[], Any]) -> tuple[str, str]:
    """Run a sensor until it is finished; return its outcome and the result or error."""
    task: Any = account.task()
    first: list[datetime] = []
    task.get_first_reschedule_date = lambda _context: first[0] if first else None
    while True:
        try:
            return "success", json.dumps(task.attempt(make))
        except AirflowRescheduleException as again:
            assert mode == "reschedule"
            first.append(datetime.fromtimestamp(account.clock.now(), UTC))
            account.clock.advance(max(0.0, again.reschedule_date.timestamp() - account.clock.now()))
        except AirflowSkipException as error:
            return "skipped", str(error)
        except AirflowSensorTimeout as error:
            return "timeout", str(error)
        except AirflowFailException as error:
            return "failed", f"{type(error.__cause__).__name__}: {error}"
        except RemoteTaskError as error:
            return "retryable", f"{type(error).__name__}: {error}"


def one(script: Any, **facts: Any) -> Callable[[QStash], Any]:
    def story(account: QStash) -> str:
        return account.qstash.add_message("m", script, **facts)

    return story


def many(script: Any, *, odd: Any = None, unseen: bool = False) -> Callable[[QStash], Any]:
    def story(account: QStash) -> list[str]:
        for number, message_id in enumerate(MANY):
            account.qstash.add_message(message_id, odd if odd and number == 7 else script)
        return [*MANY, "never-sent"] if unseen else MANY

    return story


def lagging(seconds: float, story: Callable[[QStash], Any]) -> Callable[[QStash], Any]:
    def lagging_story(account: QStash) -> Any:
        account.sandbox.settings.update({"qstash_log_lag": seconds})
        return story(account)

    return lagging_story


# name: (what happens, the sensor's arguments, how it ends, a part of the result)
ENDINGS: dict[str, tuple[Callable[[QStash], Any], dict[str, Any], str, str]] = {
    "delivered at once": (one(["DELIVERED"]), {}, "success", '"state": "completed"'),
    "delivered": (one([*STEPS, ("DELIVERED", None)]), {}, "success", '"status": "DELIVERED"'),
    "failed": (
        one([*STEPS, ("FAILED", None)], response_body="busy"),
        {},
        "failed",
        "TaskFailedError: QStash message m failed: HTTP status 500: busy (https://example.com/hook)",
    ),
    "failed, without raise_on_failure": (
        one([*STEPS, ("FAILED", None)]),
        {"raise_on_failure": False},
        "success",
        '"state": "failed"',
    ),
    "failed under soft_fail is no skip": (one(["FAILED"]), {"soft_fail": True}, "failed", "TaskFailedError"),
    "cancelled": (one([("CREATED", 60.0), ("CANCELED", None)]), {}, "failed", "TaskCancelledError"),
    "an error is no end": (one([("CREATED", 0.0), ("ERROR", None)]), {}, "timeout", "(running)"),
    "never, under soft_fail": (one([("CREATED", None)]), {"soft_fail": True}, "skipped", "Gave up after"),
    "a cancellation that is not honoured": (
        one([("CREATED", 0.0), ("CANCEL_REQUESTED", 60.0), ("DELIVERED", None)]),
        {},
        "success",
        '"state": "completed"',
    ),
    "an unknown word, then delivered": (
        one([("IN_LIMBO", 100.0), ("DELIVERED", None)]),
        {},
        "success",
        '"state": "completed"',
    ),
    "logs that lag within the grace": (
        lagging(200, one(["DELIVERED"])),
        {},
        "success",
        '"state": "completed"',
    ),
    "logs that lag beyond the grace": (
        lagging(200, one(["DELIVERED"])),
        {"not_found_grace": 100},
        "failed",
        "NotFoundError: QStash GET /v2/logs: HTTP 404: the logs have no entry of message m",
    ),
    "never sent": (lambda _account: "never-sent", {}, "failed", "NotFoundError"),
    "expired long ago": (
        lambda account: (
            (account.qstash.add_message("m", ["DELIVERED"]), account.clock.advance(4 * 86400)) and "m"
        ),
        {},
        "failed",
        "kept for 3 to 14 days",
    ),
    "many, delivered": (many([*STEPS, ("DELIVERED", None)]), {}, "success", '"id": "m39"'),
    "many, one failed": (
        many([*STEPS, ("DELIVERED", None)], odd=["FAILED"]),
        {},
        "failed",
        "TaskFailedError: 1 of 40: QStash message m7 failed",
    ),
    "many, one never sent": (
        many([("CREATED", 900.0), ("DELIVERED", None)], unseen=True),
        {},
        "failed",
        "NotFoundError: QStash GET /v2/logs: HTTP 404: The wait gave up 1 of 41 QStash messages",
    ),
    "many, one in flight": (
        many(["DELIVERED"], odd=[("CREATED", None)]),
        {},
        "timeout",
        "QStash message m7 (pending)",
    ),
    "many, lagging": (lagging(200, many(["DELIVERED"])), {}, "success", '"id": "m0"'),
}


class TestModes:
    @pytest.mark.parametrize("mode", MODES)
    @pytest.mark.parametrize("name", ENDINGS)
    def test_outcome_is_the_same_in_all_modes(self, account: QStash, name: str, mode: str) -> None:
        story, options, how, part = ENDINGS[name]
        ids = story(account)
        outcome, text = live(account, mode, lambda: sensor(mode, ids, **options))

        assert outcome == how, text
        assert part in text

    @pytest.mark.parametrize("mode", MODES)
    def test_result_is_a_record_for_one_id_and_an_ordered_list_for_many(
        self, account: QStash, mode: str
    ) -> None:
        for message_id in "abc":
            account.qstash.add_message(message_id, [("CREATED", 40.0), ("DELIVERED", None)])
        _, single = live(account, mode, lambda: sensor(mode, "a"))
        _, several = live(account, mode, lambda: sensor(mode, ["c", "a", "b", "a"]))

        assert json.loads(single)["id"] == "a"
        assert [record["id"] for record in json.loads(several)] == ["c", "a", "b", "a"]

    @pytest.mark.parametrize("mode", MODES)
    def test_empty_id_is_refused(self, account: QStash, mode: str) -> None:
        outcome, error = live(account, mode, lambda: sensor(mode, ["a", ""]))

        assert outcome == "failed"
        assert "message_id[1]" in error
        assert account.sandbox.requests == []

    @pytest.mark.parametrize("mode", MODES)
    def test_empty_list_has_nothing_to_wait_for(self, account: QStash, mode: str) -> None:
        assert live(account, mode, lambda: sensor(mode, [])) == ("success", "[]")


class TestTrigger:
    def test_trigger_survives_json(self) -> None:
        trigger = QStashMessageTrigger("my_conn", ["a", "b"], 20.0, not_found_grace=300.0, deadline=5.0)
        path, kwargs = trigger.serialize()

        assert path == "remote_tasks_provider.qstash.triggers.QStashMessageTrigger"
        assert (kwargs["conn_id"], kwargs["message_ids"], kwargs["poll_interval"]) == (
            "my_conn",
            ["a", "b"],
            20.0,
        )
        again = QStashMessageTrigger(**over_json(kwargs))
        assert over_json(again.serialize()[1]) == over_json(kwargs)
        assert again.message_ids == ["a", "b"]

    def test_trigger_takes_the_checkpoint_of_the_worker(self, account: QStash) -> None:
        deferral = account.task().defer(lambda: sensor("deferrable", "never-sent"))
        _, kwargs = deferral.trigger.serialize()

        (trouble,) = kwargs["checkpoint"]
        assert (trouble["doubt"], trouble["tasks"]) == ("NotFoundError", [[0, 1]])
        assert kwargs["not_found_grace"] == 300.0
        assert kwargs["cancel_on_kill"] is False

    def test_empty_id_fails_the_trigger(self, account: QStash) -> None:
        with pytest.raises(ValueError, match="is ''"):
            run_trigger(QStashMessageTrigger("qstash_default", [""]))

    def test_event_is_small_and_shows_no_secret(self, account: QStash) -> None:
        event = run_trigger(QStashMessageTrigger("qstash_default", [account.secret_failure()]))

        assert "hush" not in json.dumps(event)


@pytest.fixture
def xcoms(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The newest Airflow, and what is written into its XComs."""
    written: dict[str, Any] = {}

    class XCom:
        @staticmethod
        def set(key: str, value: Any, **_place: Any) -> None:
            written[key] = over_json(value)

    monkeypatch.setattr(from_trigger, "XCom", XCom)
    monkeypatch.setattr(sensor_module, "STARTS_FROM_TRIGGER", True)
    return written


def fire(account: QStash, trigger: Any) -> Any:
    """Run a trigger that belongs to a task instance."""
    revived = type(trigger)(**over_json(trigger.serialize()[1]))
    revived.task_instance = AirflowTask(account.sandbox)

    async def events() -> list[Any]:
        return [event async for event in revived.run()]

    (event,) = asyncio.run(events())
    return event


class TestFromTrigger:
    def test_sensor_starts_in_the_triggerer_with_its_ids(
        self, account: QStash, xcoms: dict[str, Any]
    ) -> None:
        made = sensor("deferrable", ["{{ first }}", "b"], start_from_trigger=True)
        arguments = made.start_trigger_args
        assert made.start_from_trigger
        assert arguments is not None
        assert arguments.trigger_cls == "remote_tasks_provider.qstash.triggers.QStashMessageTrigger"
        kwargs = over_json(arguments.trigger_kwargs)
        assert kwargs["message_ids"] == ["{{ first }}", "b"]
        assert kwargs["not_found_grace"] == 300.0

        assert QStashMessageTrigger(**kwargs).remote_task_ids == ["{{ first }}", "b"]

    @pytest.mark.skipif(not STARTS_FROM_TRIGGER, reason="this Airflow's triggers render no templates")
    def test_templates_are_rendered_in_the_triggerer(self, account: QStash, xcoms: dict[str, Any]) -> None:
        arguments = sensor("deferrable", ["{{ first }}"], start_from_trigger=True).start_trigger_args
        assert arguments is not None
        trigger = QStashMessageTrigger(**over_json(arguments.trigger_kwargs))
        from jinja2 import Environment

        trigger.render_template_fields({"first": "a"}, Environment())

        assert trigger.message_ids == ["a"]

    def test_completed_message_ends_in_the_triggerer(self, account: QStash, xcoms: dict[str, Any]) -> None:
        account.qstash.add_message("m", [("CREATED", 40.0), ("DELIVERED", None)])
        deferral = account.task().defer(lambda: sensor("deferrable", end_from_trigger=True))
        event = fire(account, deferral.trigger)

        assert isinstance(event, TaskSuccessEvent)
        assert (xcoms["return_value"]["id"], xcoms["return_value"]["state"]) == ("m", "completed")

    def test_failed_message_ends_in_the_triggerer(self, account: QStash, xcoms: dict[str, Any]) -> None:
        message_id = account.secret_failure()
        made = sensor("deferrable", message_id, end_from_trigger=True)
        with pytest.raises(TaskDeferred) as deferred:
            made._defer({}, _a_tracker(message_id), 0.0)
        event = fire(account, deferred.value.trigger)

        assert isinstance(event, TaskFailedEvent)
        assert xcoms["remote_task_error"].startswith(f"QStash message {message_id} failed: HTTP status 500")
        assert "hush" not in json.dumps(xcoms)

    def test_xcom_of_another_task_starts_on_a_worker(self, account: QStash, xcoms: dict[str, Any]) -> None:
        made = sensor("deferrable", "{{ ti.xcom_pull('publish')['message_id'] }}", start_from_trigger=True)

        assert not made.start_from_trigger


def _a_tracker(message_id: str) -> Any:
    from remote_tasks_provider.core.polling.tracker import PollTracker
    from tests.core.build import a_policy

    return PollTracker([message_id], a_policy())
