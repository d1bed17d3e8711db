"""What Acme answers, typed, and what its words mean."""

# [START models]
from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from remote_tasks_provider.core.http.parsing import LenientInt, LenientStr, Moment, OrEmpty, RemoteModel
from remote_tasks_provider.core.states import StateTable, TaskState

__all__ = ["ACME_STATES", "AcmeJob"]

ACME_STATES = StateTable(
    {
        "queued": TaskState.PENDING,
        "rendering": TaskState.RUNNING,
        "done": TaskState.COMPLETED,
        "broken": TaskState.FAILED,
        "withdrawn": TaskState.CANCELLED,
    }
)


class AcmeJob(RemoteModel):
    """A render job. Only the id is required."""

    id: str = Field(alias="job_id", min_length=1)
    status: Annotated[str, OrEmpty(str)] = Field(default="", alias="phase")
    page: LenientStr = None
    reason: LenientStr = None
    frames: LenientInt = None
    changed_at: Moment = None

    @property
    def state(self) -> TaskState:
        """The state of the job."""
        return ACME_STATES.read(self.status)

    def to_json(self) -> dict[str, Any]:
        """Return the job as a JSON object, with :attr:`state`."""
        return self.model_dump(mode="json") | {"state": self.state.value}


# [END models]
