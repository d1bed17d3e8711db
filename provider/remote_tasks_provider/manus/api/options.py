"""What is asked of the agent, checked before anything is sent: a task costs credits once it is created."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from remote_tasks_provider.core import validation
from remote_tasks_provider.manus.api.schemas import check_schema

__all__ = ["DEFAULT_PROFILE", "TaskOptions", "check_files", "check_prompt", "task_options"]

DEFAULT_PROFILE = "manus-1.6"
"""Always sent: one client saw tasks that never appeared when none was."""

# "~5,000 estimated tokens" of text: https://open.manus.ai/docs/v2/task.create
_MOST_TOKENS = 5000
_MOST_REFERENCES = 20
_VISIBILITIES = ("private", "team", "public")
_FILE_SOURCES = ("file_id", "file_url", "file_data")
_FILE_FACTS = ("filename", "mime_type")
# Where the scripts of China, Japan and Korea begin.
_FIRST_SIGN = "\u2e80"
_WORDS = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True, slots=True)
class TaskOptions:
    """A task to be created; made by :func:`task_options`.

    :param files: ``{"file_id": …}`` or ``{"file_url": …}``, each with a ``filename`` where one is known.
    """

    prompt: str
    files: tuple[Mapping[str, str], ...] = ()
    agent_profile: str = DEFAULT_PROFILE
    project_id: str | None = None
    connectors: tuple[str, ...] = ()
    enable_skills: tuple[str, ...] = ()
    force_skills: tuple[str, ...] = ()
    task_references: tuple[str, ...] = ()
    locale: str | None = None
    title: str | None = None
    structured_output_schema: Mapping[str, Any] | None = None
    interactive_mode: bool = False
    hide_in_task_list: bool = False
    share_visibility: str | None = None

    def with_files(self, files: Iterable[Mapping[str, str]]) -> TaskOptions:
        """Return the order with more files attached."""
        return replace(self, files=(*self.files, *files))

    def fingerprint(self, *sources: str) -> str:
        """Return a hash of what is asked; the same question has the same one on every attempt.

        :param sources: names of files that will be attached.
        """
        asked = asdict(self) | {"title": None, "sources": sorted(sources)}
        return hashlib.sha256(json.dumps(asked, sort_keys=True, default=str).encode()).hexdigest()[:32]


def task_options(
    prompt: Any,
    *,
    files: Iterable[Mapping[str, str]] = (),
    agent_profile: str | None = None,
    project_id: str | None = None,
    connectors: Iterable[str] | None = None,
    enable_skills: Iterable[str] | None = None,
    force_skills: Iterable[str] | None = None,
    task_references: Iterable[str] | None = None,
    locale: str | None = None,
    title: str | None = None,
    structured_output_schema: Mapping[str, Any] | None = None,
    interactive_mode: bool = False,
    hide_in_task_list: bool = False,
    share_visibility: str | None = None,
) -> TaskOptions:
    """Return a checked :class:`TaskOptions`.

    :param prompt: what the agent shall do; fewer than about 5,000 tokens.
    :param agent_profile: ``manus-1.6`` (default), ``manus-1.6-lite``, ``manus-1.6-max``.
    :param files: see :func:`check_files`.
    :param task_references: ids of at most 20 earlier tasks that the agent may look at.
    :raises ValueError: naming the parameter, before anything is paid.
    """
    references = validation.object_ids(task_references or (), "task_references")
    if len(references) > _MOST_REFERENCES:
        raise ValueError(
            f"task_references has {len(references)} ids; Manus takes at most {_MOST_REFERENCES} a task"
        )
    visibility = share_visibility
    return TaskOptions(
        prompt=check_prompt(prompt, "prompt"),
        files=check_files(files),
        agent_profile=validation.object_id(agent_profile or DEFAULT_PROFILE, "agent_profile"),
        project_id=validation.object_id(project_id, "project_id") if project_id else None,
        connectors=tuple(validation.object_ids(connectors or (), "connectors")),
        enable_skills=tuple(validation.object_ids(enable_skills or (), "enable_skills")),
        force_skills=tuple(validation.object_ids(force_skills or (), "force_skills")),
        task_references=tuple(references),
        locale=validation.object_id(locale, "locale") if locale else None,
        title=title or None,
        structured_output_schema=(
            None
            if structured_output_schema is None
            else check_schema(structured_output_schema, "structured_output_schema")
        ),
        interactive_mode=bool(interactive_mode),
        hide_in_task_list=bool(hide_in_task_list),
        share_visibility=validation.choice(visibility, "share_visibility", _VISIBILITIES)
        if visibility
        else None,
    )


def check_files(files: Iterable[Any]) -> tuple[Mapping[str, str], ...]:
    """Return ``files`` if each is ``{"file_id": …}``, ``{"file_url": …}`` or ``{"file_data": …}``.

    Beside that may be its ``filename`` and ``mime_type``; data is a ``data:`` URI of at most 20 MB.

    :raises ValueError: naming the file and the fault.
    """
    found = tuple(files)
    for index, file in enumerate(found):
        where = f"files[{index}]"
        if not isinstance(file, Mapping) or len(file.keys() & set(_FILE_SOURCES)) != 1:
            raise ValueError(f"{where} must be a dict with one of {', '.join(_FILE_SOURCES)}")
        for name, value in file.items():
            if name not in (*_FILE_SOURCES, *_FILE_FACTS):
                raise ValueError(f"{where}: {name!r} is not known, only {', '.join(_FILE_FACTS)} are")
            if not isinstance(value, str) or not value.strip():
                raise ValueError(f"{where}: {name} is {value!r}; it must be a text that is not empty")
    return found


def check_prompt(prompt: Any, name: str) -> str:
    """Return ``prompt`` if it is a text that Manus takes.

    :raises ValueError: naming the parameter and the fix.
    """
    if not isinstance(prompt, str):
        raise ValueError(f"{name} is a {type(prompt).__name__}; it must be a text")  # noqa: TRY004
    if not prompt.strip():
        raise ValueError(f"{name} is empty: did a template or an XCom come out empty?")
    tokens = _estimated_tokens(prompt)
    if tokens >= _MOST_TOKENS:
        raise ValueError(
            f"{name} has about {tokens} tokens; Manus takes fewer than {_MOST_TOKENS}. Put the long part "
            "into a file and pass that in attachments"
        )
    return prompt


def _estimated_tokens(text: str) -> int:
    """Return about how many tokens ``text`` has, but at least one a word.

    Four characters of ASCII or two of another alphabet make one, and each character of a script without one.
    """
    plain = sum(character.isascii() for character in text)
    signs = sum(character >= _FIRST_SIGN for character in text)
    return max(len(_WORDS.findall(text)), plain // 4 + (len(text) - plain - signs) // 2 + signs)
