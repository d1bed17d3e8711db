"""How a message is published once: a deduplication id for QStash, and a record for later attempts.

QStash remembers a deduplication id for ten minutes
(https://upstash.com/docs/qstash/features/deduplication). From Airflow 3.3 on the ids of the messages are also
kept in the task's state store, so that a later retry re-attaches to them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from remote_tasks_provider.bases.compat import first_try_number
from remote_tasks_provider.bases.origin import Origin
from remote_tasks_provider.qstash.api.v2_models import PublishedMessage
from remote_tasks_provider.qstash.dlq import DlqEntry, DlqPage, DlqPages

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator, Context

__all__ = ["StoredPages", "deduplication_id", "is_first_attempt", "recall", "remember"]

_RECORD = "qstash_messages"


def deduplication_id(task: BaseOperator, context: Context, part: str = "") -> str:
    """Return an id that is the same on every attempt of a task instance, and another after it was cleared.

    :param part: distinguishes several messages of one task.
    """
    ti: Any = context["ti"]
    names = (ti.dag_id, ti.run_id, ti.task_id, str(ti.map_index), str(first_try_number(context, task)), part)
    return f"af-{hashlib.sha256(chr(0).join(names).encode()).hexdigest()[:40]}"


def is_first_attempt(task: BaseOperator, context: Context) -> bool:
    """Whether no attempt came before, or a user has just cleared the task; for where nothing is recorded."""
    return Origin.of(context).attempt <= max(1, first_try_number(context, task))


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


class StoredPages(DlqPages):
    """The DLQ messages that a task retries or deletes, kept for its later attempts where Airflow can.

    :param key: what for.
    """

    def __init__(self, context: Context, log: Any, key: str = "qstash_dlq_retry") -> None:
        super().__init__()
        self._key = key
        self._store: Any = context.get("task_state_store")
        self._max_tries = Origin.of(context).max_tries
        self._log = log
        self._load()

    @property
    def remembers(self) -> bool:
        """Whether a later attempt will know them."""
        return self._store is not None

    def begin(self, entries: Sequence[DlqEntry]) -> None:
        """Note which DLQ messages are to be retried; a page a key, as Airflow limits the size of a value."""
        super().begin(entries)
        if self._store is not None:
            for number in range(len(self.pages)):
                self.save(number, is_intent=True)
            self._store.set(self._key, {"max_tries": self._max_tries, "pages": len(self.pages)})

    def _load(self) -> None:
        saved = self._store.get(self._key) if self._store is not None else None
        if isinstance(saved, dict) and saved.get("max_tries") == self._max_tries:
            self.is_resumed = True
            places = (f"{self._key}_{number}" for number in range(saved["pages"]))
            self.pages = [DlqPage.from_json(self._store.get(place)) for place in places]

    def save(self, number: int, *, is_intent: bool = False) -> None:
        """Note what became of a page's DLQ messages."""
        if self._store is None:
            return
        try:
            self._store.set(f"{self._key}_{number}", asdict(self.pages[number]))
        except Exception:
            if is_intent:
                raise
            self._log.exception("Airflow could not keep what became of these DLQ messages.")
