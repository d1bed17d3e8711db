"""The part of the Manus hook for webhooks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from remote_tasks_provider.bases.hooks import RemoteTaskHook
from remote_tasks_provider.bases.webhooks import check_url, probe_receiver, webhook_url
from remote_tasks_provider.core.errors import ConnectionConfigError, NotFoundError, RemoteTaskError
from remote_tasks_provider.core.submission import may_have_submitted
from remote_tasks_provider.manus.api import webhooks
from remote_tasks_provider.manus.webhooks import ManusWebhook

if TYPE_CHECKING:
    from remote_tasks_provider.manus.api.versions import ManusApi

__all__ = ["ManusWebhookHook"]


class ManusWebhookHook(RemoteTaskHook):
    """Registers webhooks; :class:`~remote_tasks_provider.manus.hooks.ManusHook` is the whole."""

    if TYPE_CHECKING:

        @property
        def api(self) -> ManusApi:
            """The whole has it."""

    def list_webhooks(self) -> list[ManusWebhook]:
        """Return the account's webhooks. API v2, with an API key.

        See https://open.manus.ai/docs/v2/webhook.list.
        """
        return self.api.of_webhooks(webhooks.list_webhooks())

    def create_webhook(self, url: str | None = None) -> ManusWebhook:
        """Register a webhook, unless it is registered already; return it. API v2, with an API key.

        Manus tells the URL of every task of the account, no matter who created it. It first sends a
        test request, which the receiver must answer with 200, so it must run by then. A webhook that Manus
        has deactivated is replaced. See https://open.manus.ai/docs/v2/webhook.create.

        :param url: the receiver's address; default that of this connection, of ``[remote_tasks]``
            ``webhook_url``.
        :raises InvalidRequestError: when the test request was not answered with 200; a retry helps only if
            the receiver answers by then.
        """
        address = self._address(url)
        if (found := self._at(address)) is not None:
            if found.status != "inactive":
                return found
            self.delete_webhook(address)
        try:
            return self.api.of_webhooks(webhooks.create_webhook(address))
        except RemoteTaskError as error:
            # The answer may be lost, and the webhook there.
            if may_have_submitted(error) and (found := self._at(address)) is not None:
                return found
            raise

    def test_webhook(self, url: str | None = None) -> ManusWebhook:
        """Check that a webhook is registered and that a receiver answers at its URL; return it.

        The receiver gets a webhook that nobody has signed, and must refuse it.

        :param url: as for :meth:`create_webhook`.
        :raises RemoteTaskError: saying what is wrong.
        """
        address = self._address(url)
        probe_receiver(address)
        found = self._at(address)
        if found is None or found.status == "inactive":
            what = "has no webhook for" if found is None else "has made inactive the webhook for"
            raise ConnectionConfigError(f"Manus {what} {address}: create it")
        return found

    def delete_webhook(self, url: str | None = None, *, webhook_id: str | None = None) -> int:
        """Delete the webhooks with a URL, or one by its id; return how many were there.

        See https://open.manus.ai/docs/v2/webhook.delete.

        :param url: as for :meth:`create_webhook`.
        :param webhook_id: instead: the webhook's id.
        """
        if webhook_id is None:
            address = self._address(url)
            ids = [one.id for one in self.list_webhooks() if one.url == address]
        else:
            ids = [webhook_id]
        return sum(self._delete(one) for one in ids)

    def _delete(self, webhook_id: str) -> bool:
        try:
            self.api.of_webhooks(webhooks.delete_webhook(webhook_id))
        except NotFoundError:
            return False
        return True

    def _at(self, address: str) -> ManusWebhook | None:
        return next((one for one in self.list_webhooks() if one.url == address), None)

    def _address(self, url: str | None) -> str:
        return webhook_url(self.manifest.folder, self.conn_id) if url is None else check_url(url, "url")
