"""Sends calls: the same few lines twice, once with ``await``. Everything they decide is decided elsewhere."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TypeVar

import tenacity

from remote_tasks_provider.core.answers import Explain, read_answer, used_up_for
from remote_tasks_provider.core.clocks import Clocks
from remote_tasks_provider.core.endpoint import Endpoint
from remote_tasks_provider.core.errors import RateLimitedError
from remote_tasks_provider.core.messages import Call, Page
from remote_tasks_provider.core.pacing import Pacer
from remote_tasks_provider.core.paging import PageWalk
from remote_tasks_provider.core.retry import RetryPolicy
from remote_tasks_provider.core.transport import AsyncTransport, Transport

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
        endpoint: Endpoint,
        transport: Transport,
        explain: Explain,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.endpoint = endpoint
        self._transport = transport
        self._explain = explain
        self._policy = RetryPolicy(max_attempts=endpoint.extras.max_attempts)
        self._sleep = sleep

    def send(self, call: Call[T]) -> T:
        """Return what ``call`` asks for, repeating it as :class:`~.retry.RetryPolicy` allows.

        :raises RemoteTaskError: the last attempt's error.
        """
        rules = self._policy.tenacity(call.replay, f"{self.endpoint.service} {call.endpoint}", self._sleep)
        answer: T = tenacity.Retrying(**rules)(self._attempt, call)
        return answer

    def _attempt(self, call: Call[T]) -> T:
        return read_answer(call, self._transport.send(call.request), self.endpoint, self._explain)

    def items(self, call: Call[Page[T]], limit: int | None = None) -> Iterator[T]:
        """Yield the items of a paged list; a page is read when its first item is asked for."""
        walk = PageWalk(call, limit)
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
        endpoint: Endpoint,
        transport: AsyncTransport,
        explain: Explain,
        pacer: Pacer | None = None,
        clocks: Clocks | None = None,
    ) -> None:
        self.endpoint = endpoint
        self._transport = transport
        self._explain = explain
        self._policy = RetryPolicy(max_attempts=endpoint.extras.max_attempts, patience=_PATIENCE)
        self._pacer = pacer or Pacer({})
        self._clocks = clocks or Clocks()

    async def send(self, call: Call[T]) -> T:
        """Like :meth:`Client.send`."""
        rules = self._policy.tenacity(
            call.replay, f"{self.endpoint.service} {call.endpoint}", self._clocks.sleep
        )
        return await tenacity.AsyncRetrying(**rules)(self._attempt, call)

    async def _attempt(self, call: Call[T]) -> T:
        while (pause := self._pacer.reserve(call.endpoint, self._clocks.monotonic())) > 0:
            if pause >= _WORTH_TELLING:
                log.info(
                    "%s %s: %.0f s of rest to keep the rate limit.",
                    self.endpoint.service,
                    call.endpoint,
                    pause,
                )
            await self._clocks.sleep(pause)
        try:
            response = await self._transport.send(call.request)
            if rest := used_up_for(response.headers, self._clocks.wall()):
                self._pacer.rest(rest, self._clocks.monotonic())
            return read_answer(call, response, self.endpoint, self._explain)
        except RateLimitedError as error:
            self._pacer.stop(error.retry_after or 1.0, self._clocks.monotonic())
            raise

    async def items(self, call: Call[Page[T]], limit: int | None = None) -> AsyncIterator[T]:
        """Like :meth:`Client.items`."""
        walk = PageWalk(call, limit)
        while walk.next_call is not None:
            for item in walk.accept(await self.send(walk.next_call)):
                yield item

    async def aclose(self) -> None:
        """Release the transport's connections."""
        await self._transport.aclose()
