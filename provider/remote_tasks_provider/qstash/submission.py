"""How a message is published once: a deduplication id for QStash, and a record for later attempts.

QStash remembers a deduplication id for ten minutes
(https://upstash.com/docs/qstash/features/deduplication). From Airflow 3.3 on the ids of the messages are also
kept in the task's state store, so that a later retry re-attaches to them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from remote_tasks_provider.bases.compat import first_try_number
from remote_tasks_provider.qstash.api.v2_models import PublishedMessage

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator, Context

__all__ = ["deduplication_id", "recall", "remember"]

_RECORD = "qstash_messages"


def deduplication_id(task: BaseOperator, context: Context, part: str = "") -> str:
    """Return an id that is the same on every attempt of a task instance, and another after it was cleared.

    :param part: distinguishes several messages of one task.
    """
    ti: Any = context["ti"]
    names = (ti.dag_id, ti.run_id, ti.task_id, str(ti.map_index), str(first_try_number(context, task)), part)
    return f"af-{hashlib.sha256(chr(0).join(names).encode()).hexdigest()[:40]}"


def remember(task: BaseOperator, context: Context, messages: Sequence[PublishedMessage]) -> None:
    """Keep the messages for later attempts, where Airflow can."""
    store: Any = context.get("task_state_store")
    if store is not None and messages and task.retries:
        records = [{"message_id": message.message_id, "url": message.url} for message in messages]
        store.set(_RECORD, {"first_try": first_try_number(context, task), "messages": records})


def recall(task: BaseOperator, context: Context) -> list[PublishedMessage]:
    """Return the messages that an earlier attempt has published, since the task was last cleared."""
    store: Any = context.get("task_state_store")
    saved = store.get(_RECORD) if store is not None else None
    if not isinstance(saved, dict) or saved.get("first_try") != first_try_number(context, task):
        return []
    task.log.info("An earlier attempt has published the messages; re-attaching to them.")
    return [
        PublishedMessage(record["message_id"], deduplicated=True, url=record["url"])
        for record in saved["messages"]
    ]
