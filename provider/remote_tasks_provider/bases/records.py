"""What a task leaves for its later attempts: values in Airflow's task state store, from 3.3 on.

A request that must not be repeated has an intent before it and a note after it. Without an intent that is
kept, nothing may be sent; once something was sent, a note that cannot be kept must not hide it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.sdk import Context

__all__ = ["TaskRecord"]


class TaskRecord:
    """One value, or several numbered parts of it, as Airflow limits the size of each.

    :param key: its key in the store.
    :param log: where to say that a note could not be kept.
    """

    def __init__(self, context: Context, key: str, log: Any) -> None:
        self._store: Any = context.get("task_state_store")
        self._key = key
        self._log = log

    @property
    def is_kept(self) -> bool:
        """Whether there is a store, so that a later attempt will find it."""
        return self._store is not None

    def read(self, part: int | None = None) -> Any:
        """Return the value, ``None`` if there is none."""
        return None if self._store is None else self._store.get(self._place(part))

    def intend(self, value: Any, part: int | None = None) -> None:
        """Keep the value; what it announces may be done only then.

        :param value: of JSON's own types.
        :raises Exception: whatever the store raises.
        """
        if self._store is not None:
            self._store.set(self._place(part), value)

    def note(self, value: Any, part: int | None = None) -> None:
        """Keep the value of what has happened; where Airflow cannot, the log has it."""
        try:
            self.intend(value, part)
        except Exception:  # noqa: BLE001 - whatever the store raises, it has happened
            kept = json.dumps(value, default=str)
            self._log.exception("Airflow could not keep this in %r for later attempts: %s", self._key, kept)

    def _place(self, part: int | None) -> str:
        return self._key if part is None else f"{self._key}_{part}"
