"""Operators that read Manus tasks and branch on their outcome."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from remote_tasks_provider.bases.branching import AgentTaskBranchOperator, Branch
from remote_tasks_provider.bases.links import push_link
from remote_tasks_provider.bases.listing import RemoteListOperator
from remote_tasks_provider.core import validation
from remote_tasks_provider.core.states import in_words
from remote_tasks_provider.core.validation import Check
from remote_tasks_provider.manus.api.filters import MAX_PAGE_SIZE, TaskFilter, task_filter
from remote_tasks_provider.manus.api.v2_models import ManusTaskV2
from remote_tasks_provider.manus.connected import ManusConnected, ManusTaskWait
from remote_tasks_provider.manus.hooks import ManusHook
from remote_tasks_provider.manus.links import ManusTaskLink
from remote_tasks_provider.manus.operators.base import ManusTaskRequest

if TYPE_CHECKING:
    from airflow.sdk import Context

__all__ = [
    "ManusGetTaskOperator",
    "ManusListTasksOperator",
    "ManusListUsageOperator",
    "ManusTaskBranchOperator",
]

_FILTERS = tuple(field.name for field in fields(TaskFilter))


_filter = validation.as_given(lambda value, name: task_filter(**{name: value}))


class ManusGetTaskOperator(ManusTaskRequest):
    """Reads one Manus task and returns it as a JSON object, with ``state``, ``title`` and ``url``.

    Fails without a retry where asking again cannot help (wrong key, wrong id form); a 404 is retried, as a
    fresh task takes some seconds to appear.

    :param include_output: also return the conversation, which can be long. Links to files are never returned.
    """

    checks: ClassVar[Mapping[str, Check]] = {"include_output": validation.flag}

    def __init__(self, *, include_output: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.include_output = include_output

    def act(self, hook: ManusHook, context: Context) -> dict[str, Any]:
        """Read the task."""
        task = hook.get_task(self.remote_task_id)
        push_link(context, task.url)
        return task.to_json(include_output=self.include_output)

    def summary(self, found: dict[str, Any]) -> str:
        """Return how the task stands."""
        return f"Manus task {found['id']} is {in_words(found['state'], found['status'])}."


class ManusListTasksOperator(ManusConnected, RemoteListOperator):
    """Lists Manus tasks: up to 1000 to XCom, or any number to a file.

    Without ``output_path`` it returns a list of JSON objects. With it, it writes them as JSON Lines, one page
    in memory at a time, and returns ``{"count": …, "first_id": …, "last_id": …, "path": …}``.

    :param status: ``pending`` (waits for a person), ``running``, ``completed`` or ``failed``; one or several.
    :param query: text to search for in titles and bodies.
    :param created_after: only tasks created after this: an aware ``datetime``, an ISO 8601 string with an
        offset such as ``{{ data_interval_start }}``, or Unix seconds.
    :param created_before: likewise.
    :param project_id: only this project's tasks.
    :param order: ``desc`` (newest first) or ``asc``.
    :param order_by: ``created_at`` or ``updated_at``.
    :param after: begin after the task with this id.
    :param page_size: tasks a request, 1 to 1000.
    :param include_output: also give each task's conversation. API v2 lists tasks without it, and calls one
        completed that a user has stopped: there each task is then read by itself, with two requests or more.

    All but ``include_output`` are templated.
    """

    checks: ClassVar[Mapping[str, Check]] = {
        **dict.fromkeys(_FILTERS, _filter),
        "page_size": partial(validation.whole_number, least=1, most=MAX_PAGE_SIZE),
        "include_output": validation.flag,
    }
    template_fields: Sequence[str] = (*_FILTERS, "limit", "output_path", "manus_conn_id")

    def __init__(
        self,
        *,
        status: str | Iterable[str] | None = None,
        query: str | None = None,
        created_after: datetime | int | str | None = None,
        created_before: datetime | int | str | None = None,
        project_id: str | None = None,
        order: str = "desc",
        order_by: str = "created_at",
        after: str | None = None,
        page_size: int | str = 100,
        include_output: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.status = status
        self.query = query
        self.created_after = created_after
        self.created_before = created_before
        self.project_id = project_id
        self.order = order
        self.order_by = order_by
        self.after = after
        self.page_size = page_size
        self.include_output = include_output

    def read(self, hook: ManusHook, limit: int | None) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the account's tasks that pass the filters."""
        for task in hook.iter_tasks(**{name: getattr(self, name) for name in _FILTERS}, limit=limit):
            shown = hook.get_task(task.id) if self.include_output and isinstance(task, ManusTaskV2) else task
            yield task.id, shown.to_json(include_output=self.include_output)


class ManusListUsageOperator(ManusConnected, RemoteListOperator):
    """Lists the changes of the account's credits, newest first: up to 1000 to XCom, or any number to a file.

    For cost reports. Each is ``{"task_id": …, "title": …, "credits": …, "created_at": …, "type": "cost"}``;
    ``credits`` is below zero for what was spent. Returns like :class:`ManusListTasksOperator`. API v2:
    https://open.manus.ai/docs/v2/usage.list.

    .. code-block:: python

        report = ManusListUsageOperator(
            task_id="report", since="{{ data_interval_start }}", output_path="s3://reports/{{ ds }}.jsonl"
        )

    :param since: only changes from this moment on: an aware ``datetime``, an ISO 8601 string with an offset,
        or Unix seconds. Reading stops there. Templated.
    """

    checks: ClassVar[Mapping[str, Check]] = {"since": validation.as_given(validation.unix_seconds)}
    template_fields: Sequence[str] = ("since", "limit", "output_path", "manus_conn_id")

    def __init__(self, *, since: datetime | int | str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.since = since

    def read(self, hook: ManusHook, limit: int | None) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the changes."""
        since = validation.unix_seconds(self.since, "since")
        for one in hook.iter_usage(limit=limit):
            if since is not None and one.created_at is not None and one.created_at.timestamp() < since:
                return
            yield one.task_id or "", one.to_json()


class ManusTaskBranchOperator(ManusTaskWait, AgentTaskBranchOperator):
    """Waits for a Manus task, then runs the branch of its outcome and skips the others.

    The task's record (see :class:`~remote_tasks_provider.manus.sensors.ManusTaskSensor`) is left in XCom
    under the key ``remote_task``.

    .. code-block:: python

        decide = ManusTaskBranchOperator(
            task_id="decide", remote_task_id="{{ params.manus_task }}", completed="publish",
            failed="tell_someone", deferrable=True,
        )

    :param remote_task_id: the Manus task's id. Templated.
    :param waiting: what to run when the agent waits for a person's answer; ``None`` waits on.
    :param manus_conn_id: the Airflow connection. Templated.
    """

    template_fields = ("remote_task_id", *AgentTaskBranchOperator.template_fields, "manus_conn_id")
    operator_extra_links = (ManusTaskLink(),)

    def __init__(self, *, remote_task_id: str, waiting: Branch | None = None, **kwargs: Any) -> None:
        super().__init__(remote_task_id=remote_task_id, waiting=waiting, **kwargs)
