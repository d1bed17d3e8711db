"""Triggers of Acme waits. A deferred task stores this path: it must keep importing."""

# [START triggers]
from __future__ import annotations

from remote_tasks_provider.acme.service import ACME_JOB
from remote_tasks_provider.bases.triggers import RemoteTaskTrigger

__all__ = ["AcmeJobTrigger"]


class AcmeJobTrigger(RemoteTaskTrigger):
    """Waits for Acme jobs."""

    remote_task_type = ACME_JOB


# [END triggers]
