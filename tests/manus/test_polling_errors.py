"""Poll plans for Manus tasks when the listing fails, is odd or wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from remote_tasks_provider.core.http.operation import Page
from remote_tasks_provider.core.polling.drivers import results_of
from remote_tasks_provider.core.polling.strategy import PollRequest
from remote_tasks_provider.core.polling.tracker import PollTracker
from remote_tasks_provider.manus.api.filters import TaskFilter
from remote_tasks_provider.manus.models import ManusTaskSummary
from remote_tasks_provider.manus.polling import V1, ManusPollStrategy
from remote_tasks_sandbox import Sandbox
from tests.core.build import START, a_policy, an_api_error
from tests.manus.account import FOREVER, LIST, add, is_full_listing, many, query
from tests.poll_driver import PollDriver, word


class TestFailedListing:
    @pytest.mark.parametrize(
        "fault",
        [
            {"kind": "status", "status": 500},
            {"kind": "status", "status": 403},
            {"kind": "garbage", "form": "html"},
            {"kind": "garbage", "form": "truncated"},
            {"kind": "garbage", "form": "list"},
            {"kind": "drop_before"},
            {"kind": "hang"},
        ],
        ids=str,
    )
    def test_failed_listing_falls_back_to_single_fetches(
        self, make_driver: Callable[..., PollDriver], sandbox: Sandbox, fault: dict[str, Any]
    ) -> None:
        driver = make_driver(read_timeout=0.2)
        ids = many(sandbox, 50)
        driver(ids)
        bad = sandbox.faults.add(**fault, path=LIST)

        assert set(driver.words(ids).values()) == {"running"}
        assert len(driver.asked) == 41
        assert set(driver.words(ids)) >= set(ids[40:])
        sandbox.faults.remove(bad)
        sandbox.manus.set_status("t49", "completed")
        assert driver.words(ids)["t49"] == "completed"
        assert driver.asked == ["tasks"]

    def test_failed_listing_alone_fails_no_wait(self, driver: PollDriver, sandbox: Sandbox) -> None:
        ids = many(sandbox, 50)
        sandbox.faults.add("status", path=LIST, status=500)
        wait = PollTracker(ids, a_policy(outage_tolerance=1))
        for _ in range(5):
            wait.update(driver(wait.unfinished_ids), START)

        assert not wait.take_warnings()
        assert len(wait.unfinished_ids) == 50

    def test_failed_full_listing_is_repeated_by_the_next_poll(
        self, driver: PollDriver, sandbox: Sandbox
    ) -> None:
        ids = many(sandbox, 10)
        sandbox.faults.add("status", path=LIST, status=500, times=1)
        driver(ids)

        assert driver.words(ids) == dict.fromkeys(ids, "running")
        assert driver.asked == ["tasks"]
        assert is_full_listing(driver)
        driver(ids)
        assert not is_full_listing(driver)

    def test_failed_later_listing_is_repeated_by_the_next_poll(
        self, driver: PollDriver, sandbox: Sandbox
    ) -> None:
        ids = many(sandbox, 10)
        driver(ids)
        driver.now += 601
        sandbox.faults.add("status", path=LIST, status=500, times=1)
        driver(ids)
        assert len(driver.asked) == 11

        for counts in (True, False):
            driver(ids)
            assert any("status" not in dict(record.query) for record in driver.calls) is counts

    def test_changes_before_a_failed_page_are_read_again(self, driver: PollDriver, sandbox: Sandbox) -> None:
        ids = many(sandbox, 200)
        driver(ids)
        sandbox.clock.advance(1000)
        for task_id in ids[:100]:
            sandbox.manus.set_status(task_id, "completed")
        sandbox.clock.advance(1000)
        for task_id in ids[100:150]:
            sandbox.manus.set_status(task_id, "completed")
        sandbox.faults.add("status", path=LIST, status=500, after=1, times=1)
        found = driver.words(ids)
        assert len(found) > 40
        found |= {task_id: state for task_id, state in driver.words(ids).items() if state != "unchanged"}

        assert {found[task_id] for task_id in ids[:150]} == {"completed"}
        assert not is_full_listing(driver)

    @pytest.mark.parametrize(("status", "kind"), [(401, "AuthenticationError"), (429, "RateLimitedError")])
    def test_error_for_all_tasks_costs_one_call(
        self, driver: PollDriver, sandbox: Sandbox, status: int, kind: str
    ) -> None:
        ids = many(sandbox, 50)
        sandbox.faults.add("status", status=status)

        assert driver.words(ids[:30], ids[30:]) == dict.fromkeys(ids[:30], kind)
        assert driver.asked == ["tasks"]

    def test_wrong_key_costs_one_call(self, make_driver: Callable[..., PollDriver], sandbox: Sandbox) -> None:
        ids = many(sandbox, 50)
        driver = make_driver(key="wrong")

        assert driver.words(ids) == dict.fromkeys(ids, "AuthenticationError")
        assert len(driver.calls) == 1

    def test_circular_listing_ends(self, driver: PollDriver, sandbox: Sandbox) -> None:
        ids = many(sandbox, 5)
        driver(ids)
        sandbox.faults.add("repeat_cursor")
        for _ in range(11):
            driver(ids)
            assert len(driver.calls) <= 30


class TestUpdateTimes:
    def test_change_within_the_second_of_the_last_poll_is_seen(
        self, driver: PollDriver, sandbox: Sandbox
    ) -> None:
        ids = many(sandbox, 5)
        driver(ids)
        driver(ids)
        sandbox.manus.set_status("t1", "completed")

        assert driver.words(ids)["t1"] == "completed"

    def test_change_long_after_the_last_poll_is_seen(self, driver: PollDriver, sandbox: Sandbox) -> None:
        ids = many(sandbox, 5)
        driver(ids)
        sandbox.clock.advance(5000)
        sandbox.manus.set_status("t1", "completed")
        sandbox.clock.advance(5000)

        assert driver.words(ids)["t1"] == "completed"

    @pytest.mark.parametrize("moment", [1000, 0, None])
    def test_change_without_a_new_time_is_seen_by_a_full_listing_and_then_at_once(
        self, moment: int | None, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level("INFO")
        account, strategy = _Account("a", "b", "c", "stale", "stale2"), ManusPollStrategy(V1)
        # So many that the page of changes does not reach back to a time that stood still.
        for _ in range(60):
            account.finish_a_foreign_task()
        account.plan(strategy)
        for _ in range(7):
            account.finish_a_foreign_task()
            account.plan(strategy)
        account.set("stale", "completed", moment)
        found = []
        while "completed" not in found and len(found) < 12:
            found.append(account.plan(strategy)["stale"])
            account.finish_a_foreign_task()
        assert 1 < len(found) <= 10

        account.set("stale", "gone", None)
        for _ in range(15):
            account.finish_a_foreign_task()
            account.plan(strategy)
            assert account.calls == ["full"]
        account.set("stale2", "completed", moment)
        assert account.plan(strategy)["stale2"] == "completed"
        assert len([line for line in caplog.messages if "does not list the latest" in line]) == 1

    def test_changes_with_new_times_cost_no_extra_listing(self) -> None:
        ids = [f"t{number}" for number in range(40)]
        account, strategy = _Account(*ids), ManusPollStrategy(V1)
        full_listings = 0
        for task_id in ids[:-2]:
            account.plan(strategy)
            full_listings += account.calls == ["full"]
            account.finish_a_foreign_task()
            account.set(task_id, "completed", account.now)
            assert account.plan(strategy)[task_id] == "completed"
            full_listings += account.calls == ["full"]
            account.set(task_id, "gone", None)

        assert full_listings == 1 + 2 * len(ids[:-2]) // 10

    def test_task_finished_before_it_joined_costs_no_extra_listing(
        self, driver: PollDriver, sandbox: Sandbox
    ) -> None:
        ids = many(sandbox, 5)
        add(sandbox, "done")
        sandbox.manus.set_status("done", "completed")
        driver(ids)
        sandbox.clock.advance(5000)
        sandbox.manus.set_status("t4", "completed")
        driver(ids[:4])
        driver(ids[:4])

        assert driver.words([*ids[:4], "done"])["done"] == "completed"
        driver(ids[:4])
        assert not is_full_listing(driver)

    def test_tasks_without_times_are_fully_listed_by_each_poll(
        self, driver: PollDriver, sandbox: Sandbox
    ) -> None:
        ids = many(sandbox, 5, extra={"updated_at": None})
        for _ in range(4):
            driver(ids)
            assert driver.asked == ["tasks"]
            assert is_full_listing(driver)
        sandbox.manus.set_status("t1", "completed")
        assert driver.words(ids)["t1"] == "completed"

    def test_time_far_in_the_future_hides_no_change_from_a_full_listing(
        self, driver: PollDriver, sandbox: Sandbox
    ) -> None:
        ids = many(sandbox, 60)
        add(sandbox, "odd", extra={"updated_at": "4000000000"})
        sandbox.manus.set_status("odd", "completed")
        driver(ids)
        for task_id in ids:
            sandbox.manus.set_status(task_id, "completed")
        found: dict[str, str] = {}
        for driver.now in range(60, 661, 60):
            found |= {one: state for one, state in driver.words(ids).items() if state != "unchanged"}

        assert found == dict.fromkeys(ids, "completed")

    def test_time_far_in_the_future_delays_no_change(self, driver: PollDriver, sandbox: Sandbox) -> None:
        ids = many(sandbox, 300)
        add(sandbox, "odd", extra={"updated_at": "4000000000"})
        sandbox.manus.set_status("odd", "completed")
        driver(ids)
        for task_id in ids[:100]:
            sandbox.manus.set_status(task_id, "completed")

        found = driver.words(ids)
        assert {found[one] for one in ids[:100]} == {"completed"}
        assert not is_full_listing(driver)

    def test_refused_changes_are_replaced_by_full_listings(
        self, driver: PollDriver, sandbox: Sandbox
    ) -> None:
        ids = many(sandbox, 300)
        driver(ids)
        for task_id in ids:
            sandbox.manus.set_status(task_id, "completed")
        sandbox.faults.add("status", path=LIST, status=400, times=1)
        driver(ids)

        assert driver.words(ids) == dict.fromkeys(ids, "completed")
        assert is_full_listing(driver)

    def test_task_of_the_first_second_spoils_no_filter(self, driver: PollDriver, sandbox: Sandbox) -> None:
        ids = many(sandbox, 5)
        sandbox.manus.add_task("zero", script=FOREVER, created_at=0)
        driver([*ids, "zero"])
        driver.now += 601

        assert set(driver.words([*ids, "zero"]).values()) == {"running"}
        assert query(driver)["createdAfter"] == "0"


class _Account:
    """An account whose tasks' times of change are what a test says, and not when they changed."""

    def __init__(self, *ids: str) -> None:
        self.now = 1000
        self.tasks: dict[str, tuple[str, int | None]] = dict.fromkeys(ids, ("running", 1000))
        self.others: dict[str, tuple[str, int | None]] = {}
        self.calls: list[str] = []
        self.polled_at = 0.0

    def set(self, task_id: str, status: str, updated_at: int | None) -> None:
        if status == "gone":
            del self.tasks[task_id]
        else:
            self.tasks[task_id] = (status, updated_at)

    def finish_a_foreign_task(self) -> None:
        self.now += 300
        self.others[f"other{self.now}"] = ("completed", self.now)

    def plan(self, strategy: ManusPollStrategy) -> dict[str, str]:
        """Poll a minute later."""
        self.calls = []
        self.polled_at += 60
        plan = strategy.plan(PollRequest(list(self.tasks), now=self.polled_at))
        return {task_id: word(result) for task_id, result in results_of(plan, self._answer).items()}

    def _answer(self, operation: Any) -> Page[Any]:
        asked = dict(operation.request.query)
        self.calls.append("incremental" if "status" in asked else "full")
        every = [
            ManusTaskSummary.model_validate(
                {"id": task_id, "status": status, "created_at": 1000, "updated_at": moment}
            )
            for task_id, (status, moment) in {**self.tasks, **self.others}.items()
            if "status" not in asked or status != "running"
        ]
        every.sort(key=lambda task: task.updated_at.timestamp() if task.updated_at else 0, reverse=True)
        size = int(asked["limit"]) if "status" in asked else len(every)
        found = every[:size]
        return Page(found, "more" if len(every) > size else None, None, size=10_000 * len(found))


class TestTrouble:
    def test_unchanged_result_is_a_good_answer(self, driver: PollDriver, sandbox: Sandbox) -> None:
        ids = many(sandbox, 3)
        wait = PollTracker(ids, a_policy(outage_tolerance=50))
        for at in range(0, 240, 60):
            wait.update(driver(ids), START + at)
            bad = sandbox.faults.add("status", status=500)
            wait.update(driver(ids), START + at + 20)
            wait.update(driver(ids), START + at + 40)
            sandbox.faults.remove(bad)

        assert wait.unfinished_ids == ids


class TestInterruptedListing:
    """What was read is kept, and the next poll reads on where the last one was stopped."""

    @pytest.fixture(params=["v1", "v2"])
    def paths(self, request: pytest.FixtureRequest) -> tuple[str, str]:
        return str(request.param), LIST if request.param == "v1" else "*/task.list"

    @pytest.mark.parametrize("status", [429, 500])
    def test_interrupted_listing_resumes_at_its_page(
        self,
        make_driver: Callable[..., PollDriver],
        sandbox: Sandbox,
        paths: tuple[str, str],
        status: int,
    ) -> None:
        version, path = paths
        driver = make_driver(api_version=version)
        ids = many(sandbox, 250)
        sandbox.faults.add("status", path=path, status=status, after=1, times=1)

        first = driver.words(ids)
        listed = [task_id for task_id, state in first.items() if state == "running"]
        assert len(listed) >= 50
        refused = dict(driver.calls[1].query)
        left = [task_id for task_id in ids if task_id not in listed]
        second = driver.words(left, listed)

        assert set(left) <= {task_id for task_id, state in second.items() if state == "running"}
        assert refused in [dict(record.query) for record in driver.calls[:2]]

    @pytest.mark.parametrize("seconds", [30, 200], ids="every {} s".format)
    def test_account_that_lets_two_calls_through_a_poll_shows_every_finished_task(
        self, make_driver: Callable[..., PollDriver], sandbox: Sandbox, seconds: int
    ) -> None:
        """Other triggerers use up the limit: each poll's third call is refused."""
        driver = make_driver(api_version="v2")
        ids = many(sandbox, 600)
        for task_id in ids[::15]:
            sandbox.manus.set_status(task_id, "stopped")
        noticed: set[str] = set()
        for driver.now in range(0, 10 * seconds, seconds):
            sandbox.faults.clear()
            sandbox.faults.add("status", status=429, after=2)
            left = [task_id for task_id in ids if task_id not in noticed]
            found = driver.words(left, in_detail=[])
            noticed.update(task_id for task_id, state in found.items() if state == "completed")

        assert noticed == set(ids[::15])

    def test_listing_is_finished_however_rarely_the_tasks_are_polled(
        self, make_driver: Callable[..., PollDriver], sandbox: Sandbox
    ) -> None:
        """Begun anew by each poll, it never came to the 700 oldest tasks."""
        driver = make_driver(api_version="v2")
        ids = many(sandbox, 1000)
        seen: set[str] = set()
        for driver.now in range(0, 4 * 3600, 3600):
            sandbox.faults.clear()
            sandbox.faults.add("status", status=429, after=3)
            seen.update(one for one, state in driver.words(ids).items() if state == "running")

        assert seen == set(ids)

    def test_listing_that_gets_on_no_more_is_begun_anew(
        self, make_driver: Callable[..., PollDriver], sandbox: Sandbox
    ) -> None:
        driver = make_driver(api_version="v2")
        ids = many(sandbox, 300)
        sandbox.faults.add("status", path="*/task.list", status=500, after=1)
        cursors: list[Any] = []
        for driver.now in range(0, 480, 120):
            driver(ids)
            cursors.append(query(driver).get("cursor"))

        assert [cursor is None for cursor in cursors] == [True, False, False, True]

    @pytest.mark.parametrize("version", ["v1", "v2"])
    def test_refused_cursor_is_not_sent_again(
        self, make_driver: Callable[..., PollDriver], sandbox: Sandbox, version: str
    ) -> None:
        """The task at the cursor was deleted meanwhile."""
        driver = make_driver(api_version=version)
        path = LIST if version == "v1" else "*/task.list"
        ids = many(sandbox, 300)
        sandbox.faults.add("status", path=path, status=500, after=1, times=1)
        driver(ids)
        refused = driver.strategy._interrupted._operation.request
        sandbox.faults.add("status", path=path, status=400, after=int(version == "v1"), times=1)
        driver(ids)
        assert dict(refused.query) == query(driver, int(version == "v1"))

        assert driver.words(ids) == dict.fromkeys(ids, "running")
        assert is_full_listing(driver) or version == "v2"
        assert "cursor" not in query(driver)

    @pytest.mark.parametrize("version", ["v1", "v2"])
    def test_task_that_joins_an_interrupted_listing_is_polled_by_the_same_poll(
        self, make_driver: Callable[..., PollDriver], sandbox: Sandbox, version: str
    ) -> None:
        driver = make_driver(api_version=version)
        late = many(sandbox, 30, "late")
        for task_id in late:
            sandbox.manus.set_status(task_id, "completed")
        sandbox.clock.advance(1000)
        ids = many(sandbox, 300)
        path = LIST if version == "v1" else "*/task.list"
        sandbox.faults.add("status", path=path, status=500, after=1, times=1)
        driver(ids)

        found = driver.words([*ids, *late], in_detail=[])
        assert {found[one] for one in late} == {"completed"}


class TestPages:
    """What the sandbox would not answer, with pages made by hand."""

    def _task(self, task_id: str, status: str = "running", updated_at: int | None = 1000) -> Any:
        return ManusTaskSummary.model_validate(
            {"id": task_id, "status": status, "created_at": 1000, "updated_at": updated_at}
        )

    def _answer(self, strategy: ManusPollStrategy, *pages: Any) -> tuple[dict[str, str], list[Any]]:
        """Answer a poll's calls with pages, the last one again and again."""
        left, calls = list(pages), []

        def send(operation: Any) -> Any:
            calls.append(operation)
            assert len(calls) < 50
            return left.pop(0) if len(left) > 1 else left[0]

        results = results_of(strategy.plan(PollRequest(["a", "b", "c"])), send)
        return {task_id: word(result) for task_id, result in results.items()}, calls

    def _page(self, *tasks: Any, more: bool = False) -> Page[Any]:
        following = V1.list_tasks(TaskFilter()) if more else None
        return Page(tasks, tasks[-1].id if more else None, following)

    def test_too_many_changes_cause_a_full_listing(self) -> None:
        strategy = ManusPollStrategy(V1)
        running = [self._task(task_id) for task_id in "abc"]
        self._answer(strategy, self._page(*running))
        flood = self._page(self._task("x", "completed", 5000), more=True)

        found, calls = self._answer(strategy, flood)
        assert (set(found.values()), len(calls)) == (set(), 10)
        found, calls = self._answer(strategy, self._page(*running[:2], self._task("c", "completed", 1001)))
        assert (found["c"], len(calls)) == ("completed", 1)
        assert "status" not in dict(calls[0].request.query)

    @pytest.mark.parametrize(("newest", "oldest", "pages"), [(5000, 1100, 1), (5000, 4900, 2)])
    def test_changes_are_read_to_somewhat_before_the_newest_known(
        self, newest: int, oldest: int, pages: int
    ) -> None:
        strategy = ManusPollStrategy(V1)
        self._answer(strategy, self._page(*[self._task(task_id, updated_at=newest) for task_id in "abc"]))
        page = self._page(self._task("x", "completed", 6000), self._task("y", "failed", oldest), more=True)

        found, calls = self._answer(strategy, page, self._page(self._task("b", "failed", 4890)))
        assert len(calls) == pages
        assert found["b"] == ("failed" if pages == 2 else "unchanged")

    def test_empty_incremental_page_means_unchanged(self) -> None:
        strategy = ManusPollStrategy(V1)
        self._answer(strategy, self._page(*[self._task(task_id) for task_id in "abc"]))

        assert self._answer(strategy, self._page())[0] == dict.fromkeys("abc", "unchanged")

    def test_change_without_a_time_does_not_end_the_listing(self) -> None:
        strategy = ManusPollStrategy(V1)
        self._answer(strategy, self._page(*[self._task(task_id) for task_id in "abc"]))
        odd = self._page(self._task("x", "completed", None), more=True)

        found, calls = self._answer(strategy, odd, self._page(self._task("b", "failed")))
        assert (found["b"], len(calls)) == ("failed", 2)

    def test_full_listing_with_a_refused_second_page_is_repeated(self) -> None:
        strategy = ManusPollStrategy(V1)
        first = self._page(self._task("a", updated_at=9000), more=True)
        found, calls = self._answer(strategy, first, an_api_error())
        assert len(calls) == 2 + 2
        assert found == {"a": "running", "b": "InvalidRequestError", "c": "InvalidRequestError"}

        _, calls = self._answer(strategy, self._page(*[self._task(task_id) for task_id in "abc"]))
        assert "status" not in dict(calls[0].request.query)
