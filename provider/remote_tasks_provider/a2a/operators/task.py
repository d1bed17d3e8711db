"""The operator that asks an agent, waits for its task, and returns the result."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from remote_tasks_provider.a2a.api.messages import OutgoingMessage, check_parts, outgoing
from remote_tasks_provider.a2a.connected import A2ATaskWait
from remote_tasks_provider.a2a.hitl import A2AQuestions
from remote_tasks_provider.a2a.models import state_in_words
from remote_tasks_provider.a2a.results import result_of_task
from remote_tasks_provider.a2a.submission import A2ASubmission, is_message
from remote_tasks_provider.bases.agent_tasks import AgentTaskOperator
from remote_tasks_provider.bases.files import open_source
from remote_tasks_provider.bases.operators import Submitted
from remote_tasks_provider.bases.output import result_to_xcom
from remote_tasks_provider.bases.paths import locations
from remote_tasks_provider.bases.records import TaskRecord
from remote_tasks_provider.bases.requests import sending
from remote_tasks_provider.core import validation
from remote_tasks_provider.core.errors import InvalidArgumentError, OrphanedActionError
from remote_tasks_provider.core.log import in_bytes
from remote_tasks_provider.core.polling.result import WaitResult
from remote_tasks_provider.core.validation import Check

if TYPE_CHECKING:
    from airflow.sdk import Context

__all__ = ["A2ATaskOperator"]

# They are in memory as a whole, more than once: as base64, and as the request.
_MOST_ATTACHED = 32 * 1024 * 1024


class A2ATaskOperator(A2ATaskWait, AgentTaskOperator):
    """Asks an agent that speaks A2A, waits for its task, and returns the result.

    The message is sent once, whatever happens to the attempt that sends it: each attempt has a context id
    and a message id of its own, by which a later one finds the task in the agent's list. An agent that lists
    nothing, as one of protocol 0.3, shows no task whose response was lost: then ``on_orphaned_intent``
    decides. See ``docs/how-to/a2a.md``. The task's id is in XCom (``remote_task_id``) before the wait starts.
    Returns::

        {"id": …, "state": "completed", "status": …, "context_id": …, "text": <of the artifacts>,
         "structured": <the value of the last part that is data>,
         "files": [{"name": …, "media_type": …, "artifact_id": …}], "error": None, …}

    Without waiting it returns ``{"id": …, "state": …}``. An agent that answers with a message instead of a
    task has answered: the operator returns its text at once, with the id ``None``.

    .. code-block:: python

        ask = A2ATaskOperator(
            task_id="ask", message="Summarise {{ ds }}'s news in 100 words.", deferrable=True, timeout=3600
        )

    :param message: what to say. Templated.
    :param attachments: files to send within the message: paths or URLs that ``ObjectStoragePath`` knows;
        together 32 MiB at most. Many agents take less. Templated.
    :param parts: more of the message: dicts with exactly one of ``text``, ``data`` (any JSON), ``url`` and
        ``raw`` (bytes), and with ``filename``, ``media_type`` and ``metadata`` where you have them.
        Templated.
    :param metadata: of the message, for the agent. A correlation tag is added as ``airflow``. Templated.
    :param context_id: a conversation to continue; default a new one for each attempt. Templated.
    :param on_waiting: when the agent waits for an answer or an authorisation: ``wait`` on, ``return``
        (succeed, with state ``waiting`` and the question as ``text``), ``fail``, or ``human``: put the
        question under *Required Actions* in Airflow (3.1.3 or newer) and send the agent what a person answers
        there.
    :param response_timeout: with ``human``: seconds (or a ``timedelta``) a person has to answer; then the
        operator fails. Default: no limit.
    :param assigned_users: with ``human``: the ids of those who may answer; default everybody who may.
    :param cancel_on_timeout: cancel the task when the operator gives up waiting.
    :param result_path: a file to write the whole result to, as JSON, any URL that ``ObjectStoragePath``
        knows; XCom then holds the path instead of ``text`` and ``structured``. Templated.
    :param on_stale_state: an earlier attempt's task answers other inputs: ``fail``, ``reattach`` (take its
        result) or ``restart`` (cancel it and begin another).
    :param on_orphaned_intent: it is not known whether an earlier request began a task, and none is found:
        ``search`` begins one if the agent lists tasks, ``start`` in any case, ``fail`` never.
    :param not_found_grace: seconds within which a fresh task becomes visible.
    :param a2a_conn_id: the Airflow connection. Templated.
    """

    checks: ClassVar[Mapping[str, Check]] = {
        "message": validation.text,
        "attachments": validation.optional(locations),
        "parts": validation.as_given(check_parts),
        "metadata": validation.optional(validation.mapping),
        "context_id": validation.optional(validation.object_id),
    }
    template_fields: Sequence[str] = (*checks, "on_waiting", "result_path", "a2a_conn_id")
    template_fields_renderers: ClassVar[dict[str, str]] = {"message": "md"}
    questions_class = A2AQuestions

    def __init__(
        self,
        *,
        message: str,
        attachments: Iterable[str] | str | None = None,
        parts: Iterable[Mapping[str, Any]] = (),
        metadata: Mapping[str, Any] | None = None,
        context_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.message = message
        self.attachments = attachments
        self.parts = parts
        self.metadata = metadata
        self.context_id = context_id
        self.check_together()

    # ------------------------------------------------------------------------------------------- submit

    def submit(self, context: Context) -> Submitted:
        """Send the message, or re-attach to an earlier attempt's task."""
        submitter = self.submitter(context)
        submitter.begin()
        with sending(self.hook):
            message = self._message()
            self.try_result_path()
            answers = TaskRecord(context, "remote_task_answer", self.log)
            submission = A2ASubmission(self.hook, message, submitter.attempt.number, answers)
            task = submitter.ensure(submission, _fingerprint(message))
            if is_message(task.task_id):
                if submission.answer is None:
                    # Told now, and history once a user clears the task.
                    self.settle(context, "delivered")
                return Submitted([], self._answer(submission.answer, is_kept=answers.is_kept))
        self.push_id(context, task.task_id)
        self.log.info("A2A task %s.", task.task_id)
        return Submitted([task.task_id], {"id": task.task_id, "state": task.state.value})

    def _message(self) -> OutgoingMessage:
        sources = [open_source(one) for one in self.files_read()]
        size = sum(source.size for source in sources)
        if size > _MOST_ATTACHED:
            raise InvalidArgumentError(
                f"attachments have {in_bytes(size)} together. They travel within the message, which takes "
                f"{in_bytes(_MOST_ATTACHED)}. Give what is larger in parts, by a url that the agent can fetch"
            )
        files = [{"raw": one.read(), "filename": one.name, "media_type": one.content_type} for one in sources]
        return outgoing(
            self.message, [*self.parts, *files], context_id=self.context_id, metadata=self.metadata
        )

    def files_read(self) -> list[Any]:
        """Return the places of the attachments."""
        return [self.attachments] if isinstance(self.attachments, str) else list(self.attachments or ())

    def _answer(self, answer: dict[str, Any] | None, *, is_kept: bool) -> Any:
        if answer is None:
            raise OrphanedActionError(
                "The agent answered an earlier attempt with a message. No task holds it, and Airflow could "
                "not keep it: the log of that attempt has it. Nothing was sent again. Clear this task to ask "
                "once more."
            )
        self.log.info("The agent has answered at once, without a task.")
        try:
            return result_to_xcom(answer, self.result_path, self.log)
        except Exception as error:
            if is_kept:
                raise
            self.log.warning("The agent's answer: %s", json.dumps(answer))
            raise OrphanedActionError(
                "The agent answered with a message. No task holds it, it could not be written "
                f"({type(error).__name__}), and this Airflow keeps nothing for a retry: it is in the log. "
                "Nothing is sent again. Clear this task to ask once more."
            ) from error

    # --------------------------------------------------------------------------------------------- wait

    def collect(self, context: Context, result: WaitResult) -> Any:
        """Return the result of the task."""
        ((task_id, record),) = result.records.items()
        # If this fails, a retry re-attaches to the finished task, and reads it again.
        with sending(self.hook):
            task = self.hook.get_task(task_id)
        self.log.info("A2A task %s is %s.", task_id, state_in_words(task))
        found = result_of_task(task).to_json()
        return result_to_xcom({**(record or {}), **found}, self.result_path, self.log)


def _fingerprint(message: OutgoingMessage) -> str:
    asked = [message.parts, message.context_id, message.metadata]
    return hashlib.sha256(json.dumps(asked, sort_keys=True, default=str).encode()).hexdigest()
