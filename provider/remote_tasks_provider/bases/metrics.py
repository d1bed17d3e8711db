"""The shared poller's metrics, sent to where Airflow's metrics go; see ``docs/how-to/metrics.md``.

* ``remote_tasks.polls`` (counter): requests sent, retries and further pages included.
* ``remote_tasks.polls_saved`` (counter): how many more requests one request per task would have been.
* ``remote_tasks.waits`` (gauge): waits of the poller that polled last; 0 when its last wait has left.
* ``remote_tasks.rate_limited`` (counter): requests answered with 429; sent only if there are any.
* ``remote_tasks.bells`` (counter): webhooks that made the poller poll at once; those within two seconds count
  once.
* ``remote_tasks.wait_duration`` (timer, ms): how long a finished wait lasted, from its first attempt's start.

Tags:

* ``service``, on all: ``manus`` or ``qstash``.
* ``outcome``, on ``wait_duration``: ``completed``, ``failed``, ``cancelled``, ``waiting`` (the task waited
  for an answer, and the wait was set to end then), ``timeout`` (``execution_timeout`` too) or ``error`` (a
  task could not be polled). For a wait with several ids it is the worst: ``error``, ``timeout``, ``failed``,
  ``cancelled``, ``waiting``, ``completed``, in this order.

A cancelled wait (task marked, task cleared, triggerer stopped) has not finished and is not counted.
"""

from __future__ import annotations

from airflow.providers.common.compat.sdk import Stats

__all__ = ["METRICS"]


class _AirflowMetrics:
    """A :class:`~remote_tasks_provider.core.polling.metrics.PollMetrics` over Airflow's ``Stats``."""

    def polled(self, service: str, *, waits: int, calls: int, saved: int, rate_limited: int) -> None:
        tags = {"service": service.lower()}
        Stats.incr("remote_tasks.polls", calls, tags=tags)
        Stats.incr("remote_tasks.polls_saved", saved, tags=tags)
        Stats.gauge("remote_tasks.waits", waits, tags=tags)
        if rate_limited:
            Stats.incr("remote_tasks.rate_limited", rate_limited, tags=tags)

    def emptied(self, service: str) -> None:
        Stats.gauge("remote_tasks.waits", 0, tags={"service": service.lower()})

    def heard(self, service: str) -> None:
        Stats.incr("remote_tasks.bells", 1, tags={"service": service.lower()})

    def finished(self, service: str, *, outcome: str, seconds: float) -> None:
        Stats.timing(
            "remote_tasks.wait_duration",
            seconds * 1000,
            tags={"service": service.lower(), "outcome": outcome},
        )


METRICS = _AirflowMetrics()
