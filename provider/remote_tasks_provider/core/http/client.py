"""Sends calls: the same few lines twice, once with ``await``. Everything they decide is decided elsewhere."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TypeVar

import tenacity

from remote_tasks_provider.core.clocks import Clocks
from remote_tasks_provider.core.errors import RateLimitedError
from remote_tasks_provider.core.http.connection import ConnectionConfig
from remote_tasks_provider.core.http.operation import Operation, Page
from remote_tasks_provider.core.http.pagination import Pager
from remote_tasks_provider.core.http.rate_limit import RateLimiter
from remote_tasks_provider.core.http.response import Explain, read_response, used_up_for
from remote_tasks_provider.core.http.retry import RetryPolicy
from remote_tasks_provider.core.http.transport import AsyncTransport, Transport

__all__ = ["AsyncClient", "Client"]

T = TypeVar("T")

log = logging.getLogger(__name__)

# Rests shorter than this many seconds are not mentioned in the log.
_WORTH_TELLING = 1.0
# On an event loop other waits stand behind a request. One that hung for its whole timeout is left to the next
# look.
_PATIENCE = 20.0


class Client:
    """Sends calls and blocks meanwhile.

    :param explain: what the vendor knows about error answers.
    :param sleep: waits between attempts.
    """

    def __init__(
        self,
        config: ConnectionConfig,
        transport: Transport,
        explain: Explain,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.config = config
        self._transport = transport
        self._explain = explain
        self._policy = RetryPolicy(max_attempts=config.extras.max_attempts)
        self._sleep = sleep

    def send(self, operation: Operation[T]) -> T:
        """Return what ``call`` asks for, repeating it as :class:`~.retry.RetryPolicy` allows.

        :raises RemoteTaskError: the last attempt's error.
        """
        rules = self._policy.tenacity(
            operation.idempotency, f"{self.config.service} {operation.name}", self._sleep
        )
        answer: T = tenacity.Retrying(**rules)(self._attempt, operation)
        return answer

    def _attempt(self, operation: Operation[T]) -> T:
        return read_response(operation, self._transport.send(operation.request), self.config, self._explain)

    def items(self, operation: Operation[Page[T]], limit: int | None = None) -> Iterator[T]:
        """Yield the items of a paged list; a page is read when its first item is asked for."""
        walk = Pager(operation, limit)
        while walk.next_call is not None:
            yield from walk.accept(self.send(walk.next_call))

    def close(self) -> None:
        """Release the transport's connections."""
        self._transport.close()


class AsyncClient:
    """:class:`Client` for an event loop.

    :param pacer: gives each attempt its moment; shared by all that send on the account.
    """

    def __init__(
        self,
        config: ConnectionConfig,
        transport: AsyncTransport,
        explain: Explain,
        rate_limiter: RateLimiter | None = None,
        clocks: Clocks | None = None,
    ) -> None:
        self.config = config
        self._transport = transport
        self._explain = explain
        self._policy = RetryPolicy(max_attempts=config.extras.max_attempts, patience=_PATIENCE)
        self._rate_limiter = rate_limiter or RateLimiter({})
        self._clocks = clocks or Clocks()

    async def send(self, operation: Operation[T]) -> T:
        """Like :meth:`Client.send`."""
        rules = self._policy.tenacity(
            operation.idempotency, f"{self.config.service} {operation.name}", self._clocks.sleep
        )
        return await tenacity.AsyncRetrying(**rules)(self._attempt, operation)

    async def _attempt(self, operation: Operation[T]) -> T:
        while (pause := self._rate_limiter.reserve(operation.name, self._clocks.monotonic())) > 0:
            if pause >= _WORTH_TELLING:
                log.info(
                    "%s %s: %.0f s of rest to keep the rate limit.",
                    self.config.service,
                    operation.name,
                    pause,
                )
            await self._clocks.sleep(pause)
        try:
            response = await self._transport.send(operation.request)
            if rest := used_up_for(response.headers, self._clocks.wall()):
                self._rate_limiter.rest(rest, self._clocks.monotonic())
            return read_response(operation, response, self.config, self._explain)
        except RateLimitedError as error:
            self._rate_limiter.stop(error.retry_after or 1.0, self._clocks.monotonic())
            raise

    async def items(self, operation: Operation[Page[T]], limit: int | None = None) -> AsyncIterator[T]:
        """Like :meth:`Client.items`."""
        walk = Pager(operation, limit)
        while walk.next_call is not None:
            for item in walk.accept(await self.send(walk.next_call)):
                yield item

    async def aclose(self) -> None:
        """Release the transport's connections."""
        await self._transport.aclose()
