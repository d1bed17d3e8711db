"""Extra links of QStash operators."""

from __future__ import annotations

from remote_tasks_provider.bases.links import RemoteTaskLink

__all__ = ["QStashWorkflowLink"]


class QStashWorkflowLink(RemoteTaskLink):
    """Opens the workflows in the Upstash console, whose logs show the run. A run has no page of its own."""

    name = "Upstash Workflow"
