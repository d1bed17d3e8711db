"""What an operator tells about the files it has read and written, and the remote tasks it is about.

OpenLineage asks when a task is over; the events of assets are Airflow's own. Both are taken from what the
operator returns, as every path that was written is in it. Nothing of OpenLineage is imported before it asks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar
from urllib.parse import SplitResult, urlsplit

from airflow.providers.common.compat.sdk import Asset, AssetAlias

__all__ = ["FACET_KEY", "TellsLineage", "emit_assets", "files_written"]

FACET_KEY = "remoteTasks_run"
"""The key of the run facet that names the remote tasks."""
_IDS = ("id", "message_id", "workflow_run_id")
# Tasks that the facet names at most.
_MOST_TASKS = 100
# Where what stands before an "@" is no Airflow connection, but the container.
_AZURE = ("abfs", "abfss", "wasb", "wasbs")


class TellsLineage:
    """What every operator tells OpenLineage."""

    hook_class: ClassVar[type[Any]]

    handed_over: Any = None
    """What the operator returns, once it does."""
    remote_url: str | None = None
    """The page of the remote task, as soon as it is known."""

    def files_read(self) -> Iterable[str]:
        """Return the places of the files that the operator reads."""
        return ()

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:
        """Return the files and the remote tasks; OpenLineage's provider calls it."""
        from airflow.providers.openlineage.extractors import OperatorLineage

        from remote_tasks_provider.bases.lineage_facets import RemoteTasksRunFacet, dataset

        found = RemoteTasksRunFacet(service=self.hook_class.hook_name, tasks=list(self._remote_tasks()))
        return OperatorLineage(
            inputs=[dataset(*_name(place)) for place in self.files_read()],
            outputs=[dataset(*_name(place)) for place in files_written(self.handed_over)],
            run_facets={FACET_KEY: found} if found.tasks else {},
        )

    def _remote_tasks(self) -> Iterator[dict[str, str | None]]:
        """Yield id, page and state of each remote task, as far as they are known."""
        task_type = getattr(self, "remote_task_type", None)
        value = self.handed_over
        records = value if isinstance(value, list) and task_type is not None else [value]
        found = [one for one in records if isinstance(one, Mapping) and any(key in one for key in _IDS)]
        for one in found[:_MOST_TASKS]:
            task_id = next(one[key] for key in _IDS if key in one)
            page = one.get("url") if task_type is None or task_type.has_page else None
            yield {"id": task_id, "url": page or self.remote_url, "state": one.get("state")}
        if not found:
            for task_id in self._known_ids():
                yield {"id": task_id, "url": self.remote_url, "state": None}

    def _known_ids(self) -> list[str]:
        """Return the ids of the remote tasks where nothing was returned about them."""
        own = getattr(self, "carried", {}).get("ids") or [getattr(self, "remote_task_id", None)]
        return [one for one in own[:_MOST_TASKS] if isinstance(one, str)]


def files_written(value: Any) -> Iterator[str]:
    """Yield the places of the files that an operator says it has written."""
    for one in value if isinstance(value, list) else [value]:
        if isinstance(one, Mapping):
            yield from (one[key] for key in ("result_path", "path") if isinstance(one.get(key), str))


def emit_assets(operator: Any, context: Any, value: Any) -> None:
    """Make an asset of each file that was written, for every ``AssetAlias`` among the operator's outlets."""
    for alias in getattr(operator, "outlets", None) or ():
        if isinstance(alias, AssetAlias):
            for place in files_written(value):
                context["outlet_events"][alias].add(Asset(_plain(place).geturl()))


def _plain(place: str) -> SplitResult:
    """Return a place without a query, and without the connection that ``ObjectStoragePath`` carries."""
    parts = urlsplit(place)
    netloc = parts.netloc if parts.scheme in _AZURE else parts.netloc.rpartition("@")[2]
    return SplitResult(parts.scheme or "file", netloc, parts.path, "", "")


def _name(place: str) -> tuple[str, str]:
    """Return the namespace and the name of a file, as https://openlineage.io/docs/spec/naming has them."""
    parts = _plain(place)
    if not parts.netloc:
        return parts.scheme, parts.path
    return f"{parts.scheme}://{parts.netloc}", parts.path.lstrip("/") or "/"
