"""The part of the QStash hook for runs of Upstash workflows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from remote_tasks_provider.bases.hooks import RemoteTaskHook
from remote_tasks_provider.core import validation
from remote_tasks_provider.qstash.api import workflows
from remote_tasks_provider.qstash.api.filters import (
    RUN_CANCEL_FILTERS,
    RUN_DLQ_FILTERS,
    RUN_FILTERS,
    filters_of,
)
from remote_tasks_provider.qstash.api.workflow_models import (
    NotifiedRun,
    QStashWorkflowDlqMessage,
    QStashWorkflowRun,
    TriggeredRun,
)
from remote_tasks_provider.qstash.api.workflow_options import WorkflowOptions, resume_headers
from remote_tasks_provider.qstash.bulk import cancel_all

__all__ = ["QStashWorkflowHook"]


class QStashWorkflowHook(RemoteTaskHook):
    """Triggers and reads runs; :class:`~remote_tasks_provider.qstash.hooks.QStashHook` is the whole."""

    def workflow_options(self, workflow_url: str, body: Any = None, **options: Any) -> WorkflowOptions:
        """Return checked options of a run; see :meth:`trigger_workflow` for the parameters."""
        extras: Any = self.client.config.extras
        return WorkflowOptions(workflow_url, body, extras.plan, **WorkflowOptions.by_field(options))

    def trigger_workflow(
        self, workflow_url: str, body: Any = None, *, workflow_run_id: str | None = None, **options: Any
    ) -> TriggeredRun:
        """Begin a run of an Upstash workflow; return its id.

        The request is not repeated after a failure: an error leaves open whether a run has begun, unless you
        have given it an id, by which :meth:`get_workflow_run` finds it.

        :param workflow_url: the endpoint that serves the workflow.
        :param body: its input: text, bytes, or a JSON value.
        :param workflow_run_id: the id of the run as it is sent; the official clients put ``wfr_`` before it.
            One whose run is unfinished is an ``InvalidRequestError``.
        :param options: ``headers``, ``delay``, ``not_before``, ``retries``, ``retry_delay``,
            ``failure_callback``, ``flow_control``, ``labels``, ``redact``, ``extra_headers``: see
            :class:`~remote_tasks_provider.qstash.operators.QStashWorkflowOperator`, whose names it takes too.
        """
        run_id = None if workflow_run_id is None else validation.object_id(workflow_run_id, "workflow_run_id")
        return self.client.send(
            workflows.trigger(self.workflow_options(workflow_url, body, **options), run_id)
        )

    def get_workflow_run(self, workflow_run_id: str) -> QStashWorkflowRun:
        """Return a run; the newest one, if several had this id.

        :raises NotFoundError: if the logs do not show it: not yet, not any more, or never.
        """
        return self.client.send(workflows.get_run(workflow_run_id))

    def iter_workflow_runs(self, *, limit: int | None = None, **filters: Any) -> Iterator[QStashWorkflowRun]:
        """Return an iterator over runs, the newest first; lazy, ten a page.

        :param limit: runs at most.
        :param filters: ``workflow_run_ids``, ``state`` (``RUN_STARTED``, ``RUN_SUCCESS``, ``RUN_FAILED``,
            ``RUN_CANCELED``), ``workflow_url`` (exact), ``labels``, ``caller_ip``, ``flow_control_key``,
            ``from_date``, ``to_date`` (aware datetimes, or Unix seconds).
        """
        most = None if limit is None else validation.whole_number(limit, "limit", least=1)
        size = min(most or workflows.MOST_RUNS, workflows.MOST_RUNS)
        return self.client.items(workflows.list_runs(filters_of(filters, RUN_FILTERS), page_size=size), most)

    def cancel_workflow_run(self, workflow_run_id: str) -> None:
        """Cancel an unfinished run.

        :raises NotFoundError: when it has finished, or is unknown.
        """
        self.client.send(workflows.cancel_run(workflow_run_id))

    def cancel_workflow_runs(self, **filters: Any) -> int:
        """Cancel all runs that match; return how many, as far as QStash's answers tell.

        :param filters: those of :meth:`iter_workflow_runs`, without ``state``; at least one, and
            ``workflow_run_ids`` alone.
        """
        given = filters_of(filters, RUN_CANCEL_FILTERS)
        most = sum(name == "workflowRunIds" for name, _ in given) or float("inf")
        return cancel_all(self.client, workflows.cancel_runs(given), "workflow runs", most)

    def notify_workflow(
        self, event_id: str, event_data: Any = None, *, workflow_run_id: str | None = None
    ) -> list[NotifiedRun]:
        """Resume the runs that wait for an event, as with ``context.waitForEvent``; return them.

        An event that nobody waits for is lost. Not repeated after a failure.

        :param event_id: letters, digits, ``-``, ``_`` and ``.``.
        :param event_data: what the runs get: text, bytes, or a JSON value.
        :param workflow_run_id: only this run.
        """
        return self.client.send(workflows.notify(event_id, event_data, workflow_run_id))

    def workflow_waiters(self, event_id: str) -> list[str]:
        """Return the ids of the runs that wait for an event."""
        return self.client.send(workflows.list_waiters(event_id))

    def iter_workflow_dlq(
        self, *, limit: int | None = None, **filters: Any
    ) -> Iterator[QStashWorkflowDlqMessage]:
        """Return an iterator over failed runs in the dead letter queue; lazy, 100 a page.

        :param limit: runs at most.
        :param filters: those of :meth:`iter_workflow_runs`, without ``state``.
        """
        most = None if limit is None else validation.whole_number(limit, "limit", least=1)
        return self.client.items(workflows.list_dlq(filters_of(filters, RUN_DLQ_FILTERS)), most)

    def resume_workflow(
        self,
        dlq_id: str,
        *,
        restart: bool = False,
        retries: int | None = None,
        flow_control: Mapping[str, Any] | None = None,
    ) -> TriggeredRun:
        """Resume a failed run where it failed, or restart it, as a new run; return its id.

        Not repeated after a failure.

        :param dlq_id: from the failed run, or from :meth:`iter_workflow_dlq`.
        :param restart: begin again, with the same input.
        :param retries: how often a failed step is repeated, if otherwise than before.
        :param flow_control: if otherwise than before.
        :raises NotFoundError: if it is not in the dead letter queue (any more).
        """
        headers = resume_headers(None, (), retries=retries, flow_control=flow_control)
        return self.client.send(workflows.resume(dlq_id, headers, restart=restart))
