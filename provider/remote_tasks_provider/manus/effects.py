"""What is done to a Manus task once: a message to it, the confirmation of an action, a publication.

See :mod:`remote_tasks_provider.bases.once`. A message is known by how many of the same the conversation has
had before; an action by its event; a publication by the status that the website had before.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from remote_tasks_provider.bases.once import appears
from remote_tasks_provider.core.errors import RemoteTaskError, TaskFailedError
from remote_tasks_provider.core.states import TaskState
from remote_tasks_provider.manus.api import v2
from remote_tasks_provider.manus.hooks import ManusHook
from remote_tasks_provider.manus.models import ManusMessage
from remote_tasks_provider.manus.results import ManusQuestion
from remote_tasks_provider.manus.websites import ManusWebsite

__all__ = ["Confirmation", "Message", "Publication", "same_messages"]

# Seconds by which the service's clock may be behind ours.
_SKEW = 120.0


class Message:
    """A message to a task.

    :param content: what it says.
    :param prepare: makes the other options of the request, such as files, shortly before it is sent.
    """

    def __init__(
        self,
        hook: ManusHook,
        task_id: str,
        content: str,
        prepare: Callable[[], Mapping[str, Any]] = dict,
    ) -> None:
        self._hook = hook
        self._task_id = task_id
        self._content = content
        self._prepare = prepare
        self.subject = f"message {task_id}"

    def facts(self) -> dict[str, Any]:
        """Return which message it is, and how many of the same there are."""
        digest = _digest(self._content)
        return {"content": digest, "before": same_messages(self._hook, self._task_id, digest)}

    def is_there(self, facts: dict[str, Any]) -> bool:
        """Return whether the conversation has one more of the same."""
        before: int = facts["before"]
        return same_messages(self._hook, self._task_id, facts["content"]) > before

    def send(self, facts: dict[str, Any]) -> None:
        """Send the message."""
        self._hook.send_message(self._task_id, self._content, **self._prepare())

    def doubt(self) -> str | None:
        """Return that the conversation has the same message already, if it has."""
        if not self.facts()["before"]:
            return None
        return f"The conversation of Manus task {self._task_id} has this message already."


class Confirmation:
    """The confirmation of an action.

    :param answer: the input that confirms it.
    :param action_type: the type of action that may be confirmed.
    :param event_id: the event that may be; default whatever the task waits for.
    """

    def __init__(
        self,
        hook: ManusHook,
        task_id: str,
        answer: Mapping[str, Any],
        action_type: str,
        event_id: str | None = None,
    ) -> None:
        self._hook = hook
        self._task_id = task_id
        self._answer = answer
        self._action_type = action_type
        self._event_id = event_id
        self.subject = f"confirmation {task_id}"

    def facts(self) -> dict[str, Any]:
        """Return which event is to be confirmed.

        :raises TaskFailedError: when the task waits for something else.
        """
        asked = self._asked()
        if asked is None or asked.kind != self._action_type or self._event_id not in (None, asked.event_id):
            found = f"waits for {asked.kind} ({asked.event_id})" if asked else "does not wait for anything"
            raise TaskFailedError(
                f"Manus task {self._task_id} {found}, not for {self._action_type}; nothing was confirmed"
            )
        return {"event_id": asked.event_id or ""}

    def is_there(self, facts: dict[str, Any]) -> bool:
        """Return whether the task no longer waits for it."""
        asked = self._asked()
        return asked is None or asked.event_id != facts["event_id"]

    def send(self, facts: dict[str, Any]) -> bool:
        """Confirm it; return whether Manus took the input."""
        return self._hook.confirm_action(self._task_id, facts["event_id"], self._answer)

    def doubt(self) -> str | None:
        """Return that the task has waited for such an action, and does no more, if so."""
        asked = self._asked()
        events = self._hook.client.items(v2.list_messages(self._task_id))
        details = [one.status_update.status_detail for one in events if one.status_update]
        answered = {
            one.waiting_for_event_id: None
            for one in details
            if one is not None
            and one.waiting_for_event_type == self._action_type
            and self._event_id in (None, one.waiting_for_event_id)
            and (asked is None or one.waiting_for_event_id != asked.event_id)
        }
        if not answered:
            return None
        given = ", ".join(map(str, answered))
        return f"Manus task {self._task_id} does not wait for {self._action_type} any more ({given})."

    def _asked(self) -> ManusQuestion | None:
        return self._hook.get_result(self._task_id, output_grace=0).question


class Publication:
    """The publication of a website.

    :param where: what names the website: :meth:`.ManusHook.get_website` takes it.
    :param began: when the DAG run began, in Unix seconds, if that is known: what was published before is no
        earlier attempt's.
    :param visibility: who may open the website.
    """

    def __init__(
        self, hook: ManusHook, where: Mapping[str, Any], began: float | None, visibility: str | None = None
    ) -> None:
        self._hook = hook
        self._where = where
        self._began = began
        self._visibility = visibility
        self._website_id: str | None = where.get("website_id")
        self._name = " ".join(f"{name} {value}" for name, value in where.items() if value)
        self.subject = f"publication {self._name}"

    def facts(self) -> dict[str, Any]:
        """Return the website's status."""
        website = self._read()
        at = website.status_updated_at
        return {
            "publish_status": website.publish_status,
            "version_id": website.version_id,
            "at": at and at.timestamp(),
        }

    def is_there(self, facts: dict[str, Any]) -> bool:
        """Return whether the status is another one: since then, the website is or was being published."""
        return self.facts() != facts

    def send(self, facts: dict[str, Any]) -> None:
        """Begin to publish, and wait until the status shows it: the former outcome must not pass for this.

        One that stays as it was for long is believed all the same. Errors are left to the wait that follows,
        which has rules for them.
        """
        self._website_id = self._hook.publish_website(**self._where, visibility=self._visibility).website_id
        with suppress(RemoteTaskError):
            appears(self, facts)

    def doubt(self) -> str | None:
        """Return that the website is being published, or has been since the DAG run began, if so."""
        website = self._read()
        at = website.status_updated_at
        is_older = at and self._began and at.timestamp() < self._began - _SKEW
        if website.state is TaskState.PENDING or (website.state.is_terminal and is_older):
            return None
        return f"The website of {self._name} is {website.publish_status} already."

    def website_id(self) -> str:
        """Return the website's id."""
        return self._website_id or self._read().website_id

    def _read(self) -> ManusWebsite:
        return self._hook.get_website(**self._where)


def same_messages(hook: ManusHook, task_id: str, digest: str) -> int:
    """Return how many messages to a task have this content."""
    return sum(digest == _digest(text) for text in _sent(hook.iter_messages(task_id)))


def _sent(messages: Iterator[ManusMessage]) -> Iterator[str]:
    for message in messages:
        if message.role == "user":
            yield "\n".join(part.text for part in message.content if part.text)


def _digest(text: str) -> str:
    """Return a hash of a message, whatever happens to its spaces on the way."""
    return hashlib.sha256(" ".join(text.split()).encode()).hexdigest()[:16]
