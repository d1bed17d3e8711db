"""The settings of the emulated Manus, and the rate limits that the vendor documents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

from remote_tasks_sandbox.settings import Positive, Secret, Settings

__all__ = ["ManusSettings"]

Scope = Literal["create_task", "manage_all_tasks", "create_project", "use_connectors", "use_my_browsers"]


@dataclass
class ManusSettings(Settings):
    """What can be changed while the sandbox runs."""

    #: Calls per minute: https://open.manus.ai/docs/v2/rate-limits. None are documented for v1.
    endpoints: ClassVar = {
        **dict.fromkeys(("manus.list", "manus.get", "manus.create", "manus.update", "manus.delete")),
        **dict.fromkeys(("manus.files", "manus.projects", "manus.webhooks")),
        **dict.fromkeys(("manus.user.me", "manus.webhook.publicKey")),
        **dict.fromkeys(("manus.task.create", "manus.task.sendMessage"), 10),
        **dict.fromkeys(("manus.task.detail", "manus.task.list", "manus.task.listMessages"), 100),
        **dict.fromkeys(("manus.task.update", "manus.task.stop", "manus.task.delete"), 40),
        **dict.fromkeys(("manus.task.confirmAction", "manus.project.create"), 40),
        **dict.fromkeys(("manus.file.upload", "manus.file.delete"), 40),
        **dict.fromkeys(("manus.file.detail", "manus.project.list", "manus.skill.list"), 100),
        **dict.fromkeys(("manus.connector.list", "manus.browser.onlineList"), 100),
        **dict.fromkeys(("manus.webhook.create", "manus.webhook.delete", "manus.website.publish"), 40),
        **dict.fromkeys(("manus.webhook.list", "manus.website.status", "manus.website.listCheckpoints"), 100),
        **dict.fromkeys(("manus.usage.list", "manus.usage.availableCredits"), 600),
    }

    manus_key: Secret = "sk-sandbox"
    manus_oauth_token: Secret = "oauth-sandbox"  # noqa: S105 - the published default
    manus_oauth_scopes: tuple[Scope, ...] = get_args(Scope)
    manus_credits: int = 10_000
    manus_user_stop_on_stop: bool = False
    manus_v2_as_proto3: bool = False
    manus_webhook_hash: Literal["single", "double"] = "single"
    file_url_seconds: Positive = 3600.0
