"""The base of every operator that submits remote tasks: submit → wait → finish; cancel; resume.

How a task is submitted once is in :mod:`.submission`, how the wait polls in :mod:`.waiting`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowTaskTimeout

from remote_tasks_provider.bases.compat import is_over, task_state
from remote_tasks_provider.bases.waiting import Mode, WaitingOperator
from remote_tasks_provider.bases.xcoms import hand_over
from remote_tasks_provider.core.cancel_worker import cancel_tasks
from remote_tasks_provider.core.cancellation import (
    AFTER_A_TIMEOUT,
    WHILE_KILLED,
    Cancelled,
    CancelOutcome,
    CancelRules,
)
from remote_tasks_provider.core.errors import (
    RemoteTaskError,
    TaskCancelledError,
    TaskFailedError,
    WaitTimeoutError,
    error_from_json,
)
from remote_tasks_provider.core.log import in_brackets
from remote_tasks_provider.core.polling.policy import TimedOut
from remote_tasks_provider.core.polling.result import WaitResult

if TYPE_CHECKING:
    from airflow.sdk import Context

__all__ = ["CancelAftermath", "RemoteTaskOperator", "Submitted"]


@dataclass(frozen=True, slots=True)
class Submitted:
    """What a submission led to.

    :param ids: the remote tasks.
    :param result: what the operator returns when it does not wait.
    :param are_own: whether this task has submitted them, so that it may cancel them.
    :param carried: what :attr:`WaitingOperator.carried` needs beside the ids.
    """

    ids: list[str]
    result: Any
    are_own: bool = True
    carried: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CancelAftermath:
    """What became of the tasks that an operator has cancelled; as a string, in whole sentences.

    :param was_cancelled: :attr:`RemoteTaskOperator.was_cancelled`.
    :param still_running: :attr:`RemoteTaskOperator.still_running`.
    """

    results: Mapping[str, Cancelled]
    label: str
    was_cancelled: str
    still_running: str

    @property
    def still_run(self) -> list[str]:
        """The tasks that may still run."""
        return [task_id for task_id, result in self.results.items() if result.may_run]

    def __str__(self) -> str:
        by_text: dict[str, list[str]] = {}
        for task_id, result in self.results.items():
            by_text.setdefault(self._text(result), []).append(task_id)
        return " ".join(f"{self.label} {', '.join(ids)} {text}" for text, ids in by_text.items())

    def _text(self, result: Cancelled) -> str:
        match result.outcome:
            case CancelOutcome.CANCELLED:
                return f"{self.was_cancelled}{in_brackets(result.detail)}."
            case CancelOutcome.NOT_RUNNING:
                return f"does not run any more: it was cancelled, or had finished ({result.detail})."
            case CancelOutcome.NOT_FOUND:
                return "was not found: it has finished, or no longer exists."
            case _:
                return f"could not be cancelled and {self.still_running}: {result.detail.rstrip('.')}."


class RemoteTaskOperator(WaitingOperator):
    """Submits remote tasks once, waits for them, and returns what came of them.

    Subclasses implement :meth:`submit` and :meth:`collect`. The parameters are those of every such operator.

    :param wait_for_completion: wait until all are finished; otherwise return as soon as they are submitted.
    :param poll_interval: seconds between polls, or a ``timedelta``.
    :param timeout: seconds (or a ``timedelta``) from the first attempt's start until the operator gives up;
        default ``[sensors] default_timeout``.
    :param raise_on_failure: fail without a retry when a remote task failed or was cancelled; otherwise
        succeed, and let the next task branch on ``state``.
    :param cancel_on_kill: cancel the remote tasks that this task has submitted when a user marks it failed or
        successful while it waits.
    """

    cancel_on_timeout: bool | None = None
    """Whether to cancel the tasks when the operator gives up; ``None`` where it has no such parameter."""
    still_running = "keeps running"
    """What a remote task does that nothing cancelled, for messages."""
    was_cancelled = "was cancelled"
    """What became of one that this operator cancelled, for messages."""

    _own: tuple[str, ...] = ()
    _context: Any = None
    _killed_too_early = False
    _is_killed = False

    def __init__(
        self,
        *,
        wait_for_completion: bool = True,
        poll_interval: float | str | timedelta = 30.0,
        timeout: float | str | timedelta | None = None,
        raise_on_failure: bool = True,
        cancel_on_kill: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.wait_for_completion = wait_for_completion
        self.poll_interval: Any = poll_interval
        self.timeout = timeout  # type: ignore[assignment]  # the check makes seconds of it
        self.raise_on_failure = raise_on_failure
        self.cancel_on_kill = cancel_on_kill

    # ------------------------------------------------------------------------------------------- submit

    def execute(self, context: Context) -> Any:
        """Submit, or re-attach to what an earlier attempt has submitted, and wait."""
        self.check_arguments()
        submitted = self.submit(context)
        self.own(context, submitted.ids if submitted.are_own else [])
        if not self.wait_for_completion or not submitted.ids:
            hand_over(self, context, submitted.result)
            self.settle(context, "delivered")
            return submitted.result
        self.carried = {"ids": submitted.ids, "are_own": submitted.are_own, **submitted.carried}
        return self.wait(context)

    def submit(self, context: Context) -> Submitted:
        """Submit the remote tasks, or find those of an earlier attempt, and push their ids to XCom."""
        raise NotImplementedError

    def own(self, context: Context, ids: Sequence[str]) -> None:
        """Note which remote tasks are this operator's to cancel."""
        self._context, self._own = context, tuple(ids)
        if self._killed_too_early and self._own:
            # A submission was under way. Airflow 3 lets a killed task run for another 5 s.
            self._killed_too_early = False
            self.on_kill()

    # --------------------------------------------------------------------------------------------- wait

    def wait(self, context: Context) -> Any:
        """Wait for the tasks that :attr:`carried` names; return what :meth:`finish` makes of it."""
        self._restore(context)
        mode: Mode = "deferrable" if self.deferrable else "poke"
        policy = self.poll_policy(
            context,
            mode,
            started_at=self.carried.get("started_at"),
            poll_interval=self.poll_interval,
            outage_tolerance=self.outage_tolerance,
            not_found_grace=self.not_found_grace,
            **self.poll_rules(),
        )
        self.carried = {**self.carried, "started_at": policy.started_at}
        try:
            return self.wait_for_tasks(context, list(self.carried["ids"]), policy, mode)
        except AirflowTaskTimeout as error:
            # Airflow's own, during a wait on a worker.
            note = self._after_giving_up(context, is_final=False)
            raise AirflowTaskTimeout(f"{error}. {note}" if note else str(error)) from error

    def poll_rules(self) -> dict[str, Any]:
        """Return more of :class:`~remote_tasks_provider.core.polling.policy.PollPolicy`, if there is more."""
        return {}

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Resume after a deferral."""
        self._context = context
        return super().resume_execution(next_method, next_kwargs, context)

    def _restore(self, context: Context, ids: Iterable[str] = ()) -> None:
        """Know the tasks again that :attr:`carried` names, in another process.

        :param ids: the tasks of a wait that is over: ``dag.test()`` resumes a task without what was carried.
        """
        self.carried = {"ids": list(ids), "are_own": True, **self.carried}
        self.own(context, self.carried["ids"] if self.carried["are_own"] else [])

    # ------------------------------------------------------------------------------------------- finish

    def finish(self, context: Context, result: WaitResult) -> Any:
        """Return what the tasks have brought, or raise."""
        self._restore(context, result.records)
        label = self.remote_task_type.label
        error = result.failure(label, raise_on_failure=self.raise_on_failure, on_waiting="return")
        if error is not None:
            if isinstance(error, (TaskFailedError, TaskCancelledError)):
                self.settle(context, "delivered")
            raise self.failed(context, error, result)
        try:
            collected = hand_over(self, context, self.collect(context, result))
        except Exception as problem:
            # That a task has failed may show in its result only.
            is_told = isinstance(problem.__cause__, (TaskFailedError, TaskCancelledError))
            self.settle(context, "delivered" if is_told else "undelivered")
            raise
        self.settle(context, "delivered")
        return collected

    def collect(self, context: Context, result: WaitResult) -> Any:
        """Return what the finished tasks have brought."""
        raise NotImplementedError

    def failed(self, context: Context, error: RemoteTaskError, result: WaitResult) -> BaseException:
        """Return what to raise when the wait ended in ``error``; it says what becomes of the remote tasks."""
        if isinstance(error, WaitTimeoutError) and result.timed_out:
            return self.gave_up(context, error, result.timed_out)
        if result.errors and (note := self.what_remains(context)):
            # The tasks themselves may be well; it is the polls that failed.
            data = error.to_json()
            error = error_from_json({**data, "message": f"{error.message} {note}"})
        return self.wait_exception(error, result.timed_out)

    def gave_up(self, context: Context, error: WaitTimeoutError, timed_out: TimedOut) -> BaseException:
        """Return what to raise when a deadline has ended the wait, the remote tasks cancelled if need be."""
        note = self._after_giving_up(context, is_final=timed_out == "timeout")
        return self.wait_exception(WaitTimeoutError(error.message, aftermath=note), timed_out)

    # ------------------------------------------------------------------------------------------- cancel

    @property
    def cancels_when_killed(self) -> bool:
        """Whether to cancel the remote tasks when a user ends this one."""
        return self.cancel_on_kill and bool(self._own)

    def trigger_arguments(self) -> dict[str, Any]:
        """Return whether the trigger cancels the remote tasks when a user ends the deferred task."""
        return {"cancel_on_kill": self.cancels_when_killed}

    def on_kill(self) -> None:
        """Cancel the remote tasks if a user has ended this one; Airflow calls it on the worker.

        It also kills a task that was cleared: see :func:`~remote_tasks_provider.bases.compat.is_over`.
        """
        self._is_killed, self._killed_too_early = True, not self._own
        if self._context is not None:
            # First, as Airflow may end the process before the tasks are cancelled. It takes nothing from an
            # attempt that it ends, by execution_timeout either, even if that had just been noted.
            self.settle(self._context, "interrupted")
        if self.cancels_when_killed:
            self._cancel(self._why_killed, WHILE_KILLED)

    def _why_killed(self) -> str | None:
        """Return why to cancel the remote tasks, or ``None`` where they are another attempt's."""
        state = task_state(self._context["ti"])
        if is_over(state):
            return f"this task was marked {state}"
        self.log.info(
            "%s %s: this task is %s.", self._names(), self.still_running, state or "of unknown state"
        )
        return None

    def cancel(self, why: str) -> CancelAftermath:
        """Cancel the remote tasks; return what became of them.

        :param why: for the log: ``this task gave up waiting``.
        """
        return self._cancel(lambda: why, AFTER_A_TIMEOUT)

    def _cancel(self, confirm: Callable[[], str | None], rules: CancelRules) -> CancelAftermath:
        # A hook of its own for each client: this may come during a request.
        results = cancel_tasks(
            self._own,
            task_type=self.remote_task_type,
            connect=lambda: self.new_hook().connect_once(),
            confirm=confirm,
            rules=rules,
            log=self.log,
        )
        label = self.remote_task_type.label
        aftermath = CancelAftermath(results, label, self.was_cancelled, self.still_running)
        if any(one.outcome is CancelOutcome.CANCELLED for one in results.values()):
            self.settle(self._context, "cancelled")
        return aftermath

    def _after_giving_up(self, context: Context, *, is_final: bool) -> str:
        """Cancel the tasks if nothing will wait for them any more; return what became of them.

        :param is_final: whether Airflow will not retry, whatever ``retries`` are left.
        """
        if not self._own:
            return ""
        if self.cancel_on_timeout is None or (not is_final and _has_retries_left(context)):
            return self.what_remains(context)
        names = self._names()
        if not self.cancel_on_timeout:
            return f"{names} {self.still_running}: cancel_on_timeout is off."
        aftermath = self.cancel("this task gave up waiting")
        # Airflow calls on_kill() after its own timeout, and there is no more to cancel than this.
        self.own(context, aftermath.still_run)
        return str(aftermath)

    def _names(self) -> str:
        return f"{self.remote_task_type.label} {', '.join(self._own)}"

    # ------------------------------------------------------------------------------------------- resume

    def recover(self, context: Context) -> None:
        """Learn from XCom which remote tasks are this task's."""
        self.own(context, self.own_ids(context))

    def own_ids(self, context: Context) -> list[str]:
        """Return the ids of this task's own remote tasks, as :meth:`submit` has pushed them to XCom."""
        return []

    def what_remains(self, context: Context) -> str:
        """Return what a reader must know when the wait is over and the remote tasks are not finished."""
        if not self._own:
            return ""
        next_step = "the retry resumes" if _has_retries_left(context) else "clear this task to resume"
        return f"{self._names()} {self.still_running}; {next_step} the wait."


def _has_retries_left(context: Context) -> bool:
    ti: Any = context["ti"]
    return int(ti.try_number or 1) <= int(getattr(ti, "max_tries", 0) or 0)
