"""An agent on the server of ``a2a-sdk`` 1.x, over REST and JSON-RPC, with its layer for protocol 0.3.

Usage: ``python agent_v1.py '{"fd": 5, "port": 8098}'``. ``store`` is the path of an SQLite file, else memory;
``token`` the bearer token that it wants; ``owners`` several, each with the name of its user, whose tasks no
other user sees; ``push: true`` sends notifications; ``otherwise`` the steps for a message that is no script.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import httpx
import uvicorn
from a2a.helpers import new_data_part, new_raw_part, new_task, new_text_message, new_text_part, new_url_part
from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.events import EventQueue
from a2a.server.request_handlers.default_request_handler_v2 import DefaultRequestHandlerV2
from a2a.server.routes import create_agent_card_routes, create_jsonrpc_routes, create_rest_routes
from a2a.server.tasks import (
    BasePushNotificationSender,
    DatabaseTaskStore,
    InMemoryPushNotificationConfigStore,
    InMemoryTaskStore,
    TaskUpdater,
)
from a2a.types import AgentCapabilities, AgentCard, AgentInterface, TaskState
from script import Control, State
from sqlalchemy.ext.asyncio import create_async_engine
from starlette.applications import Starlette
from starlette.authentication import SimpleUser


class Agent(AgentExecutor):
    """Follows the script in a message."""

    def __init__(self, state: State) -> None:
        self._state = state

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        """Take the steps."""
        task_id, context_id, message = context.task_id, context.context_id, context.message
        steps = self._state.begin(task_id, context_id, message.message_id, context.get_user_input())
        if steps[0][0] == "message":
            await event_queue.enqueue_event(new_text_message(steps[0][1], context_id=context_id))
            return
        if context.current_task is None:
            task = new_task(task_id, context_id, TaskState.TASK_STATE_SUBMITTED, history=[message])
            await event_queue.enqueue_event(task)
        updater = TaskUpdater(event_queue, task_id, context_id)
        await updater.start_work()
        said = 0
        while steps:
            word, rest = steps.pop(0)

            def text(shown: str = rest) -> Any:
                return updater.new_agent_message([new_text_part(shown)]) if shown else None

            if word == "say":
                await updater.add_artifact([new_text_part(rest)], artifact_id="text", append=said > 0)
                said += 1
            elif word == "data":
                await updater.add_artifact([new_data_part(json.loads(rest))], name="value")
            elif word == "file":
                name, _, content = rest.partition(" ")
                part = new_raw_part(content.encode(), media_type="text/plain", filename=name)
                await updater.add_artifact([part], name=name)
            elif word == "link":
                await updater.add_artifact([new_url_part(rest, media_type="text/plain")])
            elif word == "status":
                await updater.start_work(text())
            elif word == "work":
                await asyncio.sleep(float(rest))
            elif word == "hold":
                await self._state.released[task_id].wait()
            elif word in ("ask", "auth"):
                self._state.left[task_id] = steps
                await (updater.requires_input if word == "ask" else updater.requires_auth)(text())
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


class Owners:
    """ASGI middleware: each token's user, as Starlette's ``AuthenticationMiddleware`` would say it."""

    def __init__(self, app: Any, owners: dict[str, str]) -> None:
        self._app = app
        self._owners = owners

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request."""
        for name, value in scope["headers"]:
            owner = self._owners.get(value.decode("latin-1").removeprefix("Bearer "))
            if name == b"authorization" and owner:
                scope = {**scope, "user": SimpleUser(owner)}
        await self._app(scope, receive, send)


def main(options: dict[str, Any]) -> None:
    """Serve until killed."""
    base, state = f"http://127.0.0.1:{options['port']}", State(options.get("otherwise"))
    interfaces = [
        AgentInterface(url=f"{base}/rest", protocol_binding="HTTP+JSON", protocol_version="1.0"),
        AgentInterface(url=f"{base}/rpc", protocol_binding="JSONRPC", protocol_version="1.0"),
        AgentInterface(url=f"{base}/rpc", protocol_binding="JSONRPC", protocol_version="0.3"),
    ]
    card = AgentCard(
        name="Scripted agent",
        description="Follows the script that a message is.",
        version="1.0.0",
        supported_interfaces=interfaces,
        capabilities=AgentCapabilities(streaming=True, push_notifications=bool(options.get("push"))),
        default_input_modes=["text/plain"],
        default_output_modes=["text/plain"],
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
    handler = DefaultRequestHandlerV2(Agent(state), store, card, **push)
    app = Starlette(
        routes=[
            *create_agent_card_routes(card),
            *create_rest_routes(handler, path_prefix="/rest"),
            *create_jsonrpc_routes(handler, "/rpc", enable_v0_3_compat=True),
        ]
    )
    owned = Owners(app, options.get("owners", {}))
    served = Control(owned, state, options.get("token"))
    uvicorn.run(served, fd=options["fd"], log_level="warning", lifespan="off")


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
