"""What an emulated Manus task can wait for, and when an answer lets it continue.

The types and their inputs are those of https://open.manus.ai/docs/v2/task-lifecycle; a type that is not
listed there is taken as well, with whatever schema a test gives it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from remote_tasks_sandbox.manus.schemas import input_problem

__all__ = ["Decision", "Question", "parse_questions"]

#: Questions in words, which a message answers.
_IN_WORDS = frozenset({"messageAskUser", "cascadeAskUser"})

#: The documented actions and the schemas of their inputs; any other action can be accepted or not.
_SCHEMAS: dict[str, dict[str, Any]] = json.loads((Path(__file__).parent / "actions.json").read_text())
_ACCEPT = {"type": "object", "properties": {"accept": {"type": "boolean"}}}


@dataclass(frozen=True)
class Decision:
    """What a confirmation does: whether it was used, and whether it ends the task."""

    confirmed: bool
    ends: bool = False


@dataclass(frozen=True)
class Question:
    """One thing to wait for.

    :param type: ``messageAskUser``, an action of the guide, or any other word
    :param description: what is shown to the user
    :param schema: what an input must fit; default that of the type
    :param event_id: default made up
    :param options: answers that the agent proposes (newer, not in the published schema)
    :param multiple: whether several of them may be chosen
    :param unconfirmed: so many confirmations are not used, whatever they say
    """

    type: str = "messageAskUser"
    description: str | None = None
    schema: Mapping[str, Any] | None = None
    event_id: str | None = None
    options: tuple[str, ...] = ()
    multiple: bool = False
    unconfirmed: int = 0

    @property
    def in_words(self) -> bool:
        """Whether a message answers it, and not a confirmation."""
        return self.type in _IN_WORDS

    @property
    def input_schema(self) -> Mapping[str, Any] | None:
        """Return the schema of a confirmation's input; questions in words have none."""
        if self.in_words:
            return self.schema
        return self.schema if self.schema is not None else _SCHEMAS.get(self.type, _ACCEPT)

    def decide(self, given: Mapping[str, Any]) -> Decision:
        """Return what a confirmation with this input does."""
        problem = input_problem(given, self.input_schema or {})
        if problem is None and given.get("action") == "select" and not given.get("client_id"):
            problem = "input.client_id is required"
        if problem:
            raise ValueError(problem)
        if self.type == "apiHighCreditNotice" and given.get("action") == "reject":
            return Decision(confirmed=True, ends=True)
        # Without a decision, or against one, nothing is used up: the task keeps waiting. Secrets are the
        # documented exception.
        refused = given.get("accept") is False and self.type != "webdevRequestSecrets"
        return Decision(confirmed=bool(given) and not refused)


def parse_questions(raw: Any) -> tuple[Question, ...]:
    """Accept a type, ``{"type": ..., "description": ..., ...}``, or a list of these, asked in turn."""
    if raw is None:
        return ()
    items: Any = [raw] if isinstance(raw, Question | str | Mapping) else raw
    if not isinstance(items, list | tuple):
        raise ValueError(f"not something to wait for: {raw!r}")  # noqa: TRY004 - a wrong value in JSON, answered with 400
    return tuple(_parse_question(item) for item in items)


def _parse_question(raw: Any) -> Question:
    if isinstance(raw, Question):
        return raw
    if not isinstance(raw, str | Mapping):
        raise ValueError(f"not something to wait for: {raw!r}")  # noqa: TRY004 - a wrong value in JSON, answered with 400
    given: dict[str, Any] = {"type": raw} if isinstance(raw, str) else dict(raw)
    if unknown := sorted(set(given) - set(Question.__dataclass_fields__)):
        raise ValueError(f"waiting has no {unknown}; it has {sorted(Question.__dataclass_fields__)}")
    if "options" in given:
        given["options"] = tuple(str(option) for option in given["options"])
    if not isinstance(given.get("type", "messageAskUser"), str) or given.get("type") == "":
        raise ValueError("the type of what is waited for is a word")
    return Question(**given)
