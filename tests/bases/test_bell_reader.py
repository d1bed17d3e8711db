"""The reader of bells: who hears what, and that nothing it meets reaches a wait."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable, Coroutine
from types import SimpleNamespace
from typing import Any

import pytest

from remote_tasks_provider.bases import bell_reader, supervisor
from remote_tasks_provider.bases.bell_reader import BellReader, bells, push_poll_interval, read_note
from remote_tasks_provider.bases.compat import KEEPS_ASSET_STATE
from remote_tasks_provider.core.push.bell import ANY_BELL, WEBHOOK_ASSET, bell_key, new_note
from tests.core.fake_clock import Timekeeper, settle

KEY = bell_key("manus", "m")


class Store:
    """The notes, and what was read of them."""

    def __init__(self) -> None:
        self.notes: dict[str, Any] = {}
        self.reads: list[str] = []
        self.error: BaseException | None = None

    def ring(self, conn_id: str = "m") -> None:
        self.notes[bell_key("manus", conn_id)] = self.notes[ANY_BELL] = new_note()

    async def read(self, key: str) -> Any:
        self.reads.append(key)
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        return self.notes.get(key)


class Stage:
    def __init__(self) -> None:
        self.time = Timekeeper()
        self.store = Store()
        self.reader = BellReader(self.store.read, self.time.clocks, poll_interval=300)
        self.heard: list[bool] = []

    def listen(self, conn_id: str = "m", into: list[bool] | None = None) -> Callable[[], None]:
        return self.reader.listen("manus", conn_id, (self.heard if into is None else into).append)


@pytest.fixture(autouse=True)
def _on_3_3(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    monkeypatch.setattr(bell_reader, "KEEPS_ASSET_STATE", "below" not in request.node.name)
    monkeypatch.setattr(bell_reader, "_is_said", False)


def play(story: Callable[[Stage], Coroutine[Any, Any, None]]) -> Stage:
    async def run() -> Stage:
        made = Stage()
        await story(made)
        await settle()
        assert len(asyncio.all_tasks()) == 1
        return made

    return asyncio.run(run())


class TestHearing:
    def test_bell_is_heard_within_three_seconds(self) -> None:
        async def story(stage: Stage) -> None:
            stop = stage.listen()
            await stage.time.let_pass(1)
            assert stage.heard == []
            stage.store.ring()
            await stage.time.let_pass(3)
            assert stage.heard == [True]
            await stage.time.let_pass(20)
            assert stage.heard == [True]
            stop()

        play(story)

    def test_note_that_is_there_already_tells_of_a_bell_that_may_have_been_missed(self) -> None:
        async def story(stage: Stage) -> None:
            stage.store.ring()
            stop = stage.listen()
            await stage.time.let_pass(1)
            assert stage.heard == [False]
            stage.store.ring()
            await stage.time.let_pass(2)
            assert stage.heard == [False, True]
            stop()

        play(story)

    def test_second_listener_learns_that_there_was_a_bell_before_it(self) -> None:
        async def story(stage: Stage) -> None:
            stage.store.ring()
            stops = [stage.listen()]
            await stage.time.let_pass(1)
            second: list[bool] = []
            stops.append(stage.listen(into=second))
            assert second == [False]
            stage.store.ring()
            await stage.time.let_pass(2)
            assert second == [False, True]
            for stop in stops:
                stop()

        play(story)

    def test_bell_of_another_connection_is_not_heard(self) -> None:
        async def story(stage: Stage) -> None:
            stops = [stage.listen(), stage.listen("other", [])]
            await stage.time.let_pass(1)
            stage.store.ring("other")
            await stage.time.let_pass(2)
            assert stage.heard == []
            for stop in stops:
                stop()

        play(story)

    def test_bells_between_two_reads_are_one(self) -> None:
        async def story(stage: Stage) -> None:
            stop = stage.listen()
            await stage.time.let_pass(1)
            stage.store.ring()
            stage.store.ring()
            await stage.time.let_pass(2)
            assert stage.heard == [True]
            stop()

        play(story)

    def test_note_that_was_deleted_and_written_anew_is_a_bell(self) -> None:
        async def story(stage: Stage) -> None:
            stage.store.ring()
            stop = stage.listen()
            await stage.time.let_pass(1)
            kept = dict(stage.store.notes)
            stage.store.notes.clear()
            await stage.time.let_pass(4)
            stage.store.notes.update(kept)
            await stage.time.let_pass(4)
            assert stage.heard == [False]
            stage.store.ring()
            await stage.time.let_pass(3)
            assert stage.heard == [False, True]
            stop()

        play(story)

    def test_reads_are_27_a_minute_however_many_connections_there_are(self) -> None:
        async def story(stage: Stage) -> None:
            stage.store.ring()
            stops = [stage.listen(f"c{number}", []) for number in range(50)]
            await stage.time.let_pass(1)
            assert len(stage.store.reads) == 51
            stage.store.reads.clear()
            await stage.time.let_pass(60)
            assert stage.store.reads == [ANY_BELL] * 27
            for stop in stops:
                stop()

        play(story)

    def test_reader_ends_with_its_last_listener_and_begins_again(self) -> None:
        async def story(stage: Stage) -> None:
            stop = stage.listen()
            await stage.time.let_pass(1)
            stop()
            stop = stage.listen()
            await stage.time.let_pass(1)
            stage.store.ring()
            await stage.time.let_pass(2)
            assert stage.heard == [True]
            stop()
            stop()
            await settle()
            stage.store.reads.clear()
            await stage.time.let_pass(60)
            assert stage.store.reads == []

        play(story)

    def test_reader_belongs_to_the_event_loop(self) -> None:
        async def both() -> tuple[BellReader, BellReader]:
            return bells(), bells()

        one, other = asyncio.run(both())
        assert one is other
        assert one is not asyncio.run(both())[0]


class TestTrouble:
    @pytest.mark.parametrize("error", [TimeoutError("no answer"), AttributeError("asend"), KeyError("x")])
    def test_third_failure_in_a_row_is_said_once_and_followed_by_rests(
        self, caplog: pytest.LogCaptureFixture, error: Exception
    ) -> None:
        async def story(stage: Stage) -> None:
            stage.store.error = error
            stop = stage.listen()
            await stage.time.let_pass(3)
            assert stage.reader.poll_interval == 300
            await stage.time.let_pass(2)
            assert stage.reader.poll_interval == 0
            stage.store.reads.clear()
            await stage.time.let_pass(600)
            assert len(stage.store.reads) == 10
            stop()

        with caplog.at_level(logging.WARNING):
            play(story)
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        assert "Waits poll as they do without push" in caplog.text

    def test_bell_during_the_rest_is_heard_after_it(self, caplog: pytest.LogCaptureFixture) -> None:
        async def story(stage: Stage) -> None:
            stop = stage.listen()
            await stage.time.let_pass(1)
            stage.store.error = TimeoutError()
            await stage.time.let_pass(10)
            stage.store.error = None
            stage.store.ring()
            await stage.time.let_pass(60)
            assert stage.heard == [True]
            assert stage.reader.poll_interval == 300
            stop()

        with caplog.at_level(logging.INFO):
            play(story)
        assert "can be heard again" in caplog.text

    def test_bell_is_not_lost_with_a_read_of_its_connection_that_fails(self) -> None:
        async def story(stage: Stage) -> None:
            stop = stage.listen()
            await stage.time.let_pass(1)
            stage.store.ring()
            read, failed = stage.store.read, []

            async def fails_once(key: str) -> Any:
                if key == KEY and not failed:
                    failed.append(key)
                    raise TimeoutError
                return await read(key)

            stage.reader._read = fails_once
            await stage.time.let_pass(4)
            assert stage.heard == [True]
            stop()

        play(story)

    def test_reader_below_3_3_says_so_once_and_reads_nothing(self, caplog: pytest.LogCaptureFixture) -> None:
        async def story(stage: Stage) -> None:
            stops = [stage.listen(), stage.listen("other")]
            await stage.time.let_pass(10)
            assert stage.store.reads == []
            for stop in stops:
                stop()

        with caplog.at_level(logging.WARNING):
            play(story)
        assert caplog.text.count("Airflow 3.3") == 1


@pytest.mark.skipif(not KEEPS_ASSET_STATE, reason="Airflow has no such message")
class TestPrivateApi:
    """The message and the pipe, as Airflow 3.3 and 3.4 have them."""

    @staticmethod
    def _ask(monkeypatch: pytest.MonkeyPatch, answer: Callable[[Any], Any]) -> list[Any]:
        runner = sys.modules.get("airflow.sdk.execution_time.task_runner") or __import__(
            "airflow.sdk.execution_time.task_runner", fromlist=["x"]
        )
        asked: list[Any] = []

        async def asend(message: Any) -> Any:
            asked.append(message)
            return await answer(message)

        monkeypatch.setattr(runner, "SUPERVISOR_COMMS", SimpleNamespace(asend=asend), raising=False)
        return asked

    def test_note_is_read_by_the_name_of_the_asset(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from airflow.sdk.execution_time.comms import AssetStateStoreResult

        async def answer(_message: Any) -> Any:
            return AssetStateStoreResult(value={"id": "1"})

        asked = self._ask(monkeypatch, answer)

        assert asyncio.run(read_note(ANY_BELL)) == {"id": "1"}
        assert (asked[0].name, asked[0].key) == (WEBHOOK_ASSET[0], ANY_BELL)

    def test_note_that_is_not_there_is_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from airflow.sdk.exceptions import ErrorType
        from airflow.sdk.execution_time.comms import ErrorResponse

        async def answer(_message: Any) -> Any:
            return ErrorResponse(error=ErrorType.ASSET_STORE_NOT_FOUND)

        self._ask(monkeypatch, answer)

        assert asyncio.run(read_note(ANY_BELL)) is None

    def test_refusal_is_an_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from airflow.sdk.exceptions import ErrorType
        from airflow.sdk.execution_time.comms import ErrorResponse

        async def answer(_message: Any) -> Any:
            return ErrorResponse(error=ErrorType.GENERIC_ERROR)

        self._ask(monkeypatch, answer)

        with pytest.raises(LookupError):
            asyncio.run(read_note(ANY_BELL))

    def test_first_answer_of_a_triggerer_on_a_busy_machine_is_waited_for(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        waited: list[float] = []
        really_wait = asyncio.wait

        def wait(tasks: set[asyncio.Task[Any]], *, timeout: float) -> Any:
            waited.append(timeout)
            return really_wait(tasks, timeout=timeout)

        async def answer(_message: Any) -> Any:
            return None

        self._ask(monkeypatch, answer)
        monkeypatch.setattr(asyncio, "wait", wait)
        with pytest.raises(LookupError):
            asyncio.run(read_note(ANY_BELL))

        # 34 s were seen: the triggerer makes itself an API server for it.
        assert min(waited) >= 60

    def test_answer_that_never_comes_is_given_up_and_still_read(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(supervisor, "LONGEST_ANSWER", 0.01)
        heard: list[str] = []

        async def story() -> None:
            comes = asyncio.Event()

            async def answer(_message: Any) -> Any:
                await comes.wait()
                heard.append("answer")

            self._ask(monkeypatch, answer)
            with pytest.raises(TimeoutError):
                await read_note(ANY_BELL)
            comes.set()
            await asyncio.gather(*supervisor._questions, return_exceptions=True)

        asyncio.run(story())
        assert heard == ["answer"]


class TestOption:
    @pytest.mark.parametrize(
        ("given", "seconds"), [("", 300.0), ("0", 0.0), ("120", 120.0), ("1e9", 3600.0), ("often", 300.0)]
    )
    def test_option_gives_the_seconds(
        self, monkeypatch: pytest.MonkeyPatch, given: str, seconds: float
    ) -> None:
        monkeypatch.setenv("AIRFLOW__REMOTE_TASKS__PUSH_POLL_INTERVAL", given)

        assert push_poll_interval() == seconds
