"""The base of every list operator: a few items to XCom, or all of them to a file, one in memory at a time."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.lineage.hook import get_hook_lineage_collector
from airflow.providers.common.compat.sdk import ObjectStoragePath

from remote_tasks_provider.bases.files import replacing
from remote_tasks_provider.bases.paths import location, try_file
from remote_tasks_provider.bases.requests import RequestOperator
from remote_tasks_provider.core import validation
from remote_tasks_provider.core.errors import InvalidArgumentError
from remote_tasks_provider.core.log import counted
from remote_tasks_provider.core.progress_log import ProgressLog
from remote_tasks_provider.core.validation import Check

if TYPE_CHECKING:
    from airflow.sdk import Context

__all__ = ["RemoteListOperator"]

_DEFAULT_XCOM_ITEMS = 100
_MOST_XCOM_ITEMS = 1000


class RemoteListOperator(RequestOperator):
    """Lists something; the parameters are those of every such operator.

    :param limit: items at most; default 100 to XCom, all to a file. Templated.
    :param output_path: a file to write as JSON Lines, any URL that ``ObjectStoragePath`` knows. An existing
        file is replaced once the list is whole; if that fails, it stays as it is. Templated.
    """

    checks: ClassVar[Mapping[str, Check]] = {
        "limit": validation.optional(partial(validation.whole_number, least=1)),
        "output_path": validation.optional(location),
    }

    def __init__(
        self,
        *,
        limit: int | str | None = None,
        output_path: str | ObjectStoragePath | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.limit: Any = limit
        self.output_path = output_path
        self.check_together()

    def read(self, hook: Any, limit: int | None) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield at most ``limit`` items lazily, each as its id and its JSON object."""
        raise NotImplementedError

    def act(self, hook: Any, context: Context) -> Any:
        """List; return the objects, or the manifest of the file they were written to."""
        limit: Any = self.limit
        if self.output_path is not None:
            try_file(self.output_path, "output_path", self.log)
            return self._to_file(ObjectStoragePath(self.output_path), self.read(hook, limit))
        return self._to_xcom(hook, limit)

    def summary(self, found: Any) -> str:
        """Return how many items were listed, and where they are."""
        if isinstance(found, dict):
            return f"Wrote {counted(found['count'], 'item')} to {found['path']}."
        return f"Listed {counted(len(found), 'item')}."

    def refuse_together(self) -> None:
        """Refuse what does not fit into XCom."""
        if self.output_path is None and isinstance(self.limit, int) and self.limit > _MOST_XCOM_ITEMS:
            raise InvalidArgumentError(
                f"limit is {self.limit}; at most {_MOST_XCOM_ITEMS} items fit into XCom. Set output_path to "
                "write them to a file instead"
            )

    def _to_xcom(self, hook: Any, limit: int | None) -> list[dict[str, Any]]:
        most = limit or _DEFAULT_XCOM_ITEMS
        found = [item for _, item in islice(self.read(hook, most if limit else most + 1), most + 1)]
        if len(found) > most:
            self.log.warning(
                "There are more than %d items; only these are returned. Set limit, or output_path for all.",
                most,
            )
        return found[:most]

    def _to_file(self, path: Any, items: Iterable[tuple[str, dict[str, Any]]]) -> dict[str, Any]:
        """Write ``items`` and return the manifest; a file appears whole or not at all."""
        count, first_id, last_id = 0, None, None
        path.parent.mkdir(parents=True, exist_ok=True)
        progress = ProgressLog(self.log, f"Writing to {path}", noun="item")
        with replacing(path, self.log) as part, part.fs.open(part.path, "w", encoding="utf-8") as file:
            for item_id, item in items:
                progress.add(1, file.write(json.dumps(item, ensure_ascii=False) + "\n"))
                count, first_id, last_id = count + 1, first_id or item_id, item_id
        get_hook_lineage_collector().add_output_asset(context=path, uri=str(path))
        return {"count": count, "first_id": first_id, "last_id": last_id, "path": str(path)}
