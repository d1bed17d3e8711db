"""How QStash tasks are looked at: which calls a look takes, and that no end is missed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from remote_tasks_provider.core.polling.tracker import PollTracker
from remote_tasks_provider.qstash.polling import QStashTaskPollStrategy
from remote_tasks_provider.qstash.service import QSTASH
from remote_tasks_sandbox import Sandbox, SandboxServer
from tests.conftest import QSTASH_TOKEN
from tests.core.build import START, a_policy
from tests.poll_driver import Looker

FOREVER = [("active", None)]


@pytest.fixture(params=["look", "alook"])
def make_looker(
    request: pytest.FixtureRequest, server: SandboxServer, sandbox: Sandbox
) -> Iterator[Callable[..., Looker]]:
    lookers: list[Looker] = []

    def make(key: str = QSTASH_TOKEN, **extras: Any) -> Looker:
        lookers.append(Looker(request.param, QSTASH, server.qstash_url, key, sandbox, **extras))
        return lookers[-1]

    yield make
    for looker in lookers:
        looker.__exit__(None, None, None)


@pytest.fixture
def looker(make_looker: Callable[..., Looker]) -> Looker:
    return make_looker()


def add(sandbox: Sandbox, message_id: str, count: int, prefix: str = "t") -> list[str]:
    ids = [f"{prefix}{number}" for number in range(count)]
    for task_id in ids:
        sandbox.qstash.add_task(task_id, message_id, script=FOREVER)
    return ids


class TestOneByOne:
    def test_the_first_look_asks_for_each(self, looker: Looker, sandbox: Sandbox) -> None:
        ids = add(sandbox, "m", 3)

        assert looker.words(ids) == dict.fromkeys(ids, "running")
        assert sorted(looker.asked) == [f"tasks/{task_id}" for task_id in ids]

    def test_tasks_that_share_no_message_are_always_asked_for_singly(
        self, looker: Looker, sandbox: Sandbox
    ) -> None:
        ids = [*add(sandbox, "m1", 1, "a"), *add(sandbox, "m2", 1, "b")]
        for _ in range(3):
            assert looker.words(ids) == dict.fromkeys(ids, "running")
            assert sorted(looker.asked) == ["tasks/a0", "tasks/b0"]

    def test_what_is_not_due_costs_nothing(self, looker: Looker, sandbox: Sandbox) -> None:
        add(sandbox, "m", 3)

        assert looker.words(["t0"], ["t1", "t2"]) == {"t0": "running"}
        assert looker.words([], ["t1", "t2"]) == {}
        assert looker.asked == []

    def test_one_poisoned_id_concerns_nobody_else(self, looker: Looker, sandbox: Sandbox) -> None:
        ids = [*add(sandbox, "m", 2), "poison"]
        for _ in range(3):
            found = looker.words(ids)
            assert found == {"t0": "running", "t1": "running", "poison": "NotFoundError"}

    def test_a_wrong_key_is_told_to_all_at_once(
        self, make_looker: Callable[..., Looker], sandbox: Sandbox
    ) -> None:
        ids = add(sandbox, "m", 30)
        looker = make_looker(key="wrong")

        assert looker.words(ids) == dict.fromkeys(ids, "AuthenticationError")
        assert len(looker.calls) <= 8


class TestSharedMessages:
    def test_from_the_second_look_on_a_message_is_one_call(self, looker: Looker, sandbox: Sandbox) -> None:
        ids = add(sandbox, "m", 30)
        looker(ids)
        sandbox.qstash.set_status("t7", "delivered")

        for _ in range(3):
            assert looker.words(ids) == dict.fromkeys(ids, "running") | {"t7": "completed"}
            assert looker.asked == ["messages/m/tasks"]

    def test_several_messages_are_one_call_each(self, looker: Looker, sandbox: Sandbox) -> None:
        ids = [
            *add(sandbox, "m1", 5, "a"),
            *add(sandbox, "m2", 5, "b"),
            *add(sandbox, "m3", 1, "c"),
        ]
        looker(ids)

        assert looker.words(ids) == dict.fromkeys(ids, "running")
        assert sorted(looker.asked) == ["messages/m1/tasks", "messages/m2/tasks", "tasks/c0"]

    def test_messages_are_asked_for_in_one_batch(self) -> None:
        strategy = QStashTaskPollStrategy()
        strategy._message_of = {"a0": "m1", "a1": "m1", "b0": "m2", "b1": "m2"}

        batch = next(strategy.plan(["a0", "a1", "b0", "b1"]))
        assert [operation.request.path for operation in batch] == [
            "/v1/messages/m1/tasks",
            "/v1/messages/m2/tasks",
        ]

    def test_tasks_of_the_message_that_are_not_due_are_told_of_too(
        self, looker: Looker, sandbox: Sandbox
    ) -> None:
        ids = add(sandbox, "m", 4)
        looker(ids)

        assert looker.words(ids[:1], ids[1:]) == dict.fromkeys(ids, "running")
        assert looker.asked == ["messages/m/tasks"]

    def test_a_message_that_nothing_is_due_of_is_left_alone(self, looker: Looker, sandbox: Sandbox) -> None:
        ids, others = add(sandbox, "m", 2), add(sandbox, "m2", 3, "b")
        looker([*ids, *others])

        assert looker.words(ids, others) == dict.fromkeys(ids, "running")
        assert looker.asked == ["messages/m/tasks"]

    def test_tasks_that_nobody_waits_for_are_not_told_of(self, looker: Looker, sandbox: Sandbox) -> None:
        add(sandbox, "m", 10)
        looker(["t1", "t2"])

        assert set(looker(["t1", "t2"])) == {"t1", "t2"}

    def test_when_one_is_left_it_is_asked_for_singly(self, looker: Looker, sandbox: Sandbox) -> None:
        ids = add(sandbox, "m", 3)
        looker(ids)
        looker(ids)

        assert looker.words(["t1"]) == {"t1": "running"}
        assert looker.asked == ["tasks/t1"]


class TestPages:
    def test_tasks_beyond_the_first_page_are_paged_to(self, looker: Looker, sandbox: Sandbox) -> None:
        ids = add(sandbox, "m", 250)
        looker(ids)

        assert looker.words(ids) == dict.fromkeys(ids, "running")
        assert looker.asked == ["messages/m/tasks"] * 3

    def test_a_page_is_not_read_when_all_were_seen(self, looker: Looker, sandbox: Sandbox) -> None:
        ids = add(sandbox, "m", 250)[-20:]
        looker(ids)

        assert looker.words(ids) == dict.fromkeys(ids, "running")
        assert looker.asked == ["messages/m/tasks"]

    def test_a_few_far_down_are_asked_for_singly(self, looker: Looker, sandbox: Sandbox) -> None:
        ids = add(sandbox, "m", 900)[:3]
        looker(ids)
        looker(ids)

        assert looker.words(ids) == dict.fromkeys(ids, "running")
        assert sorted(looker.asked) == ["tasks/t0", "tasks/t1", "tasks/t2"]

    def test_many_far_down_are_paged_to(self, looker: Looker, sandbox: Sandbox) -> None:
        ids = add(sandbox, "m", 500)[:100]
        looker(ids)

        assert looker.words(ids) == dict.fromkeys(ids, "running")
        assert looker.asked == ["messages/m/tasks"] * 5

    def test_the_last_one_is_not_paged_for(self, looker: Looker, sandbox: Sandbox) -> None:
        ids = add(sandbox, "m", 150)[49:51]
        looker(ids)

        assert looker.words(ids) == dict.fromkeys(ids, "running")
        assert looker.asked == ["messages/m/tasks", "tasks/t49"]

    def test_paging_ends_somewhere_and_is_not_tried_again(self, looker: Looker, sandbox: Sandbox) -> None:
        ids = add(sandbox, "m", 1100)[:20]
        looker(ids)
        assert looker.words(ids) == dict.fromkeys(ids, "running")
        assert looker.asked[:10] == ["messages/m/tasks"] * 10

        assert looker.words(ids) == dict.fromkeys(ids, "running")
        assert len(looker.asked) == 20

    def test_a_list_that_leads_in_circles_ends(self, looker: Looker, sandbox: Sandbox) -> None:
        ids = [*add(sandbox, "m", 30), "gone"]
        looker(ids)
        sandbox.faults.add("repeat_cursor")
        found = looker.words(ids)

        assert found == dict.fromkeys(ids, "running") | {"gone": "NotFoundError"}
        assert len(looker.calls) <= 11


class TestBadLists:
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
    def test_its_tasks_are_asked_for_singly_until_it_answers_again(
        self, make_looker: Callable[..., Looker], sandbox: Sandbox, fault: dict[str, Any]
    ) -> None:
        looker = make_looker(read_timeout=0.2)
        ids, others = add(sandbox, "m", 3), add(sandbox, "m2", 3, "b")
        looker([*ids, *others])
        bad = sandbox.faults.add(**fault, path="/qstash/v1/messages/m/*")

        assert looker.words([*ids, *others]) == dict.fromkeys([*ids, *others], "running")
        assert sorted(looker.asked) == [
            "messages/m/tasks",
            "messages/m2/tasks",
            *[f"tasks/{task_id}" for task_id in ids],
        ]
        sandbox.faults.remove(bad)
        looker(ids)
        assert looker.asked == ["messages/m/tasks"]

    @pytest.mark.parametrize(("status", "kind"), [(401, "AuthenticationError"), (429, "RateLimitedError")])
    def test_trouble_that_all_would_meet_is_told_by_the_list(
        self, looker: Looker, sandbox: Sandbox, status: int, kind: str
    ) -> None:
        ids = add(sandbox, "m", 5)
        looker(ids)
        sandbox.faults.add("status", status=status)

        assert looker.words(ids) == dict.fromkeys(ids, kind)
        assert looker.asked == ["messages/m/tasks"]

    def test_a_task_that_the_list_omits_is_asked_for_singly_from_then_on(
        self, looker: Looker, sandbox: Sandbox
    ) -> None:
        ids = add(sandbox, "m", 5)
        looker(ids)
        sandbox.faults.add("omit", task_id="t2")

        for _ in range(2):
            assert looker.words(ids) == dict.fromkeys(ids, "running")
            assert looker.asked == ["messages/m/tasks", "tasks/t2"]
        looker(["t2"], ["t1", "t3"])
        assert looker.asked == ["tasks/t2"]

    def test_one_that_comes_again_is_looked_for_in_the_list_again(
        self, looker: Looker, sandbox: Sandbox
    ) -> None:
        ids = add(sandbox, "m", 5)
        looker(ids)
        omitted = sandbox.faults.add("omit", task_id="t2")
        looker(ids)
        sandbox.faults.remove(omitted)
        looker(["t0", "t1"])
        looker(ids)
        looker(ids)

        assert looker.asked == ["messages/m/tasks"]

    def test_a_task_that_vanishes_is_not_found(self, looker: Looker, sandbox: Sandbox) -> None:
        ids = add(sandbox, "m", 5)
        looker(ids)
        sandbox.qstash.delete_task("t2")

        assert looker.words(ids)["t2"] == "NotFoundError"

    def test_no_wait_fails_because_of_the_list_alone(self, looker: Looker, sandbox: Sandbox) -> None:
        ids = add(sandbox, "m", 5)
        sandbox.faults.add("status", path="/qstash/v1/messages/*", status=500)
        wait = PollTracker(ids, a_policy(max_failures=1))
        for _ in range(5):
            wait.take(looker(wait.open_ids), START)

        assert not wait.take_notes()
        assert len(wait.open_ids) == 5

    def test_a_task_without_a_message_is_asked_for_singly(self, looker: Looker, sandbox: Sandbox) -> None:
        for task_id in "ab":
            sandbox.qstash.add_task(task_id, "m", script=FOREVER, extra={"messageId": ""})
        for _ in range(2):
            assert looker.words("ab") == {"a": "running", "b": "running"}
            assert sorted(looker.asked) == ["tasks/a", "tasks/b"]
