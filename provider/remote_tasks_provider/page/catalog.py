"""Which triggers and operators are this provider's, and for what each waits: found through the manifests."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import TypeVar

from remote_tasks_provider.bases.triggers import RemoteTaskTrigger
from remote_tasks_provider.bases.waiting import WaitingOperator
from remote_tasks_provider.core.service import TaskType
from remote_tasks_provider.get_provider_info import manifests

__all__ = ["PACKAGE", "Awaited", "awaited_by_conn_param", "awaited_by_operator", "awaited_by_trigger"]

PACKAGE = "remote_tasks_provider."

T = TypeVar("T")

_MODULES = ("operators", "sensors", "decorators", "triggers")


@dataclass(frozen=True, slots=True)
class Awaited:
    """For what a trigger or an operator waits.

    :param service: ``Manus``.
    :param task_type: ``Manus task``.
    :param ids_params: the names under which ids of remote tasks are kept, in the order to look them up.
    :param conn_param: what operators call the parameter that names the connection; empty for a trigger.
    """

    service: str
    task_type: str
    ids_params: tuple[str, ...]
    conn_param: str = ""


@cache
def awaited_by_trigger() -> dict[str, Awaited]:
    """Return what each trigger of this provider waits for, by its class path."""
    return {
        f"{one.__module__}.{one.__qualname__}": _awaited(one.remote_task_type)
        for one in _own(RemoteTaskTrigger)
        if hasattr(one, "remote_task_type")
    }


@cache
def awaited_by_operator() -> dict[str, Awaited]:
    """Return what each operator of this provider waits for, by the name that Airflow keeps of its class."""
    return {
        one.__name__: _awaited(one.remote_task_type, one.hook_class.conn_name_attr)
        for one in _own(WaitingOperator)
        if hasattr(one, "remote_task_type")
    }


@cache
def awaited_by_conn_param() -> dict[str, Awaited]:
    """Return for what a service's operators wait, by what they call the parameter with the connection.

    For a subclass of somebody else, of which only the rendered parameters are known: of a service with
    several types of remote tasks it is not known which one.
    """
    found: dict[str, Awaited] = {}
    for awaited in awaited_by_operator().values():
        other = found.get(awaited.conn_param, awaited)
        params = (*other.ids_params, *(one for one in awaited.ids_params if one not in other.ids_params))
        label = awaited.task_type if awaited.task_type == other.task_type else ""
        found[awaited.conn_param] = Awaited(awaited.service, label, params, awaited.conn_param)
    return found


def _awaited(task_type: TaskType, conn_param: str = "") -> Awaited:
    params = (task_type.ids_param, task_type.id_param)
    return Awaited(task_type.service.name, task_type.label, params, conn_param)


def _own(base: type[T]) -> Iterator[type[T]]:
    """Yield the classes of this provider below ``base``."""
    _load()
    for one in base.__subclasses__():
        yield from (one,) if one.__module__.startswith(PACKAGE) else ()
        yield from _own(one)


@cache
def _load() -> None:
    for manifest in manifests():
        for name in _MODULES:
            module = f"{PACKAGE}{manifest.folder}.{name}"
            if find_spec(module) is not None:
                import_module(module)
