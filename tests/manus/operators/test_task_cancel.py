"""What becomes of the remote task when Airflow ends its own: timeouts, kills, clears, crashes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowTaskTimeout,
)

from remote_tasks_provider.bases import operators as operator_module
from remote_tasks_provider.bases import triggers as trigger_module
from remote_tasks_provider.manus.operators import ManusTaskOperator
from remote_tasks_provider.manus.triggers import ManusTaskTrigger
from tests.manus.airflow_task import MODES, Account, AirflowTask, Make, dying, over_json

FOREVER = [("running", 1e9), ("completed", None)]
STOPPED = "was stopped; it can be resumed in the Manus app"
KEEPS_RUNNING = "keeps running and costs credits"


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(autouse=True)
def _forever(account: Account) -> None:
    account.manus.plan(default=True, script=FOREVER)


def asks(mode: str = "on a worker", **arguments: Any) -> Make:
    given = {"task_id": "ask", "prompt": "Do it.", "poll_interval": 50, "timeout": 1000, **arguments}
    return lambda: ManusTaskOperator(deferrable=mode == "deferred", **given)


def airflow_times_out(account: Account, monkeypatch: pytest.MonkeyPatch, after: float) -> None:
    """Let Airflow's ``execution_timeout`` end an attempt on a worker, as its signal does: in a sleep."""
    from remote_tasks_provider.bases import waiting

    clock, end = account.sandbox.clock, account.sandbox.clock.now() + after

    def sleep(seconds: float) -> None:
        clock.advance(min(seconds, max(0.0, end - clock.now())))
        if clock.now() >= end:
            raise AirflowTaskTimeout("Timeout, PID: 1")

    fake = SimpleNamespace(time=clock.now, monotonic=clock.now, sleep=sleep)
    monkeypatch.setattr(waiting, "time", fake)


class TestTimeout:
    def test_timeout_stops_the_task_and_is_final(self, account: Account, mode: str) -> None:
        task = account.task(retries=3)
        began = account.sandbox.clock.now()

        with pytest.raises(AirflowSensorTimeout) as ended:
            task.attempt(asks(mode))

        (task_id,) = account.created
        assert account.sandbox.clock.now() - began == pytest.approx(1000, abs=30)
        assert account.word(task_id) == "stopped"
        assert f"{task_id} {STOPPED}" in str(ended.value)
        assert "left as it is" not in str(ended.value)

    @pytest.mark.parametrize("status", [429, 503, 401, 404])
    def test_timeout_outlasts_trouble_of_the_service(self, account: Account, mode: str, status: int) -> None:
        times = 5 if status == 404 else 12
        account.faults.add("status", path="*/task.stop", status=status, times=times)

        with pytest.raises(AirflowSensorTimeout) as ended:
            account.task().attempt(asks(mode))

        assert account.word(account.created[0]) == "stopped"
        assert f"{account.created[0]} {STOPPED}" in str(ended.value)

    def test_timeout_says_why_the_task_could_not_be_stopped(self, account: Account, mode: str) -> None:
        account.faults.add("status", path="*/task.stop", status=400)

        with pytest.raises(AirflowSensorTimeout) as ended:
            account.task().attempt(asks(mode))

        assert f"could not be cancelled and {KEEPS_RUNNING}: Manus POST /v2/task.stop" in str(ended.value)

    def test_cancel_on_timeout_off_leaves_the_task(self, account: Account, mode: str) -> None:
        with pytest.raises(AirflowSensorTimeout) as ended:
            account.task().attempt(asks(mode, cancel_on_timeout=False))

        assert account.word(account.created[0]) == "running"
        assert f"{KEEPS_RUNNING}: cancel_on_timeout is off" in str(ended.value)
        assert "left as it is" not in str(ended.value)

    def test_timeout_with_v1_says_that_the_task_continues(self, account: Account, mode: str) -> None:
        account.connect("v1")

        with pytest.raises(AirflowSensorTimeout) as ended:
            account.task().attempt(asks(mode))

        assert f"could not be cancelled and {KEEPS_RUNNING}" in str(ended.value)
        assert account.word(account.created[0]) == "running"

    def test_clear_after_a_stopped_task_submits_another(self, account: Account, mode: str) -> None:
        task = account.task()
        with pytest.raises(AirflowSensorTimeout):
            task.attempt(asks(mode))
        account.manus.plan(script=["completed"])
        task.clear()

        assert task.attempt(asks(mode))["id"] == account.created[1]

    def test_clear_resumes_the_task_that_was_left_running(self, account: Account, mode: str) -> None:
        task = account.task()
        with pytest.raises(AirflowSensorTimeout):
            task.attempt(asks(mode, cancel_on_timeout=False))
        account.manus.set_script(account.created[0], [("running", 100), ("completed", None)])
        task.clear()

        assert [task.attempt(asks(mode))["id"]] == account.created

    def test_deadline_counts_from_the_first_attempt(self, account: Account, mode: str) -> None:
        task = account.task(retries=3)
        with pytest.raises(SystemExit):
            task.attempt(lambda: _dying_in_the_wait(asks(mode, timeout=1000)()))
        account.sandbox.clock.advance(900)
        task.retry()
        began = account.sandbox.clock.now()

        with pytest.raises(AirflowSensorTimeout):
            task.attempt(asks(mode))

        assert account.sandbox.clock.now() - began == pytest.approx(100, abs=30)


def _dying_in_the_wait(operator: Any) -> Any:
    wait = operator.poll_policy

    def killed(*parts: Any, **facts: Any) -> None:
        wait(*parts, **facts)
        raise SystemExit

    operator.poll_policy = killed
    return operator


class TestDeferralTimeout:
    """Airflow's own timeout of a deferral; it comes when no triggerer was there to keep the deadline."""

    def ended(self, account: Account, task: AirflowTask, **arguments: Any) -> str:
        deferral = task.defer(asks("deferred", **arguments))
        with pytest.raises((AirflowSensorTimeout, AirflowTaskTimeout)) as ended:
            task.resume(asks("deferred", **arguments), "__fail__", {"error": "Trigger timeout"})
        assert deferral.timeout is not None
        return f"{type(ended.value).__name__}: {ended.value}"

    def test_deferral_timeout_stops_the_task(self, account: Account) -> None:
        text = self.ended(account, account.task(retries=3))

        assert account.word(account.created[0]) == "stopped"
        assert text.startswith("AirflowSensorTimeout")
        assert "no triggerer" in text
        assert STOPPED in text
        assert "left as it is" not in text

    def test_deferral_timeout_stops_the_task_of_a_mapped_operator(self, account: Account) -> None:
        self.ended(account, account.task(map_index=4))

        assert account.word(account.created[0]) == "stopped"

    def test_deferral_timeout_leaves_the_task_to_a_retry(self, account: Account) -> None:
        task = account.task(retries=1)
        text = self.ended(account, task, execution_timeout=timedelta(seconds=100))

        assert text.startswith("AirflowTaskTimeout")
        assert f"{KEEPS_RUNNING}; the retry resumes the wait" in text
        assert account.word(account.created[0]) == "running"
        task.retry()
        account.manus.set_script(account.created[0], ["completed"])
        assert [task.attempt(asks("deferred"))["id"]] == account.created

    def test_crashed_trigger_leaves_the_task_to_a_retry(self, account: Account) -> None:
        task = account.task(retries=1)
        task.defer(asks("deferred"))
        with pytest.raises(Exception, match="Trigger failure"):
            task.resume(asks("deferred"), "__fail__", {"error": "Trigger failure", "traceback": ["Boom"]})
        task.retry()
        account.manus.set_script(account.created[0], ["completed"])

        assert [task.attempt(asks("deferred"))["id"]] == account.created


class TestExecutionTimeout:
    @pytest.fixture
    def attempt(
        self, account: Account, mode: str, monkeypatch: pytest.MonkeyPatch
    ) -> Callable[[AirflowTask], str]:
        def run(task: AirflowTask, **arguments: Any) -> str:
            if mode == "on a worker":
                airflow_times_out(account, monkeypatch, 100)
            else:
                arguments["execution_timeout"] = timedelta(seconds=100)
            with pytest.raises(AirflowTaskTimeout) as ended:
                task.attempt(asks(mode, **arguments))
            return str(ended.value)

        return run

    def test_execution_timeout_with_retries_left_leaves_the_task(
        self, account: Account, mode: str, attempt: Any
    ) -> None:
        task = account.task(retries=1)

        text = attempt(task)

        assert f"{account.created[0]} {KEEPS_RUNNING}; the retry resumes the wait" in text
        assert account.word(account.created[0]) == "running"

    def test_execution_timeout_on_the_last_attempt_stops_the_task(
        self, account: Account, mode: str, attempt: Any
    ) -> None:
        task = account.task(retries=1)
        task.try_number = 2

        assert STOPPED in attempt(task)
        assert account.word(account.created[0]) == "stopped"

    def test_cancel_on_timeout_off_leaves_the_task(self, account: Account, mode: str, attempt: Any) -> None:
        assert "cancel_on_timeout is off" in attempt(account.task(), cancel_on_timeout=False)
        assert account.word(account.created[0]) == "running"


class TestKillOnAWorker:
    def killed(self, account: Account, state: str | None, *, map_index: int = -1, **arguments: Any) -> Any:
        """Start a task, and kill the operator while Airflow says that its task is in ``state``."""
        task = account.task(map_index=map_index)
        operators: list[Any] = []

        def make() -> Any:
            operators.append(dying(asks(**arguments))())
            return operators[-1]

        with pytest.raises(SystemExit):
            task.attempt(make)
        name = "ask" if map_index < 0 else f"ask_{map_index}"
        asked = account.states(**({} if state is None else {name: state}))
        operators[-1].on_kill()
        return asked

    @pytest.mark.parametrize("state", ["failed", "success", "skipped", "removed", "upstream_failed"])
    def test_finished_airflow_task_stops_the_remote_task(self, account: Account, state: str) -> None:
        asked = self.killed(account, state)

        assert account.word(account.created[0]) == "stopped"
        assert asked == [
            {"dag_id": "brief", "task_ids": ["ask"], "run_ids": ["scheduled__2026-01-01"], "map_index": -1}
        ]

    @pytest.mark.parametrize("state", ["restarting", "running", "up_for_retry", "queued", "scheduled", None])
    def test_airflow_task_that_will_run_again_leaves_the_remote_task(
        self, account: Account, state: str | None
    ) -> None:
        self.killed(account, state)

        assert account.word(account.created[0]) == "running"

    def test_mapped_task_is_found_by_its_index(self, account: Account) -> None:
        self.killed(account, "failed", map_index=2)

        assert account.word(account.created[0]) == "stopped"

    def test_state_of_another_map_index_is_ignored(self, account: Account) -> None:
        task = account.task(map_index=2)
        operator = dying(asks())()
        with pytest.raises(SystemExit):
            task.attempt(lambda: operator)
        account.states(ask="failed", ask_1="failed")

        operator.on_kill()

        assert account.word(account.created[0]) == "running"

    def test_cancel_on_kill_off_leaves_the_task(self, account: Account) -> None:
        assert self.killed(account, "failed", cancel_on_kill=False) == []
        assert account.word(account.created[0]) == "running"

    def test_kill_before_the_submission_sends_nothing(self, account: Account) -> None:
        asked = account.states(ask="failed")

        asks()().on_kill()

        assert asked == []
        assert account.sandbox.requests == []

    def test_unknown_airflow_state_leaves_the_task(
        self, account: Account, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        task = account.task()
        operator = dying(asks())()
        with pytest.raises(SystemExit):
            task.attempt(lambda: operator)
        monkeypatch.setattr(task.desk, "send", lambda _: 1 / 0)

        operator.on_kill()

        assert account.word(account.created[0]) == "running"

    def test_airflow_state_that_cannot_be_read_at_first_is_asked_for_again(
        self, account: Account, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        operator = dying(asks())()
        with pytest.raises(SystemExit):
            account.task().attempt(lambda: operator)
        answers: list[Any] = [RuntimeError("the API server restarts"), TimeoutError(), "failed"]

        def answer(_: Any) -> str:
            found = answers.pop(0)
            if isinstance(found, Exception):
                raise found
            return str(found)

        monkeypatch.setattr(operator_module, "task_state", answer)
        operator.on_kill()

        assert account.word(account.created[0]) == "stopped"

    def test_kill_gives_up_in_seconds(self, account: Account) -> None:
        account.faults.add("status", path="*/task.stop", status=503)
        account.connect("v2", max_attempts=1)
        began = account.sandbox.clock.now()
        self.killed(account, "failed")

        assert account.sandbox.clock.now() - began < 30
        assert account.word(account.created[0]) == "running"

    def test_kill_with_v1_says_that_the_task_continues(
        self, account: Account, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
    ) -> None:
        account.connect("v1")
        self.killed(account, "failed")

        assert account.word(account.created[0]) == "running"
        assert "was not cancelled and may still run" in caplog.text + capsys.readouterr().out

    def test_kill_after_a_timeout_sends_nothing_more(
        self, account: Account, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        operators: list[Any] = []

        def make() -> Any:
            operators.append(asks()())
            return operators[-1]

        airflow_times_out(account, monkeypatch, 100)
        with pytest.raises(AirflowTaskTimeout):
            account.task().attempt(make)
        asked = account.states(ask="failed")
        operators[-1].on_kill()

        assert asked == []
        assert account.calls("/task.stop") == 1


class TestKillWhileDeferred:
    def killed(self, account: Account, state: str, *, map_index: int = -1, **arguments: Any) -> None:
        task = account.task(map_index=map_index)
        deferral = task.defer(asks("deferred", **arguments))
        account.states(**{"ask" if map_index < 0 else f"ask_{map_index}": state})
        trigger = ManusTaskTrigger(**over_json(deferral.trigger.serialize()[1]))
        trigger.task_instance = task
        asyncio.run(trigger.on_kill())

    @pytest.mark.parametrize("state", ["failed", "success"])
    @pytest.mark.parametrize("map_index", [-1, 0, 3])
    def test_finished_airflow_task_stops_the_remote_task(
        self, account: Account, state: str, map_index: int
    ) -> None:
        self.killed(account, state, map_index=map_index)

        assert account.word(account.created[0]) == "stopped"

    @pytest.mark.parametrize("state", ["deferred", "running", "scheduled", "queued", "up_for_retry"])
    def test_airflow_task_that_will_run_again_leaves_the_remote_task(
        self, account: Account, state: str
    ) -> None:
        self.killed(account, state)

        assert account.word(account.created[0]) == "running"

    def test_cancel_on_kill_off_leaves_the_task(self, account: Account) -> None:
        self.killed(account, "failed", cancel_on_kill=False)

        assert account.word(account.created[0]) == "running"

    def test_kill_with_v1_says_that_the_task_continues(
        self, account: Account, caplog: pytest.LogCaptureFixture
    ) -> None:
        account.connect("v1")

        self.killed(account, "failed")

        assert account.word(account.created[0]) == "running"
        assert (
            f"{account.created[0]} was not cancelled and may still run: stopping a task needs API v2"
            in caplog.text
        )

    def test_failed_stop_is_logged(self, account: Account, caplog: pytest.LogCaptureFixture) -> None:
        account.faults.add("status", path="*/task.stop", status=500)

        self.killed(account, "failed")

        assert "was not cancelled and may still run" in caplog.text

    def test_trigger_without_a_task_instance_stops_nothing(self, account: Account) -> None:
        deferral = account.task().defer(asks("deferred"))

        asyncio.run(deferral.trigger.on_kill())

        assert account.calls("/task.stop") == 0

    @pytest.mark.parametrize(("told", "word"), [(True, "running"), (False, "stopped")])
    def test_trigger_below_airflow_33_reads_the_state_when_cancelled(
        self, account: Account, monkeypatch: pytest.MonkeyPatch, told: bool, word: str
    ) -> None:
        monkeypatch.setattr(trigger_module, "TRIGGERS_GET_ON_KILL", told)
        task = account.task()
        trigger = task.defer(asks("deferred")).trigger
        trigger.task_instance = task
        account.states(ask="failed")

        async def cancelled() -> None:
            running = asyncio.ensure_future(anext(trigger.run()))
            while account.calls("/task.detail") < 2:  # noqa: ASYNC110 - the server runs in a thread
                await asyncio.sleep(0.01)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

        asyncio.run(cancelled())

        assert account.word(account.created[0]) == word

    def test_trigger_below_airflow_33_is_cancelled_even_without_a_state(
        self, account: Account, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(trigger_module, "TRIGGERS_GET_ON_KILL", False)
        monkeypatch.setattr(trigger_module, "task_state", lambda _: 1 / 0)
        task = account.task()
        trigger = task.defer(asks("deferred")).trigger
        trigger.task_instance = task

        async def cancelled() -> Any:
            running = asyncio.ensure_future(anext(trigger.run()))
            while account.calls("/task.detail") < 2:  # noqa: ASYNC110 - the server runs in a thread
                await asyncio.sleep(0.01)
            running.cancel()
            return await asyncio.gather(running, return_exceptions=True)

        (end,) = asyncio.run(cancelled())
        assert isinstance(end, asyncio.CancelledError)

    def test_clear_leaves_the_task_to_the_next_attempt(self, account: Account) -> None:
        task = account.task()
        old = task.defer(asks("deferred")).trigger
        old.task_instance = task
        task.clear()
        task.defer(asks("deferred"))
        account.states(ask="deferred")
        asyncio.run(old.on_kill())

        assert len(account.created) == 1
        assert account.word(account.created[0]) == "running"


class TestErrorText:
    """Whoever reads the error must learn whether the remote task goes on and costs."""

    def test_error_names_the_task_that_continues(self, account: Account, mode: str) -> None:
        account.connect("v2", max_attempts=1)
        account.faults.add("status", path="*/task.detail", status=403)

        with pytest.raises(AirflowFailException) as failed:
            account.task().attempt(asks(mode))

        assert account.created[0] in str(failed.value)
        assert KEEPS_RUNNING in str(failed.value)

    def test_trigger_failure_without_retries_names_the_task(self, account: Account) -> None:
        task = account.task()
        task.defer(asks("deferred"))

        with pytest.raises(Exception, match="Trigger failure") as failed:
            task.resume(asks("deferred"), "__fail__", {"error": "Trigger failure"})

        assert account.created[0] in str(failed.value)
