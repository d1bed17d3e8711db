"""What an attempt does that finds the record of an earlier one, and after a lost answer."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from remote_tasks_provider.bases import once as module
from remote_tasks_provider.bases.once import Once, appears
from remote_tasks_provider.core.errors import (
    AuthenticationError,
    OrphanedActionError,
    RateLimitedError,
    ServerError,
    TransportError,
)
from tests.bases.history import Clock
from tests.bases.stores import Store

LOST = TransportError("the connection was reset")


class Doorbell:
    """An effect that the service shows some seconds later.

    :attr outcome: of the next requests, in turn: ``None`` for success, an error that is raised after the
        effect, or an error and ``False``, which is raised without an effect.
    """

    subject = "doorbell 7"

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.rings: list[float] = []
        self.shows_after = 0.0
        self.outcomes: list[Any] = []
        self.read_errors: list[Exception] = []
        self.reads = 0

    def _shown(self) -> int:
        self.reads += 1
        if self.read_errors:
            raise self.read_errors.pop(0)
        return sum(self.clock.now >= at + self.shows_after for at in self.rings)

    def facts(self) -> dict[str, Any]:
        return {"before": self._shown()}

    def is_there(self, facts: dict[str, Any]) -> bool:
        return self._shown() > facts["before"]

    def send(self, facts: dict[str, Any]) -> str:
        outcome = self.outcomes.pop(0) if self.outcomes else None
        if isinstance(outcome, tuple):
            raise outcome[0]
        self.rings.append(self.clock.now)
        if outcome is not None:
            raise outcome
        return "rung"

    def doubt(self) -> str | None:
        return "It has rung." if self._shown() else None


class House:
    def __init__(self, clock: Clock, store: Store | None) -> None:
        self.store = store
        self.bell = Doorbell(clock)
        self.ti = SimpleNamespace(
            dag_id="d", run_id="r", task_id="t", map_index=-1, try_number=1, max_tries=3
        )
        self.run = SimpleNamespace(clear_number=0)
        self.retries = 3

    def attempt(self) -> Any:
        context: Any = {"ti": self.ti, "dag_run": self.run}
        if self.store is not None:
            context["task_state_store"] = self.store
        return Once(SimpleNamespace(retries=self.retries), context).do(self.bell)  # type: ignore[arg-type]

    def retry(self) -> None:
        self.ti.try_number += 1

    def clear(self) -> None:
        self.ti.max_tries = self.ti.try_number + self.retries
        self.run.clear_number += 1
        self.retry()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(module, "time", found)
    return found


@pytest.fixture
def house(clock: Clock) -> House:
    return House(clock, Store())


class TestOneAttempt:
    def test_answer_is_returned_and_the_outcome_recorded(self, house: House) -> None:
        assert house.attempt() == "rung"
        assert house.store is not None
        assert house.store["remote_task_effect"]["is_done"]

    def test_intent_is_recorded_before_the_request(self, house: House) -> None:
        assert house.store is not None
        house.store.fails_at = 1

        with pytest.raises(ConnectionError):
            house.attempt()
        assert house.bell.rings == []

    def test_outcome_that_cannot_be_recorded_fails_nothing(self, house: House) -> None:
        assert house.store is not None
        house.store.fails_at = 2

        assert house.attempt() == "rung"
        house.retry()
        assert house.attempt() is None
        assert len(house.bell.rings) == 1

    @pytest.mark.parametrize("error", [LOST, ServerError("x", status_code=502)], ids=str)
    def test_lost_answer_is_no_error_once_the_effect_shows(self, house: House, error: Exception) -> None:
        house.bell.outcomes = [error]
        house.bell.shows_after = 60.0

        assert house.attempt() is None
        house.retry()
        assert house.attempt() is None
        assert len(house.bell.rings) == 1

    def test_lost_request_fails_the_attempt_after_a_while(self, house: House, clock: Clock) -> None:
        house.bell.outcomes = [(LOST, False)]
        began = clock.now

        with pytest.raises(TransportError):
            house.attempt()
        assert clock.now - began == 90.0
        house.retry()
        assert house.attempt() == "rung"

    def test_trouble_while_looking_is_waited_out(self, house: House) -> None:
        facts = house.bell.facts()
        house.bell.rings.append(house.bell.clock.now)
        house.bell.read_errors = [ServerError("x", status_code=503), LOST]

        assert appears(house.bell, facts)

    def test_error_that_no_retry_helps_against_ends_the_look(self, house: House) -> None:
        facts = house.bell.facts()
        house.bell.read_errors = [AuthenticationError("x", status_code=401)]

        with pytest.raises(AuthenticationError):
            appears(house.bell, facts)

    def test_trouble_that_stays_ends_the_look(self, house: House, clock: Clock) -> None:
        facts = house.bell.facts()
        house.bell.read_errors = [ServerError("x", status_code=503)] * 100

        with pytest.raises(ServerError):
            appears(house.bell, facts)

    @pytest.mark.parametrize(
        "error", [RateLimitedError("x", status_code=429), TransportError("no route", sent=False)], ids=str
    )
    def test_request_that_was_not_sent_needs_no_look(self, house: House, error: Exception) -> None:
        house.bell.outcomes = [(error, False)]

        with pytest.raises(type(error)):
            house.attempt()
        assert house.bell.reads == 1


class TestNextAttempt:
    def test_effect_of_a_dead_worker_is_looked_for_as_long_as_it_may_come(
        self, house: House, clock: Clock
    ) -> None:
        house.bell.outcomes = [SystemExit()]
        house.bell.shows_after = 80.0
        with pytest.raises(SystemExit):
            house.attempt()
        clock.now += 20
        house.retry()

        assert house.attempt() is None
        assert len(house.bell.rings) == 1

    def test_late_retry_looks_once(self, house: House, clock: Clock) -> None:
        house.bell.outcomes = [(SystemExit(), False)]
        with pytest.raises(SystemExit):
            house.attempt()
        clock.now += 600
        house.retry()
        before, reads = clock.now, house.bell.reads

        assert house.attempt() == "rung"
        assert (clock.now, house.bell.reads) == (before, reads + 1)

    def test_recorded_outcome_needs_no_look(self, house: House) -> None:
        house.attempt()
        house.retry()
        reads = house.bell.reads

        assert house.attempt() is None
        assert house.bell.reads == reads

    def test_effect_on_another_subject_is_another_one(self, house: House) -> None:
        house.attempt()
        house.retry()
        house.bell.subject = "doorbell 8"

        assert house.attempt() == "rung"

    def test_unreadable_record_is_none(self, house: House) -> None:
        assert house.store is not None
        house.store["remote_task_effect"] = "?"

        assert house.attempt() == "rung"


class TestClear:
    def test_clear_begins_anew(self, house: House) -> None:
        house.attempt()
        house.clear()

        assert house.attempt() == "rung"

    def test_edited_retries_are_no_clear(self, house: House) -> None:
        house.bell.outcomes = [SystemExit()]
        with pytest.raises(SystemExit):
            house.attempt()
        house.retries = 1
        house.retry()

        assert house.attempt() is None

    def test_clear_of_another_task_is_none_of_this_one(self, house: House) -> None:
        house.bell.outcomes = [SystemExit()]
        with pytest.raises(SystemExit):
            house.attempt()
        house.run.clear_number += 1
        house.retry()

        assert house.attempt() is None


class TestWithoutAStore:
    @pytest.fixture
    def house(self, clock: Clock) -> House:
        return House(clock, None)

    def test_first_attempt_asks_for_no_doubt(self, house: House) -> None:
        house.bell.rings = [0.0]

        assert house.attempt() == "rung"

    def test_retry_acts_if_nothing_can_have_happened(self, house: House) -> None:
        house.retry()

        assert house.attempt() == "rung"

    def test_retry_leaves_what_may_have_happened_to_a_person(self, house: House) -> None:
        house.bell.outcomes = [SystemExit()]
        with pytest.raises(SystemExit):
            house.attempt()
        house.retry()

        with pytest.raises(OrphanedActionError, match=r"It has rung\. .*mark this task successful"):
            house.attempt()
        assert len(house.bell.rings) == 1
        house.clear()
        assert house.attempt() == "rung"
