"""From the id of an Airflow connection to the config of a service."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from airflow.providers.common.compat.connection import get_async_connection
from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook, mask_secret

from remote_tasks_provider.bases.supervisor import ask, in_thread
from remote_tasks_provider.core.errors import (
    ConnectionConfigError,
    ConnectionUnavailableError,
    RemoteTaskError,
)
from remote_tasks_provider.core.http.connection import ConnectionConfig, ConnectionFields
from remote_tasks_provider.core.http.parsing import one_line
from remote_tasks_provider.core.service import Service

__all__ = [
    "async_connection_config",
    "connection_config",
    "read_connection",
    "read_connection_async",
    "variable_of",
]


def variable_of(conn_id: str) -> str:
    """Return the name of the environment variable that may hold a connection."""
    return f"AIRFLOW_CONN_{conn_id.upper()}"


def connection_config(service: Service, conn_id: str) -> ConnectionConfig:
    """Return where and how to call ``service`` over the connection ``conn_id``.

    :raises AirflowNotFoundException: when there is no such connection.
    :raises ConnectionConfigError: when it cannot be used.
    """
    try:
        connection = BaseHook.get_connection(conn_id)
    except AirflowNotFoundException as error:
        _check_variable(conn_id, error)
        raise
    found = service.config(_fields(conn_id, connection))
    if found.secret:
        mask_secret(found.secret)
    return found


async def async_connection_config(service: Service, conn_id: str) -> ConnectionConfig:
    """Like :func:`connection_config`, for an event loop, where the lookup must not block.

    :raises TimeoutError: when Airflow does not answer.
    """
    return await ask(_async_connection_config(service, conn_id))


async def _async_connection_config(service: Service, conn_id: str) -> ConnectionConfig:
    try:
        connection = await get_async_connection(conn_id)
    except AirflowNotFoundException as error:
        _check_variable(conn_id, error)
        raise
    found = service.config(_fields(conn_id, connection))
    if found.secret and found.secret != connection.password:
        # Airflow masks the password as it stands in the connection; this is what was left after cleaning it.
        await in_thread(mask_secret, found.secret)
    return found


def read_connection(service: Service, conn_id: str) -> ConnectionConfig:
    """Like :func:`connection_config`, for a wait, which survives for a while that this fails.

    :raises ConnectionConfigError: when there is no such connection, or it cannot be used.
    :raises ConnectionUnavailableError: when it cannot be read now.
    """
    try:
        return connection_config(service, conn_id)
    except Exception as error:  # a secrets backend raises what it likes
        raise _read_error(conn_id, error) from error


async def read_connection_async(service: Service, conn_id: str) -> ConnectionConfig:
    """Like :func:`read_connection`, for an event loop."""
    try:
        return await async_connection_config(service, conn_id)
    except Exception as error:
        raise _read_error(conn_id, error) from error


def _read_error(conn_id: str, error: Exception) -> RemoteTaskError:
    if isinstance(error, RemoteTaskError):
        return error
    if isinstance(error, AirflowNotFoundException):
        return ConnectionConfigError(str(error))
    reason = f"{type(error).__name__}: {error}"
    return ConnectionUnavailableError(f"Connection {conn_id!r} cannot be read now ({one_line(reason)}).")


def _fields(conn_id: str, connection: Any) -> ConnectionFields:
    return ConnectionFields(
        conn_id=conn_id,
        conn_type=connection.conn_type,
        host=connection.host,
        password=connection.password,
        port=connection.port,
        schema=connection.schema,
        extra=_extra(conn_id, connection.extra),
    )


def _check_variable(conn_id: str, error: Exception) -> None:
    """Name the environment variable that Airflow 3.0 and 3.1 pass over, as they cannot read it."""
    name = variable_of(conn_id)
    if name in os.environ:
        raise ConnectionConfigError(
            f"Connection {conn_id!r}, environment variable {name}: Airflow cannot read it. Check its JSON or "
            "URI; the extra must be a JSON object."
        ) from error


def _extra(conn_id: str, extra: str | None) -> Mapping[str, Any]:
    """Return the extra as an object; raises where Airflow's own ``extra_dejson`` would return an empty one.

    It masks no values as that does, because none of ours is a secret.
    """
    try:
        read = json.loads(extra) if extra else {}
    except ValueError:
        read = extra
    if not isinstance(read, dict | None):
        raise ConnectionConfigError(
            f'Connection {conn_id!r}, field extra: is no JSON object; write it as {{"read_timeout": 60}}'
        )
    return read or {}
