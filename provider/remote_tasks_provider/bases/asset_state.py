"""Reads and writes the state store of an asset from the triggerer; Airflow 3.3 and newer.

The public accessors of 3.3.0 and 3.3.1 cannot be awaited, and those of later versions log a warning with each
read where the deployment has a store of its own for workers. So this sends their messages, which have no
public name: its callers expect that it may fail.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from remote_tasks_provider.bases.supervisor import ask

__all__ = ["read_state", "write_state"]


async def read_state(asset: str, key: str) -> Any:
    """Return a value, or ``None`` where there is none.

    :param asset: the asset's name.
    :raises Exception: whatever stands in the way.
    """
    comms = _comms()
    answer = await _ask(comms.GetAssetStateStoreByName(name=asset, key=key))
    if isinstance(answer, comms.AssetStateStoreResult):
        return answer.value
    if getattr(answer, "error", None) == comms.ErrorType.ASSET_STORE_NOT_FOUND:
        return None
    raise LookupError(f"Airflow answered {answer!r}")


async def write_state(asset: str, key: str, value: Any) -> None:
    """Write a value; JSON.

    :raises Exception: whatever stands in the way.
    """
    comms = _comms()
    answer = await _ask(comms.SetAssetStateStoreByName(name=asset, key=key, value=value))
    if isinstance(answer, comms.ErrorResponse):
        raise LookupError(f"Airflow answered {answer!r}")  # noqa: TRY004 - no fault of an argument


def _comms() -> Any:
    return import_module("airflow.sdk.execution_time.comms")


async def _ask(message: Any) -> Any:
    # No shorter time for a read, though it is repeated: on a busy machine the first takes half a minute.
    runner: Any = import_module("airflow.sdk.execution_time.task_runner")
    return await ask(runner.SUPERVISOR_COMMS.asend(message))
