"""One way to send calls over either transport, so that each test runs over both."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Literal

from remote_tasks_provider.core.clocks import Clocks
from remote_tasks_provider.core.http.client import AsyncClient, Client
from remote_tasks_provider.core.http.connection import ConnectionConfig
from remote_tasks_provider.core.http.operation import Operation, Request, Response
from remote_tasks_provider.core.http.pagination import Pager
from remote_tasks_provider.core.http.response import Explain
from remote_tasks_provider.core.http.transport import HttpxTransport, RequestsTransport

__all__ = ["Over"]


@dataclass
class Over:
    """Sends over ``requests`` or ``httpx``; pauses are noted instead of slept through.

    :param pauses: the seconds that were to be slept between attempts.
    :param meanwhile: called during each pause, for things that happen in between.
    """

    library: Literal["requests", "httpx"]
    pauses: list[float] = field(default_factory=list)
    meanwhile: Callable[[], Any] = lambda: None

    def send(self, request: Request, config: ConnectionConfig, timeout: float | None = None) -> Response:
        """Send one request once."""
        if self.library == "requests":
            transport = RequestsTransport(config)
            try:
                return transport.send(request, timeout)
            finally:
                transport.close()

        async def send() -> Response:
            transport = HttpxTransport(config)
            try:
                return await transport.send(request, timeout)
            finally:
                await transport.aclose()

        return asyncio.run(send())

    def operation(
        self, operation: Operation[Any], config: ConnectionConfig, explain: Explain = lambda *_: None
    ) -> Any:
        """Send a call as a client does, repeats included."""

        async def send(client: AsyncClient) -> Any:
            return await client.send(operation)

        return self._with(config, explain, lambda client: client.send(operation), send)

    def calls(self, calls: list[Operation[Any]], config: ConnectionConfig) -> list[Any]:
        """Send one call after another over the same pool of connections, with a moment in between."""

        async def send(client: AsyncClient) -> list[Any]:
            found = []
            for operation in calls:
                found.append(await client.send(operation))
                await asyncio.sleep(0.05)
            return found

        def each(client: Client) -> list[Any]:
            found = []
            for operation in calls:
                found.append(client.send(operation))
                time.sleep(0.05)
            return found

        return self._with(config, lambda *_: None, each, send)

    def items(
        self,
        operation: Operation[Any],
        config: ConnectionConfig,
        explain: Explain = lambda *_: None,
        limit: int | None = None,
    ) -> list[Any]:
        """Walk a list to its end."""

        async def walk(client: AsyncClient) -> list[Any]:
            found: list[Any] = []
            pager = Pager(operation, limit)
            while pager.next_operation is not None:
                found += pager.accept(await client.send(pager.next_operation))
            return found

        return self._with(config, explain, lambda client: list(client.items(operation, limit)), walk)

    def _with(
        self,
        config: ConnectionConfig,
        explain: Explain,
        do: Callable[[Client], Any],
        ado: Callable[[AsyncClient], Coroutine[Any, Any, Any]],
    ) -> Any:
        if self.library == "requests":
            client = Client(config, RequestsTransport(config), explain, sleep=self._pause)
            try:
                return do(client)
            finally:
                client.close()

        async def run() -> Any:
            aclient = AsyncClient(config, HttpxTransport(config), explain, clocks=self._clocks)
            try:
                return await ado(aclient)
            finally:
                await aclient.aclose()

        return asyncio.run(run())

    @property
    def _clocks(self) -> Clocks:
        return Clocks(monotonic=lambda: sum(self.pauses), sleep=self._apause)

    def _pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.meanwhile()

    async def _apause(self, seconds: float) -> None:
        self._pause(seconds)
