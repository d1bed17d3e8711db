from __future__ import annotations

import asyncio
import logging
from types import SimpleNamespace
from typing import Any

import pytest

from remote_tasks_provider.bases.shortest_deferral import shortest_deferral
from remote_tasks_provider.manus.triggers import ManusTaskTrigger
from tests.bases.history import START, Clock, install, timeline

VARIABLE = "AIRFLOW__REMOTE_TASKS__SHORTEST_DEFERRAL"


@pytest.mark.parametrize(
    ("given", "seconds"), [("", 10.0), ("0", 0.0), ("2.5", 2.5), ("30", 30.0), ("100000", 120.0)]
)
def test_option_gives_the_seconds(monkeypatch: pytest.MonkeyPatch, given: str, seconds: float) -> None:
    monkeypatch.setenv(VARIABLE, given)

    assert shortest_deferral() == seconds


def test_default_is_ten_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE)

    assert shortest_deferral() == 10.0


@pytest.mark.parametrize("given", ["soon", "-1", "nan"])
def test_option_that_cannot_be_right_is_named_in_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, given: str
) -> None:
    monkeypatch.setenv(VARIABLE, given)

    with caplog.at_level(logging.WARNING):
        assert shortest_deferral() == 10.0
    assert "shortest_deferral" in caplog.text
    assert given in caplog.text


class TestTrigger:
    """When the event comes; the first poll is at once."""

    @pytest.fixture(autouse=True)
    def _default(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(VARIABLE, "10")

    def fired_after(self, clock: Clock, task_instance: Any = None, **arguments: Any) -> float:
        given = {"started_at": START, "poll_interval": 4, **arguments}
        trigger = ManusTaskTrigger("manus_default", ["a"], **given)
        trigger.task_instance = task_instance
        asyncio.run(self._first(trigger))
        return clock.now - START

    async def _first(self, trigger: Any) -> Any:
        return await anext(trigger.run())

    def instance(self) -> Any:
        return SimpleNamespace(dag_id="d", task_id="t", run_id="r", map_index=-1)

    @pytest.mark.parametrize(("ends", "fires"), [(0, 10), (3, 10), (12, 12), (14, 16)])
    def test_event_of_a_short_wait_is_kept_back(
        self, monkeypatch: pytest.MonkeyPatch, clock: Clock, ends: int, fires: int
    ) -> None:
        install(monkeypatch, clock, {"a": timeline((0, "running"), (ends, "completed"))})

        assert self.fired_after(clock, self.instance()) == pytest.approx(fires, abs=1)

    def test_event_is_kept_back_after_a_timeout_too(
        self, monkeypatch: pytest.MonkeyPatch, clock: Clock
    ) -> None:
        install(monkeypatch, clock, {"a": timeline((0, "running"))})

        assert self.fired_after(clock, self.instance(), deadline=START + 2) == pytest.approx(10, abs=1)

    def test_event_of_dag_test_comes_at_once(self, monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
        install(monkeypatch, clock, {"a": timeline((0, "completed"))})

        assert self.fired_after(clock) < 1

    def test_event_of_a_wait_without_a_first_process_comes_at_once(
        self, monkeypatch: pytest.MonkeyPatch, clock: Clock
    ) -> None:
        install(monkeypatch, clock, {"a": timeline((0, "completed"))})

        assert self.fired_after(clock, self.instance(), started_at=None) < 1
