"""An agent on the server of ``fasta2a``, over JSON-RPC; takes the options ``fd`` and ``port``.

It lists no tasks, always answers at once, and begins a new task for each message, an answer too.
"""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import uvicorn
from fasta2a import FastA2A
from fasta2a.broker import InMemoryBroker
from fasta2a.schema import Artifact, Message, Part, TaskIdParams, TaskSendParams
from fasta2a.storage import InMemoryStorage
from fasta2a.worker import Worker
from script import Control, State


class Agent(Worker[list[Message]]):
    """Follows the script in a message: the steps ``say``, ``hold``, ``ask`` and ``fail``."""

    def __init__(self, broker: InMemoryBroker, storage: InMemoryStorage[Any], state: State) -> None:
        super().__init__(broker=broker, storage=storage)
        self._state = state

    async def run_task(self, params: TaskSendParams) -> None:
        """Take the steps."""
        task_id, context_id, message = params["id"], params["context_id"], params["message"]
        text = "".join(part.get("text", "") for part in message["parts"])
        await self.storage.update_task(task_id, state="working")
        said: list[Part] = []
        for word, rest in self._state.begin(task_id, context_id, message["message_id"], text):
            if word == "say":
                said.append({"text": rest})
            elif word == "hold":
                await self._state.released[task_id].wait()
            elif word == "ask":
                await self._tell(task_id, "input-required", rest)
                return
            elif word == "fail":
                raise RuntimeError(rest)
        artifacts = [Artifact(artifact_id=str(uuid4()), name="text", parts=said)]
        await self.storage.update_task(task_id, state="completed", new_artifacts=artifacts)

    async def _tell(self, task_id: str, state: Any, text: str) -> None:
        message = Message(role="agent", parts=[{"text": text}], message_id=str(uuid4()))
        await self.storage.update_task(task_id, state=state, new_messages=[message])

    async def cancel_task(self, params: TaskIdParams) -> None:
        """Cancel the task; it gets here when the worker has nothing else to do."""
        task = await self.storage.load_task(params["id"])
        if task is not None and task["status"]["state"] in ("submitted", "working", "input-required"):
            await self.storage.update_task(params["id"], state="canceled")

    def build_message_history(self, history: list[Message]) -> list[Any]:
        """Not used."""
        return history

    def build_artifacts(self, result: Any) -> list[Artifact]:
        """Not used."""
        return []


def main(options: dict[str, Any]) -> None:
    """Serve until killed."""
    state = State()
    storage: InMemoryStorage[Any] = InMemoryStorage()
    broker = InMemoryBroker()
    agent = Agent(broker, storage, state)

    @asynccontextmanager
    async def lifespan(app: FastA2A) -> AsyncIterator[None]:
        async with app.task_manager, agent.run():
            yield

    app = FastA2A(
        storage=storage, broker=broker, url=f"http://127.0.0.1:{options['port']}/", lifespan=lifespan
    )
    uvicorn.run(Control(app, state, options.get("token")), fd=options["fd"], log_level="warning")


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
