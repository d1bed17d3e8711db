"""How Manus tasks are looked at: which calls a look takes, and that no end is missed."""

from __future__ import annotations

from remote_tasks_sandbox import Sandbox
from tests.manus.account import LIST, add, is_full_listing, many, query
from tests.poll_driver import PollDriver


class TestOneTask:
    def test_it_is_one_small_call(self, driver: PollDriver, sandbox: Sandbox) -> None:
        add(sandbox, "a", "another")

        for state in ("running", "completed"):
            sandbox.manus.set_status("a", state)
            assert driver.words(["a"]) == {"a": state}
            assert driver.asked == ["tasks/a"]

    def test_alone_and_not_due_it_is_told_of_just_the_same(
        self, driver: PollDriver, sandbox: Sandbox
    ) -> None:
        add(sandbox, "a")

        assert driver.words([], ["a"]) == {"a": "running"}


class TestManyTasks:
    def test_the_first_look_is_one_list(self, driver: PollDriver, sandbox: Sandbox) -> None:
        ids = many(sandbox, 50)
        sandbox.manus.set_status("t7", "failed")

        assert driver.words(ids) == dict.fromkeys(ids, "running") | {"t7": "failed"}
        assert driver.asked == ["tasks"]
        assert query(driver) == {"order": "desc", "orderBy": "created_at", "limit": "100"}

    def test_the_page_is_as_large_as_it_must_be(self, driver: PollDriver, sandbox: Sandbox) -> None:
        assert len(driver(many(sandbox, 400))) == 400
        assert driver.asked == ["tasks"]
        assert query(driver)["limit"] == "500"

    def test_then_only_what_changed_is_listed_and_it_is_light(
        self, driver: PollDriver, sandbox: Sandbox
    ) -> None:
        ids = many(sandbox, 50)
        driver(ids)
        sandbox.manus.set_status("t7", "completed")
        sandbox.manus.set_status("t8", "failed")
        sandbox.manus.set_status("t9", "pending")

        ends = {"t7": "completed", "t8": "failed", "t9": "waiting"}
        assert driver.words(ids) == dict.fromkeys(ids, "no news") | ends
        assert driver.asked == ["tasks"]
        asked = query(driver)
        assert asked["status"] == ["completed", "failed", "pending"]
        assert (asked["order"], asked["orderBy"]) == ("desc", "updated_at")
        assert int(asked["limit"]) <= 40

    def test_tasks_that_are_not_due_are_told_of_too(self, driver: PollDriver, sandbox: Sandbox) -> None:
        ids = many(sandbox, 10)

        assert set(driver(["t0"], ids[1:])) == set(ids)
        assert driver.words(["t0"], ids[1:]) == dict.fromkeys(ids, "no news")
        assert driver.asked == ["tasks"]

    def test_every_tenth_look_counts_all(self, driver: PollDriver, sandbox: Sandbox) -> None:
        ids = many(sandbox, 5)
        kinds = []
        for _ in range(21):
            driver(ids)
            kinds.append(is_full_listing(driver))

        assert [number for number, kind in enumerate(kinds, 1) if kind] == [1, 10, 20]

    def test_a_newcomer_makes_a_look_count_all(self, driver: PollDriver, sandbox: Sandbox) -> None:
        ids = many(sandbox, 5)
        driver(ids)
        ids += add(sandbox, "new")

        assert driver.words(ids) == dict.fromkeys(ids, "running")
        assert is_full_listing(driver)
        driver(ids)
        assert not is_full_listing(driver)

    def test_a_count_reaches_back_no_further_than_the_oldest_that_is_waited_for(
        self, driver: PollDriver, sandbox: Sandbox
    ) -> None:
        many(sandbox, 30, "old", created_ago=9000)
        ids = many(sandbox, 5, created_ago=600)
        for _ in range(10):
            driver(ids)

        oldest = sandbox.manus.get("t0")
        assert oldest is not None
        assert query(driver)["createdAfter"] == str(oldest.created_at - 1)

    def test_a_newcomer_may_be_older_than_all_the_others(self, driver: PollDriver, sandbox: Sandbox) -> None:
        ids = many(sandbox, 5)
        driver(ids)
        ids += add(sandbox, "old1", "old2", created_ago=9000)

        assert driver.words(ids) == dict.fromkeys(ids, "running")
        assert driver.asked == ["tasks"]

    def test_a_count_reads_at_once_as_far_as_the_last_one_had_to(
        self, driver: PollDriver, sandbox: Sandbox
    ) -> None:
        ids = many(sandbox, 30, created_ago=500)
        many(sandbox, 400, "other")
        for _ in range(10):
            driver(ids)

        assert driver.asked == ["tasks"]
        assert is_full_listing(driver)
        assert 430 <= int(query(driver)["limit"]) < 1000

    def test_what_is_waited_for_no_more_is_forgotten(self, driver: PollDriver, sandbox: Sandbox) -> None:
        ids = many(sandbox, 5)
        driver(ids)

        assert set(driver(ids[:3])) == set(ids[:3])
        assert driver.asked == ["tasks"]
        driver(ids)
        assert is_full_listing(driver)


class TestManyPages:
    def test_more_tasks_than_a_page_holds_take_as_many_pages(
        self, driver: PollDriver, sandbox: Sandbox
    ) -> None:
        ids = many(sandbox, 2500)

        assert driver.words(ids) == dict.fromkeys(ids, "running")
        assert driver.asked == ["tasks"] * 3
        sandbox.manus.set_status("t1", "completed")
        assert driver.words(ids) == dict.fromkeys(ids, "no news") | {"t1": "completed"}
        assert driver.asked == ["tasks"]

    def test_other_peoples_newer_tasks_are_paged_over_once(
        self, driver: PollDriver, sandbox: Sandbox
    ) -> None:
        ids = many(sandbox, 30, created_ago=500)
        many(sandbox, 2200, "other")

        assert driver.words(ids) == dict.fromkeys(ids, "running")
        assert 3 <= len(driver.calls) <= 4
        sandbox.manus.set_status("t3", "completed")
        sandbox.manus.set_status("other3", "completed")
        assert driver.words(ids) == dict.fromkeys(ids, "no news") | {"t3": "completed"}
        assert driver.asked == ["tasks"]

    def test_a_few_tasks_far_down_are_rather_asked_for_by_themselves(
        self, driver: PollDriver, sandbox: Sandbox
    ) -> None:
        ids = many(sandbox, 3, created_ago=500)
        many(sandbox, 2200, "other")

        assert driver.words(ids) == dict.fromkeys(ids, "running")
        assert driver.asked == ["tasks", "tasks/t0", "tasks/t1", "tasks/t2"]

    def test_paging_ends_somewhere(self, driver: PollDriver, sandbox: Sandbox) -> None:
        ids = [f"gone{number}" for number in range(30)]
        many(sandbox, 12_000, "other")
        results = driver.words(ids)

        assert driver.asked[:11] == ["tasks"] * 10 + ["tasks/gone0"]
        assert len(results) == 20

    def test_more_changes_than_expected_are_paged_through(self, driver: PollDriver, sandbox: Sandbox) -> None:
        ids = many(sandbox, 900)
        driver(ids)
        for task_id in ids:
            sandbox.manus.set_status(task_id, "completed")

        assert driver.words(ids) == dict.fromkeys(ids, "completed")
        assert 1 < len(driver.calls) <= 5

    def test_a_page_of_changes_grows_with_the_changes_and_shrinks_again(
        self, driver: PollDriver, sandbox: Sandbox
    ) -> None:
        ids = many(sandbox, 300)
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


class TestUnlisted:
    def test_a_task_that_the_list_omits_is_asked_for_by_itself(
        self, driver: PollDriver, sandbox: Sandbox
    ) -> None:
        ids = many(sandbox, 5)
        sandbox.faults.add("omit", task_id="t2")

        assert driver.words(ids) == dict.fromkeys(ids, "running")
        assert driver.asked == ["tasks", "tasks/t2"]
        sandbox.manus.set_status("t2", "completed")
        assert driver.words(ids)["t2"] == "completed"
        assert driver.asked == ["tasks", "tasks/t2"]
        assert not is_full_listing(driver)

    def test_for_a_single_one_no_further_page_is_read(self, driver: PollDriver, sandbox: Sandbox) -> None:
        many(sandbox, 300, "other", created_ago=500)
        ids = many(sandbox, 5)
        sandbox.faults.add("omit", task_id="t2")

        assert driver.words(ids) == dict.fromkeys(ids, "running")
        assert driver.asked == ["tasks", "tasks/t2"]

    def test_one_that_comes_again_is_looked_for_in_the_list_again(
        self, driver: PollDriver, sandbox: Sandbox
    ) -> None:
        ids = many(sandbox, 5)
        sandbox.faults.add("omit", task_id="t2")
        driver(ids)
        driver([task_id for task_id in ids if task_id != "t2"])
        assert not is_full_listing(driver)
        driver(ids)

        assert is_full_listing(driver)

    def test_of_many_that_are_omitted_each_has_its_turn(self, driver: PollDriver, sandbox: Sandbox) -> None:
        ids = many(sandbox, 100)
        sandbox.faults.add("omit")
        seen: list[str] = []
        for _ in range(10):
            found = driver.words(ids)
            assert len(found) == 20
            seen += found

        assert {seen.count(task_id) for task_id in ids} == {2}

    def test_one_that_is_not_due_is_not_asked_for_by_itself(
        self, driver: PollDriver, sandbox: Sandbox
    ) -> None:
        ids = many(sandbox, 5)
        sandbox.faults.add("omit", task_id="t2")

        assert set(driver(["t0"], ids[1:])) == {"t0", "t1", "t3", "t4"}

    def test_a_fresh_task_that_is_hidden_for_a_while_is_found(
        self, driver: PollDriver, sandbox: Sandbox
    ) -> None:
        ids = many(sandbox, 5)
        hidden = sandbox.faults.add("hide", task_id="t2")

        assert driver.words(ids)["t2"] == "NotFoundError"
        sandbox.faults.remove(hidden)
        assert driver.words(ids)["t2"] == "running"
        for _ in range(8):
            driver(ids)
        assert is_full_listing(driver)
        driver(ids)
        assert driver.asked == ["tasks"]

    def test_a_task_that_vanishes_is_missed_within_ten_looks(
        self, driver: PollDriver, sandbox: Sandbox
    ) -> None:
        ids = many(sandbox, 5)
        driver(ids)
        sandbox.manus.delete_task("t2")
        found = [driver.words(ids)["t2"] for _ in range(10)]

        assert "NotFoundError" in found
        assert driver.words(ids)["t2"] == "NotFoundError"
        assert driver.words(ids)["t1"] == "no news"

    def test_one_poisoned_id_concerns_nobody_else(self, driver: PollDriver, sandbox: Sandbox) -> None:
        ids = [*many(sandbox, 5), "poison"]
        sandbox.faults.add("status", path=f"{LIST}/poison", status=400)

        for _ in range(12):
            found = driver.words(ids)
            assert found.pop("poison") == "InvalidRequestError"
            assert set(found.values()) <= {"running", "no news"}
            assert len(found) == 5


class TestWaitingForAPerson:
    def test_a_task_that_goes_on_is_not_taken_for_one_that_still_waits(
        self, driver: PollDriver, sandbox: Sandbox
    ) -> None:
        ids = many(sandbox, 5)
        sandbox.manus.set_status("t2", "pending")
        assert driver.words(ids)["t2"] == "waiting"
        sandbox.manus.set_status("t2", "running")

        assert driver.words(ids)["t2"] == "running"
        assert driver.asked == ["tasks", "tasks/t2"]
        assert driver.words(ids)["t2"] == "no news"
        assert driver.asked == ["tasks"]

    def test_so_is_one_whose_wait_was_noticed_among_the_changes(
        self, driver: PollDriver, sandbox: Sandbox
    ) -> None:
        ids = many(sandbox, 5)
        driver(ids)
        sandbox.manus.set_status("t2", "pending")
        assert driver.words(ids)["t2"] == "waiting"
        sandbox.manus.set_status("t2", "running")

        assert driver.words(ids)["t2"] == "running"

    def test_many_that_wait_are_counted_rather_than_asked_for(
        self, driver: PollDriver, sandbox: Sandbox
    ) -> None:
        ids = many(sandbox, 40)
        for task_id in ids[:30]:
            sandbox.manus.set_status(task_id, "pending")
        for _ in range(3):
            assert driver.words(ids)["t0"] == "waiting"
            assert driver.asked == ["tasks"]
            assert is_full_listing(driver)
