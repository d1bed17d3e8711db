"""The settings of the emulated QStash."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

from remote_tasks_sandbox.settings import Secret, Settings

__all__ = ["QStashSettings"]

StringField = Literal["maxRetry", "retried", "lastErrorAt"]


@dataclass
class QStashSettings(Settings):
    """What can be changed while the sandbox runs."""

    endpoints: ClassVar = {
        **dict.fromkeys(("qstash.task", "qstash.message_tasks", "qstash.publish", "qstash.messages")),
        **dict.fromkeys(("qstash.logs", "qstash.dlq", "qstash.schedules", "qstash.queues")),
        **dict.fromkeys(("qstash.topics", "qstash.flow_control", "qstash.keys")),
        "qstash.workflows": None,
    }

    qstash_token: Secret = "sandbox-token"  # noqa: S105 - the published default
    qstash_read_only_token: Secret = "sandbox-read-only-token"  # noqa: S105 - the published default
    qstash_foreign_token: Secret = "sandbox-us-token"  # noqa: S105 - the published default
    wrong_region: bool = False
    region: str = "eu-central-1"
    cursor_end: Literal["absent", None, 0, "0", ""] = "absent"
    qstash_string_fields: tuple[StringField, ...] = get_args(StringField)
    qstash_plan: Literal["free", "payg"] = "free"
    qstash_deliver: bool = True
    qstash_retry_seconds: float | None = 1.0
    qstash_cancel_seconds: float | None = 0.0
    qstash_ignores_cancel_count: bool = False
    qstash_log_lag: float = 0.0
    qstash_log_retention: float = 3 * 86400.0
    qstash_dlq_retention: float = 3 * 86400.0
    qstash_logs_key: Literal["events", "logs"] = "events"
    qstash_cancelled_word: Literal["CANCELLED", "CANCELED"] = "CANCELLED"
    qstash_lower_case_states: bool = False
    qstash_times_as_strings: bool = False
    qstash_groups_as_object: bool = False
    qstash_burst_limit: int | None = None
    qstash_daily_limit: int | None = None
    qstash_current_signing_key: str = "sig_sandboxCurrent00000000000000000"
    qstash_next_signing_key: str = "sig_sandboxNext00000000000000000000"
