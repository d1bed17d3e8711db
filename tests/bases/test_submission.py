"""The steps of a start and what is kept of each, at a service made of a list."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest

from remote_tasks_provider.bases import submission as module
from remote_tasks_provider.bases.submission import Submitter
from remote_tasks_provider.core.errors import (
    InvalidRequestError,
    NotFoundError,
    OrphanedStartError,
    RateLimitedError,
    StaleStartError,
    TransportError,
)
from remote_tasks_provider.core.states import TaskState
from remote_tasks_provider.core.submission import Candidate, CorrelationTag, SubmissionPolicy, inputs_of
from tests.bases.history import START, Clock
from tests.bases.stores import Store

KEY = "remote_task_submission"
RESET = TransportError("the connection was reset")


class Remote:
    """A service that keeps titles, and what was done to it."""

    sees_all = finds_tags = True
    account = "a"
    longest_request = 400.0

    def __init__(self, clock: Clock, store: Store | None) -> None:
        self.clock = clock
        self.store = store
        self.tasks: dict[str, Candidate] = {}
        self.steps: list[str] = []
        self.searches: list[tuple[str, float]] = []
        self.create_fails: BaseException | None = None
        self.prepare_fails: Exception | None = None
        self.takes = 0.0
        self.is_known = self.arrives = True
        self.listed_from = 0.0
        self.listed_late: dict[str, float] = {}

    def prepare(self) -> None:
        self.steps.append("prepare")
        if self.prepare_fails:
            raise self.prepare_fails

    def submit(self, tag: CorrelationTag) -> Candidate:
        intent = (self.store or {}).get(KEY, {"task_id": None})
        assert intent["task_id"] is None, "the intent is to be recorded before the request"
        self.steps.append("submit")
        made = Candidate(f"t{len(self.tasks) + 1}", "https://x", TaskState.RUNNING, tag)
        if not self.finds_tags:
            made = replace(made, tag=None)
        if self.arrives:
            self.tasks[made.task_id] = made
        self.clock.sleep(self.takes)
        if self.create_fails:
            raise self.create_fails
        return made

    def read(self, task_id: str) -> Candidate:
        self.steps.append(f"read {task_id}")
        if not self.is_known:
            raise NotFoundError("no such task", status_code=404)
        return self.tasks[task_id]

    def search(self, key: str, since: float) -> Sequence[Candidate]:
        self.searches.append((key, since))
        if self.clock.now < self.listed_from:
            return []
        found = [
            task for task in self.tasks.values() if self.clock.now >= self.listed_late.get(task.task_id, 0)
        ]
        return [task for task in found if task.tag is None or task.tag.key == key]

    def listed(self, task_id: str, since: float) -> Candidate | None:
        return None if self.clock.now < self.listed_from else self.tasks.get(task_id)

    def cancel(self, task_id: str) -> None:
        self.steps.append(f"cancel {task_id}")

    def ends(self, task_id: str, state: TaskState = TaskState.COMPLETED) -> None:
        self.tasks[task_id] = replace(self.tasks[task_id], state=state)


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def remote(clock: Clock, store: Store, monkeypatch: pytest.MonkeyPatch) -> Remote:
    monkeypatch.setattr(module, "time", SimpleNamespace(time=clock.time, sleep=clock.sleep))
    monkeypatch.setattr(module, "CLEARS_DROP_STATE", False)
    return Remote(clock, store)


def submitter(
    remote: Remote,
    number: int = 1,
    *,
    max_tries: int = 3,
    retries: int = 3,
    run: Any = None,
    loop: Any = None,
    notes_kills: bool = True,
    facts: dict[str, Any] | None = None,
    **policy: Any,
) -> Submitter:
    ti = SimpleNamespace(
        dag_id="d",
        task_id="t",
        run_id="r",
        map_index=-1,
        try_number=number,
        max_tries=max_tries,
        **facts or {},
    )
    context: Any = {"ti": ti, "dag_run": run}
    if loop is not None:
        context["loop"] = loop
    if remote.store is not None:
        context["task_state_store"] = remote.store
    task: Any = SimpleNamespace(log=logging.getLogger(__name__), retries=retries)
    return Submitter(
        task, context, policy=SubmissionPolicy(**policy), appears_within=90, notes_kills=notes_kills
    )


def ensure(remote: Remote, number: int = 1, *, fingerprint: str = "same", **facts: Any) -> Candidate:
    made = submitter(remote, number, **facts)
    made.begin()
    return made.ensure(remote, fingerprint)


def killed(remote: Remote, number: int = 1, **facts: Any) -> None:
    """Run an attempt that dies in its request."""
    remote.create_fails = SystemExit()
    with pytest.raises(SystemExit):
        ensure(remote, number, **facts)
    remote.create_fails = None


class TestFirstAttempt:
    def test_first_attempt_searches_nothing(self, remote: Remote, store: Store) -> None:
        submitted = ensure(remote)

        assert remote.steps == ["prepare", "submit"]
        assert remote.searches == []
        assert submitted.tag is not None
        assert store[KEY] == {
            "fingerprint": "same",
            "intended_at": START,
            "attempt": 1,
            "task_id": submitted.task_id,
            "url": "https://x",
            "replaces": None,
            "max_tries": 3,
            "key": submitted.tag.key,
            "account": "a",
            "ends_by": START + 400,
            "is_void": False,
            "is_deferred": False,
            "is_delivered": False,
            "told_at": None,
        }

    def test_tag_tells_the_attempt_and_the_inputs(self, remote: Remote) -> None:
        tag = ensure(remote, 2, fingerprint="0123456789abcdef").tag

        assert tag is not None
        assert (tag.attempt, tag.max_tries, tag.inputs) == (2, 3, inputs_of("0123456789abcdef"))

    def test_failure_before_the_request_leaves_no_intent(self, remote: Remote, store: Store) -> None:
        remote.prepare_fails = OSError("no such file")

        with pytest.raises(OSError, match="no such file"):
            ensure(remote)

        assert store == {}

    def test_record_that_cannot_be_kept_submits_nothing(self, remote: Remote, store: Store) -> None:
        store.fails_at = 1

        with pytest.raises(ConnectionError):
            ensure(remote)

        assert remote.tasks == {}

    def test_id_that_cannot_be_recorded_is_waited_for_all_the_same(
        self, remote: Remote, store: Store, caplog: pytest.LogCaptureFixture
    ) -> None:
        store.fails_at = 2

        assert ensure(remote).task_id == "t1"
        assert "t1" in caplog.text
        assert ensure(remote, 2).task_id == "t1"

    @pytest.mark.parametrize(
        "error",
        [
            InvalidRequestError("no", status_code=400),
            RateLimitedError("later", status_code=429),
            TransportError("refused", sent=False),
        ],
    )
    def test_refused_request_leaves_no_intent(self, remote: Remote, store: Store, error: Exception) -> None:
        remote.create_fails, remote.arrives = error, False

        with pytest.raises(type(error)):
            ensure(remote)

        assert store[KEY]["is_void"]
        assert remote.searches == []
        remote.create_fails, remote.arrives = None, True
        assert ensure(remote, 2).task_id == "t1"
        assert remote.searches == []

    def test_crash_during_the_request_leaves_the_intent(self, remote: Remote, store: Store) -> None:
        killed(remote)

        assert (store[KEY]["task_id"], store[KEY]["is_void"]) == (None, False)


class TestLostAnswer:
    def test_task_is_searched_until_it_is_listed(self, remote: Remote, store: Store) -> None:
        remote.create_fails, remote.listed_from = RESET, START + 42

        assert ensure(remote).task_id == "t1"
        assert store[KEY]["task_id"] == "t1"
        assert START + 42 <= remote.clock.now < START + 72

    def test_missing_task_allows_another_request(self, remote: Remote, store: Store) -> None:
        remote.create_fails, remote.arrives = RESET, False

        with pytest.raises(TransportError):
            ensure(remote)

        assert remote.clock.now == START + 90
        assert store[KEY]["is_void"]

    @pytest.mark.parametrize("takes", [0, 100, 390])
    def test_search_lasts_from_the_end_of_the_request(self, remote: Remote, takes: float) -> None:
        remote.create_fails, remote.takes, remote.listed_from = RESET, takes, START + takes + 89

        assert ensure(remote).task_id == "t1"

    @pytest.mark.parametrize("listed_after", [0, 89, 489])
    def test_later_attempt_searches_from_the_latest_end_of_the_request(
        self, remote: Remote, listed_after: float
    ) -> None:
        killed(remote)
        remote.listed_from = START + listed_after

        assert ensure(remote, 2).task_id == "t1"

    def test_unknown_result_keeps_the_intent(self, remote: Remote, store: Store) -> None:
        remote.create_fails, remote.sees_all, remote.arrives = RESET, False, False

        with pytest.raises(OrphanedStartError):
            ensure(remote)

        assert (store[KEY]["task_id"], store[KEY]["is_void"], store[KEY]["told_at"]) == (None, False, 3)

    def test_search_covers_only_the_lost_attempt(self, remote: Remote) -> None:
        ensure(remote)
        remote.ends("t1")
        submitter(remote).settle("delivered")
        remote.create_fails = RESET

        assert ensure(remote, 2, max_tries=4).task_id == "t2"

    def test_search_does_not_end_with_the_task_of_another_attempt(self, remote: Remote) -> None:
        ensure(remote)
        remote.ends("t1")
        submitter(remote).settle("delivered")
        remote.create_fails, remote.listed_late = RESET, {"t2": START + 42}

        assert ensure(remote, 2, max_tries=4).task_id == "t2"

    def test_search_needs_the_account_of_the_lost_request(self, remote: Remote) -> None:
        remote.arrives = False
        killed(remote)
        remote.account = "b"

        with pytest.raises(OrphanedStartError):
            ensure(remote, 2)

    @pytest.mark.parametrize("finds_tags", [True, False])
    def test_search_needs_what_the_lost_request_was_marked_with(
        self, remote: Remote, finds_tags: bool
    ) -> None:
        remote.arrives, remote.finds_tags = False, finds_tags
        killed(remote)
        remote.finds_tags = not finds_tags

        with pytest.raises(OrphanedStartError):
            ensure(remote, 2)

    def test_search_is_for_the_key_of_the_lost_request(
        self, remote: Remote, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        killed(remote)
        monkeypatch.setenv("AIRFLOW__REMOTE_TASKS__DEPLOYMENT_ID", "renamed")

        assert ensure(remote, 2).task_id == "t1"


class TestLaterAttempt:
    def test_resumed_task_is_kept(self, remote: Remote, store: Store) -> None:
        ensure(remote)
        ensure(remote, 2, max_tries=4)  # cleared while it ran
        remote.ends("t1")

        assert ensure(remote, 3, max_tries=4).task_id == "t1"
        assert store[KEY]["attempt"] == 3
        assert remote.steps.count("submit") == 1

    def test_found_task_is_recorded(self, remote: Remote, store: Store) -> None:
        killed(remote)

        assert ensure(remote, 2).task_id == "t1"
        assert (store[KEY]["task_id"], store[KEY]["attempt"], store[KEY]["url"]) == ("t1", 2, "https://x")

    def test_restarted_task_is_cancelled_first(self, remote: Remote, store: Store) -> None:
        ensure(remote)

        assert ensure(remote, 2, fingerprint="other", on_stale_state="restart").task_id == "t2"
        assert remote.steps[-3:] == ["cancel t1", "prepare", "submit"]
        assert store[KEY]["replaces"] == "t1"

    def test_hidden_task_is_asked_for_again_until_it_shows(self, remote: Remote) -> None:
        ensure(remote)
        remote.is_known, remote.listed_from = False, START + 80

        assert ensure(remote, 2).task_id == "t1"
        assert START + 80 <= remote.clock.now < START + 95

    def test_listed_task_is_not_submitted_again_for_a_404(self, remote: Remote) -> None:
        ensure(remote)
        remote.clock.now += 3600
        remote.is_known = False

        assert ensure(remote, 2).task_id == "t1"

    def test_missing_task_is_submitted_again_after_a_while(self, remote: Remote) -> None:
        ensure(remote)
        remote.clock.now += 3600
        remote.is_known, remote.listed_from = False, START + 1e9

        assert ensure(remote, 2).task_id == "t2"
        assert remote.clock.now == START + 3600 + 90

    def test_forgotten_task_is_submitted_again(self, remote: Remote) -> None:
        ensure(remote)
        submitter(remote).settle("cancelled")

        assert ensure(remote, 2).task_id == "t2"

    @pytest.mark.parametrize("retries", [0, 1, 3, 9])
    def test_edited_retries_submit_nothing(self, remote: Remote, retries: int) -> None:
        ensure(remote)
        remote.ends("t1")
        submitter(remote).settle("delivered")

        assert ensure(remote, 2, retries=retries).task_id == "t1"


class TestClear:
    def test_delivered_result_is_history(self, remote: Remote) -> None:
        ensure(remote)
        remote.ends("t1")
        submitter(remote).settle("delivered")

        assert ensure(remote, 2, max_tries=4).task_id == "t2"

    def test_result_that_was_not_delivered_is_taken(self, remote: Remote) -> None:
        ensure(remote)
        remote.ends("t1")

        assert ensure(remote, 2, max_tries=4).task_id == "t1"

    def test_result_that_airflow_did_not_take_in_the_end_is_taken(self, remote: Remote) -> None:
        ensure(remote)
        remote.ends("t1")
        submitter(remote).settle("delivered")
        submitter(remote).settle("undelivered")

        assert ensure(remote, 2, max_tries=4).task_id == "t1"

    def test_delivery_of_nothing_leaves_the_record(self, remote: Remote, store: Store) -> None:
        submitter(remote).settle("delivered")
        killed(remote)
        submitter(remote).settle("delivered")

        assert not store[KEY]["is_delivered"]

    def test_result_of_a_wait_that_a_worker_has_taken_back_is_taken(self, remote: Remote) -> None:
        ensure(remote, notes_kills=False)
        submitter(remote).settle("deferred")
        remote.ends("t1")
        submitter(remote).settle("resumed")

        assert ensure(remote, 2, max_tries=4, notes_kills=False).task_id == "t1"

    def test_result_that_a_kill_may_have_cut_short_is_history(self, remote: Remote) -> None:
        ensure(remote, notes_kills=False)
        submitter(remote).settle("deferred")
        remote.ends("t1")

        assert ensure(remote, 2, max_tries=4, notes_kills=False).task_id == "t2"

    def test_result_of_a_task_that_was_never_deferred_is_taken(self, remote: Remote) -> None:
        ensure(remote, notes_kills=False)
        remote.ends("t1")

        assert ensure(remote, 2, max_tries=4, notes_kills=False).task_id == "t1"

    def test_attempt_that_was_killed_while_it_told_a_person_has_told_nobody(self, remote: Remote) -> None:
        remote.sees_all = False
        killed(remote)
        remote.listed_from = START + 1e9
        with pytest.raises(OrphanedStartError):
            ensure(remote, 2)

        with pytest.raises(OrphanedStartError):
            ensure(remote, 3)

    def test_person_who_was_told_decides_by_clearing(self, remote: Remote) -> None:
        remote.sees_all = False
        killed(remote)
        remote.listed_from = START + 1e9
        with pytest.raises(OrphanedStartError):
            ensure(remote, 2, max_tries=4)

        assert ensure(remote, 3, max_tries=5).task_id == "t2"


class TestLoop:
    def test_iteration_does_not_take_the_task_of_another(self, remote: Remote) -> None:
        first, second = ({"region_id": UUID(int=7), "region_index": index} for index in (0, 1))
        remote.store = None
        ensure(remote, facts=first)

        assert ensure(remote, 2, facts=second).task_id == "t2"
        assert ensure(remote, 2, facts=first).task_id == "t1"

    def test_iteration_that_was_made_anew_finds_its_task(self, remote: Remote, store: Store) -> None:
        loop = SimpleNamespace(index=1)
        ensure(remote, loop=loop, facts={"region_id": UUID(int=7), "region_index": 1})
        store.clear()
        anew = {"region_id": UUID(int=8), "region_index": 1}

        assert ensure(remote, loop=loop, facts=anew).task_id == "t1"

    def test_iteration_that_was_made_anew_wants_another_task_than_a_finished_one(
        self, remote: Remote, store: Store
    ) -> None:
        loop = SimpleNamespace(index=1)
        ensure(remote, loop=loop)
        remote.ends("t1")
        store.clear()

        assert ensure(remote, loop=loop).task_id == "t2"

    def test_iteration_without_titles_is_a_first_attempt(self, remote: Remote) -> None:
        remote.finds_tags = False

        assert ensure(remote, loop=SimpleNamespace(index=1)).task_id == "t1"
        assert remote.searches == []


class TestDeployment:
    def test_deployment_does_not_take_the_task_of_another(
        self, remote: Remote, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        remote.store = None
        monkeypatch.setenv("AIRFLOW__REMOTE_TASKS__DEPLOYMENT_ID", "production")
        ensure(remote)
        monkeypatch.setenv("AIRFLOW__REMOTE_TASKS__DEPLOYMENT_ID", "staging")

        assert ensure(remote, 2).task_id == "t2"


class TestWithoutAStore:
    @pytest.fixture
    def store(self) -> None:
        return None

    def test_first_attempt_searches_nothing(self, remote: Remote) -> None:
        ensure(remote)

        assert remote.searches == []

    @pytest.mark.parametrize("name", ["start_date", "queued_at", "run_after", "data_interval_end"])
    def test_later_attempt_searches_from_the_earliest_start_of_the_run(
        self, remote: Remote, name: str
    ) -> None:
        ensure(remote)
        moments = {"start_date": datetime.fromtimestamp(START - 100, UTC), "queued_at": None}
        moments[name] = datetime.fromtimestamp(START - 500, UTC)

        assert ensure(remote, 2, run=SimpleNamespace(**moments)).task_id == "t1"
        assert [since for _, since in remote.searches] == [START - 500]

    @pytest.mark.parametrize("run", [None, SimpleNamespace(start_date=None)])
    def test_later_attempt_without_a_run_start_searches_one_day(self, remote: Remote, run: Any) -> None:
        ensure(remote, 2, run=run)

        assert {since for _, since in remote.searches} == {START - 86_400}

    def test_cleared_task_resumes_an_unfinished_task(self, remote: Remote) -> None:
        ensure(remote)

        assert ensure(remote, 2, max_tries=4).task_id == "t1"

    @pytest.mark.parametrize("max_tries", [3, 4])
    def test_task_of_a_worker_that_has_just_died_is_searched_until_it_is_listed(
        self, remote: Remote, max_tries: int
    ) -> None:
        killed(remote)
        remote.clock.now += 2
        remote.listed_from = START + 80

        assert ensure(remote, 2, max_tries=max_tries).task_id == "t1"

    def test_search_does_not_end_with_a_task_from_before_a_clear(self, remote: Remote) -> None:
        ensure(remote)
        remote.ends("t1")
        killed(remote, 2, max_tries=4)
        remote.listed_late = {"t2": START + 180}

        assert ensure(remote, 3, max_tries=4).task_id == "t2"

    def test_cleared_task_submits_again_after_a_finished_task(self, remote: Remote) -> None:
        ensure(remote)
        remote.ends("t1")

        assert ensure(remote, 2, max_tries=4).task_id == "t2"
        assert ensure(remote, 3, max_tries=4).task_id == "t2"

    @pytest.mark.parametrize("retries", [0, 1, 3, 9])
    def test_edited_retries_submit_nothing(self, remote: Remote, retries: int) -> None:
        ensure(remote)
        remote.ends("t1")

        assert ensure(remote, 2, retries=retries).task_id == "t1"

    def test_changed_inputs_are_known_by_the_tag(self, remote: Remote) -> None:
        ensure(remote)

        with pytest.raises(StaleStartError):
            ensure(remote, 2, fingerprint="other")

    @pytest.mark.parametrize("max_tries", [3, 4])
    def test_hidden_task_is_left_to_a_person(self, remote: Remote, max_tries: int) -> None:
        ensure(remote)
        remote.sees_all, remote.listed_from = False, START + 1e9

        with pytest.raises(OrphanedStartError):
            ensure(remote, 2, max_tries=max_tries)

        assert len(remote.tasks) == 1


class TestStoreThatAClearDrops:
    """Airflow 3.4."""

    @pytest.fixture(autouse=True)
    def _dropped(self, remote: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "CLEARS_DROP_STATE", True)

    def test_task_at_work_is_found_by_its_tag(self, remote: Remote, store: Store) -> None:
        ensure(remote)
        store.clear()

        assert ensure(remote, 2, max_tries=4).task_id == "t1"

    def test_hidden_task_is_left_to_a_person(self, remote: Remote, store: Store) -> None:
        remote.sees_all = False
        ensure(remote)
        store.clear()
        remote.listed_from = START + 1e9

        with pytest.raises(OrphanedStartError, match="Keep task state and resume"):
            ensure(remote, 2, max_tries=4)

        assert ensure(remote, 3, max_tries=5).task_id == "t2"

    def test_task_that_only_looks_the_same_is_left_to_a_person(self, remote: Remote, store: Store) -> None:
        remote.finds_tags = False
        ensure(remote)
        store.clear()

        with pytest.raises(OrphanedStartError, match="t1"):
            ensure(remote, 2, max_tries=4)

    def test_retry_after_a_failure_before_the_submission_is_no_clear(self, remote: Remote) -> None:
        remote.sees_all = False
        submitter(remote).begin()

        assert ensure(remote, 2).task_id == "t1"


class TestWithoutTags:
    @pytest.fixture(autouse=True)
    def _no_titles(self, remote: Remote) -> None:
        remote.finds_tags = False

    def test_attempt_without_a_record_does_not_adopt_a_similar_task(self, remote: Remote) -> None:
        remote.tasks["t1"] = Candidate("t1", None, TaskState.RUNNING)

        assert ensure(remote, 2).task_id == "t2"

    def test_similar_task_is_not_taken_for_a_lost_one(self, remote: Remote) -> None:
        remote.create_fails = RESET

        with pytest.raises(OrphanedStartError, match="t1"):
            ensure(remote)

        assert len(remote.tasks) == 1

    def test_request_that_had_no_effect_is_repeated(self, remote: Remote) -> None:
        remote.arrives = False
        killed(remote)
        remote.arrives = True

        assert ensure(remote, 2).task_id == "t1"

    def test_changed_inputs_hide_a_lost_request(self, remote: Remote) -> None:
        killed(remote)
        remote.listed_from = START + 1e9

        with pytest.raises(OrphanedStartError):
            ensure(remote, 2, fingerprint="other")
