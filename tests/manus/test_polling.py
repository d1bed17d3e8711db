"""How Manus tasks are polled: which calls a poll takes, and that no change is missed."""

from __future__ import annotations

from collections.abc import Callable

from remote_tasks_sandbox import Sandbox
from tests.manus.account import LIST, add, is_full_listing, many, query
from tests.poll_driver import PollDriver


class TestSingleTask:
    def test_poll_is_one_small_call(self, driver: PollDriver, sandbox: Sandbox) -> None:
        add(sandbox, "a", "another")

        for state in ("running", "completed"):
            sandbox.manus.set_status("a", state)
            assert driver.words(["a"]) == {"a": state}
            assert driver.asked == ["tasks/a"]

    def test_task_that_is_not_due_costs_no_call(self, driver: PollDriver, sandbox: Sandbox) -> None:
        add(sandbox, "a")

        assert driver.words([], ["a"]) == {}
        assert driver.calls == []


#: What makes a task as heavy as one with a conversation.
HEAVY = {"extra": {"instructions": "x" * 7000}}


class TestManyTasks:
    def test_first_poll_is_one_full_listing(self, driver: PollDriver, sandbox: Sandbox) -> None:
        ids = many(sandbox, 50)
        sandbox.manus.set_status("t7", "failed")

        assert driver.words(ids) == dict.fromkeys(ids, "running") | {"t7": "failed"}
        assert driver.asked == ["tasks"]
        assert query(driver) == {"order": "desc", "orderBy": "created_at", "limit": "50"}

    def test_first_page_is_small_as_tasks_may_be_heavy(self, driver: PollDriver, sandbox: Sandbox) -> None:
        ids = many(sandbox, 400)

        assert len(driver(ids)) == 400
        assert driver.asked == ["tasks"] * 2
        assert (query(driver)["limit"], query(driver, 1)["limit"]) == ("50", "1000")

    def test_page_size_follows_the_number_of_tasks(self, driver: PollDriver, sandbox: Sandbox) -> None:
        ids = many(sandbox, 400)
        driver(ids)
        driver.now += 601

        assert len(driver(ids)) == 400
        assert driver.asked == ["tasks"]
        assert 600 <= int(query(driver)["limit"]) <= 700

    def test_pages_of_heavy_tasks_are_bounded_by_bytes(self, driver: PollDriver, sandbox: Sandbox) -> None:
        ids = many(sandbox, 120, extra={"instructions": "x" * 100_000})
        sizes = []

        assert len(driver(ids)) == 120
        for number in range(1, len(driver.calls)):
            sizes.append(int(query(driver, number)["limit"]))
        assert max(sizes) <= 40
        driver.now += 601
        driver(ids)
        assert max(int(query(driver, number)["limit"]) for number in range(len(driver.calls))) <= 40

    def test_later_poll_is_a_small_incremental_listing(self, driver: PollDriver, sandbox: Sandbox) -> None:
        ids = many(sandbox, 50, **HEAVY)
        driver(ids)
        sandbox.manus.set_status("t7", "completed")
        sandbox.manus.set_status("t8", "failed")
        sandbox.manus.set_status("t9", "pending")

        ends = {"t7": "completed", "t8": "failed", "t9": "waiting"}
        assert driver.words(ids) == dict.fromkeys(ids, "unchanged") | ends
        assert driver.asked == ["tasks"]
        asked = query(driver)
        assert asked["status"] == ["completed", "failed", "pending"]
        assert (asked["order"], asked["orderBy"]) == ("desc", "updated_at")
        assert int(asked["limit"]) <= 40

    def test_tasks_that_are_not_due_are_reported_too(self, driver: PollDriver, sandbox: Sandbox) -> None:
        ids = many(sandbox, 10)

        assert set(driver(["t0"], ids[1:])) == set(ids)
        assert driver.words(["t0"], ids[1:]) == dict.fromkeys(ids, "unchanged")
        assert driver.asked == ["tasks"]

    def test_full_listing_comes_every_ten_minutes(self, driver: PollDriver, sandbox: Sandbox) -> None:
        ids = many(sandbox, 5)
        moments = []
        for driver.now in range(0, 1300, 5):
            driver(ids)
            if is_full_listing(driver):
                moments.append(driver.now)

        assert moments == [0, 600, 1200]

    def test_new_task_causes_a_full_listing(self, driver: PollDriver, sandbox: Sandbox) -> None:
        ids = many(sandbox, 5)
        driver(ids)
        ids += add(sandbox, "new")

        assert driver.words(ids) == dict.fromkeys(ids, "running")
        assert is_full_listing(driver)
        driver(ids)
        assert not is_full_listing(driver)

    def test_full_listing_reaches_back_to_the_oldest_task(self, driver: PollDriver, sandbox: Sandbox) -> None:
        many(sandbox, 30, "old", created_ago=9000)
        ids = many(sandbox, 5, created_ago=600)
        driver(ids)
        driver.now += 601
        driver(ids)

        oldest = sandbox.manus.get("t0")
        assert oldest is not None
        assert query(driver)["createdAfter"] == str(oldest.created_at - 1)

    def test_new_task_may_be_older_than_the_others(self, driver: PollDriver, sandbox: Sandbox) -> None:
        ids = many(sandbox, 5)
        driver(ids)
        ids += add(sandbox, "old1", "old2", created_ago=9000)

        assert driver.words(ids) == dict.fromkeys(ids, "running")
        assert driver.asked == ["tasks"]

    def test_full_listing_reads_as_far_as_the_last_one(self, driver: PollDriver, sandbox: Sandbox) -> None:
        ids = many(sandbox, 30, created_ago=500)
        many(sandbox, 400, "other")
        driver(ids)
        driver.now += 601
        driver(ids)

        assert driver.asked == ["tasks"]
        assert is_full_listing(driver)
        assert 430 <= int(query(driver)["limit"]) < 1000

    def test_finished_wait_is_forgotten(self, driver: PollDriver, sandbox: Sandbox) -> None:
        ids = many(sandbox, 5)
        driver(ids)

        assert set(driver(ids[:3])) == set(ids[:3])
        assert driver.asked == ["tasks"]
        driver(ids)
        assert is_full_listing(driver)


class TestManyPages:
    def test_full_listing_takes_as_many_pages_as_needed(self, driver: PollDriver, sandbox: Sandbox) -> None:
        ids = many(sandbox, 2500)

        assert driver.words(ids) == dict.fromkeys(ids, "running")
        assert driver.asked == ["tasks"] * 4
        sandbox.manus.set_status("t1", "completed")
        assert driver.words(ids) == dict.fromkeys(ids, "unchanged") | {"t1": "completed"}
        assert driver.asked == ["tasks"]

    def test_newer_foreign_tasks_are_paged_over_once(self, driver: PollDriver, sandbox: Sandbox) -> None:
        ids = many(sandbox, 30, created_ago=500)
        many(sandbox, 2200, "other")

        assert driver.words(ids) == dict.fromkeys(ids, "running")
        assert 3 <= len(driver.calls) <= 4
        sandbox.manus.set_status("t3", "completed")
        sandbox.manus.set_status("other3", "completed")
        assert driver.words(ids) == dict.fromkeys(ids, "unchanged") | {"t3": "completed"}
        assert driver.asked == ["tasks"]

    def test_few_tasks_far_down_are_fetched_one_by_one(self, driver: PollDriver, sandbox: Sandbox) -> None:
        ids = many(sandbox, 3, created_ago=500)
        many(sandbox, 2200, "other")

        assert driver.words(ids) == dict.fromkeys(ids, "running")
        assert driver.asked == [*["tasks"] * 3, "tasks/t0", "tasks/t1", "tasks/t2"]
        driver(ids)
        assert driver.asked == ["tasks/t0", "tasks/t1", "tasks/t2"]

    def test_paging_costs_no_more_than_asking_singly(self, driver: PollDriver, sandbox: Sandbox) -> None:
        ids = [f"gone{number}" for number in range(5)]
        many(sandbox, 8_000, "other")

        assert driver.words(ids) == dict.fromkeys(ids, "NotFoundError")
        assert driver.asked == ["tasks"] * 5 + [f"tasks/{task_id}" for task_id in ids]
        driver(ids)
        assert driver.asked == [f"tasks/{task_id}" for task_id in ids]

    def test_new_task_among_many_pages_is_fetched_beside_the_changes(
        self, driver: PollDriver, sandbox: Sandbox
    ) -> None:
        ids = many(sandbox, 2500)
        driver(ids)
        ids += add(sandbox, "new")

        assert driver.words(ids) == dict.fromkeys(ids, "unchanged") | {"new": "running"}
        assert driver.asked == ["tasks", "tasks/new"]

    def test_few_due_tasks_among_many_pages_are_fetched_one_by_one(
        self, make_driver: Callable[..., PollDriver], sandbox: Sandbox
    ) -> None:
        driver = make_driver(api_version="v2")
        ids = many(sandbox, 950)
        driver(ids)

        assert driver.words(ids[:5], ids[5:]) == dict.fromkeys(ids[:5], "running")
        assert [record.path.rpartition("/")[2] for record in driver.calls] == ["task.detail"] * 5

    def test_waits_below_newer_tasks_cost_the_pages_and_no_single_calls(
        self, make_driver: Callable[..., PollDriver], sandbox: Sandbox
    ) -> None:
        """15 waits on an account with 150 newer tasks: two pages of API v2, or 15 calls."""
        driver = make_driver(api_version="v2")
        ids = many(sandbox, 15, created_ago=500)
        many(sandbox, 150, "other")
        for _ in range(3):
            assert driver.words(ids) == dict.fromkeys(ids, "running")
            assert [record.path.rpartition("/")[2] for record in driver.calls] == ["task.list"] * 2

    def test_unexpectedly_many_changes_are_paged_through(self, driver: PollDriver, sandbox: Sandbox) -> None:
        ids = many(sandbox, 900)
        driver(ids)
        for task_id in ids:
            sandbox.manus.set_status(task_id, "completed")

        assert driver.words(ids) == dict.fromkeys(ids, "completed")
        assert len(driver.calls) == 2

    def test_incremental_page_size_follows_the_changes(self, driver: PollDriver, sandbox: Sandbox) -> None:
        ids = many(sandbox, 300, **HEAVY)
        driver(ids)
        for task_id in ids[:200]:
            sandbox.manus.set_status(task_id, "completed")
        driver(ids)
        driver(ids[200:])
        grown = int(query(driver)["limit"])
        sandbox.clock.advance(1000)
        sandbox.manus.set_status(ids[200], "completed")
        for _ in range(3):
            driver(ids[201:])

        assert grown >= 200
        assert int(query(driver)["limit"]) <= 40

    def test_incremental_page_is_as_large_as_costs_little(self, driver: PollDriver, sandbox: Sandbox) -> None:
        ids = many(sandbox, 300)
        driver(ids)
        for task_id in ids[:150]:
            sandbox.manus.set_status(task_id, "completed")

        assert driver.words(ids) == {one: "completed" if one in ids[:150] else "unchanged" for one in ids}
        assert driver.asked == ["tasks"]

    def test_poll_of_ever_more_changes_is_one_call(self, driver: PollDriver, sandbox: Sandbox) -> None:
        ids = many(sandbox, 500, **HEAVY)
        driver(ids)
        calls = []
        # Polls are not evenly spaced.
        for first, last in ((0, 80), (80, 170), (170, 290), (290, 370)):
            for task_id in ids[first:last]:
                sandbox.manus.set_status(task_id, "completed")
            driver(ids[first:])
            calls.append(len(driver.calls))

        assert calls == [2, 1, 1, 1]


class TestUnlisted:
    def test_omitted_task_is_fetched_by_itself(self, driver: PollDriver, sandbox: Sandbox) -> None:
        ids = many(sandbox, 5)
        sandbox.faults.add("omit", task_id="t2")

        assert driver.words(ids) == dict.fromkeys(ids, "running")
        assert driver.asked == ["tasks", "tasks/t2"]
        sandbox.manus.set_status("t2", "completed")
        assert driver.words(ids)["t2"] == "completed"
        assert driver.asked == ["tasks", "tasks/t2"]
        assert not is_full_listing(driver)

    def test_omitted_task_is_searched_on_one_further_page_once(
        self, driver: PollDriver, sandbox: Sandbox
    ) -> None:
        many(sandbox, 300, "other", created_ago=500)
        ids = many(sandbox, 5)
        sandbox.faults.add("omit", task_id="t2")

        assert driver.words(ids) == dict.fromkeys(ids, "running")
        assert driver.asked == ["tasks", "tasks", "tasks/t2"]
        driver.now += 601
        driver(ids)
        assert driver.asked == ["tasks", "tasks/t2"]

    def test_rejoined_task_is_searched_in_the_listing_again(
        self, driver: PollDriver, sandbox: Sandbox
    ) -> None:
        ids = many(sandbox, 5)
        sandbox.faults.add("omit", task_id="t2")
        driver(ids)
        driver([task_id for task_id in ids if task_id != "t2"])
        assert not is_full_listing(driver)
        driver(ids)

        assert is_full_listing(driver)

    def test_omitted_tasks_take_turns(self, driver: PollDriver, sandbox: Sandbox) -> None:
        ids = many(sandbox, 100)
        sandbox.faults.add("omit")
        seen: list[str] = []
        for driver.now in range(0, 300, 60):
            found = driver.words(ids)
            assert len(found) == 40
            seen += found

        assert set(seen[:120]) == set(ids)
        assert {seen.count(task_id) for task_id in ids} <= {1, 2, 3}

    def test_omitted_tasks_make_no_listing_and_at_most_forty_calls_a_minute(
        self, driver: PollDriver, sandbox: Sandbox
    ) -> None:
        """30 hidden tasks beside 200 listed ones, polled every second, once cost 30,000 listed tasks."""
        ids = many(sandbox, 200)
        hidden = add(sandbox, *[f"hidden{number}" for number in range(30)])
        for task_id in hidden:
            sandbox.faults.add("omit", task_id=task_id)
        driver([*ids, *hidden])
        calls: list[str] = []
        for driver.now in range(1, 121):
            driver([*ids, *hidden])
            assert not is_full_listing(driver)
            calls += driver.asked

        singles = [path for path in calls if path != "tasks"]
        assert len(singles) <= 40 + 80
        assert {singles.count(f"tasks/{task_id}") for task_id in hidden} <= {2, 3, 4}

    def test_omitted_task_that_is_not_due_is_not_fetched(self, driver: PollDriver, sandbox: Sandbox) -> None:
        ids = many(sandbox, 5)
        sandbox.faults.add("omit", task_id="t2")

        assert set(driver(["t0"], ids[1:])) == {"t0", "t1", "t3", "t4"}

    def test_fresh_hidden_task_is_found_later(self, driver: PollDriver, sandbox: Sandbox) -> None:
        ids = many(sandbox, 5)
        hidden = sandbox.faults.add("hide", task_id="t2")

        assert driver.words(ids)["t2"] == "NotFoundError"
        sandbox.faults.remove(hidden)
        assert driver.words(ids)["t2"] == "running"
        driver.now += 601
        driver(ids)
        assert is_full_listing(driver)
        driver(ids)
        assert driver.asked == ["tasks"]

    def test_deleted_task_is_missed_by_the_next_full_listing(
        self, driver: PollDriver, sandbox: Sandbox
    ) -> None:
        ids = many(sandbox, 5)
        driver(ids)
        sandbox.manus.delete_task("t2")
        driver.now += 601

        assert driver.words(ids)["t2"] == "NotFoundError"
        assert driver.words(ids)["t2"] == "NotFoundError"
        assert driver.words(ids)["t1"] == "unchanged"

    def test_invalid_id_affects_only_its_own_wait(self, driver: PollDriver, sandbox: Sandbox) -> None:
        ids = [*many(sandbox, 5), "poison"]
        sandbox.faults.add("status", path=f"{LIST}/poison", status=400)

        for _ in range(12):
            found = driver.words(ids)
            assert found.pop("poison") == "InvalidRequestError"
            assert set(found.values()) <= {"running", "unchanged"}
            assert len(found) == 5


class TestWaitingState:
    def test_resumed_task_is_not_reported_as_waiting(self, driver: PollDriver, sandbox: Sandbox) -> None:
        ids = many(sandbox, 5)
        sandbox.manus.set_status("t2", "pending")
        assert driver.words(ids)["t2"] == "waiting"
        sandbox.manus.set_status("t2", "running")

        assert driver.words(ids)["t2"] == "running"
        assert driver.asked == ["tasks"]
        assert driver.words(ids)["t2"] == "unchanged"
        assert driver.asked == ["tasks"]

    def test_waiting_task_among_many_pages_is_fetched_beside_the_changes(
        self, driver: PollDriver, sandbox: Sandbox
    ) -> None:
        ids = many(sandbox, 2500)
        sandbox.manus.set_status("t2", "pending")
        driver(ids)
        sandbox.manus.set_status("t2", "running")

        assert driver.words(ids)["t2"] == "running"
        assert driver.asked == ["tasks", "tasks/t2"]

    def test_resumed_task_seen_in_an_incremental_listing_is_not_reported_as_waiting(
        self, driver: PollDriver, sandbox: Sandbox
    ) -> None:
        ids = many(sandbox, 5)
        driver(ids)
        sandbox.manus.set_status("t2", "pending")
        assert driver.words(ids)["t2"] == "waiting"
        sandbox.manus.set_status("t2", "running")

        assert driver.words(ids)["t2"] == "running"

    def test_many_waiting_tasks_are_listed_rather_than_fetched(
        self, driver: PollDriver, sandbox: Sandbox
    ) -> None:
        ids = many(sandbox, 40)
        for task_id in ids[:30]:
            sandbox.manus.set_status(task_id, "pending")
        for _ in range(3):
            assert driver.words(ids)["t0"] == "waiting"
            assert driver.asked == ["tasks"]
            assert is_full_listing(driver)
