"""The Airflow plugin of the Remote Tasks page. Every component of Airflow loads it, so it must be light."""

from __future__ import annotations

from typing import Any

from airflow.plugins_manager import AirflowPlugin

from remote_tasks_provider.bases.compat import airflow_is_at_least
from remote_tasks_provider.page.app import app

__all__ = ["RemoteTasksPagePlugin"]

_IS_SHOWN = airflow_is_at_least("3.1")
_PATH = "remote-tasks-page"


class RemoteTasksPagePlugin(AirflowPlugin):
    """Adds *Remote Tasks* to the menu *Browse*, from Airflow 3.1 on; below it adds nothing."""

    name = "remote_tasks_page"
    fastapi_apps: list[Any] = (
        [{"name": "Remote Tasks page", "app": app, "url_prefix": f"/{_PATH}"}] if _IS_SHOWN else []
    )
    # Relative, so that it is found below whatever path [api] base_url has.
    external_views: list[Any] = (
        [
            {
                "name": "Remote Tasks",
                "href": f"{_PATH}/",
                "destination": "nav",
                "category": "browse",
                "url_route": "remote-tasks",
                "icon": f"{_PATH}/icon-light.svg",
                "icon_dark_mode": f"{_PATH}/icon-dark.svg",
            }
        ]
        if _IS_SHOWN
        else []
    )
