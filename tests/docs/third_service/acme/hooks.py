"""The hook to Acme."""

# [START hooks]
from __future__ import annotations

from collections.abc import Iterator

from remote_tasks_provider.acme import api
from remote_tasks_provider.acme.manifest import MANIFEST
from remote_tasks_provider.acme.models import AcmeJob
from remote_tasks_provider.acme.service import ACME
from remote_tasks_provider.bases.hooks import RemoteTaskHook

__all__ = ["AcmeHook"]


class AcmeHook(RemoteTaskHook):
    """Reads Acme's render jobs.

    :param acme_conn_id: the Airflow connection: password = API key, host = base URL.
    """

    service = ACME
    manifest = MANIFEST
    default_conn_name = "acme_default"

    def __init__(self, acme_conn_id: str = default_conn_name) -> None:
        super().__init__(acme_conn_id)

    def get_job(self, remote_task_id: str) -> AcmeJob:
        """Return one job."""
        return self.client.send(api.get_job(remote_task_id))

    def iter_jobs(self, *, limit: int | None = None) -> Iterator[AcmeJob]:
        """Return a lazy iterator over the account's jobs."""
        return self.client.items(api.list_jobs(), limit)


# [END hooks]
