"""Sends operations: the same few lines twice, once with ``await``. What they decide is decided elsewhere."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Protocol, TypeVar

import tenacity

from remote_tasks_provider.core.clocks import Clocks
from remote_tasks_provider.core.errors import ApiError, RateLimitedError, RemoteTaskError, TransportError
from remote_tasks_provider.core.http.connection import ConnectionConfig
from remote_tasks_provider.core.http.operation import Idempotency, Operation, Page, Response, Steps
from remote_tasks_provider.core.http.pagination import Pager
from remote_tasks_provider.core.http.rate_limit import RateLimiter
from remote_tasks_provider.core.http.response import Explain, read_response, used_up_for
from remote_tasks_provider.core.http.retry import RetryPolicy
from remote_tasks_provider.core.http.transport import HttpxTransport, RequestsTransport

__all__ = ["AsyncClient", "CallMetrics", "Client"]

T = TypeVar("T")

log = logging.getLogger(__name__)

# The shortest time, in seconds, that a request gets to be answered in.
_LEAST_TIMEOUT = 1.0
# Pauses shorter than this many seconds are not mentioned in the log.
_LOGGED_PAUSE = 1.0
# On an event loop other waits queue behind a request. One that hung for its whole timeout, or that needs a
# long pause, is left to the next poll cycle.
_GIVE_UP_AFTER = 20.0
_PATIENCE = 10.0


class CallMetrics(Protocol):
    """Counts requests; see ``docs/how-to/metrics.md``."""

    def called(self, service: str, operation: str) -> None:
        """Count a request that is sent, a repeated one too."""

    def refused(self, service: str, operation: str) -> None:
        """Count a request that was answered with 429."""


class _Sender:
    """What both clients have in common: everything but the sending itself.

    :param rate_limiter: gives each attempt its moment; default the one of the account.
    :param metrics: counts the requests; default nothing does.
    """

    def __init__(
        self,
        config: ConnectionConfig,
        explain: Explain,
        rate_limiter: RateLimiter | None,
        policy: RetryPolicy,
        clocks: Clocks,
        metrics: CallMetrics | None,
    ) -> None:
        self.config = config
        self.rate_limiter = rate_limiter or RateLimiter({})
        self._explain = explain
        self._policy = policy
        self._clocks = clocks
        self._metrics = metrics
        self.calls = 0
        """How many requests were sent."""
        self.refused = 0
        """How many of them the service refused with 429."""

    @property
    def taken(self) -> int:
        """How many requests the service may have carried out, as it has not refused them with 429."""
        return self.calls - self.refused

    @property
    def longest_send(self) -> float:
        """Seconds after which :meth:`send` has returned at the latest, with everything it may repeat."""
        return self._policy.give_up_after + self.config.extras.total_timeout

    def backs_off_for(self) -> float:
        """Return the seconds for which the service asked to be left alone; 0 when it did not."""
        return self.rate_limiter.backs_off_for(self._clocks.monotonic())

    def _label(self, operation: Operation[T]) -> str:
        return f"{self.config.service} {operation.name}"

    def _pause(self, operation: Operation[T], patience: float) -> float:
        """Return the seconds to wait before the operation may be sent; 0 sends it.

        :param patience: the longest pause to wait here.
        :raises RateLimitedError: when that is too long to wait here.
        """
        now = self._clocks.monotonic()
        pause = self.rate_limiter.reserve(operation.name, now)
        if pause > patience:
            raise RateLimitedError(
                f"not sent for {pause:.0f} s, to keep the rate limit",
                status_code=429,
                retry_after=pause,
                endpoint=self._label(operation),
            )
        if pause >= _LOGGED_PAUSE:
            log.info("%s: waits %.0f s to keep the rate limit.", self._label(operation), pause)
        return pause

    def _count(self, operation: Operation[T]) -> None:
        self.calls += 1
        if self._metrics is not None:
            self._metrics.called(self.config.service, operation.name)

    def _read(self, operation: Operation[T], response: Response) -> T:
        """Return the answer's value, and let the rate limiter know what the answer says about limits."""
        now = self._clocks.monotonic()
        if seconds := used_up_for(response.headers, self._clocks.wall()):
            self.rate_limiter.back_off(seconds, now)
        try:
            value = read_response(operation, response, self.config, self._explain)
        except RateLimitedError as error:
            self.refused += 1
            if self._metrics is not None:
                self._metrics.refused(self.config.service, operation.name)
            self.rate_limiter.refuse(operation.name, error.retry_after, now)
            raise
        except ApiError as error:
            # A 503 speaks for the service. What other errors ask for is about one operation.
            if error.status_code == 503 and error.retry_after:
                self.rate_limiter.back_off(error.retry_after, now)
            raise
        self.rate_limiter.accepted(operation.name)
        return value


class Client(_Sender):
    """Sends operations and blocks meanwhile.

    It notes what the service says about limits. It paces an operation only where it is asked to: polls and
    cancellations, of which there may be many.

    :param explain: what the vendor knows about error answers.
    :param sleep: waits between attempts.
    """

    def __init__(
        self,
        config: ConnectionConfig,
        transport: RequestsTransport,
        explain: Explain,
        rate_limiter: RateLimiter | None = None,
        sleep: Callable[[float], None] | None = None,
        metrics: CallMetrics | None = None,
    ) -> None:
        policy = RetryPolicy(max_attempts=config.extras.max_attempts)
        clocks = Clocks(wall=time.time, monotonic=time.monotonic)
        super().__init__(config, explain, rate_limiter, policy, clocks, metrics)
        self._transport = transport
        self._sleep = sleep or time.sleep

    def send(self, operation: Operation[T], *, paced: bool = False, give_up_at: float | None = None) -> T:
        """Return what ``operation`` asks for, repeating it as :class:`~.retry.RetryPolicy` allows.

        :param paced: whether to wait for the rate limiter.
        :param give_up_at: when to have an answer at the latest; monotonic.
        :raises RemoteTaskError: the last attempt's error.
        """
        if operation.steps is not None:
            return self._walk(operation.steps(self.config), paced=paced, give_up_at=give_up_at)
        policy = self._policy
        if give_up_at is not None:
            left = max(0.0, give_up_at - self._clocks.monotonic())
            policy = replace(policy, give_up_after=min(left, policy.give_up_after))
        rules = policy.tenacity(operation.idempotency, self._label(operation), self._sleep)
        answer: T = tenacity.Retrying(**rules)(self._attempt, operation, paced, give_up_at)
        return answer

    def _walk(self, steps: Steps[T], *, paced: bool, give_up_at: float | None) -> T:
        answer: Any = None
        try:
            operation = next(steps)
            while True:
                try:
                    answer = self.send(operation, paced=paced, give_up_at=give_up_at)
                except RemoteTaskError as error:
                    operation = steps.throw(error)
                else:
                    operation = steps.send(answer)
        except StopIteration as done:
            value: T = done.value
            return value

    def _attempt(self, operation: Operation[T], paced: bool, give_up_at: float | None) -> T:
        def left() -> float:
            return float("inf") if give_up_at is None else give_up_at - self._clocks.monotonic()

        if paced:
            if left() <= 0:
                raise TransportError(f"{self._label(operation)}: not sent: no time is left.", sent=False)
            while (pause := self._pause(operation, min(self._policy.patience, left()))) > 0:
                self._sleep(pause)
        else:
            self.rate_limiter.note(operation.name, self._clocks.monotonic())
        timeout = None if give_up_at is None else max(_LEAST_TIMEOUT, left())
        self._count(operation)
        # A connection that was closed meanwhile would leave open whether a request that acts was sent.
        fresh = operation.idempotency is Idempotency.NOT_IDEMPOTENT
        return self._read(operation, self._transport.send(operation.request, timeout=timeout, fresh=fresh))

    def items(self, operation: Operation[Page[T]], limit: int | None = None) -> Iterator[T]:
        """Yield the items of a paged list; a page is read when its first item is asked for."""
        pager = Pager(operation, limit)
        while pager.next_operation is not None:
            yield from pager.accept(self.send(pager.next_operation))

    def close(self) -> None:
        """Release the transport's connections."""
        self._transport.close()


class AsyncClient(_Sender):
    """:class:`Client` for an event loop. It paces every operation."""

    def __init__(
        self,
        config: ConnectionConfig,
        transport: HttpxTransport,
        explain: Explain,
        rate_limiter: RateLimiter | None = None,
        clocks: Clocks | None = None,
        metrics: CallMetrics | None = None,
    ) -> None:
        policy = RetryPolicy(
            max_attempts=config.extras.max_attempts, give_up_after=_GIVE_UP_AFTER, patience=_PATIENCE
        )
        super().__init__(config, explain, rate_limiter, policy, clocks or Clocks(), metrics)
        self._transport = transport

    async def send(self, operation: Operation[T]) -> T:
        """Like :meth:`Client.send`."""
        if operation.steps is not None:
            return await self._walk(operation.steps(self.config))
        rules = self._policy.tenacity(operation.idempotency, self._label(operation), self._clocks.sleep)
        return await tenacity.AsyncRetrying(**rules)(self._attempt, operation)

    async def _walk(self, steps: Steps[T]) -> T:
        answer: Any = None
        try:
            operation = next(steps)
            while True:
                try:
                    answer = await self.send(operation)
                except RemoteTaskError as error:
                    operation = steps.throw(error)
                else:
                    operation = steps.send(answer)
        except StopIteration as done:
            value: T = done.value
            return value

    async def _attempt(self, operation: Operation[T]) -> T:
        while (pause := self._pause(operation, self._policy.patience)) > 0:
            await self._clocks.sleep(pause)
        self._count(operation)
        return self._read(operation, await self._transport.send(operation.request))

    async def aclose(self) -> None:
        """Release the transport's connections."""
        await self._transport.aclose()
