"""The operations ``task.*`` of Manus v2.

https://open.manus.ai/docs/v2/task.create and the pages beside it.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable
from typing import Any

from remote_tasks_sandbox.calls import Call, Later, Refused
from remote_tasks_sandbox.faults import Plan
from remote_tasks_sandbox.manus.account import ListQuery, ManusAccount, NewTask
from remote_tasks_sandbox.manus.parsing import (
    Shape,
    check_fields,
    check_project,
    check_schema,
    choice,
    flag,
    json_body,
    limit,
    read_message,
    required,
    single,
)
from remote_tasks_sandbox.manus.task import ManusTask, v2_word
from remote_tasks_sandbox.manus.wire import events, links, wire_task
from remote_tasks_sandbox.vendor import Context

__all__ = ["Operations", "TaskOperations", "more_of", "read_cursor"]

#: The newer words for the profiles, and what they stand for.
_NEW_PROFILES = {"standard": "manus-1.6", "lite": "manus-1.6-lite", "max": "manus-1.6-max"}
_PROFILES = (*_NEW_PROFILES.values(), *_NEW_PROFILES)
#: Operation to its HTTP method and handler; the handler also gets the name of the API key that was used.
Operations = dict[str, tuple[str, Callable[["Call", "Plan", str | None], dict[str, Any] | Later]]]

_VISIBILITIES = ("private", "team", "public")

_CREATE: dict[str, Shape] = {
    "message": dict,
    "project_id": str,
    "locale": str,
    "interactive_mode": bool,
    "hide_in_task_list": bool,
    "share_visibility": _VISIBILITIES,
    "agent_profile": _PROFILES,
    "title": str,
    "structured_output_schema": dict,
}
_SEND: dict[str, Shape] = {
    "task_id": str,
    "message": dict,
    "agent_profile": _PROFILES,
    "structured_output_schema": dict,
    "clear_connectors": bool,
}
_UPDATE: dict[str, Shape] = {
    "task_id": str,
    "title": str,
    "share_visibility": _VISIBILITIES,
    "enable_visible_in_task_list": bool,
}
_CONFIRM: dict[str, Shape] = {"task_id": str, "event_id": str, "input": dict}


class TaskOperations:
    """Performs ``task.*``; each handler returns what stands beside ``ok`` and ``request_id``.

    :ivar operations: name to HTTP method and handler
    """

    def __init__(self, context: Context, account: ManusAccount) -> None:
        self._context = context
        self._account = account
        self.operations: Operations = {
            "task.create": ("POST", self._create),
            "task.detail": ("GET", self._detail),
            "task.list": ("GET", self._list),
            "task.update": ("POST", self._update),
            "task.stop": ("POST", self._stop),
            "task.delete": ("POST", self._delete),
            "task.sendMessage": ("POST", self._send_message),
            "task.listMessages": ("GET", self._list_messages),
            "task.confirmAction": ("POST", self._confirm_action),
        }

    def _create(self, call: Call, plan: Plan, key_name: str | None) -> dict[str, Any]:
        raw = json_body(call)
        body = check_fields(raw, _CREATE, required=("message",))
        message = read_message(body["message"], self._account.uploads)
        check_schema(body.get("structured_output_schema"))
        check_project(body.get("project_id"), self._account)
        profile = body.get("agent_profile", "manus-1.6")
        task = self._account.create(
            NewTask(
                version="v2",
                body=raw,
                prompt=message.text,
                title=body.get("title"),
                profile=_NEW_PROFILES.get(profile, profile),
                project_id=body.get("project_id"),
                locale=body.get("locale", ""),
                share_visibility=body.get("share_visibility", "private"),
                api_key_name=key_name,
                schema=body.get("structured_output_schema"),
                attachments=message.attachments,
            )
        )
        return self._named(task)

    def _detail(self, call: Call, plan: Plan, _: str | None) -> dict[str, Any]:
        task = self._account.visible(required(call, "task_id"), plan)
        return {"task": self._shown(task)}

    def _list(self, call: Call, plan: Plan, _: str | None) -> dict[str, Any]:
        query = _list_query(call, repeat=plan.repeats_cursor)
        if query is None:
            return {"data": [], "has_more": False}
        page, more = self._account.listed(query, plan)
        shown: dict[str, Any] = {"data": [self._shown(task) for task in page]}
        return shown | more_of(page[-1].key if more else None, plan)

    def _update(self, call: Call, plan: Plan, _: str | None) -> dict[str, Any]:
        body = check_fields(json_body(call), _UPDATE, required=("task_id",))
        task = self._account.visible(body["task_id"], plan)
        task.title = body.get("title", task.title)
        task.share_visibility = body.get("share_visibility", task.share_visibility)
        return self._named(task)

    def _stop(self, call: Call, plan: Plan, _: str | None) -> dict[str, Any]:
        body = check_fields(json_body(call), {"task_id": str}, required=("task_id",))
        task = self._account.visible(body["task_id"], plan)
        task.stop(self._context.clock.now(), by_user=self._context.settings.manus_user_stop_on_stop)
        return {}

    def _delete(self, call: Call, plan: Plan, _: str | None) -> dict[str, Any]:
        body = check_fields(json_body(call), {"task_id": str}, required=("task_id",))
        task = self._account.visible(body["task_id"], plan)
        if v2_word(task.timeline.word(self._context.clock.now())) == "running":
            raise Refused(400, "the task is running; stop it first")
        self._account.delete_task(task.id)
        return {"id": task.id, "deleted": True}

    def _send_message(self, call: Call, plan: Plan, _: str | None) -> dict[str, Any]:
        raw = json_body(call)
        body = check_fields(raw, _SEND, required=("task_id", "message"))
        message = read_message(body["message"], self._account.uploads)
        schema = body.get("structured_output_schema")
        check_schema(schema)
        if body.get("clear_connectors") and message.connectors:
            raise Refused(400, "clear_connectors conflicts with message.connectors")
        task, now = self._account.visible(body["task_id"], plan), self._context.clock.now()
        if "agent_profile" in body:
            task.model = f"{_NEW_PROFILES.get(body['agent_profile'], body['agent_profile'])}-agent"
        given = {"text": message.text, "schema": schema, "attachments": message.attachments}
        task.take("message", "v2", now, raw, **given)
        return {"task_id": task.id}

    def _list_messages(self, call: Call, plan: Plan, _: str | None) -> dict[str, Any]:
        page_size = limit(call, 50, 200)
        ascending = choice(call, ("desc", "asc"), "order") == "asc"
        choice(call, ("html", "pptx"), "slides_format")
        verbose = flag(call, "verbose")
        task, now = self._account.visible(required(call, "task_id"), plan), self._context.clock.now()
        index = task.timeline.index(now)
        if plan.shaping and plan.lags(task.id, index, task.timeline.since(now), now):
            index = max(index - 1, 0)
        settings, base_url = self._context.settings, self._context.base_url
        found = events(
            task, index, now, verbose=verbose, base_url=base_url, expires_in=settings.file_url_seconds
        )
        task.note_read(now)
        numbered = list(enumerate(found))
        cursor = None if plan.repeats_cursor else single(call, "cursor")
        at = None if cursor is None else read_cursor(cursor, [int])[0]
        if ascending:
            rest = numbered if at is None else numbered[at + 1 :]
        else:
            rest = numbered[::-1] if at is None else numbered[:at][::-1]
        page = rest[:page_size]
        shown = {"task_id": task.id, "messages": [event for _, event in page]}
        return shown | more_of(page[-1][0] if len(rest) > page_size else None, plan)

    def _confirm_action(self, call: Call, plan: Plan, _: str | None) -> dict[str, Any]:
        raw = json_body(call)
        body = check_fields(raw, _CONFIRM, required=("task_id", "event_id"))
        task, now = self._account.visible(body["task_id"], plan), self._context.clock.now()
        asked = task.waits_for(now)
        if asked is None or asked[0] != body["event_id"]:
            raise Refused(400, "the event does not wait for a confirmation")
        event_id, question = asked
        if question.in_words:
            raise Refused(400, f"{question.type} is answered with task.sendMessage")
        given = body.get("input", {})
        try:
            decision = question.decide(given)
        except ValueError as error:
            raise Refused(400, str(error)) from None
        before = sum(one.event_id == event_id for one in task.received)
        confirmed = decision.confirmed and before >= question.unconfirmed
        task.take("confirmation", "v2", now, raw, event_id=event_id, input=given, confirmed=confirmed)
        if confirmed and decision.ends:
            task.stop(now, by_user=False)
        return {"task_id": task.id, "confirmed": confirmed}

    def _shown(self, task: ManusTask) -> dict[str, Any]:
        now = self._context.clock.now()
        wire = wire_task(task, now, self._context.base_url)
        task.note_read(now)
        return wire

    def _named(self, task: ManusTask) -> dict[str, Any]:
        return links(task, self._context.base_url) | {"share_visibility": task.share_visibility}


def _list_query(call: Call, *, repeat: bool) -> ListQuery | None:
    """Return the filters of ``task.list``, or ``None`` when nothing can pass them."""
    page_size = limit(call, 20, 100)
    scope = choice(call, ("all", "standard", "project", "agent_subtask"), "scope")
    ascending = choice(call, ("desc", "asc"), "order") == "asc"
    cursor, project_id = single(call, "cursor"), single(call, "project_id")
    if scope == "project" and project_id is None:
        raise Refused(400, "project_id is required with scope project")
    if scope == "agent_subtask":
        if single(call, "agent_id") is None:
            raise Refused(400, "agent_id is required with scope agent_subtask")
        return None
    after: Any = None if cursor is None or repeat else tuple(read_cursor(cursor, [int, int, str]))
    return ListQuery(
        after_key=after,
        limit=page_size,
        ascending=ascending,
        project_id=project_id,
        standard_only=scope == "standard",
    )


def more_of(place: Any, plan: Plan) -> dict[str, Any]:
    """Return whether more follows and the cursor for it, in which clients can't read anything.

    :param place: where the next page begins; ``None`` when there is none
    """
    place = "repeated" if plan.repeats_cursor else place
    if place is None:
        return {"has_more": False}
    values = list(place) if isinstance(place, tuple) else [place]
    cursor = base64.urlsafe_b64encode(json.dumps(values).encode()).decode().rstrip("=")
    return {"has_more": True, "next_cursor": cursor}


def read_cursor(cursor: str, kinds: list[type]) -> list[Any]:
    """Return the values in a cursor."""
    try:
        values = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (binascii.Error, ValueError):
        values = None
    if not isinstance(values, list) or [type(value) for value in values] != kinds:
        raise Refused(400, "invalid cursor")
    return values
