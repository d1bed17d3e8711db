"""Transports that answer a task's id with a word, a status or an exception, for the tests of core."""

from __future__ import annotations

import asyncio
from typing import Any

from remote_tasks_provider.core.http.operation import Request, Response
from tests.core.build import a_call, a_response

__all__ = ["AsyncWords", "Words", "ask"]


class Words:
    """Answers the path ``/<task id>``; a task that is not in ``answers`` is running."""

    def __init__(self, answers: dict[str, str | int | Exception]) -> None:
        self.answers = answers
        self.asked: list[str] = []
        self.timeouts: list[float | None] = []
        self.headers: dict[str, str] = {}
        self.at_once = self.most_at_once = 0

    def send(self, request: Request, *, timeout: float | None = None, fresh: bool = False) -> Response:
        task_id = request.path.removeprefix("/")
        self.asked.append(task_id)
        self.timeouts.append(timeout)
        word = self.answers.get(task_id, "running")
        if isinstance(word, Exception):
            raise word
        return (
            a_response(word, {}, **self.headers) if isinstance(word, int) else a_response(200, word.encode())
        )

    def close(self) -> None: ...


class AsyncWords(Words):
    async def send(self, request: Request) -> Response:  # type: ignore[override]
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(0)
        self.at_once -= 1
        return Words.send(self, request)

    async def aclose(self) -> None: ...


def ask(task_id: str) -> Any:
    """Return the operation that asks for a task's word."""
    return a_call(lambda response: response.body.decode(), path=f"/{task_id}")
