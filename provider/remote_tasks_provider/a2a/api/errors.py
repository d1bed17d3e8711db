"""The protocol's errors by their reason: HTTP statuses say too little, and JSON-RPC's are always 200.

https://a2a-protocol.org/latest/specification/#54-error-code-mappings
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from remote_tasks_provider.core.errors import ApiError
from remote_tasks_provider.core.http.operation import Refused

__all__ = ["NOT_FOUND", "NOT_SUPPORTED", "NO_SUCH_OPERATION", "is_wrong_place", "refusal"]

NOT_FOUND = "TASK_NOT_FOUND"
NOT_SUPPORTED = "UNSUPPORTED_OPERATION"
_METHOD_NOT_FOUND = "METHOD_NOT_FOUND"
_VERSION_NOT_SUPPORTED = "VERSION_NOT_SUPPORTED"
NO_SUCH_OPERATION = (NOT_SUPPORTED, _METHOD_NOT_FOUND, _VERSION_NOT_SUPPORTED)
"""The reasons that say for good that an operation is not there."""

_BY_CODE: Mapping[int, tuple[int, str]] = {
    -32001: (404, NOT_FOUND),
    -32002: (400, "TASK_NOT_CANCELABLE"),
    -32003: (400, "PUSH_NOTIFICATION_NOT_SUPPORTED"),
    -32004: (400, NOT_SUPPORTED),
    -32005: (400, "CONTENT_TYPE_NOT_SUPPORTED"),
    -32006: (500, "INVALID_AGENT_RESPONSE"),
    -32007: (400, "EXTENDED_AGENT_CARD_NOT_CONFIGURED"),
    -32008: (400, "EXTENSION_SUPPORT_REQUIRED"),
    -32009: (400, _VERSION_NOT_SUPPORTED),
    -32600: (400, "INVALID_REQUEST"),
    # Not 404, which would be said of a task.
    -32601: (405, _METHOD_NOT_FOUND),
    -32602: (400, "INVALID_PARAMS"),
    -32700: (400, "INVALID_JSON"),
}
# -32603, and what nobody knows: the task may have begun all the same.
_INTERNAL = (500, "INTERNAL_ERROR")


def refusal(error: Any) -> Refused:
    """Return what the error of a JSON-RPC answer means."""
    code = error.get("code") if isinstance(error, Mapping) else None
    return Refused(*(_BY_CODE.get(code, _INTERNAL) if isinstance(code, int) else _INTERNAL))


def is_wrong_place(error: Exception) -> bool:
    """Whether an answer means that this version or this operation is not spoken there.

    A 404 without a reason is about the URL: one about a task says so.
    """
    if not isinstance(error, ApiError):
        return False
    if error.code in (_METHOD_NOT_FOUND, _VERSION_NOT_SUPPORTED):
        return True
    return error.status_code in (404, 405, 501) and error.code != NOT_FOUND
