"""Nothing is paid twice: lost requests, crashes, clears and changed inputs, at real sockets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from remote_tasks_provider.core.errors import RemoteTaskError
from remote_tasks_provider.manus.operators import ManusTaskOperator
from tests.manus.airflow_task import MODES, Account, AirflowTask, Make, die_in_the_request, dying

PROMPT = "Summarise the news in 100 words."
C1, C2, C3 = (f"00000000-0000-4000-8000-00000000000{number}" for number in (1, 2, 3))
CREATE = {"v1": "*/v1/tasks", "v2": "*/task.create", "best": "*/task.create"}


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["v1", "v2", "best"])
def version(request: pytest.FixtureRequest, account: Account) -> str:
    account.connect(request.param)
    return str(request.param)


@pytest.fixture(params=[True, False], ids=["with a store", "without"])
def remembers(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def asks(mode: str = "on a worker", **arguments: Any) -> Make:
    given = {"task_id": "ask", "prompt": PROMPT, "poll_interval": 60, **arguments}
    return lambda: ManusTaskOperator(deferrable=mode == "deferred", **given)


def ends_with_its_task_or_with_a_person(
    account: Account, attempt: Callable[[], Any], *, is_certain: bool
) -> None:
    """Check that no second task is paid, and that a task that only looks the same is not taken."""
    if is_certain:
        assert [attempt()["id"]] == account.created
        return
    with pytest.raises(AirflowFailException) as failed:
        attempt()
    assert type(failed.value.__cause__).__name__ == "OrphanedStartError"
    assert all(word in str(failed.value) for word in (account.created[0], "on_orphaned_intent='start'"))
    assert len(account.created) == 1


class TestLostRequest:
    @pytest.mark.parametrize(
        "fault",
        [
            {"kind": "drop_after"},
            {"kind": "drop_before"},
            {"kind": "status", "status": 500},
            {"kind": "status", "status": 503},
            {"kind": "garbage", "form": "truncated"},
            {"kind": "garbage", "form": "html"},
            {"kind": "status", "status": 429, "headers": {"retry-after": "120"}},
        ],
        ids=lambda fault: "-".join(str(part) for part in fault.values() if not isinstance(part, dict)),
    )
    def test_retries_lead_to_one_task(
        self, account: Account, version: str, remembers: bool, fault: dict[str, Any]
    ) -> None:
        account.faults.add(path=CREATE[version], method="POST", times=1, **fault)
        task = account.task(remembers=remembers, retries=2)
        had_effect = fault["kind"] == "drop_after" or fault.get("form") == "truncated"

        ends_with_its_task_or_with_a_person(
            account, lambda: task.attempts(asks()), is_certain=version != "v1" or not had_effect
        )

    def test_lost_answer_costs_no_attempt(self, account: Account, remembers: bool) -> None:
        account.faults.add("drop_after", path=CREATE["v2"], method="POST", times=1)
        task = account.task(remembers=remembers)

        assert task.attempt(asks())["id"] == account.created[0]
        assert len(account.created) == 1

    def test_task_that_is_listed_late_is_waited_for(self, account: Account, version: str) -> None:
        account.manus.plan(hidden_for=60)
        account.faults.add("drop_after", path=CREATE[version], method="POST", times=1)

        ends_with_its_task_or_with_a_person(
            account, lambda: account.task().attempt(asks()), is_certain=version != "v1"
        )

    def test_repeated_connection_errors_lead_to_one_task(
        self, account: Account, mode: str, version: str
    ) -> None:
        account.faults.add("drop_after", path=CREATE[version], method="POST")
        account.faults.add("status", path="*/v1/tasks" if version == "v1" else "*/task.list", method="GET")
        account.faults.add("hide", seconds=1)
        task = account.task(retries=1)
        with pytest.raises(RemoteTaskError):
            task.attempt(asks(mode))
        account.faults.clear()
        task.retry()

        ends_with_its_task_or_with_a_person(
            account, lambda: task.attempt(asks(mode)), is_certain=version != "v1"
        )


class TestKilledWorker:
    def test_kill_between_intent_and_answer_leads_to_one_task(
        self, account: Account, mode: str, version: str
    ) -> None:
        task = account.task(retries=1)
        die_in_the_request(task, asks(mode))
        task.retry()

        ends_with_its_task_or_with_a_person(
            account, lambda: task.attempt(asks(mode)), is_certain=version != "v1"
        )

    def test_kill_between_answer_and_record_leads_to_one_task(
        self, account: Account, mode: str, version: str
    ) -> None:
        task = account.task(retries=1)
        assert task.store is not None
        keep = task.store.set

        def killed_at_the_second_write(key: str, value: Any) -> None:
            if key == "remote_task_submission" and value["task_id"]:
                raise SystemExit
            keep(key, value)

        task.store.set = killed_at_the_second_write  # type: ignore[method-assign]
        with pytest.raises(SystemExit):
            task.attempt(asks(mode))
        del task.store.set
        task.retry()

        ends_with_its_task_or_with_a_person(
            account, lambda: task.attempt(asks(mode)), is_certain=version != "v1"
        )

    def test_kill_during_the_wait_leads_to_one_task(
        self, account: Account, mode: str, version: str, remembers: bool
    ) -> None:
        account.manus.plan(script=[("running", 3600), ("completed", None)])
        task = account.task(remembers=remembers, retries=1)
        if mode == "deferred":
            task.defer(asks(mode))
        else:
            with pytest.raises(SystemExit):
                task.attempt(dying(asks(mode)))
        task.retry()

        ends_with_its_task_or_with_a_person(
            account, lambda: task.attempt(asks(mode)), is_certain=remembers or version != "v1"
        )

    def test_finished_task_is_adopted_with_its_result(
        self, account: Account, mode: str, version: str, remembers: bool
    ) -> None:
        account.manus.plan(answer="The news.")
        task = account.task(remembers=remembers, retries=1)
        with pytest.raises(SystemExit):
            task.attempt(dying(asks()))
        account.sandbox.clock.advance(3600)
        task.retry()

        def attempt() -> Any:
            result = task.attempt(asks(mode))
            assert result["text"] == "The news."
            return result

        ends_with_its_task_or_with_a_person(account, attempt, is_certain=remembers or version != "v1")


class TestClear:
    @pytest.fixture(autouse=True)
    def _slow(self, account: Account) -> None:
        account.manus.plan(default=True, script=[("running", 3600), ("completed", None)])

    def test_clear_on_a_worker_resumes_the_task(
        self, account: Account, version: str, remembers: bool
    ) -> None:
        task = account.task(remembers=remembers)
        with pytest.raises(SystemExit):
            task.attempt(dying(asks()))
        task.clear_while_running()

        ends_with_its_task_or_with_a_person(
            account, lambda: task.attempt(asks()), is_certain=remembers or version != "v1"
        )

    def test_clear_while_deferred_resumes_the_task(
        self, account: Account, version: str, remembers: bool
    ) -> None:
        task = account.task(remembers=remembers, retries=2)
        task.defer(asks("deferred"))
        task.clear()

        ends_with_its_task_or_with_a_person(
            account, lambda: task.attempt(asks("deferred")), is_certain=remembers or version != "v1"
        )

    def test_resumed_task_is_kept_on_a_retry(self, account: Account, version: str) -> None:
        task = account.task(retries=2)
        task.defer(asks("deferred"))
        task.clear()
        task.defer(asks("deferred"))
        account.sandbox.clock.advance(7200)
        task.retry()

        assert [task.attempt(asks("deferred"))["id"]] == account.created

    def test_clear_after_success_submits_another_task(
        self, account: Account, mode: str, version: str, remembers: bool
    ) -> None:
        task = account.task(remembers=remembers, retries=2)
        first = task.attempt(asks(mode))
        task.clear()
        second = task.attempt(asks(mode))

        assert account.created == [first["id"], second["id"]]

    def test_clear_after_success_does_not_adopt_the_earlier_task(self, account: Account) -> None:
        account.manus.plan(script=[("running", 1), ("completed", None)])
        task = account.task(retries=2)
        first = task.attempt(asks())
        task.clear()
        account.faults.add("drop_after", path=CREATE["v2"], method="POST", times=1)

        second = task.attempt(asks())

        assert account.created == [first["id"], second["id"]]

    def test_clear_after_success_resends_a_lost_request(self, account: Account) -> None:
        account.manus.plan(script=[("running", 1), ("completed", None)])
        task = account.task(retries=2)
        first = task.attempt(asks())
        task.clear()
        account.faults.add("drop_before", path=CREATE["v2"], method="POST", times=1)

        second = task.attempts(asks())

        assert account.created == [first["id"], second["id"]]


class TestChangedInputs:
    def started(self, account: Account, **facts: Any) -> AirflowTask:
        account.manus.plan(script=[("running", 3600), ("completed", None)])
        task = account.task(retries=2, **facts)
        with pytest.raises(SystemExit):
            task.attempt(dying(asks()))
        task.retry()
        return task

    def test_changed_inputs_fail_and_name_the_choices(
        self, account: Account, mode: str, version: str
    ) -> None:
        task = self.started(account)

        with pytest.raises(AirflowFailException) as failed:
            task.attempt(asks(mode, prompt="Something else."))

        text = str(failed.value)
        assert type(failed.value.__cause__).__name__ == "StaleStartError"
        assert all(word in text for word in (account.created[0], "'reattach'", "'restart'", "running"))
        assert len(account.created) == 1
        assert account.word(account.created[0]) == "running"

    def test_policy_reattach_takes_the_earlier_result(
        self, account: Account, mode: str, version: str
    ) -> None:
        task = self.started(account)

        result = task.attempt(asks(mode, prompt="Something else.", on_stale_state="reattach"))

        assert account.created == [result["id"]]

    def test_policy_restart_stops_the_earlier_task(self, account: Account, mode: str) -> None:
        task = self.started(account)

        result = task.attempt(asks(mode, prompt="Something else.", on_stale_state="restart"))

        assert account.created == [account.created[0], result["id"]]
        assert account.word(account.created[0]) == "stopped"
        assert account.manus.created[1].body["message"]["content"] == "Something else."

    def test_restarted_task_is_resumed_by_a_retry(self, account: Account) -> None:
        task = self.started(account)
        account.manus.plan(script=[("running", 3600), ("completed", None)])
        changed = asks(prompt="Something else.", on_stale_state="restart")
        with pytest.raises(SystemExit):
            task.attempt(dying(changed))
        task.retry()

        assert task.attempt(changed)["id"] == account.created[1]
        assert len(account.created) == 2

    def test_policy_restart_needs_v2(self, account: Account) -> None:
        account.connect("v1")
        task = self.started(account)

        with pytest.raises(AirflowFailException, match="stopping a task needs API v2"):
            task.attempt(asks(prompt="Something else.", on_stale_state="restart"))

        assert len(account.created) == 1

    def test_lost_request_with_other_inputs_fails(self, account: Account) -> None:
        task = account.task(retries=2)
        die_in_the_request(task, asks())
        task.retry()

        with pytest.raises(AirflowFailException, match="other inputs"):
            task.attempt(asks(prompt="Something else."))

        assert len(account.created) == 1

    def test_changed_prompt_hides_a_lost_request_with_v1(self, account: Account) -> None:
        account.connect("v1")
        task = account.task(retries=2)
        die_in_the_request(task, asks())
        task.retry()

        with pytest.raises(AirflowFailException, match="not known whether"):
            task.attempt(asks(prompt="Something else."))

        assert len(account.created) == 1

    def test_equal_inputs_in_another_process_are_unchanged(self, account: Account, tmp_path: Any) -> None:
        (tmp_path / "data.csv").write_text("1,2")
        validation = {
            "attachments": [f"file://{tmp_path}/data.csv", "https://example.com/a.pdf"],
            "structured_output_schema": {
                "type": "object",
                "properties": {"n": {"type": "integer"}},
                "required": ["n"],
                "additionalProperties": False,
            },
        }
        account.manus.plan(script=[("running", 3600), ("completed", None)])
        task = account.task(retries=2)
        with pytest.raises(SystemExit):
            task.attempt(dying(asks(**validation)))
        task.retry()

        assert [task.attempt(asks(**validation))["id"]] == account.created


class TestCredits:
    @pytest.mark.parametrize("version", ["v2", "best"], indirect=True)
    def test_task_is_submitted_only_with_enough_credits(self, account: Account, version: str) -> None:
        account.sandbox.settings.manus_credits = 49
        with pytest.raises(AirflowFailException, match=r"has 49 credits, fewer than min_credits \(50\)"):
            account.task(retries=3).attempt(asks(min_credits=50))
        assert account.created == []

        account.sandbox.settings.manus_credits = 50
        account.task().attempt(asks(min_credits="50"))
        assert len(account.created) == 1

    @pytest.mark.parametrize("version", ["v2"], indirect=True)
    def test_retry_re_attaches_whatever_credits_are_left(self, account: Account, version: str) -> None:
        account.sandbox.settings.manus_credits = 50
        task = account.task(retries=1)
        die_in_the_request(task, asks(min_credits=50))
        account.sandbox.settings.manus_credits = 10
        task.retry()

        assert [task.attempt(asks(min_credits=50))["id"]] == account.created

    @pytest.mark.parametrize("version", ["v1"], indirect=True)
    def test_credits_need_api_v2(self, account: Account, version: str) -> None:
        with pytest.raises(AirflowFailException, match="min_credits needs API v2"):
            account.task().attempt(asks(min_credits=50))


class TestConnectors:
    def connectors(self, account: Account, version: str) -> Any:
        body = account.manus.created[-1].body
        return (body if version == "v1" else body["message"]).get("connectors", "the account's")

    @pytest.mark.parametrize(
        ("given", "sent"), [({}, "the account's"), ({"connectors": []}, []), ({"connectors": [C1]}, [C1])]
    )
    def test_connectors_are_those_that_are_named(
        self, account: Account, version: str, given: dict[str, Any], sent: Any
    ) -> None:
        account.task().attempt(asks(**given))

        assert self.connectors(account, version) == sent

    @pytest.mark.parametrize(("allowed", "sent"), [(f"{C1}, {C2}", [C1, C2]), ("none", [])])
    def test_connection_names_the_default(
        self, account: Account, version: str, allowed: str, sent: list[str]
    ) -> None:
        account.connect(version, connectors=allowed)
        account.task().attempt(asks())

        assert self.connectors(account, version) == sent

    @pytest.mark.parametrize("allowed", [f"{C1}, {C2}", "none"])
    def test_connector_that_the_connection_does_not_allow_is_refused(
        self, account: Account, version: str, allowed: str
    ) -> None:
        account.connect(version, connectors=allowed)
        with pytest.raises(
            AirflowFailException,
            match=f"connectors has '{C3}', which connection",
        ):
            account.task().attempt(asks(connectors=[C3]))
        assert account.created == []


class TestExtraBody:
    @pytest.mark.parametrize("version", ["v2"], indirect=True)
    @pytest.mark.parametrize("name", ["message", "title", "agent_profile"])
    def test_field_that_has_a_parameter_is_refused(self, account: Account, version: str, name: str) -> None:
        with pytest.raises(AirflowFailException, match=f"extra_body has '{name}', which this provider sends"):
            account.task().attempt(asks(extra_body={name: "a"}))
        assert account.created == []
