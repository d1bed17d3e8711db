"""The base of the operators that submit one remote task, once, because it costs something.

How it is submitted once is in :mod:`.submission`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, get_args

from airflow.providers.common.compat.sdk import ObjectStoragePath

from remote_tasks_provider.bases.operators import RemoteTaskOperator
from remote_tasks_provider.bases.paths import location, try_file
from remote_tasks_provider.bases.submission import Submitter
from remote_tasks_provider.bases.waiting import Settlement
from remote_tasks_provider.core import validation
from remote_tasks_provider.core.errors import InvalidArgumentError
from remote_tasks_provider.core.submission import OnOrphanedIntent, OnStaleState, SubmissionPolicy
from remote_tasks_provider.core.validation import Check

if TYPE_CHECKING:
    from airflow.sdk import Context

__all__ = ["SubmittingOperator"]


class SubmittingOperator(RemoteTaskOperator):
    """Submits one remote task once, and waits for it; the parameters are those of every such operator.

    :param cancel_on_timeout: cancel the remote task when the operator gives up.
    :param result_path: a file to write the whole result to, as JSON, any URL that ``ObjectStoragePath``
        knows; XCom then holds the path instead of ``text`` and ``structured``. Templated.
    :param on_stale_state: an earlier attempt's task answers other inputs: ``fail``, ``reattach`` (take its
        result) or ``restart`` (cancel it and submit another).
    :param on_orphaned_intent: it is not known whether an earlier request submitted a task, and none is found:
        ``search`` submits one if the search saw all tasks, ``start`` in any case, ``fail`` never.
    """

    checks: ClassVar[Mapping[str, Check]] = {
        "cancel_on_timeout": validation.flag,
        "result_path": validation.optional(location),
        "on_stale_state": partial(validation.choice, allowed=get_args(OnStaleState)),
        "on_orphaned_intent": partial(validation.choice, allowed=get_args(OnOrphanedIntent)),
    }
    id_key: ClassVar[str] = "remote_task_id"
    """The XCom key that holds the remote task's id."""
    only_while_waiting: ClassVar[Sequence[str]] = ("result_path",)
    """Parameters that mean nothing without a wait. A user who gives one of them counts on it."""
    cancel_on_timeout: bool

    def __init__(
        self,
        *,
        cancel_on_timeout: bool = True,
        result_path: str | ObjectStoragePath | None = None,
        on_stale_state: OnStaleState = "fail",
        on_orphaned_intent: OnOrphanedIntent = "search",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.cancel_on_timeout = cancel_on_timeout
        self.result_path = result_path
        self.on_stale_state = on_stale_state
        self.on_orphaned_intent = on_orphaned_intent

    def refuse_together(self) -> None:
        """Refuse what only a wait could keep, without one."""
        super().refuse_together()
        if self.wait_for_completion:
            return
        given = [name for name in self.only_while_waiting if getattr(self, name) is not None]
        if getattr(self, "on_waiting", None) in ("return", "fail", "human"):
            given.append("on_waiting")
        if given:
            raise InvalidArgumentError(
                f"wait_for_completion=False, so nothing would look at {' and '.join(given)} once the task is "
                "submitted: leave out what is named here, or wait"
            )

    def submitter(self, context: Context) -> Submitter:
        """Return what submits the task of this attempt, or finds that of an earlier one."""
        return Submitter(
            self,
            context,
            policy=SubmissionPolicy(
                self.on_stale_state, self.on_orphaned_intent, label=self.remote_task_type.label
            ),
            appears_within=self.not_found_grace,
            notes_kills=not (self.deferrable and self.cancel_on_kill),
        )

    def try_result_path(self) -> None:
        """Refuse a ``result_path`` that cannot be written, before anything is paid."""
        if self.result_path is not None:
            try_file(self.result_path, "result_path", self.log)

    def push_id(self, context: Context, task_id: str) -> None:
        """Leave the remote task's id in XCom, before the wait begins."""
        context["ti"].xcom_push(key=self.id_key, value=task_id)

    def settle(self, context: Context, settlement: Settlement) -> None:
        """Note it in the record of the submission."""
        self.submitter(context).settle_alive(settlement, lambda: self._is_killed)

    def own_ids(self, context: Context) -> list[str]:
        """Return the id that :meth:`push_id` has left."""
        ti: Any = context["ti"]
        found = ti.xcom_pull(task_ids=ti.task_id, key=self.id_key, map_indexes=ti.map_index)
        return [found] if found else []
