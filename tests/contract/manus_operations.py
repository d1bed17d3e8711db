"""Every call that the two Manus modules can build, least and most of each, for the tests of the schemas."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from remote_tasks_provider.core.http.operation import Operation
from remote_tasks_provider.manus.api import v1, v2
from remote_tasks_provider.manus.api.filters import task_filter
from remote_tasks_provider.manus.api.options import TaskOptions

__all__ = ["SPECS", "Ids", "built_by", "calls"]

SPECS: Mapping[str, tuple[ModuleType, str]] = {"v1": (v1, "manus-v1"), "v2": (v2, "manus-v2")}

CONNECTOR = "7d1c2f5e-3a4b-4c6d-8e9f-0a1b2c3d4e5f"
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "people": {"type": ["integer", "null"]}},
    "required": ["city", "people"],
    "additionalProperties": False,
}


@dataclass(frozen=True)
class Ids:
    """What the calls are about.

    :param asking: a task that waits for the confirmation ``event``
    """

    task: str = "t1"
    asking: str = "t2"
    event: str = "evt_1"
    file: str = "file-1"
    project: str = "p1"
    last: str = "t3"
    website: str = "site-t1"

    @property
    def files(self) -> list[dict[str, str]]:
        """A file in each form that both versions take."""
        return [
            {"file_id": self.file, "filename": "a.csv"},
            {"file_url": "https://example.com/b.pdf", "filename": "b.pdf", "mime_type": "application/pdf"},
            {"file_data": "data:text/plain;base64,SGk=", "filename": "c.txt"},
        ]


def _shared(api: Any, ids: Ids) -> dict[str, list[Operation[Any]]]:
    """What both modules have under the same names."""
    everything: dict[str, Any] = {"status": ["failed", "waiting"], "query": "north"}
    everything |= {"created_after": 1_700_000_000, "created_before": 1_900_000_000}
    everything |= {"project_id": ids.project, "order": "asc", "page_size": 1000, "after": ids.last}
    full = TaskOptions(
        "Add the numbers.",
        files=ids.files,
        agent_profile="manus-1.6-max",
        project_id=ids.project,
        connectors=[CONNECTOR],
        locale="zh-CN",
        interactive_mode=True,
        hide_in_task_list=True,
        share_visibility="public",
    )
    return {
        "get_task": [api.get_task(ids.task)],
        "list_tasks": [api.list_tasks(task_filter()), api.list_tasks(task_filter(**everything))],
        "list_summaries": [api.list_summaries(task_filter(page_size=2))],
        "create_task": [api.create_task(TaskOptions("Hello")), api.create_task(full)],
        "update_task": [
            api.update_task(ids.task, title=None, share_visibility=None, visible=None),
            api.update_task(ids.task, title="New", share_visibility="public", visible=False),
        ],
        "create_upload": [api.create_upload("a.csv")],
        "get_file": [api.get_file(ids.file)],
        "create_project": [api.create_project("Sums", None), api.create_project("Sums", "Be brief.")],
        "list_projects": [api.list_projects()],
        # Last, as they take away what the others are about.
        "delete_file": [api.delete_file(ids.file)],
        "delete_task": [api.delete_task(ids.task)],
    }


def _only_v1(ids: Ids) -> dict[str, list[Operation[Any]]]:
    return {
        "continue_task": [
            v1.continue_task(ids.task, TaskOptions("Go on")),
            v1.continue_task(ids.task, TaskOptions("Go on", files=ids.files)),
        ]
    }


def _only_v2(ids: Ids) -> dict[str, list[Operation[Any]]]:
    full = TaskOptions(
        "Add the numbers.",
        files=ids.files,
        enable_skills=["skill_slides"],
        force_skills=["skill_slides"],
        task_references=[ids.task] * 20,
        title="Sums",
        structured_output_schema=SCHEMA,
        share_visibility="team",
    )
    return {
        "create_task": [v2.create_task(full)],
        "list_messages": [
            v2.list_messages(ids.task),
            v2.list_messages(ids.task, slides_format="pptx"),
            v2.list_messages(ids.task, order="desc", page_size=50),
        ],
        "send_message": [
            v2.send_message(ids.task, "Go on"),
            v2.send_message(
                ids.task,
                "Go on",
                files=ids.files,
                agent_profile="manus-1.6-lite",
                structured_output_schema=SCHEMA,
            ),
        ],
        "confirm_action": [
            v2.confirm_action(ids.asking, ids.event, None),
            v2.confirm_action(ids.asking, ids.event, {"accept": True}),
        ],
        "stop_task": [v2.stop_task(ids.task)],
        "available_credits": [v2.available_credits()],
        "list_usage": [v2.list_usage(), v2.list_usage(page_size=5)],
        "list_connectors": [v2.list_connectors()],
        "publish_website": [
            v2.publish_website(ids.task),
            v2.publish_website(website_id=ids.website, visibility="team"),
        ],
        "get_website": [v2.get_website(ids.task), v2.get_website(website_id=ids.website)],
        "list_website_checkpoints": [
            v2.list_website_checkpoints(ids.task),
            v2.list_website_checkpoints(website_id=ids.website),
        ],
        "list_skills": [v2.list_skills(), v2.list_skills(ids.project)],
    }


_MORE: Mapping[str, Callable[[Ids], dict[str, list[Operation[Any]]]]] = {"v1": _only_v1, "v2": _only_v2}


def built_by(version: str, ids: Ids | None = None) -> dict[str, list[Operation[Any]]]:
    """Return the calls of one module by the function that built them, in an order that can be sent."""
    ids = ids or Ids()
    shared, more = _shared(SPECS[version][0], ids), _MORE[version](ids)
    names = [*more, *(name for name in shared if name not in more)]
    return {name: [*shared.get(name, []), *more.get(name, [])] for name in names}


def calls(version: str, ids: Ids | None = None) -> list[tuple[str, Operation[Any]]]:
    """Return each call with a name for it."""
    return [
        (f"{name}-{number}", operation)
        for name, found in built_by(version, ids).items()
        for number, operation in enumerate(found)
    ]
