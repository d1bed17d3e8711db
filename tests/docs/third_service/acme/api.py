"""Acme's endpoints, one function each: the request, and how to read the response. No I/O."""

# [START api]
from __future__ import annotations

from typing import Any

from remote_tasks_provider.acme.models import AcmeJob
from remote_tasks_provider.core import validation
from remote_tasks_provider.core.http.operation import Operation, Page, Request, Response, path
from remote_tasks_provider.core.http.parsing import Items, LenientStr, Reader, RemoteModel

__all__ = ["get_job", "list_jobs", "whoami"]


class _JobPage(RemoteModel):
    jobs: Items[AcmeJob]
    next: LenientStr = None


_read_job, _read_page, _read_object = Reader(AcmeJob), Reader(_JobPage), Reader(dict[str, Any])


def get_job(remote_task_id: str) -> Operation[AcmeJob]:
    """``GET /jobs/{job_id}``."""
    job_id = validation.object_id(remote_task_id, "remote_task_id")
    return Operation(
        name="GET /jobs/{job_id}",
        request=Request("GET", path("/jobs/{job_id}", job_id=job_id)),
        expects="an Acme job",
        parse=_read_job,
    )


def list_jobs(cursor: str | None = None) -> Operation[Page[AcmeJob]]:
    """``GET /jobs``: a page has the operation for the next one."""

    def read(response: Response) -> Page[AcmeJob]:
        page: _JobPage = _read_page(response)
        return Page(page.jobs, page.next, list_jobs(page.next) if page.next else None)

    return Operation(
        name="GET /jobs",
        request=Request("GET", "/jobs", query=(("cursor", cursor),) if cursor else ()),
        expects="a list of Acme jobs",
        parse=read,
    )


def whoami() -> Operation[dict[str, Any]]:
    """``GET /me``: the cheapest read that proves the host and the key."""
    return Operation("GET /me", Request("GET", "/me"), "an Acme account", _read_object)


# [END api]
