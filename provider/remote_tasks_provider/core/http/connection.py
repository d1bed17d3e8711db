"""Makes a connection config from an Airflow connection's fields: one pure function for every vendor."""

from __future__ import annotations

import hashlib
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from remote_tasks_provider.core.errors import ConnectionConfigError
from remote_tasks_provider.core.http.operation import Request

__all__ = ["ConnectionConfig", "ConnectionExtras", "ConnectionFields", "address", "is_loopback"]

ExtrasT = TypeVar("ExtrasT", bound="ConnectionExtras")

_QUOTES = "\"'"
_BEARER = re.compile(r"^bearer(\s+|$)", re.IGNORECASE)
_SECRET_SHAPE = re.compile(r"[!-~]+")
_HOST_SHAPE = re.compile(r"[^\s%/\\]+")
_VERSION_TAIL = re.compile(r"/v\d+(/.*)?$")


@dataclass(frozen=True, slots=True)
class ConnectionFields:
    """The fields of an Airflow connection that this provider reads.

    What cannot be used raises :class:`ConnectionConfigError`, which names the field and the fix.
    """

    conn_id: str
    host: str | None = None
    password: str | None = field(default=None, repr=False)
    port: int | None = None
    schema: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)
    conn_type: str | None = None

    def _error(self, field_name: str, problem: str) -> ConnectionConfigError:
        return ConnectionConfigError(f"Connection {self.conn_id!r}, field {field_name}: {problem}")

    def check_type(self, expected: str, service: str) -> None:
        """Refuse the connection of another service, whose key must not go to this one."""
        if self.conn_type and self.conn_type != expected:
            raise self._error(
                "conn_type",
                f"is {self.conn_type!r}, but {service} needs one of type {expected!r}. Nothing was sent. "
                "Name another connection, or correct the type",
            )

    def secret(self, *, is_optional: bool = False) -> str:
        """Return the key, without what is often pasted along with it; empty where there may be none."""
        secret = (self.password or "").strip().strip(_QUOTES).strip()
        secret = _BEARER.sub("", secret).strip(_QUOTES).strip()
        if not secret and is_optional:
            return ""
        if not secret:
            raise self._error("password", "is empty; put the API key or token there")
        if not _SECRET_SHAPE.fullmatch(secret):
            raise self._error(
                "password", "holds a space, a line break or a non-ASCII character; paste the key alone"
            )
        return secret

    def base_url(self, default: str | None) -> str:
        """Return the base URL; ``default`` where there is no host.

        :param default: where the service lives; ``None`` if everybody may run one, at any path.
        """
        host, schema = (self.host or "").strip() or default, (self.schema or "").strip().strip("/")
        example = default or "https://agent.example.com/path"
        if host is None:
            raise self._error("host", f"is empty; put the base URL there, something like {example}")
        # Airflow puts the path of a connection's URI into schema.
        path = "" if schema in ("http", "https") else quote(schema)
        if "://" not in host:
            host = f"{schema if schema and not path else 'https'}://{host}"
        elif schema and not path and not host.startswith(f"{schema}://"):
            raise self._error(
                "schema", "is not used; put the whole base URL, path prefix included, into host"
            )
        if path:
            if not (self.host or "").strip() or host.partition("://")[2].strip("/").count("/"):
                raise self._error(
                    "schema", "is a path; put the whole base URL, path prefix included, into host"
                )
            host = f"{host.rstrip('/')}/{path}"
        try:
            parts = urlsplit(host)
            port = parts.port
        except ValueError:
            raise self._error("host", f"is no URL; expected something like {example}") from None
        self._check_host(parts.scheme, parts.hostname, example)
        if parts.username or parts.password or parts.query or parts.fragment:
            raise self._error("host", "may hold no user, query or fragment; the key belongs into password")
        prefix = parts.path.rstrip("/")
        pasted = None if default is None else _VERSION_TAIL.search(prefix)
        if pasted:
            raise self._error("host", f"ends in {pasted.group()!r}; leave out the API's version and path")
        if self.port and port and self.port != port:
            raise self._error("port", f"is {self.port}, but host says {port}; leave out one of them")
        port = port or self.port
        name = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        return f"{parts.scheme}://{name}{f':{port}' if port else ''}{prefix}"

    def _check_host(self, scheme: str, name: str | None, example: str) -> None:
        if scheme not in {"http", "https"} or not name or not _HOST_SHAPE.fullmatch(name):
            raise self._error("host", f"is no http(s) URL; expected something like {example}")
        if scheme == "http" and not is_loopback(name):
            raise self._error(
                "host", f"uses http:// to {name}, where anyone on the way reads the key; use https://"
            )

    def extras(self, model: type[ExtrasT]) -> ExtrasT:
        """Return the extras, checked against ``model``, the allow-list."""
        given = {name: value for name, value in self.extra.items() if value not in (None, "")}
        try:
            return model.model_validate(given)
        except ValidationError as error:
            fault = error.errors(include_input=False, include_url=False)[0]
            if not fault["loc"]:
                # Of several extras together; pydantic puts the type of error before its text.
                raise self._error("extra", fault["msg"].partition(", ")[2] or fault["msg"]) from None
            name = str(fault["loc"][0])
            if fault["type"] == "extra_forbidden":
                known = ", ".join(model.model_fields)
                raise self._error("extra", f"{name!r} is not known; the names are {known}") from None
            raise self._error(f"extra[{name!r}]", fault["msg"][:1].lower() + fault["msg"][1:]) from None


class ConnectionExtras(BaseModel):
    """Extras that every vendor's connection knows. An unknown name is an error and never becomes a header."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    connect_timeout: float = Field(default=10.0, gt=0, le=300, allow_inf_nan=False)
    """Seconds to wait for a connection to the host."""
    read_timeout: float = Field(default=30.0, gt=0, le=600, allow_inf_nan=False)
    """Seconds for which the service may be silent before a request fails."""
    total_timeout: float = Field(default=120.0, gt=0, le=3600, allow_inf_nan=False)
    """Seconds for one request and its whole answer, however steadily it trickles."""
    max_attempts: int = Field(default=5, ge=1, le=20)
    """How often one request is sent at most, including the first time."""
    push: bool = False
    """Whether webhooks arrive for this connection, so that a wait polls as soon as one has come."""
    push_events: bool = False
    """Whether each webhook also gives the connection's asset an event, on which a DAG can be scheduled."""


@dataclass(frozen=True, slots=True)
class ConnectionConfig:
    """Where and how to call a service.

    :param service: the vendor's name, for messages.
    :param conn_id: the Airflow connection it was made from, for messages.
    :param base_url: scheme, host and path prefix, without a trailing slash.
    :param auth: the one header that carries the key; see :meth:`auth_for`. ``None`` without a key.
    """

    service: str
    conn_id: str
    base_url: str
    auth: tuple[str, str] | None = field(repr=False)
    secret: str = field(repr=False)
    extras: ConnectionExtras = field(default_factory=ConnectionExtras)

    def auth_for(self, request: Request) -> tuple[str, str] | None:
        """Return the one header that carries the key of ``request``.

        ``None`` where there is no key, or where the request goes to a host that the connection does not name.
        """
        if self.auth is None or not self._is_at_home(request):
            return None
        return (request.key_header, self.secret) if request.key_header else self.auth

    def _is_at_home(self, request: Request) -> bool:
        """Whether a request goes to the scheme, the host and the port of the connection."""
        return request.base_url is None or _origin(request.base_url) == _origin(self.base_url)

    @property
    def account(self) -> tuple[str, str, str]:
        """Who is called and with which key, without the key itself: what a rate limit belongs to."""
        digest = hashlib.sha256(self.secret.encode()).hexdigest()
        return self.service, self.base_url, digest

    @property
    def is_loopback(self) -> bool:
        """Whether the service is on this machine, as the sandbox is."""
        return is_loopback(urlsplit(self.base_url).hostname or "")

    def scrub(self, text: str) -> str:
        """Return ``text`` without the key, should the service have echoed it."""
        return text.replace(self.secret, "***") if self.secret else text


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return the IP address that ``name`` is, an IPv4 one that is written as IPv6 as the IPv4 one."""
    try:
        found = ipaddress.ip_address(name)
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found


def is_loopback(name: str) -> bool:
    """Whether what is sent to the host ``name`` never leaves this machine, so no one else can read it."""
    found = address(name)
    return name == "localhost" if found is None else found.is_loopback
