"""The button in the task's details that opens the remote task's page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperatorLink, XCom

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey

__all__ = ["LINK_KEY", "RemoteTaskLink", "push_link"]

LINK_KEY = "remote_task_url"
"""The XCom key that holds the URL of the remote task's page."""


class RemoteTaskLink(BaseOperatorLink):
    """Opens the remote task's page. Its URL is pushed as soon as it is known, before a wait ends."""

    @property
    def xcom_key(self) -> str:
        """The XCom key that holds the URL."""
        return LINK_KEY

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the URL, or nothing while it is not known."""
        return XCom.get_value(key=LINK_KEY, ti_key=ti_key) or ""


def push_link(context: Any, url: str | None) -> None:
    """Make ``url`` the target of the task's :class:`RemoteTaskLink`."""
    if url:
        if (task := context.get("task")) is not None:
            task.remote_url = url
        context["ti"].xcom_push(key=LINK_KEY, value=url)
