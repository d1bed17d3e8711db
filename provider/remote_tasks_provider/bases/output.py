"""Puts a result into XCom, which is in Airflow's database and should stay small, or into a file."""

from __future__ import annotations

import json
from typing import Any

from airflow.providers.common.compat.lineage.hook import get_hook_lineage_collector
from airflow.providers.common.compat.sdk import ObjectStoragePath

from remote_tasks_provider.bases.files import replacing

__all__ = ["MAX_XCOM_CHARACTERS", "result_to_xcom"]

MAX_XCOM_CHARACTERS = 262_144
"""How much of the text goes into XCom, and of the structured value, written as JSON: 256 Ki characters."""


def result_to_xcom(result: dict[str, Any], result_path: Any, log: Any) -> dict[str, Any]:
    """Return a result that is small enough for XCom; write all of it to ``result_path``, if given.

    What does not fit is named in ``truncated``. A text then ends in a marker; a structured value, of which no
    part would be of use, is ``None``.
    """
    if result_path:
        path = ObjectStoragePath(result_path)
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path, log) as part, part.fs.open(part.path, "w", encoding="utf-8") as file:
            json.dump(result, file, ensure_ascii=False, indent=2)
        get_hook_lineage_collector().add_output_asset(context=path, uri=str(path))
        return {**result, "text": None, "structured": None, "result_path": str(path)}
    found = {**result, **_fitting_text(result), **_fitting_structured(result)}
    truncated = [name for name in ("text", "structured") if found.get(name) != result.get(name)]
    if not truncated:
        return result
    log.warning(
        "XCom takes %d characters of %s, and there are more. Set result_path, which writes the whole to a "
        "file. The remote task still has it: an operator that gets a result writes it now, at no cost.",
        MAX_XCOM_CHARACTERS,
        " and ".join(truncated),
    )
    return {**found, "truncated": truncated}


def _fitting_text(result: dict[str, Any]) -> dict[str, Any]:
    text = result.get("text") or ""
    if len(text) <= MAX_XCOM_CHARACTERS:
        return {}
    marker = f"\n… [cut: {len(text)} characters in all; set result_path for the whole]"
    return {"text": text[: MAX_XCOM_CHARACTERS - len(marker)] + marker}


def _fitting_structured(result: dict[str, Any]) -> dict[str, Any]:
    written = json.dumps(result.get("structured"), ensure_ascii=False)
    return {"structured": None} if len(written) > MAX_XCOM_CHARACTERS else {}
