"""The operator that registers webhooks at Manus."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from remote_tasks_provider.bases.requests import RequestOperator
from remote_tasks_provider.bases.webhooks import check_url
from remote_tasks_provider.core import validation
from remote_tasks_provider.core.log import counted
from remote_tasks_provider.core.validation import Check
from remote_tasks_provider.manus.connected import ManusConnected
from remote_tasks_provider.manus.hooks import ManusHook

if TYPE_CHECKING:
    from airflow.sdk import Context

__all__ = ["ManusWebhookOperator"]

_ACTIONS = ("create", "test", "list", "delete")


class ManusWebhookOperator(ManusConnected, RequestOperator):
    """Creates, tests, lists or deletes a webhook, by which Manus tells a receiver of every task.

    It can be repeated: a webhook that is there is not created again, and one that is gone is not missed.
    Returns the webhook as a JSON object, all of them with ``list``, and with ``delete`` how many were there.
    API v2, with an API key; see ``docs/how-to/webhooks.md`` and
    https://open.manus.ai/docs/v2/webhooks-overview.

    .. code-block:: python

        ManusWebhookOperator(task_id="listen")

    :param action: ``create``, ``test``, ``list`` or ``delete``. ``test`` checks that the webhook is
        registered and that a receiver answers at its URL. Templated.
    :param url: the receiver's address; default that of this connection, of ``[remote_tasks] webhook_url``.
        Templated.
    """

    template_fields: Sequence[str] = ("action", "url", "manus_conn_id")
    checks: ClassVar[Mapping[str, Check]] = {
        "action": partial(validation.choice, allowed=_ACTIONS),
        "url": validation.optional(check_url),
    }

    def __init__(self, *, action: str = "create", url: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.action = action
        self.url = url

    def act(self, hook: ManusHook, context: Context) -> Any:
        """Do it."""
        if self.action == "list":
            return [one.to_json() for one in hook.list_webhooks()]
        if self.action == "delete":
            return hook.delete_webhook(self.url)
        do = hook.create_webhook if self.action == "create" else hook.test_webhook
        return do(self.url).to_json()

    def summary(self, found: Any) -> str:
        """Return what was done."""
        if self.action == "list":
            return f"The account has {counted(len(found), 'webhook')}."
        if self.action == "delete":
            return f"Deleted {counted(found, 'webhook')}."
        how = "is registered" if self.action == "create" else "is registered, and its receiver answers"
        return f"Manus webhook {found['id']} {how}."
