"""The operations ``webhook.*`` of Manus v2.

https://open.manus.ai/docs/v2/webhook.create and the pages beside it.
"""

from __future__ import annotations

from typing import Any

from remote_tasks_sandbox.calls import Call, Later, Refused
from remote_tasks_sandbox.faults import Plan
from remote_tasks_sandbox.manus.account import ManusAccount
from remote_tasks_sandbox.manus.parsing import check_fields, json_body
from remote_tasks_sandbox.manus.v2_tasks import Operations
from remote_tasks_sandbox.manus.webhooks import public_key

__all__ = ["WebhookOperations"]


class WebhookOperations:
    """Performs ``webhook.*``; each handler returns what stands beside ``ok`` and ``request_id``.

    :ivar operations: name to HTTP method and handler
    """

    def __init__(self, account: ManusAccount) -> None:
        self._webhooks = account.webhooks
        self.operations: Operations = {
            "webhook.create": ("POST", self._create),
            "webhook.list": ("GET", self._list),
            "webhook.delete": ("POST", self._delete),
            "webhook.publicKey": ("GET", lambda *_: public_key()[0]),
        }

    def _create(self, call: Call, plan: Plan, _: str | None) -> Later:
        body = check_fields(json_body(call), {"url": str}, required=("url",))
        return self._webhooks.register(body["url"], lambda webhook: {"webhook": webhook.describe()})

    def _list(self, call: Call, plan: Plan, _: str | None) -> dict[str, Any]:
        return {"data": [webhook.describe() for webhook in self._webhooks.all()]}

    def _delete(self, call: Call, plan: Plan, _: str | None) -> dict[str, Any]:
        body = check_fields(json_body(call), {"webhook_id": str}, required=("webhook_id",))
        try:
            self._webhooks.remove(body["webhook_id"])
        except KeyError:
            raise Refused(404, "webhook not found") from None
        return {}
