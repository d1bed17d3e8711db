"""The way from the triggerer's event loop to Airflow; every question to it goes through :func:`ask`.

A triggerer has one pipe to its supervisor, which asks the API or the database on its behalf. Airflow 3.0 and
3.1 do not match answers with questions: one that is cancelled while it waits leaves its answer in the pipe
for the next question, and the whole triggerer exits. Newer versions match them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from asgiref.sync import sync_to_async

__all__ = ["LONGEST_ANSWER", "ask", "in_thread"]

T = TypeVar("T")

LONGEST_ANSWER = 60.0
"""Seconds after which an answer is no longer waited for: a secrets backend may hang, or the supervisor."""

# The event loop itself holds its tasks only weakly.
_questions: set[asyncio.Task[Any]] = set()


async def ask(question: Coroutine[Any, Any, T]) -> T:
    """Wait for the answer to ``question``; it is read from the pipe even if nobody waits for it any more.

    :raises TimeoutError: when there is no answer within :data:`LONGEST_ANSWER`.
    """
    task = asyncio.ensure_future(question)
    _questions.add(task)
    task.add_done_callback(_forget)
    answered, _ = await asyncio.wait({task}, timeout=LONGEST_ANSWER)
    if not answered:
        raise TimeoutError(f"Airflow did not answer within {LONGEST_ANSWER:g} s")
    return task.result()


def in_thread(function: Callable[..., T], *arguments: Any, **named: Any) -> Coroutine[Any, Any, T]:
    """Return a question for :func:`ask`: the call of a function that blocks until Airflow has answered.

    Only this kind of thread finds its way back to the event loop on Airflow 3.0 and 3.1, so none of
    ``asyncio.to_thread``.
    """
    return sync_to_async(function)(*arguments, **named)


def _forget(task: asyncio.Task[Any]) -> None:
    _questions.discard(task)
    if not task.cancelled():
        # Marks it as seen: nobody may be left to see it.
        task.exception()
