"""Notifying workflow runs of an event once; see :mod:`remote_tasks_provider.bases.once`."""

from __future__ import annotations

from typing import Any

from remote_tasks_provider.core.errors import NotFoundError
from remote_tasks_provider.qstash.api.workflow_models import NotifiedRun
from remote_tasks_provider.qstash.hooks import QStashHook

__all__ = ["Notification"]


class Notification:
    """An event, and the runs that wait for it. One that was notified does not wait any more.

    :param run_id: only this run.
    :param require_waiter: whether to refuse an event that nobody waits for.
    """

    def __init__(
        self,
        hook: QStashHook,
        event_id: str,
        event_data: Any,
        run_id: str | None,
        *,
        require_waiter: bool,
    ) -> None:
        self._hook = hook
        self._event_id = event_id
        self._event_data = event_data
        self._run_id = run_id
        self._require_waiter = require_waiter
        self.subject = f"{event_id} {run_id or ''}"

    def waiters(self) -> list[str]:
        """Return the runs that would be notified now."""
        found = self._hook.workflow_waiters(self._event_id)
        return sorted(one for one in found if self._run_id in (None, one))

    def facts(self) -> dict[str, Any]:
        """Return the runs that are to be notified.

        :raises NotFoundError: if there are none, but must be; a retry helps once a run waits.
        """
        found = self.waiters()
        if self._require_waiter and not found:
            raise NotFoundError(
                f"no workflow run waits for the event {self._event_id!r}, which would be lost",
                status_code=404,
                endpoint="QStash GET /v2/waiters/{eventId}",
                hint="Nothing was sent. A retry tries again.",
            )
        return {"waiters": found}

    def is_there(self, facts: dict[str, Any]) -> bool:
        """Return whether none of those runs waits any more."""
        return set(facts["waiters"]).isdisjoint(self.waiters())

    def send(self, facts: dict[str, Any]) -> list[NotifiedRun]:
        """Notify the runs."""
        return self._hook.notify_workflow(self._event_id, self._event_data, workflow_run_id=self._run_id)

    def doubt(self) -> str | None:
        """Return nothing: a run that still waits was not notified."""
        return None
