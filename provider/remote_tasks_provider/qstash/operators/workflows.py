"""Operators that trigger runs of Upstash workflows, once, and wait for them; and that resume failed ones.

A run may cost money from the moment it begins: triggering it once is in
:mod:`remote_tasks_provider.qstash.workflow_submission`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from remote_tasks_provider.bases.branching import RemoteTaskBranchOperator
from remote_tasks_provider.bases.links import push_link
from remote_tasks_provider.bases.operators import Submitted
from remote_tasks_provider.bases.output import result_to_xcom
from remote_tasks_provider.bases.requests import sending
from remote_tasks_provider.bases.submitting import SubmittingOperator
from remote_tasks_provider.core.errors import InvalidArgumentError
from remote_tasks_provider.core.polling.result import WaitResult
from remote_tasks_provider.core.states import in_words
from remote_tasks_provider.qstash.api.workflow_options import WorkflowOptions
from remote_tasks_provider.qstash.connected import QStashConnected
from remote_tasks_provider.qstash.links import QStashWorkflowLink
from remote_tasks_provider.qstash.models import public_url
from remote_tasks_provider.qstash.operators import checks as check
from remote_tasks_provider.qstash.service import QSTASH_WORKFLOW
from remote_tasks_provider.qstash.triggers import QStashWorkflowTrigger
from remote_tasks_provider.qstash.workflow_submission import (
    ResumeSubmission,
    TriggerSubmission,
    WorkflowSubmission,
)

if TYPE_CHECKING:
    from airflow.sdk import Context

__all__ = ["QStashResumeWorkflowOperator", "QStashWorkflowBranchOperator", "QStashWorkflowOperator"]

# The console has no documented address of one run.
_CONSOLE = "https://console.upstash.com/workflow"


class WorkflowRunOperator(QStashConnected, SubmittingOperator):
    """An operator that begins one workflow run and may wait for it.

    :param result_path: a file for the result as JSON, any URL that ``ObjectStoragePath`` knows. Templated.
    :param cancel_on_timeout: cancel the run when the operator gives up.
    :param on_stale_state: an earlier attempt's run has other inputs: ``fail`` without a retry, ``restart``
        (cancel it if it is unfinished, and trigger another) or ``reattach`` (take its result all the same).
    :param on_orphaned_intent: it is not known whether there is a run, and the logs show none: ``search``
        triggers one, ``fail`` never does, ``start`` does in any case.
    :param not_found_grace: seconds for which the logs may not have the run. They lag behind.
    :param qstash_conn_id: the Airflow connection. Templated.
    """

    id_key = "workflow_run_id"
    remote_task_type = QSTASH_WORKFLOW
    trigger_class = QStashWorkflowTrigger
    operator_extra_links = (QStashWorkflowLink(),)

    def __init__(
        self,
        *,
        poll_interval: float | str | timedelta = 15.0,
        not_found_grace: float | str | timedelta = 300.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(poll_interval=poll_interval, not_found_grace=not_found_grace, **kwargs)
        self.check_together()

    def submission(self, key: str, max_tries: int) -> WorkflowSubmission:
        """Return how the run is begun."""
        raise NotImplementedError

    def submit(self, context: Context) -> Submitted:
        """Begin the run, or re-attach to an earlier attempt's."""
        submitter = self.submitter(context)
        submitter.begin()
        with sending(self.hook):
            submission = self.submission(submitter.key, submitter.attempt.max_tries)
            self.try_result_path()
            run = submitter.ensure(submission, submission.fingerprint)
        is_strange = submission.was_there and submitter.attempt.number == 1
        if is_strange:
            self.log.warning(
                "There was a workflow run %s before this task asked for it: another Airflow with the same "
                "deployment_id may have triggered it. A kill does not cancel it. Set [remote_tasks] "
                "deployment_id.",
                run.task_id,
            )
        self.push_id(context, run.task_id)
        push_link(context, _CONSOLE)
        self.log.info("QStash workflow run %s is triggered.", run.task_id)
        return Submitted([run.task_id], self.reference(run.task_id), not is_strange)

    def reference(self, run_id: str) -> dict[str, Any]:
        """Return what the operator returns without waiting."""
        return {"id": run_id, "workflow_run_id": run_id}

    def collect(self, context: Context, result: WaitResult) -> Any:
        """Return the run's record, and what the workflow has returned."""
        ((run_id, record),) = result.records.items()
        # If this fails, a retry re-attaches to the finished run, and reads it again.
        with sending(self.hook):
            run = self.hook.get_workflow_run(run_id)
        self.log.info(
            "QStash workflow run %s is %s.", run_id, in_words(run.state, (record or {}).get("status"))
        )
        text = run.response if run.result is None else None
        return result_to_xcom(
            {**(record or {}), "text": text, "structured": run.result}, self.result_path, self.log
        )


class QStashWorkflowOperator(WorkflowRunOperator):
    """Triggers a run of an Upstash workflow once, waits for it, and returns its result.

    The run has an id made of the deployment, the DAG, the run, the task, its map index or loop iteration, of
    Airflow's ``max_tries``, by which a clear is known, and of the inputs. Upstash refuses a second run with
    the id of an unfinished one, and the logs show a finished one. So a retried task, a lost answer or a dead
    worker leads to one run. See ``docs/how-to/workflow-runs.md``.

    Returns what :class:`~remote_tasks_provider.qstash.sensors.QStashWorkflowSensor` returns, and the value
    that the workflow has returned under ``structured``; where it is no JSON, the text under ``text``. Without
    waiting it returns ``{"id": …, "workflow_run_id": …, "url": …}``.

    .. code-block:: python

        report = QStashWorkflowOperator(
            task_id="report", workflow_url="https://example.com/api/report", body={"day": "{{ ds }}"},
            deferrable=True,
        )

    :param workflow_url: the endpoint that serves the workflow, with its scheme. Templated.
    :param body: the input: text, bytes, or a JSON value. Templated.
    :param headers: headers for the workflow. Templated.
    :param delay: when to begin: in so many seconds, a ``timedelta`` or ``1d10h30m``. Templated.
    :param not_before: when to begin: an aware ``datetime``, ISO 8601 or Unix seconds. Templated.
    :param delivery_retries: how often Upstash repeats a failed step; default 3, over about 33 minutes.
        (``retries`` is Airflow's, for this task.)
    :param delivery_retry_delay: milliseconds between two attempts of a step, as QStash's formula in
        ``retried``.
    :param failure_callback: another URL than the workflow's own that is called when the run has failed.
        Templated.
    :param flow_control: ``{"key": …, "parallelism": …, "rate": …, "period": …}``.
    :param labels: by which logs and failed runs can be filtered, beside the one of this provider. Templated.
    :param redact: what to hide in the logs, as QStash writes it: ``body, header[Authorization]``.
    :param extra_headers: headers for Upstash that this provider does not know yet. Only their form is
        checked. Templated.
    """

    checks = check.WORKFLOW
    template_fields: Sequence[str] = (
        "workflow_url",
        "body",
        "headers",
        "delay",
        "not_before",
        "failure_callback",
        "labels",
        "extra_headers",
        "result_path",
        "qstash_conn_id",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"body": "json", "headers": "json"}

    def __init__(
        self,
        *,
        workflow_url: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        delay: float | str | timedelta | None = None,
        not_before: datetime | int | str | None = None,
        delivery_retries: int | str | None = None,
        delivery_retry_delay: str | None = None,
        failure_callback: str | None = None,
        flow_control: Mapping[str, Any] | None = None,
        labels: str | Iterable[str] | None = None,
        redact: str | None = None,
        extra_headers: Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        self.delay = delay
        self.not_before = not_before
        super().__init__(**kwargs)
        self.workflow_url = workflow_url
        self.body = body
        self.headers = headers
        self.delivery_retries = delivery_retries
        self.delivery_retry_delay = delivery_retry_delay
        self.failure_callback = failure_callback
        self.flow_control = flow_control
        self.labels = labels
        self.redact = redact
        self.extra_headers = extra_headers

    def refuse_together(self) -> None:
        """Refuse two moments to begin at."""
        super().refuse_together()
        if self.delay is not None and self.not_before is not None:
            raise InvalidArgumentError("delay and not_before are both given; choose one")

    def submission(self, key: str, max_tries: int) -> WorkflowSubmission:
        """Return how the workflow is triggered."""
        options = self.hook.workflow_options(**WorkflowOptions.values_of(self))
        return TriggerSubmission(self.hook, options, key, max_tries)

    def reference(self, run_id: str) -> dict[str, Any]:
        """Return the run's id, and the endpoint without its query."""
        return {**super().reference(run_id), "url": public_url(self.workflow_url)}


class QStashResumeWorkflowOperator(WorkflowRunOperator):
    """Resumes a failed workflow run where it failed, or restarts it, once, and waits for the new run.

    A resumed run keeps the results of the steps that had succeeded. Returns as
    :class:`QStashWorkflowOperator` does; without waiting, ``{"id": …, "workflow_run_id": …}``. The DLQ
    message leaves the queue. After a lost answer, the new run is searched for in the logs, by id and label.

    :param dlq_id: the id of the failed run in the dead letter queue: ``dlq_id`` in the record of the sensor,
        the branch operator or this operator. Templated.
    :param restart: begin again, with the same input, instead of resuming.
    :param delivery_retries: how often Upstash repeats a failed step, if otherwise than before.
    :param flow_control: if otherwise than before: ``{"key": …, "parallelism": …, "rate": …, "period": …}``.
    """

    checks = check.RESUME
    template_fields: Sequence[str] = ("dlq_id", "result_path", "qstash_conn_id")

    def __init__(
        self,
        *,
        dlq_id: str,
        restart: bool = False,
        delivery_retries: int | str | None = None,
        flow_control: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.dlq_id = dlq_id
        self.restart = restart
        self.delivery_retries = delivery_retries
        self.flow_control = flow_control

    def submission(self, key: str, max_tries: int) -> WorkflowSubmission:
        """Return how the run is resumed."""
        changes = {"retries": self.delivery_retries, "flow_control": self.flow_control}
        return ResumeSubmission(self.hook, self.dlq_id, key, max_tries, restart=self.restart, changes=changes)


class QStashWorkflowBranchOperator(QStashConnected, RemoteTaskBranchOperator):
    """Waits for a workflow run, then runs the branch of its outcome and skips the others.

    The run's record (see :class:`~remote_tasks_provider.qstash.sensors.QStashWorkflowSensor`) is left in XCom
    under the key ``remote_task``.

    :param workflow_run_id: the run's id with its ``wfr_``. Templated.
    :param not_found_grace: seconds for which the logs may not have the run.
    :param qstash_conn_id: the Airflow connection. Templated.
    """

    template_fields = ("workflow_run_id", *RemoteTaskBranchOperator.template_fields, "qstash_conn_id")
    remote_task_type = QSTASH_WORKFLOW
    trigger_class = QStashWorkflowTrigger

    def __init__(
        self,
        *,
        workflow_run_id: str,
        not_found_grace: float | str | timedelta = 300.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(remote_task_id=workflow_run_id, not_found_grace=not_found_grace, **kwargs)
