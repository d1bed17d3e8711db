"""Operators that branch on Acme jobs and list them."""

# [START operators]
from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from remote_tasks_provider.acme.hooks import AcmeHook
from remote_tasks_provider.acme.links import AcmeJobLink
from remote_tasks_provider.acme.service import ACME_JOB
from remote_tasks_provider.acme.triggers import AcmeJobTrigger
from remote_tasks_provider.bases.branching import RemoteTaskBranchOperator
from remote_tasks_provider.bases.listing import RemoteListOperator

__all__ = ["AcmeJobBranchOperator", "AcmeListJobsOperator"]


class AcmeJobBranchOperator(RemoteTaskBranchOperator):
    """Waits for an Acme job, then follows the branch of its outcome."""

    template_fields = ("remote_task_id", *RemoteTaskBranchOperator.template_fields, "acme_conn_id")
    operator_extra_links = (AcmeJobLink(),)
    remote_task_type = ACME_JOB
    trigger_class = AcmeJobTrigger
    hook_class = AcmeHook

    def __init__(self, *, acme_conn_id: str = AcmeHook.default_conn_name, **kwargs: Any) -> None:
        self.acme_conn_id = acme_conn_id
        super().__init__(**kwargs)


class AcmeListJobsOperator(RemoteListOperator):
    """Lists Acme jobs to XCom, or all of them to a file."""

    template_fields: Sequence[str] = ("limit", "output_path", "acme_conn_id")
    hook_class = AcmeHook

    def __init__(self, *, acme_conn_id: str = AcmeHook.default_conn_name, **kwargs: Any) -> None:
        self.acme_conn_id = acme_conn_id
        super().__init__(**kwargs)

    def read(self, hook: AcmeHook, limit: int | None) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the account's jobs."""
        for job in hook.iter_jobs(limit=limit):
            yield job.id, job.to_json()


# [END operators]
