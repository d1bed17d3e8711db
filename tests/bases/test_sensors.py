from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowSkipException, AirflowTaskTimeout, TaskDeferred

from remote_tasks_provider.bases.compat import TaskDeferralError
from remote_tasks_provider.manus.sensors import ManusTaskSensor
from remote_tasks_provider.qstash.sensors import QStashTaskSensor
from tests.bases.history import Clock, TaskInstance, install, live_through, timeline


class TestInput:
    @pytest.mark.parametrize("bad", ["", " ", None, "None", "a\n", "..", ["a", ""], 5])
    def test_invalid_id_is_refused_before_any_request(
        self, bad: Any, monkeypatch: pytest.MonkeyPatch, clock: Clock
    ) -> None:
        service = install(monkeypatch, clock, {})

        with pytest.raises(ValueError, match="remote_task_id"):
            ManusTaskSensor(task_id="wait", remote_task_id=bad).execute({"ti": TaskInstance(clock)})

        assert service.asked == []

    def test_unknown_on_waiting_names_the_words(self, clock: Clock) -> None:
        with pytest.raises(ValueError, match="on_waiting is 'ask'; it must be one of wait, return, fail"):
            ManusTaskSensor(task_id="wait", remote_task_id="a", on_waiting="ask").execute(  # type: ignore[arg-type]
                {"ti": TaskInstance(clock)}
            )

    @pytest.mark.parametrize("arguments", [{"outage_tolerance": 0}, {"not_found_grace": -1}])
    def test_numbers_out_of_range_are_named(self, arguments: dict[str, Any], clock: Clock) -> None:
        with pytest.raises(ValueError, match=next(iter(arguments))):
            ManusTaskSensor(task_id="wait", remote_task_id="a", **arguments).execute(
                {"ti": TaskInstance(clock)}
            )


class TestSettings:
    def test_deferrable_follows_the_airflow_default(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert ManusTaskSensor(task_id="wait", remote_task_id="a").deferrable is False

        monkeypatch.setenv("AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE", "true")

        assert ManusTaskSensor(task_id="wait", remote_task_id="a").deferrable is True
        assert ManusTaskSensor(task_id="wait", remote_task_id="a", deferrable=False).deferrable is False

    def test_exponential_backoff_without_a_bound_grows_up_to_the_timeout(
        self, monkeypatch: pytest.MonkeyPatch, clock: Clock
    ) -> None:
        service = install(monkeypatch, clock, {"a": timeline((0, "running"))})

        def make(_: str) -> ManusTaskSensor:
            return ManusTaskSensor(
                task_id="wait",
                remote_task_id="a",
                poke_interval=timedelta(seconds=10),
                exponential_backoff=True,
                timeout=1000,
            )

        live_through(make, "poke", clock)

        assert [at for _, at in service.asked] == [0, 10, 20, 40, 80, 160, 320, 640, 1000]


class TestNeverFail:
    """What ends a wait outside its rules is a skip, too, wherever it is."""

    def _sensor(self, **arguments: Any) -> ManusTaskSensor:
        return ManusTaskSensor(task_id="wait", remote_task_id="a", **arguments)

    @pytest.mark.parametrize(
        ("never_fail", "kind"), [(True, AirflowSkipException), (False, AirflowTaskTimeout)]
    )
    def test_execution_timeout_on_a_worker_skips(
        self, never_fail: bool, kind: type[BaseException], monkeypatch: pytest.MonkeyPatch, clock: Clock
    ) -> None:
        def times_out(_at: float) -> Any:
            raise AirflowTaskTimeout("Timeout")

        install(monkeypatch, clock, {"a": times_out})

        with pytest.raises(kind):
            self._sensor(never_fail=never_fail).execute({"ti": TaskInstance(clock)})

    @pytest.mark.parametrize(
        ("arguments", "kind"),
        [
            ({"never_fail": True}, AirflowSkipException),
            ({"soft_fail": True}, TaskDeferralError),
            ({}, TaskDeferralError),
        ],
    )
    @pytest.mark.parametrize("error", ["Trigger failure", "something else"])
    def test_crashed_trigger_skips(
        self, error: str, arguments: dict[str, Any], kind: type[BaseException], clock: Clock
    ) -> None:
        with pytest.raises(kind):
            self._sensor(deferrable=True, **arguments).resume_execution(
                "__fail__", {"error": error}, {"ti": TaskInstance(clock)}
            )

    def test_deferral_is_no_failure(self, monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
        install(monkeypatch, clock, {"a": timeline((0, "running"))})

        with pytest.raises(TaskDeferred):
            self._sensor(deferrable=True, never_fail=True).execute({"ti": TaskInstance(clock)})


class TestXCom:
    def test_link_is_pushed_with_the_first_poll_that_knows_it(
        self, monkeypatch: pytest.MonkeyPatch, clock: Clock
    ) -> None:
        page = "https://manus.im/app/a"
        answer = {"id": "a", "metadata": {"task_url": page, "task_title": "T"}}
        install(
            monkeypatch,
            clock,
            {"a": timeline((0, {**answer, "status": "running"}), (60, {**answer, "status": "completed"}))},
        )
        ti = TaskInstance(clock)

        result = ManusTaskSensor(task_id="wait", remote_task_id="a").execute({"ti": ti})

        assert ti.xcoms["remote_task_url"] == page
        assert (result["url"], result["title"]) == (page, "T")

    def test_qstash_record_hides_the_query_of_the_destination(
        self, monkeypatch: pytest.MonkeyPatch, clock: Clock
    ) -> None:
        delivery = {
            "taskId": "a", "state": "delivered", "messageId": "m", "retried": "1", "maxRetry": 3,
            "url": "https://user:pw@example.com/in?token=hush",
        }  # fmt: skip
        install(monkeypatch, clock, {"a": lambda at: delivery})

        result = QStashTaskSensor(task_id="wait", remote_task_id="a").execute({"ti": TaskInstance(clock)})

        assert result["url"] == "https://example.com/in"
        assert (result["state"], result["message_id"], result["retried"]) == ("completed", "m", 1)
