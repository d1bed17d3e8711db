"""An agent on the server of ``a2a-sdk`` 0.3, over JSON-RPC; takes the options of :mod:`.agent_v1`."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import httpx
import uvicorn
from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.apps import A2AStarletteApplication
from a2a.server.events import EventQueue
from a2a.server.request_handlers import DefaultRequestHandler
from a2a.server.tasks import (
    BasePushNotificationSender,
    DatabaseTaskStore,
    InMemoryPushNotificationConfigStore,
    InMemoryTaskStore,
    TaskUpdater,
)
from a2a.types import (
    AgentCapabilities,
    AgentCard,
    DataPart,
    FilePart,
    FileWithBytes,
    FileWithUri,
    Part,
    TaskState,
    TextPart,
)
from a2a.utils import new_agent_text_message, new_task
from script import Control, State
from sqlalchemy.ext.asyncio import create_async_engine


class Agent(AgentExecutor):
    """Follows the script in a message."""

    def __init__(self, state: State) -> None:
        self._state = state

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        """Take the steps."""
        message, task = context.message, context.current_task
        task_id, context_id = context.task_id, context.context_id
        steps = self._state.begin(task_id, context_id, message.message_id, context.get_user_input())
        if steps[0][0] == "message":
            await event_queue.enqueue_event(new_agent_text_message(steps[0][1], context_id))
            return
        if task is None:
            await event_queue.enqueue_event(new_task(message))
        updater = TaskUpdater(event_queue, task_id, context_id)
        await updater.start_work()
        said = 0
        while steps:
            word, rest = steps.pop(0)

            def text(shown: str = rest) -> Any:
                return updater.new_agent_message([Part(root=TextPart(text=shown))]) if shown else None

            if word == "say":
                part = Part(root=TextPart(text=rest))
                await updater.add_artifact([part], artifact_id="text", append=said > 0)
                said += 1
            elif word == "data":
                value = json.loads(rest)
                value = value if isinstance(value, dict) else {"value": value}
                await updater.add_artifact([Part(root=DataPart(data=value))], name="value")
            elif word in ("file", "link"):
                await updater.add_artifact([Part(root=FilePart(file=_file(word, rest)))])
            elif word == "status":
                await updater.start_work(text())
            elif word == "work":
                await asyncio.sleep(float(rest))
            elif word == "hold":
                await self._state.released[task_id].wait()
            elif word in ("ask", "auth"):
                self._state.left[task_id] = steps
                state = TaskState.input_required if word == "ask" else TaskState.auth_required
                await updater.update_status(state, text(), final=True)
                return
            elif word in ("fail", "reject"):
                await (updater.failed if word == "fail" else updater.reject)(text())
                return
            elif word == "crash":
                raise RuntimeError("the agent crashed")
        await updater.complete()

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        """Cancel the task."""
        await TaskUpdater(event_queue, context.task_id, context.context_id).cancel()


def _file(word: str, rest: str) -> FileWithBytes | FileWithUri:
    import base64

    if word == "link":
        return FileWithUri(uri=rest, mime_type="text/plain")
    name, _, content = rest.partition(" ")
    return FileWithBytes(bytes=base64.b64encode(content.encode()).decode(), name=name, mime_type="text/plain")


def main(options: dict[str, Any]) -> None:
    """Serve until killed."""
    state = State(options.get("otherwise"))
    card = AgentCard(
        name="Scripted agent 0.3",
        description="Follows the script that a message is.",
        version="0.3.0",
        url=f"http://127.0.0.1:{options['port']}/rpc",
        capabilities=AgentCapabilities(streaming=True, push_notifications=bool(options.get("push"))),
        default_input_modes=["text/plain"],
        default_output_modes=["text/plain"],
        skills=[],
    )
    path = options.get("store")
    store: Any = InMemoryTaskStore()
    if path:
        store = DatabaseTaskStore(create_async_engine(f"sqlite+aiosqlite:///{path}"))
    push: dict[str, Any] = {}
    if options.get("push"):
        configs = InMemoryPushNotificationConfigStore()
        sender = BasePushNotificationSender(httpx.AsyncClient(trust_env=False), configs)
        push = {"push_config_store": configs, "push_sender": sender}
    handler = DefaultRequestHandler(Agent(state), store, **push)
    app = A2AStarletteApplication(card, handler).build(rpc_url="/rpc")
    served = Control(app, state, options.get("token"))
    uvicorn.run(served, fd=options["fd"], log_level="warning", lifespan="off")


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
