"""What an attempt decides: from a record, from a search, and after a request whose answer never came."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pytest

from remote_tasks_provider.core.errors import (
    AuthenticationError,
    ConnectionConfigError,
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
    SubmissionPolicy,
    SubmissionRecord,
    decide_from_record,
    decide_from_search,
    may_have_submitted,
)
from tests.core.build import START, an_api_error

RECORD = SubmissionRecord("same", START, 1, "t1", "https://example.com/t1")
LOST = SubmissionRecord("same", START, 1)
FIRST, RETRY = Attempt(1, 1), Attempt(2, 1)
CLEARED, CLEARED_AND_RETRIED = Attempt(2, 2), Attempt(3, 2)
ENDS = [TaskState.COMPLETED, TaskState.FAILED, TaskState.CANCELLED]
GOING = [TaskState.RUNNING, TaskState.WAITING, TaskState.PENDING, TaskState.UNKNOWN]


def a_task(
    state: TaskState = TaskState.RUNNING, task_id: str = "t1", attempt: int | None = None
) -> Candidate:
    return Candidate(task_id, None, state, attempt)


class TestRecord:
    def test_record_survives_json(self) -> None:
        record = SubmissionRecord("f", START, 3, replaces="t0").with_task(a_task(task_id="t1"), RETRY)

        assert SubmissionRecord.from_json(json.loads(json.dumps(asdict(record)))) == record

    @pytest.mark.parametrize("data", [None, "text", [], {}, {"fingerprint": "f"}, asdict(RECORD) | {"x": 1}])
    def test_unreadable_record_is_none(self, data: Any) -> None:
        assert SubmissionRecord.from_json(data) is None

    def test_record_without_replaces_is_read(self) -> None:
        data = asdict(RECORD)
        del data["replaces"]

        assert SubmissionRecord.from_json(data) == RECORD

    def test_record_kept_by_an_attempt_names_its_task(self) -> None:
        kept = LOST.with_task(a_task(task_id="t7"), RETRY)

        assert (kept.task_id, kept.attempt, kept.fingerprint) == ("t7", 2, "same")


class TestAttempt:
    @pytest.mark.parametrize(
        ("attempt", "is_first"),
        [(FIRST, True), (RETRY, False), (CLEARED, True), (CLEARED_AND_RETRIED, False)],
    )
    def test_attempt_is_first_after_a_clear(self, attempt: Attempt, is_first: bool) -> None:
        assert attempt.is_first is is_first


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
        ],
    )
    def test_error_that_leaves_the_submission_open_is_recognised(
        self, error: RemoteTaskError, expected: bool
    ) -> None:
        assert may_have_submitted(error) is expected


class TestFromRecord:
    def decide(
        self,
        standing: Candidate | None,
        attempt: Attempt = RETRY,
        fingerprint: str = "same",
        **policy: Any,
    ) -> Any:
        return decide_from_record(RECORD, standing, fingerprint, attempt, SubmissionPolicy(**policy))

    @pytest.mark.parametrize("state", [*GOING, *ENDS])
    def test_retry_resumes_the_task_finished_or_not(self, state: TaskState) -> None:
        assert self.decide(a_task(state)).reattach_to == a_task(state)

    @pytest.mark.parametrize("state", GOING)
    @pytest.mark.parametrize("attempt", [CLEARED, CLEARED_AND_RETRIED])
    def test_cleared_task_resumes_an_unfinished_task(self, state: TaskState, attempt: Attempt) -> None:
        assert self.decide(a_task(state), attempt).reattach_to == a_task(state)

    @pytest.mark.parametrize("state", ENDS)
    @pytest.mark.parametrize("attempt", [CLEARED, CLEARED_AND_RETRIED])
    def test_cleared_task_does_not_resume_a_finished_task(self, state: TaskState, attempt: Attempt) -> None:
        decision = self.decide(a_task(state), attempt, "other")

        assert (decision.reattach_to, decision.cancel) == (None, None)

    def test_missing_task_is_submitted_again(self) -> None:
        decision = self.decide(None)

        assert decision.reattach_to is None
        assert "no longer knows task t1" in decision.why

    def test_changed_inputs_fail_and_name_the_choices(self) -> None:
        with pytest.raises(StaleStartError) as failed:
            self.decide(Candidate("t1", "https://example.com/t1", TaskState.RUNNING), fingerprint="other")

        text = str(failed.value)
        assert all(
            word in text
            for word in (
                "Attempt 1",
                "t1 (running)",
                "https://example.com/t1",
                "'reattach'",
                "'restart'",
                "pay",
            )
        )
        assert not failed.value.retry_helps

    def test_task_without_a_url_is_named(self) -> None:
        with pytest.raises(StaleStartError, match=r"other inputs\. It was left"):
            self.decide(a_task(), fingerprint="other")

    @pytest.mark.parametrize("state", [*GOING, *ENDS])
    def test_policy_reattach_resumes_the_task(self, state: TaskState) -> None:
        assert self.decide(a_task(state), fingerprint="other", on_stale_state="reattach").reattach_to

    @pytest.mark.parametrize(
        ("state", "stopped"), [(state, "t1") for state in GOING] + [(state, None) for state in ENDS]
    )
    def test_policy_restart_stops_an_unfinished_task(self, state: TaskState, stopped: str | None) -> None:
        decision = self.decide(a_task(state), fingerprint="other", on_stale_state="restart")

        assert (decision.reattach_to, decision.cancel) == (None, stopped)


class TestFromSearch:
    def decide(self, *found: Candidate, attempt: Attempt = RETRY, **facts: Any) -> Any:
        policy = SubmissionPolicy(on_orphaned_intent=facts.pop("policy", "search"))
        return decide_from_search(found, attempt, policy, **{"lost": None, "sees_all": True, **facts})

    @pytest.mark.parametrize("state", [*GOING, *ENDS])
    @pytest.mark.parametrize("lost", [LOST, None])
    def test_single_candidate_is_resumed(self, state: TaskState, lost: SubmissionRecord | None) -> None:
        assert self.decide(a_task(state), lost=lost).reattach_to == a_task(state)

    def test_several_candidates_are_left_to_a_person(self) -> None:
        with pytest.raises(OrphanedStartError, match=r"2 tasks .* t1, t2\.") as failed:
            self.decide(a_task(), a_task(task_id="t2"), lost=LOST)

        assert not failed.value.retry_helps

    @pytest.mark.parametrize("lost", [LOST, None])
    @pytest.mark.parametrize("number", [None, 1])
    def test_finished_candidate_from_before_a_clear_is_ignored(
        self, lost: SubmissionRecord | None, number: int | None
    ) -> None:
        ended = a_task(TaskState.COMPLETED, "t0", number)

        assert self.decide(ended, attempt=CLEARED, lost=lost).reattach_to is None
        assert self.decide(ended, a_task(), attempt=CLEARED, lost=lost).reattach_to == a_task()

    def test_attempt_number_excludes_earlier_candidates_on_retries(self) -> None:
        before, since = a_task(TaskState.COMPLETED, "t0", 1), a_task(TaskState.COMPLETED, "t1", 2)

        assert self.decide(before, since, attempt=CLEARED_AND_RETRIED).reattach_to == since

    def test_replaced_task_is_ignored(self) -> None:
        lost = SubmissionRecord("same", START, 2, replaces="t0")
        before = a_task(TaskState.COMPLETED, "t0")

        assert self.decide(before, attempt=CLEARED, lost=lost).reattach_to is None
        assert self.decide(before, a_task(), attempt=CLEARED, lost=lost).reattach_to == a_task()

    @pytest.mark.parametrize(
        ("policy", "sees_all", "starts"),
        [
            ("search", True, True),
            ("search", False, False),
            ("start", True, True),
            ("start", False, True),
            ("fail", True, False),
            ("fail", False, False),
        ],
    )
    def test_policy_decides_without_a_candidate(self, policy: str, sees_all: bool, starts: bool) -> None:
        facts = {"policy": policy, "sees_all": sees_all, "lost": LOST}
        if starts:
            assert self.decide(**facts).reattach_to is None
        else:
            with pytest.raises(OrphanedStartError, match="not known whether there is a task"):
                self.decide(**facts)

    @pytest.mark.parametrize("policy", ["search", "fail"])
    def test_clear_allows_a_submission(self, policy: str) -> None:
        assert self.decide(policy=policy, sees_all=False, lost=LOST, attempt=CLEARED).reattach_to is None

    def test_retry_without_a_record_needs_a_full_listing(self) -> None:
        with pytest.raises(OrphanedStartError):
            self.decide(sees_all=False, remembers=False)

        assert self.decide(sees_all=False, remembers=False, attempt=CLEARED).reattach_to is None
        assert self.decide(sees_all=False, remembers=True).reattach_to is None
        assert self.decide(sees_all=True, remembers=False).reattach_to is None
