"""QStash API v2: schedules, queues and URL groups. No I/O; typed, without headers and bodies.

https://upstash.com/docs/qstash/features/schedules, …/queues and …/url-groups.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import ConfigDict, Field

from remote_tasks_provider.core import validation
from remote_tasks_provider.core.http.operation import Idempotency, Operation, Request, Response, path
from remote_tasks_provider.core.http.parsing import (
    LenientBool,
    LenientInt,
    LenientStr,
    Moment,
    OrEmptyDict,
    OrEmptyList,
    Reader,
    RemoteModel,
)
from remote_tasks_provider.qstash.api.options import PublishOptions, check_name, destination_url
from remote_tasks_provider.qstash.models import public_url

__all__ = [
    "QStashQueue",
    "QStashSchedule",
    "QStashUrlGroup",
    "create_schedule",
    "delete_queue",
    "delete_schedule",
    "delete_url_group",
    "get_queue",
    "get_schedule",
    "get_url_group",
    "list_queues",
    "list_schedules",
    "list_url_groups",
    "pause_queue",
    "pause_schedule",
    "remove_endpoints",
    "resume_queue",
    "resume_schedule",
    "upsert_endpoints",
    "upsert_queue",
]

_CRON = re.compile(r"(CRON_TZ=[!-~]+ +)?[!-~]+( +[!-~]+){4}")


class _Setting(RemoteModel):
    """Base of what may hold headers and bodies: only the named fields are read."""

    model_config = ConfigDict(extra="ignore", frozen=True, populate_by_name=True)


class QStashSchedule(_Setting):
    """A message that QStash publishes at fixed times.

    :param last_states: message id → ``SUCCESS``, ``FAIL`` or ``IN_PROGRESS`` of the last runs.
    """

    schedule_id: str = Field(alias="scheduleId", min_length=1)
    cron: LenientStr = None
    destination: LenientStr = Field(default=None, repr=False)
    method: LenientStr = None
    queue: LenientStr = Field(default=None, alias="queueName")
    retries: LenientInt = None
    is_paused: LenientBool = Field(default=None, alias="isPaused")
    created_at: Moment = Field(default=None, alias="createdAt")
    last_run_at: Moment = Field(default=None, alias="lastScheduleTime")
    next_run_at: Moment = Field(default=None, alias="nextScheduleTime")
    last_states: Annotated[dict[str, Any], OrEmptyDict()] = Field(
        default_factory=dict, alias="lastScheduleStates"
    )

    def to_json(self) -> dict[str, Any]:
        """Return the schedule as a JSON object, the destination without its query."""
        return self.model_dump(mode="json") | {"destination": public_url(self.destination)}


class QStashQueue(_Setting):
    """A queue, which delivers in order.

    :param lag: messages that wait; it is not exact.
    """

    name: str = Field(min_length=1)
    parallelism: LenientInt = None
    paused: LenientBool = None
    lag: LenientInt = None
    created_at: Moment = Field(default=None, alias="createdAt")
    updated_at: Moment = Field(default=None, alias="updatedAt")

    def to_json(self) -> dict[str, Any]:
        """Return the queue as a JSON object."""
        return self.model_dump(mode="json")


class _Endpoint(_Setting):
    name: LenientStr = None
    url: LenientStr = Field(default=None, repr=False)


class QStashUrlGroup(_Setting):
    """Several destinations under one name."""

    name: str = Field(min_length=1)
    endpoints: Annotated[list[_Endpoint], OrEmptyList()] = Field(default_factory=list)
    created_at: Moment = Field(default=None, alias="createdAt")
    updated_at: Moment = Field(default=None, alias="updatedAt")

    def to_json(self) -> dict[str, Any]:
        """Return the group as a JSON object, the destinations without their queries."""
        data = self.model_dump(mode="json", exclude={"endpoints"})
        found = [{"name": one.name, "url": public_url(one.url)} for one in self.endpoints]
        return {**data, "endpoints": found}


class _ScheduleId(RemoteModel):
    schedule_id: str = Field(alias="scheduleId", min_length=1)


_read_schedule_id = Reader(_ScheduleId)
_read_schedule = Reader(QStashSchedule)
_read_schedules = Reader(list[QStashSchedule] | None)
_read_queue = Reader(QStashQueue)
_read_queues = Reader(list[QStashQueue] | None)
_read_group = Reader(QStashUrlGroup)
_read_groups = Reader(list[QStashUrlGroup] | None)


def create_schedule(options: PublishOptions, cron: Any, schedule_id: str | None = None) -> Operation[str]:
    """``POST /v2/schedules/{destination}``; returns the schedule's id.

    With a ``schedule_id`` a repeat sets the same schedule again.

    :param cron: five fields, before them a time zone if wanted: ``CRON_TZ=Europe/Zurich 0 4 * * *``.
    :raises ValueError: when it cannot be one.
    """
    if not isinstance(cron, str) or not _CRON.fullmatch(cron.strip()):
        raise ValueError(
            f"cron is {cron!r}; it has five fields, such as '0 4 * * *', and before them perhaps CRON_TZ=…"
        )
    own = [("Upstash-Cron", cron.strip())]
    if schedule_id:
        own.append(("Upstash-Schedule-Id", check_name(schedule_id, "schedule_id")))
    if options.queue:
        own.append(("Upstash-Queue-Name", options.queue))
    return Operation(
        "POST /v2/schedules",
        Request(
            "POST",
            f"/v2/schedules/{options.target}",
            content=options.content,
            headers=(*options.sent_headers, *own),
        ),
        "a schedule's id",
        lambda response: str(_read_schedule_id(response).schedule_id),
        Idempotency.KEYED if schedule_id else Idempotency.NOT_IDEMPOTENT,
    )


def get_schedule(schedule_id: str) -> Operation[QStashSchedule]:
    """``GET /v2/schedules/{scheduleId}``."""
    return _on("GET", "schedules", schedule_id, "a schedule", _read_schedule)


def list_schedules() -> Operation[list[QStashSchedule]]:
    """``GET /v2/schedules``: all of them, there are no pages."""
    return _all("schedules", _read_schedules)


def delete_schedule(schedule_id: str) -> Operation[None]:
    """``DELETE /v2/schedules/{scheduleId}``."""
    return _on("DELETE", "schedules", schedule_id, "an acknowledgement", _nothing)


def pause_schedule(schedule_id: str) -> Operation[None]:
    """``POST /v2/schedules/{scheduleId}/pause``."""
    return _on("POST", "schedules", schedule_id, "an acknowledgement", _nothing, "/pause")


def resume_schedule(schedule_id: str) -> Operation[None]:
    """``POST /v2/schedules/{scheduleId}/resume``."""
    return _on("POST", "schedules", schedule_id, "an acknowledgement", _nothing, "/resume")


def upsert_queue(name: str, parallelism: int = 1) -> Operation[None]:
    """``POST /v2/queues``: makes a queue, or changes its parallelism."""
    body = {
        "queueName": check_name(name, "queue"),
        "parallelism": validation.whole_number(parallelism, "parallelism", least=1),
    }
    return Operation(
        "POST /v2/queues", Request("POST", "/v2/queues", json=body), "an acknowledgement", _nothing
    )


def get_queue(name: str) -> Operation[QStashQueue]:
    """``GET /v2/queues/{queueName}``."""
    return _on("GET", "queues", name, "a queue", _read_queue)


def list_queues() -> Operation[list[QStashQueue]]:
    """``GET /v2/queues``: all of them, there are no pages."""
    return _all("queues", _read_queues)


def delete_queue(name: str) -> Operation[None]:
    """``DELETE /v2/queues/{queueName}``."""
    return _on("DELETE", "queues", name, "an acknowledgement", _nothing)


def pause_queue(name: str) -> Operation[None]:
    """``POST /v2/queues/{queueName}/pause``: its messages stay where they are."""
    return _on("POST", "queues", name, "an acknowledgement", _nothing, "/pause")


def resume_queue(name: str) -> Operation[None]:
    """``POST /v2/queues/{queueName}/resume``; it can take a minute to take effect."""
    return _on("POST", "queues", name, "an acknowledgement", _nothing, "/resume")


def upsert_endpoints(name: str, endpoints: Sequence[str | Mapping[str, str]]) -> Operation[None]:
    """``POST /v2/topics/{urlGroupName}/endpoints``: adds destinations; creates the group if there is none.

    :param endpoints: URLs, or ``{"url": …, "name": …}``.
    """
    return _endpoints("POST", name, endpoints)


def remove_endpoints(name: str, endpoints: Sequence[str | Mapping[str, str]]) -> Operation[None]:
    """``DELETE /v2/topics/{urlGroupName}/endpoints``: the group is deleted with its last one."""
    return _endpoints("DELETE", name, endpoints)


def _endpoints(method: str, name: str, endpoints: Sequence[str | Mapping[str, str]]) -> Operation[None]:
    given = [{"url": one} if isinstance(one, str) else dict(one) for one in endpoints]
    if not given:
        raise ValueError("endpoints is empty; give at least one URL")
    for index, one in enumerate(given):
        if "url" in one:
            destination_url(one["url"], f"endpoints[{index}]")
        elif not one.get("name"):
            raise ValueError(f"endpoints[{index}] has neither url nor name")
    place = path("/v2/topics/{name}/endpoints", name=check_name(name, "url_group"))
    return Operation(
        f"{method} /v2/topics/{{urlGroupName}}/endpoints",
        Request(method, place, json={"endpoints": given}),
        "an acknowledgement",
        _nothing,
    )


def get_url_group(name: str) -> Operation[QStashUrlGroup]:
    """``GET /v2/topics/{urlGroupName}``."""
    return _on("GET", "topics", name, "a URL group", _read_group)


def list_url_groups() -> Operation[list[QStashUrlGroup]]:
    """``GET /v2/topics``: all of them, there are no pages."""
    return _all("topics", _read_groups)


def delete_url_group(name: str) -> Operation[None]:
    """``DELETE /v2/topics/{urlGroupName}``."""
    return _on("DELETE", "topics", name, "an acknowledgement", _nothing)


_KEYS = {"schedules": "schedule_id", "queues": "queue", "topics": "url_group"}
_ID_OF = {"schedules": "scheduleId", "queues": "queueName", "topics": "urlGroupName"}


def _on(method: str, kind: str, name: str, expects: str, parse: Any, action: str = "") -> Operation[Any]:
    place = path("/v2/{kind}/{name}", kind=kind, name=validation.object_id(name, _KEYS[kind]))
    return Operation(
        f"{method} /v2/{kind}/{{{_ID_OF[kind]}}}{action}", Request(method, f"{place}{action}"), expects, parse
    )


def _all(kind: str, read: Reader) -> Operation[Any]:
    return Operation(
        f"GET /v2/{kind}",
        Request("GET", f"/v2/{kind}"),
        "a list",
        lambda response: list(read(response) or []),
    )


def _nothing(_response: Response) -> None:
    """Read nothing: some of these are answered with an object, some with a word, some with nothing."""
