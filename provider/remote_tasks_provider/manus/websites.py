"""Websites that a task has built, as API v2 shows them, and what each word of their status means.

https://open.manus.ai/docs/v2/website. Imports nothing that sends requests.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from remote_tasks_provider.core.http.parsing import Items, LenientStr, Moment, OrEmpty, RemoteModel
from remote_tasks_provider.core.states import StateTable, TaskSnapshot, TaskState

__all__ = ["PUBLISHED_TO", "WEBSITE_STATES", "ManusPublication", "ManusWebsite", "website_snapshot"]

PUBLISHED_TO = ("public", "team")
"""Who may open a website that is published: anyone, or the members of the team."""

# Beyond what any website has; a service that is beside itself must not fill Airflow's database.
_MOST_URLS, _LONGEST_URL = 50, 2000

WEBSITE_STATES = StateTable(
    {
        "unpublished": TaskState.PENDING,
        "publishing": TaskState.RUNNING,
        "published": TaskState.COMPLETED,
        "failed": TaskState.FAILED,
    }
)


class ManusPublication(RemoteModel):
    """A publication that has begun.

    :param website_id: Manus's id of the website.
    :param version_id: the version that is being published, always the latest.
    """

    website_id: str = Field(min_length=1)
    version_id: LenientStr = None


class ManusWebsite(RemoteModel):
    """A website that a task has built.

    :param website_id: Manus's id.
    :param publish_status: Manus's own word: ``unpublished``, ``publishing``, ``published`` or ``failed``.
    :param site_urls: where it is, the main address first.
    :param version_id: the version that visitors see; while the next one is published, the former.
    :param status_updated_at: since when it has this status.
    :param visibility: who can open it: ``public``, ``team`` or ``private``.
    """

    website_id: str = Field(min_length=1)
    publish_status: Annotated[str, OrEmpty(str)] = ""
    site_urls: Annotated[Items[str], OrEmpty(list)] = Field(default_factory=list)
    version_id: LenientStr = None
    status_updated_at: Moment = None
    visibility: LenientStr = None

    @property
    def state(self) -> TaskState:
        """The state of its latest publication."""
        return WEBSITE_STATES.read(self.publish_status)


def website_snapshot(website: ManusWebsite) -> TaskSnapshot:
    """Return the part of ``website`` that a wait needs."""
    has_failed = website.state is TaskState.FAILED
    urls = [url for url in website.site_urls if len(url) <= _LONGEST_URL][:_MOST_URLS]
    return TaskSnapshot(
        id=website.website_id,
        state=website.state,
        status=website.publish_status,
        url=next(iter(urls), None),
        error="it could not be published; Manus gives no reason" if has_failed else None,
        updated_at=website.status_updated_at,
        details={"site_urls": urls, "version_id": website.version_id},
    )
