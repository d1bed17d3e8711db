"""What is sent to where Airflow's metrics go: with tags, or with their values in the names."""

from __future__ import annotations

from typing import Any

import pytest

from remote_tasks_provider.bases import metrics
from remote_tasks_provider.core.polling.metrics import PollerName
from remote_tasks_provider.core.states import TaskState

POLLER = PollerName("Manus", "Manus task", "manus.of:ours")


class Stats:
    """Keeps what is sent."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, float, dict[str, str] | None]] = []

    def incr(self, name: str, value: float, tags: dict[str, str] | None = None) -> None:
        self.sent.append((name, value, tags))

    gauge = timing = incr


@pytest.fixture
def stats(monkeypatch: pytest.MonkeyPatch) -> Stats:
    found = Stats()
    monkeypatch.setattr(metrics, "Stats", found)
    monkeypatch.setattr(metrics, "_host", lambda: "worker-1.example.com")
    return found


def _send_all() -> None:
    metrics.METRICS.waiting(POLLER, states={TaskState.RUNNING: 3}, oldest=61.4, unanswered=2.6)
    metrics.METRICS.finished(POLLER, outcome="timeout", seconds=1.5)
    metrics.METRICS.called("QStash", "GET /v2/dlq/{dlqId}")
    metrics.METRICS.refused("QStash", "GET /v2/dlq/{dlqId}")
    metrics.METRICS.spent("Manus", 42)


def test_metrics_have_tags_where_tags_are_on(stats: Stats, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "_tags_are_on", lambda: True)
    _send_all()

    which = {"service": "manus", "task_type": "manus_task", "connection": "manus_of_ours"}
    host = {"host": "worker-1_example_com"}
    call = {"service": "qstash", "operation": "GET_v2_dlq_dlqId"}
    assert stats.sent == [
        ("remote_tasks.waits", 3, {**which, "state": "running", **host}),
        ("remote_tasks.oldest_wait", 61, {**which, **host}),
        ("remote_tasks.unanswered", 3, {**which, **host}),
        ("remote_tasks.wait_duration", 1500, {"service": "manus", "outcome": "timeout"}),
        ("remote_tasks.calls", 1, call),
        ("remote_tasks.rate_limited", 1, call),
        ("remote_tasks.credits", 42, {"service": "manus"}),
    ]


def test_metrics_carry_the_tags_in_their_names_where_tags_are_off(
    stats: Stats, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "_tags_are_on", lambda: False)
    _send_all()

    assert [(name, tags) for name, _, tags in stats.sent] == [
        ("remote_tasks.waits.manus.manus_task.manus_of_ours.running.worker-1_example_com", None),
        ("remote_tasks.oldest_wait.manus.manus_task.manus_of_ours.worker-1_example_com", None),
        ("remote_tasks.unanswered.manus.manus_task.manus_of_ours.worker-1_example_com", None),
        ("remote_tasks.wait_duration.manus.timeout", None),
        ("remote_tasks.calls.qstash.GET_v2_dlq_dlqId", None),
        ("remote_tasks.rate_limited.qstash.GET_v2_dlq_dlqId", None),
        ("remote_tasks.credits.manus", None),
    ]


@pytest.mark.parametrize(
    "switch", [None, "statsd_influxdb_enabled", "statsd_datadog_enabled", "otel_on"], ids=str
)
def test_tags_are_on_where_a_receiver_of_tags_is_set_up(
    switch: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if switch:
        monkeypatch.setenv(f"AIRFLOW__METRICS__{switch.upper()}", "True")
    found: Any = metrics._tags_are_on.__wrapped__
    assert found() is (switch is not None)
