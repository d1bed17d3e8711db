"""Operators that do one thing with an existing Manus task: change it, answer it, fetch its result."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import ObjectStoragePath

from remote_tasks_provider.bases.downloads import DownloadOperator
from remote_tasks_provider.bases.exceptions import wait_exception
from remote_tasks_provider.bases.files import RemoteFile, open_source
from remote_tasks_provider.bases.links import push_link
from remote_tasks_provider.bases.once import Once
from remote_tasks_provider.bases.output import result_to_xcom
from remote_tasks_provider.bases.paths import location, locations, try_file
from remote_tasks_provider.core import validation
from remote_tasks_provider.core.errors import InvalidArgumentError, NotFoundError, TaskFailedError
from remote_tasks_provider.core.files.content import SignedLink
from remote_tasks_provider.core.states import TaskState
from remote_tasks_provider.core.validation import Check
from remote_tasks_provider.manus.api.options import (
    VISIBILITIES,
    check_extra,
    check_prompt,
    check_slides_format,
)
from remote_tasks_provider.manus.api.schemas import check_schema
from remote_tasks_provider.manus.attachments import attached_places
from remote_tasks_provider.manus.effects import Confirmation, Message
from remote_tasks_provider.manus.hooks import ManusHook
from remote_tasks_provider.manus.operators.base import ManusTaskRequest
from remote_tasks_provider.manus.results import failure_text, summary_of

if TYPE_CHECKING:
    from airflow.sdk import Context
    from pydantic import BaseModel

__all__ = [
    "ManusConfirmActionOperator",
    "ManusDeleteTaskOperator",
    "ManusDownloadFilesOperator",
    "ManusGetResultOperator",
    "ManusSendMessageOperator",
    "ManusStopTaskOperator",
    "ManusUpdateTaskOperator",
]


class ManusSendMessageOperator(ManusTaskRequest):
    """Sends a message to a Manus task: the answer to its question, or what to do next if it has finished.

    It does not wait for the reply; a :class:`~remote_tasks_provider.manus.sensors.ManusTaskSensor` does. The
    message is sent once: if the response is lost or the worker dies, the conversation shows whether it has
    arrived. Clear the Airflow task to send it again.

    :param content: what to say; fewer than about 5,000 tokens. Templated.
    :param attachments: files for the agent, uploaded first: paths or URLs that ``ObjectStoragePath`` knows.
        Templated.
    :param structured_output_schema: a JSON schema, or a pydantic model, of the value to make of the reply.
        API v2. Templated.
    :param extra_body: fields of the request that this provider does not know yet. Nobody checks them; one
        that has a parameter here is refused. Templated.
    """

    template_fields: Sequence[str] = (
        *ManusTaskRequest.template_fields,
        "content",
        "attachments",
        "structured_output_schema",
        "extra_body",
    )
    checks: ClassVar[Mapping[str, Check]] = {
        "content": check_prompt,
        "attachments": locations,
        "structured_output_schema": validation.optional(check_schema),
        "extra_body": validation.optional(check_extra),
    }

    def __init__(
        self,
        *,
        content: str,
        attachments: Sequence[str] = (),
        structured_output_schema: Mapping[str, Any] | type[BaseModel] | None = None,
        extra_body: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.content = content
        self.attachments = attachments
        self.structured_output_schema = structured_output_schema
        self.extra_body = extra_body

    def act(self, hook: ManusHook, context: Context) -> None:
        """Send the message."""
        given = [self.attachments] if isinstance(self.attachments, str) else self.attachments or ()
        sources = [open_source(source) for source in given]
        names = ("structured_output_schema", "extra_body")
        options = {name: value for name in names if (value := getattr(self, name)) is not None}

        def prepare() -> dict[str, Any]:
            return {"files": [hook.upload_file(source) for source in sources], **options}

        Once(self, context).do(Message(hook, self.remote_task_id, self.content, prepare))

    def files_read(self) -> list[str]:
        """Return the places of the attachments."""
        return attached_places(self.attachments)

    def summary(self, found: None) -> str:
        """Return where the message is."""
        return f"Manus task {self.remote_task_id} has the message."


class ManusConfirmActionOperator(ManusTaskRequest):
    """Answers an action that a Manus task waits to have confirmed. API v2.

    It confirms one action, the same on every attempt: if the response is lost or the worker dies, the next
    attempt looks whether the task still waits for it. Clear the Airflow task to confirm another one.

    :param input: what the action's schema asks for, such as ``{"accept": True}``; the
        `table of actions <https://open.manus.ai/docs/v2/task-lifecycle>`__ has them. There is no default:
        confirming may send mail, deploy or spend. Templated.
    :param expect: the type of action that this may confirm, such as ``gmailSendAction``; anything else that
        the task waits for fails the operator.
    :param event_id: the event that waits; default whatever the task waits for now. Templated.
    """

    template_fields: Sequence[str] = (*ManusTaskRequest.template_fields, "input", "event_id")
    checks: ClassVar[Mapping[str, Check]] = {
        "input": validation.mapping,
        "expect": validation.text,
        "event_id": validation.optional(validation.object_id),
    }

    def __init__(
        self, *, input: Mapping[str, Any], expect: str, event_id: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.input = input
        self.expect = expect
        self.event_id = event_id

    def act(self, hook: ManusHook, context: Context) -> None:
        """Confirm the action, if it is the expected one."""
        action = Confirmation(hook, self.remote_task_id, self.input, self.expect, self.event_id)
        if Once(self, context).do(action) is False:
            asked = hook.get_result(self.remote_task_id, output_grace=0).question
            schema = json.dumps(asked.schema) if asked else "the schema of the action"
            raise TaskFailedError(f"Manus did not accept the input for {self.expect}; it must fit {schema}")

    def summary(self, found: None) -> str:
        """Return what was confirmed."""
        return f"Manus task {self.remote_task_id} has the input for {self.expect}."


class ManusStopTaskOperator(ManusTaskRequest):
    """Stops a Manus task. A message resumes it, and its background jobs may run for a while. API v2."""

    def act(self, hook: ManusHook, context: Context) -> None:
        """Stop the task."""
        hook.stop_task(self.remote_task_id)

    def summary(self, found: None) -> str:
        """Return what was asked for."""
        return f"Manus was asked to stop task {self.remote_task_id}."


class ManusUpdateTaskOperator(ManusTaskRequest):
    """Changes a Manus task's title, who may see it, or whether the Manus app lists it.

    Returns ``{"id": …, "url": …, "title": …}``.

    :param title: the new title. Templated.
    :param share_visibility: ``private``, ``public`` or, with API v2, ``team``. Templated.
    :param visible_in_task_list: whether the Manus app lists it.
    """

    template_fields: Sequence[str] = (*ManusTaskRequest.template_fields, "title", "share_visibility")
    checks: ClassVar[Mapping[str, Check]] = {
        "title": validation.optional(validation.word),
        "share_visibility": validation.optional(partial(validation.choice, allowed=VISIBILITIES)),
        "visible_in_task_list": validation.optional(validation.flag),
    }

    def __init__(
        self,
        *,
        title: str | None = None,
        share_visibility: str | None = None,
        visible_in_task_list: bool | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.title = title
        self.share_visibility = share_visibility
        self.visible_in_task_list = visible_in_task_list
        self.check_together()

    def refuse_together(self) -> None:
        """Refuse a change of nothing."""
        if self.title is None and self.share_visibility is None and self.visible_in_task_list is None:
            raise InvalidArgumentError(
                "nothing to update: give title, share_visibility or visible_in_task_list"
            )

    def act(self, hook: ManusHook, context: Context) -> dict[str, Any]:
        """Update the task."""
        ref = hook.update_task(
            self.remote_task_id,
            title=self.title,
            share_visibility=self.share_visibility,
            visible_in_task_list=self.visible_in_task_list,
        )
        push_link(context, ref.url)
        return asdict(ref)

    def summary(self, found: dict[str, Any]) -> str:
        """Return what was changed."""
        names = ("title", "share_visibility", "visible_in_task_list")
        changed = [name for name in names if getattr(self, name) is not None]
        return f"Manus task {self.remote_task_id} was updated: {', '.join(changed)}."


class ManusDeleteTaskOperator(ManusTaskRequest):
    """Deletes a Manus task permanently, its files included. Stop a running one first.

    :param missing_ok: succeed when there is no such task, as after an attempt whose response was lost.
    """

    checks: ClassVar[Mapping[str, Check]] = {"missing_ok": validation.flag}

    def __init__(self, *, missing_ok: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.missing_ok = missing_ok

    def act(self, hook: ManusHook, context: Context) -> None:
        """Delete the task."""
        try:
            hook.delete_task(self.remote_task_id)
        except NotFoundError:
            if not self.missing_ok:
                raise
            self.log.info("There was no Manus task %s (any more).", self.remote_task_id)

    def summary(self, found: None) -> str:
        """Return that it is gone."""
        return f"Manus task {self.remote_task_id} is deleted."


class ManusGetResultOperator(ManusTaskRequest):
    """Fetches the result of a Manus task, without waiting for it to finish.

    Returns ``{"id": …, "state": …, "url": …, "title": …, "text": <the agent's last word>, "structured": …,
    "files": [{"name": …, "content_type": …, "turn": …}], "credit_usage": …,
    "error": …}``. Links to files are left out, as whoever has one can open the file;
    :class:`ManusDownloadFilesOperator` fetches them.

    :param structured: whether a structured value was asked for. One that could not be made fails the operator
        with Manus's reason.
    :param result_path: a file to write the result to, as JSON, any URL that ``ObjectStoragePath`` knows; XCom
        then holds ``result_path`` instead of ``text`` and ``structured``. Templated.
    :param output_grace: seconds to wait for the output of a task that has just finished.
    :param slides_format: ``pptx`` lists slides as files of that format; by default they are HTML.
    """

    template_fields: Sequence[str] = (*ManusTaskRequest.template_fields, "result_path")
    checks: ClassVar[Mapping[str, Check]] = {
        "structured": validation.flag,
        "result_path": validation.optional(location),
        "output_grace": partial(validation.seconds, zero=True),
        "slides_format": validation.optional(check_slides_format),
    }

    def __init__(
        self,
        *,
        structured: bool = False,
        result_path: str | ObjectStoragePath | None = None,
        output_grace: float | str | timedelta = 30.0,
        slides_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.structured = structured
        self.result_path = result_path
        self.output_grace: Any = output_grace
        self.slides_format = slides_format

    def act(self, hook: ManusHook, context: Context) -> dict[str, Any]:
        """Fetch the result."""
        if self.result_path is not None:
            try_file(self.result_path, "result_path", self.log)
        result = hook.get_result(
            self.remote_task_id,
            structured=self.structured,
            output_grace=self.output_grace,
            slides_format=self.slides_format,
        )
        push_link(context, result.url)
        if self.structured and result.state is TaskState.FAILED:
            failure = TaskFailedError(failure_text(result))
            raise wait_exception(failure, None) from failure
        return result_to_xcom(result.to_json(), self.result_path, self.log)

    def summary(self, found: dict[str, Any]) -> str:
        """Return how the task stands."""
        return summary_of(found)


class ManusDownloadFilesOperator(ManusTaskRequest, DownloadOperator):
    """Saves the files that a Manus task has made, and returns a list of what was saved.

    Each entry is ``{"name": …, "path": …, "size": …, "content_type": …, "sha256": …, "turn": …}``. Those of
    all turns are saved: 1 is the prompt's, 2 that of the next message. Names are made safe and distinct,
    whatever the agent called its files. Only ``https://`` links are followed, without the API
    key and without redirects. A file is complete or not there; a retry fetches those that are missing.

    :param output_path: a folder, any URL that ``ObjectStoragePath`` knows. Templated.
    :param overwrite: replace files that something else has put there. Otherwise they fail the operator.
    :param max_file_size: bytes a file may have.
    :param output_grace: seconds to wait for the output of a task that has just finished.
    :param slides_format: ``pptx`` saves slides as files of that format; by default they are HTML.
    """

    template_fields: Sequence[str] = (*ManusTaskRequest.template_fields, "output_path")
    checks: ClassVar[Mapping[str, Check]] = {
        "output_grace": partial(validation.seconds, zero=True),
        "slides_format": validation.optional(check_slides_format),
    }

    def __init__(
        self,
        *,
        output_path: str | ObjectStoragePath,
        overwrite: bool = False,
        max_file_size: int | str = 1024**3,
        output_grace: float | str | timedelta = 30.0,
        slides_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(output_path=output_path, overwrite=overwrite, max_file_size=max_file_size, **kwargs)
        self.slides_format = slides_format
        self.output_grace: Any = output_grace

    def find(self, hook: ManusHook, context: Context, *, again: bool) -> list[RemoteFile]:
        """Return the files; those of a task that has just finished are waited for."""
        result = hook.get_result(
            self.remote_task_id,
            output_grace=0 if again else self.output_grace,
            slides_format=self.slides_format,
        )
        push_link(context, result.url)
        return [
            RemoteFile(file.name, SignedLink(file.url), file.content_type, facts={"turn": file.turn})
            for file in result.files
        ]
