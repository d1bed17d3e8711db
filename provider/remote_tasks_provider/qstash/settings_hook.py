"""The part of the QStash hook for what stays at QStash: schedules, queues, URL groups and flow control."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from remote_tasks_provider.bases.hooks import RemoteTaskHook
from remote_tasks_provider.core.errors import InvalidRequestError
from remote_tasks_provider.core.http.operation import Operation
from remote_tasks_provider.qstash.api import settings
from remote_tasks_provider.qstash.api.options import PublishOptions
from remote_tasks_provider.qstash.api.settings import (
    QStashFlowControl,
    QStashGlobalParallelism,
    QStashQueue,
    QStashSchedule,
    QStashUrlGroup,
)

__all__ = ["QStashSettingsHook"]


class QStashSettingsHook(RemoteTaskHook):
    """Manages what stays at QStash; :class:`~remote_tasks_provider.qstash.hooks.QStashHook` is the whole."""

    _switch_methods = ("POST", "PATCH")
    """How a schedule may be paused or resumed; first what the service takes, once that is known."""

    def order(self, destination: str | None, body: Any = None, **options: Any) -> PublishOptions:
        """Return checked options for :meth:`publish_batch`; see :meth:`publish` for the parameters."""
        extras: Any = self.client.config.extras
        named = PublishOptions.by_field(options)
        return PublishOptions(destination, body, extras.plan, **named)

    def create_schedule(
        self,
        destination: str | None,
        cron: str,
        body: Any = None,
        *,
        schedule_id: str | None = None,
        **options: Any,
    ) -> str:
        """Create a schedule, which publishes a message at fixed times; return its id.

        :param cron: five fields, before them a time zone if wanted: ``CRON_TZ=Europe/Zurich 0 4 * * *``.
        :param schedule_id: its name; an existing schedule of that name is replaced.
        :param options: those of :meth:`publish`.
        """
        message = self.order(destination, body, is_scheduled=True, **options)
        return self.client.send(settings.create_schedule(message, cron, schedule_id))

    def get_schedule(self, schedule_id: str) -> QStashSchedule:
        """Return a schedule."""
        return self.client.send(settings.SCHEDULES.get(schedule_id))

    def list_schedules(self) -> list[QStashSchedule]:
        """Return all schedules."""
        return self.client.send(settings.SCHEDULES.all())

    def pause_schedule(self, schedule_id: str) -> None:
        """Stop a schedule from sending messages."""
        self._switch(settings.SCHEDULES.pause, schedule_id)

    def resume_schedule(self, schedule_id: str) -> None:
        """Let a paused schedule send messages again."""
        self._switch(settings.SCHEDULES.resume, schedule_id)

    def _switch(self, change: Callable[[str, str], Operation[None]], name: str) -> None:
        # QStash's reference says POST; its own clients, whose tests run against the service, send PATCH.
        first, other = self._switch_methods
        try:
            self.client.send(change(name, first))
        except InvalidRequestError as error:
            if error.status_code != 405:
                raise
            self.client.send(change(name, other))
            self._switch_methods = (other, first)

    def delete_schedule(self, schedule_id: str) -> None:
        """Delete a schedule."""
        self.client.send(settings.SCHEDULES.delete(schedule_id))

    def upsert_queue(self, queue: str, parallelism: int = 1, *, paused: bool | None = None) -> None:
        """Create a queue, or change it.

        :param parallelism: how many of its messages are delivered at a time.
        :param paused: whether it holds its messages back; default as it is.
        """
        self.client.send(settings.upsert_queue(queue, parallelism, paused))

    def get_queue(self, queue: str) -> QStashQueue:
        """Return a queue."""
        return self.client.send(settings.QUEUES.get(queue))

    def list_queues(self) -> list[QStashQueue]:
        """Return all queues."""
        return self.client.send(settings.QUEUES.all())

    def pause_queue(self, queue: str) -> None:
        """Pause a queue: its messages stay in it."""
        self.client.send(settings.QUEUES.pause(queue))

    def resume_queue(self, queue: str) -> None:
        """Resume a queue; that can take a minute."""
        self.client.send(settings.QUEUES.resume(queue))

    def delete_queue(self, queue: str) -> None:
        """Delete a queue."""
        self.client.send(settings.QUEUES.delete(queue))

    def upsert_endpoints(self, url_group: str, endpoints: Sequence[str | Mapping[str, str]]) -> None:
        """Add destinations to a URL group; create it if there is none."""
        self.client.send(settings.change_endpoints("POST", url_group, endpoints))

    def remove_endpoints(self, url_group: str, endpoints: Sequence[str | Mapping[str, str]]) -> None:
        """Remove destinations from a URL group."""
        self.client.send(settings.change_endpoints("DELETE", url_group, endpoints))

    def get_url_group(self, url_group: str) -> QStashUrlGroup:
        """Return a URL group."""
        return self.client.send(settings.URL_GROUPS.get(url_group))

    def list_url_groups(self) -> list[QStashUrlGroup]:
        """Return all URL groups."""
        return self.client.send(settings.URL_GROUPS.all())

    def delete_url_group(self, url_group: str) -> None:
        """Delete a URL group."""
        self.client.send(settings.URL_GROUPS.delete(url_group))

    def list_flow_control(self, search: str | None = None) -> list[QStashFlowControl]:
        """Return the keys of flow control and what waits for them.

        `Flow control <https://upstash.com/docs/qstash/features/flowcontrol>`__ limits messages with one key.

        :param search: only keys that hold this text.
        """
        return self.client.send(settings.list_flow_control(search))

    def get_flow_control(self, flow_control_key: str) -> QStashFlowControl:
        """Return a key of flow control."""
        return self.client.send(settings.FLOW_CONTROL.get(flow_control_key))

    def pause_flow_control(self, flow_control_key: str) -> None:
        """Hold back the messages of a key."""
        self.client.send(settings.FLOW_CONTROL.pause(flow_control_key))

    def resume_flow_control(self, flow_control_key: str) -> None:
        """Deliver the messages of a paused key again."""
        self.client.send(settings.FLOW_CONTROL.resume(flow_control_key))

    def pin_flow_control(self, flow_control_key: str, **limits: int) -> None:
        """Fix limits of a key, so that messages do not change them.

        :param limits: ``parallelism``, ``rate``, or both; with a ``rate`` perhaps ``period``, seconds.
        """
        self.client.send(settings.pin_flow_control(flow_control_key, **limits))

    def unpin_flow_control(
        self, flow_control_key: str, *, parallelism: bool = True, rate: bool = True
    ) -> None:
        """Let messages change the limits of a key again."""
        self.client.send(settings.unpin_flow_control(flow_control_key, parallelism=parallelism, rate=rate))

    def reset_flow_control_rate(self, flow_control_key: str) -> None:
        """Begin a new period of a key's rate now, so that messages that wait for it are delivered."""
        self.client.send(settings.reset_flow_control_rate(flow_control_key))

    def get_global_parallelism(self) -> QStashGlobalParallelism:
        """Return how many messages of the account are delivered now, and how many there may be."""
        return self.client.send(settings.get_global_parallelism())
