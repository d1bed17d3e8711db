"""Where a result goes: XCom, which lives in Airflow's database and wants little, or a file."""

from __future__ import annotations

import json
from typing import Any

from airflow.providers.common.compat.sdk import ObjectStoragePath

__all__ = ["result_to_xcom"]

# Characters of the agent's text that go into XCom.
_MOST_TEXT = 32_768


def result_to_xcom(found: dict[str, Any], result_path: Any, log: Any) -> dict[str, Any]:
    """Return a result as small as XCom should have it; the whole of it goes to ``result_path``, if given."""
    if result_path:
        path = ObjectStoragePath(result_path)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", encoding="utf-8") as file:
            json.dump(found, file, ensure_ascii=False, indent=2)
        return {**found, "text": None, "structured": None, "result_path": str(path)}
    text = found["text"] or ""
    if len(text) <= _MOST_TEXT:
        return found
    log.warning(
        "The text has %d characters; XCom gets the first %d. Set result_path for all.", len(text), _MOST_TEXT
    )
    return {**found, "text": text[:_MOST_TEXT]}
