"""What the poll loop counts, sent to where Airflow's metrics go; see ``docs/metrics.md``."""

from __future__ import annotations

from airflow.providers.common.compat.sdk import Stats

__all__ = ["METRICS"]


class _AirflowMetrics:
    """A :class:`~remote_tasks_provider.core.polling.shared.PollMetrics` over Airflow's ``Stats``."""

    def looked(
        self, service: str, *, waits: int, told: int, calls: int, saved: int, rate_limited: int
    ) -> None:
        """Count one look of a group."""
        tags = {"service": service.lower()}
        Stats.incr("remote_tasks.polls", calls, tags=tags)
        Stats.incr("remote_tasks.polls_saved", saved, tags=tags)
        Stats.gauge("remote_tasks.waits", waits, tags=tags)
        if rate_limited:
            Stats.incr("remote_tasks.rate_limited", rate_limited, tags=tags)

    def ended(self, service: str, *, outcome: str, seconds: float) -> None:
        """Count one wait that ended."""
        Stats.timing(
            "remote_tasks.wait_duration",
            seconds * 1000,
            tags={"service": service.lower(), "outcome": outcome},
        )


METRICS = _AirflowMetrics()
