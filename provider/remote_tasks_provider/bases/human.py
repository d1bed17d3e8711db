"""Questions to a person, asked in the midst of a task: Airflow's human-in-the-loop.

An operator whose remote task waits for an answer calls :meth:`AsksPeople.ask`. The task gives its worker
back, the question appears under *Required Actions* in Airflow's UI, and the answer resumes the operator in a
method of its choice; it may wait on and ask again, any number of times in one attempt.

Airflow below 3.4 keeps one request for each task instance, for all its attempts: a later question clears the
earlier answer, but the form goes on showing the text, buttons and fields of the first. So each form has a
field with the code of the question it shows, and an answer counts only when it carries the code of the
question that was asked last. A question that could not be shown is in the task's log and XCom, with its code.

What a remote service wrote is not trusted: it is shown letter for letter, never as Markdown, and cut.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import time
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import quote, urlsplit

from airflow.providers.common.compat.sdk import BaseOperator

from remote_tasks_provider.bases.compat import AWAITS_INPUT, PEOPLE_CAN_ANSWER
from remote_tasks_provider.bases.outcomes import after_wait
from remote_tasks_provider.core.errors import RemoteTaskError, TaskNeedsInputError

if TYPE_CHECKING:
    from airflow.sdk import Context

__all__ = [
    "PEOPLE_CAN_ANSWER",
    "QUESTION_KEY",
    "WHY_PEOPLE_CANNOT_ANSWER",
    "AsksPeople",
    "Question",
    "Reply",
    "ReplyRefusedError",
    "is_reply",
    "read_reply",
]

WHY_PEOPLE_CANNOT_ANSWER = (
    "Only Airflow 3.1.3 or newer, with apache-airflow-providers-standard where it is older than 3.3, can put "
    "a question to a person."
)
QUESTION_KEY = "remote_task_question"
"""The XCom key that holds the question that was asked last, with its code."""

_CODE_FIELD = "question_code"
# The UI sends the buttons under the first name; Airflow's operators refuse the second.
_RESERVED = frozenset({"chosen_options", "_options", _CODE_FIELD})
_RESUME = "resume_with_reply"
_NO_ANSWER = "No answer in time"
# Airflow 3.3 fails a task that is resumed before its scheduler has seen the worker end.
_SHORTEST_PAUSE = 5.0
_LONGEST_LINE = 200
_LONGEST_TEXT = 8000
_LONGEST_HINT = 500
_FIELD_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_PUNCTUATION = re.compile(r"([!-/:-@\[-`{-~])")


@dataclass(frozen=True, slots=True)
class Question:
    """What a person is asked. Texts may come from a remote service; they are cleaned and cut.

    :param subject: one line, shown in the list of required actions.
    :param text: the question. Plain text: no character of it is taken for Markdown.
    :param options: the buttons, one of which sends the answer; blank ones and repetitions are dropped.
    :param fields: form field → JSON schema (``type``, ``title``, ``description``, ``enum``, ``default``,
        ``format``, ``maxLength`` …) as in Airflow's ``Param``. Without a ``default`` the person must fill the
        field, unless its type allows ``null``. Never ask for a secret: Airflow stores and shows the answer.
    :param multiple: whether several options may be chosen.
    :param url: where the question can be seen and answered outside Airflow.
    :raises ValueError: when there is no option, or a field has a name that a form cannot have.
    """

    subject: str
    text: str
    options: tuple[str, ...] = ("Send",)
    fields: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    multiple: bool = False
    url: str | None = None

    def __post_init__(self) -> None:
        options = dict.fromkeys(_line(option) for option in self.options)
        options.pop("", None)
        if not options:
            raise ValueError("options is empty; an answer is sent by choosing one")
        for name in self.fields:
            if not _FIELD_NAME.fullmatch(name) or name in _RESERVED:
                raise ValueError(
                    f"{name!r} cannot be the name of a field; use letters, digits and _, and none of "
                    f"{', '.join(sorted(_RESERVED))}"
                )
        cleaned = {
            "subject": _line(self.subject) or "A remote task asks",
            "text": _cut(_clean(self.text).strip(), _LONGEST_TEXT),
            "options": tuple(options),
            "fields": {name: _clean_schema(schema) for name, schema in self.fields.items()},
            "url": _web_address(self.url),
        }
        for name, value in cleaned.items():
            object.__setattr__(self, name, value)

    @property
    def code(self) -> str:
        """A short word that an answer must carry; another question has another one."""
        digest = hashlib.sha256(json.dumps(asdict(self)).encode()).digest()
        return f"Q{base64.b32encode(digest).decode()[:5]}"

    def to_json(self) -> dict[str, Any]:
        """Return the question as a JSON object; ``Question(**json)`` is the way back."""
        return {**asdict(self), "options": list(self.options)}


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of a question.

    :param chosen: the options that were chosen; empty unless a person answered.
    :param fields: field → value, valid against the field's schema.
    :param by: who answered.
    :param timed_out: whether nobody answered in time. The form is closed then; asking again opens it anew.
    :param unasked: why Airflow could not put the question to anybody; ``None`` when it was asked.
    """

    chosen: tuple[str, ...] = ()
    fields: Mapping[str, Any] = field(default_factory=dict)
    by: str | None = None
    timed_out: bool = False
    unasked: str | None = None


class ReplyRefusedError(ValueError):
    """An answer that is none to the question; the message says why. The question is asked again."""


def is_reply(event: Any) -> bool:
    """Return whether ``event`` is what Airflow resumes a task with for an answer, or for the lack of one."""
    return isinstance(event, Mapping) and ("chosen_options" in event or event.get("error_type") == "timeout")


def read_reply(event: Any, question: Question) -> Reply:
    """Return what the event, with which Airflow resumed the task, says about ``question``.

    :raises ReplyRefusedError: when it is not an answer to this question.
    :raises RemoteTaskError: when Airflow resumed the task without an answer; a retry asks anew.
    """
    if not is_reply(event):
        told = event.get("error") if isinstance(event, Mapping) else event
        raise RemoteTaskError(f"Airflow resumed the task without an answer: {told}")
    chosen = tuple(event.get("chosen_options") or ())
    if event.get("timedout") or "error" in event or chosen in ((), (_NO_ANSWER,)):
        return Reply(timed_out=True)
    given = dict(event.get("params_input") or {})
    code = str(given.pop(_CODE_FIELD, None) or "").strip()
    if code.casefold() != question.code.casefold():
        raise ReplyRefusedError(f"it answers the question {code or 'without a code'}, not {question.code}")
    if not set(chosen) <= set(question.options) or (len(chosen) > 1 and not question.multiple):
        raise ReplyRefusedError(f"{', '.join(chosen)} cannot be chosen")
    values = {name: _valid(name, given.get(name), schema) for name, schema in question.fields.items()}
    user = event.get("responded_by_user") or {}
    return Reply(chosen, values, user.get("name") or user.get("id"))


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
    users: Sequence[str] = ()
    deadline: float | None = None
    unasked: str | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "question": self.question.to_json(),
            "then": self.then,
            "kwargs": dict(self.kwargs),
            "users": list(self.users),
            "deadline": self.deadline,
            "unasked": self.unasked,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> _Asked:
        return cls(**{**data, "question": Question(**data["question"])})


class AsksPeople(BaseOperator):
    """An operator that can put questions to a person while it waits for a remote task.

    Subclasses implement :meth:`wait_again`; this class comes first among their bases.
    """

    def wait_again(self, context: Context, **kwargs: Any) -> Any:
        """Look at the remote task again, and wait on.

        Called instead of the method that a trigger was to resume, when somebody has filled in a form that
        the task does not wait for. The answer is not used.

        :param kwargs: what that method would have been given, without ``event``.
        """
        raise NotImplementedError

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
        While it is paused nobody looks at the remote task: with a ``response_timeout`` of some minutes it is
        looked at in between, and the question asked again if it still stands.

        :param then: the name of the method that takes the :class:`Reply`.
        :param kwargs: more arguments for it; plain JSON values, stored in Airflow's database.
        :param response_timeout: seconds until the task is resumed without an answer; ``None`` waits for ever.
        :param assigned_users: the ids of those who may answer; everybody who may in Airflow, when empty.
        :raises AirflowFailException: where :data:`PEOPLE_CAN_ANSWER` is false.
        """
        if not PEOPLE_CAN_ANSWER:
            raise _nobody_there(question)
        deadline = None if response_timeout is None else time.time() + response_timeout
        self._put(context, _Asked(question, then, kwargs or {}, sorted(set(assigned_users)), deadline))

    def resume_with_reply(self, context: Context, asked: Mapping[str, Any], event: Any = None) -> Any:
        """Go on after a person answered, or nobody did; Airflow calls it.

        An answer that is none to the question is refused, and the question put again.
        """
        pending = _Asked.from_json(asked)
        if pending.unasked is not None:
            reply = Reply(unasked=pending.unasked)
        else:
            try:
                reply = read_reply(event, pending.question)
            except ReplyRefusedError as error:
                self.log.warning("An answer was refused: %s. The question is asked again.", error)
                self._put(context, pending)
        if reply.chosen:
            self.log.info("%s answered: %s", reply.by, ", ".join(reply.chosen))
        return getattr(self, pending.then)(context, reply, **pending.kwargs)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Go on after a pause, also when it was ended by an answer that nobody waits for.

        A form that was open when the task was cleared stays open, and Airflow 3.3 resumes the task for it
        even where its new attempt is deferred for something else.
        """
        kwargs = dict(next_kwargs or {})
        if next_method != _RESUME and is_reply(kwargs.get("event")):
            self.log.warning("Somebody answered a question of an earlier attempt; the answer is not used.")
            kwargs.pop("event")
            return self.wait_again(context, **kwargs)
        return super().resume_execution(next_method, next_kwargs, context)

    def _put(self, context: Context, asked: _Asked) -> NoReturn:
        ti: Any = context["ti"]
        question = asked.question
        trigger_class = None if AWAITS_INPUT else _trigger_class(question)
        form = _form(question, getattr(ti, "log_url", None))
        stored = _store(ti.id, form, asked.users)
        told = {"code": question.code, **question.to_json(), "asked_at": datetime.now(UTC).isoformat()}
        ti.xcom_push(key=QUESTION_KEY, value=told)
        self._tell(question, _shown_code(stored) == question.code)
        if missing := _missing(stored, form, asked.users):
            # The form was opened anew all the same, and has to be closed.
            asked = replace(asked, deadline=time.time(), unasked=missing)
            self.log.warning("It cannot be answered in Airflow: %s.", missing)
        self._pause(ti, asked, trigger_class)

    def _tell(self, question: Question, is_shown: bool) -> None:
        place = f" It can also be answered at {question.url}." if question.url else ""
        self.log.info("Question %s: %s\n%s", question.code, question.subject, question.text)
        self.log.info("Options: %s.%s", ", ".join(question.options), place)
        if not is_shown:
            self.log.warning(
                "Airflow still shows the first question this task asked. Answer the one above in that form, "
                "with the code %s.",
                question.code,
            )

    def _pause(self, ti: Any, asked: _Asked, trigger_class: Any) -> NoReturn:
        kwargs = {"asked": asked.to_json()}
        seconds = None if asked.deadline is None else max(_SHORTEST_PAUSE, asked.deadline - time.time())
        if trigger_class is None:
            from airflow.sdk.exceptions import TaskAwaitingInput

            raise TaskAwaitingInput(
                method_name=_RESUME,
                kwargs=kwargs,
                timeout=None if seconds is None else timedelta(seconds=seconds),
            )
        self.defer(
            trigger=trigger_class(
                ti_id=ti.id,
                options=list(asked.question.options),
                # The reply is checked on the worker: what fails here would end the task.
                params={},
                # With it, the trigger closes the form when time is up.
                defaults=[_NO_ANSWER],
                multiple=asked.question.multiple,
                timeout_datetime=None
                if asked.deadline is None
                else datetime.fromtimestamp(asked.deadline, UTC),
            ),
            method_name=_RESUME,
            kwargs=kwargs,
        )


def _nobody_there(question: Question) -> BaseException:
    place = f" at {question.url}" if question.url else ""
    return after_wait(
        TaskNeedsInputError(
            f"{question.subject}: {_cut(question.text, _LONGEST_HINT)} "
            f"{WHY_PEOPLE_CANNOT_ANSWER} Answer it{place} and run the task again."
        ),
        None,
    )


def _trigger_class(question: Question) -> Any:
    """Return the trigger that waits for an answer on Airflow 3.1 and 3.2."""
    try:
        from airflow.providers.standard.triggers.hitl import HITLTrigger
    except ImportError as error:
        raise _nobody_there(question) from error
    return HITLTrigger


# ------------------------------------------------------------------------------------------ Airflow's form


def _form(question: Question, page: str | None) -> dict[str, Any]:
    """Return what Airflow stores of a question and makes a form of."""
    params = {
        name: {
            "value": schema.get("default"),
            "description": schema.get("description"),
            "schema": {key: value for key, value in schema.items() if key not in ("default", "description")},
        }
        for name, schema in question.fields.items()
    }
    params[_CODE_FIELD] = {
        "value": question.code,
        "description": "Leave it as it is to answer the question above.",
        "schema": {"type": "string", "title": "Code of the question"},
    }
    return {
        "subject": question.subject,
        "body": _body(question, page),
        "options": list(question.options),
        # Airflow 3.3's scheduler closes the form with it when time is up. The UI must preselect nothing.
        "defaults": [] if AWAITS_INPUT else None,
        "multiple": question.multiple,
        "params": params,
    }


def _body(question: Question, page: str | None) -> str:
    link = f"[{QUESTION_KEY}](<{_web_address(page.split('?')[0])}/xcom>)" if page else f"`{QUESTION_KEY}`"
    parts = [_quoted(question.text)]
    if question.url:
        parts.append(f"[Open the remote task](<{question.url}>)")
    parts.append("The answer is sent to the remote service and kept in Airflow: no passwords, no keys.")
    parts.append(
        f"**Have you answered this already?** Then the task asks something new, which this form cannot show. "
        f"Its text and code are in the task's log and in the XCom {link}: answer it here, with that code."
    )
    return "\n\n".join(parts)


def _store(ti_id: Any, form: Mapping[str, Any], users: Sequence[str]) -> Any:
    """Store a form for the task instance, without an answer; return the one that Airflow will show.

    As the SDK's ``upsert_hitl_detail`` does it, which keeps the answer to itself.
    """
    from airflow.sdk.api.datamodels._generated import HITLUser
    from airflow.sdk.execution_time.comms import CreateHITLDetailPayload

    # Made when the task begins to run.
    from airflow.sdk.execution_time.task_runner import SUPERVISOR_COMMS

    people = [HITLUser(id=user, name=user) for user in users]
    return SUPERVISOR_COMMS.send(CreateHITLDetailPayload(ti_id=ti_id, **form, assigned_users=people))


def _shown_code(stored: Any) -> str | None:
    shown = (getattr(stored, "params", None) or {}).get(_CODE_FIELD)
    return shown.get("value") if isinstance(shown, Mapping) else None


def _missing(stored: Any, form: Mapping[str, Any], users: Sequence[str]) -> str | None:
    """Return what the form that Airflow shows lacks to answer the question that was asked."""
    shown = {name: param["schema"] for name, param in (stored.params or {}).items()}
    if not set(form["options"]) <= set(stored.options) or form["multiple"] != bool(stored.multiple):
        return f"the form it keeps showing has other options ({', '.join(stored.options)})"
    if any(shown.get(name) != param["schema"] for name, param in form["params"].items()):
        return f"the form it keeps showing has other fields ({', '.join(sorted(set(shown) - _RESERVED))})"
    if set(users) != {user.id for user in stored.assigned_users or ()}:
        return "the form it keeps showing is for other users"
    return None


def _valid(name: str, value: Any, schema: Mapping[str, Any]) -> Any:
    from airflow.providers.common.compat.sdk import Param, ParamValidationError

    rules = {key: rule for key, rule in schema.items() if key not in ("default", "description")}
    try:
        return Param(value, **rules).resolve()
    except ParamValidationError as error:
        reason = str(error).splitlines()[0]
        raise ReplyRefusedError(f"{name}: {reason}") from error


# ---------------------------------------------------------------------------------- texts from elsewhere


def _clean(text: str) -> str:
    """Return ``text`` without what is invisible, reorders its neighbours, or cannot be stored."""
    kept = "\n".join(text.replace("\t", "    ").splitlines())
    return "".join(
        char
        for char in kept
        # Joiners hold emoji and some scripts together.
        if char in "\n\u200c\u200d" or unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Zl", "Zp")
    )


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _line(text: Any) -> str:
    return _cut(" ".join(_clean(str(text)).split()), _LONGEST_LINE)


def _clean_schema(value: Any) -> Any:
    if isinstance(value, str):
        return _cut(_clean(value), _LONGEST_HINT)
    if isinstance(value, Mapping):
        return {str(key): _clean_schema(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_clean_schema(item) for item in value]
    return value


def _quoted(text: str) -> str:
    """Return Markdown, a quotation, that shows ``text`` letter for letter: no link, picture or heading."""
    lines = []
    for line in text.split("\n"):
        content = line.lstrip(" ")
        # Spaces at the beginning would make code of a line, in which a backslash is no escape.
        indent = "\u00a0" * (len(line) - len(content))
        lines.append("> " + indent + _PUNCTUATION.sub(r"\\\1", content.rstrip(" ")))
    # A backslash at the end breaks the line; one before an empty line would be shown.
    return "\n".join(
        f"{line}\\" if after.strip("> ") and line.strip("> ") else line
        for line, after in zip(lines, [*lines[1:], ""], strict=True)
    )


def _web_address(url: str | None) -> str | None:
    """Return ``url`` if it is one that a browser may open, fit for a link in Markdown."""
    try:
        parts = urlsplit(url or "")
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not parts.hostname or len(url or "") > 2000:
        return None
    return quote(url or "", safe=":/?#@!$&'*+,;=%~-._")
