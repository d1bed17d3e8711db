"""Calls the services' APIs: requests for hooks, httpx for triggers.

No other module opens a socket but :mod:`remote_tasks_provider.core.files.transfer`, which moves files and
must know no key.

Both send one request, follow no redirect (the key would go to the other host), read no ``.netrc`` (it would
replace the key), bound the time and the size, and say whether a failed request had been sent. Each library is
imported when its transport is made: a DAG file that is parsed needs neither.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import remote_tasks_provider
from remote_tasks_provider.core.errors import InvalidResponseError, TransportError
from remote_tasks_provider.core.http.connection import ConnectionConfig
from remote_tasks_provider.core.http.connection_errors import connection_failure
from remote_tasks_provider.core.http.operation import Request, Response

if TYPE_CHECKING:
    import requests

__all__ = ["HttpxTransport", "RequestsTransport", "plain_session"]

# A page of 1,000 tasks with long conversations fits; a runaway answer does not fill a worker's memory.
_MAX_BODY_BYTES = 128 * 1024 * 1024
_CHUNK_BYTES = 256 * 1024


class RequestsTransport:
    """Sends requests over one ``requests.Session`` and blocks meanwhile."""

    def __init__(self, config: ConnectionConfig) -> None:
        import requests

        self._failure = requests.RequestException
        self._config = config
        self._session = plain_session()
        self._session.headers.update(_headers(config))
        self._timeout = (config.extras.connect_timeout, config.extras.read_timeout)

    def send(self, request: Request) -> Response:
        """Send ``request``.

        :raises TransportError: when no whole response came.
        :raises InvalidResponseError: when the answer exceeds 128 MiB.
        """
        try:
            with self._session.request(
                request.method,
                request.url(self._config.base_url),
                json=request.json,
                data=request.content,
                headers=dict(request.headers),
                timeout=self._timeout,
                allow_redirects=False,
                stream=True,
            ) as answer:
                body = bytearray()
                for chunk in answer.iter_content(_CHUNK_BYTES):
                    body += chunk
                    _check_size(body, request, self._config)
                headers = {name.lower(): value for name, value in answer.headers.items()}
                return Response(answer.status_code, headers, bytes(body))
        except self._failure as error:
            raise _no_answer(request, self._config, error) from None

    def close(self) -> None:
        """Close the pooled connections."""
        self._session.close()


class HttpxTransport:
    """Sends requests over one ``httpx.AsyncClient``; belongs to the first event loop it meets."""

    def __init__(self, config: ConnectionConfig) -> None:
        import httpx

        self._failures = (httpx.HTTPError, httpx.InvalidURL)
        self._config = config
        self._client = httpx.AsyncClient(
            headers={**_headers(config), "User-Agent": _user_agent(f"httpx/{httpx.__version__}")},
            timeout=httpx.Timeout(config.extras.read_timeout, connect=config.extras.connect_timeout),
            follow_redirects=False,
        )

    async def send(self, request: Request) -> Response:
        """Send ``request``; raises like :meth:`RequestsTransport.send`."""
        try:
            async with self._client.stream(
                request.method,
                request.url(self._config.base_url),
                json=request.json,
                content=request.content,
                headers=dict(request.headers),
            ) as answer:
                body = bytearray()
                async for chunk in answer.aiter_bytes():
                    body += chunk
                    _check_size(body, request, self._config)
                headers = {name.lower(): value for name, value in answer.headers.items()}
                return Response(answer.status_code, headers, bytes(body))
        except self._failures as error:
            raise _no_answer(request, self._config, error) from None

    async def aclose(self) -> None:
        """Close the pooled connections."""
        await self._client.aclose()


def _check_size(body: bytearray, request: Request, config: ConnectionConfig) -> None:
    if len(body) > _MAX_BODY_BYTES:
        raise InvalidResponseError(
            f"{config.service} {request.place}: the answer exceeds {_MAX_BODY_BYTES >> 20} MiB and was "
            "dropped; ask for fewer items (page_size)."
        )


def _headers(config: ConnectionConfig) -> dict[str, str]:
    name, value = config.auth
    return {name: value, "Accept": "application/json", "Content-Type": "application/json"}


def _user_agent(library: str) -> str:
    return f"airflow-provider-remote-tasks/{remote_tasks_provider.__version__} {library}"


def plain_session() -> requests.Session:
    """Return a session that reads no credentials from ``.netrc`` and sees no redirect.

    Even with redirects off, requests would read a redirect's whole body and fail on a bad target.
    """
    import requests

    session = requests.Session()
    session.headers["User-Agent"] = _user_agent(f"requests/{requests.__version__}")
    session.auth = lambda request: request
    session.get_redirect_target = lambda resp: None  # type: ignore[method-assign] # noqa: ARG005
    return session


def _no_answer(request: Request, config: ConnectionConfig, error: Exception) -> TransportError:
    failure = connection_failure(
        error,
        connect_timeout=config.extras.connect_timeout,
        read_timeout=config.extras.read_timeout,
        scrub=config.scrub,
    )
    return TransportError(
        f"{config.service} {request.place}: no answer from {config.base_url} "
        f"({config.scrub(failure.reason)}). If this stays, check the host of connection {config.conn_id!r} "
        "and the network.",
        sent=failure.sent,
    )
