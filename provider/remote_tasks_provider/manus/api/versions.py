"""The two versions of the API behind one set of methods: nothing above this module asks which one it is.

A version refuses what it does not support with a
:class:`~remote_tasks_provider.core.errors.ConnectionConfigError` that names the connection's field, before
anything is sent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from types import ModuleType
from typing import Any, ClassVar

from remote_tasks_provider.core.errors import ConnectionConfigError
from remote_tasks_provider.core.http.client import Client
from remote_tasks_provider.core.http.operation import Operation
from remote_tasks_provider.manus.api import v1, v2
from remote_tasks_provider.manus.api.options import TaskOptions
from remote_tasks_provider.manus.api.v2_models import ManusEvent, ManusTaskV2, as_message
from remote_tasks_provider.manus.models import ManusMessage, ManusTask
from remote_tasks_provider.manus.results import ManusResult, ManusTaskRef, result_v1, result_v2

__all__ = ["ManusApi", "api_version"]

Files = Sequence[Mapping[str, str]]


class ManusApi:
    """What you can do with an account by API v2; a subclass says what v1 does otherwise, or cannot do."""

    version = "v2"
    operations: ClassVar[ModuleType] = v2
    """The functions that both versions have under the same names."""
    # https://open.manus.ai/docs/v2/authentication
    auth_header = "x-manus-api-key"
    """The header that carries an API key."""
    unsupported: ClassVar[frozenset[str]] = frozenset()
    """Options of a task, or of the operator that waits for it, that only the other version can honour."""

    def __init__(self, client: Client) -> None:
        self.client = client

    @classmethod
    def cancel(cls, remote_task_id: str) -> Operation[None]:
        """Return the operation that stops a task; v1 refuses it."""
        return v2.stop_task(remote_task_id)

    def get_task(self, remote_task_id: str) -> ManusTask:
        """Return a task with its whole conversation."""
        return self._with_events(remote_task_id)[0]

    def get_result(self, remote_task_id: str) -> tuple[ManusTask, ManusResult]:
        """Return a task and its result so far."""
        task, events = self._with_events(remote_task_id)
        return task, result_v2(task, events)

    def _with_events(self, remote_task_id: str) -> tuple[ManusTaskV2, list[ManusEvent]]:
        task = self.client.send(v2.get_task(remote_task_id))
        events = list(self.client.items(v2.list_messages(remote_task_id)))
        return task.with_events(events), events

    def iter_messages(self, remote_task_id: str) -> Iterator[ManusMessage]:
        """Yield the conversation's messages, oldest first."""
        for event in self.client.items(v2.list_messages(remote_task_id)):
            if message := as_message(event):
                yield ManusMessage.model_validate(message)

    def send_message(
        self, remote_task_id: str, content: str, files: Files, options: Mapping[str, Any]
    ) -> None:
        """Send a message to a task."""
        self.client.send(v2.send_message(remote_task_id, content, files=files, **options))

    def confirm_action(self, remote_task_id: str, event_id: str, answer: Mapping[str, Any] | None) -> bool:
        """Answer an action that waits for confirmation; return whether Manus accepted the answer."""
        self._require_v2("confirming an action")
        return self.client.send(v2.confirm_action(remote_task_id, event_id, answer))

    def stop_task(self, remote_task_id: str) -> None:
        """Stop a task."""
        self._require_v2("stopping a task")
        self.client.send(v2.stop_task(remote_task_id))

    def available_credits(self) -> int | None:
        """Return the credits that the account can spend."""
        self._require_v2("reading the available credits")
        return self.client.send(v2.available_credits())

    def create_task(self, options: TaskOptions) -> ManusTaskRef:
        """Create a task."""
        self.check_options(options)
        ref: ManusTaskRef = self.client.send(self.operations.create_task(options))
        return ref

    def check_options(self, options: TaskOptions) -> None:
        """Refuse request options that this version does not support; sends nothing."""
        self.require(**{field.name: getattr(options, field.name) for field in fields(options)})

    def require(self, **options: Any) -> None:
        """Refuse the options that are set and that this version does not support."""
        for name in sorted(self.unsupported & options.keys()):
            if options[name]:
                raise self._needs_v2(name)

    def _require_v2(self, subject: str) -> None:
        if self.version != "v2":
            raise self._needs_v2(subject)

    def _needs_v2(self, subject: str) -> ConnectionConfigError:
        return ConnectionConfigError(
            f"{subject} needs API v2: set api_version to v2 in the extra of connection "
            f"{self.client.config.conn_id!r} (the same key works there)"
        )


class _V1(ManusApi):
    version = "v1"
    operations: ClassVar[ModuleType] = v1
    # https://open.manus.ai/docs/v1/get-tasks
    auth_header = "API_KEY"
    unsupported = frozenset(
        {
            "title",
            "structured_output_schema",
            "enable_skills",
            "force_skills",
            "task_references",
            "auto_confirm",
            "max_credits",
        }
    )

    @classmethod
    def cancel(cls, remote_task_id: str) -> Operation[None]:  # noqa: ARG003 - as in the base
        raise ConnectionConfigError(
            "stopping a task needs API v2: set api_version to v2 in the connection's extra (the same key "
            "works there)"
        )

    def check_options(self, options: TaskOptions) -> None:
        super().check_options(options)
        if not all("filename" in file for file in options.files):
            raise ValueError("a file needs its filename with API v1: {'file_id': …, 'filename': …}")

    def require(self, *, share_visibility: str | None = None, **options: Any) -> None:
        super().require(**options)
        if share_visibility == "team":
            raise self._needs_v2("share_visibility 'team'")

    def get_task(self, remote_task_id: str) -> ManusTask:
        return self.client.send(v1.get_task(remote_task_id))

    def get_result(self, remote_task_id: str) -> tuple[ManusTask, ManusResult]:
        task = self.get_task(remote_task_id)
        return task, result_v1(task)

    def iter_messages(self, remote_task_id: str) -> Iterator[ManusMessage]:
        yield from self.get_task(remote_task_id).output

    def send_message(
        self, remote_task_id: str, content: str, files: Files, options: Mapping[str, Any]
    ) -> None:
        message = TaskOptions(content, files=files, **options)
        self.check_options(message)
        if not options.get("agent_profile"):
            # v1 needs one in each message; another than the task has would change what it costs.
            model = self.get_task(remote_task_id).model or ""
            message = replace(message, agent_profile=model.removesuffix("-agent") or message.agent_profile)
        self.client.send(v1.continue_task(remote_task_id, message))


def api_version(extras: Any) -> type[ManusApi]:
    """Return the version of the API that a connection's extras name. Nothing else decides on it.

    :param extras: a :class:`~remote_tasks_provider.manus.service.ManusExtras`.
    """
    return _V1 if extras.api_version == "v1" else ManusApi
