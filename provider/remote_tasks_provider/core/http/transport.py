"""Calls the services' APIs: requests for hooks, httpx for triggers.

No other module opens a socket but :mod:`remote_tasks_provider.core.files.transfer`, which moves files and
must know no key.

Both send one request, follow no redirect (the key would go to the other host), read no ``.netrc`` (it would
replace the key), take proxy and certificates from one function, bound the time and the size, and say whether
a failed request had been sent. Each library is imported when its transport is made: a DAG file that is parsed
needs neither.
"""

from __future__ import annotations

import asyncio
from typing import Any

import remote_tasks_provider
from remote_tasks_provider.core.errors import InvalidResponseError, TransportError
from remote_tasks_provider.core.http import events
from remote_tasks_provider.core.http.connection import ConnectionConfig
from remote_tasks_provider.core.http.connection_errors import failure_reason, through
from remote_tasks_provider.core.http.environment import network_settings
from remote_tasks_provider.core.http.operation import Request, Response

__all__ = ["HttpxTransport", "RequestsTransport", "user_agent"]

# A page of 1,000 tasks with long conversations fits; a runaway answer does not fill a worker's memory.
_MAX_BODY_BYTES = 128 * 1024 * 1024
_CHUNK_BYTES = 256 * 1024


class _Transport:
    """What both transports have in common: everything but the sending itself."""

    def __init__(self, config: ConnectionConfig) -> None:
        self._config = config
        self._settings = network_settings(config.base_url)
        self._headers = {"Accept": "application/json"}

    def _own_headers(self, request: Request) -> dict[str, str]:
        """Return the headers of ``request`` beside those that all have.

        A body that is sent as it is has the content type that its request names, or none.
        """
        content_type = () if request.content is not None else (("Content-Type", "application/json"),)
        key = self._config.auth_for(request)
        return dict((*content_type, *((key,) if key else ()), *request.headers))

    def _seconds(self, request: Request, timeout: float | None) -> float:
        """Return the total time for ``request``."""
        total = self._config.extras.total_timeout
        if timeout is not None and timeout <= 0:
            raise self._lost(request, "there was no time left for it", sent=False)
        return total if timeout is None else min(timeout, total)

    def _add(self, chunk: bytes, body: bytearray, request: Request) -> None:
        body += chunk
        if len(body) > _MAX_BODY_BYTES:
            raise InvalidResponseError(
                f"{self._config.service} {request.place}: the answer exceeds {_MAX_BODY_BYTES >> 20} MiB and "
                "was dropped; ask for fewer items (page_size)."
            )

    def _reason(self, error: Exception, sent: bool | None, seconds: float) -> str:
        return failure_reason(error, self._settings, sent=sent, seconds=seconds, scrub=self._scrub)

    def _overrun(self, seconds: float, sent: bool | None) -> str:
        if sent is False:
            return f"no connection within {seconds:g} s"
        own = " (total_timeout)" if seconds == self._config.extras.total_timeout else ""
        return f"no whole answer within {seconds:g} s{own}"

    def _lost(self, request: Request, reason: str, *, sent: bool | None) -> TransportError:
        config, proxy = self._config, self._settings.proxy
        checks = f"{proxy.variable}, " if proxy else ""
        return TransportError(
            f"{config.service} {request.place}: no answer from {request.base_url or config.base_url}"
            f"{through(self._settings)} ({self._scrub(reason)}). If this stays, check {checks}the host of "
            f"connection {config.conn_id!r} and the network.",
            sent=sent,
        )

    def _scrub(self, text: str) -> str:
        proxy = self._settings.proxy
        return self._config.scrub(proxy.scrub(text) if proxy else text)


class RequestsTransport(_Transport):
    """Sends requests over one ``requests.Session`` and blocks meanwhile.

    :raises ConnectionConfigError: the machine's proxy or certificates cannot be used.
    """

    def __init__(self, config: ConnectionConfig) -> None:
        super().__init__(config)
        from remote_tasks_provider.core.http import session

        self._library = session
        self._session = session.make_session(self._settings, user_agent())
        self._session.headers.update(self._headers)

    def send(self, request: Request, timeout: float | None = None, *, fresh: bool = False) -> Response:
        """Send ``request``.

        :param timeout: seconds for all of it, should that be less than the extra ``total_timeout``. Resolving
            the host's name is not bounded, as Python cannot interrupt it.
        :param fresh: over a new connection, not over one that the service may have closed while it was idle.
        :raises TransportError: when no whole response came.
        :raises InvalidResponseError: when the answer exceeds 128 MiB.
        """
        seconds = self._seconds(request, timeout)
        connect = min(self._config.extras.connect_timeout, seconds)
        if fresh:
            self._session.close()
        with self._library.attempt(seconds) as attempt:
            try:
                answer = self._exchange(request, connect)
            except self._library.FAILURES as error:
                limit = connect if attempt.sent is False else self._config.extras.read_timeout
                reason = self._reason(error, attempt.sent, limit)
            else:
                # A body whose length nobody announced ends where the connection is shut.
                if not attempt.overran:
                    return answer
            if attempt.overran:
                reason = self._overrun(seconds, attempt.sent)
            raise self._lost(request, reason, sent=attempt.sent)

    def _exchange(self, request: Request, connect_timeout: float) -> Response:
        with self._session.request(
            request.method,
            request.url(self._config.base_url),
            json=request.json,
            data=request.content,
            headers=self._own_headers(request),
            timeout=(connect_timeout, self._config.extras.read_timeout),
            allow_redirects=False,
            stream=True,
        ) as answer:
            headers = {name.lower(): value for name, value in answer.headers.items()}
            is_stream = request.only_first_event and events.is_stream(headers)
            # Where no length is announced, a longer chunk would be waited for.
            size = 1 if is_stream and not answer.raw.chunked else _CHUNK_BYTES
            body = bytearray()
            for chunk in answer.iter_content(size):
                self._add(chunk, body, request)
                if is_stream and (event := _first_event(body, chunk)) is not None:
                    return Response(answer.status_code, headers, event)
            return Response(answer.status_code, headers, bytes(body))

    def close(self) -> None:
        """Close the pooled connections."""
        self._session.close()


class HttpxTransport(_Transport):
    """Sends requests over one ``httpx.AsyncClient``; belongs to the first event loop it meets.

    :raises ConnectionConfigError: the machine's proxy or certificates cannot be used.
    """

    def __init__(self, config: ConnectionConfig) -> None:
        super().__init__(config)
        import httpx

        proxy, context = self._settings.proxy, self._settings.ssl_context
        self._failures: tuple[type[Exception], ...] = (TimeoutError, httpx.HTTPError, httpx.InvalidURL)
        if proxy and proxy.is_socks:
            from socksio import SOCKSError

            self._failures += (SOCKSError,)  # httpx lets it through
        self._connect_timeout = httpx.ConnectTimeout
        self._client = httpx.AsyncClient(
            headers={**self._headers, "User-Agent": f"{user_agent()} httpx/{httpx.__version__}"},
            timeout=httpx.Timeout(config.extras.read_timeout, connect=config.extras.connect_timeout),
            # httpx counts a connection whose handshake failed behind a proxy for ever.
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=20),
            follow_redirects=False,
            trust_env=False,
            verify=context,
            proxy=None
            if proxy is None
            else httpx.Proxy(proxy.url, ssl_context=context if proxy.url.startswith("https:") else None),
        )

    async def send(self, request: Request, timeout: float | None = None) -> Response:  # noqa: ASYNC109
        """Send ``request``; like :meth:`RequestsTransport.send`."""
        seconds, progress = self._seconds(request, timeout), _Progress()
        extras = self._config.extras
        try:
            async with asyncio.timeout(seconds) as limit:
                return await self._exchange(request, progress)
        except self._failures as error:
            if limit.expired():
                reason = self._overrun(seconds, progress.sent)
            else:
                is_connecting = isinstance(error, self._connect_timeout)
                silence = extras.connect_timeout if is_connecting else extras.read_timeout
                reason = self._reason(error, progress.sent, silence)
            raise self._lost(request, reason, sent=progress.sent) from None
        finally:
            await progress.end()

    async def _exchange(self, request: Request, progress: _Progress) -> Response:
        async with self._client.stream(
            request.method,
            request.url(self._config.base_url),
            json=request.json,
            content=request.content,
            headers=self._own_headers(request),
            extensions={"trace": progress.note},
        ) as answer:
            headers = {name.lower(): value for name, value in answer.headers.items()}
            is_stream = request.only_first_event and events.is_stream(headers)
            body = bytearray()
            async for chunk in answer.aiter_bytes():
                self._add(chunk, body, request)
                if is_stream and (event := _first_event(body, chunk)) is not None:
                    return Response(answer.status_code, headers, event)
            return Response(answer.status_code, headers, bytes(body))

    async def aclose(self) -> None:
        """Close the pooled connections."""
        await self._client.aclose()


def _first_event(body: bytearray, chunk: bytes) -> bytes | None:
    """Return the data of the first event of a stream, if a chunk may have brought its end."""
    return events.first_event(bytes(body)) if b"\n" in chunk or b"\r" in chunk else None


class _Progress:
    """How far a request of httpx is; ``sent`` is ``False`` while it has provably not left."""

    _CONNECTING = frozenset({"connect_tcp", "start_tls", "setup_socks5_connection"})

    def __init__(self) -> None:
        self.sent: bool | None = None
        self._stream: Any = None

    async def note(self, event: str, info: dict[str, Any]) -> None:
        """Take an event of httpcore, such as ``http11.send_request_headers.started``."""
        *_, step, stage = event.split(".")
        if step == "connect_tcp" and stage == "complete":
            self._stream = info["return_value"]
        # Cleaning up says nothing. What is not known to come before the request counts as after it.
        if stage == "started" and step != "response_closed":
            to_proxy = "request" in info and info["request"].method == b"CONNECT"
            self.sent = False if step in self._CONNECTING or to_proxy else None

    async def end(self) -> None:
        """Close a connection that was not made to the end; httpx forgets it where a proxy is concerned."""
        if self.sent is False and self._stream is not None:
            await self._stream.aclose()


def user_agent() -> str:
    """Return the name of this provider as services see it."""
    return f"airflow-provider-remote-tasks/{remote_tasks_provider.__version__}"
