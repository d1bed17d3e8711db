"""The pages of ``docs/reference``: which classes are on which, and how they lead to each other."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from dev.environments import ROOT
from dev.reference.classes import (
    PACKAGE,
    HookClass,
    ModelClass,
    PublicClass,
    attribute_docstrings,
    docstring_of,
    table,
)
from dev.reference.docstrings import inline, parse, to_markdown
from remote_tasks_provider.a2a import decorators as a2a_decorators
from remote_tasks_provider.a2a.agents import A2AAgentHook
from remote_tasks_provider.a2a.service import A2A
from remote_tasks_provider.bases import metrics
from remote_tasks_provider.core import errors
from remote_tasks_provider.get_provider_info import get_provider_info, manifests
from remote_tasks_provider.manus import decorators as manus_decorators
from remote_tasks_provider.manus.agents import ManusAgentHook
from remote_tasks_provider.manus.service import MANUS
from remote_tasks_provider.qstash import decorators as qstash_decorators
from remote_tasks_provider.qstash.service import QSTASH

FOLDER = ROOT / "docs" / "reference"
NOTICE = "<!-- Written by `make reference` from the docstrings. Change those, then run it again. -->"
SECTION = "remote_tasks"
VENDORS = [manifest.folder for manifest in manifests()]
#: What the hooks return, by module.
MODELS = {
    "a2a.models": ["A2ATask", "A2AMessage", "A2AArtifact", "A2APart", "A2AAgentCard"],
    "a2a.results": ["A2AResult", "A2AFile"],
    "manus.models": ["ManusTask", "ManusMessage", "ManusContent"],
    "manus.results": ["ManusResult", "ManusFile", "ManusQuestion", "ManusTaskRef"],
    "manus.websites": ["ManusWebsite", "ManusPublication"],
    "manus.webhooks": ["ManusWebhook"],
    "qstash.models": ["QStashTask"],
    "qstash.api.v2_models": ["PublishedMessage", "MessageOutcome", "LogEntry", "DlqMessage"],
}
DECORATORS = {
    "@task.a2a": a2a_decorators.a2a_task,
    "@task.manus": manus_decorators.manus_task,
    "@task.qstash": qstash_decorators.qstash_task,
}


def _public(kind: str, describe: Callable[[type, str], PublicClass]) -> list[PublicClass]:
    """Return the public classes of ``<vendor>.<kind>``, of every vendor."""
    found = []
    for vendor in VENDORS:
        module = importlib.import_module(f"{PACKAGE}.{vendor}.{kind}")
        found += [describe(getattr(module, name), module.__name__) for name in module.__all__]
    return found


def _models() -> list[PublicClass]:
    found: list[PublicClass] = []
    for name, kinds in MODELS.items():
        module = importlib.import_module(f"{PACKAGE}.{name}")
        found += [ModelClass(getattr(module, kind), module.__name__) for kind in kinds]
    return found


class Reference:
    """All pages. Making one reads every public class."""

    def __init__(self) -> None:
        self.classes: dict[str, list[PublicClass]] = {
            "operators.md": _public("operators", PublicClass),
            "sensors.md": _public("sensors", PublicClass),
            "triggers.md": _public("triggers", PublicClass),
            "hooks.md": [
                *_public("hooks", HookClass),
                PublicClass(A2AAgentHook, A2AAgentHook.__module__),
                PublicClass(ManusAgentHook, ManusAgentHook.__module__),
            ],
            "models.md": _models(),
        }
        self._places = {one.name: page for page, ones in self.classes.items() for one in ones}
        self._places |= dict.fromkeys(errors.__all__, "errors.md")

    def link(self, name: str) -> str | None:
        """Return where a name is explained: a class of the reference, or ``docs/<page>``."""
        if name.startswith("docs/"):
            path = name.removeprefix("docs/").partition("#")
            title = re.search(r"^# (.+)$", (ROOT / "docs" / path[0]).read_text(encoding="utf-8"), re.M)
            address = f"../{path[0]}".removeprefix("../reference/")
            return f"[{title[1] if title else path[0]}]({address}{''.join(path[1:])})"
        page = self._places.get(name)
        return f"{page}#{_anchor(name) if page != 'errors.md' else 'classes'}" if page else None

    def pages(self) -> dict[str, str]:
        """Return the text of each page by its name."""
        written = {
            "operators.md": [
                *self._class_page(
                    "operators.md",
                    "Operators",
                    "All parameters are keyword-only. Those of Airflow's `BaseOperator` (`retries`, `pool`, "
                    "`trigger_rule`, …) are not repeated here. `remote_task_id` is the vendor's id; "
                    "`task_id` is Airflow's own.",
                ),
                *self._decorators(),
            ],
            "sensors.md": self._class_page(
                "sensors.md",
                "Sensors",
                "All parameters are keyword-only. [How a wait works](../concepts/waiting.md) says what "
                "Airflow's own do here (`mode`, `soft_fail`, `exponential_backoff`, …).",
            ),
            "triggers.md": self._class_page(
                "triggers.md",
                "Triggers",
                "What sensors and operators defer to; use them in deferrable operators of your own. "
                "[What is stable](../stability.md#the-event) has the payload of their event.",
            ),
            "hooks.md": self._class_page(
                "hooks.md",
                "Hooks",
                "Hooks block, so do not use them in a trigger. Making one does no I/O; the first call reads "
                "the connection. [Models](models.md) has what they return, [Errors](errors.md) what they "
                "raise.",
            ),
            "models.md": self._class_page("models.md", "Models", "What the [hooks](hooks.md) return."),
            "errors.md": self._errors(),
            "connections.md": self._connections(),
            "configuration.md": self._configuration(),
            "metrics.md": ["# Metrics", "", to_markdown(docstring_of(metrics, "metrics").text, self.link)],
        }
        return {name: "\n".join([NOTICE, "", *lines]).strip() + "\n" for name, lines in written.items()}

    def _class_page(self, page: str, title: str, intro: str) -> list[str]:
        ones = self.classes[page]
        rows = [(one.name, one.doc.summary) for one in ones]
        if page == "operators.md":
            rows += [(name, parse(function.__doc__).summary) for name, function in DECORATORS.items()]
        cells = [
            (f"[`{name}`](#{_anchor(name)})", inline(_first_sentence(summary), self.link))
            for name, summary in rows
        ]
        lines = [f"# {title}", "", intro, "", *table(("class", "what it does"), cells), ""]
        for one in ones:
            lines += one.section(self.link)
        return lines

    def _decorators(self) -> list[str]:
        lines = []
        for name, function in DECORATORS.items():
            lines += [f"## {name}", "", to_markdown(docstring_of(function, name).text, self.link), ""]
        return lines

    def _errors(self) -> list[str]:
        kinds = [one for name, one in vars(errors).items() if name in errors.__all__ and inspect.isclass(one)]
        ordered = _depth_first(errors.RemoteTaskError, kinds)
        rows = []
        for kind in ordered:
            text = to_markdown(docstring_of(kind, kind.__name__).text, self.link)
            rows.append((f"`{kind.__name__}`", "yes" if kind.retry_helps else "no", " ".join(text.split())))
        attributes = parse(errors.ApiError.__doc__).params
        return [
            "# Errors",
            "",
            f"All are in `{errors.__name__}`. "
            "Airflow does not treat all alike: see [What Airflow makes of errors](../concepts/errors.md).",
            "",
            "## Tree",
            "",
            "```text",
            errors.RemoteTaskError.__name__,
            *_tree(errors.RemoteTaskError, kinds, ""),
            "```",
            "",
            "## Classes",
            "",
            *table(("class", "`retry_helps`", "when, and what to do"), rows),
            "",
            "## Attributes of an ApiError",
            "",
            *table(
                ("attribute", "meaning"),
                [(f"`{name}`", inline(text, self.link)) for name, text in attributes.items()],
            ),
        ]

    def _connections(self) -> list[str]:
        lines = ["# Connection extras", "", "A connection takes these extras and refuses all others.", ""]
        for service in (MANUS, QSTASH, A2A):
            meanings: dict[str, str] = {}
            for owner in reversed(service.extras.__mro__):
                if owner.__module__.startswith(PACKAGE):
                    meanings |= attribute_docstrings(owner)
            rows = [
                (f"`{name}`", f"`{field.default!r}`", _accepted(field), inline(meanings[name], self.link))
                for name, field in service.extras.model_fields.items()
            ]
            lines += [f"## {service.name}", "", *table(("extra", "default", "accepted", "meaning"), rows), ""]
        return lines

    def _configuration(self) -> list[str]:
        lines = [
            "# Configuration",
            "",
            f"Set these options in the section `[{SECTION}]` of `airflow.cfg`, or in the environment, on all "
            "schedulers, workers and triggerers. They all have a default that works.",
            "",
        ]
        for name, option in get_provider_info()["config"][SECTION]["options"].items():
            variable = f"AIRFLOW__{SECTION.upper()}__{name.upper()}"
            facts = [
                ("type", option["type"]),
                ("default", f"`{option['default']}`" if option["default"] else "see below"),
                ("example", f"`{option['example']}`"),
                ("environment variable", f"`{variable}`"),
                ("since version", option["version_added"]),
            ]
            text = to_markdown(option["description"].strip(), self.link)
            lines += [f"## {name}", "", *table(("what", "value"), facts), "", text, ""]
        return lines


def is_generated(page: Path) -> bool:
    """Return whether `make reference` has written a page."""
    return page.read_text(encoding="utf-8").startswith(NOTICE)


def _anchor(heading: str) -> str:
    """Return the anchor that GitHub makes of a heading of one word."""
    return re.sub(r"\W", "", heading.casefold())


def _first_sentence(text: str) -> str:
    return re.split(r"(?<=[.!?]) (?=[A-Z])", text, maxsplit=1)[0].rstrip(":")


def _accepted(field: Any) -> str:
    """Return which values a field takes."""
    values = getattr(field.annotation, "__args__", None)
    if values and type(None) not in values:
        return ", ".join(f"`{value}`" for value in values)
    limits = {
        symbol: getattr(one, attribute)
        for one in field.metadata
        for attribute, symbol in {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}.items()
        if getattr(one, attribute, None) is not None
    }
    kind = field.annotation.__name__ if inspect.isclass(field.annotation) else "str"
    return ", ".join([f"`{kind}`", *(f"{symbol} {value}" for symbol, value in limits.items())])


def _depth_first(kind: type, kinds: Iterable[type]) -> list[Any]:
    found = [kind]
    for one in kinds:
        if one.__base__ is kind:
            found += _depth_first(one, kinds)
    return found


def _tree(kind: type, kinds: Iterable[type], indent: str) -> list[str]:
    """Return a line for each class below ``kind``."""
    lines = []
    children = [one for one in kinds if one.__base__ is kind]
    for one in children:
        is_last = one is children[-1]
        lines.append(f"{indent}{'└── ' if is_last else '├── '}{one.__name__}")
        lines += _tree(one, kinds, indent + ("    " if is_last else "│   "))
    return lines
