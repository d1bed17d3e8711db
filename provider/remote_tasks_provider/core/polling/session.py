"""What all polls over one connection share: the connection as it was last read, and the poll strategy.

A connection changes under a wait: keys are rotated, hosts and accounts replaced. So it is read again every
few minutes, and whenever the service says what a wrong connection would explain (401, 403, 404, a redirect):
such an error is delivered only when the connection is still the same. When it has changed, what was learnt is
dropped.

Pure: :meth:`PollSession.cycle` is a plan. Beside operations it yields :class:`ReadConnection` and
:class:`UseConnection`, and :mod:`.drivers` does the I/O.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Any

from remote_tasks_provider.core.errors import (
    ConnectionUnavailableError,
    InvalidResponseError,
    RemoteTaskError,
)
from remote_tasks_provider.core.http.connection import ConnectionConfig
from remote_tasks_provider.core.polling.strategy import (
    ConnectionStep,
    Plan,
    PollPlan,
    PollRequest,
    PollResult,
    PollResults,
    PollStrategy,
    relay,
)
from remote_tasks_provider.core.service import TaskType

__all__ = ["PollSession", "ReadConnection", "UseConnection"]

log = logging.getLogger(__name__)

# Seconds after which the connection is read again although nothing is wrong, and after a read that failed.
_READ_AGAIN_AFTER = 300.0
_RETRY_READ_AFTER = 60.0


class ReadConnection(ConnectionStep):
    """A step of a plan: read the connection; answered with its config, or with an error."""


@dataclass(frozen=True, slots=True)
class UseConnection(ConnectionStep):
    """A step of a plan: send the next operations over this connection; answered with ``None`` or an error."""

    config: ConnectionConfig


class PollSession:
    """The polls over one connection; used by one wait on a worker, and by all of a triggerer's.

    :param config: the connection, where it is in use already.
    """

    def __init__(self, task_type: TaskType, config: ConnectionConfig | None = None, now: float = 0.0) -> None:
        self._task_type = task_type
        self._config: ConnectionConfig | None = None
        self._strategy: PollStrategy | None = None
        self._read_again_at = now + _READ_AGAIN_AFTER
        if config is not None:
            self._adopt(config)

    def connect(self, now: float) -> Plan[None]:
        """Plan to read the connection early; what stands in the way is left to the first poll."""
        if self._config is None:
            yield from self._read(now)

    def cycle(self, request: PollRequest) -> PollPlan:
        """Plan one poll cycle, the care for the connection included."""
        before = self._config
        if self._config is None or request.now >= self._read_again_at:
            problem = yield from self._read(request.now)
            if problem is not None and self._config is None:
                yield dict.fromkeys(request.due, problem)
                return
            if problem is not None:
                log.warning(
                    "%s: the connection could not be read again, and is used as it was: %s",
                    self._task_type.service.name,
                    problem,
                )
        doubtful = yield from self._poll(request)
        if not doubtful:
            return
        config = self._config
        problem = yield from self._read(request.now)
        if problem is not None:
            doubtful = dict.fromkeys(doubtful, problem)
        elif self._config != config:
            due = [task_id for task_id in request.due if task_id in doubtful]
            again = replace(request, due=due or list(doubtful), free=())
            doubtful = yield from self._poll(again)
        if before is not None and self._config != before:
            # That the old connection has said the same proves nothing: the doubt begins with the next poll.
            doubtful = {task_id: _just_changed(error) for task_id, error in doubtful.items()}
        yield doubtful

    def _poll(self, request: PollRequest) -> Any:
        """Poll once; return the errors that another connection may explain, and deliver everything else."""
        assert self._strategy is not None  # noqa: S101 - set with the config
        doubtful: dict[str, PollResult] = {}
        covered: set[str] = set()

        def deliver(results: PollResults) -> PollResults:
            doubtful.update({task_id: one for task_id, one in results.items() if _is_doubtful(one)})
            covered.update(results)
            return {task_id: one for task_id, one in results.items() if not _is_doubtful(one)}

        try:
            yield from relay(self._strategy.plan(request), deliver)
        except Exception as error:  # not BaseException: a plan that is closed ends
            log.exception("%s: the poll failed by a fault of this provider.", self._task_type.service.name)
            fault = InvalidResponseError(f"the poll failed by a fault of this provider: {error!r}")
            yield {task_id: fault for task_id in request.due if task_id not in covered}
        return doubtful

    def _read(self, now: float) -> Any:
        """Read the connection, and use what has changed; return what stands in the way, if something does."""
        found = yield ReadConnection()
        self._read_again_at = now + _RETRY_READ_AFTER
        if isinstance(found, RemoteTaskError):
            return found
        if found != self._config:
            problem = yield UseConnection(found)
            if problem is not None:
                return problem
            if self._config is not None:
                log.info("%s: the connection has changed; the new one is used.", self._task_type.service.name)
            self._adopt(found)
        self._read_again_at = now + _READ_AGAIN_AFTER
        return None

    def _adopt(self, config: ConnectionConfig) -> None:
        """Use ``config``, and forget what was learnt: even another key may be another account's."""
        self._config = config
        self._strategy = self._task_type.poll_strategy(config)


def _just_changed(error: PollResult) -> RemoteTaskError:
    return ConnectionUnavailableError(f"the connection has just changed; over the new one: {error}")


def _is_doubtful(result: PollResult) -> bool:
    return isinstance(result, RemoteTaskError) and not result.retry_helps
