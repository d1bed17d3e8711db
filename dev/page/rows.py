"""Rows in Airflow's tables, as its scheduler and its workers leave them, on Airflow 3.1 and newer.

Run as a program, it fills the database of this Airflow: ``python -m dev.page.rows <JSON of Row's fields>``.
"""

from __future__ import annotations

import json
import sys
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import Any

from remote_tasks_provider.bases.compat import KEEPS_ASSET_STATE
from remote_tasks_provider.core.polling.reports import REPORT_KEY, pack_report
from remote_tasks_provider.core.push.bell import WEBHOOK_ASSET

NOW = datetime.now(UTC)
MANUS_TRIGGER = "remote_tasks_provider.manus.triggers.ManusTaskTrigger"
QSTASH_TRIGGER = "remote_tasks_provider.qstash.triggers.QStashMessageTrigger"


@dataclass
class Row:
    """One task instance and what belongs to it.

    :param trigger: class path and arguments of its trigger.
    :param rendered: its rendered parameters.
    :param question: what it asks a person.
    :param reschedules: minutes ago at which its earlier polls began.
    :param reported: what its triggerer has reported of it, on Airflow 3.3 and newer.
    :param heartbeat: seconds ago at which the triggerer of its trigger was last alive.
    """

    dag_id: str = "reports"
    run_id: str = "manual"
    task_id: str = "wait"
    map_index: int = -1
    state: str = "deferred"
    operator: str = "ManusTaskSensor"
    started: float = 5
    trigger: tuple[str, dict[str, Any]] | None = None
    rendered: Mapping[str, Any] | None = None
    xcoms: Mapping[str, Any] = field(default_factory=dict)
    question: str | None = None
    is_answered: bool = False
    next_method: str | None = None
    reschedules: Iterable[float] = ()
    reported: Mapping[str, Any] | None = None
    heartbeat: float = 1


def ago(*, minutes: float) -> datetime:
    return NOW - timedelta(minutes=minutes)


def deferred(remote_id: str = "task_1", conn_id: str = "manus_default", **more: Any) -> Row:
    """Return a wait in a triggerer."""
    given = {name: more.pop(name) for name in ("started_at", "seen") if name in more}
    kwargs = {"conn_id": conn_id, "remote_task_ids": [remote_id], "poll_interval": 30.0, **given}
    more.setdefault("trigger", (MANUS_TRIGGER, kwargs))
    return Row(**more)


class Tables:
    """Inserts rows with a session of SQLAlchemy; each DAG and each run once.

    :param made: what an earlier one has inserted.
    """

    def __init__(self, session: Any, made: set[tuple[str, ...]] | None = None) -> None:
        self._session = session
        self._made = set() if made is None else made
        self._jobs: dict[float, int] = {}
        self._reports: dict[int, Mapping[str, Any]] = {}

    def add(self, row: Row) -> Any:
        """Insert a task instance; return its id."""
        self._run(row.dag_id, row.run_id)
        place = {
            "dag_id": row.dag_id,
            "run_id": row.run_id,
            "task_id": row.task_id,
            "map_index": row.map_index,
        }
        model = _model("taskinstance", "TaskInstance")
        trigger_id = None if row.trigger is None else self._trigger(*row.trigger, row.heartbeat)
        if trigger_id is not None and row.reported is not None:
            self._reports[trigger_id] = row.reported
        index = "region_index" if hasattr(model, "region_index") else "map_index"
        ti_id = self._insert(
            model,
            **{name: value for name, value in place.items() if name != "map_index"},
            **{index: row.map_index},
            id=_id(),
            state=row.state,
            operator=row.operator,
            start_date=ago(minutes=row.started),
            next_method=row.next_method,
            trigger_id=trigger_id,
            pool="default_pool",
            pool_slots=1,
            try_number=1,
            max_tries=0,
        )
        self._add_facts(row, ti_id, place)
        return ti_id

    def report(self) -> None:
        """Insert the report of the triggerer, after all rows."""
        if self._reports and KEEPS_ASSET_STATE:
            name, uri = WEBHOOK_ASSET
            asset = _model("asset", "AssetModel")(name=name, uri=uri, group="asset", extra={})
            self._session.add(asset)
            self._session.flush()
            value = json.dumps(pack_report("triggerer", NOW.timestamp(), self._reports))
            note = _model("asset_state_store", "AssetStateStoreModel")
            self._insert(note, asset_id=asset.id, key=f"{REPORT_KEY}:0", value=value, updated_at=NOW)

    def _add_facts(self, row: Row, ti_id: Any, place: dict[str, Any]) -> None:
        xcom = import_module("airflow.models.xcom")
        is_by_id = hasattr(xcom, "XComModelV2")
        owner = {"task_instance_id": ti_id} if is_by_id else place
        for key, value in row.xcoms.items():
            run = {} if is_by_id else {"dag_run_id": self._run_number(row.dag_id, row.run_id)}
            kind = xcom.XComModelV2 if is_by_id else xcom.XComModel
            self._insert(kind, **owner, **run, key=key, value=json.dumps(value))
        if row.rendered is not None:
            rendered = _model("renderedtifields", "RenderedTaskInstanceFields")
            self._insert(rendered, **owner, rendered_fields=row.rendered)
        if row.question is not None:
            self._insert(
                _model("hitl", "HITLDetail"),
                ti_id=ti_id,
                options=["Yes", "No"],
                subject=row.question,
                created_at=ago(minutes=2),
                responded_at=NOW if row.is_answered else None,
                params={},
                params_input={},
            )
        for minutes in row.reschedules:
            times = {"start_date": ago(minutes=minutes), "end_date": ago(minutes=minutes)}
            self._insert(
                _model("taskreschedule", "TaskReschedule"),
                ti_id=ti_id,
                duration=0,
                reschedule_date=NOW,
                **times,
            )

    def _trigger(self, classpath: str, kwargs: dict[str, Any], heartbeat: float) -> int:
        model = _model("trigger", "Trigger")
        if heartbeat not in self._jobs:
            self._jobs[heartbeat] = self._insert(
                import_module("airflow.jobs.job").Job,
                job_type="TriggererJob",
                state="running",
                latest_heartbeat=datetime.now(UTC) - timedelta(seconds=heartbeat),
            )
        found = model(classpath=classpath, kwargs=kwargs)
        found.triggerer_id = self._jobs[heartbeat]
        self._session.add(found)
        self._session.flush()
        return int(found.id)

    def _run(self, dag_id: str, run_id: str) -> None:
        if ("bundle",) not in self._made:
            self._made.add(("bundle",))
            self._insert(_model("dagbundle", "DagBundleModel"), name="bundle", active=True)
        if (dag_id,) not in self._made:
            self._made.add((dag_id,))
            self._insert(
                _model("dag", "DagModel"),
                dag_id=dag_id,
                bundle_name="bundle",
                is_paused=False,
                is_stale=False,
                fileloc="/dags/one.py",
                timetable_summary="None",
            )
        if (dag_id, run_id) not in self._made:
            self._made.add((dag_id, run_id))
            self._insert(
                _model("dagrun", "DagRun"),
                dag_id=dag_id,
                run_id=run_id,
                run_type="manual",
                state="running",
                run_after=NOW,
                log_template_id=None,
            )

    def _run_number(self, dag_id: str, run_id: str) -> int:
        model = _model("dagrun", "DagRun")
        found = self._session.query(model.id).filter(model.dag_id == dag_id, model.run_id == run_id)
        return int(found.scalar())

    def _insert(self, model: Any, **values: Any) -> Any:
        """Insert a row; a column that this Airflow does not have is left out."""
        columns = {attribute.key for attribute in model.__mapper__.column_attrs}
        known = {name: value for name, value in values.items() if name in columns}
        known |= dict(_required(model, known))
        done = self._session.execute(model.__table__.insert().values(**known))
        return known.get("id", done.inserted_primary_key[0])


def _required(model: Any, given: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield a value for each column that must have one and of which Airflow leaves it to its own code."""
    for column in model.__table__.columns:
        has_default = column.default is not None or column.server_default is not None
        if column.key in given or column.nullable or has_default or column.primary_key:
            continue
        python_type = column.type.python_type
        yield column.key, NOW if python_type is datetime else python_type()


def _id() -> Any:
    # Below 3.2 a column of text; SQLAlchemy converts for both.
    found = uuid.uuid4()
    version = import_module("airflow").__version__
    return str(found) if version.startswith("3.1.") else found


def _model(module: str, name: str) -> Any:
    return getattr(import_module(f"airflow.models.{module}"), name)


def main(rows: Iterable[Mapping[str, Any]]) -> None:
    """Fill the database of this Airflow."""
    session: Any = import_module("airflow.utils.session")
    with session.create_session(scoped=False) as opened:
        tables = Tables(opened)
        for row in rows:
            given = dict(row)
            if given.get("trigger"):
                given["trigger"] = tuple(given["trigger"])
            tables.add(Row(**given))
        tables.report()


if __name__ == "__main__":
    main(json.load(sys.stdin))
