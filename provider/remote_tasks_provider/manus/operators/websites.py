"""The operator that publishes a website which a Manus task has built."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from remote_tasks_provider.bases.links import push_link
from remote_tasks_provider.bases.once import Once
from remote_tasks_provider.bases.requests import sending
from remote_tasks_provider.bases.submission import start_of
from remote_tasks_provider.bases.waiting import Mode, WaitingOperator
from remote_tasks_provider.core import validation
from remote_tasks_provider.core.errors import InvalidArgumentError
from remote_tasks_provider.core.polling.result import WaitResult
from remote_tasks_provider.core.states import in_words
from remote_tasks_provider.core.validation import Check
from remote_tasks_provider.manus.connected import ManusConnected
from remote_tasks_provider.manus.effects import Publication
from remote_tasks_provider.manus.links import ManusWebsiteLink
from remote_tasks_provider.manus.service import MANUS_WEBSITE
from remote_tasks_provider.manus.triggers import ManusWebsiteTrigger
from remote_tasks_provider.manus.websites import PUBLISHED_TO, website_snapshot

if TYPE_CHECKING:
    from airflow.sdk import Context

__all__ = ["ManusPublishWebsiteOperator"]


class ManusPublishWebsiteOperator(ManusConnected, WaitingOperator):
    """Publishes the latest version of a website that a Manus task has built, once, and waits for it.

    Returns ``{"website_id": …, "publish_status": "published", "site_urls": […], "version_id": …}``; the first
    URL is the main one. Without waiting, ``publish_status`` is mostly ``publishing``, and the others are
    those of the version that was published before, if one was. API v2, with an API key:
    https://open.manus.ai/docs/v2/website.

    If the response is lost or the worker dies, the website's status shows whether the publication has begun.
    A publication that failed fails the operator without a retry, as Manus gives no reason; clear the Airflow
    task to publish anew. Nothing stops a publication, neither a timeout nor a kill.

    .. code-block:: python

        publish = ManusPublishWebsiteOperator(
            task_id="publish", remote_task_id="{{ ti.xcom_pull('build')['id'] }}", deferrable=True
        )

    :param remote_task_id: the Manus task that has built the website; it must have built no other. Templated.
    :param website_id: instead: the website's id, as this operator returns it. Templated.
    :param visibility: who may open the website: ``public``, everybody on the internet, or ``team``, for team
        accounts. Default Manus's, which is ``public``. Templated.
    :param wait_for_completion: wait until the website is published; otherwise return as soon as Manus shows
        that it is being published.
    :param poll_interval: seconds between polls, or a ``timedelta``.
    :param timeout: seconds (or a ``timedelta``) from the first attempt's start until the operator gives up;
        default ``[sensors] default_timeout``.
    :param raise_on_failure: fail without a retry when the website could not be published; otherwise succeed,
        with ``publish_status`` ``failed``.
    :param manus_conn_id: the Airflow connection. Templated.
    """

    template_fields: Sequence[str] = ("remote_task_id", "website_id", "visibility", "manus_conn_id")
    checks: ClassVar[Mapping[str, Check]] = {
        "remote_task_id": validation.optional(validation.object_id),
        "website_id": validation.optional(validation.object_id),
        "visibility": validation.optional(partial(validation.choice, allowed=PUBLISHED_TO)),
    }
    operator_extra_links = (ManusWebsiteLink(),)
    remote_task_type = MANUS_WEBSITE
    trigger_class = ManusWebsiteTrigger

    def __init__(
        self,
        *,
        remote_task_id: str | None = None,
        website_id: str | None = None,
        visibility: str | None = None,
        wait_for_completion: bool = True,
        poll_interval: float | str | timedelta = 10.0,
        timeout: float | str | timedelta | None = None,
        raise_on_failure: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.remote_task_id = remote_task_id
        self.website_id = website_id
        self.visibility = visibility
        self.wait_for_completion = wait_for_completion
        self.poll_interval: Any = poll_interval
        self.timeout = timeout  # type: ignore[assignment]  # the check makes seconds of it
        self.raise_on_failure = raise_on_failure
        self.check_together()

    def refuse_together(self) -> None:
        """Refuse no website, and two."""
        if (self.remote_task_id is None) == (self.website_id is None):
            raise InvalidArgumentError("give either remote_task_id or website_id")

    def execute(self, context: Context) -> Any:
        """Publish the website, unless an earlier attempt has, and wait."""
        self.check_arguments()
        where = {"remote_task_id": self.remote_task_id, "website_id": self.website_id}
        publication = Publication(
            self.hook, where, start_of(context.get("dag_run")), visibility=self.visibility
        )
        with sending(self.hook):
            Once(self, context).do(publication)
            website_id = publication.website_id()
            if not self.wait_for_completion:
                website = website_snapshot(self.hook.get_website(website_id=website_id))
                push_link(context, website.url)
                self.log.info("Manus website %s is %s.", website.id, in_words(website.state, website.status))
                return _result(website.to_record())
        mode: Mode = "deferrable" if self.deferrable else "poke"
        policy = self.poll_policy(
            context,
            mode,
            poll_interval=self.poll_interval,
            outage_tolerance=self.outage_tolerance,
            not_found_grace=self.not_found_grace,
        )
        return self.wait_for_tasks(context, [website_id], policy, mode)

    def finish(self, context: Context, result: WaitResult) -> Any:
        """Return where the website is, or raise."""
        label = self.remote_task_type.label
        error = result.failure(label, raise_on_failure=self.raise_on_failure, on_waiting="return")
        if error is not None:
            raise self.wait_exception(error, result.timed_out) from error
        result.report(label, self.log)
        ((_, record),) = result.records.items()
        # A trigger could not.
        push_link(context, result.first_url)
        return _result(record or {})


def _result(record: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "website_id": record["id"],
        "publish_status": record["status"],
        "site_urls": record["site_urls"],
        "version_id": record["version_id"],
    }
