"""Puts a result into XCom, which is in Airflow's database and should stay small, or into a file."""

from __future__ import annotations

import json
from typing import Any

from airflow.providers.common.compat.lineage.hook import get_hook_lineage_collector
from airflow.providers.common.compat.sdk import ObjectStoragePath

from remote_tasks_provider.bases.files import replacing

__all__ = ["result_to_xcom"]

# Characters of the agent's text that go into XCom.
_MAX_TEXT = 32_768


def result_to_xcom(result: dict[str, Any], result_path: Any, log: Any) -> dict[str, Any]:
    """Return a result that is small enough for XCom; write all of it to ``result_path``, if given."""
    if result_path:
        path = ObjectStoragePath(result_path)
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path, log) as part, part.fs.open(part.path, "w", encoding="utf-8") as file:
            json.dump(result, file, ensure_ascii=False, indent=2)
        get_hook_lineage_collector().add_output_asset(context=path, uri=str(path))
        return {**result, "text": None, "structured": None, "result_path": str(path)}
    text = result["text"] or ""
    if len(text) <= _MAX_TEXT:
        return result
    log.warning(
        "The text has %d characters; XCom gets the first %d. Set result_path for all.", len(text), _MAX_TEXT
    )
    return {**result, "text": text[:_MAX_TEXT]}
