"""How Manus tasks are polled through API v2: few calls for many, and events only for finished tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from remote_tasks_provider.core.states import TaskSnapshot
from remote_tasks_sandbox import Sandbox
from tests.manus.account import FOREVER, add, many
from tests.poll_driver import PollDriver

DETAIL, LIST, EVENTS = "task.detail", "task.list", "task.listMessages"


@pytest.fixture
def driver(make_driver: Callable[..., PollDriver]) -> PollDriver:
    return make_driver(api_version="v2")


def asked(driver: PollDriver) -> list[str]:
    """The operations of the last poll's calls."""
    return [record.path.rpartition("/v2/")[2] for record in driver.calls]


def asked_for(driver: PollDriver, operation: str) -> set[str]:
    """The tasks that the last poll fetched by themselves."""
    return {dict(record.query)["task_id"] for record in driver.calls if record.path.endswith(operation)}


def end(sandbox: Sandbox, task_ids: Iterable[str], status: str = "stopped") -> None:
    for task_id in task_ids:
        sandbox.manus.set_status(task_id, status)


def found(driver: PollDriver, task_id: str, *others: str) -> TaskSnapshot:
    result = driver([task_id, *others])[task_id]
    assert isinstance(result, TaskSnapshot)
    return result


class TestSingleTask:
    def test_poll_of_a_running_task_is_one_call(self, driver: PollDriver, sandbox: Sandbox) -> None:
        add(sandbox, "a", "another")

        for status in ("running", "waiting"):
            sandbox.manus.set_status("a", status)
            assert driver.words(["a"]) == {"a": status}
            assert asked(driver) == [DETAIL]

    def test_finished_task_costs_its_events_too(self, driver: PollDriver, sandbox: Sandbox) -> None:
        add(sandbox, "a")
        end(sandbox, ["a"])

        assert driver.words(["a"]) == {"a": "completed"}
        assert asked(driver) == [DETAIL, EVENTS]

    def test_unknown_task_is_not_found(self, driver: PollDriver) -> None:
        assert driver.words(["missing"]) == {"missing": "NotFoundError"}
        assert asked(driver) == [DETAIL]


class TestManyTasks:
    def test_poll_of_running_tasks_is_one_listing(self, driver: PollDriver, sandbox: Sandbox) -> None:
        ids = many(sandbox, 50)
        sandbox.manus.set_status("t7", "waiting")

        for _ in range(12):
            assert driver.words(ids) == dict.fromkeys(ids, "running") | {"t7": "waiting"}
            assert asked(driver) == [LIST]
            asked_with = dict(driver.calls[0].query)
            assert asked_with["order"] == "desc"
            assert asked_with["limit"] == "100"

    def test_page_size_is_at_most_a_hundred(self, driver: PollDriver, sandbox: Sandbox) -> None:
        ids = many(sandbox, 250)

        assert driver.words(ids) == dict.fromkeys(ids, "running")
        assert asked(driver) == [LIST] * 3
        assert {dict(record.query)["limit"] for record in driver.calls} == {"100"}

    def test_thousand_waits_cost_ten_calls(self, driver: PollDriver, sandbox: Sandbox) -> None:
        ids = many(sandbox, 1000)

        for _ in range(2):
            assert driver.words(ids) == dict.fromkeys(ids, "running")
            assert asked(driver) == [LIST] * 10

    def test_paging_ends_once_all_tasks_were_seen(self, driver: PollDriver, sandbox: Sandbox) -> None:
        many(sandbox, 500, "old", created_ago=9000)
        ids = many(sandbox, 30)
        driver(ids)

        assert asked(driver) == [LIST]

    def test_newer_foreign_tasks_are_paged_over(self, driver: PollDriver, sandbox: Sandbox) -> None:
        ids = many(sandbox, 30, created_ago=500)
        many(sandbox, 250, "other")

        assert driver.words(ids) == dict.fromkeys(ids, "running")
        assert asked(driver) == [LIST] * 3

    def test_missing_task_is_not_paged_for_beyond_the_oldest(
        self, driver: PollDriver, sandbox: Sandbox
    ) -> None:
        many(sandbox, 900, "old", created_ago=9000)
        ids = many(sandbox, 30)
        driver(ids)
        sandbox.manus.delete_task("t3")
        sandbox.manus.delete_task("t4")

        assert driver.words(ids)["t3"] == "NotFoundError"
        assert asked(driver).count(LIST) <= 3
        assert asked_for(driver, DETAIL) == {"t3", "t4"}

    def test_paging_is_limited(self, driver: PollDriver, sandbox: Sandbox) -> None:
        ids = [f"gone{number}" for number in range(30)]
        many(sandbox, 4500, "other")
        driver(ids)

        assert asked(driver).count(LIST) == 30


class TestFinishedTasks:
    def test_events_are_fetched_only_for_finished_tasks(self, driver: PollDriver, sandbox: Sandbox) -> None:
        ids = many(sandbox, 20)
        end(sandbox, ["t3", "t4"])

        assert driver.words(ids) == dict.fromkeys(ids, "running") | dict.fromkeys(["t3", "t4"], "completed")
        assert asked(driver) == [LIST, EVENTS, EVENTS]
        assert asked_for(driver, EVENTS) == {"t3", "t4"}

    def test_events_are_fetched_once(self, driver: PollDriver, sandbox: Sandbox) -> None:
        ids = many(sandbox, 20)
        end(sandbox, ["t3"])
        driver(ids)
        left = [task_id for task_id in ids if task_id != "t3"]
        end(sandbox, ["t4"])
        driver(left)

        assert asked_for(driver, EVENTS) == {"t4"}

    def test_excess_finished_tasks_are_left_to_the_next_poll(
        self, driver: PollDriver, sandbox: Sandbox
    ) -> None:
        ids = many(sandbox, 100)
        end(sandbox, ids)
        left, counts = list(ids), []
        while left:
            told = driver.words(left)
            assert set(told.values()) == {"completed"}
            assert asked(driver).count(EVENTS) == len(told)
            counts.append(len(told))
            left = [task_id for task_id in left if task_id not in told]

        assert counts == [32, 32, 32, 4]

    def test_running_tasks_are_reported_beside_many_finished_tasks(
        self, driver: PollDriver, sandbox: Sandbox
    ) -> None:
        ids = many(sandbox, 90)
        end(sandbox, ids[:60])

        assert list(driver.words(ids).values()).count("running") == 30

    def test_task_stopped_by_a_user_is_cancelled(self, driver: PollDriver, sandbox: Sandbox) -> None:
        ids = many(sandbox, 5)
        sandbox.manus.stop_as_user("t2")

        assert driver.words(ids) == dict.fromkeys(ids, "running") | {"t2": "cancelled"}
        assert driver.words(["t2"]) == {"t2": "cancelled"}

    def test_task_resumed_after_a_stop_is_judged_by_its_last_turn(
        self, driver: PollDriver, sandbox: Sandbox
    ) -> None:
        add(sandbox, "a", "b")
        sandbox.manus.stop_as_user("a")
        sandbox.clock.advance(1)
        sandbox.manus.set_status("a", "running")
        sandbox.clock.advance(1)
        end(sandbox, ["a"])

        assert driver.words(["a", "b"])["a"] == "completed"

    def test_failed_task_has_the_text_of_its_event(self, driver: PollDriver, sandbox: Sandbox) -> None:
        add(sandbox, "a", "b", error="no\ncredits " + "x" * 2000)
        end(sandbox, ["a"], "error")

        assert (found(driver, "a").state, found(driver, "a", "b").state) == ("failed", "failed")
        for result in (found(driver, "a"), found(driver, "a", "b")):
            assert result.error is not None
            assert result.error.startswith("no credits xxx")
            assert len(result.error) == 1000

    def test_background_jobs_keep_the_task_running(self, driver: PollDriver, sandbox: Sandbox) -> None:
        sandbox.manus.add_task("a", ["stopped"], background_jobs=60.0)
        add(sandbox, "b")

        assert driver.words(["a", "b"])["a"] == "running"
        assert asked(driver) == [LIST]
        sandbox.clock.advance(61)
        assert driver.words(["a", "b"])["a"] == "completed"
        assert asked(driver) == [LIST, EVENTS]

    def test_failed_events_are_fetched_again(self, driver: PollDriver, sandbox: Sandbox) -> None:
        ids = many(sandbox, 5)
        end(sandbox, ["t1", "t2"])
        sandbox.faults.add("status", path=f"*/{EVENTS}", task_id="t2", status=500, times=1)

        told = driver.words(ids)
        assert (told["t1"], told["t2"], told["t3"]) == ("completed", "ServerError", "running")
        assert driver.words(["t2", "t3"])["t2"] == "completed"

    def test_events_are_fetched_newest_first(self, driver: PollDriver, sandbox: Sandbox) -> None:
        progress = [f"Step {number}" for number in range(300)]
        sandbox.manus.add_task("a", FOREVER, progress=progress)
        sandbox.clock.advance(1)
        sandbox.manus.stop_as_user("a")

        assert driver.words(["a"]) == {"a": "cancelled"}
        assert asked(driver) == [DETAIL, EVENTS]
        assert ("order", "desc") in driver.calls[-1].query

    def test_finished_task_that_is_not_due_is_reported(self, driver: PollDriver, sandbox: Sandbox) -> None:
        ids = many(sandbox, 5)
        end(sandbox, ["t4"])

        assert driver.words(["t0"], ids[1:])["t4"] == "completed"


class TestWithoutDetail:
    """Waits of operators, which read the messages on a worker."""

    def test_thousand_finished_tasks_cost_no_call_for_their_events(
        self, driver: PollDriver, sandbox: Sandbox
    ) -> None:
        ids = many(sandbox, 1000)
        end(sandbox, ids)

        assert driver.words(ids, in_detail=()) == dict.fromkeys(ids, "completed")
        assert asked(driver) == [LIST] * 10

    def test_known_results_are_told_before_anything_else_is_read(
        self, driver: PollDriver, sandbox: Sandbox
    ) -> None:
        ids = many(sandbox, 20)
        end(sandbox, ids[:10])

        driver(ids, in_detail=ids[:5])
        first, *later = driver.deliveries
        assert set(first) == set(ids[5:])
        assert set().union(*later) == set(ids[:5])

    def test_events_of_one_sensor_are_read_beside_operators(
        self, driver: PollDriver, sandbox: Sandbox
    ) -> None:
        ids = many(sandbox, 5)
        sandbox.manus.stop_as_user("t1")
        sandbox.manus.stop_as_user("t2")

        told = driver.words(ids, in_detail=["t2"])
        assert (told["t1"], told["t2"]) == ("completed", "cancelled")
        assert asked_for(driver, EVENTS) == {"t2"}


class TestUnlisted:
    def test_omitted_task_is_fetched_by_itself(self, driver: PollDriver, sandbox: Sandbox) -> None:
        ids = many(sandbox, 5)
        sandbox.faults.add("omit", task_id="t2")

        assert driver.words(ids) == dict.fromkeys(ids, "running")
        assert asked(driver) == [LIST, DETAIL]
        end(sandbox, ["t2"])
        assert driver.words(ids)["t2"] == "completed"
        assert asked(driver) == [LIST, DETAIL, EVENTS]

    def test_omitted_tasks_take_turns(self, driver: PollDriver, sandbox: Sandbox) -> None:
        ids = many(sandbox, 60)
        sandbox.faults.add("omit")
        seen: list[str] = []
        for driver.now in range(0, 180, 60):
            told = driver.words(ids)
            assert len(told) == 40
            seen += told

        assert set(seen[:80]) == set(ids)
        assert {seen.count(task_id) for task_id in ids} <= {1, 2, 3}

    def test_fresh_hidden_task_is_found_later(self, driver: PollDriver, sandbox: Sandbox) -> None:
        ids = [*many(sandbox, 3), *add(sandbox, "fresh", hidden_for=10.0)]

        assert driver.words(ids)["fresh"] == "NotFoundError"
        sandbox.clock.advance(11)
        assert driver.words(ids)["fresh"] == "running"


class TestErrors:
    def test_failed_listing_falls_back_to_single_fetches(self, driver: PollDriver, sandbox: Sandbox) -> None:
        ids = many(sandbox, 5)
        sandbox.faults.add("status", path=f"*/{LIST}", status=500)

        assert driver.words(ids) == dict.fromkeys(ids, "running")
        assert asked_for(driver, DETAIL) == set(ids)

    def test_circular_listing_ends(self, driver: PollDriver, sandbox: Sandbox) -> None:
        ids = [*many(sandbox, 5), "gone1", "gone2"]
        sandbox.faults.add("repeat_cursor")

        assert driver.words(ids)["t0"] == "running"
        assert asked(driver).count(LIST) <= 3

    @pytest.mark.parametrize(("status", "name"), [(401, "AuthenticationError"), (429, "RateLimitedError")])
    def test_error_for_all_tasks_costs_one_call(
        self, driver: PollDriver, sandbox: Sandbox, status: int, name: str
    ) -> None:
        ids = many(sandbox, 5)
        sandbox.faults.add("status", status=status)

        assert driver.words(ids) == dict.fromkeys(ids, name)
        assert asked(driver) == [LIST]

    @pytest.mark.parametrize("settings", [{"manus_v2_as_proto3": True}, {}], ids=str)
    def test_numbers_as_strings_are_read(
        self, driver: PollDriver, sandbox: Sandbox, settings: dict[str, Any]
    ) -> None:
        sandbox.settings.update(settings)
        ids = many(sandbox, 150, credit_usage=7)
        end(sandbox, ["t3"])

        assert driver.words(ids) == dict.fromkeys(ids, "running") | {"t3": "completed"}
        assert found(driver, "t3").credit_usage == 7
