"""Manus over HTTP: which of the emulated APIs a call under ``/manus`` is for.

``/manus/v1/...`` and ``/manus/v2/...`` are the two versions; ``/manus/files/...`` and ``/manus/uploads/...``
stand for the vendor's file store, which knows signatures and no keys.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from remote_tasks_sandbox.calls import Answer, Call
from remote_tasks_sandbox.manus.files import signature_holds
from remote_tasks_sandbox.manus.v1_api import ManusV1Api, v1_error
from remote_tasks_sandbox.manus.v2_api import ManusV2Api, v2_error

if TYPE_CHECKING:
    from remote_tasks_sandbox.faults import Plan
    from remote_tasks_sandbox.state import Sandbox

__all__ = ["ManusApi", "manus_error"]


def manus_error(call: Call, status: int, message: str, headers: dict[str, str] | None = None) -> Answer:
    """Return an error in the form of the version that was called."""
    error = v2_error if call.segments[:1] == ("v2",) else v1_error
    return error(status, message, headers)


class ManusApi:
    """Answers calls under ``/manus``."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._v1 = ManusV1Api(sandbox)
        self._v2 = ManusV2Api(sandbox)

    def answer(self, call: Call, plan: Plan) -> Answer:
        """Answer one call; the caller holds the sandbox's lock."""
        kind = call.segments[0] if call.segments else ""
        if kind == "files" and len(call.segments) == 3:
            return self._file(call)
        if kind == "uploads" and len(call.segments) == 3:
            return self._sandbox.manus.uploads.receive(call)
        return self._v2.answer(call, plan) if kind == "v2" else self._v1.answer(call, plan)

    def _file(self, call: Call) -> Answer:
        task = self._sandbox.manus.get(call.segments[1])
        found = [item for item in task.files if item.name == call.segments[2]] if task else []
        if not found or not signature_holds(call, self._sandbox.clock.now()):
            return Answer(403, b"<Error><Code>AccessDenied</Code></Error>", content_type="application/xml")
        return Answer(200, found[0].content, content_type=found[0].mime_type)
