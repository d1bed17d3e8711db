"""The agent's question as a form in Airflow, and the person's reply as an answer for Manus.

A form has buttons and fields. Each has a *plain* form, one text field, besides its *rich* one, because
Airflow below 3.4 keeps showing the first form of a task. A later question can be answered there only as far
as the first form has what the later one needs, and all have the plain one.

No action is confirmed but by what a person has entered, or by an input that the DAG's author has allowed for
its type. https://open.manus.ai/docs/v2/task-lifecycle lists the types and their inputs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from typing import Any

from remote_tasks_provider.bases.hitl_forms import Question, Reply, one_line_of
from remote_tasks_provider.manus.results import ManusQuestion

__all__ = ["ANSWERED_THERE", "SEND", "STOP", "Answer", "form_for", "read_answer"]

SEND = "Send"
ANSWERED_THERE = "Answered in Manus"
STOP = "Stop the task"
_BUTTONS = (SEND, ANSWERED_THERE, STOP)
ANSWER = "answer"
_ANSWER_FIELD = {
    "type": ["string", "null"],
    "title": "Answer",
    "description": "Your answer; for an action its input as JSON, unless it has fields here.",
    "format": "multiline",
    "default": None,
}

# Airflow stores and shows what is entered.
_SECRET_KINDS = frozenset({"webdevRequestSecrets"})
_SIMPLE_TYPES = frozenset({"string", "boolean", "integer", "number"})
_MOST_OPTIONS = 10
# Characters of a subject, so that what asks is seen, too.
_LONGEST_QUESTION = 140


@dataclass(frozen=True, slots=True)
class Answer:
    """What to do about a question; exactly one of the fields says it.

    :param message: what to say to the agent.
    :param input: what to confirm the action with.
    :param stop: stop the task.
    :param elsewhere: nothing: a person has answered it in the Manus app.
    """

    message: str | None = None
    input: Mapping[str, Any] | None = None
    stop: bool = False
    elsewhere: bool = False


def form_for(asked: ManusQuestion, title: str | None, url: str | None, *, rich: bool) -> Question:
    """Return the form in which a person answers ``asked``.

    :param rich: with the agent's options as buttons and an action's inputs as fields.
    """
    subject = _subject(asked, title)
    buttons = _BUTTONS
    if asked.kind in _SECRET_KINDS:
        text = f"{asked.text}\n\nIt asks for secrets. Enter them in the Manus app only, then say so here."
        return Question(subject, text, (ANSWERED_THERE, STOP), url=url)
    fields: dict[str, Mapping[str, Any]] = {ANSWER: _ANSWER_FIELD}
    options = tuple(option_buttons(asked)) if rich and not asked.multiple else ()
    inputs = _input_fields(asked.schema) if rich and not asked.in_words else {}
    try:
        return Question(subject, _text(asked), (*options, *buttons), {**fields, **inputs}, url=url)
    except ValueError:
        # An input is called as no field of a form can be.
        return Question(subject, _text(asked), (*options, *buttons), fields, url=url)


def _subject(asked: ManusQuestion, title: str | None) -> str:
    """Return the line in the list of required actions: the question first, then what asks it."""
    question = one_line_of(asked.text, _LONGEST_QUESTION)
    if not question:
        question = "The agent waits for an answer" if asked.in_words else "The agent wants to do something"
    action = "" if asked.in_words else f" [{asked.kind}]"
    return f"{question}{action}" + (f" — “{title}”" if title else "")


def option_buttons(asked: ManusQuestion) -> dict[str, str]:
    """Return the buttons of the agent's options → what the agent gets for each, its own text.

    A button of an option can be told from this form's own buttons, and from any other option's.
    """
    found: dict[str, str] = {}
    taken = {button.casefold() for button in _BUTTONS}
    for number, option in enumerate(asked.options[:_MOST_OPTIONS], 1):
        if shown := one_line_of(option):
            button = next(name for name in _names(shown, number) if name.casefold() not in taken)
            taken.add(button.casefold())
            found[button] = option
    return found


def _names(shown: str, number: int) -> Iterator[str]:
    """Yield names for the button of an option, the best first; no end of them, and no two alike."""
    yield shown
    yield one_line_of(f"Option {number}: {shown}")
    for again in count(2):
        yield one_line_of(f"Option {number} ({again}): {shown}")


def _text(asked: ManusQuestion) -> str:
    parts = [asked.text or "The agent did not say what it waits for."]
    if asked.options:
        several = " (several are possible)" if asked.multiple else ""
        parts.append(f"Its options{several}:\n" + "\n".join(f"- {option}" for option in asked.options))
    if not asked.in_words and asked.schema:
        parts.append(f"The input it takes, as a JSON schema: {json.dumps(asked.schema)}")
    return "\n\n".join(parts)


def _input_fields(schema: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return a field for each property, or none where one is too complex for a form."""
    properties = schema.get("properties")
    if not isinstance(properties, Mapping) or ANSWER in properties:
        return {}
    fields: dict[str, Mapping[str, Any]] = {}
    for name, given in properties.items():
        json_type = given.get("type") if isinstance(given, Mapping) else None
        if not isinstance(json_type, str) or json_type not in _SIMPLE_TYPES:
            return {}
        texts = {key: given[key] for key in ("title", "description") if isinstance(given.get(key), str)}
        choices = given.get("enum")
        wanted = {"enum": [*choices, None]} if isinstance(choices, list) else {}
        # Nothing is filled in before the person does it: no action is confirmed by default.
        fields[str(name)] = {**texts, **wanted, "type": [json_type, "null"], "default": None}
    return fields


def read_answer(asked: ManusQuestion, reply: Reply) -> Answer | str:
    """Return what ``reply`` answers, or, as a text, why it answers nothing."""
    chosen = reply.chosen[0] if reply.chosen else ""
    if chosen == STOP:
        return Answer(stop=True)
    if chosen == ANSWERED_THERE:
        return Answer(elsewhere=True)
    text = str(reply.fields.get(ANSWER) or "").strip()
    if asked.in_words:
        # An option of the agent's is an answer by itself; what was written beside it adds to it.
        option = option_buttons(asked).get(chosen, "")
        words = "\n\n".join(part for part in (option, text) if part)
        return Answer(message=words) if words else "the answer was empty"
    given = {
        name: value for name, value in reply.fields.items() if name != ANSWER and value not in (None, "")
    }
    if not text:
        return Answer(input=given) if given else "nothing was entered to confirm the action with"
    with suppress(ValueError):
        entered = json.loads(text)
        if isinstance(entered, dict):
            return Answer(input=given | entered)
    return 'the answer to an action must be a JSON object, such as {"accept": true}'
