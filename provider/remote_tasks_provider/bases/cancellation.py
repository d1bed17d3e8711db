"""Ending remote tasks that an operator has started itself, when nobody will wait for them any more.

Airflow kills a worker's task for two reasons that look alike: a user has ended it, or has cleared it, and
then the next attempt goes on with the same remote task. So the task's own state is asked for first. In the
triggerer :meth:`remote_tasks_provider.bases.triggers.RemoteTaskTrigger.on_kill` does the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from remote_tasks_provider.bases.compat import ENDED_STATES, task_state
from remote_tasks_provider.bases.waiting import WaitingOperator
from remote_tasks_provider.core.errors import NotFoundError, RemoteTaskError

if TYPE_CHECKING:
    from airflow.sdk import Context

__all__ = ["CancelsTasks"]


class CancelsTasks(WaitingOperator):
    """An operator that waits for remote tasks of its own, and stops them when a user ends it.

    Subclasses call :meth:`owns` and implement :meth:`send_stop`.
    """

    cancel_on_kill: bool
    _own: tuple[str, ...] = ()
    _ti: Any = None
    _killed_too_early: bool = False

    def owns(self, context: Context, ids: Iterable[str]) -> None:
        """Note which remote tasks are this operator's to stop."""
        self._ti, self._own = context["ti"], tuple(ids)
        if self._killed_too_early and self._own:
            # A request to start one was under way. Airflow 3 lets a killed task go on for 5 s.
            self._killed_too_early = False
            self.on_kill()

    @property
    def stop_on_kill(self) -> bool:  # type: ignore[override]  # computed here
        """Whether the trigger stops the remote tasks when a user ends this one."""
        return self.cancel_on_kill and bool(self._own)

    def send_stop(self, hook: Any, task_id: str) -> None:
        """Tell the service to stop a task, over ``hook``.

        :raises RemoteTaskError: if that failed, or the service cannot do it.
        """
        raise NotImplementedError

    def on_kill(self) -> None:
        """Stop the remote tasks if a user has ended this one."""
        self._killed_too_early = not self._own
        if not self.stop_on_kill:
            return
        state = None
        with suppress(Exception):
            # Whatever keeps Airflow from answering now: without an answer the remote tasks are left alone.
            state = task_state(self._ti)
        if state in ENDED_STATES:
            self.stop_remote("this task was ended")
        else:
            self.log.info("%s goes on: this task is %s.", self._names(), state or "of unknown state")

    def stop_remote(self, why: str) -> bool:
        """Stop the remote tasks; return whether the service was told to stop all of them."""
        # A hook of its own: this may come in the midst of a request.
        hook = type(self.hook)(self.hook.conn_id)
        try:
            stopped = [self._stop_one(hook, task_id, why) for task_id in self._own]
            return all(stopped)
        finally:
            hook.close()

    def _stop_one(self, hook: Any, task_id: str, why: str) -> bool:
        try:
            self.send_stop(hook, task_id)
        except NotFoundError:
            self.log.info("%s %s is no longer there.", self.what, task_id)
        except RemoteTaskError as error:
            self.log.warning("%s %s could not be stopped and may go on: %s", self.what, task_id, error)
            return False
        else:
            self.log.info("%s %s was stopped, as %s.", self.what, task_id, why)
        return True

    def _names(self) -> str:
        return f"{self.what} {', '.join(self._own)}"
