"""What is asked of the agent, checked before anything is sent: a task costs credits once it is created."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from remote_tasks_provider.core import validation
from remote_tasks_provider.core.errors import InvalidArgumentError
from remote_tasks_provider.core.request_options import RequestOptions
from remote_tasks_provider.manus.api.schemas import check_schema

__all__ = [
    "DEFAULT_PROFILE",
    "VISIBILITIES",
    "TaskOptions",
    "check_extra",
    "check_files",
    "check_prompt",
    "check_slides_format",
    "given",
    "with_extra",
]

DEFAULT_PROFILE = "manus-1.6"
"""Always sent: one client saw tasks that never appeared when none was."""

# "~5,000 estimated tokens" of text: https://open.manus.ai/docs/v2/task.create
_MAX_TOKENS = 5000
_MAX_REFERENCES = 20
VISIBILITIES = ("private", "team", "public")
_SLIDES_FORMATS = ("html", "pptx")
# Fields of a request that have other names than the options; in both spellings, see check_extra.
_OWN = frozenset({"attachments", "createshareablelink", "message", "taskid"})
_FILE_SOURCES = ("file_id", "file_url", "file_data")
_FILE_DETAILS = ("filename", "mime_type")
# Where the scripts of China, Japan and Korea begin.
_FIRST_CJK = "\u2e80"
_WORDS = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True, slots=True)
class TaskOptions(RequestOptions):
    """What is asked of the agent; hook, operator and decorator share this definition. It checks itself.

    ``ManusTaskOperator`` describes the parameters. https://open.manus.ai/docs/v2/task.create

    :raises ValueError: naming the parameter, before anything is paid.
    """

    prompt: str
    files: Iterable[Mapping[str, str]] = ()
    agent_profile: str | None = None
    project_id: str | None = None
    connectors: Iterable[str] | None = None
    enable_skills: Iterable[str] = ()
    force_skills: Iterable[str] = ()
    task_references: Iterable[str] = ()
    locale: str | None = None
    title: str | None = None
    structured_output_schema: Mapping[str, Any] | None = None
    interactive_mode: bool = False
    hide_in_task_list: bool = False
    share_visibility: str | None = None
    extra_body: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        checked: dict[str, Any] = {
            "prompt": check_prompt(self.prompt, "prompt"),
            "files": check_files(self.files),
            "agent_profile": validation.object_id(self.agent_profile or DEFAULT_PROFILE, "agent_profile"),
            "title": None if self.title in (None, "") else validation.word(self.title, "title"),
            "interactive_mode": validation.flag(self.interactive_mode, "interactive_mode"),
            "hide_in_task_list": validation.flag(self.hide_in_task_list, "hide_in_task_list"),
            "share_visibility": (
                validation.choice(self.share_visibility, "share_visibility", VISIBILITIES)
                if self.share_visibility
                else None
            ),
        }
        if self.connectors is not None:
            checked["connectors"] = tuple(validation.object_ids(self.connectors, "connectors"))
        if self.extra_body is not None:
            checked["extra_body"] = check_extra(self.extra_body, "extra_body")
        for name in ("enable_skills", "force_skills", "task_references"):
            checked[name] = tuple(validation.object_ids(getattr(self, name) or (), name))
        for name in ("project_id", "locale"):
            value = getattr(self, name)
            checked[name] = validation.object_id(value, name) if value else None
        if self.structured_output_schema is not None:
            checked["structured_output_schema"] = check_schema(
                self.structured_output_schema, "structured_output_schema"
            )
        if (count := len(checked["task_references"])) > _MAX_REFERENCES:
            raise InvalidArgumentError(
                f"task_references has {count} ids; Manus takes at most {_MAX_REFERENCES} a task"
            )
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    def fingerprint(self, *sources: str) -> str:
        """Return a hash of what is asked, files to be attached included; it is the same on every attempt."""
        asked = asdict(self) | {"title": None, "sources": sorted(sources)}
        # Written before these options were there, too: it must stay the same where they are not used.
        if asked["extra_body"] is None:
            del asked["extra_body"]
        if self.connectors is None:
            asked["connectors"] = ()
        elif not self.connectors:
            asked["connectors"] = None
        return hashlib.sha256(json.dumps(asked, sort_keys=True, default=str).encode()).hexdigest()[:32]


def given(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``body`` without the fields that are not set: ``None``, and what is an empty tuple.

    An empty list is sent: to Manus no connectors at all are others than those of the account.
    """
    return {name: value for name, value in body.items() if value not in (None, ())}


def with_extra(body: Mapping[str, Any], extra: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return ``body`` with fields that Manus may know and this provider does not."""
    return given(body) | check_extra(extra or {}, "extra_body")


def check_extra(extra: Any, name: str) -> dict[str, Any]:
    """Return the fields ``extra``; nobody checks their meaning.

    Manus takes a field in both spellings, ``projectId`` and ``project_id``, and so a field is this provider's
    in either one, and with either version of the API.

    :raises InvalidArgumentError: for one that this provider sends itself, and for what is not JSON.
    """
    fields_given = dict(validation.mapping(extra, name))
    own = {_unspelled(field.name) for field in fields(TaskOptions)} | _OWN
    for field in fields_given:
        if _unspelled(field) in own:
            raise InvalidArgumentError(
                f"{name} has {field!r}, which this provider sends itself: give it by its parameter"
            )
    try:
        json.dumps(fields_given, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InvalidArgumentError(f"{name} cannot be written as JSON: {error}") from None
    return fields_given


def _unspelled(name: str) -> str:
    return name.replace("_", "").lower()


def check_files(files: Iterable[Any]) -> tuple[Mapping[str, str], ...]:
    """Return ``files`` if each is ``{"file_id": …}``, ``{"file_url": …}`` or ``{"file_data": …}``.

    Beside that may be its ``filename`` and ``mime_type``; data is a ``data:`` URI of at most 20 MB.
    """
    found = tuple(files)
    for index, file in enumerate(found):
        where = f"files[{index}]"
        if not isinstance(file, Mapping) or len(file.keys() & set(_FILE_SOURCES)) != 1:
            raise InvalidArgumentError(f"{where} must be a dict with one of {', '.join(_FILE_SOURCES)}")
        for name, value in file.items():
            if name not in (*_FILE_SOURCES, *_FILE_DETAILS):
                raise InvalidArgumentError(
                    f"{where}: {name!r} is not known, only {', '.join(_FILE_DETAILS)} are"
                )
            if not isinstance(value, str) or not value.strip():
                raise InvalidArgumentError(
                    f"{where}: {name} is {value!r}; it must be a text that is not empty"
                )
    return found


def check_slides_format(value: Any, name: str) -> Any:
    """Return a format that Manus can make slides in."""
    return validation.choice(value, name, _SLIDES_FORMATS)


def check_prompt(prompt: Any, name: str) -> str:
    """Return ``prompt`` if it is a text that Manus takes."""
    if not isinstance(prompt, str):
        raise InvalidArgumentError(f"{name} is a {type(prompt).__name__}; it must be a text")
    if not prompt.strip():
        raise InvalidArgumentError(f"{name} is empty: did a template or an XCom come out empty?")
    tokens = _estimated_tokens(prompt)
    if tokens >= _MAX_TOKENS:
        raise InvalidArgumentError(
            f"{name} has about {tokens} tokens; Manus takes fewer than {_MAX_TOKENS}. Put the long part "
            "into a file and pass that in attachments"
        )
    return prompt


def _estimated_tokens(text: str) -> int:
    """Return about how many tokens ``text`` has, but at least one a word.

    Four characters of ASCII or two of another alphabet make one, and each character of a script without one.
    """
    plain = sum(character.isascii() for character in text)
    signs = sum(character >= _FIRST_CJK for character in text)
    return max(len(_WORDS.findall(text)), plain // 4 + (len(text) - plain - signs) // 2 + signs)
