"""Extra links of Manus operators."""

from __future__ import annotations

from remote_tasks_provider.bases.links import RemoteTaskLink

__all__ = ["ManusTaskLink", "ManusWebsiteLink"]


class ManusTaskLink(RemoteTaskLink):
    """Opens the task in the Manus app."""

    name = "Manus task"


class ManusWebsiteLink(RemoteTaskLink):
    """Opens the website that was published."""

    name = "Website"
