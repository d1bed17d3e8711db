"""The Airflow plugin that serves the receiver in the API server; Airflow 3.0 and newer.

Every component loads it, so it imports the app with the first request. It serves nothing unless
``[remote_tasks] webhook_url`` and ``webhook_connections`` are set.
"""

from __future__ import annotations

import asyncio
import logging
import time
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
_TRY_AGAIN_AFTER = 60.0


class _LazyApp:
    """An ASGI app that is made with the first request; one that cannot be made answers 503, never 500."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._made: asyncio.Task[Any] | None = None
        self._made_at = float("-inf")

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if self._made is None or self._has_failed_a_while_ago():
            # The imports take a moment, in which the API server must answer others.
            self._made = asyncio.ensure_future(asyncio.to_thread(self._made_app))
            self._made_at = time.monotonic()
        await (await asyncio.shield(self._made))(scope, receive, send)

    def _has_failed_a_while_ago(self) -> bool:
        made = self._made
        has_failed = made is not None and made.done() and made.result() is _refuse
        return has_failed and time.monotonic() - self._made_at > _TRY_AGAIN_AFTER

    def _made_app(self) -> Any:
        try:
            return self._make()
        except Exception:
            log.exception("The receiver of webhooks cannot be served; tried again in %g s.", _TRY_AGAIN_AFTER)
            return _refuse


async def _refuse(scope: Any, _receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 503, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})


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
