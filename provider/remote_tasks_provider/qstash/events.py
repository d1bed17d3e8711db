"""How new dead letters are listed: the whole dead letter queue is read, as it cannot be sorted."""

from __future__ import annotations

import re
from typing import Any

from remote_tasks_provider.core.push.watch import Listing, Sighting, moment
from remote_tasks_provider.core.service import TaskType
from remote_tasks_provider.qstash.api import v2
from remote_tasks_provider.qstash.api.v2_models import DlqMessage
from remote_tasks_provider.qstash.service import QSTASH

__all__ = ["QSTASH_DEAD_LETTERS"]

# Milliseconds, then a number.
_DLQ_ID = re.compile(r"(\d{13})-\d+")


def _sight(message: DlqMessage) -> Sighting | None:
    if not message.dlq_id:
        return None
    # A message was created long before its last attempt failed; its id here is of that moment.
    placed = _DLQ_ID.fullmatch(message.dlq_id)
    at = int(placed[1]) / 1000 if placed else moment(message.created_at)
    return None if at is None else Sighting(message.dlq_id, at, _payload(message))


def _payload(message: DlqMessage) -> dict[str, Any]:
    known = message.to_json()
    names = ("dlq_id", "message_id", "url", "response_status", "created_at", "label", "queue_name")
    return {name: known[name] for name in names if name in known}


QSTASH_DEAD_LETTERS = TaskType(
    service=QSTASH,
    label="Dead letters of QStash",
    poll_strategy=lambda _config: Listing(lambda _since: v2.list_dlq_messages(()), _sight, is_sorted=False),
    has_page=False,
    has_bell=True,
)
