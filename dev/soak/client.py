"""One triggerer of the soak: an event loop that runs the triggers it is given, and says what each told.

Nothing is patched: connections come from the environment and calls go over a real socket. Messages to it are
``{"run": [[id, class path, kwargs], …]}``, ``{"connections": {variable: value}}`` and ``{"stop": true}``.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

from dev.bench.processes import Channel


def usage() -> dict[str, int]:
    """Return this process's resident memory in bytes, its open files, and how many of them are sockets."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    names = []
    for entry in Path("/proc/self/fd").iterdir():
        try:
            names.append(os.readlink(entry))
        except OSError:  # the descriptor that listed the folder
            continue
    sockets = sum(name.startswith("socket:") for name in names)
    return {"memory": pages * os.sysconf("SC_PAGE_SIZE"), "files": len(names), "sockets": sockets}


class Triggerer:
    """Runs the waits of one process."""

    def __init__(self, channel: Channel, every: float) -> None:
        self._channel = channel
        self._every = every
        self._waits: dict[str, asyncio.Task[None]] = {}
        self._inbox: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()

    async def run(self) -> None:
        """Serve messages until the one that stops it."""
        loop = asyncio.get_running_loop()
        threading.Thread(target=self._listen, args=(loop,), daemon=True).start()
        sampler = loop.create_task(self._sample())
        self._channel.send({"ready": True})
        while (message := await self._inbox.get()) is not None and "stop" not in message:
            os.environ.update(message.get("connections", {}))
            for wait_id, path, kwargs in message.get("run", ()):
                self._waits[wait_id] = loop.create_task(self._wait(wait_id, path, kwargs))
        sampler.cancel()
        left = list(self._waits.values())
        for wait in left:
            wait.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        # The pollers close their clients after the last wait has gone.
        await asyncio.sleep(3)
        tasks = [str(task) for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        self._channel.send({"stopped": {**usage(), "cancelled": len(left), "tasks": tasks}})

    def _listen(self, loop: asyncio.AbstractEventLoop) -> None:
        for line in sys.stdin:
            loop.call_soon_threadsafe(self._inbox.put_nowait, json.loads(line))
        loop.call_soon_threadsafe(self._inbox.put_nowait, None)

    async def _wait(self, wait_id: str, path: str, kwargs: dict[str, Any]) -> None:
        module, _, name = path.rpartition(".")
        told: dict[str, Any] = {}
        try:
            async for event in getattr(importlib.import_module(module), name)(**kwargs).run():
                told = {"event": event.payload}
        except Exception as error:  # noqa: BLE001 - whatever a trigger raises is a wrong end
            told = {"raised": repr(error)}
        del self._waits[wait_id]
        self._channel.send({"told": wait_id, "at": time.time(), **told})

    async def _sample(self) -> None:
        while True:
            self._channel.send({"usage": usage(), "at": time.time()})
            await asyncio.sleep(self._every)


async def main() -> None:
    channel = Channel()
    if channel.argument["log"]:
        log = os.open(channel.argument["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        for standard in (1, 2):
            os.dup2(log, standard)
    for name in ("manus", "qstash"):
        importlib.import_module(f"remote_tasks_provider.{name}.triggers")
    await Triggerer(channel, channel.argument["every"]).run()


if __name__ == "__main__":
    asyncio.run(main())
