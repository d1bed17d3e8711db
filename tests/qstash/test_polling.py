"""How QStash tasks are polled: which calls a poll takes, and that no change is missed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from remote_tasks_provider.core.polling.strategy import PollRequest
from remote_tasks_provider.core.polling.tracker import PollTracker
from remote_tasks_provider.qstash.polling import QStashTaskPollStrategy
from remote_tasks_provider.qstash.service import QSTASH_TASK
from remote_tasks_sandbox import Sandbox, SandboxServer
from tests.conftest import QSTASH_TOKEN
from tests.core.build import START, a_policy
from tests.poll_driver import PollDriver

FOREVER = [("active", None)]


@pytest.fixture
def make_driver(server: SandboxServer, sandbox: Sandbox) -> Iterator[Callable[..., PollDriver]]:
    drivers: list[PollDriver] = []

    def make(key: str = QSTASH_TOKEN, **extras: Any) -> PollDriver:
        drivers.append(PollDriver("run_plan", QSTASH_TASK, server.qstash_url, key, sandbox, **extras))
        return drivers[-1]

    yield make
    for driver in drivers:
        driver.__exit__(None, None, None)


@pytest.fixture
def driver(make_driver: Callable[..., PollDriver]) -> PollDriver:
    return make_driver()


def add(sandbox: Sandbox, message_id: str, count: int, prefix: str = "t") -> list[str]:
    ids = [f"{prefix}{number}" for number in range(count)]
    for task_id in ids:
        sandbox.qstash.add_task(task_id, message_id, script=FOREVER)
    return ids


class TestOneByOne:
    def test_first_poll_fetches_the_tasks_one_by_one(self, driver: PollDriver, sandbox: Sandbox) -> None:
        ids = add(sandbox, "m", 3)

        assert driver.words(ids) == dict.fromkeys(ids, "running")
        assert sorted(driver.asked) == [f"tasks/{task_id}" for task_id in ids]

    def test_tasks_without_a_shared_message_are_fetched_one_by_one(
        self, driver: PollDriver, sandbox: Sandbox
    ) -> None:
        ids = [*add(sandbox, "m1", 1, "a"), *add(sandbox, "m2", 1, "b")]
        for _ in range(3):
            assert driver.words(ids) == dict.fromkeys(ids, "running")
            assert sorted(driver.asked) == ["tasks/a0", "tasks/b0"]

    def test_task_that_is_not_due_costs_no_call(self, driver: PollDriver, sandbox: Sandbox) -> None:
        add(sandbox, "m", 3)

        assert driver.words(["t0"], ["t1", "t2"]) == {"t0": "running"}
        assert driver.words([], ["t1", "t2"]) == {}
        assert driver.asked == []

    def test_invalid_id_affects_only_its_own_wait(self, driver: PollDriver, sandbox: Sandbox) -> None:
        ids = [*add(sandbox, "m", 2), "poison"]
        for _ in range(3):
            found = driver.words(ids)
            assert found == {"t0": "running", "t1": "running", "poison": "NotFoundError"}

    def test_wrong_key_is_reported_to_all_at_once(
        self, make_driver: Callable[..., PollDriver], sandbox: Sandbox
    ) -> None:
        ids = add(sandbox, "m", 30)
        driver = make_driver(key="wrong")

        assert driver.words(ids) == dict.fromkeys(ids, "AuthenticationError")
        assert len(driver.calls) <= 8


class TestSharedMessages:
    def test_second_poll_of_a_message_is_one_call(self, driver: PollDriver, sandbox: Sandbox) -> None:
        ids = add(sandbox, "m", 30)
        driver(ids)
        sandbox.qstash.set_status("t7", "delivered")

        for _ in range(3):
            assert driver.words(ids) == dict.fromkeys(ids, "running") | {"t7": "completed"}
            assert driver.asked == ["messages/m/tasks"]

    def test_several_messages_are_one_call_each(self, driver: PollDriver, sandbox: Sandbox) -> None:
        ids = [
            *add(sandbox, "m1", 5, "a"),
            *add(sandbox, "m2", 5, "b"),
            *add(sandbox, "m3", 1, "c"),
        ]
        driver(ids)

        assert driver.words(ids) == dict.fromkeys(ids, "running")
        assert sorted(driver.asked) == ["messages/m1/tasks", "messages/m2/tasks", "tasks/c0"]

    def test_messages_are_listed_in_one_batch(self) -> None:
        strategy = QStashTaskPollStrategy()
        strategy._message_of = {"a0": "m1", "a1": "m1", "b0": "m2", "b1": "m2"}

        batch = next(strategy.plan(PollRequest(["a0", "a1", "b0", "b1"])))
        assert [operation.request.path for operation in batch] == [
            "/v1/messages/m1/tasks",
            "/v1/messages/m2/tasks",
        ]

    def test_tasks_of_the_message_that_are_not_due_are_reported_too(
        self, driver: PollDriver, sandbox: Sandbox
    ) -> None:
        ids = add(sandbox, "m", 4)
        driver(ids)

        assert driver.words(ids[:1], ids[1:]) == dict.fromkeys(ids, "running")
        assert driver.asked == ["messages/m/tasks"]

    def test_message_without_a_due_task_is_not_listed(self, driver: PollDriver, sandbox: Sandbox) -> None:
        ids, others = add(sandbox, "m", 2), add(sandbox, "m2", 3, "b")
        driver([*ids, *others])

        assert driver.words(ids, others) == dict.fromkeys(ids, "running")
        assert driver.asked == ["messages/m/tasks"]

    def test_tasks_that_are_not_awaited_are_not_reported(self, driver: PollDriver, sandbox: Sandbox) -> None:
        add(sandbox, "m", 10)
        driver(["t1", "t2"])

        assert set(driver(["t1", "t2"])) == {"t1", "t2"}

    def test_last_task_of_a_message_is_fetched_by_itself(self, driver: PollDriver, sandbox: Sandbox) -> None:
        ids = add(sandbox, "m", 3)
        driver(ids)
        driver(ids)

        assert driver.words(["t1"]) == {"t1": "running"}
        assert driver.asked == ["tasks/t1"]


class TestPages:
    def test_tasks_beyond_the_first_page_are_paged_to(self, driver: PollDriver, sandbox: Sandbox) -> None:
        ids = add(sandbox, "m", 250)
        driver(ids)

        assert driver.words(ids) == dict.fromkeys(ids, "running")
        assert driver.asked == ["messages/m/tasks"] * 3

    def test_paging_ends_once_all_tasks_were_seen(self, driver: PollDriver, sandbox: Sandbox) -> None:
        ids = add(sandbox, "m", 250)[-20:]
        driver(ids)

        assert driver.words(ids) == dict.fromkeys(ids, "running")
        assert driver.asked == ["messages/m/tasks"]

    def test_few_tasks_far_down_are_fetched_one_by_one(self, driver: PollDriver, sandbox: Sandbox) -> None:
        ids = add(sandbox, "m", 900)[:3]
        driver(ids)
        driver(ids)

        assert driver.words(ids) == dict.fromkeys(ids, "running")
        assert sorted(driver.asked) == ["tasks/t0", "tasks/t1", "tasks/t2"]

    def test_many_tasks_far_down_are_paged_to(self, driver: PollDriver, sandbox: Sandbox) -> None:
        ids = add(sandbox, "m", 500)[:100]
        driver(ids)

        assert driver.words(ids) == dict.fromkeys(ids, "running")
        assert driver.asked == ["messages/m/tasks"] * 5

    def test_single_remaining_task_is_not_paged_for(self, driver: PollDriver, sandbox: Sandbox) -> None:
        ids = add(sandbox, "m", 150)[49:51]
        driver(ids)

        assert driver.words(ids) == dict.fromkeys(ids, "running")
        assert driver.asked == ["messages/m/tasks", "tasks/t49"]

    def test_paging_is_limited_and_not_tried_again(self, driver: PollDriver, sandbox: Sandbox) -> None:
        ids = add(sandbox, "m", 1100)[:20]
        driver(ids)
        assert driver.words(ids) == dict.fromkeys(ids, "running")
        assert driver.asked[:10] == ["messages/m/tasks"] * 10

        assert driver.words(ids) == dict.fromkeys(ids, "running")
        assert len(driver.asked) == 20

    def test_circular_listing_ends(self, driver: PollDriver, sandbox: Sandbox) -> None:
        ids = [*add(sandbox, "m", 30), "gone"]
        driver(ids)
        sandbox.faults.add("repeat_cursor")
        found = driver.words(ids)

        assert found == dict.fromkeys(ids, "running") | {"gone": "NotFoundError"}
        assert len(driver.calls) <= 11


class TestFailedListing:
    @pytest.mark.parametrize(
        "fault",
        [
            {"kind": "status", "status": 500},
            {"kind": "status", "status": 404},
            {"kind": "garbage", "form": "html"},
            {"kind": "drop_before"},
            {"kind": "hang"},
        ],
        ids=str,
    )
    def test_failed_listing_falls_back_to_single_fetches_until_it_recovers(
        self, make_driver: Callable[..., PollDriver], sandbox: Sandbox, fault: dict[str, Any]
    ) -> None:
        driver = make_driver(read_timeout=0.2)
        ids, others = add(sandbox, "m", 3), add(sandbox, "m2", 3, "b")
        driver([*ids, *others])
        bad = sandbox.faults.add(**fault, path="/qstash/v1/messages/m/*")

        assert driver.words([*ids, *others]) == dict.fromkeys([*ids, *others], "running")
        assert sorted(driver.asked) == [
            "messages/m/tasks",
            "messages/m2/tasks",
            *[f"tasks/{task_id}" for task_id in ids],
        ]
        sandbox.faults.remove(bad)
        driver(ids)
        assert driver.asked == ["messages/m/tasks"]

    @pytest.mark.parametrize(("status", "kind"), [(401, "AuthenticationError"), (429, "RateLimitedError")])
    def test_error_for_all_tasks_costs_one_call(
        self, driver: PollDriver, sandbox: Sandbox, status: int, kind: str
    ) -> None:
        ids = add(sandbox, "m", 5)
        driver(ids)
        sandbox.faults.add("status", status=status)

        assert driver.words(ids) == dict.fromkeys(ids, kind)
        assert driver.asked == ["messages/m/tasks"]

    def test_omitted_task_is_fetched_by_itself_from_then_on(
        self, driver: PollDriver, sandbox: Sandbox
    ) -> None:
        ids = add(sandbox, "m", 5)
        driver(ids)
        sandbox.faults.add("omit", task_id="t2")

        for _ in range(2):
            assert driver.words(ids) == dict.fromkeys(ids, "running")
            assert driver.asked == ["messages/m/tasks", "tasks/t2"]
        driver(["t2"], ["t1", "t3"])
        assert driver.asked == ["tasks/t2"]

    def test_rejoined_task_is_searched_in_the_listing_again(
        self, driver: PollDriver, sandbox: Sandbox
    ) -> None:
        ids = add(sandbox, "m", 5)
        driver(ids)
        omitted = sandbox.faults.add("omit", task_id="t2")
        driver(ids)
        sandbox.faults.remove(omitted)
        driver(["t0", "t1"])
        driver(ids)
        driver(ids)

        assert driver.asked == ["messages/m/tasks"]

    def test_deleted_task_is_not_found(self, driver: PollDriver, sandbox: Sandbox) -> None:
        ids = add(sandbox, "m", 5)
        driver(ids)
        sandbox.qstash.delete_task("t2")

        assert driver.words(ids)["t2"] == "NotFoundError"

    def test_failed_listing_alone_fails_no_wait(self, driver: PollDriver, sandbox: Sandbox) -> None:
        ids = add(sandbox, "m", 5)
        sandbox.faults.add("status", path="/qstash/v1/messages/*", status=500)
        wait = PollTracker(ids, a_policy(outage_tolerance=1))
        for _ in range(5):
            wait.update(driver(wait.unfinished_ids), START)

        assert not wait.take_warnings()
        assert len(wait.unfinished_ids) == 5

    def test_task_without_a_message_is_fetched_by_itself(self, driver: PollDriver, sandbox: Sandbox) -> None:
        for task_id in "ab":
            sandbox.qstash.add_task(task_id, "m", script=FOREVER, extra={"messageId": ""})
        for _ in range(2):
            assert driver.words("ab") == {"a": "running", "b": "running"}
            assert sorted(driver.asked) == ["tasks/a", "tasks/b"]
