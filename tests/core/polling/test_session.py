"""The connection under the polls: read again, believed, replaced; see the module under test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from remote_tasks_provider.core.errors import (
    ConnectionConfigError,
    ConnectionUnavailableError,
    InvalidRequestError,
    InvalidResponseError,
    NotFoundError,
    PermissionDeniedError,
    RedirectError,
    RemoteTaskError,
)
from remote_tasks_provider.core.http.connection import ConnectionConfig
from remote_tasks_provider.core.http.operation import Operation
from remote_tasks_provider.core.polling.drivers import run_plan
from remote_tasks_provider.core.polling.session import PollSession, ReadConnection, UseConnection
from remote_tasks_provider.core.polling.strategy import PollPlan, PollRequest, PollResult
from tests.core.build import a_config, a_snapshot, an_api_error
from tests.core.shared_poller import World
from tests.core.trackers import FORBIDDEN, MISSING, RESET, limited
from tests.core.words import ask

OTHER = a_config("https://other.example.com")
DOWN = ConnectionUnavailableError("the secrets backend is down")


class Strategy:
    """Asks for all tasks at once and delivers each answer by itself."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene

    def plan(self, request: PollRequest) -> PollPlan:
        self.scene.requests.append(request)
        for task_id in request.wanted:
            (answer,) = yield [ask(task_id)]
            yield {task_id: answer if isinstance(answer, RemoteTaskError) else a_snapshot(answer, task_id)}
            if self.scene.bug is not None:
                raise self.scene.bug


class Scene:
    """A session and what surrounds it: the connection, the service, and who takes the results.

    :attr connection: what a read gives, or its error.
    :attr opening: the error that opening a client ends in.
    :attr answers: by task; those of another connection by URL and task.
    """

    def __init__(self, config: ConnectionConfig | None = None, now: float = 0.0) -> None:
        self.connection: ConnectionConfig | RemoteTaskError = a_config()
        self.opening: RemoteTaskError | None = None
        self.answers: dict[Any, str | RemoteTaskError] = {}
        self.bug: Exception | None = None
        self.used = config
        self.strategies = 0
        self.requests: list[PollRequest] = []
        self.steps: list[str] = []
        self.session = PollSession(replace(World().task_type, poll_strategy=self._strategy), config, now)

    def _strategy(self, extras: Any) -> Strategy:
        self.strategies += 1
        return Strategy(self)

    def cycle(self, *due: str, free: tuple[str, ...] = (), now: float = 0.0) -> dict[str, PollResult]:
        """Have one poll cycle; return the results. No result is delivered twice."""
        results: dict[str, PollResult] = {}

        def deliver(found: Any) -> None:
            assert not results.keys() & found.keys()
            results.update(found)

        self.steps.clear()
        request = PollRequest(due, free, due, now)
        run_plan(self.session.cycle(request), self._send, deliver=deliver, control=self._control)
        return results

    def _send(self, operation: Operation[Any]) -> Any:
        task_id = operation.request.path[1:]
        self.steps.append(task_id)
        assert self.used is not None
        answer = self.answers.get((self.used.base_url, task_id), self.answers.get(task_id, "running"))
        if isinstance(answer, RemoteTaskError):
            raise answer
        return answer

    def _control(self, step: Any) -> Any:
        if isinstance(step, ReadConnection):
            self.steps.append("read")
            return self.connection
        assert isinstance(step, UseConnection)
        self.steps.append("use")
        if self.opening is None:
            self.used = step.config
        return self.opening


DOUBTFUL = [
    MISSING,
    FORBIDDEN,
    an_api_error(PermissionDeniedError, 403),
    an_api_error(InvalidRequestError, 400),
    RedirectError("moved"),
]
doubtful = pytest.mark.parametrize("error", DOUBTFUL, ids=lambda error: type(error).__name__)


class TestReading:
    def test_connection_is_read_before_the_first_poll(self) -> None:
        scene = Scene()

        assert scene.cycle("a") == {"a": a_snapshot(task_id="a")}
        assert scene.steps == ["read", "use", "a"]
        scene.cycle("a", now=299.0)
        assert scene.steps == ["a"]

    def test_connection_in_use_is_not_read_at_first(self) -> None:
        scene = Scene(a_config(), now=1000.0)
        scene.cycle("a", now=1299.0)

        assert scene.steps == ["a"]
        assert scene.strategies == 1

    def test_connection_is_read_again_every_five_minutes(self) -> None:
        scene = Scene(a_config(), now=1000.0)
        steps = []
        for now in (1300.0, 1301.0, 1599.0, 1600.0):
            scene.cycle("a", now=now)
            steps.append(list(scene.steps))

        # The same connection goes on, with what was learnt.
        assert steps == [["read", "a"], ["a"], ["a"], ["read", "a"]]
        assert scene.strategies == 1

    @pytest.mark.parametrize(
        "changed",
        [
            replace(a_config(), secret="another key", auth=("API_KEY", "another key")),
            a_config("https://moved.example.com"),
            a_config(read_timeout=7.0),
        ],
        ids=["key", "host", "extras"],
    )
    def test_changed_connection_is_used_and_what_was_learnt_is_dropped(
        self, changed: ConnectionConfig, caplog: pytest.LogCaptureFixture
    ) -> None:
        scene = Scene(a_config())
        scene.connection = changed
        with caplog.at_level("INFO"):
            scene.cycle("a", now=300.0)

        assert scene.steps == ["read", "use", "a"]
        assert (scene.used, scene.strategies) == (changed, 2)
        assert caplog.messages == ["Example: the connection has changed; the new one is used."]

    def test_first_connection_is_no_change(self, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level("INFO"):
            Scene().cycle("a")

        assert caplog.messages == []


class TestUnreadable:
    @pytest.mark.parametrize("problem", [DOWN, ConnectionConfigError("no password")])
    def test_first_read_that_fails_is_the_result_of_the_due_tasks(self, problem: RemoteTaskError) -> None:
        scene = Scene()
        scene.connection = problem

        assert scene.cycle("a", "b", free=("c",)) == {"a": problem, "b": problem}
        assert scene.steps == ["read"]
        scene.connection = a_config()
        assert scene.cycle("a", now=1.0)["a"] == a_snapshot(task_id="a")

    def test_client_that_cannot_be_opened_is_the_result_of_the_due_tasks(self) -> None:
        scene = Scene()
        scene.opening = ConnectionConfigError("no certificate")

        assert scene.cycle("a") == {"a": scene.opening}
        assert scene.strategies == 0

    @pytest.mark.parametrize("fails", ["read", "open"])
    def test_later_read_that_fails_keeps_the_old_connection(
        self, fails: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        scene = Scene(a_config())
        scene.connection = DOWN if fails == "read" else OTHER
        scene.opening = DOWN

        assert scene.cycle("a", now=300.0) == {"a": a_snapshot(task_id="a")}
        assert (scene.used, scene.strategies) == (a_config(), 1)
        assert caplog.messages == [
            "Example: the connection could not be read again, and is used as it was: "
            "the secrets backend is down"
        ]

    def test_failed_read_is_repeated_after_a_minute(self) -> None:
        scene = Scene(a_config())
        scene.connection = DOWN
        reads = []
        for now in (300.0, 301.0, 359.0, 360.0, 380.0):
            scene.cycle("a", now=now)
            reads.append("read" in scene.steps)
        scene.connection = a_config()
        for now in (420.0, 480.0, 719.0, 720.0):
            scene.cycle("a", now=now)
            reads.append("read" in scene.steps)

        assert reads == [True, False, False, True, False, True, False, False, True]


class TestDoubt:
    @doubtful
    def test_error_is_delivered_when_the_connection_is_the_same(self, error: RemoteTaskError) -> None:
        scene = Scene(a_config())
        scene.answers["b"] = error

        assert scene.cycle("a", "b") == {"a": a_snapshot(task_id="a"), "b": error}
        assert scene.steps[-1] == "read"
        assert (scene.steps.count("b"), scene.strategies) == (1, 1)

    @doubtful
    def test_changed_connection_is_asked_again(self, error: RemoteTaskError) -> None:
        scene = Scene(a_config())
        scene.connection = OTHER
        scene.answers = {"b": error, (OTHER.base_url, "b"): "completed"}

        assert scene.cycle("a", "b") == {
            "a": a_snapshot(task_id="a"),
            "b": a_snapshot("completed", task_id="b"),
        }
        assert scene.steps == ["a", "b", "read", "use", "b"]
        assert (scene.used, scene.strategies) == (OTHER, 2)
        # Only what was in doubt, and as the wait wanted it.
        assert scene.requests[1] == PollRequest(["b"], (), ("a", "b"), 0.0)

    def test_error_of_the_changed_connection_is_asked_for_once_and_in_doubt_from_the_next_poll_on(
        self,
    ) -> None:
        scene = Scene(a_config())
        scene.connection = OTHER
        scene.answers = {"a": FORBIDDEN, (OTHER.base_url, "a"): MISSING}

        found = scene.cycle("a")["a"]
        assert isinstance(found, ConnectionUnavailableError)
        assert str(MISSING) in str(found)
        assert scene.steps.count("a") == 2
        assert scene.cycle("a", now=30.0) == {"a": MISSING}

    def test_error_after_a_change_that_a_regular_reading_has_shown_is_no_doubt_yet(self) -> None:
        scene = Scene(a_config())
        scene.connection = OTHER
        scene.answers["a"] = MISSING

        assert isinstance(scene.cycle("a", now=300.0)["a"], ConnectionUnavailableError)
        assert scene.cycle("a", now=330.0) == {"a": MISSING}

    def test_unreadable_connection_is_delivered_in_place_of_the_error(self) -> None:
        scene = Scene(a_config())
        scene.connection = DOWN
        scene.answers["b"] = FORBIDDEN

        assert scene.cycle("a", "b") == {"a": a_snapshot(task_id="a"), "b": DOWN}

    def test_doubt_about_a_free_task_alone_asks_the_changed_connection_for_it(self) -> None:
        scene = Scene(a_config())
        scene.connection = OTHER
        scene.answers = {"b": MISSING, (OTHER.base_url, "b"): "running"}

        assert scene.cycle("a", free=("b",))["b"] == a_snapshot(task_id="b")
        assert scene.requests[1].due == ["b"]

    @pytest.mark.parametrize("error", [RESET, limited(), InvalidResponseError("html")], ids=repr)
    def test_error_that_passes_reads_nothing(self, error: RemoteTaskError) -> None:
        scene = Scene(a_config())
        scene.answers["a"] = error

        assert scene.cycle("a") == {"a": error}
        assert scene.steps == ["a"]


class TestFault:
    def test_fault_of_a_strategy_is_trouble_of_the_due_tasks_not_answered(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        scene = Scene(a_config())
        scene.bug = KeyError("state")
        results = scene.cycle("a", "b", "c", free=("d",))

        assert results["a"] == a_snapshot(task_id="a")
        assert [type(results[task_id]) for task_id in "bc"] == [InvalidResponseError] * 2
        assert "KeyError('state')" in str(results["b"])
        assert "d" not in results
        (record,) = caplog.records
        assert record.exc_info is not None

    def test_doubt_before_a_fault_is_still_delivered(self) -> None:
        scene = Scene(a_config())
        scene.bug = KeyError("state")
        scene.answers["a"] = MISSING
        results = scene.cycle("a", "b")

        assert isinstance(results["a"], NotFoundError)
        assert isinstance(results["b"], InvalidResponseError)

    def test_next_cycle_goes_on(self) -> None:
        scene = Scene(a_config())
        scene.bug = KeyError("state")
        scene.cycle("a", "b")
        scene.bug = None

        assert scene.cycle("a", "b") == {task_id: a_snapshot(task_id=task_id) for task_id in "ab"}

    @pytest.mark.parametrize("stop", [KeyboardInterrupt, GeneratorExit])
    def test_end_of_the_cycle_is_no_fault(
        self, stop: Callable[[], BaseException], caplog: pytest.LogCaptureFixture
    ) -> None:
        cycle = Scene(a_config()).session.cycle(PollRequest(["a"]))
        next(cycle)

        with pytest.raises((KeyboardInterrupt, GeneratorExit)):
            cycle.throw(stop())
        assert caplog.messages == []
