"""What an attempt decides: from a record, from a search, and after a request whose answer never came."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, replace
from typing import Any

import pytest

from remote_tasks_provider.core.errors import (
    AuthenticationError,
    ConnectionConfigError,
    InvalidArgumentError,
    InvalidRequestError,
    InvalidResponseError,
    NotFoundError,
    OrphanedStartError,
    RateLimitedError,
    RemoteTaskError,
    ServerError,
    StaleStartError,
    TransportError,
)
from remote_tasks_provider.core.states import TaskState
from remote_tasks_provider.core.submission import (
    Attempt,
    Candidate,
    CorrelationTag,
    Decision,
    SearchResult,
    SubmissionPolicy,
    SubmissionRecord,
    decide_from_record,
    decide_from_search,
    inputs_of,
    is_open,
    may_have_submitted,
)
from tests.core.build import START, an_api_error

FINGERPRINT, OTHER = "0123456789abcdef", "fedcba9876543210"
# Airflow's max_tries is 1 for a task with one retry, and 2 after a clear of its first attempt.
FIRST, RETRY = Attempt(1, 1, 1), Attempt(2, 1, 1)
CLEARED, CLEARED_AND_RETRIED = Attempt(2, 2, 1), Attempt(3, 2, 1)
LOST = SubmissionRecord(FINGERPRINT, START, 1, max_tries=1, key="k", account="a", ends_by=START + 60)
RECORD = replace(LOST, task_id="t1", url="https://example.com/t1")
OLD_RECORD = SubmissionRecord(FINGERPRINT, START, 1, "t1", "https://example.com/t1")
ENDS = [TaskState.COMPLETED, TaskState.FAILED, TaskState.CANCELLED]
GOING = [TaskState.RUNNING, TaskState.WAITING, TaskState.PENDING, TaskState.UNKNOWN]


def a_task(
    state: TaskState = TaskState.RUNNING,
    task_id: str = "t1",
    attempt: int | None = 1,
    max_tries: int | None = 1,
    inputs: str | None = inputs_of(FINGERPRINT),
) -> Candidate:
    """Return a task with a tag; without one if there is no attempt."""
    tag = None if attempt is None else CorrelationTag("k", attempt, max_tries, inputs)
    return Candidate(task_id, None, state, tag)


def similar(state: TaskState = TaskState.RUNNING, task_id: str = "t1") -> Candidate:
    return a_task(state, task_id, attempt=None)


class TestAttempt:
    @pytest.mark.parametrize(
        ("attempt", "number", "max_tries", "expected"),
        [
            (RETRY, 1, 1, False),
            (CLEARED, 1, 1, True),
            (CLEARED_AND_RETRIED, 2, 2, False),
            (CLEARED_AND_RETRIED, 1, 1, True),
            (RETRY, 1, None, False),
            (CLEARED, 1, None, True),
            (CLEARED_AND_RETRIED, 2, None, False),
            (CLEARED_AND_RETRIED, 1, None, True),
            (FIRST, 1, None, False),
        ],
    )
    def test_clear_is_known_by_max_tries(
        self, attempt: Attempt, number: int, max_tries: int | None, expected: bool
    ) -> None:
        assert attempt.is_cleared_since(number, max_tries) is expected

    @pytest.mark.parametrize("retries", [0, 1, 3, 9])
    def test_edited_retries_do_not_look_like_a_clear(self, retries: int) -> None:
        assert not Attempt(2, 3, retries).is_cleared_since(1, 3)


class TestCorrelationTag:
    def test_tag_is_read_from_the_title_that_has_it(self) -> None:
        tag = CorrelationTag("0a1b", 12, 14, inputs_of(FINGERPRINT))

        assert CorrelationTag.in_title(f"The news {tag}", "0a1b") == tag
        assert str(tag) == "[af-0a1b-12.14-01234567]"

    @pytest.mark.parametrize("title", [None, "", "The news", "[af-0a1c-12.14-01234567]", "[af-0a1b-x]"])
    def test_tag_of_nobody_or_of_another_is_none(self, title: str | None) -> None:
        assert CorrelationTag.in_title(title, "0a1b") is None

    def test_tag_tells_which_attempt_could_not_deliver_the_result(self) -> None:
        tag = CorrelationTag("0a1b", 12, 14, inputs_of(FINGERPRINT), owed_by=13)

        assert CorrelationTag.in_title(f"The news {tag}", "0a1b") == tag
        assert str(tag) == "[af-0a1b-12.14-01234567!13]"

    def test_tag_of_an_older_version_is_read(self) -> None:
        tag = CorrelationTag("0a1b", 12)

        assert CorrelationTag.in_title("The news [af-0a1b-12]", "0a1b") == tag
        assert str(tag) == "[af-0a1b-12]"


class TestRecord:
    def test_record_survives_json(self) -> None:
        record = replace(LOST, replaces="t0").with_task(a_task(), RETRY)

        assert SubmissionRecord.from_json(json.loads(json.dumps(asdict(record)))) == record

    def test_record_that_is_missing_is_none(self) -> None:
        assert SubmissionRecord.from_json(None) is None

    @pytest.mark.parametrize(
        "data", ["text", [], {}, {"fingerprint": "f"}, asdict(RECORD) | {"attempt": "one"}, 7]
    )
    def test_unreadable_record_is_that_of_a_lost_request(self, data: Any) -> None:
        found = SubmissionRecord.from_json(data)

        assert found is not None
        assert (found.task_id, found.is_void, found.key) == (None, False, None)

    def test_record_of_a_newer_version_is_read(self) -> None:
        assert SubmissionRecord.from_json(asdict(RECORD) | {"colour": "blue"}) == RECORD

    def test_record_of_an_older_version_is_read(self) -> None:
        names = ("fingerprint", "intended_at", "attempt", "task_id", "url")

        assert SubmissionRecord.from_json({name: asdict(RECORD)[name] for name in names}) == OLD_RECORD

    def test_record_kept_by_an_attempt_names_its_task(self) -> None:
        told = replace(LOST, told_at=1, is_delivered=True)

        kept = told.with_task(a_task(task_id="t7"), CLEARED)

        assert (kept.task_id, kept.attempt, kept.max_tries, kept.fingerprint) == ("t7", 2, 2, FINGERPRINT)
        assert (kept.told_at, kept.is_delivered) == (None, False)

    def test_record_is_judged_after_a_person_was_told_and_cleared(self) -> None:
        assert replace(LOST, told_at=1).is_judged(CLEARED)
        assert not replace(LOST, told_at=1).is_judged(RETRY)
        assert not LOST.is_judged(CLEARED)


class TestLostAnswer:
    @pytest.mark.parametrize(
        ("error", "expected"),
        [
            (TransportError("reset"), True),
            (TransportError("refused", sent=False), False),
            (an_api_error(ServerError, 500), True),
            (an_api_error(ServerError, 408), True),
            (InvalidResponseError("garbage"), True),
            (RemoteTaskError("whatever"), True),
            (an_api_error(RateLimitedError, 429), False),
            (an_api_error(InvalidRequestError, 400), False),
            (an_api_error(AuthenticationError, 401), False),
            (an_api_error(NotFoundError, 404), False),
            (ConnectionConfigError("no host"), False),
            (InvalidArgumentError("no id"), False),
        ],
    )
    def test_error_that_leaves_the_submission_open_is_recognised(
        self, error: RemoteTaskError, expected: bool
    ) -> None:
        assert may_have_submitted(error) is expected


class TestFromRecord:
    def decide(
        self,
        recorded: Candidate | None,
        attempt: Attempt = RETRY,
        fingerprint: str = FINGERPRINT,
        record: SubmissionRecord = RECORD,
        same_account: bool = True,
        notes_kills: bool = True,
        **policy: Any,
    ) -> Decision:
        return decide_from_record(
            record,
            recorded,
            fingerprint,
            attempt,
            SubmissionPolicy(**policy),
            same_account=same_account,
            notes_kills=notes_kills,
        )

    @pytest.mark.parametrize("state", [*GOING, *ENDS])
    @pytest.mark.parametrize("record", [RECORD, OLD_RECORD, replace(RECORD, is_delivered=True)])
    def test_retry_resumes_the_task_finished_or_not(self, state: TaskState, record: SubmissionRecord) -> None:
        assert self.decide(a_task(state), record=record).reattach_to == a_task(state)

    @pytest.mark.parametrize("state", GOING)
    @pytest.mark.parametrize("attempt", [CLEARED, CLEARED_AND_RETRIED])
    @pytest.mark.parametrize("record", [RECORD, OLD_RECORD, replace(RECORD, is_delivered=True)])
    def test_cleared_task_resumes_an_unfinished_task(
        self, state: TaskState, attempt: Attempt, record: SubmissionRecord
    ) -> None:
        assert self.decide(a_task(state), attempt, record=record).reattach_to == a_task(state)

    def test_cleared_task_takes_a_result_that_was_never_delivered(self) -> None:
        ended = a_task(TaskState.COMPLETED)

        assert self.decide(ended, CLEARED).reattach_to == ended

    @pytest.mark.parametrize(
        ("state", "record", "fingerprint"),
        [
            (TaskState.COMPLETED, replace(RECORD, is_delivered=True), FINGERPRINT),
            (TaskState.COMPLETED, OLD_RECORD, FINGERPRINT),
            (TaskState.COMPLETED, RECORD, OTHER),
            (TaskState.FAILED, RECORD, FINGERPRINT),
            (TaskState.CANCELLED, RECORD, FINGERPRINT),
        ],
    )
    def test_cleared_task_does_not_resume_any_other_finished_task(
        self, state: TaskState, record: SubmissionRecord, fingerprint: str
    ) -> None:
        decision = self.decide(a_task(state), CLEARED, fingerprint, record)

        assert (decision.reattach_to, decision.cancel) == (None, None)

    def test_cleared_task_does_not_take_what_a_kill_may_have_stopped(self) -> None:
        ended = a_task(TaskState.COMPLETED)
        deferred = replace(RECORD, is_deferred=True)

        assert self.decide(ended, CLEARED, record=deferred, notes_kills=False).reattach_to is None
        assert self.decide(ended, CLEARED, record=deferred).reattach_to == ended
        assert self.decide(ended, CLEARED, notes_kills=False).reattach_to == ended
        assert self.decide(ended, RETRY, record=deferred, notes_kills=False).reattach_to == ended

    def test_edited_retries_do_not_make_a_retry_pay_again(self) -> None:
        ended = a_task(TaskState.COMPLETED)

        assert self.decide(ended, Attempt(2, 1, 0), record=replace(RECORD, is_delivered=True)).reattach_to

    def test_missing_task_is_submitted_again(self) -> None:
        decision = self.decide(None)

        assert decision.reattach_to is None
        assert "no longer knows task t1" in decision.why

    @pytest.mark.parametrize("facts", [{"on_orphaned_intent": "fail"}, {"same_account": False}])
    def test_missing_task_is_left_to_a_person(self, facts: dict[str, Any]) -> None:
        with pytest.raises(OrphanedStartError, match=r"task t1 \(https://example.com/t1\) .*clear this task"):
            self.decide(None, **facts)

        assert self.decide(None, CLEARED, **facts).reattach_to is None
        assert self.decide(None, **facts | {"on_orphaned_intent": "start"}).reattach_to is None

    def test_missing_task_without_a_page_is_named(self) -> None:
        with pytest.raises(OrphanedStartError, match="task t1 of"):
            self.decide(None, record=replace(RECORD, url=None), same_account=False)

    def test_changed_inputs_fail_and_name_the_choices(self) -> None:
        with pytest.raises(StaleStartError) as failed:
            self.decide(Candidate("t1", "https://example.com/t1", TaskState.RUNNING), fingerprint=OTHER)

        words = ("Attempt 1", "t1 (running, https://example.com/t1)", "'reattach'", "'restart'", "pay")
        assert all(word in str(failed.value) for word in words)
        assert not failed.value.retry_helps

    def test_task_without_a_url_is_named(self) -> None:
        with pytest.raises(StaleStartError, match=r"t1 \(running\) with other inputs"):
            self.decide(a_task(), fingerprint=OTHER)

    @pytest.mark.parametrize("state", [*GOING, *ENDS])
    def test_policy_reattach_resumes_the_task(self, state: TaskState) -> None:
        assert self.decide(a_task(state), fingerprint=OTHER, on_stale_state="reattach").reattach_to

    @pytest.mark.parametrize(
        ("state", "stopped"), [(state, "t1") for state in GOING] + [(state, None) for state in ENDS]
    )
    def test_policy_restart_stops_an_unfinished_task(self, state: TaskState, stopped: str | None) -> None:
        decision = self.decide(a_task(state), fingerprint=OTHER, on_stale_state="restart")

        assert (decision.reattach_to, decision.cancel) == (None, stopped)


class TestFromSearch:
    def decide(
        self,
        *found: Candidate,
        attempt: Attempt = RETRY,
        lost: SubmissionRecord | None = None,
        sees_all: bool = True,
        may_be_unrecorded: bool = False,
        fingerprint: str = FINGERPRINT,
        **policy: Any,
    ) -> Decision:
        return decide_from_search(
            SearchResult(found, sees_all),
            fingerprint,
            attempt,
            SubmissionPolicy(**policy),
            lost=lost,
            may_be_unrecorded=may_be_unrecorded,
        )

    @pytest.mark.parametrize("state", [*GOING, *ENDS])
    @pytest.mark.parametrize("lost", [LOST, None])
    def test_own_task_is_resumed(self, state: TaskState, lost: SubmissionRecord | None) -> None:
        assert self.decide(a_task(state), lost=lost).reattach_to == a_task(state)

    @pytest.mark.parametrize("lost", [LOST, None])
    def test_own_tasks_are_left_to_a_person_if_there_are_two(self, lost: SubmissionRecord | None) -> None:
        with pytest.raises(OrphanedStartError, match=r"2 tasks carry .* t1 \(running\), t2") as failed:
            self.decide(a_task(), a_task(TaskState.COMPLETED, "t2"), lost=lost)

        assert not failed.value.retry_helps

    def test_latest_task_is_resumed_where_earlier_ones_have_finished(self) -> None:
        replaced, latest = a_task(TaskState.CANCELLED, "t0"), a_task(task_id="t1", attempt=2)

        assert self.decide(replaced, latest, attempt=Attempt(3, 1, 1)).reattach_to == latest

    def test_earlier_task_that_still_runs_is_left_to_a_person(self) -> None:
        with pytest.raises(OrphanedStartError):
            self.decide(a_task(task_id="t0"), a_task(attempt=2), attempt=Attempt(3, 1, 1))

    @pytest.mark.parametrize("lost", [LOST, None])
    def test_task_with_other_inputs_is_stale(self, lost: SubmissionRecord | None) -> None:
        with pytest.raises(StaleStartError, match="t1"):
            self.decide(a_task(), lost=lost, fingerprint=OTHER)

        assert self.decide(a_task(), lost=lost, fingerprint=OTHER, on_stale_state="reattach").reattach_to
        assert self.decide(a_task(), lost=lost, fingerprint=OTHER, on_stale_state="restart").cancel == "t1"

    def test_inputs_of_an_older_tag_are_those_of_the_record(self) -> None:
        older = a_task(max_tries=None, inputs=None)

        assert self.decide(older, lost=LOST).reattach_to == older
        assert self.decide(older, fingerprint=OTHER).reattach_to == older
        with pytest.raises(StaleStartError):
            self.decide(older, lost=LOST, fingerprint=OTHER)

    @pytest.mark.parametrize("max_tries", [None, 1])
    def test_finished_task_from_before_a_clear_is_ignored(self, max_tries: int | None) -> None:
        ended = a_task(TaskState.COMPLETED, "t0", max_tries=max_tries)
        running = a_task(attempt=2, max_tries=2)

        assert self.decide(ended, attempt=CLEARED).reattach_to is None
        assert self.decide(ended, running, attempt=CLEARED_AND_RETRIED).reattach_to == running

    @pytest.mark.parametrize(
        ("state", "owed_by", "is_taken"),
        [
            (TaskState.COMPLETED, 1, True),
            (TaskState.COMPLETED, 0, False),
            (TaskState.COMPLETED, None, False),
            (TaskState.FAILED, 1, False),
        ],
    )
    def test_cleared_task_takes_a_result_that_the_attempt_before_could_not_deliver(
        self, state: TaskState, owed_by: int | None, is_taken: bool
    ) -> None:
        tag = CorrelationTag("k", 1, 1, inputs_of(FINGERPRINT), owed_by)

        decision = self.decide(Candidate("t1", None, state, tag), attempt=CLEARED)

        assert (decision.reattach_to is not None) is is_taken

    def test_first_attempt_takes_only_what_is_at_work(self) -> None:
        assert self.decide(a_task(TaskState.COMPLETED), attempt=FIRST).reattach_to is None
        assert self.decide(a_task(), attempt=FIRST).reattach_to == a_task()
        assert self.decide(a_task(TaskState.COMPLETED), attempt=FIRST, lost=LOST).reattach_to is not None

    def test_finished_task_is_no_history_for_edited_retries(self) -> None:
        ended = a_task(TaskState.COMPLETED)

        assert self.decide(ended, attempt=Attempt(2, 1, 0)).reattach_to == ended

    @pytest.mark.parametrize(
        ("state", "attempt", "is_taken"),
        [
            (TaskState.COMPLETED, CLEARED, True),
            (TaskState.FAILED, CLEARED, False),
            (TaskState.CANCELLED, CLEARED, False),
            (TaskState.FAILED, RETRY, True),
        ],
    )
    def test_cleared_task_takes_what_a_lost_request_has_completed(
        self, state: TaskState, attempt: Attempt, is_taken: bool
    ) -> None:
        decision = self.decide(a_task(state), attempt=attempt, lost=LOST)

        assert (decision.reattach_to is not None) is is_taken

    def test_replaced_task_is_ignored(self) -> None:
        lost = replace(LOST, attempt=2, replaces="t0")
        before, since = a_task(TaskState.COMPLETED, "t0", attempt=2), a_task(attempt=2)

        assert self.decide(before, lost=lost).reattach_to is None
        assert self.decide(before, since, lost=lost).reattach_to == since

    def test_task_of_another_attempt_is_not_that_of_a_lost_request(self) -> None:
        assert self.decide(a_task(attempt=2), lost=LOST).reattach_to is None

    @pytest.mark.parametrize("state", [*GOING, *ENDS])
    @pytest.mark.parametrize("lost", [LOST, None])
    def test_task_that_only_looks_the_same_is_left_to_a_person(
        self, state: TaskState, lost: SubmissionRecord | None
    ) -> None:
        with pytest.raises(OrphanedStartError, match=rf"t1 \({state}\).*on_orphaned_intent='start'"):
            self.decide(similar(state), lost=lost)

        assert self.decide(similar(state), lost=lost, on_orphaned_intent="start").reattach_to is None

    def test_finished_task_that_only_looks_the_same_is_history_after_a_clear(self) -> None:
        assert self.decide(similar(TaskState.COMPLETED), attempt=CLEARED).reattach_to is None
        with pytest.raises(OrphanedStartError):
            self.decide(similar(), attempt=CLEARED)

    @pytest.mark.parametrize(
        ("policy", "sees_all", "submits"),
        [
            ("search", True, True),
            ("search", False, False),
            ("start", True, True),
            ("start", False, True),
            ("fail", True, False),
            ("fail", False, False),
        ],
    )
    @pytest.mark.parametrize("attempt", [RETRY, CLEARED])
    def test_policy_decides_without_a_candidate(
        self, policy: str, sees_all: bool, submits: bool, attempt: Attempt
    ) -> None:
        facts: Any = {
            "on_orphaned_intent": policy,
            "sees_all": sees_all,
            "lost": LOST,
            "attempt": attempt,
        }
        if submits:
            assert self.decide(**facts).reattach_to is None
        else:
            with pytest.raises(OrphanedStartError, match=r"not known whether .* submitted its task"):
                self.decide(**facts)

    def test_error_names_the_task_that_a_lost_request_was_to_replace(self) -> None:
        with pytest.raises(OrphanedStartError, match="was to replace task t0"):
            self.decide(lost=replace(LOST, replaces="t0"), sees_all=False)

    @pytest.mark.parametrize("policy", ["search", "fail"])
    @pytest.mark.parametrize("found", [(), (similar(),)])
    def test_clear_allows_a_submission_once_a_person_was_told(
        self, policy: str, found: tuple[Candidate, ...]
    ) -> None:
        facts: Any = {"on_orphaned_intent": policy, "sees_all": False, "lost": replace(LOST, told_at=1)}

        assert self.decide(*found, **facts, attempt=CLEARED).reattach_to is None
        assert self.decide(a_task(), **facts, attempt=CLEARED).reattach_to == a_task()
        with pytest.raises(OrphanedStartError):
            self.decide(*found, **facts, attempt=FIRST)

    @pytest.mark.parametrize("attempt", [RETRY, CLEARED])
    def test_attempt_without_a_record_needs_a_full_listing(self, attempt: Attempt) -> None:
        with pytest.raises(OrphanedStartError, match="kept no record"):
            self.decide(sees_all=False, may_be_unrecorded=True, attempt=attempt)

        assert self.decide(sees_all=False, attempt=attempt).reattach_to is None
        assert self.decide(sees_all=True, may_be_unrecorded=True, attempt=attempt).reattach_to is None


class TestWithoutATag:
    @pytest.mark.parametrize(
        ("number", "max_tries", "expected"),
        [(1, 2, False), (2, 2, True), (4, 5, False), (5, 5, True), (6, 5, True)],
    )
    def test_finished_task_is_history_for_the_first_attempt_since_a_clear(
        self, number: int, max_tries: int, expected: bool
    ) -> None:
        """It may be that of any attempt before."""
        found = Candidate("t1", None, TaskState.COMPLETED)

        assert is_open(found, Attempt(number, max_tries, retries=2), None) is expected


class TestTagOfAllAttempts:
    """Where the service takes no second task with a tag, all attempts that ask for the same have one."""

    def task(
        self,
        state: TaskState = TaskState.RUNNING,
        task_id: str = "t1",
        max_tries: int = 1,
        inputs: str = inputs_of(FINGERPRINT),
    ) -> Candidate:
        return Candidate(task_id, None, state, CorrelationTag("k", None, max_tries, inputs))

    def decide(self, *found: Candidate, attempt: Attempt = RETRY, **options: Any) -> Decision:
        given = {"policy": SubmissionPolicy(), "lost": None, **options}
        return decide_from_search(SearchResult(found, True), FINGERPRINT, attempt, **given)

    @pytest.mark.parametrize("state", [*GOING, *ENDS])
    def test_lost_request_has_submitted_the_task_with_its_tag(self, state: TaskState) -> None:
        decision = self.decide(self.task(state), lost=LOST)

        assert decision.reattach_to == self.task(state)
        assert decision.why == "Re-attaching to task t1 of an earlier attempt."

    @pytest.mark.parametrize(
        "other", [{"max_tries": 0}, {"inputs": inputs_of(OTHER)}, {"task_id": "replaced"}], ids=str
    )
    def test_lost_request_has_submitted_no_task_with_another_tag(self, other: dict[str, Any]) -> None:
        lost = replace(LOST, replaces="replaced")

        assert not lost.may_be(self.task(**other))
        assert lost.may_be(self.task())

    def test_task_of_before_a_clear_is_history_once_it_is_finished(self) -> None:
        ended = self.task(TaskState.COMPLETED)

        assert self.decide(ended, attempt=CLEARED).reattach_to is None
        assert self.decide(ended, attempt=RETRY).reattach_to == ended
        assert self.decide(self.task(), attempt=CLEARED).reattach_to == self.task()

    def test_task_that_was_asked_for_the_same_is_preferred(self) -> None:
        replaced = self.task(TaskState.CANCELLED, "t0", inputs=inputs_of(OTHER))

        assert self.decide(replaced, self.task()).reattach_to == self.task()

    def test_task_with_other_inputs_is_stale(self) -> None:
        with pytest.raises(StaleStartError, match="An earlier attempt submitted task t1"):
            self.decide(self.task(inputs=inputs_of(OTHER)))

    def test_pair_of_tasks_that_were_asked_for_the_same_is_for_a_person(self) -> None:
        with pytest.raises(OrphanedStartError, match="2 tasks carry the tag"):
            self.decide(self.task(), self.task(task_id="t2"))


class TestLabel:
    """Each message calls the remote task what it is: it may be a run of a workflow."""

    POLICY: Any = SubmissionPolicy(label="QStash workflow run")

    @staticmethod
    def said(decide: Any, *facts: Any, **more: Any) -> str:
        try:
            return str(decide(*facts, **more).why)
        except (OrphanedStartError, StaleStartError) as error:
            return str(error)

    @pytest.mark.parametrize("recorded", [None, a_task(), a_task(TaskState.COMPLETED)], ids=str)
    @pytest.mark.parametrize("attempt", [RETRY, CLEARED])
    @pytest.mark.parametrize("fingerprint", [FINGERPRINT, OTHER])
    @pytest.mark.parametrize("stale", ["fail", "restart", "reattach"])
    @pytest.mark.parametrize("same_account", [True, False])
    def test_decision_from_a_record_calls_it_by_its_label(
        self, recorded: Any, attempt: Any, fingerprint: str, stale: Any, same_account: bool
    ) -> None:
        policy = replace(self.POLICY, on_stale_state=stale)
        record = replace(RECORD, is_delivered=True)
        text = self.said(
            decide_from_record, record, recorded, fingerprint, attempt, policy, same_account=same_account
        )

        assert re.search("QStash workflow run t1", text)
        assert not re.search(r"\b[Tt]ask t\d", text)

    @pytest.mark.parametrize("attempt", [RETRY, CLEARED])
    @pytest.mark.parametrize("fingerprint", [FINGERPRINT, OTHER])
    @pytest.mark.parametrize("lost", [LOST, replace(LOST, replaces="t0"), None])
    @pytest.mark.parametrize("sees_all", [True, False])
    @pytest.mark.parametrize(
        "found", [[], [a_task()], [a_task(), a_task(task_id="t2")], [a_task(attempt=None)]]
    )
    def test_decision_from_a_search_calls_it_by_its_label(
        self, found: Any, attempt: Any, fingerprint: str, lost: Any, sees_all: bool
    ) -> None:
        text = self.said(
            decide_from_search,
            SearchResult(found, sees_all),
            fingerprint,
            attempt,
            self.POLICY,
            lost=lost,
            may_be_unrecorded=True,
        )

        assert re.search("QStash workflow runs?", text)
        assert not re.search(r"\b([Tt]ask t\d|tasks)\b", text)
