"""The steps of a start and what is kept of each, at a service made of a list."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from remote_tasks_provider.bases import submission as module
from remote_tasks_provider.bases.submission import CorrelationTag, Submitter
from remote_tasks_provider.core.errors import (
    InvalidRequestError,
    NotFoundError,
    OrphanedStartError,
    RateLimitedError,
    TransportError,
)
from remote_tasks_provider.core.states import TaskState
from remote_tasks_provider.core.submission import Candidate, SubmissionPolicy
from tests.bases.history import START, Clock

KEY = "remote_task_submission"
RESET = TransportError("the connection was reset")


class Store(dict[str, Any]):
    def set(self, key: str, value: Any) -> None:
        self[key] = json.loads(json.dumps(value))

    def delete(self, key: str) -> None:
        self.pop(key, None)


class Remote:
    """A service that keeps marks, and what was done to it."""

    sees_all = finds_tags = True

    def __init__(self, clock: Clock, store: Store | None) -> None:
        self.clock = clock
        self.store = store
        self.tasks: dict[str, Candidate] = {}
        self.steps: list[str] = []
        self.searches: list[tuple[range, float]] = []
        self.create_fails: Exception | None = None
        self.prepare_fails: Exception | None = None
        self.is_known = self.arrives = True
        self.listed_from = 0.0

    def prepare(self) -> None:
        self.steps.append("prepare")
        if self.prepare_fails:
            raise self.prepare_fails

    def submit(self, tag: CorrelationTag) -> Candidate:
        intent = (self.store or {}).get(KEY, {"task_id": None})
        assert intent["task_id"] is None, "the intent is to be recorded before the request"
        self.steps.append("submit")
        made = Candidate(f"t{len(self.tasks) + 1}", "https://x", TaskState.RUNNING, tag.attempt)
        if self.arrives:
            self.tasks[made.task_id] = made
        if self.create_fails:
            raise self.create_fails
        return made

    def read(self, task_id: str) -> Candidate:
        self.steps.append(f"read {task_id}")
        if not self.is_known:
            raise NotFoundError("no such task", status_code=404)
        return self.tasks[task_id]

    def search(self, tag: CorrelationTag, attempts: range, since: float) -> Sequence[Candidate]:
        self.searches.append((attempts, since))
        if self.clock.now < self.listed_from:
            return []
        return [task for task in self.tasks.values() if task.attempt in attempts]

    def cancel(self, task_id: str) -> None:
        self.steps.append(f"cancel {task_id}")


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def remote(clock: Clock, store: Store, monkeypatch: pytest.MonkeyPatch) -> Remote:
    monkeypatch.setattr(module, "time", SimpleNamespace(time=clock.time, sleep=clock.sleep))
    return Remote(clock, store)


def ensure(
    remote: Remote,
    number: int = 1,
    *,
    max_tries: int = 3,
    fingerprint: str = "same",
    run: Any = None,
    **policy: Any,
) -> Candidate:
    ti = SimpleNamespace(
        dag_id="d", task_id="t", run_id="r", map_index=-1, try_number=number, max_tries=max_tries
    )
    context: Any = {"ti": ti, "dag_run": run}
    if remote.store is not None:
        context["task_state_store"] = remote.store
    task: Any = SimpleNamespace(log=logging.getLogger(__name__), retries=3)
    starter = Submitter(task, context, policy=SubmissionPolicy(**policy), appears_within=90)
    return starter.ensure(remote, fingerprint)


class TestCorrelationTag:
    def test_tag_tells_attempts_apart(self) -> None:
        title = f"The news {CorrelationTag('abc', 12)}"

        assert CorrelationTag("abc", 99).attempt_in(title, range(1, 13)) == 12
        assert CorrelationTag("abc", 12).attempt_in(title, range(1, 12)) is None
        assert CorrelationTag("abd", 12).attempt_in(title, range(1, 13)) is None
        assert CorrelationTag("abc", 12).attempt_in(None, range(1, 13)) is None

    def test_tag_is_unique_per_task_instance(self, remote: Remote) -> None:
        def tag(**facts: Any) -> CorrelationTag:
            ti = SimpleNamespace(**{"dag_id": "d", "task_id": "t", "run_id": "r", "map_index": -1, **facts})
            task: Any = SimpleNamespace(log=None, retries=0)
            context: Any = {"ti": ti}
            return Submitter(task, context, policy=SubmissionPolicy(), appears_within=0).tag

        others = [tag(dag_id="e"), tag(task_id="u"), tag(run_id="s"), tag(map_index=0)]
        assert tag() == tag(try_number=1)
        assert tag(try_number=2).key == tag().key
        assert len({one.key for one in [tag(), *others]}) == 5


class TestFirstAttempt:
    def test_first_attempt_searches_nothing(self, remote: Remote, store: Store) -> None:
        started = ensure(remote)

        assert remote.steps == ["prepare", "submit"]
        assert remote.searches == []
        assert store[KEY] == {
            "fingerprint": "same",
            "intended_at": START,
            "attempt": 1,
            "task_id": started.task_id,
            "url": "https://x",
            "replaces": None,
        }

    def test_failure_before_the_request_leaves_no_intent(self, remote: Remote, store: Store) -> None:
        remote.prepare_fails = OSError("no such file")

        with pytest.raises(OSError, match="no such file"):
            ensure(remote)

        assert store == {}

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

        assert store == {}
        assert remote.searches == []

    def test_crash_during_the_request_leaves_the_intent(self, remote: Remote, store: Store) -> None:
        remote.create_fails = KeyError("a bug")

        with pytest.raises(KeyError):
            ensure(remote)

        assert store[KEY]["task_id"] is None


class TestLostAnswer:
    def test_task_is_searched_until_it_is_listed(self, remote: Remote, store: Store) -> None:
        remote.create_fails, remote.listed_from = RESET, START + 42

        assert ensure(remote).task_id == "t1"
        assert store[KEY]["task_id"] == "t1"
        assert remote.clock.now == START + 45
        assert {attempts for attempts, _ in remote.searches} == {range(1, 2)}

    def test_missing_task_allows_another_request(self, remote: Remote, store: Store) -> None:
        remote.create_fails, remote.arrives = RESET, False

        with pytest.raises(TransportError):
            ensure(remote)

        assert remote.clock.now == START + 90
        assert store == {}

    def test_unknown_result_keeps_the_intent(self, remote: Remote, store: Store) -> None:
        remote.create_fails, remote.sees_all, remote.arrives = RESET, False, False

        with pytest.raises(OrphanedStartError):
            ensure(remote)

        assert store[KEY]["task_id"] is None

    def test_search_covers_only_the_lost_attempt(self, remote: Remote) -> None:
        remote.tasks["t1"] = Candidate("t1", None, TaskState.COMPLETED, 1)
        remote.create_fails = RESET

        assert ensure(remote, 2, max_tries=4).task_id == "t2"


class TestLaterAttempt:
    def test_resumed_task_is_kept(self, remote: Remote, store: Store) -> None:
        ensure(remote)
        ensure(remote, 2, max_tries=4)  # cleared while it ran
        remote.tasks["t1"] = Candidate("t1", None, TaskState.COMPLETED, 1)

        assert ensure(remote, 3, max_tries=4).task_id == "t1"
        assert store[KEY]["attempt"] == 3
        assert remote.steps.count("submit") == 1

    def test_found_task_is_recorded(self, remote: Remote, store: Store) -> None:
        remote.create_fails = KeyError("killed")
        with pytest.raises(KeyError):
            ensure(remote)

        assert ensure(remote, 2).task_id == "t1"
        assert store[KEY] | {"intended_at": 0} == {
            "fingerprint": "same",
            "intended_at": 0,
            "attempt": 2,
            "task_id": "t1",
            "url": "https://x",
            "replaces": None,
        }

    def test_restarted_task_is_cancelled_first(self, remote: Remote, store: Store) -> None:
        ensure(remote)

        assert ensure(remote, 2, fingerprint="other", on_stale_state="restart").task_id == "t2"
        assert remote.steps[-3:] == ["cancel t1", "prepare", "submit"]
        assert store[KEY]["replaces"] == "t1"

    def test_fresh_invisible_task_is_not_submitted_again(self, remote: Remote) -> None:
        ensure(remote)
        remote.is_known = False
        remote.clock.now += 89
        with pytest.raises(NotFoundError):
            ensure(remote, 2)
        remote.clock.now += 1

        assert ensure(remote, 3).task_id == "t2"


class TestWithoutAStore:
    @pytest.fixture
    def store(self) -> None:
        return None

    def test_first_attempt_searches_nothing(self, remote: Remote) -> None:
        ensure(remote)

        assert remote.searches == []

    def test_later_attempt_searches_from_the_start_of_the_run(self, remote: Remote) -> None:
        ensure(remote)
        began = datetime.fromtimestamp(START - 500, UTC)

        assert ensure(remote, 2, run=SimpleNamespace(start_date=began)).task_id == "t1"
        assert remote.searches == [(range(1, 3), START - 500)]

    @pytest.mark.parametrize("run", [None, SimpleNamespace(start_date=None)])
    def test_later_attempt_without_a_run_start_searches_one_day(self, remote: Remote, run: Any) -> None:
        ensure(remote, 2, run=run)

        assert [since for _, since in remote.searches] == [START - 86_400]

    def test_cleared_task_resumes_an_unfinished_task(self, remote: Remote) -> None:
        ensure(remote)

        assert ensure(remote, 2, max_tries=4).task_id == "t1"

    def test_cleared_task_submits_again_after_a_finished_task(self, remote: Remote) -> None:
        ensure(remote)
        remote.tasks["t1"] = Candidate("t1", None, TaskState.COMPLETED, 1)

        assert ensure(remote, 2, max_tries=4).task_id == "t2"
        assert ensure(remote, 3, max_tries=4).task_id == "t2"

    def test_hidden_task_is_left_to_a_person(self, remote: Remote) -> None:
        ensure(remote)
        remote.sees_all, remote.listed_from = False, START + 1e9

        with pytest.raises(OrphanedStartError):
            ensure(remote, 2)

        assert len(remote.tasks) == 1


class TestWithoutTags:
    @pytest.fixture(autouse=True)
    def _no_marks(self, remote: Remote) -> None:
        remote.finds_tags = False

    def test_attempt_without_a_record_does_not_adopt_an_equal_task(self, remote: Remote) -> None:
        remote.tasks["t1"] = Candidate("t1", None, TaskState.RUNNING, 1)

        assert ensure(remote, 2).task_id == "t2"

    def test_changed_inputs_hide_a_lost_request(self, remote: Remote) -> None:
        remote.create_fails = KeyError("killed")
        with pytest.raises(KeyError):
            ensure(remote)
        remote.listed_from = START + 1e9

        with pytest.raises(OrphanedStartError):
            ensure(remote, 2, fingerprint="other")
