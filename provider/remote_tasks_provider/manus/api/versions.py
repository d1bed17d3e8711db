"""The versions of the API behind one set of methods: nothing above this module asks which one it is.

A connection may name one. That one is used for everything, and refuses what it does not support with a
:class:`~remote_tasks_provider.core.errors.ConnectionConfigError` that names the connection's field, before
anything is sent. Where it names none, each call uses the version that does it best.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from datetime import datetime
from types import ModuleType
from typing import Any, ClassVar, TypeVar

from remote_tasks_provider.core.errors import (
    ApiError,
    ConnectionConfigError,
    InvalidArgumentError,
    NotFoundError,
)
from remote_tasks_provider.core.http.client import Client
from remote_tasks_provider.core.http.operation import Operation
from remote_tasks_provider.core.http.response import date_of
from remote_tasks_provider.core.states import TaskState
from remote_tasks_provider.manus.api import v1, v2
from remote_tasks_provider.manus.api.filters import TaskFilter
from remote_tasks_provider.manus.api.gone import V1_GONE, is_not_there
from remote_tasks_provider.manus.api.options import TaskOptions
from remote_tasks_provider.manus.api.v2_models import ManusEvent, ManusTaskV2, ManusUsage, as_message
from remote_tasks_provider.manus.models import ManusMessage, ManusTask
from remote_tasks_provider.manus.results import ManusResult, ManusTaskRef, result_v1, result_v2

__all__ = ["ManusApi", "api_version", "used_version"]

Files = Sequence[Mapping[str, str]]
T = TypeVar("T")


class ManusApi:
    """What you can do with an account by API v2; a subclass says what it does otherwise, or cannot do."""

    operations: ClassVar[ModuleType] = v2
    """The functions that both versions have under the same names."""
    unsupported: ClassVar[frozenset[str]] = frozenset()
    """Options of a task, or of the operator that waits for it, that only the other version can honour."""

    def __init__(self, client: Client) -> None:
        self.client = client

    @classmethod
    def cancel(cls, remote_task_id: str) -> Operation[None]:
        """Return the operation that stops a task; v1 refuses it."""
        return v2.stop_task(remote_task_id)

    @property
    def creator(self) -> ManusApi:
        """The version that creates tasks; it shows them as they were created, titles included."""
        return self

    def list_tasks(self, filters: TaskFilter, limit: int | None) -> Iterator[ManusTask]:
        """Return an iterator over the account's tasks; a page is read when its first task is asked for."""
        return self.client.items(self.operations.list_tasks(filters), limit)

    def get_task(self, remote_task_id: str) -> ManusTask:
        """Return a task with its whole conversation."""
        return self._with_events(remote_task_id)[0]

    def get_state(self, remote_task_id: str) -> TaskState:
        """Return a task's state without reading its conversation; one that a user stopped has completed."""
        return self.client.send(v2.get_task(remote_task_id)).state

    def get_result(
        self, remote_task_id: str, slides_format: str | None = None
    ) -> tuple[ManusTask, ManusResult]:
        """Return a task and its result so far."""
        task, events, at = self._with_events(remote_task_id, slides_format)
        return task, _read_at(at, task, result_v2(task, events))

    def _with_events(
        self, remote_task_id: str, slides_format: str | None = None
    ) -> tuple[ManusTaskV2, list[ManusEvent], datetime | None]:
        task, at = self.client.send(_dated(v2.get_task(remote_task_id)))
        events = list(self.client.items(v2.list_messages(remote_task_id, slides_format=slides_format)))
        return task.with_events(events), events, at

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
        return self.client.send(v2.confirm_action(remote_task_id, event_id, answer))

    def stop_task(self, remote_task_id: str) -> None:
        """Stop a task."""
        self.client.send(v2.stop_task(remote_task_id))

    def available_credits(self) -> int | None:
        """Return the credits that the account can spend."""
        return self.client.send(v2.available_credits())

    def iter_usage(self, limit: int | None) -> Iterator[ManusUsage]:
        """Yield the changes of the account's credits, newest first."""
        return self.client.items(v2.list_usage(), limit)

    def list_connectors(self) -> list[dict[str, Any]]:
        """Return the account's connectors."""
        return self.client.send(v2.list_connectors())

    def list_skills(self, project_id: str | None) -> list[dict[str, Any]]:
        """Return the skills that the account, or a project, has."""
        return self.client.send(v2.list_skills(project_id))

    def of_website(self, operation: Operation[T]) -> T:
        """Send an operation about a website."""
        return self.client.send(operation)

    def of_webhooks(self, operation: Operation[T]) -> T:
        """Send an operation about the account's webhooks."""
        return self.client.send(operation)

    def update_task(self, remote_task_id: str, **changes: Any) -> ManusTaskRef:
        """Change a task: its ``title``, its ``share_visibility``, whether it is ``visible`` in the list."""
        self.require(share_visibility=changes.get("share_visibility"))
        ref: ManusTaskRef = self.client.send(self.operations.update_task(remote_task_id, **changes))
        return ref

    def delete_task(self, remote_task_id: str) -> None:
        """Delete a task permanently."""
        self.client.send(self.operations.delete_task(remote_task_id))

    def create_task(self, options: TaskOptions) -> ManusTaskRef:
        """Create a task."""
        self.check_options(options)
        options = self.with_allowed_connectors(options)
        ref: ManusTaskRef = self.client.send(self.operations.create_task(options))
        return ref

    def check_options(self, options: TaskOptions) -> None:
        """Refuse request options that this version does not support; sends nothing."""
        self.require(**{field.name: getattr(options, field.name) for field in fields(options)})
        self.with_allowed_connectors(options)

    def with_allowed_connectors(self, options: TaskOptions) -> TaskOptions:
        """Return the options with the connectors that the connection allows, if they name none.

        :raises InvalidArgumentError: for one that it does not allow.
        """
        extras: Any = self.client.config.extras
        allowed: tuple[str, ...] | None = extras.allowed_connectors
        if allowed is None:
            return options
        if options.connectors is None:
            return replace(options, connectors=allowed)
        for connector in options.connectors:
            if connector not in allowed:
                raise InvalidArgumentError(
                    f"connectors has {connector!r}, which connection {self.client.config.conn_id!r} does not "
                    f"allow; it allows {', '.join(allowed) or 'none'}"
                )
        return options

    def require(self, **options: Any) -> None:
        """Refuse the options that are set and that this version does not support."""
        for name in sorted(self.unsupported & options.keys()):
            if options[name]:
                raise self._needs_v2(name)

    def _needs_v2(self, subject: str) -> ConnectionConfigError:
        return ConnectionConfigError(
            f"{subject} needs API v2: set api_version to v2 in the extra of connection "
            f"{self.client.config.conn_id!r} (the same key works there)"
        )


class _V1(ManusApi):
    operations: ClassVar[ModuleType] = v1
    unsupported = frozenset(
        {
            "title",
            "structured_output_schema",
            "enable_skills",
            "force_skills",
            "task_references",
            "auto_confirm",
            "max_credits",
            "min_credits",
        }
    )

    @classmethod
    def cancel(cls, remote_task_id: str) -> Operation[None]:  # noqa: ARG003 - as in the base
        raise ConnectionConfigError(
            "stopping a task needs API v2: set api_version to v2 in the connection's extra (the same key "
            "works there)"
        )

    def confirm_action(self, remote_task_id: str, event_id: str, answer: Mapping[str, Any] | None) -> bool:
        raise self._needs_v2("confirming an action")

    def stop_task(self, remote_task_id: str) -> None:
        raise self._needs_v2("stopping a task")

    def available_credits(self) -> int | None:
        raise self._needs_v2("reading the available credits")

    def iter_usage(self, limit: int | None) -> Iterator[ManusUsage]:
        raise self._needs_v2("reading the usage")

    def list_connectors(self) -> list[dict[str, Any]]:
        raise self._needs_v2("listing connectors")

    def list_skills(self, project_id: str | None) -> list[dict[str, Any]]:
        raise self._needs_v2("listing skills")

    def of_website(self, operation: Operation[T]) -> T:
        raise self._needs_v2("a website")

    def of_webhooks(self, operation: Operation[T]) -> T:
        # It can list none, so nothing could tell which are there.
        raise self._needs_v2("registering webhooks")

    def check_options(self, options: TaskOptions) -> None:
        super().check_options(options)
        if not all("filename" in file for file in options.files):
            raise InvalidArgumentError("a file needs its filename with API v1: {'file_id': …, 'filename': …}")

    def require(self, *, share_visibility: str | None = None, **options: Any) -> None:
        super().require(**options)
        if share_visibility == "team":
            raise self._needs_v2("share_visibility 'team'")

    def get_task(self, remote_task_id: str) -> ManusTask:
        return self.client.send(v1.get_task(remote_task_id))

    def get_state(self, remote_task_id: str) -> TaskState:
        return self.get_task(remote_task_id).state

    def get_result(
        self, remote_task_id: str, slides_format: str | None = None
    ) -> tuple[ManusTask, ManusResult]:
        task, at = self.client.send(_dated(v1.get_task(remote_task_id, slides_format=slides_format)))
        return task, _read_at(at, task, result_v1(task))

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


class _Best(ManusApi):
    """v1 reads and lists tasks; v2 does everything else, and what v1 cannot show.

    A task that only one version knows, such as one of the days before v2, is read by that one.
    """

    @property
    def creator(self) -> ManusApi:
        return ManusApi(self.client)

    def list_tasks(self, filters: TaskFilter, limit: int | None) -> Iterator[ManusTask]:
        if not V1_GONE.holds_for(self.client.config, time.monotonic()):
            tasks = self.client.items(v1.list_tasks(filters), limit)
            try:
                first = next(tasks, None)
            except ApiError as error:
                if not self._is_gone(error, filters):
                    raise
            else:
                if first is not None:
                    yield first
                    yield from tasks
                return
        yield from self.creator.list_tasks(filters, limit)

    def _is_gone(self, error: ApiError, filters: TaskFilter) -> bool:
        if filters.after is not None and error.status_code == 404:
            # It may be about the task to begin after.
            try:
                self.client.send(v1.list_summaries(TaskFilter(page_size=1)))
            except ApiError as problem:
                error = problem
            else:
                return False
        if not is_not_there(error):
            return False
        V1_GONE.note(self.client.config, error, time.monotonic())
        return True

    def get_task(self, remote_task_id: str) -> ManusTask:
        shown = self._by_v1(remote_task_id)
        # v1 calls a task completed that was stopped, or whose background jobs still run.
        if shown is not None and shown.state is not TaskState.COMPLETED:
            return shown
        try:
            task = super().get_task(remote_task_id)
        except NotFoundError:
            if shown is None:
                raise
            return shown
        return shown if shown is not None and shown.state is task.state else task

    def get_state(self, remote_task_id: str) -> TaskState:
        try:
            return super().get_state(remote_task_id)
        except NotFoundError:
            if (task := self._by_v1(remote_task_id)) is None:
                raise
            return task.state

    def _by_v1(self, remote_task_id: str, slides_format: str | None = None) -> ManusTask | None:
        operation = v1.get_task(remote_task_id, slides_format=slides_format)
        if V1_GONE.holds_for(self.client.config, time.monotonic()):
            return None
        try:
            return self.client.send(operation)
        except ApiError as error:
            if not is_not_there(error):
                raise
            return None

    def get_result(
        self, remote_task_id: str, slides_format: str | None = None
    ) -> tuple[ManusTask, ManusResult]:
        try:
            return super().get_result(remote_task_id, slides_format)
        except NotFoundError:
            if (task := self._by_v1(remote_task_id, slides_format)) is None:
                raise
            return task, result_v1(task)

    def iter_messages(self, remote_task_id: str) -> Iterator[ManusMessage]:
        messages = super().iter_messages(remote_task_id)
        try:
            first = next(messages, None)
        except NotFoundError:
            if (task := self._by_v1(remote_task_id)) is None:
                raise
            yield from task.output
            return
        if first is not None:
            yield first
            yield from messages

    def update_task(self, remote_task_id: str, **changes: Any) -> ManusTaskRef:
        try:
            return super().update_task(remote_task_id, **changes)
        except NotFoundError:
            if self._by_v1(remote_task_id) is None or changes.get("share_visibility") == "team":
                raise
            return _V1(self.client).update_task(remote_task_id, **changes)

    def delete_task(self, remote_task_id: str) -> None:
        try:
            super().delete_task(remote_task_id)
        except NotFoundError:
            if self._by_v1(remote_task_id) is None:
                raise
            _V1(self.client).delete_task(remote_task_id)


def _dated(operation: Operation[T]) -> Operation[tuple[T, datetime | None]]:
    """Return ``operation`` with the time of its answer, by the service's clock."""
    return Operation(
        operation.name,
        operation.request,
        operation.expects,
        lambda response: (operation.parse(response), date_of(response)),
        operation.idempotency,
    )


def _read_at(at: datetime | None, task: ManusTask, result: ManusResult) -> ManusResult:
    if at is None or task.updated_at is None:
        return result
    return replace(result, unchanged_for=(at - task.updated_at).total_seconds())


def api_version(extras: Any) -> type[ManusApi]:
    """Return what speaks the version of the API that a connection's extras ask for.

    :param extras: a :class:`~remote_tasks_provider.manus.service.ManusExtras`.
    """
    return {"v1": _V1, "v2": ManusApi, None: _Best}[used_version(extras)]


def used_version(extras: Any) -> str | None:
    """Return the version that is used for everything, or ``None`` where each call has its own.

    Nothing else decides on it.
    """
    version: str | None = extras.api_version
    # v1 refuses bearer tokens.
    return "v2" if version is None and extras.auth == "oauth" else version
