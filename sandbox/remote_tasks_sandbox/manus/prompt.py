"""What a prompt asks of the sandbox, so that a DAG can be tried by hand without any other tool.

A line of the prompt that begins with ``sandbox:`` is an order, such as ``sandbox: ask Which day?``; the other
lines mean nothing to the sandbox. ``docs/sandbox.md`` lists the orders.
"""

from __future__ import annotations

import re
from typing import Any

from remote_tasks_sandbox.progression import Step

__all__ = ["bare_prompt", "read_directives"]

_LINE = re.compile(r"^[ \t]*sandbox:[ \t]*(\S+)[ \t]*(.*?)[ \t]*$", re.IGNORECASE | re.MULTILINE)
_SECONDS = 5.0

#: Orders that take a number, and the option of ``add_task`` that it is for.
_NUMBERS = {
    "credits": "credit_usage",
    "burn": "credits_per_second",
    "lag": "output_lag",
    "background": "background_jobs",
    "hide": "hidden_for",
}


def bare_prompt(prompt: str) -> str:
    """Return the prompt without its orders."""
    return _LINE.sub("", prompt).strip()


def read_directives(prompt: str) -> dict[str, Any]:
    """Return the options of ``add_task`` that a prompt asks for; none when it has no order.

    An order that is not understood makes the task fail with an error that names it: a slip must not pass for
    a success.
    """
    options: dict[str, Any] = {}
    waits: list[dict[str, Any]] = []
    seconds, end = None, None
    for word, rest in _LINE.findall(prompt):
        order = word.lower()
        try:
            if order == "seconds":
                seconds = _number(rest)
            elif order in _NUMBERS:
                number = _number(rest)
                options[_NUMBERS[order]] = int(number) if order == "credits" else number
            elif order in ("ask", "action"):
                waits.append(_wait(order, rest))
            elif order == "files":
                options["files"] = [name.strip() for name in rest.split(",") if name.strip()]
            elif order == "answer":
                options["answer"] = rest
            elif order in ("fail", "stop"):
                end = "failed" if order == "fail" else "stopped"
                options |= {"error": rest or None} if order == "fail" else {"stopped_by_user": True}
            else:
                raise ValueError("there is no such order")
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


def _wait(order: str, rest: str) -> dict[str, Any]:
    if order == "ask":
        return {"type": "messageAskUser", "description": rest or None}
    kind, _, description = rest.partition(" ")
    if not kind:
        raise ValueError("an action has a type, such as gmailSendAction")
    return {"type": kind, "description": description or None}
