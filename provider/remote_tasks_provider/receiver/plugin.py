"""The Airflow plugin that serves the receiver in the API server; Airflow 3.0 and newer.

Every component loads it, so it imports the app with the first request. It serves nothing unless
``[remote_tasks] webhook_url`` and ``webhook_connections`` are set.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from airflow.providers.common.compat.sdk import AirflowPlugin

from remote_tasks_provider.bases.compat import airflow_is_at_least
from remote_tasks_provider.bases.webhooks import WebhookSettings
from remote_tasks_provider.core.errors import InvalidArgumentError

__all__ = ["PREFIX", "RemoteTasksWebhooksPlugin", "app"]

log = logging.getLogger(__name__)

PREFIX = "/remote-tasks"
"""Where it is served."""


class _LazyApp:
    """An ASGI app that is made with the first request."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._made: asyncio.Task[Any] | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if self._made is None:
            # The imports take a moment, in which the API server must answer others.
            self._made = asyncio.ensure_future(asyncio.to_thread(self._make))
        await (await asyncio.shield(self._made))(scope, receive, send)


def _make() -> Any:
    from remote_tasks_provider.receiver.serving import receiver_in_airflow

    return receiver_in_airflow(WebhookSettings.from_config())


app = _LazyApp(_make)


def _apps() -> list[dict[str, Any]]:
    """Return what the API server is to serve."""
    if not airflow_is_at_least("3"):
        return []
    try:
        is_on = WebhookSettings.from_config().is_on
    except InvalidArgumentError as error:
        log.error("The receiver of webhooks is off: %s", error)  # noqa: TRY400 - the message says all
        return []
    return [{"name": "remote_tasks_webhooks", "app": app, "url_prefix": PREFIX}] if is_on else []


class RemoteTasksWebhooksPlugin(AirflowPlugin):
    """Takes webhooks of remote tasks."""

    name = "remote_tasks_webhooks"
    fastapi_apps = _apps()
