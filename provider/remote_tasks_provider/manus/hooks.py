"""The hook to Manus."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from remote_tasks_provider.core import validation
from remote_tasks_provider.core.errors import InvalidArgumentError, RemoteTaskError
from remote_tasks_provider.core.states import TaskState
from remote_tasks_provider.manus.api.filters import task_filter
from remote_tasks_provider.manus.api.options import (
    VISIBILITIES,
    TaskOptions,
    check_prompt,
    check_slides_format,
)
from remote_tasks_provider.manus.api.v2_models import ManusUsage
from remote_tasks_provider.manus.api.versions import ManusApi, api_version
from remote_tasks_provider.manus.manifest import MANIFEST
from remote_tasks_provider.manus.models import ManusMessage, ManusTask
from remote_tasks_provider.manus.names import ids_by_name
from remote_tasks_provider.manus.results import ManusResult, ManusTaskRef
from remote_tasks_provider.manus.service import MANUS
from remote_tasks_provider.manus.webhook_hook import ManusWebhookHook
from remote_tasks_provider.manus.website_hook import ManusWebsiteHook

__all__ = ["ManusHook"]

# Output can arrive tens of seconds after a task has finished (published graces: 10 s and 30 s). What is there
# so many seconds later is complete: since this process saw it, or by Manus's clock alone, as that one
# and ours may be hours apart. Output that is missing may still come; but not days later.
_OUTPUT_SETTLES_AFTER = 10.0
_LONG_AGO = 2 * 24 * 60 * 60.0
_READ_INTERVAL = 2.5
_UPLOAD_CHECK_TIMEOUT = 60.0


class ManusHook(ManusWebsiteHook, ManusWebhookHook):
    """Everything that you can do with Manus tasks.

    It uses `API v1 <https://open.manus.ai/docs/v1/get-tasks>`__ to read and list tasks, and
    `v2 <https://open.manus.ai/docs/v2/introduction>`__ for everything else. The connection's ``api_version``
    can name one of them for everything.

    Idempotent requests are retried on connection errors, timeouts, 408, 425, 429 and 5xx.
    :meth:`create_task`, :meth:`send_message`, :meth:`confirm_action` and :meth:`publish_website` would act
    twice: they are retried only after a 429, or when the request provably was not sent. Every method raises

    * :class:`~remote_tasks_provider.core.errors.ConnectionConfigError` when the connection cannot be used, or
      its API version does not support what you ask for,
    * :class:`~remote_tasks_provider.core.errors.ApiError` (by status) when Manus refuses; only
      ``RateLimitedError`` and ``ServerError`` are worth a later retry,
    * :class:`~remote_tasks_provider.core.errors.TransportError` when Manus cannot be reached; a later retry
      helps,
    * :class:`~remote_tasks_provider.core.errors.InvalidResponseError` when the response is not Manus's,
    * ``ValueError`` for an argument that cannot be right, before anything is sent.

    .. code-block:: python

        hook = ManusHook()
        for task in hook.iter_tasks(status="failed", limit=10):
            print(task.id, task.title, task.error)

    :param manus_conn_id: the Airflow connection: password = API key, host = base URL.
    """

    service = MANUS
    manifest = MANIFEST
    default_conn_name = "manus_default"

    def __init__(self, manus_conn_id: str = default_conn_name) -> None:
        super().__init__(manus_conn_id)

    @property
    def api(self) -> ManusApi:
        """What the connection's ``api_version`` stands for."""
        return api_version(self.client.config.extras)(self.client)

    def get_task(self, remote_task_id: str) -> ManusTask:
        """Return one task with its whole conversation.

        :raises NotFoundError: for an unknown id, and for some seconds after a task was created.
        """
        return self.api.get_task(remote_task_id)

    def iter_tasks(
        self,
        *,
        status: str | Iterable[str] | None = None,
        query: str | None = None,
        created_after: datetime | int | str | None = None,
        created_before: datetime | int | str | None = None,
        project_id: str | None = None,
        order: str = "desc",
        order_by: str = "created_at",
        after: str | None = None,
        page_size: int = 100,
        limit: int | None = None,
    ) -> Iterator[ManusTask]:
        """Return an iterator over the account's tasks, those made in the Manus app included.

        Lazy: a page is requested when its first task is needed, and one page is in memory at a time. In
        API v1 each task carries its whole conversation, so a smaller ``page_size`` saves memory. In v2 it
        does not (:meth:`get_task` has it), and ``status``, ``query`` and the times are applied to what Manus
        lists, because v2 has no filters. Arguments are checked at once.

        :param status: ``pending`` or ``waiting`` (both: waits for a person), ``running``, ``completed`` or
            ``failed``; one or several.
        :param query: text to search for in titles and, with API v1, in bodies.
        :param created_after: only tasks created after this moment: an aware ``datetime``, an ISO 8601 string
            with an offset, or Unix seconds.
        :param created_before: likewise.
        :param project_id: only this project's tasks.
        :param order: ``desc`` (newest first) or ``asc``.
        :param order_by: ``created_at`` or, with API v1, ``updated_at``.
        :param after: begin after the task with this id.
        :param page_size: tasks a request, 1 to 1000; API v2 gives at most 100.
        :param limit: tasks at most; ``None`` for all.
        :raises PaginationError: (while iterating) when Manus's pages never end.
        """
        most = None if limit is None else validation.whole_number(limit, "limit", least=1)
        wanted = task_filter(
            status=status,
            query=query,
            created_after=created_after,
            created_before=created_before,
            project_id=project_id,
            order=order,
            order_by=order_by,
            after=after,
            page_size=page_size,
            limit=most,
        )
        return self.api.list_tasks(wanted, most)

    def create_task(self, prompt: str, **options: Any) -> ManusTaskRef:
        """Create a task, which costs credits from then on. Every call creates one.

        An error after the request was sent leaves open whether there is a task now;
        :class:`~remote_tasks_provider.manus.operators.ManusTaskOperator` finds out, this method does not.

        :param prompt: what the agent should do; fewer than about 5,000 tokens.
        :param options: ``files`` (such as :meth:`upload_file` gives), ``agent_profile``, ``project_id``,
            ``connectors``, ``locale``, ``interactive_mode``, ``hide_in_task_list``, ``share_visibility``;
            with API v2 also ``title``, ``structured_output_schema``, ``enable_skills``, ``force_skills``,
            ``task_references``.
        """
        return self.api.create_task(TaskOptions(prompt, **options))

    def get_result(
        self,
        remote_task_id: str,
        *,
        structured: bool = False,
        output_grace: float = 30.0,
        slides_format: str | None = None,
    ) -> ManusResult:
        """Return the result of a task: its final text, files and structured value.

        The output of a task that has just finished may not be there yet. Then this reads again, every few
        seconds, until it is there or ``output_grace`` is over.

        :param structured: whether you asked for a structured value, which then has to be there.
        :param output_grace: seconds to wait for output at most, from when this sees that the task has
            finished; 0 reads once.
        :param slides_format: ``pptx`` for slides as files of that format, ``html`` as Manus keeps them (the
            default).
        :raises OutputMissingError: when the structured value has not come by then. Ask again later.
        """
        grace = validation.seconds(output_grace, "output_grace", zero=True)
        if slides_format is not None:
            check_slides_format(slides_format, "slides_format")
        api, seen_at = self.api, None
        while True:
            asked_at = time.monotonic()
            task, result = api.get_result(remote_task_id, slides_format)
            seen_for = 0.0 if seen_at is None else asked_at - seen_at
            if seen_for >= grace or _is_complete(result, structured, seen_for):
                return result.requiring_value() if structured else result
            if seen_at is None:
                seen_at = time.monotonic()
                self.log.info("Manus task %s has finished; waiting for its output.", task.id)
            time.sleep(min(_READ_INTERVAL, grace - seen_for))

    def iter_messages(self, remote_task_id: str) -> Iterator[ManusMessage]:
        """Return an iterator over a task's conversation, oldest message first; lazy with API v2."""
        return self.api.iter_messages(remote_task_id)

    def send_message(
        self, remote_task_id: str, content: str, *, files: Sequence[Mapping[str, str]] = (), **options: Any
    ) -> None:
        """Send a message to a task: the answer to its question, or what to do next if it has finished.

        :param files: from :meth:`upload_file`.
        :param options: ``agent_profile``; with API v2 also ``structured_output_schema``.
        """
        self.api.send_message(remote_task_id, check_prompt(content, "content"), files, options)

    def confirm_action(
        self, remote_task_id: str, event_id: str, input: Mapping[str, Any] | None = None
    ) -> bool:
        """Answer an action that waits for confirmation; return whether Manus accepted the answer. API v2.

        :param event_id: the event that waits, from :attr:`ManusResult.question`.
        :param input: what the event's schema asks for, such as ``{"accept": True}``; see the
            `table of actions <https://open.manus.ai/docs/v2/task-lifecycle>`__.
        """
        return self.api.confirm_action(remote_task_id, event_id, input)

    def stop_task(self, remote_task_id: str) -> None:
        """Stop a task. A message resumes it, and its background jobs may still run. API v2."""
        self.api.stop_task(remote_task_id)

    def delete_task(self, remote_task_id: str) -> None:
        """Delete a task permanently. Stop a running one first.

        :raises NotFoundError: also when an earlier attempt deleted it and its response was lost.
        """
        self.api.delete_task(remote_task_id)

    def update_task(
        self,
        remote_task_id: str,
        *,
        title: str | None = None,
        share_visibility: str | None = None,
        visible_in_task_list: bool | None = None,
    ) -> ManusTaskRef:
        """Change a task's title, who may see it, or whether the Manus app lists it.

        :param share_visibility: ``private``, ``public`` or, with API v2, ``team``.
        """
        if title is None and share_visibility is None and visible_in_task_list is None:
            raise InvalidArgumentError(
                "nothing to update: give title, share_visibility or visible_in_task_list"
            )
        if share_visibility is not None:
            validation.choice(share_visibility, "share_visibility", VISIBILITIES)
        return self.api.update_task(
            remote_task_id, title=title, share_visibility=share_visibility, visible=visible_in_task_list
        )

    def upload_file(self, source: Any) -> dict[str, str]:
        """Upload a file, and return how a task refers to it: ``{"file_id": …, "filename": …}``.

        The bytes go to a signed URL, without the API key. Manus keeps a file for 48 hours.

        :param source: a path or URL that ``ObjectStoragePath`` knows; at most 512 MB.
        """
        # Here, because every DAG file imports the hook, and few upload.
        from remote_tasks_provider.bases.files import FileSource, open_source

        file = source if isinstance(source, FileSource) else open_source(source)
        file_id, url = self.client.send(self.api.operations.create_upload(file.name))
        file.upload_to(url, log=self.log, from_loopback=self.client.config.is_loopback)
        self._check_upload(file_id, file.name)
        return {"file_id": file_id, "filename": file.name}

    def _check_upload(self, file_id: str, name: str) -> None:
        give_up_at = time.monotonic() + _UPLOAD_CHECK_TIMEOUT
        while True:
            status = str(self.get_file(file_id).get("status", "")).casefold()
            if status == "uploaded":
                return
            if status in ("error", "deleted") or time.monotonic() >= give_up_at:
                raise RemoteTaskError(
                    f"Manus did not accept the file {name!r}: its status is {status or 'missing'} after the "
                    "upload. Executables and scripts are refused."
                )
            time.sleep(_READ_INTERVAL)

    def get_file(self, file_id: str) -> dict[str, Any]:
        """Return the facts of an uploaded file: ``id``, ``filename``, ``status`` and more."""
        found: dict[str, Any] = self.client.send(self.api.operations.get_file(file_id))
        return found

    def delete_file(self, file_id: str) -> None:
        """Delete an uploaded file."""
        self.client.send(self.api.operations.delete_file(file_id))

    def create_project(self, name: str, instruction: str | None = None) -> dict[str, Any]:
        """Create a project, and return its ``id`` and more. Like :meth:`create_task`, it is not repeated.

        :param instruction: an instruction for the agent in each of the project's tasks.
        """
        made: dict[str, Any] = self.client.send(self.api.operations.create_project(name, instruction))
        return made

    def list_projects(self) -> list[dict[str, Any]]:
        """Return the account's projects."""
        found: list[dict[str, Any]] = self.client.send(self.api.operations.list_projects())
        return found

    def iter_usage(self, *, limit: int | None = None) -> Iterator[ManusUsage]:
        """Return an iterator over the changes of the account's credits, newest first; lazy. API v2.

        The sum of all is not the balance: credits of a month expire without a change. See
        :meth:`available_credits`, and https://open.manus.ai/docs/v2/usage.list.

        :param limit: changes at most.
        """
        most = None if limit is None else validation.whole_number(limit, "limit", least=1)
        return self.api.iter_usage(most)

    def list_connectors(self) -> list[dict[str, Any]]:
        """Return the connectors of the account: ``id``, ``name``, ``type``, ``description``. API v2.

        A task takes ids; :meth:`connector_ids` finds them by name.
        """
        return self.api.list_connectors()

    def connector_ids(self, *names: str) -> list[str]:
        """Return the ids of connectors by their names in the Manus app, in that order. API v2.

        :raises InvalidArgumentError: for a name that no connector has, or several have; it lists the names.
        """
        return ids_by_name(names, self.list_connectors(), "connector")

    def list_skills(self, project_id: str | None = None) -> list[dict[str, Any]]:
        """Return the skills of the account: ``id``, ``name``, ``description``, ``owner_type``. API v2.

        :param project_id: only those of a project.
        """
        return self.api.list_skills(project_id)

    def skill_ids(self, *names: str, project_id: str | None = None) -> list[str]:
        """Return the ids of skills by their names, in that order. API v2.

        :param project_id: look among those of a project.
        :raises InvalidArgumentError: for a name that no skill has, or several have; it lists the names.
        """
        return ids_by_name(names, self.list_skills(project_id), "skill")

    def available_credits(self) -> int | None:
        """Return the credits that the account can spend, ``None`` if unknown. API v2."""
        return self.api.available_credits()


def _is_complete(result: ManusResult, structured: bool, seen_for: float) -> bool:
    """Whether no more output of a task is expected, so many seconds after it was seen to be finished."""
    if result.state is not TaskState.COMPLETED:
        return True
    ended_for = max(seen_for, result.unchanged_for or 0.0)
    if ended_for >= _LONG_AGO:
        return True
    if not result.text or (structured and (result.structured is None or result.structured_is_late)):
        return False
    # A structured value is made of the whole output.
    return structured or ended_for >= _OUTPUT_SETTLES_AFTER
