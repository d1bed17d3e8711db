"""QStash API v2: schedules, queues and URL groups. No I/O; typed, without headers and bodies.

https://upstash.com/docs/qstash/features/schedules, …/queues and …/url-groups.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Generic, TypeVar

from pydantic import Field

from remote_tasks_provider.core import validation
from remote_tasks_provider.core.errors import InvalidArgumentError
from remote_tasks_provider.core.http.operation import Idempotency, Operation, Request, Response, path
from remote_tasks_provider.core.http.parsing import (
    Items,
    JsonObject,
    LenientBool,
    LenientInt,
    LenientStr,
    Moment,
    OrEmpty,
    Reader,
    RemoteModel,
)
from remote_tasks_provider.qstash.api.operations import acknowledged
from remote_tasks_provider.qstash.api.options import PublishOptions, check_name, destination_url
from remote_tasks_provider.qstash.models import NamedFieldsModel, Url

__all__ = [
    "FLOW_CONTROL",
    "QUEUES",
    "SCHEDULES",
    "URL_GROUPS",
    "QStashFlowControl",
    "QStashGlobalParallelism",
    "QStashQueue",
    "QStashSchedule",
    "QStashUrlGroup",
    "change_endpoints",
    "create_schedule",
    "get_global_parallelism",
    "list_flow_control",
    "pin_flow_control",
    "reset_flow_control_rate",
    "signing_keys",
    "unpin_flow_control",
    "upsert_queue",
]

T = TypeVar("T")

_CRON = re.compile(r"(CRON_TZ=[!-~]+ +)?[!-~]+( +[!-~]+){4}")


class QStashSchedule(NamedFieldsModel):
    """A message that QStash publishes at fixed times.

    :param last_states: message id → ``SUCCESS``, ``FAIL`` or ``IN_PROGRESS`` of the last runs.
    """

    schedule_id: str = Field(alias="scheduleId", min_length=1)
    cron: LenientStr = None
    destination: Url = Field(default=None, repr=False)
    method: LenientStr = None
    queue: LenientStr = Field(default=None, alias="queueName")
    retries: LenientInt = None
    is_paused: LenientBool = Field(default=None, alias="isPaused")
    created_at: Moment = Field(default=None, alias="createdAt")
    last_run_at: Moment = Field(default=None, alias="lastScheduleTime")
    next_run_at: Moment = Field(default=None, alias="nextScheduleTime")
    last_states: Annotated[JsonObject, OrEmpty(dict)] = Field(
        default_factory=dict, alias="lastScheduleStates"
    )


class QStashQueue(NamedFieldsModel):
    """A queue, which delivers in order.

    :param lag: messages that wait; it is not exact.
    """

    name: str = Field(min_length=1)
    parallelism: LenientInt = None
    paused: LenientBool = None
    lag: LenientInt = None
    created_at: Moment = Field(default=None, alias="createdAt")
    updated_at: Moment = Field(default=None, alias="updatedAt")


class _Endpoint(NamedFieldsModel):
    name: LenientStr = None
    url: Url = Field(default=None, repr=False)


class QStashUrlGroup(NamedFieldsModel):
    """Several destinations under one name."""

    name: str = Field(min_length=1)
    endpoints: Annotated[Items[_Endpoint], OrEmpty(list)] = Field(default_factory=list)
    created_at: Moment = Field(default=None, alias="createdAt")
    updated_at: Moment = Field(default=None, alias="updatedAt")


class QStashFlowControl(NamedFieldsModel):
    """A key of flow control, its limits, and what waits for them.

    :param rate_period: seconds.
    :param waiting: messages that wait.
    :param is_pinned_rate: whether the rate was pinned, so that messages do not change it.
    """

    key: str = Field(alias="flowControlKey", min_length=1)
    waiting: LenientInt = Field(default=None, alias="waitListSize")
    parallelism: LenientInt = Field(default=None, alias="parallelismMax")
    active: LenientInt = Field(default=None, alias="parallelismCount")
    rate: LenientInt = Field(default=None, alias="rateMax")
    rate_used: LenientInt = Field(default=None, alias="rateCount")
    rate_period: LenientInt = Field(default=None, alias="ratePeriod")
    rate_period_began_at: Moment = Field(default=None, alias="ratePeriodStart")
    is_paused: LenientBool = Field(default=None, alias="isPaused")
    is_pinned_parallelism: LenientBool = Field(default=None, alias="isPinnedParallelism")
    is_pinned_rate: LenientBool = Field(default=None, alias="isPinnedRate")


class QStashGlobalParallelism(NamedFieldsModel):
    """How many messages of the account are delivered at a time.

    :param most: how many there may be.
    :param active: how many there are.
    """

    most: LenientInt = Field(default=None, alias="parallelismMax")
    active: LenientInt = Field(default=None, alias="parallelismCount")


class _ScheduleId(RemoteModel):
    schedule_id: str = Field(alias="scheduleId", min_length=1)


_read_schedule_id = Reader(_ScheduleId)


class NamedResource(Generic[T]):
    """The operations on what QStash keeps by name in one folder of its API.

    :param noun: names one object, for error messages: ``a schedule``.
    :param folder: as in ``/v2/{folder}/{name}``.
    :param placeholder: what QStash's reference calls a name, for error messages.
    :param parameter: what this provider calls a name.
    :param model: what an object is read as.
    """

    def __init__(self, noun: str, folder: str, placeholder: str, parameter: str, model: type[T]) -> None:
        self._noun = noun
        self._folder = folder
        self._placeholder = placeholder
        self._parameter = parameter
        self._read = Reader(model)
        self._read_all = Reader(Items[model] | None)  # type: ignore[valid-type]  # built for pydantic

    def get(self, name: str) -> Operation[T]:
        """``GET /v2/{folder}/{name}``."""
        return Operation(self._name("GET"), Request("GET", self._path(name)), self._noun, self._read)

    def all(self) -> Operation[list[T]]:
        """``GET /v2/{folder}``: all of them, there are no pages."""
        place = f"/v2/{self._folder}"
        return Operation(
            f"GET {place}", Request("GET", place), "a list", lambda found: self._read_all(found) or []
        )

    def delete(self, name: str) -> Operation[None]:
        """``DELETE /v2/{folder}/{name}``."""
        return acknowledged(self._name("DELETE"), Request("DELETE", self._path(name)))

    def _name(self, method: str) -> str:
        return f"{method} /v2/{self._folder}/{{{self._placeholder}}}"

    def _path(self, name: str) -> str:
        checked = validation.object_id(name, self._parameter)
        return path("/v2/{folder}/{name}", folder=self._folder, name=checked)


class PausableResource(NamedResource[T]):
    """A resource that can be paused."""

    def pause(self, name: str, method: str = "POST") -> Operation[None]:
        """``POST /v2/{folder}/{name}/pause``."""
        return self.act(name, "pause", method=method)

    def resume(self, name: str, method: str = "POST") -> Operation[None]:
        """``POST /v2/{folder}/{name}/resume``."""
        return self.act(name, "resume", method=method)

    def act(
        self, name: str, verb: str, query: Sequence[tuple[str, str]] = (), method: str = "POST"
    ) -> Operation[None]:
        """``POST /v2/{folder}/{name}/{verb}``."""
        request = Request(method, f"{self._path(name)}/{verb}", query=tuple(query))
        return acknowledged(f"{self._name(method)}/{verb}", request)


SCHEDULES = PausableResource("a schedule", "schedules", "scheduleId", "schedule_id", QStashSchedule)
QUEUES = PausableResource("a queue", "queues", "queueName", "queue", QStashQueue)
URL_GROUPS = NamedResource("a URL group", "topics", "urlGroupName", "url_group", QStashUrlGroup)


FLOW_CONTROL = PausableResource(
    "a flow-control key", "flowControl", "flowControlKey", "flow_control_key", QStashFlowControl
)

_read_global_parallelism = Reader(QStashGlobalParallelism)


def list_flow_control(search: str | None = None) -> Operation[list[QStashFlowControl]]:
    """``GET /v2/flowControl``: all keys, or those that hold a text."""
    operation = FLOW_CONTROL.all()
    if search is None:
        return operation
    query = (("search", validation.object_id(search, "search")),)
    return replace(operation, request=replace(operation.request, query=query))


def pin_flow_control(
    key: str, *, parallelism: Any = None, rate: Any = None, period: Any = None
) -> Operation[None]:
    """``POST /v2/flowControl/{flowControlKey}/pin``: fix limits, so that messages do not change them.

    :param period: seconds, with a ``rate``.
    """
    limits = {"parallelism": parallelism, "rate": rate, "period": period}
    given = {
        name: validation.whole_number(value, name, least=1)
        for name, value in limits.items()
        if value is not None
    }
    if not given.keys() & {"parallelism", "rate"} or ("period" in given and "rate" not in given):
        raise InvalidArgumentError("give parallelism, rate, or both to pin, and a period only with a rate")
    return FLOW_CONTROL.act(key, "pin", [(name, str(value)) for name, value in given.items()])


def unpin_flow_control(key: str, *, parallelism: bool = True, rate: bool = True) -> Operation[None]:
    """``POST /v2/flowControl/{flowControlKey}/unpin``: let messages change limits again."""
    limits = {"parallelism": parallelism, "rate": rate}
    chosen = [(name, "true") for name, value in limits.items() if validation.flag(value, name)]
    if not chosen:
        raise InvalidArgumentError("parallelism and rate are both False: there is nothing to unpin")
    return FLOW_CONTROL.act(key, "unpin", chosen)


def reset_flow_control_rate(key: str) -> Operation[None]:
    """``POST /v2/flowControl/{flowControlKey}/resetRate``: begin a new period of the rate now."""
    return FLOW_CONTROL.act(key, "resetRate")


def get_global_parallelism() -> Operation[QStashGlobalParallelism]:
    """``GET /v2/globalParallelism``."""
    place = "/v2/globalParallelism"
    return Operation(f"GET {place}", Request("GET", place), "the parallelism", _read_global_parallelism)


class _SigningKeys(RemoteModel):
    current: str = Field(min_length=1)
    next: LenientStr = None


_read_signing_keys = Reader(_SigningKeys)


def signing_keys() -> Operation[tuple[str, ...]]:
    """``GET /v2/keys``: the current signing key, and the next one; no message quotes the answer."""

    def read(response: Response) -> tuple[str, ...]:
        found: _SigningKeys = _read_signing_keys(response)
        return (found.current, found.next) if found.next else (found.current,)

    return Operation("GET /v2/keys", Request("GET", "/v2/keys"), "the signing keys", read, is_private=True)


def create_schedule(options: PublishOptions, cron: Any, schedule_id: str | None = None) -> Operation[str]:
    """``POST /v2/schedules/{destination}``; returns the schedule's id.

    With a ``schedule_id`` a repeat sets the same schedule again.
    """
    if not isinstance(cron, str) or not _CRON.fullmatch(cron.strip()):
        raise InvalidArgumentError(
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


def upsert_queue(name: str, parallelism: int = 1, paused: bool | None = None) -> Operation[None]:
    """``POST /v2/queues``: creates a queue, or changes its parallelism, and pauses it."""
    body: dict[str, Any] = {
        "queueName": check_name(name, "queue"),
        "parallelism": validation.whole_number(parallelism, "parallelism", least=1),
    }
    if paused is not None:
        body["paused"] = validation.flag(paused, "paused")
    return acknowledged("POST /v2/queues", Request("POST", "/v2/queues", json=body))


def change_endpoints(method: str, name: str, endpoints: Sequence[str | Mapping[str, str]]) -> Operation[None]:
    """``POST /v2/topics/{urlGroupName}/endpoints`` adds destinations, ``DELETE`` removes them.

    The first one creates the group, and the group is deleted with its last one.
    """
    given = [{"url": one} if isinstance(one, str) else dict(one) for one in endpoints]
    if not given:
        raise InvalidArgumentError("endpoints is empty; give at least one URL")
    for index, one in enumerate(given):
        if "url" in one:
            destination_url(one["url"], f"endpoints[{index}]")
        elif not one.get("name"):
            raise InvalidArgumentError(f"endpoints[{index}] has neither url nor name")
    place = path("/v2/topics/{name}/endpoints", name=check_name(name, "url_group"))
    request = Request(method, place, json={"endpoints": given})
    return acknowledged(f"{method} /v2/topics/{{urlGroupName}}/endpoints", request)
