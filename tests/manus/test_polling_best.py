"""Polls without ``api_version``: v1 says which tasks are at work, v2 how the others have finished."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from remote_tasks_provider.core.errors import NotFoundError
from remote_tasks_provider.core.states import TaskSnapshot
from remote_tasks_sandbox import Sandbox
from tests.manus.account import add, many
from tests.poll_driver import PollDriver

Make = Callable[..., PollDriver]


@pytest.fixture
def driver(make_driver: Make) -> PollDriver:
    return make_driver(api_version=None)


def sent(driver: PollDriver) -> list[str]:
    """The last poll's requests, with ``task`` for an id."""
    found = []
    for one in driver.calls:
        version, *rest = one.path.split("/")[2:]
        found.append(f"{version}/{'task' if len(rest) > 1 else rest[0]}")
    return found


class TestStates:
    def test_running_tasks_are_one_page_of_v1(self, driver: PollDriver, sandbox: Sandbox) -> None:
        ids = many(sandbox, 40)

        assert driver.words(ids) == dict.fromkeys(ids, "running")
        assert sent(driver) == ["v1/tasks"]

    @pytest.mark.parametrize(
        ("facts", "word"),
        [
            ({"script": ["completed"]}, "completed"),
            ({"script": ["stopped"], "stopped_by_user": True}, "cancelled"),
            ({"script": ["stopped"], "background_jobs": 60}, "running"),
            ({"script": ["failed"]}, "failed"),
            ({"script": [("waiting", None)]}, "waiting"),
            ({"script": [("running", None)]}, "running"),
        ],
        ids=str,
    )
    def test_state_is_the_one_that_v2_would_show(
        self, facts: dict[str, object], word: str, driver: PollDriver, make_driver: Make, sandbox: Sandbox
    ) -> None:
        sandbox.manus.add_task("t1", **facts)  # type: ignore[arg-type]

        assert driver.words(["t1"]) == make_driver(api_version="v2").words(["t1"]) == {"t1": word}

    def test_costs_are_known_while_a_task_runs(self, driver: PollDriver, sandbox: Sandbox) -> None:
        add(sandbox, "t1", credit_usage=7)
        result = driver(["t1"])["t1"]

        assert isinstance(result, TaskSnapshot)
        assert result.credit_usage == 7
        assert sent(driver) == ["v1/task"]

    def test_failure_keeps_the_reason_that_v1_gave(self, driver: PollDriver, sandbox: Sandbox) -> None:
        sandbox.manus.add_task("t1", ["failed"], error="no credits")
        result = driver(["t1"], in_detail=())["t1"]

        assert isinstance(result, TaskSnapshot)
        assert (result.state, result.error) == ("failed", "no credits")

    def test_task_that_finishes_is_reported_at_once_though_it_is_not_due(
        self, driver: PollDriver, sandbox: Sandbox
    ) -> None:
        ids = many(sandbox, 50)
        driver(ids)
        sandbox.manus.set_status("t7", "completed")
        driver.now += 700

        assert driver(ids[10:], free=ids[:10])["t7"].state == "completed"  # type: ignore[union-attr]
        assert sent(driver).count("v2/task.detail") == 1

    def test_jobs_in_the_background_are_followed_by_v2(self, driver: PollDriver, sandbox: Sandbox) -> None:
        sandbox.manus.add_task("t1", ["stopped"], background_jobs=60)
        driver(["t1"])

        assert driver.words(["t1"]) == {"t1": "running"}
        assert sent(driver) == ["v2/task.detail"]
        sandbox.clock.advance(61)
        assert driver.words(["t1"]) == {"t1": "completed"}


class TestMissing:
    def test_finished_task_that_only_v1_knows_is_believed(self, driver: PollDriver, sandbox: Sandbox) -> None:
        sandbox.manus.add_task("t1", ["completed"])
        sandbox.faults.add("status", "/manus/v2/*", status=404)

        assert driver.words(["t1"]) == {"t1": "completed"}

    def test_task_that_only_v2_knows_is_v2s_for_a_while(self, driver: PollDriver, sandbox: Sandbox) -> None:
        add(sandbox, "t1")
        fault = sandbox.faults.add("status", "/manus/v1/*", status=404)

        assert driver.words(["t1"]) == {"t1": "running"}
        assert sent(driver) == ["v1/task", "v2/task.detail"]
        sandbox.faults.remove(fault)
        driver(["t1"])
        assert sent(driver) == ["v2/task.detail"]
        driver.now += 601
        driver(["t1"])
        assert sent(driver) == ["v1/task"]

    def test_task_that_neither_knows_is_not_found(self, driver: PollDriver) -> None:
        for _ in range(2):
            assert isinstance(driver(["t1"])["t1"], NotFoundError)
            assert sent(driver) == ["v1/task", "v2/task.detail"]

    def test_tasks_are_v2s_once_v1_is_gone(
        self, driver: PollDriver, sandbox: Sandbox, caplog: pytest.LogCaptureFixture
    ) -> None:
        ids = many(sandbox, 50)
        sandbox.faults.add("status", "/manus/v1/*", status=410)

        assert driver.words(ids) == dict.fromkeys(ids, "running")
        assert sent(driver) == ["v1/tasks", "v2/task.list"]
        assert driver.words(ids) == dict.fromkeys(ids, "running")
        assert sent(driver) == ["v2/task.list"]
        assert sum("v1 is gone" in one.message for one in caplog.records) == 1
        driver.now += 5 * 3600
        driver(ids)
        assert sent(driver)[0] == "v1/tasks"

    def test_trouble_of_v1_is_trouble(self, driver: PollDriver, sandbox: Sandbox) -> None:
        ids = many(sandbox, 50)
        sandbox.faults.add("status", "/manus/v1/*", status=503)
        driver(ids)

        assert all(one.path.startswith("/manus/v1/") for one in driver.calls)

    def test_tasks_that_v1_does_not_show_are_v2s_at_once(self, driver: PollDriver, sandbox: Sandbox) -> None:
        ids = many(sandbox, 90)
        sandbox.faults.add("status", "/manus/v1/tasks", status=200, body={"object": "list"})
        sandbox.faults.add("status", "/manus/v1/tasks/*", status=404)

        assert driver.words(ids) == dict.fromkeys(ids, "running")
        assert sent(driver) == ["v1/tasks", *["v1/task"] * 40, "v2/task.list"]
        assert driver.words(ids) == dict.fromkeys(ids, "running")
        assert sent(driver) == ["v2/task.list"]

    def test_ends_beyond_the_limit_of_a_poll_come_in_the_next(
        self, driver: PollDriver, sandbox: Sandbox
    ) -> None:
        ids = many(sandbox, 40)
        for task_id in ids:
            sandbox.manus.set_status(task_id, "completed")

        assert len(driver.words(ids, in_detail=())) == 32
        assert len(driver.words(ids, in_detail=())) >= 8

    def test_error_of_v2_leaves_the_end_open(self, driver: PollDriver, sandbox: Sandbox) -> None:
        sandbox.manus.add_task("t1", ["completed"])
        sandbox.faults.add("status", "/manus/v2/task.listMessages", status=503, times=1)

        assert driver.words(["t1"]) == {"t1": "ServerError"}
        assert driver.words(["t1"]) == {"t1": "completed"}

    def test_wrong_key_is_found_out_by_few(self, driver: PollDriver, sandbox: Sandbox) -> None:
        ids = many(sandbox, 30)
        for task_id in ids:
            sandbox.manus.set_status(task_id, "completed")
        sandbox.faults.add("status", "/manus/v2/*", status=401)
        driver(ids)

        assert sent(driver) == ["v1/tasks", "v2/task.detail"]
