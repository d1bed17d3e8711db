"""Histories that once broke a promise, and those that the promises were made for; each by its name.

What the machine finds becomes a test here: its lines say who did what, and when.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.model.plans import Fate, Fault, Plan
from tests.model.world import Settings, World

Begin = Callable[..., World]
_TWO_MINUTES = Fate(120.0)
_UNLISTED = Fate(200.0, hidden_for=80.0)
_LOST = Fault("lost", "start", 1.0)
_LONG_LOST = Fault("lost", "start", 100.0)


def dies(at: str, fate: Fate = _TWO_MINUTES) -> Plan:
    return Plan(act="crash", at=at, fate=fate)


@pytest.fixture
def begin() -> Iterator[Begin]:
    """Begin a history; at its end no promise may be broken."""
    worlds: list[World] = []
    with ExitStack() as stack:

        def made(**settings: Any) -> World:
            worlds.append(stack.enter_context(World(Settings(**settings)).installed()))
            return worlds[-1]

        yield made
    for world in worlds:
        assert not world.violations, "\n".join(world.lines)


class TestTwoAirflowsOnOneAccount:
    def test_twins_pay_for_a_task_each(self, begin: Begin) -> None:
        world = begin(service="v2")

        world.attempt("main", dies("before a pause", Fate(1e6)))
        world.attempt("staging", Plan(paid=_LOST))

        assert [one.owner.name for one in world.books] == ["main", "staging"]

    def test_twins_send_a_message_each(self, begin: Begin) -> None:
        world = begin(service="qstash")

        world.attempt("main", Plan())
        world.attempt("staging", Plan())

        assert [one.owner.name for one in world.books] == ["main", "staging"]

    def test_twin_that_is_marked_failed_stops_its_own_message(self, begin: Begin) -> None:
        world = begin(service="qstash", version="3.4")
        world.attempt("main", dies("before a pause"))

        world.attempt("staging", Plan(act="mark failed", at="before a pause"))


class TestLoops:
    @pytest.mark.parametrize("service", ["v2", "qstash"])
    def test_iterations_pay_for_themselves(self, begin: Begin, service: str) -> None:
        world = begin(service=service, version="3.4", in_loops=True)

        world.attempt("main", dies("before a pause"))
        world.attempt("sibling", Plan(paid=_LOST))

        assert [one.owner.name for one in world.books] == ["main", "sibling"]


class TestSamePrompt:
    def test_task_with_the_same_prompt_is_not_taken(self, begin: Begin) -> None:
        world = begin(service="v1")
        world.attempt("main", dies("before a pause"))

        ending = world.attempt("sibling", Plan(paid=Fault("lost", "none", 1.0)))

        assert ending.kind == "final"
        assert "task0001" in str(ending.value)


class TestLongRequests:
    @pytest.mark.parametrize("service", ["v1", "v2"])
    def test_search_counts_from_the_end_of_a_lost_request(self, begin: Begin, service: str) -> None:
        world = begin(service=service)

        world.attempt("main", Plan(paid=_LONG_LOST, fate=_UNLISTED))
        world.attempt("main", Plan()) if world.tasks["main"].may_run else None

        assert len(world.books) == 1


class TestEditedRetries:
    @pytest.mark.parametrize("retries", [0, 1, 5])
    @pytest.mark.parametrize("service", ["v1", "v2", "qstash"])
    def test_retry_is_no_clear_whatever_the_dag_says(self, begin: Begin, service: str, retries: int) -> None:
        world = begin(service=service, version="3.2" if service == "qstash" else "3.3", retries=3)
        world.attempt("main", dies("before a pause"))
        world.pass_time(300.0)

        world.edit("main", "retries", retries)
        world.attempt("main", Plan())

        assert len(world.books) == 1


class TestNotFound:
    @pytest.mark.parametrize("service", ["v1", "v2"])
    def test_single_404_proves_nothing(self, begin: Begin, service: str) -> None:
        world = begin(service=service)
        world.attempt("main", dies("before a pause", Fate(1e6)))
        world.pass_time(300.0)

        ending = world.attempt(
            "main", Plan(read=Fault("status", status=404), act="crash", at="before a pause")
        )

        assert ending.kind == "crash"
        assert len(world.books) == 1


class TestClears:
    def test_hidden_task_is_not_paid_again_after_its_record_was_dropped(self, begin: Begin) -> None:
        world = begin(service="v1", version="3.4", hides=True, retries=0)
        world.attempt("main", dies("before a pause", Fate(1e6)))

        world.clear("main", keep_store=False)
        ending = world.attempt("main", Plan())

        assert ending.kind == "final"
        assert len(world.books) == 1

    @pytest.mark.parametrize("service", ["v1", "v2", "auto"])
    def test_result_that_could_not_be_written_is_taken_after_a_clear(
        self, begin: Begin, service: str
    ) -> None:
        world = begin(service=service, writes=True, retries=0)
        world.attempt("main", Plan(act="disk breaks", at="before a pause"))

        world.mend()
        world.clear("main")
        ending = world.attempt("main", Plan())

        assert ending.value["id"] == "task0001"

    def test_result_of_a_task_that_no_attempt_has_deferred_is_taken_after_a_clear(self, begin: Begin) -> None:
        world = begin(service="v2", defers=True, retries=0)
        world.attempt("main", dies("before the XCom"))
        world.pass_time(300.0)

        world.clear("main")
        ending = world.attempt("main", Plan())

        assert ending.value["id"] == "task0001"

    def test_clear_before_the_question_is_no_answer(self, begin: Begin) -> None:
        world = begin(service="v1", retries=0)

        world.attempt("main", Plan(paid=_LONG_LOST, act="clear", at="after POST", fate=Fate(1e6)))
        ending = world.attempt("main", Plan())

        assert ending.kind == "final"
        assert len(world.books) == 1

    def test_result_of_an_attempt_that_was_restarted_is_taken_by_the_next(self, begin: Begin) -> None:
        world = begin(service="v2")
        world.attempt("main", Plan(act="clear", at="after a pause", fate=Fate(40.0)))

        ending = world.attempt("main", Plan())

        assert ending.value["id"] == "task0001"

    def test_finished_task_of_a_running_attempt_whose_records_a_clear_drops_may_be_history(
        self, begin: Begin
    ) -> None:
        """Nothing is left that says whether its result was handed over."""
        world = begin(service="v1", version="3.4", retries=3)
        world.edit("main", "retries", 0)

        world.attempt("main", Plan(act="clear", at="before a pause", fate=Fate(0.0)))
        world.attempt("main", Plan())

    def test_task_that_was_rightly_replaced_blocks_no_later_attempt(self, begin: Begin) -> None:
        """A trigger may have stopped the first; that is forgotten once the second is recorded."""
        world = begin(service="v2", defers=True)
        world.attempt("main", dies("before a deferral"))
        world.pass_time(300.0)
        for _ in range(2):
            world.clear("main")
            world.attempt("main", Plan(fate=Fate(1e7)))

    def test_clear_of_another_task_of_the_run_is_no_clear_of_this_one(self, begin: Begin) -> None:
        world = begin(service="v2")
        world.attempt("sibling", Plan())
        world.attempt("main", dies("after execute() has returned"))

        world.clear("sibling")
        ending = world.attempt("main", Plan())

        assert ending.value["id"] == "task0002"


class TestExecutionTimeout:
    @pytest.mark.parametrize("service", ["v1", "v2"])
    @pytest.mark.parametrize("how", ["submits", "waits", "defers"])
    @pytest.mark.parametrize("fate", [Fate(0.0), Fate(900.0)], ids=["finished", "at work"])
    @pytest.mark.parametrize("at", range(26))
    def test_attempt_that_timed_out_at_any_point_pays_once_after_a_clear(
        self, begin: Begin, at: int, fate: Fate, how: str, service: str
    ) -> None:
        world = begin(service=service, waits=how != "submits", defers=how == "defers", retries=0)
        world.attempt("main", Plan(act="execution timeout", at=at, fate=fate))

        world.pass_time(1000.0)
        world.clear("main")
        world.attempt("main", Plan())


class TestEndedAttempt:
    """What is noted in the moment in which an attempt is ended."""

    @pytest.mark.parametrize("act", ["mark success", "mark failed", "crash"])
    @pytest.mark.parametrize("how", ["submits", "waits", "defers"])
    @pytest.mark.parametrize("at", range(18))
    def test_attempt_that_was_ended_at_any_point_pays_once_after_a_clear(
        self, begin: Begin, at: int, how: str, act: Any
    ) -> None:
        world = begin(service="v2", waits=how != "submits", defers=how == "defers", retries=0)
        world.attempt("main", Plan(act=act, at=at, fate=Fate(200.0, unknown_for=60.0)))

        world.pass_time(1000.0)
        world.clear("main")
        world.attempt("main", Plan())

    @pytest.mark.parametrize("read_at", range(5))
    def test_task_is_gone_only_if_a_late_question_says_so(self, begin: Begin, read_at: int) -> None:
        """A question may take so long that its answer is old when it comes."""
        world = begin(service="auto", hides=True, in_loops=True)
        lost = Fault("lost", "none", 100.0)
        unseen = Fate(200.0, hidden_for=80.0)
        world.attempt(
            "main", Plan(act="mark failed", at="before the XCom", read=lost, read_at=1, fate=unseen)
        )

        world.clear("main")
        world.attempt("main", Plan(read=_LONG_LOST, read_at=read_at))

    def test_kill_whose_stop_is_lost_notes_no_delivery(self, begin: Begin) -> None:
        world = begin(service="v2", waits=False)
        fate = Fate(200.0, unknown_for=60.0)
        world.attempt("main", Plan(act="mark success", at="before a record", read=_LONG_LOST, fate=fate))

        world.pass_time(1000.0)
        world.clear("main")
        world.attempt("main", Plan())


class TestWithoutRecords:
    def test_retry_after_a_clear_does_not_take_a_task_without_a_tag_for_history(self, begin: Begin) -> None:
        """The result of the cleared attempt could not be written, and the attempt after it sent nothing."""
        world = begin(service="v1", version="3.2", writes=True)
        world.attempt("main", Plan(fate=Fate(0.0)))
        world.pass_time(100.0)
        world.clear("main")
        world.attempt("main", Plan(act="disk breaks", at="before GET", fate=Fate(0.0)))
        world.attempt("main", Plan())
        world.mend()

        world.attempt("main", Plan())

    @pytest.mark.parametrize("service", ["v1", "v2"])
    def test_retry_searches_until_the_task_of_the_attempt_before_is_listed(
        self, begin: Begin, service: str
    ) -> None:
        world = begin(service=service, version="3.2")
        world.attempt("main", dies("after POST", _UNLISTED))

        world.attempt("main", Plan())

        assert len(world.books) == 1


class TestAgentWithAList:
    @pytest.mark.parametrize("status", [404, 500])
    @pytest.mark.parametrize("service", ["a2a-rest", "a2a-rpc"])
    def test_list_that_fails_once_still_finds_a_lost_task(
        self, begin: Begin, service: str, status: int
    ) -> None:
        world = begin(service=service, version="3.2", retries=0)
        trouble = Fault("status", status=status)

        ending = world.attempt("main", Plan(paid=_LOST, read=trouble, read_at=1, fate=Fate(200.0)))

        assert ending.value["id"] == "task0001"
