"""Questions to a person while a task waits: Airflow's human in the loop (HITL).

An operator whose remote task waits for an answer calls :meth:`HITLMixin.ask`. The question appears under
*Required Actions* in Airflow's UI, and the answer resumes the operator; it may wait on and ask again, any
number of times in one attempt. :mod:`remote_tasks_provider.bases.hitl_forms` decides what is asked and how an
answer is read. A question that could not be shown is in the task's log and in XCom.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from remote_tasks_provider.bases.compat import AWAITS_INPUT, FORMS_ARE_REPLACED, SUPPORTS_HITL
from remote_tasks_provider.bases.exceptions import wait_exception
from remote_tasks_provider.bases.hitl_forms import (
    NO_ANSWER,
    QUESTION_KEY,
    Question,
    Reply,
    ReplyRefusedError,
    form_of,
    is_reply,
    read_reply,
    shown_code,
    why_unfit,
)
from remote_tasks_provider.bases.waiting import WaitingOperator
from remote_tasks_provider.core.errors import TaskNeedsInputError

if TYPE_CHECKING:
    from airflow.sdk import Context

__all__ = ["HITL_REQUIREMENT", "HITLMixin"]

HITL_REQUIREMENT = (
    "Only Airflow 3.1.3 or newer can put a question to a person; below 3.3 it needs "
    "apache-airflow-providers-standard for that."
)

_RESUME = "resume_with_reply"
# Airflow fails a task that is resumed before its scheduler has noticed that the worker ended (issue 72716).
_SHORTEST_PAUSE = 15.0


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the task must still know when the answer resumes it.

    :param then: the method that takes the reply.
    :param users: the ids of those who may answer; everybody who may in Airflow, when empty.
    :param deadline: Unix seconds.
    :param unasked: as in :class:`Reply`.
    """

    question: Question
    then: str
    kwargs: Mapping[str, Any]
    users: Sequence[str]
    deadline: float | None
    unasked: str | None = None

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "question": self.question.to_json()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> _Asked:
        return cls(**{**data, "question": Question(**data["question"])})


class HITLMixin(WaitingOperator):
    """Lets an operator put questions to a person while it waits. First among the operator's bases."""

    def ask(
        self,
        context: Context,
        question: Question,
        *,
        then: str,
        kwargs: Mapping[str, Any] | None = None,
        response_timeout: float | None = None,
        assigned_users: Iterable[str] = (),
    ) -> NoReturn:
        """Pause the task until a person has answered.

        The operator is resumed by ``getattr(self, then)(context, reply, **kwargs)``, in another process.
        While it is paused nothing polls the remote task. With a ``response_timeout`` of some minutes it is
        polled in between, and the question can be asked again if it still stands.

        :param then: the name of the method that takes the :class:`Reply`.
        :param kwargs: more arguments for it; plain JSON values, stored in Airflow's database.
        :param response_timeout: seconds until the task is resumed without an answer; ``None`` waits for ever.
        :param assigned_users: the ids of those who may answer; everybody who may in Airflow, when empty.
        :raises AirflowFailException: where :data:`SUPPORTS_HITL` is false.
        """
        if not SUPPORTS_HITL:
            raise _cannot_ask(question)
        # Found out now, not after hours.
        json.dumps([getattr(self, then).__name__, kwargs])
        deadline = None if response_timeout is None else time.time() + response_timeout
        self._put(context, _Asked(question, then, kwargs or {}, sorted(set(assigned_users)), deadline))

    def resume_with_reply(self, context: Context, asked: Mapping[str, Any], event: Any = None) -> Any:
        """Resume after a person answered, or time ran out; Airflow calls it.

        An answer that is none to the question is refused, and the question put again.
        """
        pending = _Asked.from_json(asked)
        try:
            unasked = pending.unasked
            reply = read_reply(event, pending.question) if unasked is None else Reply(unasked=unasked)
        except ReplyRefusedError as error:
            self.log.warning("An answer was refused: %s. The question is asked again.", error)
            self._put(context, pending)
        if reply.chosen:
            self.log.info("%s answered: %s", reply.by or "A person", ", ".join(reply.chosen))
        return getattr(self, pending.then)(context, reply, **pending.kwargs)

    def resume(self, next_method: str, kwargs: dict[str, Any], context: Context) -> Any:
        """Resume after a pause, also by an answer that the task does not wait for.

        A form that was open when the task was cleared stays open, and Airflow 3.3 resumes the task for it
        even where its new attempt is deferred for something else.
        """
        if next_method != _RESUME and is_reply(kwargs.get("event")):
            self.log.warning("A person answered a question of an earlier attempt; the answer is not used.")
            del kwargs["event"]
            self.carried = kwargs
            return self.wait(context)
        return super().resume(next_method, kwargs, context)

    def _put(self, context: Context, asked: _Asked) -> NoReturn:
        ti: Any = context["ti"]
        question = asked.question
        trigger_class = None if AWAITS_INPUT else _trigger_class(question)
        # Airflow 3.3's scheduler closes the form with the defaults when time is up; below, the trigger does.
        # As none of the options is among them, the UI preselects none.
        form = form_of(
            question,
            getattr(ti, "log_url", None),
            defaults=[] if AWAITS_INPUT else None,
            is_replaced=FORMS_ARE_REPLACED,
        )
        stored = _store(ti.id, form, asked.users)
        unfit = why_unfit(stored, form, asked.users)
        value = {"code": question.code, **question.to_json(), "asked_at": datetime.now(UTC).isoformat()}
        ti.xcom_push(key=QUESTION_KEY, value=value)
        self._log_question(asked, shown_code(stored), unfit)
        if unfit is not None:
            # The form was opened all the same, and has to be closed.
            asked = replace(asked, deadline=time.time(), unasked=unfit)
        self._pause(ti.id, asked, trigger_class)

    def _log_question(self, asked: _Asked, shown: str | None, unfit: str | None) -> None:
        question = asked.question
        text = "\n".join(f"  | {line}" for line in question.text.split("\n"))
        self.log.info("Question %s: %s\n%s", question.code, question.subject, text)
        self.log.info("To choose from: %s", ", ".join(question.options))
        place = question.url or "the remote service"
        if unfit is not None:
            self.log.warning("It cannot be answered in Airflow, only at %s: %s.", place, unfit)
            return
        if shown != question.code:
            self.log.warning(
                "Airflow keeps showing the first question this task asked. Answer this one in that form "
                "with the code %s, or at %s.",
                question.code,
                place,
            )
        self.log.info("%s", _outlook(asked.deadline))

    def _pause(self, ti_id: Any, asked: _Asked, trigger_class: Any) -> NoReturn:
        kwargs = {"asked": asked.to_json()}
        length = None
        if asked.deadline is not None:
            length = timedelta(seconds=max(_SHORTEST_PAUSE, asked.deadline - time.time()))
        if trigger_class is None:
            from airflow.sdk.exceptions import TaskAwaitingInput

            raise TaskAwaitingInput(method_name=_RESUME, kwargs=kwargs, timeout=length)
        self.defer(
            trigger=trigger_class(
                ti_id=ti_id,
                options=list(asked.question.options),
                multiple=asked.question.multiple,
                # The reply is checked on the worker: what fails in the trigger would end the task.
                params={},
                defaults=[NO_ANSWER],
                timeout_datetime=None if length is None else datetime.now(UTC) + length,
            ),
            method_name=_RESUME,
            kwargs=kwargs,
        )


def _outlook(deadline: float | None) -> str:
    """Return the last line of a worker that leaves a question to a person."""
    moment = None if deadline is None else datetime.fromtimestamp(deadline, UTC)
    end = "" if moment is None else f", or at {moment:%Y-%m-%d %H:%M UTC} without an answer"
    needs = "" if AWAITS_INPUT else " A triggerer must be running for that (`airflow triggerer`)."
    return f"This task continues when somebody has answered under Required Actions in Airflow{end}.{needs}"


def _cannot_ask(question: Question) -> BaseException:
    place = f" at {question.url}" if question.url else ""
    return wait_exception(
        TaskNeedsInputError(
            f"The remote task asks: {question.subject}. {HITL_REQUIREMENT} "
            f"Answer it{place}, then run the Airflow task again."
        ),
        None,
    )


def _trigger_class(question: Question) -> Any:
    """Return the trigger that waits for an answer on Airflow 3.1 and 3.2."""
    try:
        from airflow.providers.standard.triggers.hitl import HITLTrigger
    except ImportError as error:
        raise _cannot_ask(question) from error
    return HITLTrigger


def _store(ti_id: Any, form: Mapping[str, Any], users: Sequence[str]) -> Any:
    """Store a form for the task instance, without an answer; return the one that Airflow will show.

    As the SDK's ``upsert_hitl_detail`` does it, which keeps the second to itself.
    """
    from airflow.sdk.api.datamodels._generated import HITLUser
    from airflow.sdk.execution_time.comms import CreateHITLDetailPayload

    # It exists from when the task begins to run.
    from airflow.sdk.execution_time.task_runner import SUPERVISOR_COMMS

    people = [HITLUser(id=user, name=user) for user in users]
    return SUPERVISOR_COMMS.send(CreateHITLDetailPayload(ti_id=ti_id, **form, assigned_users=people))
