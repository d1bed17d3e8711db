"""What a workflow run is asked for, checked before anything is sent.

https://upstash.com/docs/workflow has the headers of a trigger. They are those of a message, so what they may
hold is checked as for one; a run has an id of its own in addition.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, ClassVar

from remote_tasks_provider.core import validation
from remote_tasks_provider.core.errors import InvalidArgumentError
from remote_tasks_provider.core.request_options import RequestOptions
from remote_tasks_provider.qstash.api.options import PlanName, PublishOptions, destination_url

__all__ = ["WorkflowOptions", "resume_headers"]

_URL = "https://example.com"
# A workflow answers POST only; the labels are completed.
_NOT_SENT = frozenset({"Upstash-Method", "Upstash-Label"})
_OF_THE_PROTOCOL = "upstash-workflow-"


@dataclass(frozen=True, slots=True)
class WorkflowOptions(RequestOptions):
    """A workflow run to trigger; it checks itself. ``QStashWorkflowOperator`` describes the parameters.

    :raises ValueError: naming the parameter and the fix, before anything is sent.
    """

    parameter_names: ClassVar[Mapping[str, str]] = {
        "retries": "delivery_retries",
        "retry_delay": "delivery_retry_delay",
    }

    workflow_url: str = field(repr=False)
    body: Any = field(default=None, repr=False)
    plan: PlanName = "free"
    headers: Mapping[str, str] | None = field(default=None, repr=False)
    delay: float | str | timedelta | None = None
    not_before: datetime | int | str | None = None
    retries: int | None = None
    retry_delay: str | None = None
    failure_callback: str | None = field(default=None, repr=False)
    flow_control: Mapping[str, Any] | None = None
    labels: str | Iterable[str] | None = None
    redact: str | None = None
    extra_headers: Mapping[str, str] | None = field(default=None, repr=False)

    message: PublishOptions = field(init=False, repr=False)
    """The first step, as QStash delivers it."""

    def __post_init__(self) -> None:
        destination_url(self.workflow_url, "workflow_url")
        _refuse_protocol(self.extra_headers)
        message = PublishOptions(
            self.workflow_url,
            self.body,
            self.plan,
            headers=self.headers,
            delay=self.delay,
            not_before=self.not_before,
            retries=self.retries,
            retry_delay=self.retry_delay,
            failure_callback=self.failure_callback,
            flow_control=self.flow_control,
            labels=self.labels,
            redact=self.redact,
            extra_headers=self.extra_headers,
        )
        object.__setattr__(self, "message", message)

    @property
    def fingerprint(self) -> str:
        """A hash of what the workflow gets: its URL, the body and the headers."""
        message = self.message
        headers = sorted(f"{name}:{value}" for name, value in message.sent_headers if _is_input(name))
        parts = [message.target.encode(), message.content, *map(str.encode, headers)]
        return hashlib.sha256(b"\0".join(parts)).hexdigest()

    def sent_headers(self, run_id: str | None, labels: Iterable[str] = ()) -> tuple[tuple[str, str], ...]:
        """Return the headers of the trigger.

        :param run_id: the id of the run; ``None`` for one that Upstash makes.
        :param labels: labels beside those of the options.
        """
        sent = [header for header in self.message.sent_headers if header[0] not in _NOT_SENT]
        own = [value for name, value in self.message.sent_headers if name == "Upstash-Label"]
        return (*sent, *_identity(run_id, [*labels, *own]))


def resume_headers(
    run_id: str | None,
    labels: Iterable[str],
    *,
    retries: Any = None,
    flow_control: Mapping[str, Any] | None = None,
) -> tuple[tuple[str, str], ...]:
    """Return the headers by which a failed run is resumed or restarted.

    :param labels: all that the new run has.
    """
    changed = PublishOptions(_URL, retries=retries, flow_control=flow_control).sent_headers
    sent = [header for header in changed if header[0] not in _NOT_SENT]
    return (*sent, *_identity(run_id, labels))


def _identity(run_id: str | None, labels: Iterable[str]) -> list[tuple[str, str]]:
    found = {"Upstash-Workflow-RunId": run_id, "Upstash-Label": ",".join(labels) or None}
    return [(name, value) for name, value in found.items() if value is not None]


def _is_input(name: str) -> bool:
    return name == "Content-Type" or name.startswith("Upstash-Forward-")


def _refuse_protocol(given: Any) -> None:
    for name in validation.mapping({} if given is None else given, "extra_headers"):
        if name.casefold().startswith(_OF_THE_PROTOCOL):
            raise InvalidArgumentError(
                f"extra_headers has {name!r}, which is the workflow's own protocol: leave it out"
            )
