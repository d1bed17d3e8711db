"""An operator that has sent messages of its own and may wait for what becomes of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import conf

from remote_tasks_provider.bases.cancellation import CancelsTasks
from remote_tasks_provider.bases.compat import first_try_number
from remote_tasks_provider.bases.waiting import Mode, default_deferrable
from remote_tasks_provider.core import validation
from remote_tasks_provider.core.polling.result import WaitResult
from remote_tasks_provider.qstash.api.v2_models import PublishedMessage
from remote_tasks_provider.qstash.hooks import QStashHook
from remote_tasks_provider.qstash.triggers import QStashMessageTrigger

if TYPE_CHECKING:
    from airflow.sdk import Context

__all__ = ["MessageOperator"]

_SENT = "qstash_messages"

MESSAGES_KEY = "message_ids"
"""The XCom key that holds the ids of the messages that were sent."""


class MessageOperator(CancelsTasks):
    """See the operators made of it for the parameters."""

    trigger_class = QStashMessageTrigger
    what = "QStash message"
    has_one_message: bool = False
    """Whether there can be no more than one message, where nothing else tells."""

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
        self.poll_interval = validation.positive(poll_interval, "poll_interval")
        self.timeout = validation.positive(
            conf.getfloat("sensors", "default_timeout") if timeout is None else timeout, "timeout"
        )
        self.raise_on_failure = raise_on_failure
        self.cancel_on_kill = cancel_on_kill
        self.max_poll_failures = max_poll_failures
        self.not_found_grace = not_found_grace
        self.qstash_conn_id = qstash_conn_id

    @cached_property
    def hook(self) -> QStashHook:
        """The hook for ``qstash_conn_id``."""
        return QStashHook(self.qstash_conn_id)

    def send_stop(self, hook: QStashHook, task_id: str) -> None:
        """Cancel a message."""
        hook.cancel_message(task_id)

    def remember(self, context: Context, messages: Sequence[PublishedMessage]) -> None:
        """Leave the messages' ids in XCom and, from Airflow 3.3 on, for later attempts."""
        ids = [message.message_id for message in messages]
        context["ti"].xcom_push(key=MESSAGES_KEY, value=ids)
        self.log.info("QStash messages: %s", ", ".join(ids) or "none")
        store: Any = context.get("task_state_store")
        if store is not None and ids and self.retries:
            sent = [{"message_id": message.message_id, "url": message.url} for message in messages]
            store.set(_SENT, {"first_try": first_try_number(context, self), "messages": sent})

    def recalled(self, context: Context) -> list[PublishedMessage]:
        """Return the messages that an earlier attempt has sent, since the task was last cleared."""
        store: Any = context.get("task_state_store")
        saved = store.get(_SENT) if store is not None else None
        if not isinstance(saved, dict) or saved.get("first_try") != first_try_number(context, self):
            return []
        self.log.info("An earlier attempt has sent the messages; going on with those.")
        return [
            PublishedMessage(one["message_id"], deduplicated=True, url=one["url"])
            for one in saved["messages"]
        ]

    def wait_for_messages(
        self, context: Context, ids: list[str], *, single: bool, are_own: bool = True
    ) -> Any:
        """Wait for messages.

        :param single: whether to return one record instead of a list.
        :param are_own: whether this task has sent them, and none is somebody else's.
        """
        self.carried = {"single": single, "ids": ids}
        self.owns(context, ids if are_own else [])
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

    def finish(self, context: Context, report: WaitResult) -> Any:
        """Return what became of the messages, or raise."""
        error = report.failure(self.what, raise_on_failure=self.raise_on_failure, on_waiting="wait")
        if error is not None:
            raise self.wait_exception(error, report.timed_out) from error
        # dag.test() resumes a task without what was carried.
        records = report.in_order(self.carried.get("ids", list(report.records)))
        return records[0] if self.carried.get("single", self.has_one_message) else records
