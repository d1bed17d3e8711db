"""Operators for what stays at QStash: schedules, queues, URL groups and flow control."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from remote_tasks_provider.bases.arguments import is_template
from remote_tasks_provider.bases.origin import Origin
from remote_tasks_provider.core import validation
from remote_tasks_provider.core.errors import InvalidArgumentError, NotFoundError
from remote_tasks_provider.core.http.operation import present
from remote_tasks_provider.core.log import counted
from remote_tasks_provider.qstash.api.settings import pin_flow_control
from remote_tasks_provider.qstash.hooks import QStashHook
from remote_tasks_provider.qstash.operators import checks as check
from remote_tasks_provider.qstash.operators.base import QStashOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

__all__ = [
    "QStashFlowControlOperator",
    "QStashQueueOperator",
    "QStashScheduleOperator",
    "QStashUrlGroupOperator",
]


class _SettingOperator(QStashOperator):
    """Does one thing to a schedule, a queue or a URL group, which an attribute of the operator names."""

    name_attribute: ClassVar[str]
    noun: ClassVar[str]
    """What is changed, for messages."""
    nameless: ClassVar[frozenset[str]] = frozenset({"list"})
    """The actions that need no name."""

    def __init__(self, *, action: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.action = action

    def refuse_together(self) -> None:
        """Refuse an action without the name that it needs."""
        has_name = getattr(self, self.name_attribute) is not None
        if not has_name and self.action not in self.nameless and not is_template(self.action):
            raise InvalidArgumentError(
                f"{self.name_attribute} is not given; the action {self.action!r} needs it"
            )

    def actions(self, hook: QStashHook) -> dict[str, Callable[..., Any]]:
        """Return what does each action; it is called with the name, if the action needs one."""
        raise NotImplementedError

    def act(self, hook: QStashHook, context: Context) -> Any:
        """Do it; return an id, one object or all of them, as JSON."""
        actions, action = self.actions(hook), self.action
        name = getattr(self, self.name_attribute)
        names = () if action in self.nameless else (validation.object_id(name, self.name_attribute),)
        try:
            found = actions[action](*names)
        except NotFoundError:
            if action != "delete":
                raise
            self.log.info("There was nothing to delete (any more).")
            return None
        if isinstance(found, list):
            return [one.to_json() for one in found]
        return found if found is None or isinstance(found, str) else found.to_json()

    def summary(self, found: Any) -> str:
        """Return what was done, and to what."""
        if isinstance(found, list):
            return f"QStash has {counted(len(found), self.noun)}."
        name = getattr(self, self.name_attribute) or found
        return f"QStash {self.noun} {name!r}: {self.action} succeeded."


class QStashScheduleOperator(_SettingOperator):
    """Creates, reads, lists, pauses, resumes or deletes a schedule: a message that is sent again and again.

    ``create`` returns the schedule's id, ``get`` the schedule as a JSON object, ``list`` all of them. With a
    ``schedule_id``, creating it again replaces it. Without one, each task instance has its own, and another
    after it was cleared.

    :param action: ``create``, ``get``, ``list``, ``pause``, ``resume`` or ``delete``. Templated.
    :param schedule_id: its name; needed by all but ``create`` and ``list``. Templated.
    :param cron: for ``create``: five fields, before them a time zone if wanted, such as
        ``CRON_TZ=Europe/Zurich 0 4 * * *``. Templated.
    :param destination: for ``create``: a URL with its scheme, or the name of a URL group. Templated.
    :param body: for ``create``: text, bytes, or a JSON value. Templated.
    :param options: for ``create``: more parameters of
        :meth:`~remote_tasks_provider.qstash.hooks.QStashHook.publish`, such as ``headers``. Templated.
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
    checks = check.SCHEDULE
    name_attribute = "schedule_id"
    noun = "schedule"
    nameless = frozenset({"create", "list"})
    _own_id: str | None = None

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
        self.check_together()

    def refuse_together(self) -> None:
        """Refuse a schedule without what it sends, when and where to."""
        super().refuse_together()
        if self.action == "create":
            check.one_destination(self.destination, (self.options or {}).get("url_group"))
            if self.cron is None:
                raise InvalidArgumentError("cron is not given; the action 'create' needs it")

    def act(self, hook: QStashHook, context: Context) -> Any:
        """Do it; return an id, one object or all of them, as JSON."""
        if self.action == "create" and not self.schedule_id:
            origin = Origin.of(context)
            self._own_id = f"af-{origin.digest(str(origin.max_tries), 'schedule')[:40]}"
        return super().act(hook, context)

    def actions(self, hook: QStashHook) -> dict[str, Callable[..., Any]]:
        """Return what does each action."""

        def create() -> str:
            options = dict(self.options or {})
            name = self.schedule_id or self._own_id
            return hook.create_schedule(
                self.destination, self.cron or "", self.body, schedule_id=name, **options
            )

        return {
            "create": create,
            "get": hook.get_schedule,
            "list": hook.list_schedules,
            "pause": hook.pause_schedule,
            "resume": hook.resume_schedule,
            "delete": hook.delete_schedule,
        }


class QStashQueueOperator(_SettingOperator):
    """Creates, reads, lists, pauses, resumes or deletes a queue, which delivers in order.

    ``get`` returns the queue as a JSON object, ``list`` all of them.

    :param action: ``upsert`` (create, or change), ``get``, ``list``, ``pause``, ``resume`` or ``delete``.
        Templated.
    :param qstash_queue: its name; needed by all but ``list``. Templated.
    :param parallelism: for ``upsert``: how many messages are delivered at a time.
    :param paused: for ``upsert``: whether it holds its messages back; default as it is.
    """

    template_fields: Sequence[str] = ("action", "qstash_queue", "qstash_conn_id")
    checks = check.QUEUE
    name_attribute = "qstash_queue"
    noun = "queue"

    def __init__(
        self,
        *,
        qstash_queue: str | None = None,
        parallelism: Any = 1,
        paused: bool | str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.qstash_queue = qstash_queue
        self.parallelism = parallelism
        self.paused: Any = paused
        self.check_together()

    def actions(self, hook: QStashHook) -> dict[str, Callable[..., Any]]:
        """Return what does each action."""
        return {
            "upsert": lambda name: hook.upsert_queue(name, self.parallelism, paused=self.paused),
            "get": hook.get_queue,
            "list": hook.list_queues,
            "pause": hook.pause_queue,
            "resume": hook.resume_queue,
            "delete": hook.delete_queue,
        }


class QStashUrlGroupOperator(_SettingOperator):
    """Changes, reads, lists or deletes a URL group: several destinations under one name.

    ``get`` returns the group as a JSON object, ``list`` all of them.

    :param action: ``add`` or ``remove`` destinations, ``get``, ``list`` or ``delete``. Templated.
    :param url_group: its name; needed by all but ``list``. ``add`` creates it if there is none. Templated.
    :param endpoints: for ``add`` and ``remove``: URLs, or ``{"url": …, "name": …}``. Templated.
    """

    template_fields: Sequence[str] = ("action", "url_group", "endpoints", "qstash_conn_id")
    checks = check.URL_GROUP
    name_attribute = "url_group"
    noun = "URL group"

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
        self.check_together()

    def refuse_together(self) -> None:
        """Refuse to change no endpoint."""
        super().refuse_together()
        if self.action in ("add", "remove") and not self.endpoints:
            raise InvalidArgumentError(
                f"endpoints is empty; the action {self.action!r} needs at least one URL"
            )

    def actions(self, hook: QStashHook) -> dict[str, Callable[..., Any]]:
        """Return what does each action."""
        endpoints = [self.endpoints] if isinstance(self.endpoints, str) else list(self.endpoints or ())
        return {
            "add": lambda name: hook.upsert_endpoints(name, endpoints),
            "remove": lambda name: hook.remove_endpoints(name, endpoints),
            "get": hook.get_url_group,
            "list": hook.list_url_groups,
            "delete": hook.delete_url_group,
        }


class QStashFlowControlOperator(_SettingOperator):
    """Reads, lists, pauses, resumes, pins, unpins or resets a key of flow control.

    `Flow control <https://upstash.com/docs/qstash/features/flowcontrol>`__ limits how many messages with one
    key are delivered at a time, and in a period. ``get`` returns the key as a JSON object, ``list`` all of
    them.

    .. code-block:: python

        QStashFlowControlOperator(task_id="slow", action="pin", flow_control_key="user:1", rate=5, period=60)

    :param action: ``get``, ``list``, ``pause``, ``resume``, ``pin`` (fix limits, so that messages do not
        change them), ``unpin`` or ``reset`` (begin a new period of the rate now). Templated.
    :param flow_control_key: the key; needed by all but ``list``. Templated.
    :param parallelism: for ``pin``: how many messages are delivered at a time.
    :param rate: for ``pin``: how many are delivered in a period.
    :param period: for ``pin``: the period in seconds; default 1.
    """

    template_fields: Sequence[str] = ("action", "flow_control_key", "qstash_conn_id")
    checks = check.FLOW_CONTROL
    name_attribute = "flow_control_key"
    noun = "flow control key"

    def __init__(
        self,
        *,
        flow_control_key: str | None = None,
        parallelism: int | str | None = None,
        rate: int | str | None = None,
        period: int | str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.flow_control_key = flow_control_key
        self.parallelism: Any = parallelism
        self.rate: Any = rate
        self.period: Any = period
        self.check_together()

    @property
    def _limits(self) -> dict[str, int]:
        return present({"parallelism": self.parallelism, "rate": self.rate, "period": self.period})

    def refuse_together(self) -> None:
        """Refuse to pin nothing."""
        super().refuse_together()
        if self.action == "pin":
            pin_flow_control("a", **self._limits)

    def actions(self, hook: QStashHook) -> dict[str, Callable[..., Any]]:
        """Return what does each action."""
        return {
            "get": hook.get_flow_control,
            "list": hook.list_flow_control,
            "pause": hook.pause_flow_control,
            "resume": hook.resume_flow_control,
            "pin": lambda name: hook.pin_flow_control(name, **self._limits),
            "unpin": hook.unpin_flow_control,
            "reset": hook.reset_flow_control_rate,
        }
