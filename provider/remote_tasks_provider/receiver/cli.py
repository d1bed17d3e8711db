"""The command ``remote-tasks``: a receiver of webhooks on its own, outside Airflow's API server."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from airflow.providers.common.compat.sdk import conf

from remote_tasks_provider.bases.webhooks import WebhookSettings
from remote_tasks_provider.core.errors import InvalidArgumentError, RemoteTaskError

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status: 1 when something is wrong, which it says."""
    parser = argparse.ArgumentParser(prog="remote-tasks", description="Webhooks of remote tasks.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    receiver = commands.add_parser("receiver", help="take webhooks, and ring over Airflow's REST API")
    receiver.add_argument("--host", default="127.0.0.1", help="the address to listen at (default: 127.0.0.1)")
    receiver.add_argument("--port", type=int, default=8090, help="the port (default: 8090)")
    receiver.set_defaults(run=_receive)
    given = parser.parse_args(arguments)
    try:
        given.run(given)
    except RemoteTaskError as error:
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
        # Its access log would show nothing that matters; a proxy may keep one.
        uvicorn.run(app, host=given.host, port=given.port, access_log=False, server_header=False)
    finally:
        store.close()


def _option(name: str) -> str:
    option = f"webhook_api_{name}"
    value = str(conf.get("remote_tasks", option, fallback="") or "").strip()
    if not value:
        raise InvalidArgumentError(
            f"[remote_tasks] {option} is empty; the receiver rings over Airflow's REST API, and needs its "
            "address and a user"
        )
    return value
