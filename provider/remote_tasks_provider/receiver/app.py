"""The ASGI app that takes webhooks; needs Starlette, which Airflow 3 brings.

It answers 200 only when Airflow has what the webhook tells, 401 when nothing proves who sent it, and 503 when
it cannot tell or cannot store it: then the service may send it again. It takes the address that a service
signs from the configuration, never from the request, and it logs nothing of a request but what was proved.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from remote_tasks_provider.core.push.bell import BellNotStored
from remote_tasks_provider.core.push.events import EventRefused, VerifiedEvent, WebhookRequest
from remote_tasks_provider.receiver.known import Known, KnownConnection, NoKeys

if TYPE_CHECKING:
    from remote_tasks_provider.bases.webhooks import WebhookSettings
    from remote_tasks_provider.receiver.stores import Store

__all__ = ["MOST_BYTES", "Receiver", "make_app"]

log = logging.getLogger(__name__)

MOST_BYTES = 64 * 1024
"""Bytes of a body; Manus and QStash send less, as they send links, not files."""
_BODY_SECONDS = 5.0
_ANSWER_SECONDS = 0.9
_REMEMBERED = 4096
_COMPLAIN_EVERY = 60.0


class _NotTaken(Exception):
    """The answer to a request that is not taken."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Receiver:
    """Takes the webhooks of some connections.

    :param settings: the public address and the connections.
    :param connections: the same connections, with what is known of each.
    :param store: where the webhooks go.
    :param clock: Unix seconds.
    """

    def __init__(
        self,
        settings: WebhookSettings,
        connections: Mapping[tuple[str, str], KnownConnection],
        store: Store,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._connections = connections
        self._store = store
        self._clock = clock
        self._threads = ThreadPoolExecutor(8, thread_name_prefix="remote-tasks-webhooks")
        self._stored: OrderedDict[tuple[str, str, str], None] = OrderedDict()
        self._complained_at: dict[tuple[str, str], float] = {}

    async def take(self, request: Request) -> Response:
        """Answer a webhook."""
        place = (request.path_params["service"], request.path_params["conn_id"])
        connection = self._connections.get(place)
        if connection is None:
            return _answer(404)
        try:
            body = await _body(request)
            async with asyncio.timeout(_ANSWER_SECONDS):
                await self._take(place, connection, request, body)
        except _NotTaken as error:
            return _answer(error.status)
        except EventRefused as error:
            self._complain(place, "refused a webhook for %s: %s", connection.name, error.reason)
            return _answer(401)
        except NoKeys:
            # The reading has said why.
            return _answer(503)
        except BellNotStored as error:
            self._complain(place, "could not store a webhook for %s: %s", connection.name, error.reason)
            return _answer(503)
        except TimeoutError:
            self._complain(place, "could not store a webhook for %s in time", connection.name)
            return _answer(503)
        except Exception as error:  # noqa: BLE001 - never a 500, whatever was sent
            self._complain(place, "stumbled over a webhook for %s: %s", connection.name, type(error).__name__)
            return _answer(503)
        return _answer(200)

    async def _take(
        self, place: tuple[str, str], connection: KnownConnection, request: Request, body: bytes
    ) -> None:
        known = await connection.known()
        webhook = WebhookRequest(self._settings.url_of(*place), _headers(request), body, self._clock())
        try:
            event = _verified(connection, webhook, known)
        except EventRefused:
            again = await connection.read_again()
            if again is None or again == known:
                raise
            known, event = again, _verified(connection, webhook, again)
        if (key := (*place, event.event_id)) in self._stored:
            return
        loop = asyncio.get_running_loop()
        is_new = await loop.run_in_executor(
            self._threads, lambda: self._store.keep(*place, event, starts_dags=known.starts_dags)
        )
        self._stored[key] = None
        while len(self._stored) > _REMEMBERED:
            self._stored.popitem(last=False)
        log.info(
            "%s webhook for %s: about %s (%s).",
            "A" if is_new else "A repeated",
            connection.name,
            ", ".join(event.remote_ids) or "no task",
            event.state or "no state",
        )

    def _complain(self, place: tuple[str, str], message: str, *about: object) -> None:
        """Log a warning, for each connection once a minute at most: anybody may send what is refused."""
        now = time.monotonic()
        if now - self._complained_at.get(place, float("-inf")) >= _COMPLAIN_EVERY:
            self._complained_at[place] = now
            log.warning("The receiver " + message + ". What follows for a minute is not logged.", *about)  # noqa: G003

    def close(self) -> None:
        """Let the threads end."""
        self._threads.shutdown(wait=False)


def make_app(receiver: Receiver) -> Starlette:
    """Return the app, to be mounted at the path of the configured address."""
    return Starlette(routes=[Route("/webhooks/{service}/{conn_id:path}", receiver.take, methods=["POST"])])


def _verified(connection: KnownConnection, webhook: WebhookRequest, known: Known) -> VerifiedEvent:
    try:
        return connection.verify(webhook, known)
    except EventRefused:
        raise
    except Exception as error:  # noqa: BLE001
        # A check that stumbles has proved nothing. Its message may quote the request.
        raise EventRefused(f"its check failed ({type(error).__name__})") from None


async def _body(request: Request) -> bytes:
    """Return the body; gives up on one that is too large, too slow, or never ends."""
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and (len(announced) > 9 or int(announced) > MOST_BYTES):
        raise _NotTaken(413)
    found = bytearray()
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            async for chunk in request.stream():
                found += chunk
                if len(found) > MOST_BYTES:
                    raise _NotTaken(413)
    except TimeoutError:
        raise _NotTaken(408) from None
    except ClientDisconnect:
        raise _NotTaken(400) from None
    return bytes(found)


def _headers(request: Request) -> dict[str, str]:
    """Return the headers; of one that came twice, both values."""
    found: dict[str, str] = {}
    for name, value in request.headers.items():
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


_WORDS = {
    200: "stored",
    400: "the request ended early",
    401: "not verified",
    404: "no such webhook",
    408: "the body is too slow",
    413: "the body is too large",
    503: "not stored; send it again",
}


def _answer(status: int) -> Response:
    return JSONResponse({"status": _WORDS[status]}, status)
