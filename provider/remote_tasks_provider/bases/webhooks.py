"""Where webhooks arrive: what ``[remote_tasks] webhook_…`` says, for the receiver and for registrations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from airflow.providers.common.compat.sdk import conf

from remote_tasks_provider.core.errors import InvalidArgumentError, RemoteTaskError
from remote_tasks_provider.core.http.connection import ConnectionConfig, is_loopback
from remote_tasks_provider.core.http.operation import Request
from remote_tasks_provider.core.http.transport import RequestsTransport

__all__ = ["WebhookSettings", "check_url", "probe_receiver", "webhook_url"]

_SECTION = "remote_tasks"


@dataclass(frozen=True, slots=True)
class WebhookSettings:
    """The receiver's public address, and the connections that it takes webhooks for.

    :param url: without a trailing slash; empty where there is no receiver.
    :param connections: type and id of each connection.
    """

    url: str = ""
    connections: tuple[tuple[str, str], ...] = ()

    @classmethod
    def from_config(cls) -> WebhookSettings:
        """Return what Airflow's configuration says.

        :raises InvalidArgumentError: naming the option that cannot be right.
        """
        url = str(conf.get(_SECTION, "webhook_url", fallback="") or "").strip()
        names = str(conf.get(_SECTION, "webhook_connections", fallback="") or "")
        found = tuple(dict.fromkeys(_connection(name) for name in names.replace(",", " ").split()))
        return cls(_public_url(url), found)

    @property
    def is_on(self) -> bool:
        """Whether there is a receiver, and a connection that it takes webhooks for."""
        return bool(self.url and self.connections)

    def url_of(self, service: str, conn_id: str) -> str:
        """Return the address to which a service sends the webhooks of a connection."""
        return f"{self.url}/webhooks/{service}/{quote(conn_id, safe='')}"


def webhook_url(service: str, conn_id: str) -> str:
    """Return the receiver's address for a connection, to give to the service.

    :param service: the type of the connection: ``manus``.
    :raises InvalidArgumentError: when there is no receiver, or it takes none for this connection.
    """
    settings = WebhookSettings.from_config()
    if not settings.url:
        raise InvalidArgumentError(
            f"there is no receiver of webhooks: set [{_SECTION}] webhook_url to its public address"
        )
    if (service, conn_id) not in settings.connections:
        raise InvalidArgumentError(
            f"the receiver takes no webhooks for this connection: add {service}/{conn_id} to [{_SECTION}] "
            "webhook_connections"
        )
    return settings.url_of(service, conn_id)


def check_url(value: Any, name: str) -> str:
    """Return an address to which a service may send webhooks.

    :raises InvalidArgumentError: when it is none, or not ``https``; on this machine ``http`` will do.
    """
    if not isinstance(value, str) or not value.strip():
        raise InvalidArgumentError(f"{name} is {value!r}; it must be the address of a receiver")
    return _checked(value.strip(), name)


def probe_receiver(url: str) -> None:
    """Send a webhook that nobody has signed, and see it refused: then a receiver is there, and checks.

    :raises TransportError: when nothing answers there.
    :raises RemoteTaskError: when something else does.
    """
    config = ConnectionConfig("receiver", "receiver", url, None, "")
    transport = RequestsTransport(config)
    try:
        status = transport.send(Request("POST", "", json={})).status
    finally:
        transport.close()
    if status == 401:
        return
    hint = {
        404: "Is the connection in [remote_tasks] webhook_connections, and does the proxy keep the path?",
        503: "It has no keys to check webhooks with, or it cannot reach Airflow; its log says why.",
    }
    raise RemoteTaskError(
        f"{url} answers a webhook that nobody has signed with HTTP {status}, not with 401. "
        f"{hint.get(status, 'Is it the receiver that answers there, and not a proxy?')}"
    )


def _public_url(url: str) -> str:
    return _checked(url, f"[{_SECTION}] webhook_url") if url else ""


def _checked(url: str, name: str) -> str:
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname, parts.port
    except ValueError:
        host, parts = None, urlsplit("")
    if not host or parts.scheme not in ("https", "http"):
        raise _wrong(name, url, "it must be a URL such as https://hooks.example.com/remote-tasks")
    if parts.scheme == "http" and not is_loopback(host):
        raise _wrong(name, url, "webhooks must come over https, or anyone on the way reads them")
    if parts.query or parts.fragment or parts.username or parts.password:
        raise _wrong(name, url.split("?")[0].rpartition("@")[2], "it may hold no user and no query")
    return url.rstrip("/")


def _connection(name: str) -> tuple[str, str]:
    service, _, conn_id = name.partition("/")
    if not service or not conn_id:
        raise _wrong(
            f"[{_SECTION}] webhook_connections", name, "write each as type/id, such as manus/manus_default"
        )
    return service, conn_id


def _wrong(name: str, value: Any, fix: str) -> InvalidArgumentError:
    return InvalidArgumentError(f"{name} has {value!r}: {fix}")
