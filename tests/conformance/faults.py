"""Everything that may go wrong with a wait, as data: what the peer does, and how the wait has to end.

A task runs for 300 s and then completes; the sensor polls every 30 s and gives up after 3,000 s.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from airflow.providers.common.compat.sdk import AirflowNotFoundException

from remote_tasks_provider.core.errors import TransportError
from remote_tasks_provider.core.http.operation import Response
from tests.conformance.peer import Peer

__all__ = ["AGENT_FAULTS", "FAULTS", "Fault"]

RUNS_FOR = 300.0

Prepare = Callable[[Peer, str], Any]


@dataclass(frozen=True)
class Fault:
    """One fault.

    :param prepare: tells the peer what goes wrong, with the task of this id.
    :param ending: how the wait ends.
    :param error: the class of its error.
    :param within: from which to which second it ends.
    :param arguments: of the sensor.
    """

    prepare: Prepare
    ending: str = "success"
    error: str = ""
    within: tuple[float, float] = (RUNS_FOR, RUNS_FOR + 35)
    arguments: dict[str, Any] = field(default_factory=dict)


def status(code: int, since: float, until: float = 1e9, **headers: str) -> Prepare:
    """Answer every request in this time with an error."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = Response(code, {"content-type": "application/json", **named}, b'{"message": "no"}')

    def prepare(peer: Peer, _task_id: str) -> None:
        peer.fault = lambda at, _request: answer if since <= at < until else None

    return prepare


def meets(what: Any, since: float, until: float = 1e9) -> Prepare:
    """Meet every request in this time with a transport error, a hang or a body."""

    def prepare(peer: Peer, _task_id: str) -> None:
        peer.fault = lambda at, _request: what if since <= at < until else None

    return prepare


def hidden(since: float, until: float = 1e9) -> Prepare:
    """Let the service forget the task for a time."""

    def prepare(peer: Peer, task_id: str) -> None:
        undo: list[Callable[[], Any]] = []
        peer.time.at(since, lambda: undo.append(peer.hide(task_id)))
        peer.time.at(until, lambda: undo.pop()())

    return prepare


def clock(at: float, by: float) -> Prepare:
    """Set the machine's clock."""
    return lambda peer, _task_id: peer.time.at(at, lambda: setattr(peer.time, "jump", by))


def key_changes(old_refused_at: float, new_known_at: float) -> Prepare:
    """Rotate the key."""

    def prepare(peer: Peer, _task_id: str) -> None:
        peer.time.at(old_refused_at, lambda: setattr(peer, "good_key", "sk-new"))
        peer.time.at(new_known_at, lambda: setattr(peer, "key", "sk-new"))

    return prepare


def host_changes(moves_at: float, known_at: float) -> Prepare:
    """Move the service to another host."""

    def prepare(peer: Peer, _task_id: str) -> None:
        new = "https://new.example.com/prefix"
        peer.time.at(moves_at, lambda: setattr(peer, "good_host", new))
        peer.time.at(known_at, lambda: setattr(peer, "host", new))

    return prepare


def unreadable(error: Exception, since: float, until: float = 1e9) -> Prepare:
    """Let reading the connection fail in this time."""

    def prepare(peer: Peer, _task_id: str) -> None:
        peer.unreadable = lambda at: error if since <= at < until else None

    return prepare


def odd_neighbours(peer: Peer, _task_id: str) -> None:
    """Put tasks with odd values into each list, and odd values into unknown fields of the task itself."""
    odd = [None, 7, [], {"x": {}}, "", "\ud800", "a\u0000b", "9999-12-31T23:59:59-05:00", 10**30, -1e308]

    def spoil(_at: float, body: Any) -> Any:
        if not isinstance(body, dict):
            return body
        for name, value in body.items():
            if isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
                items = [
                    {key: odd[(place + turn) % len(odd)] for place, key in enumerate(value[0])}
                    for turn in range(10)
                ]
                body[name] = [
                    *items[:5],
                    *({**one, "new_field": "\ud800\u0000"} for one in value),
                    *items[5:],
                ]
        return json.loads(json.dumps(body))

    peer.spoil = spoil


NO_ROUTE = TransportError("no route to host", sent=False)
RESET = TransportError("the connection was reset")
GARBAGE = Response(200, {"content-type": "text/html"}, b"<html>maintenance</html>")
WRONG_SHAPE = Response(200, {"content-type": "application/json"}, b'["surprise"]')
SEALED = RuntimeError("the vault is sealed")
UNDEFINED = AirflowNotFoundException("The conn_id `x` isn't defined")
# What stands from the 60th second on is believed at one of the polls after so many seconds.
GRACE = (60 + 90.0, 60 + 90 + 65.0)
TOLERANCE = (60 + 900.0, 60 + 900 + 130.0)

FAULTS: dict[str, Fault] = {
    "nothing": Fault(lambda _peer, _task_id: None),
    "short outage": Fault(meets(NO_ROUTE, 60, 290)),
    "long outage": Fault(meets(NO_ROUTE, 60), "retryable", "TransportError", TOLERANCE),
    "outage from the start": Fault(meets(NO_ROUTE, 0, 200)),
    "outage until after the task has finished": Fault(meets(RESET, 60, 800), within=(800, 835)),
    "5xx for a while": Fault(status(503, 60, 290)),
    "5xx that stays": Fault(status(500, 60), "retryable", "ServerError", TOLERANCE),
    "long outage with much patience": Fault(
        meets(NO_ROUTE, 60, 2000), within=(2000, 2035), arguments={"outage_tolerance": 2500}
    ),
    "429 with Retry-After": Fault(status(429, 20, 200, retry_after="120"), within=(300, 365)),
    "429 without Retry-After": Fault(status(429, 20, 280), within=(300, 400)),
    "429 at the first poll": Fault(status(429, 0, 10, retry_after="280"), within=(300, 345)),
    "429 that outlasts the deadline": Fault(
        status(429, 20, retry_after="3600"), "timeout", "", (500, 510), {"timeout": 500}
    ),
    "429 for longer than an outage may last": Fault(status(429, 20, 1500), within=(1500, 1700)),
    "hang": Fault(meets("hang", 60, 280), within=(300, 460)),
    "hang that outlasts the deadline": Fault(meets("hang", 60), "timeout", "", (500, 510), {"timeout": 500}),
    "garbage": Fault(meets(GARBAGE, 60, 290)),
    "another shape": Fault(meets(WRONG_SHAPE, 60, 290)),
    "garbage that stays": Fault(meets(GARBAGE, 60), "retryable", "InvalidResponseError", TOLERANCE),
    "odd neighbours": Fault(odd_neighbours),
    "401 once": Fault(status(401, 50, 70)),
    "403 once": Fault(status(403, 50, 70)),
    "302 once": Fault(status(302, 50, 70, location="https://login.example.com/")),
    "400 once": Fault(status(400, 50, 70)),
    "404 once": Fault(status(404, 50, 70)),
    "401 at the first poll": Fault(status(401, 0, 10)),
    "401 that stands": Fault(status(401, 60), "failed", "AuthenticationError", GRACE),
    "403 that stands": Fault(status(403, 60), "failed", "PermissionDeniedError", GRACE),
    "302 that stands": Fault(
        status(302, 60, location="https://login.example.com/"), "failed", "RedirectError", GRACE
    ),
    # Noticed when the others have finished, or by the next full listing.
    "task that vanishes": Fault(hidden(60), "failed", "NotFoundError", (300, 425)),
    "task that is not visible yet": Fault(hidden(0, 80)),
    "task that vanishes for a moment": Fault(hidden(100, 160)),
    "clock set forward": Fault(clock(100, 600)),
    "clock set back": Fault(clock(100, -600)),
    "key changed": Fault(key_changes(100, 100)),
    "key changed, and the secrets backend is late": Fault(key_changes(100, 160)),
    "key changed for good": Fault(key_changes(60, 1e9), "failed", "AuthenticationError", GRACE),
    "host changed": Fault(host_changes(100, 100), within=(300, 640)),
    "secrets backend down at the start": Fault(unreadable(SEALED, 0, 200)),
    "secrets backend down for a while": Fault(unreadable(SEALED, 60, 800), within=(300, 835)),
    "secrets backend down for good": Fault(
        unreadable(SEALED, 0), "retryable", "ConnectionUnavailableError", (900, 1035)
    ),
    "connection undefined for a moment": Fault(unreadable(UNDEFINED, 0, 60)),
    "connection undefined": Fault(unreadable(UNDEFINED, 0), "failed", "ConnectionConfigError", (90, 155)),
    "timeout": Fault(lambda _peer, _task_id: None, "timeout", "", (200, 206), {"timeout": 200}),
    "timeout in trouble": Fault(meets(NO_ROUTE, 60), "timeout", "", (200, 206), {"timeout": 200}),
    "timeout under soft_fail": Fault(
        lambda _peer, _task_id: None, "skipped", "", (200, 206), {"timeout": 200, "soft_fail": True}
    ),
    "undefined connection under soft_fail": Fault(
        unreadable(UNDEFINED, 0), "failed", "ConnectionConfigError", (90, 155), {"soft_fail": True}
    ),
    "undefined connection under never_fail": Fault(
        unreadable(UNDEFINED, 0), "skipped", "", (90, 155), {"never_fail": True}
    ),
}


def refuses(reason: str, since: float, until: float = 1e9) -> Prepare:
    """Let an agent refuse every request in this time, as its wire form says it; without a reason, a 500."""

    def prepare(peer: Peer, _task_id: str) -> None:
        def fault(at: float, request: Any) -> Response | None:
            if not since <= at < until:
                return None
            code, body = peer.agent.refused(request, reason)
            return Response(code, {"content-type": "application/json"}, json.dumps(body).encode())

        peer.fault = fault

    return prepare


def agent_is(**facts: Any) -> Prepare:
    """Let an agent have a habit; see :class:`~tests.conformance.agent.FakeAgent`."""

    def prepare(peer: Peer, _task_id: str) -> None:
        for name, value in facts.items():
            setattr(peer.agent, name, value)

    return prepare


def tasks_are(**facts: Any) -> Prepare:
    """Let all tasks of an agent have something; see :class:`~tests.conformance.agent.AgentTask`."""

    def prepare(peer: Peer, _task_id: str) -> None:
        for task in peer.agent.tasks:
            for name, value in facts.items():
                setattr(task, name, value)

    return prepare


def crowd(peer: Peer, _task_id: str) -> None:
    """Let other tasks of the account fill pages, whose cursor ends early whenever one of them has changed."""
    for _ in range(7):
        peer.agent.add_task([("working", 1.0), *[("working", 25.0)] * 40, ("completed", None)])
    peer.agent.page_size, peer.agent.ends_early = 4, True


def all_forgotten(peer: Peer, _task_id: str) -> None:
    """Start an agent again that keeps its tasks in memory."""
    peer.time.at(60, lambda: [peer.agent.delete_task(task.id) for task in list(peer.agent.tasks)])


AGENT_FAULTS: dict[str, Fault] = {
    "internal error for a while": Fault(refuses("", 60, 290)),
    "internal error that stays": Fault(refuses("", 60), "retryable", "ServerError", TOLERANCE),
    "internal error at the first poll": Fault(refuses("", 0, 10)),
    "not found once": Fault(refuses("TASK_NOT_FOUND", 50, 70)),
    "list that is refused": Fault(agent_is(lists=False)),
    "list that ignores the filter": Fault(agent_is(filters=False)),
    "list of what is newer": Fault(agent_is(is_strict=True)),
    "list of short pages": Fault(agent_is(page_size=2)),
    "list whose cursor ends early": Fault(crowd, within=(RUNS_FOR, RUNS_FOR + 95)),
    "statuses without a time": Fault(tasks_are(has_times=False), within=(RUNS_FOR, RUNS_FOR + 95)),
    "word that nobody knows": Fault(
        tasks_are(script=[("working", 60.0), ("pondering", 240.0), ("completed", None)])
    ),
    "authorisation that is given elsewhere": Fault(
        tasks_are(script=[("working", 60.0), ("auth_required", 240.0), ("completed", None)])
    ),
    "restart that forgets all tasks": Fault(all_forgotten, "failed", "NotFoundError", (150, 215)),
    "task that is rejected": Fault(
        tasks_are(script=[("working", RUNS_FOR), ("rejected", None)]), "failed", "TaskFailedError"
    ),
    "task that another client cancels": Fault(
        tasks_are(script=[("working", RUNS_FOR), ("canceled", None)]), "failed", "TaskCancelledError"
    ),
    "task that nobody works on after a restart": Fault(
        tasks_are(script=[("working", None)]), "timeout", "", (500, 510), {"timeout": 500}
    ),
}
"""What agents do beside that, and no real server does on command."""
