"""Sends operations: the same few lines twice, once with ``await``. What they decide is decided elsewhere."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import tenacity

from remote_tasks_provider.core.clocks import Clocks
from remote_tasks_provider.core.errors import ApiError, RateLimitedError
from remote_tasks_provider.core.http.connection import ConnectionConfig
from remote_tasks_provider.core.http.operation import Operation, Page, Response
from remote_tasks_provider.core.http.pagination import Pager
from remote_tasks_provider.core.http.rate_limit import RateLimiter
from remote_tasks_provider.core.http.response import Explain, read_response, used_up_for
from remote_tasks_provider.core.http.retry import RetryPolicy
from remote_tasks_provider.core.http.transport import HttpxTransport, RequestsTransport

__all__ = ["AsyncClient", "Client"]

T = TypeVar("T")

log = logging.getLogger(__name__)

# Pauses shorter than this many seconds are not mentioned in the log.
_LOGGED_PAUSE = 1.0
# On an event loop other waits queue behind a request. One that hung for its whole timeout is left to the next
# poll cycle.
_GIVE_UP_AFTER = 20.0


class _Sender:
    """What both clients have in common: everything but the sending itself."""

    def __init__(
        self,
        config: ConnectionConfig,
        explain: Explain,
        rate_limiter: RateLimiter,
        policy: RetryPolicy,
        clocks: Clocks,
    ) -> None:
        self.config = config
        self.rate_limiter = rate_limiter
        self._explain = explain
        self._policy = policy
        self._clocks = clocks

    def backs_off_for(self) -> float:
        """Return the seconds for which the service asked to be left alone; 0 when it did not."""
        return self.rate_limiter.backs_off_for(self._clocks.monotonic())

    def _label(self, operation: Operation[T]) -> str:
        return f"{self.config.service} {operation.name}"

    def _read(self, operation: Operation[T], response: Response) -> T:
        """Return the answer's value, and let the rate limiter know what the answer says about limits."""
        now = self._clocks.monotonic()
        if seconds := used_up_for(response.headers, self._clocks.wall()):
            self.rate_limiter.back_off(seconds, now)
        try:
            return read_response(operation, response, self.config, self._explain)
        except ApiError as error:
            refused = isinstance(error, RateLimitedError)
            # A 503 speaks for the service. What other errors ask for is about one operation.
            if refused or (error.status_code == 503 and error.retry_after):
                self.rate_limiter.back_off(error.retry_after or 1.0, now, refused=refused)
            raise


class Client(_Sender):
    """Sends operations and blocks meanwhile.

    It notes what the service says about limits, and does not pace its operations: a worker sends few.

    :param explain: what the vendor knows about error answers.
    :param sleep: waits between attempts.
    """

    def __init__(
        self,
        config: ConnectionConfig,
        transport: RequestsTransport,
        explain: Explain,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        policy = RetryPolicy(max_attempts=config.extras.max_attempts)
        clocks = Clocks(wall=time.time, monotonic=time.monotonic)
        super().__init__(config, explain, RateLimiter({}), policy, clocks)
        self._transport = transport
        self._sleep = sleep

    def send(self, operation: Operation[T]) -> T:
        """Return what ``operation`` asks for, repeating it as :class:`~.retry.RetryPolicy` allows.

        :raises RemoteTaskError: the last attempt's error.
        """
        rules = self._policy.tenacity(operation.idempotency, self._label(operation), self._sleep)
        answer: T = tenacity.Retrying(**rules)(self._attempt, operation)
        return answer

    def _attempt(self, operation: Operation[T]) -> T:
        return self._read(operation, self._transport.send(operation.request))

    def items(self, operation: Operation[Page[T]], limit: int | None = None) -> Iterator[T]:
        """Yield the items of a paged list; a page is read when its first item is asked for."""
        pager = Pager(operation, limit)
        while pager.next_operation is not None:
            yield from pager.accept(self.send(pager.next_operation))

    def close(self) -> None:
        """Release the transport's connections."""
        self._transport.close()


class AsyncClient(_Sender):
    """:class:`Client` for an event loop. It paces its operations, too.

    :param rate_limiter: gives each attempt its moment; shared by all that send on the account.
    """

    def __init__(
        self,
        config: ConnectionConfig,
        transport: HttpxTransport,
        explain: Explain,
        rate_limiter: RateLimiter | None = None,
        clocks: Clocks | None = None,
    ) -> None:
        policy = RetryPolicy(max_attempts=config.extras.max_attempts, give_up_after=_GIVE_UP_AFTER)
        super().__init__(config, explain, rate_limiter or RateLimiter({}), policy, clocks or Clocks())
        self._transport = transport

    async def send(self, operation: Operation[T]) -> T:
        """Like :meth:`Client.send`."""
        rules = self._policy.tenacity(operation.idempotency, self._label(operation), self._clocks.sleep)
        return await tenacity.AsyncRetrying(**rules)(self._attempt, operation)

    async def _attempt(self, operation: Operation[T]) -> T:
        while (pause := self.rate_limiter.reserve(operation.name, self._clocks.monotonic())) > 0:
            if pause >= _LOGGED_PAUSE:
                log.info("%s: waits %.0f s to keep the rate limit.", self._label(operation), pause)
            await self._clocks.sleep(pause)
        return self._read(operation, await self._transport.send(operation.request))

    async def aclose(self) -> None:
        """Release the transport's connections."""
        await self._transport.aclose()
