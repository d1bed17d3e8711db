"""What the receiver knows of a connection: the keys that its webhooks are checked with.

They are read when the first webhook comes, and kept for an hour. However many webhooks come meanwhile, the
connection is read, and the service asked, once at a time. Needs neither Starlette nor a database.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from airflow.providers.common.compat.sdk import mask_secret

from remote_tasks_provider.bases.connection import connection_config
from remote_tasks_provider.bases.hooks import RemoteTaskHook
from remote_tasks_provider.core.cancellation import one_attempt
from remote_tasks_provider.core.errors import InvalidArgumentError
from remote_tasks_provider.core.push.events import VerifiedEvent, WebhookRequest, Webhooks
from remote_tasks_provider.get_provider_info import manifests

__all__ = ["Known", "KnownConnection", "NoKeys", "hook_class", "read_known"]

log = logging.getLogger(__name__)

KEPT_FOR = 3600.0
_REST_AFTER_FAILURE = 10.0
_REST_AFTER_REFUSAL = 60.0


class NoKeys(Exception):
    """There is nothing to check a connection's webhooks with, now or ever; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Known:
    """What was read of a connection.

    :param starts_dags: whether its asset gets an event for each webhook.
    """

    keys: tuple[str, ...] = field(repr=False)
    starts_dags: bool


def hook_class(service: str) -> type[RemoteTaskHook]:
    """Return the hook to connections of a type.

    :raises InvalidArgumentError: when this provider has no such type, or its service sends no webhooks.
    """
    found = {manifest.folder: manifest for manifest in manifests()}
    if service not in found:
        raise InvalidArgumentError(
            f"[remote_tasks] webhook_connections names the type {service!r}; there are {', '.join(found)}"
        )
    module = importlib.import_module(f"remote_tasks_provider.{service}.hooks")
    hook: type[RemoteTaskHook] = getattr(module, found[service].hook)
    if hook.service.webhooks is None:
        raise InvalidArgumentError(f"{found[service].name} sends no webhooks")
    return hook


def read_known(hook: type[RemoteTaskHook], conn_id: str) -> Known:
    """Read a connection and, where it holds no keys, ask the service for them; blocks.

    :raises NoKeys: when it has none, or they must not be used.
    :raises Exception: whatever else a connection, a secrets backend or a service does.
    """
    webhooks = _webhooks(hook)
    config = connection_config(hook.service, conn_id)
    extras: Any = config.extras
    keys = webhooks.pasted_keys(extras)
    if not keys and webhooks.fetch_keys is not None:
        caller = hook(conn_id)
        try:
            keys = caller.connect(one_attempt(config)).send(webhooks.fetch_keys(extras))
        finally:
            caller.close()
    if not keys:
        raise NoKeys(f"connection {conn_id!r} has no webhook_secret in its extras")
    if config.secret in keys:
        raise NoKeys(
            f"the webhook_secret of connection {conn_id!r} is its password: a service with the one would "
            "have the other. Give it one of its own"
        )
    for key in keys:
        mask_secret(key)
    return Known(keys, bool(getattr(extras, "push_events", False)))


class KnownConnection:
    """A connection whose webhooks are taken, for one event loop.

    :param read: returns what is known of it; called in a thread.
    :param clock: monotonic seconds.
    """

    def __init__(
        self,
        hook: type[RemoteTaskHook],
        conn_id: str,
        read: Callable[[type[RemoteTaskHook], str], Known] = read_known,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.hook = hook
        self.conn_id = conn_id
        self._read = read
        self._clock = clock
        self._known: Known | None = None
        self._read_at = float("-inf")
        self._failed_at = float("-inf")
        self._reading: asyncio.Task[Known] | None = None

    @property
    def name(self) -> str:
        """How the log names it."""
        return f"{self.hook.service.name} connection {self.conn_id!r}"

    async def known(self) -> Known:
        """Return what is known.

        :raises NoKeys: when nothing is, or it could not be read just now.
        """
        if self._known is not None and self._clock() - self._read_at < KEPT_FOR:
            return self._known
        return await self._fresh()

    async def read_again(self) -> Known | None:
        """Return what is known after another reading; ``None`` if the last one was a moment ago, or fails.

        For a webhook that fits no key: they may have been changed. Not more often than once a minute, as
        anybody may send such a webhook.
        """
        if self._clock() - self._read_at < _REST_AFTER_REFUSAL:
            return None
        try:
            return await self._fresh()
        except NoKeys:
            return None

    async def _fresh(self) -> Known:
        if self._clock() - self._failed_at < _REST_AFTER_FAILURE:
            raise NoKeys("the last reading failed a moment ago")
        if self._reading is None:
            self._reading = asyncio.ensure_future(self._read_now())
            # Nobody may be left to see how it ended.
            self._reading.add_done_callback(lambda task: task.cancelled() or task.exception())
        return await asyncio.shield(self._reading)

    async def _read_now(self) -> Known:
        try:
            self._known = await asyncio.to_thread(self._read, self.hook, self.conn_id)
        except Exception as error:
            self._failed_at = self._clock()
            reason = str(error) if isinstance(error, NoKeys) else f"{type(error).__name__}: {error}"
            log.warning("Webhooks of %s are not taken: %s", self.name, reason)
            raise NoKeys(reason) from error
        else:
            self._read_at = self._clock()
            return self._known
        finally:
            self._reading = None

    def verify(self, request: WebhookRequest, known: Known) -> VerifiedEvent:
        """Return the event that a request proves to be.

        :raises EventRefused: when it is none.
        """
        return _webhooks(self.hook).verify(request, known.keys)


def _webhooks(hook: type[RemoteTaskHook]) -> Webhooks:
    found = hook.service.webhooks
    assert found is not None  # noqa: S101 - hook_class gives no other
    return found
