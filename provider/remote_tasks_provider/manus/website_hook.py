"""The part of the Manus hook for websites."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from remote_tasks_provider.bases.hooks import RemoteTaskHook
from remote_tasks_provider.manus.api import v2
from remote_tasks_provider.manus.websites import ManusPublication, ManusWebsite

if TYPE_CHECKING:
    from remote_tasks_provider.manus.api.versions import ManusApi

__all__ = ["ManusWebsiteHook"]


class ManusWebsiteHook(RemoteTaskHook):
    """Publishes and reads websites; :class:`~remote_tasks_provider.manus.hooks.ManusHook` is the whole."""

    if TYPE_CHECKING:

        @property
        def api(self) -> ManusApi:
            """The whole has it."""

    def publish_website(
        self,
        remote_task_id: str | None = None,
        *,
        website_id: str | None = None,
        visibility: str | None = None,
    ) -> ManusPublication:
        """Begin to publish the latest version of a website that a task has built. API v2, with an API key.

        :meth:`get_website` shows how far it is. Every call publishes;
        :class:`~remote_tasks_provider.manus.operators.ManusPublishWebsiteOperator` publishes once. See
        https://open.manus.ai/docs/v2/website.publish.

        :param remote_task_id: the task that has built it; it must have built no other.
        :param website_id: instead: the website's id, which the answer and :meth:`get_website` have.
        :param visibility: who may open it: ``public``, everybody on the internet, or ``team``. Default
            Manus's, which is ``public``.
        :raises NotFoundError: also when the task has no website.
        """
        return self.api.of_website(
            v2.publish_website(remote_task_id, website_id=website_id, visibility=visibility)
        )

    def get_website(
        self, remote_task_id: str | None = None, *, website_id: str | None = None
    ) -> ManusWebsite:
        """Return a website that a task has built, and how far its publication is. API v2, with an API key.

        See https://open.manus.ai/docs/v2/website.status.

        :param remote_task_id: the task that has built it; it must have built no other.
        :param website_id: instead: the website's id.
        :raises NotFoundError: also when the task has no website.
        """
        return self.api.of_website(v2.get_website(remote_task_id, website_id=website_id))

    def list_website_checkpoints(
        self, remote_task_id: str | None = None, *, website_id: str | None = None
    ) -> list[dict[str, Any]]:
        """Return the versions of a website, the newest first. API v2, with an API key.

        Each has its ``version_id``, ``message``, ``status`` and ``created_at`` (Unix seconds). See
        https://open.manus.ai/docs/v2/website.listCheckpoints.

        :param remote_task_id: the task that has built it; it must have built no other.
        :param website_id: instead: the website's id.
        """
        return self.api.of_website(v2.list_website_checkpoints(remote_task_id, website_id=website_id))
