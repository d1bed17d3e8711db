"""The parts of what an operator returns, as XComs of their own."""

from __future__ import annotations

from typing import Any

from remote_tasks_provider.bases.compat import XCOMS_MAY_BE_NONE
from remote_tasks_provider.bases.lineage import emit_assets

__all__ = ["XCOM_KEYS", "hand_over"]

XCOM_KEYS = (
    "id",
    "message_id",
    "workflow_run_id",
    "dlq_id",
    "state",
    "url",
    "text",
    "structured",
    "credit_usage",
)
"""What of an object that an operator returns is an XCom of its own, so that ``ask.output["id"]`` is what it
looks like: to Airflow that names an XCom key, and no part of the returned value."""


def hand_over(operator: Any, context: Any, value: Any) -> Any:
    """Return what an operator returns; make XComs of its parts if it is one object, assets of its files."""
    operator.handed_over = value
    emit_assets(operator, context, value)
    if operator.do_xcom_push and isinstance(value, dict):
        for key in XCOM_KEYS:
            if key in value and (XCOMS_MAY_BE_NONE or value[key] is not None):
                context["ti"].xcom_push(key=key, value=value[key])
    return value
