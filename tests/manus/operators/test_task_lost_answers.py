"""When it cannot be told what an earlier attempt started: searches, marks, and what a person has to do."""

from __future__ import annotations

import re
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from remote_tasks_provider.core.errors import RemoteTaskError
from remote_tasks_provider.manus.operators import ManusTaskOperator
from tests.manus.airflow_task import Account, Make, die_in_the_request, dying

PROMPT = "Summarise the news in 100 words."
HOURS = [("running", 3600), ("completed", None)]


def asks(**arguments: Any) -> Make:
    given = {"task_id": "ask", "prompt": PROMPT, "poll_interval": 60, **arguments}
    return lambda: ManusTaskOperator(deferrable=False, **given)


class TestCorrelationTag:
    def test_tag_ends_the_title(self, account: Account) -> None:
        account.task().attempt(asks(title="The news"))
        account.task(map_index=3).attempt(asks())

        titles = [one.body["title"] for one in account.manus.created]
        assert titles[0].startswith("The news [af-")
        assert titles[1].startswith("brief.ask[3] scheduled__2026-01-01 [af-")
        assert all(re.search(r" \[af-[0-9a-f]{10}-1\.0-[0-9a-f]{8}\]$", title) for title in titles)

    def test_tag_is_kept_in_a_long_title(self, account: Account) -> None:
        account.task().attempt(asks(title="x" * 5000))

        (title,) = [one.body["title"] for one in account.manus.created]
        assert len(title) < 250
        assert re.search(r" \[af-[0-9a-f]{10}-1\.0-[0-9a-f]{8}\]$", title)

    def test_mapped_tasks_with_the_same_prompt_find_their_own(self, account: Account) -> None:
        account.manus.plan(default=True, script=HOURS)
        tasks = [account.task(map_index=index, retries=1) for index in range(3)]
        for task in tasks:
            die_in_the_request(task, asks())
            task.retry()

        assert [task.attempt(asks())["id"] for task in tasks] == account.created
        assert len(account.created) == 3

    def test_mapped_tasks_find_their_own_below_airflow_33(self, account: Account) -> None:
        account.manus.plan(default=True, script=HOURS)
        tasks = [account.task(map_index=index, retries=1, remembers=False) for index in range(2)]
        for task in tasks:
            die_in_the_request(task, asks())
            task.retry()

        assert [task.attempt(asks())["id"] for task in tasks] == account.created
        assert len(account.created) == 2

    @pytest.mark.parametrize("version", ["v1", "v2", "best"])
    def test_refused_mapped_task_does_not_adopt_another(self, account: Account, version: str) -> None:
        account.connect(version, max_attempts=1)
        account.manus.plan(default=True, script=HOURS)
        first, second = account.task(map_index=0), account.task(map_index=1, retries=1)
        with pytest.raises(SystemExit):
            first.attempt(dying(asks()))
        account.faults.add("status", method="POST", times=1, status=429)

        assert second.attempts(asks())["id"] == account.created[1]
        assert len(account.created) == 2

    def test_tenth_attempt_is_not_taken_for_the_first(self, account: Account) -> None:
        account.manus.plan(default=True, script=HOURS)
        task = account.task(retries=20, remembers=False)
        task.try_number = 11
        die_in_the_request(task, asks())
        task.retry()

        assert [task.attempt(asks())["id"]] == account.created


class TestRecordedTaskIsGone:
    @pytest.mark.parametrize("version", ["v1", "v2", "best"])
    def test_deleted_task_is_submitted_again(self, account: Account, version: str) -> None:
        account.connect(version)
        task = account.task(retries=1)
        with pytest.raises(SystemExit):
            task.attempt(dying(asks()))
        account.manus.delete_task(account.created[0])
        account.sandbox.clock.advance(600)
        task.retry()

        assert task.attempt(asks())["id"] == account.created[1]

    def test_fresh_task_is_not_submitted_again(self, account: Account) -> None:
        account.manus.plan(hidden_for=60)
        task = account.task(retries=2)
        with pytest.raises(SystemExit):
            task.attempt(dying(asks()))
        task.retry()

        assert [task.attempt(asks())["id"]] == account.created

    def test_listed_task_is_not_submitted_again_for_a_404(self, account: Account) -> None:
        account.manus.plan(script=HOURS)
        task = account.task(retries=1)
        with pytest.raises(SystemExit):
            task.attempt(dying(asks()))
        account.sandbox.clock.advance(600)
        account.faults.add("status", path="*/task.detail", status=404, times=1)
        task.retry()

        assert [task.attempt(asks())["id"]] == account.created

    def test_task_of_another_account_is_left_to_a_person(self, account: Account) -> None:
        task = account.task(retries=1)
        with pytest.raises(SystemExit):
            task.attempt(dying(asks()))
        account.manus.delete_task(account.created[0])
        assert task.store is not None
        record = task.store["remote_task_submission"]
        task.store.set("remote_task_submission", record | {"account": "of another key"})
        task.retry()

        with pytest.raises(AirflowFailException, match=f"{account.created[0]}.*another host or key"):
            task.attempt(asks())

        assert len(account.created) == 1

    def test_server_error_does_not_submit_again(self, account: Account) -> None:
        task = account.task(retries=2)
        with pytest.raises(SystemExit):
            task.attempt(dying(asks()))
        account.faults.add("status", method="GET", status=500)
        task.retry()

        with pytest.raises(RemoteTaskError):
            task.attempt(asks())

        assert len(account.created) == 1


class TestTwoCandidates:
    def test_candidates_are_left_to_a_person(self, account: Account) -> None:
        account.connect("v1")
        account.manus.plan(default=True, script=HOURS)
        task = account.task(retries=1)
        other = account.manus.add_task(prompt=PROMPT, script=HOURS)
        die_in_the_request(task, asks())
        task.retry()

        with pytest.raises(AirflowFailException) as failed:
            task.attempt(asks())

        assert type(failed.value.__cause__).__name__ == "OrphanedStartError"
        assert all(word in str(failed.value) for word in (other, account.created[0], "Then clear this task"))
        assert len(account.created) == 1

    def test_clear_submits_after_a_person_was_told(self, account: Account) -> None:
        account.connect("v1")
        account.manus.plan(default=True, script=HOURS)
        task = account.task(retries=1)
        account.manus.add_task(prompt=PROMPT, script=HOURS)
        die_in_the_request(task, asks())
        task.retry()
        with pytest.raises(AirflowFailException):
            task.attempt(asks())
        account.manus.delete_task(account.created[0])
        task.clear()

        assert task.attempt(asks())["id"] == account.created[1]

    def test_clear_without_having_been_told_asks_a_person(self, account: Account) -> None:
        account.connect("v1")
        account.manus.plan(default=True, script=HOURS)
        task = account.task(retries=1)
        die_in_the_request(task, asks())
        task.clear()

        with pytest.raises(AirflowFailException, match=account.created[0]):
            task.attempt(asks())

        assert len(account.created) == 1


class TestHiddenTask:
    def hidden(self, **arguments: Any) -> Make:
        return asks(hide_in_task_list=True, **arguments)

    @pytest.fixture(autouse=True)
    def _unlisted(self, account: Account) -> None:
        account.faults.add("omit")

    @pytest.mark.parametrize("remembers", [True, False])
    def test_retry_cannot_tell_and_fails(self, account: Account, remembers: bool) -> None:
        task = account.task(retries=1, remembers=remembers)
        die_in_the_request(task, self.hidden())
        task.retry()

        with pytest.raises(AirflowFailException, match="not known whether an earlier request submitted"):
            task.attempt(self.hidden())

        assert len(account.created) == 1

    def test_clear_submits_another_task(self, account: Account) -> None:
        task = account.task(retries=2)
        die_in_the_request(task, self.hidden())
        task.retry()
        with pytest.raises(AirflowFailException):
            task.attempt(self.hidden())
        account.manus.delete_task(account.created[0])
        task.clear()

        assert task.attempt(self.hidden())["id"] == account.created[1]

    def test_clear_without_a_record_needs_a_policy(self, account: Account) -> None:
        task = account.task(retries=2, remembers=False)
        die_in_the_request(task, self.hidden())
        task.clear()
        with pytest.raises(AirflowFailException, match="on_orphaned_intent='start'"):
            task.attempt(self.hidden())
        account.manus.delete_task(account.created[0])
        task.clear()

        result = task.attempt(self.hidden(on_orphaned_intent="start"))

        assert [result["id"]] == account.created[1:]

    def test_lost_answer_is_not_submitted_twice(self, account: Account) -> None:
        account.faults.add("drop_after", path="*/task.create", times=1)
        task = account.task(retries=1)

        with pytest.raises(AirflowFailException, match="Nothing more was submitted"):
            task.attempt(self.hidden())

        assert len(account.created) == 1

    def test_policy_start_submits_another_task(self, account: Account) -> None:
        task = account.task(retries=1)
        die_in_the_request(task, self.hidden())
        task.retry()

        assert task.attempt(self.hidden(on_orphaned_intent="start"))["id"] == account.created[1]

    def test_recorded_task_is_found_by_its_id(self, account: Account) -> None:
        task = account.task(retries=1)
        with pytest.raises(SystemExit):
            task.attempt(dying(self.hidden()))
        task.retry()

        assert [task.attempt(self.hidden())["id"]] == account.created


class TestNoCandidate:
    def lost(self, account: Account, **facts: Any) -> Any:
        """An attempt that was killed before Manus read its request."""
        task = account.task(retries=1, **facts)
        die_in_the_request(task, asks())
        account.manus.delete_task(account.created[0])
        task.retry()
        return task

    def test_policy_search_submits_after_a_full_listing(self, account: Account) -> None:
        assert self.lost(account).attempt(asks())["id"] == account.created[1]

    def test_policy_fail_submits_nothing(self, account: Account) -> None:
        with pytest.raises(AirflowFailException, match="on_orphaned_intent='start'"):
            self.lost(account).attempt(asks(on_orphaned_intent="fail"))

        assert len(account.created) == 1

    def test_policy_fail_lets_a_first_attempt_submit(self, account: Account) -> None:
        assert account.task().attempt(asks(on_orphaned_intent="fail"))["id"] == account.created[0]

    def test_policy_fail_lets_a_refused_submission_be_repeated(self, account: Account) -> None:
        account.connect("v2", max_attempts=1)
        account.faults.add("status", path="*/task.create", times=1, status=429)
        task = account.task(retries=1)

        assert [task.attempts(asks(on_orphaned_intent="fail"))["id"]] == account.created

    @pytest.mark.parametrize(
        "record",
        [{"fingerprint": "of another version", "colour": "blue"}, "garbage", ["list"], {"task_id": None}],
    )
    def test_unreadable_record_is_left_to_a_person(self, account: Account, record: Any) -> None:
        task = account.task(retries=1)
        assert task.store is not None
        task.store.set("remote_task_submission", record)

        with pytest.raises(AirflowFailException, match="not known whether"):
            task.attempt(asks())

        assert account.created == []


@pytest.mark.parametrize("name", ["on_stale_state", "on_orphaned_intent"])
def test_unknown_policy_is_refused_at_parse_time(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        asks(**{name: "guess"})()
