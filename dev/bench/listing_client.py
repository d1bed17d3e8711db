"""The measured process of ``listing``: it reads a long list to its end, in one of several ways.

All of them count the completed tasks, so that each reads every task.
"""

from __future__ import annotations

import gc
import json
from collections.abc import Callable
from typing import Any

import requests  # here, because all variants need it and the import must not be timed

from dev.bench.processes import Channel, Memory, stopwatch

PATH = "/v1/tasks"


Read = Callable[[], tuple[int, int]]


def ours(_url: str, page_size: int, *, conversations: bool = False) -> Read:
    from remote_tasks_provider.core.states import TaskState
    from remote_tasks_provider.manus.hooks import ManusHook

    hook = ManusHook("bench_manus")

    def read() -> tuple[int, int]:
        tasks = completed = 0
        for task in hook.iter_tasks(page_size=page_size):
            tasks += 1
            completed += task.state is TaskState.COMPLETED
            if conversations:
                assert task.output
        return tasks, completed

    return read


def ours_conversations(url: str, page_size: int) -> Read:
    return ours(url, page_size, conversations=True)


def bare(url: str, page_size: int) -> Read:
    session = requests.Session()

    def page(query: dict[str, Any]) -> Any:
        response = session.get(url + PATH, params=query, headers={"API_KEY": "any"}, timeout=60)
        response.raise_for_status()
        return json.loads(response.content)

    return lambda: _walk(page, page_size)


def http(_url: str, page_size: int) -> Read:
    from airflow.providers.http.hooks.http import HttpHook

    hook = HttpHook(method="GET", http_conn_id="bench_http")
    return lambda: _walk(lambda query: hook.run(PATH, data=query).json(), page_size)


VARIANTS = {"ours": ours, "ours_conversations": ours_conversations, "bare": bare, "http": http}


def _walk(page: Callable[[dict[str, Any]], Any], page_size: int) -> tuple[int, int]:
    query: dict[str, Any] = {"limit": page_size}
    tasks = completed = 0
    while True:
        answer = page(query)
        for task in answer["data"]:
            tasks += 1
            completed += task["status"] == "completed"
        if not answer.get("has_more"):
            return tasks, completed
        query["after"] = answer["last_id"]


def measure(argument: Any) -> dict[str, Any]:
    """Read the list once and return the cost."""
    read = VARIANTS[argument["variant"]](argument["url"], argument["page_size"])
    gc.collect()
    memory = Memory()
    with stopwatch() as spent:
        tasks, completed = read()
    return {**spent, "tasks": tasks, "completed": completed, "memory": memory.peak()}


if __name__ == "__main__":
    channel = Channel()
    channel.send(measure(channel.argument))
