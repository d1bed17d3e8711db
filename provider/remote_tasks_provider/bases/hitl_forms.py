"""What a person is asked, the form that Airflow makes of it, and what the answer says.

Nothing here talks to Airflow; :mod:`remote_tasks_provider.bases.hitl` does.

Airflow has one form for each task instance, for all its attempts. From 3.4 on a later question replaces it;
below, the question clears the earlier answer, but the form keeps the text, buttons and fields of the first.
So each form has a field with the code of the question it shows, and an answer counts only when it carries the
code of the question that was asked last. That also holds for a form that was replaced while a person read it.

What a remote service wrote is not trusted: it is shown character by character, never as Markdown, and cut.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit

from airflow.providers.common.compat.sdk import Param, ParamValidationError

from remote_tasks_provider.core.errors import InvalidArgumentError, RemoteTaskError

__all__ = [
    "NO_ANSWER",
    "QUESTION_KEY",
    "Question",
    "Reply",
    "ReplyRefusedError",
    "form_of",
    "is_reply",
    "one_line_of",
    "read_reply",
    "shown_code",
    "why_unfit",
]

QUESTION_KEY = "remote_task_question"
"""The XCom key that holds the question that was asked last, with its code."""
NO_ANSWER = "No answer in time"
"""What stands in place of an option where no answer came, on Airflow 3.1 and 3.2."""

_CODE_FIELD = "question_code"
# The UI sends the buttons under the first name; Airflow's operators refuse the second.
_RESERVED = frozenset({"chosen_options", "_options", _CODE_FIELD})
_FIELD_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_PUNCTUATION = re.compile(r"([!-/:-@\[-`{-~])")

_LONGEST_LINE = 200
# Escaped and in UTF-8 it still fits the 64 KiB that a text has on MySQL.
_LONGEST_TEXT = 8000
_LONGEST_HINT = 500
_LONGEST_URL = 2000


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
    options: Sequence[str] = ("Send",)
    fields: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    multiple: bool = False
    url: str | None = None

    def __post_init__(self) -> None:
        options = dict.fromkeys(one_line_of(option) for option in self.options)
        options.pop("", None)
        if not options:
            raise InvalidArgumentError("options is empty; an answer is sent by choosing one")
        for name in self.fields:
            if not _FIELD_NAME.fullmatch(name) or name in _RESERVED:
                raise InvalidArgumentError(
                    f"{name!r} cannot be the name of a field; use letters, digits and _, and none of "
                    f"{', '.join(sorted(_RESERVED))}"
                )
        cleaned = {
            "subject": one_line_of(self.subject) or "A remote task asks",
            "text": _cut(_clean(self.text).strip(), _LONGEST_TEXT),
            "options": tuple(options),
            "fields": {name: _clean_schema(schema) for name, schema in self.fields.items()},
            "url": _web_address(self.url),
        }
        for name, value in cleaned.items():
            object.__setattr__(self, name, value)

    @property
    def code(self) -> str:
        """A short word that an answer must carry; a question that differs in anything has another one."""
        digest = hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).digest()
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
    :param timed_out: whether no answer came in time. The form is closed then; asking again opens it again.
    :param unasked: why Airflow could not put the question to anybody; ``None`` when it was asked.
    """

    chosen: tuple[str, ...] = ()
    fields: Mapping[str, Any] = field(default_factory=dict)
    by: str | None = None
    timed_out: bool = False
    unasked: str | None = None


class ReplyRefusedError(ValueError):
    """An answer that is none to the question; the message says why."""


def is_reply(event: Any) -> bool:
    """Return whether ``event`` is what Airflow resumes a task with for an answer, or for the lack of one."""
    return isinstance(event, Mapping) and ("chosen_options" in event or event.get("error_type") == "timeout")


def read_reply(event: Any, question: Question) -> Reply:
    """Return what the event, with which Airflow resumed the task, says about ``question``.

    :raises ReplyRefusedError: when it is not an answer to this question.
    :raises RemoteTaskError: when Airflow resumed the task without an answer; a retry asks again.
    """
    if not is_reply(event):
        reason = event.get("error") if isinstance(event, Mapping) else event
        raise RemoteTaskError(f"Airflow resumed the task without an answer: {reason}")
    chosen = tuple(event.get("chosen_options") or ())
    if event.get("timedout") or chosen in ((), (NO_ANSWER,)):
        return Reply(timed_out=True)
    given = dict(event.get("params_input") or {})
    code = str(given.get(_CODE_FIELD) or "").strip()
    if code.casefold() != question.code.casefold():
        given_code = f"the code {one_line_of(code)}" if code else "no code"
        raise ReplyRefusedError(f"it has {given_code}, and {question.code} was asked")
    if not set(chosen) <= set(question.options) or (len(chosen) > 1 and not question.multiple):
        raise ReplyRefusedError(f"{one_line_of(', '.join(chosen))} cannot be chosen")
    values = {name: _valid(name, given.get(name), schema) for name, schema in question.fields.items()}
    user = event.get("responded_by_user") or {}
    return Reply(chosen, values, user.get("name") or user.get("id"))


def _valid(name: str, value: Any, schema: Mapping[str, Any]) -> Any:
    try:
        return Param(value, **_rules(schema)).resolve()
    except ParamValidationError as error:
        reason = str(error).splitlines()[0]
        raise ReplyRefusedError(f"{name}: {_cut(reason, _LONGEST_HINT)}") from error


# ------------------------------------------------------------------------------------------ Airflow's form


def form_of(
    question: Question, page: str | None, *, defaults: list[str] | None, is_replaced: bool = False
) -> dict[str, Any]:
    """Return what Airflow stores of a question and makes a form of.

    :param page: the task instance's page in Airflow's UI.
    :param defaults: what stands in place of an option when time is up.
    :param is_replaced: whether the task's next question will have a form of its own.
    """
    params = {
        name: {
            "value": schema.get("default"),
            "description": schema.get("description"),
            "schema": _rules(schema),
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
        "body": _body(question, page, is_replaced),
        "options": list(question.options),
        "defaults": defaults,
        "multiple": question.multiple,
        "params": params,
    }


def shown_code(stored: Any) -> str | None:
    """Return the code of the question that a stored form shows."""
    shown = (stored.params or {}).get(_CODE_FIELD)
    return shown.get("value") if isinstance(shown, Mapping) else None


def why_unfit(stored: Any, form: Mapping[str, Any], users: Sequence[str]) -> str | None:
    """Return why the form that Airflow shows cannot take the answer that ``form`` was made for."""
    shown = {name: param["schema"] for name, param in (stored.params or {}).items()}
    if not set(form["options"]) <= set(stored.options) or form["multiple"] != bool(stored.multiple):
        return f"the form it keeps showing has other options ({', '.join(stored.options)})"
    if any(shown.get(name) != param["schema"] for name, param in form["params"].items()):
        return f"the form it keeps showing has other fields ({', '.join(sorted(set(shown) - _RESERVED))})"
    if set(users) != {user.id for user in stored.assigned_users or ()}:
        return "the form it keeps showing is for other users"
    return None


def _rules(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {name: rule for name, rule in schema.items() if name not in ("default", "description")}


def _body(question: Question, page: str | None, is_replaced: bool) -> str:
    address = _web_address(page.split("?")[0] if page else None)
    xcom = f"[{QUESTION_KEY}](<{address}/xcom>)" if address else f"`{QUESTION_KEY}`"
    parts = [
        _quoted(question.text),
        f"[Open the remote task](<{question.url}>)" if question.url else "",
        "The answer is sent to the remote service and kept in Airflow: no passwords, no keys.",
    ]
    if not is_replaced:
        parts.append(
            "**Have you answered this already?** Then the task asks something new, which this form cannot "
            f"show. Its text and code are in the task's log and in the XCom {xcom}: answer it here, with "
            "that code."
        )
    return "\n\n".join(filter(None, parts))


# ----------------------------------------------------------------------------- texts from a remote service


def _clean(text: str) -> str:
    """Return ``text`` without what is invisible, reorders its neighbours, or cannot be stored."""
    return "".join(
        char
        for char in "\n".join(str(text).replace("\t", "    ").splitlines())
        # Joiners hold emoji and some scripts together.
        if char in "\n\u200c\u200d" or unicodedata.category(char) not in ("Cc", "Cf", "Cs")
    )


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"


def one_line_of(text: Any, longest: int = _LONGEST_LINE) -> str:
    """Return a text as a button or a subject shows it: on one line, cleaned and cut."""
    return _cut(" ".join(_clean(text).split()), longest)


def _clean_schema(value: Any) -> Any:
    if isinstance(value, str):
        return _cut(_clean(value), _LONGEST_HINT)
    if isinstance(value, Mapping):
        return {str(key): _clean_schema(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_clean_schema(item) for item in value]
    return value


def _quoted(text: str) -> str:
    """Return Markdown, a quotation, that shows ``text`` as it is: no picture, heading or button.

    Airflow's UI makes a link of a web address wherever it stands; it leads where it says.
    """
    shown = []
    for line in text.split("\n"):
        content = line.strip(" ")
        # Spaces at the beginning would make code of a line, in which a backslash is no escape.
        indent = "\u00a0" * (len(line) - len(line.lstrip(" "))) if content else ""
        shown.append(indent + _PUNCTUATION.sub(r"\\\1", content))
    # A backslash at the end of a line breaks it, but is shown before an empty line.
    ends = ["\\" if line and after else "" for line, after in zip(shown, [*shown[1:], ""], strict=True)]
    return "\n".join(f"> {line}{end}" for line, end in zip(shown, ends, strict=True))


def _web_address(url: str | None) -> str | None:
    """Return ``url`` if it is one that a browser may open, fit for a link in Markdown."""
    try:
        parts = urlsplit(url or "")
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not parts.hostname or len(url or "") > _LONGEST_URL:
        return None
    return quote(url or "", safe=":/?#@!$&'*+,;=%~-._")
