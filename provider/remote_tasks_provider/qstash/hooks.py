"""The hook to QStash."""

from __future__ import annotations

from collections.abc import Iterator

from remote_tasks_provider.bases.hook import RemoteTaskHook
from remote_tasks_provider.core import inputs
from remote_tasks_provider.qstash import api_v1
from remote_tasks_provider.qstash.manifest import MANIFEST
from remote_tasks_provider.qstash.models import QStashTask
from remote_tasks_provider.qstash.service import QSTASH

__all__ = ["QStashHook"]


class QStashHook(RemoteTaskHook):
    """Reads QStash tasks, the deliveries of messages (`QStash <https://upstash.com/docs/qstash>`__, API v1).

    Requests are repeated, and errors raised, as by :class:`~remote_tasks_provider.manus.hooks.ManusHook`. A
    token of another region is an ``AuthenticationError`` that names the region.

    :param qstash_conn_id: the Airflow connection: password = token, host = the region's base URL.
    """

    service = QSTASH
    manifest = MANIFEST
    conn_name_attr = "qstash_conn_id"
    default_conn_name = "qstash_default"
    conn_type = MANIFEST.folder
    hook_name = MANIFEST.name

    def __init__(self, qstash_conn_id: str = default_conn_name) -> None:
        super().__init__(qstash_conn_id)

    def get_task(self, remote_task_id: str) -> QStashTask:
        """Return one task.

        :raises NotFoundError: for an unknown id.
        """
        return self.client.send(api_v1.get_task(remote_task_id))

    def iter_message_tasks(
        self, message_id: str, *, cursor: int | str | None = None, limit: int | None = None
    ) -> Iterator[QStashTask]:
        """Return an iterator over a message's tasks, one per destination, newest first.

        Lazy: QStash gives 100 tasks a page, and a page is requested when its first task is asked for.

        :param cursor: go on from here (Unix milliseconds).
        :param limit: tasks at most; ``None`` for all.
        :raises PaginationError: (while iterating) when QStash's pages lead in a circle.
        """
        start = None if cursor is None else str(inputs.whole_number(cursor, "cursor", least=0))
        most = None if limit is None else inputs.whole_number(limit, "limit", least=1)
        return self.client.items(api_v1.list_message_tasks(message_id, start), most)
