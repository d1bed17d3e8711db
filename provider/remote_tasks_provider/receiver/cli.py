"""The command ``remote-tasks``: registers webhooks, and runs a receiver outside Airflow's API server."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any, Protocol

from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook, conf

from remote_tasks_provider.bases.webhooks import WebhookSettings
from remote_tasks_provider.core.errors import (
    AuthenticationError,
    InvalidArgumentError,
    PermissionDeniedError,
    RemoteTaskError,
)
from remote_tasks_provider.core.push.bell import BellNotStored
from remote_tasks_provider.receiver.known import hook_class

if TYPE_CHECKING:
    from remote_tasks_provider.receiver.stores import RestStore

__all__ = ["main"]

log = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status: 1 when something is wrong, which it says."""
    parser = argparse.ArgumentParser(prog="remote-tasks", description="Webhooks of remote tasks.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    receiver = commands.add_parser("receiver", help="take webhooks, and ring over Airflow's REST API")
    receiver.add_argument("--host", default="127.0.0.1", help="the address to listen at (default: 127.0.0.1)")
    receiver.add_argument("--port", type=int, default=8090, help="the port (default: 8090)")
    receiver.set_defaults(run=_receive)
    webhooks = commands.add_parser("webhooks", help="register the receiver at a service")
    webhooks.add_argument("action", choices=["create", "test", "list", "delete"])
    webhooks.add_argument("conn_id", help="the Airflow connection")
    webhooks.add_argument("--url", help="the receiver's address (default: of [remote_tasks] webhook_url)")
    webhooks.set_defaults(run=_register)
    given = parser.parse_args(arguments)
    try:
        given.run(given)
    except (RemoteTaskError, AirflowNotFoundException) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _receive(given: argparse.Namespace) -> None:
    try:
        import uvicorn

        from remote_tasks_provider.receiver.serving import receiver_alone
    except ImportError as error:
        raise InvalidArgumentError(
            f"the receiver needs {error.name}, which Airflow 3 brings: install the extra 'receiver'"
        ) from None
    from remote_tasks_provider.receiver.stores import RestStore

    store = RestStore(*(_option(name) for name in ("url", "username", "password")))
    app = receiver_alone(WebhookSettings.from_config(), store)
    try:
        _open(store)
        # Its access log would show nothing that matters; a proxy may keep one.
        uvicorn.run(app, host=given.host, port=given.port, access_log=False, server_header=False)
    finally:
        store.close()


def _open(store: RestStore) -> None:
    """Log in before the first webhook comes. An Airflow that is away may come back."""
    try:
        store.open()
    except BellNotStored as error:
        if isinstance(error.__cause__, (AuthenticationError, PermissionDeniedError)):
            raise InvalidArgumentError(
                "Airflow refuses the user of [remote_tasks] webhook_api_username and webhook_api_password: "
                f"{error.reason}"
            ) from error
        log.warning("Webhooks are answered with 503 until this is fixed: %s", error.reason)


class _Webhooks(Protocol):
    """A hook to a service at which webhooks are registered."""

    def list_webhooks(self) -> list[Any]: ...
    def create_webhook(self, url: str | None = None) -> Any: ...
    def test_webhook(self, url: str | None = None) -> Any: ...
    def delete_webhook(self, url: str | None = None) -> int: ...


def _register(given: argparse.Namespace) -> None:
    conn_type = str(BaseHook.get_connection(given.conn_id).conn_type)
    hook: Any = hook_class(conn_type)(given.conn_id)
    if not hasattr(hook, "create_webhook"):
        raise InvalidArgumentError(
            f"at {hook.service.name} there is nothing to register: what you send names the receiver"
        )
    webhooks: _Webhooks = hook
    with closing(hook):
        if given.action == "delete":
            print(webhooks.delete_webhook(given.url), "deleted")
            return
        if given.action == "list":
            found = webhooks.list_webhooks()
        else:
            do = webhooks.create_webhook if given.action == "create" else webhooks.test_webhook
            found = [do(given.url)]
    for one in found:
        print(one.id, one.status or "unknown", one.url)


def _option(name: str) -> str:
    option = f"webhook_api_{name}"
    value = str(conf.get("remote_tasks", option, fallback="") or "").strip()
    if not value:
        raise InvalidArgumentError(
            f"[remote_tasks] {option} is empty; the receiver rings over Airflow's REST API, and needs its "
            "address and a user"
        )
    return value
