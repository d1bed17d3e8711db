"""Events of a v2 task, as short as they can be written."""

from __future__ import annotations

from itertools import count
from typing import Any

from remote_tasks_provider.manus.api.v2_models import ManusEvent

__all__ = ["asked", "ended", "event", "failed", "file", "said", "stopped", "told", "value"]

_NUMBERS = count(1)


def event(kind: str, **payload: Any) -> ManusEvent:
    number = next(_NUMBERS)
    return ManusEvent.model_validate(
        {"id": f"e{number}", "type": kind, "timestamp": 1_764_187_286_000 + number, kind: payload}
    )


def asked(text: str = "Do it.") -> ManusEvent:
    """What a person says."""
    return event("user_message", content=text)


def said(text: str | None, *files: dict[str, Any], kind: str | None = None, **more: Any) -> ManusEvent:
    """What the agent says."""
    more |= {} if kind is None else {"delivery_kind": kind}
    return event("assistant_message", content=text, attachments=list(files), **more)


def file(name: str, url: str | None = None) -> dict[str, Any]:
    url = url or f"https://files.example.com/{name}?Signature=x"
    return {"type": "file", "filename": name, "url": url, "content_type": "text/plain"}


def told(status: str, **detail: Any) -> ManusEvent:
    """A change of status."""
    more = {"status_detail": detail} if detail else {}
    return event("status_update", agent_status=status, brief="…", **more)


def failed(text: str | None) -> ManusEvent:
    return event("error_message", error_type="agent_error", content=text)


def stopped() -> ManusEvent:
    """A user has pressed stop."""
    return ManusEvent(id="stop", type="user_stop")


def value(success: bool | None = True, found: Any = None, error: str | None = None) -> ManusEvent:
    return event("structured_output_result", success=success, value=found or {}, error=error)


def ended(*between: ManusEvent) -> list[ManusEvent]:
    """A whole turn that was stopped at."""
    return [asked(), *between, told("stopped")]
