"""Operators for what stays: schedules, queues and URL groups."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowFailException, BaseOperator

from remote_tasks_provider.bases.exceptions import request_exception
from remote_tasks_provider.core import validation
from remote_tasks_provider.core.errors import NotFoundError, RemoteTaskError
from remote_tasks_provider.core.submission import may_have_submitted
from remote_tasks_provider.qstash.hooks import QStashHook

if TYPE_CHECKING:
    from airflow.sdk import Context

__all__ = ["QStashQueueOperator", "QStashScheduleOperator", "QStashUrlGroupOperator"]


class _SettingOperator(BaseOperator):
    """Does one thing to a schedule, a queue or a URL group."""

    ui_color = "#dff3ea"

    def __init__(
        self,
        *,
        action: str,
        qstash_conn_id: str = QStashHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.action = action
        self.qstash_conn_id = qstash_conn_id

    actions: tuple[str, ...] = ()

    def act(self, hook: QStashHook, action: str) -> Any:
        """Do it; return what goes to XCom."""
        raise NotImplementedError

    def execute(self, context: Context) -> Any:
        """Do it."""
        action = validation.choice(self.action, "action", self.actions)
        hook = QStashHook(self.qstash_conn_id)
        try:
            return self.act(hook, action)
        except NotFoundError as error:
            if action == "delete":
                self.log.info("There is nothing to delete (any more).")
                return None
            raise request_exception(error) from error
        except RemoteTaskError as error:
            raise self.after_failure(error, action) from error
        finally:
            hook.close()

    def after_failure(self, error: RemoteTaskError, action: str) -> BaseException:
        """Return what to raise when it did not work."""
        return request_exception(error)


class QStashScheduleOperator(_SettingOperator):
    """Creates, reads, lists, pauses, resumes or deletes a schedule: a message that is sent again and again.

    ``create`` returns the schedule's id, ``get`` the schedule as a JSON object, ``list`` all of them. With a
    ``schedule_id``, creating it again replaces it; without one, each run of the task makes another.

    :param action: ``create``, ``get``, ``list``, ``pause``, ``resume`` or ``delete``. Templated.
    :param schedule_id: its name; needed by all but ``create`` and ``list``. Templated.
    :param cron: for ``create``: five fields, before them a time zone if wanted, such as
        ``CRON_TZ=Europe/Zurich 0 4 * * *``. Templated.
    :param destination: for ``create``: a URL with its scheme, or the name of a URL group. Templated.
    :param body: for ``create``: text, bytes, or anything that JSON can tell. Templated.
    :param options: for ``create``: more parameters of
        :meth:`~remote_tasks_provider.qstash.hooks.QStashHook.publish`, such as ``headers``. Templated.
    :param qstash_conn_id: the Airflow connection. Templated.
    """

    template_fields: Sequence[str] = (
        "action",
        "schedule_id",
        "cron",
        "destination",
        "body",
        "options",
        "qstash_conn_id",
    )
    actions = ("create", "get", "list", "pause", "resume", "delete")

    def __init__(
        self,
        *,
        schedule_id: str | None = None,
        cron: str | None = None,
        destination: str | None = None,
        body: Any = None,
        options: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.schedule_id = schedule_id
        self.cron = cron
        self.destination = destination
        self.body = body
        self.options = options

    def act(self, hook: QStashHook, action: str) -> Any:
        """Do it."""
        if action == "create":
            return hook.create_schedule(
                self.destination,
                self.cron or "",
                self.body,
                schedule_id=self.schedule_id,
                **dict(self.options or {}),
            )
        if action == "list":
            return [schedule.to_json() for schedule in hook.list_schedules()]
        name = validation.object_id(self.schedule_id, "schedule_id")
        if action == "get":
            return hook.get_schedule(name).to_json()
        acts = {"pause": hook.pause_schedule, "resume": hook.resume_schedule, "delete": hook.delete_schedule}
        acts[action](name)
        return None

    def after_failure(self, error: RemoteTaskError, action: str) -> BaseException:
        """Fail for good where a retry might make a second schedule."""
        if action == "create" and not self.schedule_id and may_have_submitted(error):
            return AirflowFailException(
                f"{error} It is not known whether the schedule was made, and without a schedule_id a retry "
                "would make another. Look at QStash's schedules, then clear this task."
            )
        return request_exception(error)


class QStashQueueOperator(_SettingOperator):
    """Makes, reads, lists, pauses, resumes or deletes a queue, which delivers in order.

    ``get`` returns the queue as a JSON object, ``list`` all of them.

    :param action: ``upsert`` (make, or change), ``get``, ``list``, ``pause``, ``resume`` or ``delete``.
        Templated.
    :param qstash_queue: its name; needed by all but ``list``. Templated.
    :param parallelism: for ``upsert``: how many messages are delivered at a time.
    :param qstash_conn_id: the Airflow connection. Templated.
    """

    template_fields: Sequence[str] = ("action", "qstash_queue", "qstash_conn_id")
    actions = ("upsert", "get", "list", "pause", "resume", "delete")

    def __init__(self, *, qstash_queue: str | None = None, parallelism: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.qstash_queue = qstash_queue
        self.parallelism = parallelism

    def act(self, hook: QStashHook, action: str) -> Any:
        """Do it."""
        if action == "list":
            return [queue.to_json() for queue in hook.list_queues()]
        name = validation.object_id(self.qstash_queue, "qstash_queue")
        if action == "upsert":
            hook.upsert_queue(name, self.parallelism)
            return None
        if action == "get":
            return hook.get_queue(name).to_json()
        acts = {"pause": hook.pause_queue, "resume": hook.resume_queue, "delete": hook.delete_queue}
        acts[action](name)
        return None


class QStashUrlGroupOperator(_SettingOperator):
    """Changes, reads, lists or deletes a URL group: several destinations under one name.

    ``get`` returns the group as a JSON object, ``list`` all of them.

    :param action: ``add`` or ``remove`` destinations, ``get``, ``list`` or ``delete``. Templated.
    :param url_group: its name; needed by all but ``list``. ``add`` makes it if need be. Templated.
    :param endpoints: for ``add`` and ``remove``: URLs, or ``{"url": …, "name": …}``. Templated.
    :param qstash_conn_id: the Airflow connection. Templated.
    """

    template_fields: Sequence[str] = ("action", "url_group", "endpoints", "qstash_conn_id")
    actions = ("add", "remove", "get", "list", "delete")

    def __init__(
        self,
        *,
        url_group: str | None = None,
        endpoints: Iterable[str | Mapping[str, str]] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.url_group = url_group
        self.endpoints = endpoints

    def act(self, hook: QStashHook, action: str) -> Any:
        """Do it."""
        if action == "list":
            return [group.to_json() for group in hook.list_url_groups()]
        name = validation.object_id(self.url_group, "url_group")
        if action == "get":
            return hook.get_url_group(name).to_json()
        if action == "delete":
            hook.delete_url_group(name)
            return None
        acts = {"add": hook.upsert_endpoints, "remove": hook.remove_endpoints}
        acts[action](name, [self.endpoints] if isinstance(self.endpoints, str) else list(self.endpoints))
        return None
