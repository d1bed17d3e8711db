"""Operators that do one thing with an existing task of an A2A agent: answer it, cancel it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import unquote, urlsplit

from remote_tasks_provider.a2a.api.messages import check_parts
from remote_tasks_provider.a2a.effects import Answer
from remote_tasks_provider.a2a.hooks import A2AHook
from remote_tasks_provider.a2a.models import state_in_words
from remote_tasks_provider.a2a.operators.base import A2ATaskRequest
from remote_tasks_provider.a2a.results import A2AFile, result_of_task
from remote_tasks_provider.bases.downloads import DownloadOperator
from remote_tasks_provider.bases.files import RemoteFile
from remote_tasks_provider.bases.once import Once
from remote_tasks_provider.bases.origin import Origin
from remote_tasks_provider.core import validation
from remote_tasks_provider.core.files.content import Inline, SignedLink
from remote_tasks_provider.core.validation import Check

if TYPE_CHECKING:
    from airflow.sdk import Context

__all__ = ["A2ACancelTaskOperator", "A2ADownloadArtifactsOperator", "A2ASendMessageOperator"]


class A2ASendMessageOperator(A2ATaskRequest):
    """Answers a task of an A2A agent that waits for a person's input.

    It does not wait for what comes of it; a :class:`~remote_tasks_provider.a2a.sensors.A2ATaskSensor` does.
    The message is sent once: if the response is lost or the worker dies, the task's history shows whether it
    has arrived. Clear the Airflow task to send it again. A task that does not wait fails the operator, as an
    agent would queue the message and run once more after the task has ended.

    :param text: what to say. Templated.
    :param parts: more of it: dicts with exactly one of ``text``, ``data`` (any JSON), ``url`` and ``raw``
        (bytes), and with ``filename``, ``media_type`` and ``metadata`` where you have them. Templated.
    :param metadata: of the message, for the agent. Templated.
    """

    template_fields: Sequence[str] = (*A2ATaskRequest.template_fields, "text", "parts", "metadata")
    checks: ClassVar[Mapping[str, Check]] = {
        "text": validation.text,
        "parts": validation.as_given(check_parts),
        "metadata": validation.optional(validation.mapping),
    }

    def __init__(
        self,
        *,
        text: str,
        parts: Iterable[Mapping[str, Any]] = (),
        metadata: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.text = text
        self.parts = parts
        self.metadata = metadata

    def act(self, hook: A2AHook, context: Context) -> None:
        """Send the message."""
        origin = Origin.of(context)
        Once(self, context).do(
            Answer(hook, self.remote_task_id, self.text, origin, list(self.parts), self.metadata)
        )

    def summary(self, found: None) -> str:
        """Return where the message is."""
        return f"A2A task {self.remote_task_id} has the message."


class A2ACancelTaskOperator(A2ATaskRequest):
    """Cancels a task of an A2A agent, and returns what has become of it, as a JSON object.

    The request may be refused, as when the task has finished: that is no error. What a cancellation does is
    the agent's business. Some agents end the task's record only, and work on; some fail a task that they say
    they cannot cancel. If the task continues, the operator fails.
    """

    def act(self, hook: A2AHook, context: Context) -> dict[str, Any]:
        """Cancel the task."""
        task = hook.stop_task(self.remote_task_id)
        return task.to_json()


class A2ADownloadArtifactsOperator(DownloadOperator, A2ATaskRequest):
    """Saves the files that a task of an A2A agent has made, and returns a list of what was saved.

    Each entry is ``{"name": …, "path": …, "size": …, "content_type": …, "sha256": …, "artifact_id": …}``.
    Files are the parts of the task's artifacts (of its last status, if it has no artifacts) that are a URL or
    hold content. Texts and values are no files: a task's result has them. Names are made safe and distinct,
    whatever the agent called its files. Only whole ``https://`` URLs are followed, without the token and
    without redirects. A file is complete or not there; a retry fetches those that are missing. Of a task that
    still works, the files so far are saved, with a warning.

    An agent that has answered with a message has no task, so nothing can be saved later.

    .. code-block:: python

        collect = A2ADownloadArtifactsOperator(
            task_id="collect",
            remote_task_id="{{ ti.xcom_pull('ask')['id'] }}",
            output_path="s3://bucket/agent/{{ run_id }}",
        )

    :param output_path: a folder, any URL that ``ObjectStoragePath`` knows. Templated.
    :param overwrite: replace files that something else has put there. Otherwise they fail the operator.
    :param max_file_size: bytes a file may have. Content within the task is in memory as a whole, and all of
        an agent's answer has 128 MiB at most.
    """

    template_fields: Sequence[str] = (*A2ATaskRequest.template_fields, "output_path")

    def find(self, hook: A2AHook, context: Context, *, again: bool) -> list[RemoteFile]:
        """Return the files of the task."""
        task = hook.get_task(self.remote_task_id)
        if not task.state.is_terminal and not again:
            self.log.warning("A2A task %s is %s: it may make more files.", task.id, state_in_words(task))
        return [_remote_file(file) for file in result_of_task(task).files]


def _remote_file(file: A2AFile) -> RemoteFile:
    content = SignedLink(file.url) if file.url else Inline(file.raw or "")
    name = file.name or _last_of(file.url)
    return RemoteFile(name, content, file.media_type, facts={"artifact_id": file.artifact_id})


def _last_of(url: str | None) -> str:
    try:
        return PurePosixPath(unquote(urlsplit(url or "").path)).name
    except ValueError:
        return ""
