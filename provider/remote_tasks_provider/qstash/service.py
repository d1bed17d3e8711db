"""QStash as the core sees it: where it lives, how it authenticates, and how one of its tasks is looked at."""

from __future__ import annotations

from typing import Any

from remote_tasks_provider.core.answers import Hint
from remote_tasks_provider.core.endpoint import ConnectionExtras, Endpoint
from remote_tasks_provider.core.errors import AuthenticationError
from remote_tasks_provider.core.messages import Call
from remote_tasks_provider.core.service import Service
from remote_tasks_provider.qstash import api_v2
from remote_tasks_provider.qstash.watch import QStashWatch

__all__ = ["QSTASH", "QStashExtras"]


class QStashExtras(ConnectionExtras):
    """The extras of a QStash connection."""


def _auth(token: str, _extras: ConnectionExtras) -> tuple[str, str]:
    # https://upstash.com/docs/qstash/api/authentication
    return "Authorization", f"Bearer {token}"


def _explain(call: Call[Any], status: int, message: str, endpoint: Endpoint) -> Hint | None:
    regions = (
        f"QStash's regions are separate: does the token of connection {endpoint.conn_id!r} belong to the "
        f"region of its host, {endpoint.base_url}? (EU: https://qstash.upstash.io, "
        "US: https://qstash-us-east-1.upstash.io)"
    )
    # https://upstash.com/docs/qstash/howto/multi-region
    if status == 404 and "region" in message.casefold():
        return Hint(regions, AuthenticationError)
    if status == 401:
        return Hint(f"Check the password (token) of connection {endpoint.conn_id!r}. {regions}")
    if status == 404 and call.has_id:
        return Hint("Is the id right? QStash forgets what is over after some days.")
    return None


QSTASH = Service(
    name="QStash",
    default_base_url="https://qstash.upstash.io",
    auth=_auth,
    extras=QStashExtras,
    probe=lambda _extras: api_v2.probe(),
    explain=_explain,
    watch=lambda _extras: QStashWatch(),
)
