"""The provider's metrics, sent to where Airflow's metrics go; see ``docs/how-to/metrics.md``.

From the shared poller of a triggerer:

* ``remote_tasks.waits`` (gauge): how many tasks are waited for, by their state.
* ``remote_tasks.oldest_wait`` (gauge): seconds since the oldest wait began; 0 without any.
* ``remote_tasks.unanswered`` (gauge): seconds since the service last gave a good answer to a poll.
* ``remote_tasks.polls`` (counter): requests sent, retries and further pages included.
* ``remote_tasks.polls_saved`` (counter): how many more requests one request per task would have been.
* ``remote_tasks.bells`` (counter): webhooks that made the poller poll at once; those within two seconds count
  once.
* ``remote_tasks.wait_duration`` (timer, ms): how long a finished wait lasted, from its first attempt's start.

From every process, workers too:

* ``remote_tasks.calls`` (counter): requests sent, of whatever kind.
* ``remote_tasks.rate_limited`` (counter): those that were answered with 429.
* ``remote_tasks.credits`` (counter): what remote tasks have cost, counted when the operator that submitted
  them ends. An attempt that fails after that, and is retried, counts them again.

Tags:

* ``service``, on all: ``manus``, ``qstash`` or ``a2a``.
* ``operation``, on ``calls`` and ``rate_limited``: ``POST_v2_task_create``.
* ``outcome``, on ``wait_duration``: ``completed``, ``failed``, ``cancelled``, ``waiting`` (the task waited
  for an answer, and the wait was set to end then), ``timeout`` (``execution_timeout`` too) or ``error`` (a
  task could not be polled). For a wait with several ids it is the worst: ``error``, ``timeout``, ``failed``,
  ``cancelled``, ``waiting``, ``completed``, in this order.
* ``state``, on ``waits``: ``pending``, ``running``, ``waiting`` (for a person) or ``unknown`` (not read yet).
* ``task_type``, on the gauges: what is waited for, such as ``manus_task`` or ``qstash_message``.
* ``connection``, on the gauges: the id of the Airflow connection.
* ``host``, on the gauges: the triggerer. Sum ``waits`` over it.

Where tags are off, as with plain StatsD, their values are parts of the name, in the order service, outcome or
operation, task type, connection, state, host:
``remote_tasks.waits.manus.manus_task.manus_default.running.triggerer-1``.

A cancelled wait (task marked, task cleared, triggerer stopped) has not finished and is not counted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from airflow.providers.common.compat.sdk import Stats, conf
from airflow.utils.net import get_hostname

from remote_tasks_provider.core.polling.metrics import PollerName
from remote_tasks_provider.core.states import TaskState

__all__ = ["METRICS"]

_NOT_IN_NAMES = re.compile("[^A-Za-z0-9_-]+")


@cache
def _tags_are_on() -> bool:
    """Return whether the backend of the metrics gets their tags."""
    switches = ("statsd_influxdb_enabled", "statsd_datadog_enabled", "otel_on")
    return any(conf.getboolean("metrics", switch, fallback=False) for switch in switches)


def _send(how: Callable[..., Any], name: str, value: float, service: str, **tags: str) -> None:
    tags = {"service": service.lower(), **tags}
    values = {tag: _NOT_IN_NAMES.sub("_", text).strip("_") for tag, text in tags.items()}
    if _tags_are_on():
        how(f"remote_tasks.{name}", value, tags=values)
    else:
        how(".".join(["remote_tasks", name, *values.values()]), value)


class _AirflowMetrics:
    """Both kinds of metrics over Airflow's ``Stats``.

    It is a :class:`~remote_tasks_provider.core.polling.metrics.PollMetrics` and a
    :class:`~remote_tasks_provider.core.http.client.CallMetrics`.
    """

    def polled(self, poller: PollerName, *, calls: int, saved: int) -> None:
        _send(Stats.incr, "polls", calls, poller.service)
        _send(Stats.incr, "polls_saved", saved, poller.service)

    def heard(self, poller: PollerName) -> None:
        _send(Stats.incr, "bells", 1, poller.service)

    def waiting(
        self, poller: PollerName, *, states: Mapping[TaskState, int], oldest: float, unanswered: float
    ) -> None:
        which = {"task_type": poller.task_type.lower(), "connection": poller.connection}
        host = _host()
        for state, count in states.items():
            _send(Stats.gauge, "waits", count, poller.service, **which, state=state.value, host=host)
        _send(Stats.gauge, "oldest_wait", round(oldest), poller.service, **which, host=host)
        _send(Stats.gauge, "unanswered", round(unanswered), poller.service, **which, host=host)

    def finished(self, poller: PollerName, *, outcome: str, seconds: float) -> None:
        _send(Stats.timing, "wait_duration", seconds * 1000, poller.service, outcome=outcome)

    def called(self, service: str, operation: str) -> None:
        _send(Stats.incr, "calls", 1, service, operation=operation)

    def refused(self, service: str, operation: str) -> None:
        _send(Stats.incr, "rate_limited", 1, service, operation=operation)

    def spent(self, service: str, credits: int) -> None:
        """Count what a remote task has cost."""
        _send(Stats.incr, "credits", credits, service)


@cache
def _host() -> str:
    # Airflow's setting may name a function that asks the network each time.
    return str(get_hostname())


METRICS = _AirflowMetrics()
