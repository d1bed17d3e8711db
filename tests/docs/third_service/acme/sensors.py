"""Sensors that wait for Acme jobs."""

# [START sensors]
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from remote_tasks_provider.acme.hooks import AcmeHook
from remote_tasks_provider.acme.links import AcmeJobLink
from remote_tasks_provider.acme.service import ACME_JOB
from remote_tasks_provider.acme.triggers import AcmeJobTrigger
from remote_tasks_provider.bases.sensors import RemoteTaskSensor

__all__ = ["AcmeJobSensor"]


class AcmeJobSensor(RemoteTaskSensor):
    """Waits until Acme jobs have finished; the parameters are those of the base."""

    template_fields: Sequence[str] = ("remote_task_id", "acme_conn_id")
    operator_extra_links = (AcmeJobLink(),)
    remote_task_type = ACME_JOB
    trigger_class = AcmeJobTrigger
    hook_class = AcmeHook

    def __init__(self, *, acme_conn_id: str = AcmeHook.default_conn_name, **kwargs: Any) -> None:
        self.acme_conn_id = acme_conn_id
        super().__init__(**kwargs)


# [END sensors]
