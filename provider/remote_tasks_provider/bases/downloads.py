"""The base of the operators that save the files of a remote task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import ObjectStoragePath

from remote_tasks_provider.bases.files import RemoteFile, save_files
from remote_tasks_provider.bases.paths import location, try_folder
from remote_tasks_provider.bases.requests import OneTaskOperator
from remote_tasks_provider.core import validation
from remote_tasks_provider.core.log import counted, in_bytes
from remote_tasks_provider.core.validation import Check

if TYPE_CHECKING:
    from airflow.sdk import Context

__all__ = ["DownloadOperator"]


class DownloadOperator(OneTaskOperator):
    """Saves the files of one remote task into a folder; a subclass finds them.

    :param output_path: a folder, any URL that ``ObjectStoragePath`` knows. Templated.
    :param overwrite: replace files that something else has put there. Otherwise they fail the operator.
    :param max_file_size: bytes a file may have.
    """

    checks: ClassVar[Mapping[str, Check]] = {
        "output_path": location,
        "overwrite": validation.flag,
        "max_file_size": partial(validation.whole_number, least=1),
    }

    def __init__(
        self,
        *,
        output_path: str | ObjectStoragePath,
        overwrite: bool = False,
        max_file_size: int | str = 1024**3,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.output_path = output_path
        self.overwrite = overwrite
        self.max_file_size: Any = max_file_size

    def find(self, hook: Any, context: Context, *, again: bool) -> Sequence[RemoteFile]:
        """Return the files of the task.

        :param again: with fresh links, as those of the first call have expired.
        """
        raise NotImplementedError

    def act(self, hook: Any, context: Context) -> list[dict[str, Any]]:
        """Save the files."""
        try_folder(self.output_path, "output_path", self.log)
        return save_files(
            self.find(hook, context, again=False),
            self.output_path,
            owner=f"{hook.service.conn_type} {self.remote_task_id}",
            max_bytes_per_file=self.max_file_size,
            overwrite=self.overwrite,
            from_loopback=hook.client.config.is_loopback,
            refresh=partial(self.find, hook, context, again=True),
            log=self.log,
        )

    def summary(self, found: list[dict[str, Any]]) -> str:
        """Return how many files there are now, and where."""
        task = f"{self.hook_class.service.name} task {self.remote_task_id}"
        if not found:
            return f"{task} has made no files, so nothing was saved."
        size = in_bytes(sum(one["size"] for one in found))
        return f"In {self.output_path}: {counted(len(found), 'file')} of {task}, {size}."
