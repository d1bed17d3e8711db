"""Acme as the core sees it."""

# [START service]
from __future__ import annotations

from typing import Any

from remote_tasks_provider.acme import api
from remote_tasks_provider.acme.models import AcmeJob
from remote_tasks_provider.core.http.connection import ConnectionConfig, ConnectionExtras
from remote_tasks_provider.core.http.operation import Operation
from remote_tasks_provider.core.http.rate_limit import RateLimit
from remote_tasks_provider.core.http.response import Hint
from remote_tasks_provider.core.polling.strategy import OneByOne
from remote_tasks_provider.core.service import Service, TaskType
from remote_tasks_provider.core.states import TaskSnapshot

__all__ = ["ACME", "ACME_JOB", "AcmeExtras", "snapshot"]


class AcmeExtras(ConnectionExtras):
    """The extras of an Acme connection; add fields of its own here and to the manifest."""


def snapshot(job: AcmeJob) -> TaskSnapshot:
    """Return what a wait needs of ``job``. This goes to XCom: nothing secret, nothing long."""
    return TaskSnapshot(
        id=job.id,
        state=job.state,
        status=job.status,
        url=job.page,
        error=job.reason,
        updated_at=job.changed_at,
        details={"frames": job.frames},
    )


def _explain(operation: Operation[Any], status: int, message: str, config: ConnectionConfig) -> Hint | None:
    if status == 404:
        return Hint(f"Does the job belong to the account of connection {config.conn_id!r}?")
    return None


ACME = Service(
    name="Acme",
    conn_type="acme",
    default_base_url="https://render.acme.example",
    auth=lambda key, _extras: ("X-Acme-Key", key),
    extras=AcmeExtras,
    probe=lambda _extras: api.whoami(),
    explain=_explain,
    limits={"GET /jobs/{job_id}": RateLimit(calls=300, seconds=60)},
)

ACME_JOB = TaskType(
    service=ACME,
    label="Acme job",
    poll_strategy=lambda _config: OneByOne(api.get_job, snapshot),
)
# [END service]
