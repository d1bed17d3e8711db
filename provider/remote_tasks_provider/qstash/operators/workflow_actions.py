"""Operators that list, cancel and notify workflow runs, and wait for none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from remote_tasks_provider.bases.listing import RemoteListOperator
from remote_tasks_provider.bases.once import Once
from remote_tasks_provider.core import validation
from remote_tasks_provider.core.errors import InvalidArgumentError, NotFoundError
from remote_tasks_provider.core.log import counted
from remote_tasks_provider.qstash.hooks import QStashHook
from remote_tasks_provider.qstash.operators import checks as check
from remote_tasks_provider.qstash.operators.base import Moment, QStashOperator, Words
from remote_tasks_provider.qstash.workflow_events import Notification

if TYPE_CHECKING:
    from airflow.sdk import Context

__all__ = [
    "QStashCancelWorkflowOperator",
    "QStashListWorkflowRunsOperator",
    "QStashNotifyWorkflowOperator",
]

# Ids in one request.
_BATCH = 100


class QStashListWorkflowRunsOperator(QStashOperator, RemoteListOperator):
    """Lists workflow runs, the newest first: up to 1000 to XCom, or any number to a file.

    Returns like :class:`~remote_tasks_provider.manus.operators.ManusListTasksOperator`. What a workflow has
    returned is in ``response``; headers, inputs and steps, which may hold secrets, are never returned.

    :param workflow_run_ids: only these runs; one id or several. Templated.
    :param state: only runs in this state: ``RUN_STARTED``, ``RUN_SUCCESS``, ``RUN_FAILED`` or
        ``RUN_CANCELED``; one or several. Templated.
    :param workflow_url: only runs of this workflow. Templated.
    :param labels: only runs with one of these labels. Templated.
    :param from_date: only runs from this moment on: an aware ``datetime``, an ISO 8601 string with an offset,
        or Unix seconds. Templated.
    :param to_date: only runs up to this moment. Templated.
    """

    checks = check.LIST_RUNS
    filters: Sequence[str] = ("workflow_run_ids", "state", "workflow_url", "labels", "from_date", "to_date")
    template_fields: Sequence[str] = (*filters, "limit", "output_path", "qstash_conn_id")

    def __init__(
        self,
        *,
        workflow_run_ids: Words | None = None,
        state: Words | None = None,
        workflow_url: Words | None = None,
        labels: Words | None = None,
        from_date: Moment | None = None,
        to_date: Moment | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.workflow_run_ids = workflow_run_ids
        self.state = state
        self.workflow_url = workflow_url
        self.labels = labels
        self.from_date = from_date
        self.to_date = to_date

    def read(self, hook: QStashHook, limit: int | None) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the runs that match the filters."""
        given = {name: getattr(self, name) for name in self.filters}
        for run in hook.iter_workflow_runs(limit=limit, **given):
            yield run.workflow_run_id, run.to_json()


class QStashCancelWorkflowOperator(QStashOperator):
    """Cancels unfinished workflow runs; returns how many this attempt has cancelled.

    A finished run is not an error. All that match a filter are cancelled only with ``filters``, never because
    an id came out empty.

    :param workflow_run_id: the run's id, or a list of ids. Templated.
    :param filters: instead of ids: which runs to cancel, by ``workflow_url`` (exact), ``labels``,
        ``caller_ip``, ``flow_control_key``, ``from_date``, ``to_date``; at least one. Templated.
    """

    template_fields: Sequence[str] = ("workflow_run_id", "filters", "qstash_conn_id")
    checks = check.CANCEL_RUNS

    def __init__(
        self,
        *,
        workflow_run_id: Words | None = None,
        filters: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.workflow_run_id = workflow_run_id
        self.filters = filters
        self.check_together()

    def refuse_together(self) -> None:
        """Refuse to choose between two selections, or without one."""
        if (self.workflow_run_id is None) == (self.filters is None):
            raise InvalidArgumentError(
                "give workflow_run_id, or filters to cancel all runs that match; not both"
            )

    def act(self, hook: QStashHook, context: Context) -> int:
        """Cancel them."""
        if self.filters is not None:
            cancelled = hook.cancel_workflow_runs(**dict(self.filters))
        else:
            ids = validation.object_ids(self.workflow_run_id, "workflow_run_id")
            slices = (ids[start : start + _BATCH] for start in range(0, len(ids), _BATCH))
            cancelled = sum(self._cancel(hook, some) for some in slices)
        return cancelled

    def summary(self, found: int) -> str:
        """Return how many were cancelled."""
        return f"Cancelled {counted(found, 'workflow run')}."

    def _cancel(self, hook: QStashHook, run_ids: list[str]) -> int:
        if len(run_ids) > 1:
            return hook.cancel_workflow_runs(workflow_run_ids=run_ids)
        try:
            hook.cancel_workflow_run(run_ids[0])
        except NotFoundError:
            self.log.info("QStash workflow run %s has finished, or is unknown.", run_ids[0])
            return 0
        return 1


class QStashNotifyWorkflowOperator(QStashOperator):
    """Resumes the workflow runs that wait for an event, once; returns ``[{"workflow_run_id": …, …}]``.

    An event that nobody waits for is lost. So if nobody does, the task fails, and its ``retries`` try again.
    From Airflow 3.3 on, an attempt that does not know whether an earlier one has notified the runs looks
    whether they still wait. Runs that an earlier attempt has notified are not returned.

    :param event_id: the id that the workflow gives to ``context.waitForEvent``: letters, digits, ``-``, ``_``
        and ``.``. Templated.
    :param event_data: what the runs get: text, bytes, or a JSON value. Templated.
    :param workflow_run_id: only this run. Templated.
    :param require_waiter: fail if nobody waits for the event; otherwise return an empty list.
    """

    template_fields: Sequence[str] = ("event_id", "event_data", "workflow_run_id", "qstash_conn_id")
    checks = check.NOTIFY

    def __init__(
        self,
        *,
        event_id: str,
        event_data: Any = None,
        workflow_run_id: str | None = None,
        require_waiter: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.event_id = event_id
        self.event_data = event_data
        self.workflow_run_id = workflow_run_id
        self.require_waiter = require_waiter

    def act(self, hook: QStashHook, context: Context) -> list[dict[str, Any]]:
        """Notify them."""
        notification = Notification(
            hook,
            self.event_id,
            self.event_data,
            self.workflow_run_id,
            require_waiter=self.require_waiter,
        )
        notified = Once(self, context).do(notification) or []
        return [one.to_json() for one in notified]

    def summary(self, found: list[dict[str, Any]]) -> str:
        """Return how many were notified."""
        return f"Notified {counted(len(found), 'workflow run')}."
