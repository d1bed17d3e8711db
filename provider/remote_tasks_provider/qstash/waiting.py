"""An operator that has sent messages of its own and may wait for what becomes of them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import conf

from remote_tasks_provider.bases.compat import ENDED_STATES, task_state
from remote_tasks_provider.bases.waiting import Mode, WaitsForTasks, default_deferrable
from remote_tasks_provider.core import inputs
from remote_tasks_provider.core.errors import NotFoundError, RemoteTaskError
from remote_tasks_provider.core.report import WaitReport
from remote_tasks_provider.qstash.hooks import QStashHook
from remote_tasks_provider.qstash.models_v2 import PublishedMessage
from remote_tasks_provider.qstash.triggers import QStashMessageTrigger

if TYPE_CHECKING:
    from airflow.sdk import Context

__all__ = ["WaitsForMessages"]

MESSAGES_KEY = "message_ids"
"""The XCom key that holds the ids of the messages that were sent."""


class WaitsForMessages(WaitsForTasks):
    """See the operators made of it for the parameters."""

    trigger_class = QStashMessageTrigger
    what = "QStash message"
    has_one_message: bool = False
    """Whether there can be no more than one message, where nothing else tells."""
    _are_own = True
    """Whether this task has sent the messages it waits for."""

    def __init__(
        self,
        *,
        wait_for_completion: bool = False,
        deferrable: bool | None = None,
        poll_interval: float | timedelta = 15.0,
        timeout: float | timedelta | None = None,
        raise_on_failure: bool = True,
        cancel_on_kill: bool = True,
        max_poll_failures: int = 5,
        not_found_grace: float = 300.0,
        qstash_conn_id: str = QStashHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.wait_for_completion = wait_for_completion
        self.deferrable = default_deferrable() if deferrable is None else deferrable
        self.poll_interval = inputs.positive(poll_interval, "poll_interval")
        self.timeout = inputs.positive(
            conf.getfloat("sensors", "default_timeout") if timeout is None else timeout, "timeout"
        )
        self.raise_on_failure = raise_on_failure
        self.cancel_on_kill = cancel_on_kill
        self.max_poll_failures = max_poll_failures
        self.not_found_grace = not_found_grace
        self.qstash_conn_id = qstash_conn_id

    @property
    def stop_on_kill(self) -> bool:  # type: ignore[override]  # computed here
        """Whether the trigger cancels the messages when a user ends this task."""
        return self.cancel_on_kill and self._are_own

    @cached_property
    def hook(self) -> QStashHook:
        """The hook for ``qstash_conn_id``."""
        return QStashHook(self.qstash_conn_id)

    def remember(self, context: Context, messages: Sequence[PublishedMessage]) -> list[str]:
        """Leave the messages' ids in XCom, and return them."""
        ids = [message.message_id for message in messages]
        context["ti"].xcom_push(key=MESSAGES_KEY, value=ids)
        return ids

    def wait_for_messages(
        self, context: Context, ids: list[str], *, single: bool, are_own: bool = True
    ) -> Any:
        """Wait for messages.

        :param single: whether to return one record instead of a list.
        :param are_own: whether this task has sent them, and none is somebody else's.
        """
        self.carried = {"single": single, "ids": ids}
        self._ti, self._sent, self._are_own = context["ti"], ids, are_own
        if self.cancel_on_kill and not are_own:
            self.log.info(
                "The message was published before, perhaps by somebody else: it is never cancelled."
            )
        mode: Mode = "deferrable" if self.deferrable else "poke"
        policy = self.wait_policy(
            context,
            timeout=self.timeout,
            mode=mode,
            interval=self.poll_interval,
            max_failures=self.max_poll_failures,
            not_found_grace=self.not_found_grace,
        )
        return self.wait_for_tasks(context, ids, policy, mode)

    def finish(self, context: Context, report: WaitReport) -> Any:
        """Return what became of the messages, or raise."""
        error = report.failure(self.what, raise_on_failure=self.raise_on_failure, on_waiting="wait")
        if error is not None:
            raise self.after_wait(error, report.timed_out) from error
        # dag.test() resumes a task without what was carried.
        records = report.in_order(self.carried.get("ids", list(report.records)))
        return records[0] if self.carried.get("single", self.has_one_message) else records

    def on_kill(self) -> None:
        """Cancel the messages that this task has sent, if a user has ended it while it waits."""
        ids = getattr(self, "_sent", [])
        if not ids or not self.stop_on_kill:
            return
        state = None
        with suppress(Exception):
            # Whatever keeps Airflow from answering now: without an answer the messages are left alone.
            state = task_state(self._ti)
        if state not in ENDED_STATES:
            self.log.info("The messages stay: this task is %s.", state or "of unknown state")
            return
        # A hook of its own: this may come in the midst of a request.
        hook = QStashHook(self.qstash_conn_id)
        try:
            for message_id in ids:
                self._cancel(hook, message_id)
        except RemoteTaskError as error:
            self.log.warning("The messages could not be cancelled: %s", error)
        finally:
            hook.close()

    def _cancel(self, hook: QStashHook, message_id: str) -> None:
        try:
            hook.cancel_message(message_id)
            self.log.info("QStash message %s was cancelled, as this task was ended.", message_id)
        except NotFoundError:
            self.log.info("QStash message %s is no longer in flight.", message_id)
        except RemoteTaskError as error:
            if error.concerns_service:
                raise
            self.log.warning("QStash message %s could not be cancelled: %s", message_id, error)
