"""What the core needs of Manus: where it lives, how it authenticates, how tasks are polled and cancelled."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from remote_tasks_provider.core.errors import AuthenticationError
from remote_tasks_provider.core.http.connection import ConnectionConfig, ConnectionExtras
from remote_tasks_provider.core.http.operation import Operation
from remote_tasks_provider.core.http.rate_limit import RateLimit
from remote_tasks_provider.core.http.response import Hint
from remote_tasks_provider.core.polling.strategy import OneByOne, PollStrategy
from remote_tasks_provider.core.service import Service, TaskType
from remote_tasks_provider.manus.api import v2
from remote_tasks_provider.manus.api.filters import TaskFilter
from remote_tasks_provider.manus.api.versions import api_version, used_version
from remote_tasks_provider.manus.manifest import MANIFEST
from remote_tasks_provider.manus.polling import V1, V2, ManusPollStrategy
from remote_tasks_provider.manus.polling_best import BestPollStrategy
from remote_tasks_provider.manus.push import WEBHOOKS
from remote_tasks_provider.manus.websites import website_snapshot

__all__ = ["MANUS", "MANUS_TASK", "MANUS_WEBSITE", "ManusExtras"]


class ManusExtras(ConnectionExtras):
    """The extras of a Manus connection."""

    api_version: Literal["v1", "v2"] | None = None
    """The only version of the Manus API to use. Default: for each call the one that does it best; see
    ``docs/how-to/connections.md#v1-or-v2``."""
    auth: Literal["api_key", "oauth"] = "api_key"
    """What the password is: an API key, or the access token of an OAuth app (API v2 only)."""

    connectors: str | None = None
    """Ids of the connectors that tasks may use, separated by commas; ``none`` for no connector at all. A task
    that names none gets these. Default: those of the account."""

    webhook_public_key: str | None = Field(default=None, repr=False)
    """The key that Manus signs its webhooks with, in PEM, for a receiver that cannot ask Manus for it.
    Default: it is asked for, and kept for an hour; see ``docs/how-to/webhooks.md``."""

    @property
    def allowed_connectors(self) -> tuple[str, ...] | None:
        """The ids; ``None`` for any."""
        if self.connectors is None:
            return None
        words = tuple(word.strip() for word in self.connectors.split(",") if word.strip())
        return () if [word.lower() for word in words] == ["none"] else words

    @model_validator(mode="after")
    def _connectors_are_ids_or_none(self) -> ManusExtras:
        """Neither "any" nor "none" is guessed from a list that names nothing, or contradicts itself."""
        allowed = self.allowed_connectors or ()
        if "none" in map(str.lower, allowed):
            raise ValueError("connectors has ids and the word none: give the one or the other")
        if self.connectors is not None and not self.connectors.strip(" ,"):
            raise ValueError("connectors names none: give ids, separated by commas, or the word none")
        return self

    @model_validator(mode="after")
    def _oauth_is_v2(self) -> ManusExtras:
        if self.auth == "oauth" and self.api_version == "v1":
            raise ValueError("auth 'oauth' needs api_version v2; API v1 refuses bearer tokens")
        return self


def _auth(key: str, extras: ManusExtras) -> tuple[str, str]:
    # https://open.manus.ai/docs/v2/authentication; the operations of v1 name a header of their own.
    return ("Authorization", f"Bearer {key}") if extras.auth == "oauth" else ("x-manus-api-key", key)


def _poll_strategy(config: ConnectionConfig) -> PollStrategy:
    version = used_version(config.extras)
    if version is None:
        return BestPollStrategy(config)
    return ManusPollStrategy(V1 if version == "v1" else V2)


def _explain(operation: Operation[Any], status: int, message: str, config: ConnectionConfig) -> Hint | None:
    # v2's word for a bad key is permission_denied: https://open.manus.ai/docs/v2/authentication
    if status == 403 and "api key" in message.casefold():
        return Hint(f"Check the password (API key) of connection {config.conn_id!r}.", AuthenticationError)
    if "insufficient_scope" in message:
        return Hint(
            f"The OAuth app behind connection {config.conn_id!r} was not granted this scope: authorise it "
            "again with the scope, or use an API key."
        )
    if status == 404 and operation.has_id:
        return Hint(
            f"Is the id right, and does the task belong to the account of connection {config.conn_id!r}? "
            "A task that was just created can take some seconds to appear."
        )
    return None


MANUS = Service(
    name="Manus",
    conn_type=MANIFEST.folder,
    default_base_url="https://api.manus.ai",
    auth=_auth,
    extras=ManusExtras,
    probe=lambda extras: api_version(extras).operations.list_tasks(TaskFilter(page_size=1)),
    explain=_explain,
    # Documented for API v2, per account: https://open.manus.ai/docs/v2/rate-limits. Taken to hold for v1 too.
    limits={
        "GET /v1/tasks": RateLimit(100),
        "GET /v1/tasks/{task_id}": RateLimit(100),
        "GET /v2/task.list": RateLimit(100),
        "GET /v2/task.detail {task_id}": RateLimit(100),
        "GET /v2/task.listMessages {task_id}": RateLimit(100),
        "POST /v2/task.stop {task_id}": RateLimit(40),
        "GET /v2/website.status {website_id}": RateLimit(100),
        "POST /v2/webhook.create": RateLimit(40),
        "POST /v2/webhook.delete {webhook_id}": RateLimit(40),
        "GET /v2/webhook.list": RateLimit(100),
    },
    webhooks=WEBHOOKS,
)

MANUS_TASK = TaskType(
    service=MANUS,
    label="Manus task",
    poll_strategy=_poll_strategy,
    cancel=lambda extras, task_ids: api_version(extras).cancel(*task_ids),
    has_bell=True,
)

MANUS_WEBSITE = TaskType(
    service=MANUS,
    label="Manus website",
    poll_strategy=lambda _config: OneByOne(
        lambda website_id: v2.get_website(website_id=website_id), website_snapshot
    ),
    id_param="website_id",
)
"""A website that is being published; nothing stops a publication."""
