"""Runs a vendor's poll plans against the sandbox over real sockets, and records the calls of each."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable
from types import TracebackType
from typing import Any, Literal

from remote_tasks_provider.core.errors import RemoteTaskError
from remote_tasks_provider.core.http.client import AsyncClient, Client
from remote_tasks_provider.core.http.connection import ConnectionFields
from remote_tasks_provider.core.http.rate_limit import RateLimiter
from remote_tasks_provider.core.http.transport import HttpxTransport, RequestsTransport
from remote_tasks_provider.core.polling.drivers import arun_plan, run_plan
from remote_tasks_provider.core.polling.strategy import PollRequest, PollResult, PollResults
from remote_tasks_provider.core.service import TaskType
from remote_tasks_provider.core.states import TaskSnapshot
from remote_tasks_sandbox import RequestRecord, Sandbox

__all__ = ["PollDriver", "word"]


class PollDriver:
    """One poll strategy and one client.

    :param driver: ``run_plan`` as a worker does, or ``arun_plan`` as a triggerer does.
    :param extras: the connection's.
    """

    def __init__(
        self,
        driver: Literal["run_plan", "arun_plan"],
        task_type: TaskType,
        url: str,
        key: str,
        sandbox: Sandbox,
        **extras: Any,
    ) -> None:
        extras = {"connect_timeout": 2, "read_timeout": 5, "max_attempts": 1} | extras
        service = task_type.service
        config = service.config(ConnectionFields("my_conn", host=url, password=key, extra=extras))
        self.strategy: Any = task_type.poll_strategy(config)
        self.sandbox = sandbox
        self.calls: list[RequestRecord] = []
        self.deliveries: list[dict[str, PollResult]] = []
        self.now = 0.0
        """Seconds of the monotonic clock; a test lets them pass."""
        self._runner = asyncio.Runner() if driver == "arun_plan" else None
        if self._runner:
            self._aclient = AsyncClient(config, HttpxTransport(config), service.explain)
        else:
            self._client = Client(config, RequestsTransport(config), service.explain)

    def __call__(
        self, due: Iterable[str], free: Collection[str] = (), in_detail: Collection[str] | None = None
    ) -> PollResults:
        """Poll once; :attr:`calls` are the calls that took, :attr:`deliveries` what came together.

        :param in_detail: default all tasks.
        """
        before = self.sandbox.journal.total
        due = list(due)
        wanted = [*due, *free] if in_detail is None else in_detail
        time = self.sandbox.clock.now()
        plan = self.strategy.plan(PollRequest(due, free, wanted, self.now, time))
        self.deliveries = []
        results: dict[str, PollResult] = {}

        def deliver(delivered: PollResults) -> None:
            self.deliveries.append(dict(delivered))
            results.update(delivered)

        if self._runner:

            async def adeliver(delivered: PollResults) -> None:
                deliver(delivered)

            self._runner.run(arun_plan(plan, self._aclient.send, deliver=adeliver))
        else:
            run_plan(plan, self._client.send, deliver=deliver)
        self.calls = self.sandbox.journal.last(self.sandbox.journal.total - before)[::-1]
        return results

    def words(
        self, due: Iterable[str], free: Collection[str] = (), in_detail: Collection[str] | None = None
    ) -> dict[str, str]:
        """Poll once; return the results as words."""
        return {task_id: word(result) for task_id, result in self(due, free, in_detail).items()}

    @property
    def rate_limiter(self) -> RateLimiter:
        """The rate limiter of the calls."""
        return self._aclient.rate_limiter if self._runner else self._client.rate_limiter

    @property
    def asked(self) -> list[str]:
        """The paths of the last poll's calls, without the vendor."""
        return [record.path.partition("/v1/")[2] for record in self.calls]

    def __enter__(self) -> PollDriver:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._runner:
            self._runner.run(self._aclient.aclose())
            self._runner.close()
        else:
            self._client.close()


def word(result: PollResult) -> str:
    """Return a state, the name of an error, or ``unchanged``."""
    if isinstance(result, TaskSnapshot):
        return result.state.value
    return type(result).__name__ if isinstance(result, RemoteTaskError) else result.value
