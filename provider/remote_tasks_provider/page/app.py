"""The ASGI app that the plugin hands to Airflow: it imports the real one at the first request.

Every component of Airflow loads plugins, and only the API server serves them. And what the real one needs of
Airflow has no public name: where something is missing, requests say so, and the API server still starts.
"""

from __future__ import annotations

import json
import logging
from functools import cache
from importlib import import_module
from typing import Any

import airflow

__all__ = ["app", "unavailable"]

log = logging.getLogger(__name__)


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Serve the Remote Tasks page."""
    await _real()(scope, receive, send)


def unavailable(error: Exception) -> str:
    """Return what to tell a user where this Airflow lacks what the page needs."""
    return (
        f"The Remote Tasks page does not work with Airflow {airflow.__version__}: {error}. Waits are not "
        "concerned. A newer airflow-provider-remote-tasks may know this Airflow."
    )


@cache
def _real() -> Any:
    try:
        return import_module("remote_tasks_provider.page.api").app
    except (ImportError, AttributeError) as error:
        log.exception("The Remote Tasks page cannot be served.")
        return _refusal(unavailable(error))


def _refusal(text: str) -> Any:
    """Return an ASGI app that answers every request with ``text`` and status 501."""

    async def refuse(scope: Any, _receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        body = json.dumps({"detail": text}).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 501, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return refuse
