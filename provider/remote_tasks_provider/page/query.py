"""Reads from Airflow's database what waits now. A fixed number of queries, however many waits there are.

Where the facts are:

* A deferred task has a row among the triggers, whose encrypted arguments name the connection, the remote
  tasks, when the wait began, and what the worker's poll saw before it deferred.
* A task that waits on a worker, between two reschedules or for a person has its rendered parameters.
* XCom has the page of the remote task, and the ids where they are not among the parameters.
* A question that nobody has answered is among the details of human in the loop.
* A triggerer reports now and then what it knows of its waits: :mod:`remote_tasks_provider.bases.reports`.

It reads models of Airflow that have no public name: each Airflow that is supported is tested. Imports no
vendor, and calls no service.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from functools import lru_cache
from importlib import import_module
from typing import Any

from airflow.configuration import conf
from airflow.jobs.job import Job
from airflow.models import xcom as xcom_models
from airflow.models.asset import AssetModel
from airflow.models.hitl import HITLDetail
from airflow.models.renderedtifields import RenderedTaskInstanceFields
from airflow.models.taskinstance import TaskInstance as TI
from airflow.models.taskreschedule import TaskReschedule
from airflow.models.trigger import Trigger
from airflow.utils.session import create_session
from sqlalchemy import and_, func, or_, select

from remote_tasks_provider.bases.compat import KEEPS_ASSET_STATE
from remote_tasks_provider.bases.links import LINK_KEY
from remote_tasks_provider.core.polling.reports import REPORT_KEY, unpack_report
from remote_tasks_provider.core.push.bell import WEBHOOK_ASSET
from remote_tasks_provider.core.states import TaskState
from remote_tasks_provider.page.catalog import (
    PACKAGE,
    Awaited,
    awaited_by_conn_param,
    awaited_by_operator,
    awaited_by_trigger,
)
from remote_tasks_provider.page.waits import Wait

__all__ = ["MOST_WAITS", "read_waits"]

log = logging.getLogger(__name__)

MOST_WAITS = 10_000
"""More waits than that are not read; the oldest are."""

# What Airflow calls the state of a task that waits, and where such a task waits.
_PLACES = {
    "deferred": "triggerer",
    "running": "worker",
    "up_for_reschedule": "scheduler",
    "awaiting_input": "person",
}
# The method that resumes a task that has put a question to a person.
_ASKED = "resume_with_reply"

# By the id of the task instance: the iterations of a loop have all else in common.
_Waits = Mapping[Any, Wait]

# Airflow 3.4 keeps XComs by the id of the task instance; what an older version has left is of no wait.
_XCom: Any = getattr(xcom_models, "XComModelV2", None) or xcom_models.XComModel


def read_waits(dag_ids: Collection[str], *, with_questions: bool) -> list[Wait]:
    """Return what waits now in these DAGs, at most :data:`MOST_WAITS`.

    :param with_questions: whether the user may see what people are asked.
    """
    if not dag_ids:
        return []
    with create_session(scoped=False) as session:
        reader = _Reader(session, dag_ids)
        waits = reader.waits()
        reader.add_parameters(waits)
        reader.add_xcoms(waits)
        reader.add_reschedules(waits)
        if with_questions:
            reader.add_questions(waits)
        if KEEPS_ASSET_STATE:
            reader.add_reports()
    return list(waits.values())


class _Reader:
    """One reading. Each query has the same condition, so that none needs a list of what another has found."""

    def __init__(self, session: Any, dag_ids: Collection[str]) -> None:
        self._session = session
        self._by_trigger: dict[int, Wait] = {}
        is_deferred = TI.state == "deferred"
        is_asked = TI.next_method == _ASKED
        has_trigger = and_(is_deferred, Trigger.classpath.startswith(PACKAGE, autoescape=True))
        is_operator = TI.operator.in_(list(awaited_by_operator()))
        # A deferred one that has no trigger of this provider waits for a person, before Airflow 3.3.
        self._has_no_trigger = and_(or_(is_operator, is_asked), or_(~is_deferred, is_asked))
        self._is_ours = and_(
            TI.state.in_(list(_PLACES)),
            TI.dag_id.in_(dag_ids),
            or_(has_trigger, self._has_no_trigger),
        )

    def _read(
        self, *columns: Any, joined: Iterable[tuple[Any, Any]] = (), where: Any = True
    ) -> Iterable[Any]:
        query = select(TI.id, *columns).select_from(TI)
        query = query.outerjoin(Trigger, Trigger.id == TI.trigger_id)
        for model, condition in joined:
            query = query.join(model, condition)
        return self._session.execute(query.where(self._is_ours, where))  # type: ignore[no-any-return]

    def waits(self) -> dict[Any, Wait]:
        """Return the waits, with what their task instances and triggers say."""
        columns = (
            *(TI.id, TI.dag_id, TI.run_id, TI.task_id, TI.map_index.label("map_index"), TI.start_date),
            *(TI.state, TI.next_method, TI.operator, TI.trigger_id, Trigger.classpath),
            *(Trigger.encrypted_kwargs.label("encrypted_kwargs"), Job.latest_heartbeat),
        )
        query = select(*columns).outerjoin(Trigger, Trigger.id == TI.trigger_id)
        query = query.outerjoin(Job, Job.id == Trigger.triggerer_id).where(self._is_ours)
        rows = self._session.execute(query.order_by(TI.start_date).limit(MOST_WAITS))
        silence = conf.getfloat("triggerer", "triggerer_health_check_threshold", fallback=30)
        waits = {}
        for row in rows:
            waits[row.id] = _new_wait(row, alive_after=time.time() - silence)
            if row.state == "deferred":
                self._by_trigger[row.trigger_id] = waits[row.id]
        return waits

    def add_parameters(self, waits: _Waits) -> None:
        """Add what the rendered parameters say, where there is no trigger that says it."""
        model = RenderedTaskInstanceFields
        columns = (TI.operator, model.rendered_fields)
        rows = self._read(*columns, joined=[(model, _same_task(model))], where=self._has_no_trigger)
        for ti_id, operator, rendered in rows:
            if (wait := waits.get(ti_id)) is None or not isinstance(rendered, Mapping):
                continue
            awaited = awaited_by_operator().get(operator or "") or _awaited_of(rendered)
            if awaited is not None:
                _add_awaited(wait, awaited)
                wait.conn_id = _text(rendered.get(awaited.conn_param))
                wait.remote_ids = _ids(rendered, awaited.ids_params)

    def add_xcoms(self, waits: _Waits) -> None:
        """Add the pages of the remote tasks and, where they are not yet known, the ids."""
        params = {one for awaited in awaited_by_operator().values() for one in awaited.ids_params}
        where = _XCom.key.in_([LINK_KEY, *sorted(params)])
        rows = self._read(_XCom.key, _XCom.value, joined=[(_XCom, _same_task(_XCom))], where=where)
        for ti_id, name, stored in rows:
            if (wait := waits.get(ti_id)) is None:
                continue
            value = _decoded(stored)
            if name == LINK_KEY:
                is_link = isinstance(value, str) and value.startswith(("https://", "http://"))
                wait.url = value if is_link else None
            elif not wait.remote_ids:
                wait.remote_ids = _ids({name: value}, (name,))

    def add_reschedules(self, waits: _Waits) -> None:
        """Add when a rescheduled wait has begun, and when it polled last: its task instance begins again."""
        model = TaskReschedule
        query = (
            select(TI.id, func.min(model.start_date), func.max(model.end_date))
            .join(model, model.ti_id == TI.id)
            .outerjoin(Trigger, Trigger.id == TI.trigger_id)
            .where(self._is_ours, TI.state.in_(["running", "up_for_reschedule"]))
            .group_by(TI.id)
        )
        for ti_id, began, polled in self._session.execute(query):
            if (wait := waits.get(ti_id)) is not None:
                wait.since = min(filter(None, (wait.since, _unix(began))), default=None)
                wait.polled_at = _unix(polled)

    def add_questions(self, waits: _Waits) -> None:
        """Add what people are asked and have not answered."""
        model = HITLDetail
        joined = [(model, model.ti_id == TI.id)]
        rows = self._read(model.subject, model.created_at, joined=joined, where=model.responded_at.is_(None))
        for ti_id, subject, asked_at in rows:
            wait = waits.get(ti_id)
            # A form that was open when its task was cleared stays open.
            if wait is not None and wait.place == "person":
                wait.question, wait.asked_at = subject, _unix(asked_at)
                wait.state = wait.state or TaskState.WAITING.value

    def add_reports(self) -> None:
        """Add what the triggerers have reported of their waits."""
        models: Any = import_module("airflow.models.asset_state_store")
        note, asset = models.AssetStateStoreModel, AssetModel
        query = (
            select(note.value).join(asset, asset.id == note.asset_id).where(asset.name == WEBHOOK_ASSET[0])
        )
        for (value,) in self._session.execute(query.where(note.key.startswith(f"{REPORT_KEY}:"))):
            for trigger_id, seen in unpack_report(_decoded(value)).items():
                wait = self._by_trigger.get(trigger_id)
                # SQLite gives the number of a trigger that is gone to another one.
                if wait is not None and seen["at"] >= (wait.since or 0.0):
                    _add_seen(wait, seen)
                    wait.polled_at = seen["at"]


def _new_wait(row: Any, alive_after: float) -> Wait:
    is_asked = row.next_method == _ASKED and row.state != "running"
    place = "person" if is_asked else _PLACES[row.state]
    wait = Wait(row.dag_id, row.run_id, row.task_id, row.map_index, place, since=_unix(row.start_date))
    _add_awaited(wait, awaited_by_operator().get(row.operator or ""))
    if place == "triggerer":
        _add_trigger(wait, row.classpath, row.encrypted_kwargs)
        wait.is_attended = (_unix(row.latest_heartbeat) or 0.0) > alive_after
    return wait


def _same_task(model: Any) -> Any:
    """Return the condition that a row of ``model`` is of the task instance."""
    if hasattr(model, "task_instance_id"):
        return model.task_instance_id == TI.id
    names = ("dag_id", "run_id", "task_id", "map_index")
    return and_(*(getattr(model, name) == getattr(TI, name) for name in names))


def _add_awaited(wait: Wait, awaited: Awaited | None) -> None:
    if awaited is not None:
        wait.service, wait.task_type = awaited.service, awaited.task_type or None


def _awaited_of(rendered: Mapping[str, Any]) -> Awaited | None:
    """Return for what an operator of somebody else waits, by its parameters."""
    return next((awaited for name, awaited in awaited_by_conn_param().items() if name in rendered), None)


def _add_trigger(wait: Wait, path: str, encrypted: str) -> None:
    """Add what a trigger's arguments say; nothing where they cannot be read with this Fernet key."""
    if (awaited := awaited_by_trigger().get(path)) is None:
        return
    _add_awaited(wait, awaited)
    try:
        kwargs = _arguments(encrypted, ("conn_id", "started_at", "seen", *awaited.ids_params))
    except Exception as error:  # noqa: BLE001 - whatever Fernet or a serialization raises, a row is shown
        log.warning("The arguments of a trigger cannot be read: %s", type(error).__name__)
        return
    wait.conn_id = _text(kwargs.get("conn_id"))
    wait.remote_ids = _ids(kwargs, awaited.ids_params)
    started_at = kwargs.get("started_at")
    wait.since = wait.since if started_at is None else float(started_at)
    _add_seen(wait, kwargs.get("seen"))


# As many as wait in a large deployment; each takes 2 KB.
@lru_cache(maxsize=4096)
def _arguments(encrypted: str, names: tuple[str, ...]) -> Mapping[str, Any]:
    """Return some of a trigger's arguments; to decrypt them takes most of the time of a reading."""
    kwargs = Trigger._decrypt_kwargs(encrypted)
    return {name: kwargs.get(name) for name in names}


def _add_seen(wait: Wait, seen: Any) -> None:
    """Add what a poll saw; of two polls the later one."""
    at = seen.get("at") if isinstance(seen, Mapping) else None
    if at is not None and at >= (wait.state_at or 0.0):
        wait.state, wait.state_at, wait.credits = seen.get("state"), at, seen.get("credits")


def _ids(values: Mapping[str, Any], names: Iterable[str]) -> list[str]:
    """Return the ids of remote tasks that ``values`` have; none where Airflow has cut them."""
    for name in names:
        found = values.get(name)
        found = [found] if isinstance(found, str) else found
        if isinstance(found, (list, tuple)) and found and all(_is_id(one) for one in found):
            return list(dict.fromkeys(found))
    return []


def _is_id(value: Any) -> bool:
    # What Airflow shows instead of a long parameter, or of one that is not rendered, is a sentence.
    return (
        isinstance(value, str)
        and bool(value)
        and value.isprintable()
        and not any(mark in value for mark in (" ", "{{"))
    )


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _decoded(value: Any) -> Any:
    """Return an XCom's value, which Airflow keeps as JSON in text or in a column for JSON."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


def _unix(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()
