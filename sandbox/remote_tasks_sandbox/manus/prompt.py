"""What a prompt asks of the sandbox, so that a DAG can be tried by hand without any other tool.

A line of the prompt that begins with ``sandbox:`` is a directive, such as ``sandbox: ask Which day?``; the
other lines mean nothing to the sandbox. ``docs/sandbox.md`` lists the directives.
"""

from __future__ import annotations

import re
from typing import Any

from remote_tasks_sandbox.progression import Step

__all__ = ["bare_prompt", "read_directives"]

_LINE = re.compile(r"^[ \t]*sandbox:[ \t]*(\S+)[ \t]*(.*?)[ \t]*$", re.IGNORECASE | re.MULTILINE)
_SECONDS = 5.0

#: Directives that take a number, and the option of ``add_task`` that it is for.
_NUMBERS = {
    "credits": "credit_usage",
    "burn": "credits_per_second",
    "lag": "output_lag",
    "background": "background_jobs",
    "hide": "hidden_for",
}


def bare_prompt(prompt: str) -> str:
    """Return the prompt without its directives."""
    return _LINE.sub("", prompt).strip()


def read_directives(prompt: str) -> dict[str, Any]:
    """Return the options of ``add_task`` that a prompt asks for; none when it has none.

    A directive that is not understood makes the task fail with an error that names it: a slip must not pass
    for a success.
    """
    options: dict[str, Any] = {}
    waits: list[dict[str, Any]] = []
    seconds, end = None, None
    for word, rest in _LINE.findall(prompt):
        directive = word.lower()
        try:
            if directive == "seconds":
                seconds = _number(rest)
            elif directive in _NUMBERS:
                number = _number(rest)
                options[_NUMBERS[directive]] = int(number) if directive == "credits" else number
            elif directive in ("ask", "action"):
                waits.append(_wait(directive, rest))
            elif directive == "files":
                options["files"] = [name.strip() for name in rest.split(",") if name.strip()]
            elif directive == "answer":
                options["answer"] = rest
            elif directive in ("fail", "stop"):
                end = "failed" if directive == "fail" else "stopped"
                options |= {"error": rest or None} if directive == "fail" else {"stopped_by_user": True}
            else:
                raise ValueError("there is no such directive")
        except ValueError as error:
            end, options["error"] = "failed", f"sandbox: {word} {rest}".rstrip() + f" ({error})"
    if waits:
        options["waiting"] = waits
    if waits or seconds is not None or end is not None:
        options["script"] = _script(_SECONDS if seconds is None else seconds, len(waits), end or "completed")
    return options


def _script(seconds: float, waits: int, end: str) -> list[Step]:
    """Share the seconds of running evenly between the questions."""
    part = seconds / (waits + 1)
    steps: list[Step] = []
    for _ in range(waits):
        steps += [("running", part), ("pending", None)]
    return [*steps, ("running", part), (end, None)]


def _number(text: str) -> float:
    number = float(text)
    if not 0 <= number < float("inf"):
        raise ValueError("the number is from 0 on")
    return number


def _wait(directive: str, rest: str) -> dict[str, Any]:
    if directive == "ask":
        return {"type": "messageAskUser", "description": rest or None}
    kind, _, description = rest.partition(" ")
    if not kind:
        raise ValueError("an action has a type, such as gmailSendAction")
    return {"type": kind, "description": description or None}
