"""The responses of Upstash Workflow, typed: runs as the logs show them, and what a trigger answers.

Schema: https://upstash.com/docs/workflow (*List Workflow Run Logs*). Steps carry headers, inputs and
outputs, which may hold secrets; they are skipped while parsing, so that nothing can show them. What the
workflow itself has returned is kept: it is the result.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Annotated, Any

from pydantic import AliasChoices, Field, model_validator

from remote_tasks_provider.core.http.parsing import (
    Items,
    LenientInt,
    LenientStr,
    Moment,
    OrEmpty,
    OrNone,
    one_line,
)
from remote_tasks_provider.core.states import TaskSnapshot, TaskState
from remote_tasks_provider.core.storable import storable_json
from remote_tasks_provider.qstash.api.v2_models import redacted
from remote_tasks_provider.qstash.models import QSTASH_STATES, NamedFieldsModel, Url, public_url

__all__ = ["NotifiedRun", "QStashWorkflowDlqMessage", "QStashWorkflowRun", "TriggeredRun", "run_snapshot"]


class _StepError(NamedFieldsModel):
    """One failed attempt of a step."""

    status: LenientInt = None
    error: LenientStr = Field(default=None, repr=False)
    body: LenientStr = Field(default=None, repr=False)


class _Step(NamedFieldsModel):
    name: LenientStr = Field(default=None, alias="stepName")
    step_type: LenientStr = Field(default=None, alias="stepType")
    state: LenientStr = None
    event: LenientStr = Field(default=None, alias="waitEventId")
    errors: Annotated[Items[_StepError], OrEmpty(list)] = Field(default_factory=list)


class _Steps(NamedFieldsModel):
    """Steps that run one after the other, or side by side."""

    steps: Annotated[Items[_Step], OrEmpty(list)] = Field(default_factory=list)


class _Failure(NamedFieldsModel):
    """What a failure function was told."""

    status: LenientInt = Field(default=None, alias="failStatus")
    body: LenientStr = Field(default=None, alias="failResponse", repr=False)


class _Labelled(NamedFieldsModel):
    """Base of what has labels: Upstash shows the first one as ``label``, and all of them as ``labels``."""

    @model_validator(mode="before")
    @classmethod
    def _all_labels(cls, fields: Any) -> Any:
        labels = fields.get("labels") if isinstance(fields, dict) else None
        words = [one for one in labels if isinstance(one, str)] if isinstance(labels, list) else []
        return {**fields, "label": ",".join(words)} if words else fields


class QStashWorkflowRun(_Labelled):
    """A run of an Upstash workflow, as the logs show it.

    :param status: Upstash's own word, its field ``workflowState``; :attr:`state` says what it means.
    :param url: the workflow's endpoint.
    :param response: what the workflow has returned, as text; :attr:`result` is its value.
    :param dlq_id: the id of a failed run in the dead letter queue, to resume or restart it by.
    :param label: the labels it was triggered with, in one text.
    """

    workflow_run_id: str = Field(alias="workflowRunId", min_length=1)
    status: Annotated[str, OrEmpty(str)] = Field(default="", alias="workflowState")
    url: Url = Field(default=None, alias="workflowUrl", repr=False)
    created_at: Moment = Field(
        default=None, validation_alias=AliasChoices("workflowRunCreatedAt", "workflowCreatedAt", "created_at")
    )
    completed_at: Moment = Field(default=None, alias="workflowRunCompletedAt")
    response: LenientStr = Field(default=None, alias="workflowRunResponse", repr=False)
    dlq_id: LenientStr = Field(default=None, alias="dlqId")
    label: LenientStr = None
    flow_control_key: LenientStr = Field(default=None, alias="flowControlKey")
    failure: Annotated[_Failure | None, OrNone()] = Field(
        default=None, alias="failureFunction", exclude=True, repr=False
    )
    groups: Annotated[Items[_Steps], OrEmpty(list)] = Field(
        default_factory=list, alias="steps", exclude=True, repr=False
    )

    @property
    def state(self) -> TaskState:
        """The state of the run."""
        return QSTASH_STATES.read(self.status)

    @property
    def result(self) -> Any:
        """What the workflow has returned: the value, if the text is JSON, or ``None``."""
        try:
            return storable_json(json.loads(self.response or "null"))
        except (ValueError, RecursionError):
            return None

    @property
    def error(self) -> str | None:
        """Why the last failed attempt of a step failed, on one line and without what looks like a secret."""
        if self.state in (TaskState.COMPLETED, TaskState.CANCELLED):
            return None
        status, text = self._last_error
        parts = [f"HTTP {status}" if status else None, redacted(text) if text else None]
        return one_line(": ".join(part for part in parts if part), 1000) or None

    @property
    def response_status(self) -> int | None:
        """The HTTP status of that attempt."""
        return self._last_error[0] if self.error else None

    @property
    def _last_error(self) -> tuple[int | None, str | None]:
        steps = [step for group in self.groups for step in group.steps if step.errors]
        if steps:
            last = steps[-1].errors[-1]
            return last.status, last.body or last.error
        return (self.failure.status, self.failure.body) if self.failure else (None, None)

    @property
    def waits_for(self) -> list[str]:
        """The events that a running run waits for; see ``QStashNotifyWorkflowOperator``."""
        if self.state.is_terminal:
            return []
        return [
            step.event
            for group in self.groups
            for step in group.steps
            if step.event and (step.state or "").upper() == "STEP_PROGRESS"
        ]

    @property
    def created_ms(self) -> int | None:
        """When it was created, in the unit by which Upstash tells runs with one id apart."""
        return None if self.created_at is None else _milliseconds(self.created_at)

    def to_json(self) -> dict[str, Any]:
        """Return the run as a JSON object, the endpoint without its query, without headers and steps."""
        return super().to_json() | {
            "state": self.state.value,
            "error": self.error,
            "response_status": self.response_status,
            "waits_for": storable_json(self.waits_for),
        }


class QStashWorkflowDlqMessage(_Labelled):
    """A failed run in the dead letter queue.

    :param dlq_id: the id to resume or restart it by.
    :param url: the workflow's endpoint.
    """

    dlq_id: str = Field(alias="dlqId", min_length=1)
    workflow_run_id: LenientStr = Field(default=None, alias="workflowRunId")
    url: Url = Field(default=None, alias="workflowUrl", repr=False)
    created_at: Moment = Field(default=None, alias="workflowCreatedAt")
    response_status: LenientInt = Field(default=None, alias="responseStatus")
    response_text: LenientStr = Field(default=None, alias="responseBody", exclude=True, repr=False)
    label: LenientStr = None

    @property
    def response(self) -> str | None:
        """The endpoint's last response, cut and redacted."""
        return redacted(self.response_text) if self.response_text else None

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object: no header, no body, the endpoint without its query."""
        return super().to_json() | {"response": self.response}


@dataclass(frozen=True, slots=True)
class TriggeredRun:
    """A run that Upstash has accepted.

    :param workflow_run_id: its id.
    :param created_at: ``None`` where the answer does not say it.
    :param deduplicated: whether there was a run with this id: this is it, and nothing new has begun.
    """

    workflow_run_id: str
    created_at: datetime | None = None
    deduplicated: bool = False


@dataclass(frozen=True, slots=True)
class NotifiedRun:
    """A run that waited for an event and was notified.

    :param message_id: of the message that tells it.
    :param error: why it could not be told.
    """

    workflow_run_id: str | None
    message_id: str | None = None
    error: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return asdict(self)


def run_snapshot(run: QStashWorkflowRun) -> TaskSnapshot:
    """Return the part of ``run`` that a wait needs: never an input, an output or the endpoint's query."""
    return TaskSnapshot(
        id=run.workflow_run_id,
        state=run.state,
        status=run.status,
        url=public_url(run.url),
        error=run.error,
        created_at=run.created_at,
        updated_at=run.completed_at,
        details={
            "workflow_run_id": run.workflow_run_id,
            "dlq_id": run.dlq_id,
            "response_status": run.response_status,
        },
    )


def _milliseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
