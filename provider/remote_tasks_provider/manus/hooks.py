"""The hook to Manus."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from remote_tasks_provider.bases.hook import RemoteTaskHook
from remote_tasks_provider.core import inputs
from remote_tasks_provider.manus import api_v1
from remote_tasks_provider.manus.manifest import MANIFEST
from remote_tasks_provider.manus.models import ManusTask
from remote_tasks_provider.manus.service import MANUS

__all__ = ["ManusHook"]


class ManusHook(RemoteTaskHook):
    """Reads Manus tasks (`API v1 <https://open.manus.ai/docs/v1/get-tasks>`__).

    Requests are repeated on connection errors, timeouts, 408, 425, 429 and 5xx. Every method raises

    * :class:`~remote_tasks_provider.core.errors.ConnectionConfigError` when the connection cannot be used,
    * :class:`~remote_tasks_provider.core.errors.ApiError` (by status) when Manus refuses; only
      ``RateLimitedError`` and ``ServerError`` are worth a later retry,
    * :class:`~remote_tasks_provider.core.errors.TransportError` when Manus cannot be reached; a later retry
      helps,
    * :class:`~remote_tasks_provider.core.errors.InvalidResponseError` when the answer is not Manus's,
    * ``ValueError`` for an argument that cannot be right, before anything is sent.

    .. code-block:: python

        hook = ManusHook()
        for task in hook.iter_tasks(status="failed", limit=10):
            print(task.id, task.title, task.error)

    :param manus_conn_id: the Airflow connection: password = API key, host = base URL.
    """

    service = MANUS
    manifest = MANIFEST
    conn_name_attr = "manus_conn_id"
    default_conn_name = "manus_default"
    conn_type = MANIFEST.folder
    hook_name = MANIFEST.name

    def __init__(self, manus_conn_id: str = default_conn_name) -> None:
        super().__init__(manus_conn_id)

    def get_task(self, remote_task_id: str) -> ManusTask:
        """Return one task with its whole conversation.

        :raises NotFoundError: for an unknown id, and for some seconds after a task was created.
        """
        return self.client.send(api_v1.get_task(remote_task_id))

    def iter_tasks(
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
        page_size: int = 100,
        limit: int | None = None,
    ) -> Iterator[ManusTask]:
        """Return an iterator over the account's tasks, those made in the Manus app included.

        Lazy: a page is requested when its first task is asked for, and one page is in memory at a time. Each
        task carries its whole conversation, so a smaller ``page_size`` saves memory. Arguments are checked at
        once.

        :param status: ``pending`` (waits for a person), ``running``, ``completed`` or ``failed``; one or
            several.
        :param query: text to search for in titles and bodies.
        :param created_after: only tasks created after this moment: an aware ``datetime``, an ISO 8601 string
            with an offset, or Unix seconds.
        :param created_before: likewise.
        :param project_id: only this project's tasks.
        :param order: ``desc`` (newest first) or ``asc``.
        :param order_by: ``created_at`` or ``updated_at``.
        :param after: go on after the task with this id.
        :param page_size: tasks a request, 1 to 1000.
        :param limit: tasks at most; ``None`` for all.
        :raises PaginationError: (while iterating) when Manus's pages lead in a circle.
        """
        most = None if limit is None else inputs.whole_number(limit, "limit", least=1)
        wanted = api_v1.task_filter(
            status=status,
            query=query,
            created_after=created_after,
            created_before=created_before,
            project_id=project_id,
            order=order,
            order_by=order_by,
            after=after,
            page_size=page_size,
            limit=most,
        )
        return self.client.items(api_v1.list_tasks(wanted), most)
