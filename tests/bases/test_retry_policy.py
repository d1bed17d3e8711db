"""When Airflow's own retry comes, and when it must not."""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowTaskTimeout, BaseOperator

from remote_tasks_provider.bases.compat import STARTS_FROM_TRIGGER
from remote_tasks_provider.bases.retry_policy import RemoteTaskRetryPolicy
from remote_tasks_provider.core.errors import (
    AuthenticationError,
    ConnectionConfigError,
    InvalidRequestError,
    InvalidResponseError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitedError,
    RedirectError,
    RemoteTaskError,
    ServerError,
    TaskFailedError,
    TransportError,
    WaitTimeoutError,
)

try:
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG

try:
    from airflow.serialization.serialized_objects import DagSerialization as Serialization
except ImportError:  # Airflow below 3.2
    from airflow.serialization.serialized_objects import SerializedDAG as Serialization

try:
    from airflow.providers.common.compat.sdk import RetryDecision

    RESCHEDULES = hasattr(RetryDecision, "reschedule")
except ImportError:  # Airflow below 3.3
    RESCHEDULES = False

RETRIED_LATER = "reschedule" if RESCHEDULES else "retry"
reschedules = pytest.mark.skipif(not RESCHEDULES, reason="Airflow reschedules for a policy from 3.4 on")
asks_policies = pytest.mark.skipif(not STARTS_FROM_TRIGGER, reason="Airflow asks policies from 3.3 on")


class _Task(BaseOperator):
    def __init__(self, number: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.number = number

    def execute(self, context: Any) -> None:
        pass


def _limited(seconds: float | None, **facts: Any) -> RateLimitedError:
    return RateLimitedError("slow down", status_code=429, retry_after=seconds, **facts)


def _decide(
    exception: BaseException, policy: RemoteTaskRetryPolicy | None = None, context: Any = None
) -> Any:
    return (policy or RemoteTaskRetryPolicy()).evaluate(exception, try_number=1, max_tries=3, context=context)


def _action(exception: BaseException) -> str:
    return str(_decide(exception).action.value)


def _seconds(exception: BaseException, policy: RemoteTaskRetryPolicy | None = None) -> float:
    delay = _decide(exception, policy).retry_delay
    assert isinstance(delay, timedelta)
    return delay.total_seconds()


@pytest.fixture
def highest_spread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("remote_tasks_provider.bases.retry_policy.random.uniform", lambda _low, high: high)


@pytest.fixture
def no_spread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("remote_tasks_provider.bases.retry_policy.random.uniform", lambda low, _high: low)


@asks_policies
class TestRetryAfter:
    def test_retry_comes_when_the_service_asked_for_it(self, no_spread: None) -> None:
        assert _action(_limited(7)) == RETRIED_LATER
        assert _seconds(_limited(7)) == 7

    def test_retry_is_never_earlier_and_a_little_later(self) -> None:
        waits = {_seconds(_limited(100)) for _ in range(50)}

        assert all(100 <= wait <= 110 for wait in waits)
        assert len(waits) > 1

    @pytest.mark.parametrize(("asked", "latest"), [(0, 1), (2, 3), (100, 110), (3000, 3030)])
    def test_spread_has_bounds(self, asked: float, latest: float, highest_spread: None) -> None:
        assert _seconds(_limited(asked)) == latest

    @pytest.mark.parametrize("longest", [60, timedelta(minutes=1)])
    def test_long_retry_after_is_capped(self, longest: Any, no_spread: None) -> None:
        assert _seconds(_limited(3000), RemoteTaskRetryPolicy(longest_delay=longest)) == 60

    def test_retry_after_in_the_past_means_now(self, no_spread: None) -> None:
        assert _seconds(_limited(-5)) == 0

    def test_transient_errors_may_carry_a_retry_after(self, no_spread: None) -> None:
        assert _seconds(ServerError("later", status_code=503, retry_after=12)) == 12
        assert _seconds(NotFoundError("not yet", status_code=404, retry_after=12)) == 12

    def test_delay_of_the_task_holds_without_a_retry_after(self) -> None:
        assert _action(ServerError("down", status_code=503)) == "default"

    @pytest.mark.parametrize("longest", [0, -1, float("inf"), "an hour", None])
    def test_cap_must_be_a_time(self, longest: Any) -> None:
        with pytest.raises(ValueError, match="longest_delay"):
            RemoteTaskRetryPolicy(longest_delay=longest)


def _rescheduled(times: int, since: timedelta = timedelta()) -> Any:
    """Return the context of an attempt that was rescheduled so often, for the first time that long ago."""
    first = datetime.now(UTC) - since if times else None
    ti = SimpleNamespace(get_first_reschedule_date=lambda _context: first)
    return {"ti": ti, "task": _Task(task_id="t"), "task_reschedule_count": times}


@reschedules
class TestReschedule:
    def test_rate_limit_costs_no_retry(self, no_spread: None) -> None:
        decision = _decide(_limited(7), context=_rescheduled(0))

        assert decision.action.value == "reschedule"
        assert decision.retry_delay == timedelta(seconds=7)
        assert decision.max_reschedules == 30
        assert decision.reschedule_timeout == timedelta(days=1)

    def test_delay_of_the_task_holds_without_a_retry_after(self) -> None:
        decision = _decide(_limited(None), context=_rescheduled(0))

        assert (decision.action.value, decision.retry_delay) == ("reschedule", None)
        assert decision.reason == "RateLimitedError (the service, HTTP 429): the service gave no time."

    def test_remaining_errors_with_retry_after_cost_a_retry(self) -> None:
        # The service may be broken, and each new attempt as well.
        assert _action(ServerError("later", status_code=503, retry_after=12)) == "retry"

    def test_delay_of_the_service_holds_past_the_bounds(self, no_spread: None) -> None:
        # Airflow itself would fall back to retry_delay there.
        often = _decide(_limited(7), context=_rescheduled(30))
        long = _decide(_limited(7), context=_rescheduled(3, since=timedelta(days=1)))

        assert [one.action.value for one in (often, long)] == ["retry", "retry"]
        assert [one.retry_delay for one in (often, long)] == [timedelta(seconds=7)] * 2

    def test_last_reschedule_within_the_bounds_is_made(self) -> None:
        context = _rescheduled(29, since=timedelta(hours=23))

        assert _decide(_limited(7), context=context).action.value == "reschedule"

    def test_bounds_can_be_set(self) -> None:
        policy = RemoteTaskRetryPolicy(max_reschedules=2, reschedule_timeout=timedelta(minutes=10))
        decision = _decide(_limited(7), policy, _rescheduled(1))

        assert (decision.max_reschedules, decision.reschedule_timeout) == (2, timedelta(minutes=10))
        assert _decide(_limited(7), policy, _rescheduled(2)).action.value == "retry"

    def test_reschedules_can_be_switched_off(self) -> None:
        policy = RemoteTaskRetryPolicy(max_reschedules=0)

        assert _decide(_limited(7), policy, _rescheduled(0)).action.value == "retry"
        assert _decide(_limited(None), policy, _rescheduled(0)).action.value == "default"

    @pytest.mark.parametrize("bad", [{"max_reschedules": -1}, {"reschedule_timeout": 0}])
    def test_bounds_must_be_possible(self, bad: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match=next(iter(bad))):
            RemoteTaskRetryPolicy(**bad)


@asks_policies
class TestFinalErrors:
    @pytest.mark.parametrize(
        "error",
        [
            AuthenticationError("no", status_code=401),
            PermissionDeniedError("no", status_code=403, retry_after=7),
            InvalidRequestError("no", status_code=400),
            ConnectionConfigError("no password"),
            RedirectError("moved"),
            TaskFailedError("it broke"),
            WaitTimeoutError("too long"),
        ],
        ids=lambda error: type(error).__name__,
    )
    def test_final_error_fails_for_good(self, error: RemoteTaskError) -> None:
        assert _action(error) == "fail"

    @pytest.mark.parametrize(
        "error",
        [
            ServerError("down", status_code=503),
            TransportError("no answer"),
            InvalidResponseError("HTML"),
            NotFoundError("not yet", status_code=404),
            ValueError("not this provider's"),
            AirflowException("nor this"),
            SystemExit(1),
        ],
        ids=lambda error: type(error).__name__,
    )
    def test_remaining_errors_are_left_to_the_task(self, error: BaseException) -> None:
        assert _action(error) == "default"


@asks_policies
class TestChainedExceptions:
    def test_cause_is_found_at_any_depth(self, no_spread: None) -> None:
        outer, middle = RuntimeError("outer"), RuntimeError("middle")
        outer.__cause__, middle.__cause__ = middle, _limited(7)

        assert _seconds(outer) == 7

    def test_outermost_error_decides(self) -> None:
        error = TaskFailedError("the task failed")
        error.__cause__ = ServerError("while asking", status_code=503, retry_after=7)

        assert _action(error) == "fail"

    def test_exception_raised_while_handling_an_error_is_seen_through(self) -> None:
        with pytest.raises(AirflowException) as caught:
            _handle_with(AirflowException("the task failed"))

        assert _action(caught.value) == "fail"

    def test_unrelated_failure_is_not_the_error_of_the_service(self) -> None:
        with pytest.raises(ConnectionError) as caught:
            _handle_with(ConnectionError("the database of the fallback"))

        assert _action(caught.value) == "default"

    def test_suppressed_context_is_ignored(self) -> None:
        error = AirflowException("the fallback failed")
        error.__context__, error.__suppress_context__ = AuthenticationError("no", status_code=401), True

        assert _action(error) == "default"

    def test_execution_timeout_is_retried(self) -> None:
        # How this provider's operators end an attempt at execution_timeout; retries apply to it.
        error = AirflowTaskTimeout("too long")
        error.__cause__ = WaitTimeoutError("too long")

        assert _action(error) == "default"

    def test_circular_cause_is_read_once(self) -> None:
        error = RuntimeError("a loop")
        error.__cause__ = other = RuntimeError("of two")
        other.__cause__ = error

        assert _action(error) == "default"


def _handle_with(other: Exception) -> None:
    try:
        raise AuthenticationError("no", status_code=401)
    except AuthenticationError:
        raise other  # noqa: B904 - the point of these tests


@asks_policies
class TestReason:
    def test_reason_names_error_operation_and_delay(self) -> None:
        reason = _decide(_limited(7, endpoint="Manus GET /v1/tasks")).reason

        assert reason == "RateLimitedError (Manus GET /v1/tasks, HTTP 429): the service asked for 7 s."

    def test_reason_says_why_there_is_no_retry(self) -> None:
        assert _decide(TaskFailedError("x")).reason == "TaskFailedError: a retry cannot help."

    def test_reason_holds_no_text_of_the_service(self) -> None:
        error = AuthenticationError("sk-secret is wrong", status_code=401, request_id="r-1", hint="mend it")

        assert _decide(error).reason == "AuthenticationError (the service, HTTP 401): a retry cannot help."

    def test_reason_fits_into_the_column_of_airflow(self) -> None:
        assert len(_decide(_limited(7, endpoint="x" * 900)).reason) == 500


class TestDag:
    """On every version: a DAG file that has the policy in ``default_args`` is read everywhere."""

    @staticmethod
    def _dag() -> Any:
        default_args = {"retries": 2, "retry_policy": RemoteTaskRetryPolicy(longest_delay=60)}
        with DAG(
            "d", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC), default_args=default_args
        ) as dag:
            _Task(task_id="one")
            _Task.partial(task_id="many").expand(number=[1, 2])
        return dag

    def test_serialized_dag_is_stable(self) -> None:
        texts = {json.dumps(Serialization.to_dict(self._dag()), sort_keys=True) for _ in range(2)}

        (text,) = texts
        assert "retry_policy" in text
        Serialization.from_dict(json.loads(text))

    def test_policy_is_taken_from_default_args(self) -> None:
        dag = self._dag()

        found = {getattr(dag.get_task(name), "retry_policy", None) for name in ("one", "many")}
        assert found == {RemoteTaskRetryPolicy(longest_delay=60) if STARTS_FROM_TRIGGER else None}

    def test_policy_survives_its_own_json(self) -> None:
        policy = RemoteTaskRetryPolicy(longest_delay=60)

        assert RemoteTaskRetryPolicy.deserialize(json.loads(json.dumps(policy.serialize()))) == policy
        assert copy.deepcopy(policy) == policy
        # Airflow below 3.3 writes this text into the serialized DAG: with an address in it, the DAG would
        # change each time its file is read.
        assert repr(policy).startswith("RemoteTaskRetryPolicy(longest_delay=60.0, ")
        assert " at 0x" not in repr(policy)

    def test_policy_of_an_earlier_version_is_read(self) -> None:
        earlier = {"__type": "RemoteTaskRetryPolicy", "longest_delay": 60.0}

        assert RemoteTaskRetryPolicy.deserialize(earlier) == RemoteTaskRetryPolicy(longest_delay=60)

    @asks_policies
    def test_policy_can_be_chained_with_another(self) -> None:
        from airflow.providers.common.compat.sdk import (
            ChainRetryPolicy,
            ExceptionRetryPolicy,
            RetryAction,
            RetryRule,
        )

        chain = ChainRetryPolicy(
            [RemoteTaskRetryPolicy(), ExceptionRetryPolicy([RetryRule(KeyError, RetryAction.FAIL)])]
        )
        found = [
            chain.evaluate(error, 1, 3).action.value for error in (_limited(7), KeyError(), ValueError())
        ]

        assert found == [RETRIED_LATER, "fail", "default"]
