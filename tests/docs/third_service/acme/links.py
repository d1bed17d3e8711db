"""Extra links of Acme operators."""

# [START links]
from __future__ import annotations

from remote_tasks_provider.bases.links import RemoteTaskLink

__all__ = ["AcmeJobLink"]


class AcmeJobLink(RemoteTaskLink):
    """Opens the job's page."""

    name = "Acme job"


# [END links]
