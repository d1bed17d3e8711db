"""The report of a triggerer: when it is written, where, and that nothing it meets reaches a wait."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from remote_tasks_provider.bases import reports
from remote_tasks_provider.bases.compat import KEEPS_ASSET_STATE
from remote_tasks_provider.bases.reports import Reporter, reported
from remote_tasks_provider.core.polling.reports import SLOTS, pack_report, unpack_report
from remote_tasks_provider.core.polling.tracker import PollTracker
from tests.core.build import START, a_policy, a_snapshot
from tests.core.fake_clock import Timekeeper, settle


class Stage:
    def __init__(self) -> None:
        self.time = Timekeeper()
        self.notes: dict[str, Any] = {}
        self.calls = 0
        self.error: Exception | None = None
        self.reporter = self.new_reporter()

    def new_reporter(self) -> Reporter:
        return Reporter(self.read, self.write, self.time.clocks)

    async def read(self, key: str) -> Any:
        self.calls += 1
        return self.notes.get(key)

    async def write(self, key: str, value: Any) -> None:
        self.calls += 1
        if self.error is not None:
            raise self.error
        self.notes[key] = value

    def reported(self, key: str = "waits:0") -> dict[int, dict[str, Any]]:
        return unpack_report(self.notes.get(key))


def tracker(*, is_answered: bool = True) -> PollTracker:
    made = PollTracker(["t1"], a_policy())
    if is_answered:
        made.update({"t1": a_snapshot(credit_usage=3)}, START)
    return made


def play(story: Callable[[Stage], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        await story(Stage())
        await settle()
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(run())


class TestReporter:
    def test_waits_are_reported_together_every_half_minute(self) -> None:
        async def story(stage: Stage) -> None:
            waits = {number: tracker() for number in range(1000)}
            with stage.reporter.reporting(5000, tracker(is_answered=False)):
                blocks = [stage.reporter.reporting(number, one) for number, one in waits.items()]
                for block in blocks:
                    block.__enter__()
                await stage.time.let_pass(301)
                for block in blocks:
                    block.__exit__(None, None, None)
            assert stage.reported() == {
                number: {"state": "running", "credits": 3, "at": START} for number in waits
            }
            assert stage.calls == 2 * 10

        play(story)

    def test_waits_without_an_answer_are_not_reported(self) -> None:
        async def story(stage: Stage) -> None:
            with stage.reporter.reporting(1, tracker(is_answered=False)):
                await stage.time.let_pass(100)
            assert stage.calls == 0

        play(story)

    def test_reports_begin_anew_with_the_next_wait(self) -> None:
        async def story(stage: Stage) -> None:
            for number in (1, 2):
                with stage.reporter.reporting(number, tracker()):
                    await stage.time.let_pass(31)
                await stage.time.let_pass(100)
                assert stage.reported().keys() == {number}

        play(story)

    def test_several_triggerers_report_side_by_side(self) -> None:
        async def story(stage: Stage) -> None:
            other = stage.new_reporter()
            with stage.reporter.reporting(1, tracker()), other.reporting(2, tracker()):
                # Both take the first slot at the same moment; one of them sees it, and takes another.
                await stage.time.let_pass(95)
            found = {*stage.reported("waits:0"), *stage.reported("waits:1")}
            assert found == {1, 2}

        play(story)

    def test_triggerer_that_is_gone_leaves_its_slot_to_another(self) -> None:
        async def story(stage: Stage) -> None:
            gone = {"state": "running", "credits": None, "at": START}
            for slot in range(SLOTS):
                stage.notes[f"waits:{slot}"] = pack_report(f"gone {slot}", stage.time.wall - 301, {9: gone})
            with stage.reporter.reporting(1, tracker()):
                await stage.time.let_pass(31)
            assert stage.reported().keys() == {1}
            assert len(stage.notes) == SLOTS

        play(story)

    @pytest.mark.parametrize("error", [LookupError("no asset"), TimeoutError(), ImportError("x")])
    def test_report_that_airflow_does_not_keep_is_tried_again_much_later(self, error: Exception) -> None:
        async def story(stage: Stage) -> None:
            stage.error = error
            with stage.reporter.reporting(1, tracker()):
                await stage.time.let_pass(31)
                assert stage.calls == 2
                await stage.time.let_pass(110)
                assert stage.calls == 2
                stage.error = None
                await stage.time.let_pass(20)
                assert stage.reported().keys() == {1}

        play(story)

    def test_report_is_not_written_where_every_slot_is_taken(self) -> None:
        async def story(stage: Stage) -> None:
            for slot in range(SLOTS):
                stage.notes[f"waits:{slot}"] = pack_report(f"other {slot}", stage.time.wall, {})
            with stage.reporter.reporting(1, tracker()):
                await stage.time.let_pass(31)
            assert all(unpack_report(report) == {} for report in stage.notes.values())

        play(story)


class TestWrite:
    @pytest.mark.skipif(not KEEPS_ASSET_STATE, reason="Airflow 3.3 and newer keep the state of assets")
    @pytest.mark.parametrize("is_kept", [True, False])
    def test_note_is_written_by_the_message_that_airflow_knows(
        self, monkeypatch: pytest.MonkeyPatch, is_kept: bool
    ) -> None:
        from airflow.sdk.execution_time import comms, task_runner

        sent: list[Any] = []

        class Comms:
            async def asend(self, message: Any) -> Any:
                sent.append(message)
                error = comms.ErrorResponse(error=comms.ErrorType.ASSET_STORE_NOT_FOUND)
                return comms.OKResponse(ok=True) if is_kept else error

        monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", Comms(), raising=False)
        if is_kept:
            asyncio.run(reports.write_note("waits:0", {"by": "me"}))
        else:
            with pytest.raises(LookupError):
                asyncio.run(reports.write_note("waits:0", {"by": "me"}))

        assert [(one.name, one.key, one.value) for one in sent] == [
            ("remote-tasks-webhooks", "waits:0", {"by": "me"})
        ]

    @pytest.mark.skipif(not KEEPS_ASSET_STATE, reason="Airflow 3.3 and newer keep the state of assets")
    def test_triggerer_of_airflow_takes_the_message(self) -> None:
        from airflow.jobs.triggerer_job_runner import ToTriggerSupervisor
        from airflow.sdk.execution_time.comms import SetAssetStateStoreByName
        from pydantic import TypeAdapter

        message = SetAssetStateStoreByName(name="a", key="b", value={})
        assert TypeAdapter(ToTriggerSupervisor).validate_python(message.model_dump()) == message


def test_wait_in_a_dag_test_or_below_3_3_is_not_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        with reported(None, tracker()):
            assert len(asyncio.all_tasks()) == 1
        monkeypatch.setattr(reports, "KEEPS_ASSET_STATE", False)
        with reported(1, tracker()):
            assert len(asyncio.all_tasks()) == 1

    asyncio.run(story())
