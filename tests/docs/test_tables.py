"""The tables of the documentation say what the code says."""

from __future__ import annotations

import importlib
import inspect
import json
import re
import sys
from typing import Any

import pytest

from remote_tasks_provider.bases import metrics
from remote_tasks_provider.core import errors
from remote_tasks_provider.core.endpoint import ConnectionFields
from remote_tasks_provider.core.errors import ConnectionConfigError
from remote_tasks_provider.core.pacing import Limit, Pacer
from remote_tasks_provider.core.report import WaitReport
from remote_tasks_provider.core.states import StateTable, TaskState
from remote_tasks_provider.manus.models import MANUS_STATES, ManusContent, ManusMessage, ManusTask
from remote_tasks_provider.manus.service import MANUS, ManusExtras
from remote_tasks_provider.qstash.models import QSTASH_STATES, QStashTask
from remote_tasks_provider.qstash.service import QSTASH, QStashExtras
from tests.docs import pages
from tests.system.compat import VERSIONS

OPERATORS = "docs/operators.md"
PUBLIC_MODULES = [
    f"{vendor}.{kind}" for vendor in ("manus", "qstash") for kind in ("operators", "sensors", "triggers")
]
REQUIRED = inspect.Parameter.empty
#: Defaults that only a configured Airflow knows, or that are better said in a word.
IN_WORDS = {
    "deferrable": "`[operators] default_deferrable`",
    "timeout": "`[sensors] default_timeout`",
    "started_at": "now",
    "deadline": "never",
    "execution_deadline": "never",
    "first_look_at": "at once",
    "max_poll_interval": "none",
    "memory": "none",
    "sensor": "none",
}


def bare(cell: str) -> str:
    return cell.strip("`")


def public_classes() -> list[type]:
    found = []
    for name in PUBLIC_MODULES:
        module = importlib.import_module(f"remote_tasks_provider.{name}")
        found += [getattr(module, name) for name in module.__all__]
    return found


def parameters(kind: type) -> dict[str, Any]:
    """Return the constructor parameters that this provider adds to Airflow's, with their defaults."""
    found: dict[str, Any] = {}
    for owner in reversed(kind.__mro__):
        if owner.__module__.startswith("remote_tasks_provider.") and "__init__" in vars(owner):
            for name, parameter in inspect.signature(vars(owner)["__init__"]).parameters.items():
                if name != "self" and parameter.kind is not parameter.VAR_KEYWORD:
                    found[name] = parameter.default
    return found


class TestOperators:
    @pytest.mark.parametrize("kind", public_classes(), ids=lambda kind: kind.__name__)
    def test_every_public_class_has_its_section(self, kind: type) -> None:
        text = pages.section(OPERATORS, f"## {kind.__name__}")
        assert f"from {kind.__module__} import {kind.__name__}" in text

    @pytest.mark.parametrize(
        "kind",
        [kind for kind in public_classes() if kind.__name__ != "QStashTaskTrigger"],
        ids=lambda kind: kind.__name__,
    )
    def test_its_table_has_every_parameter_and_default(self, kind: type) -> None:
        rows = pages.table(pages.section(OPERATORS, f"## {kind.__name__}"), "parameter")
        expected = parameters(kind)
        if "Sensor" in kind.__name__:
            expected["timeout"] = None  # Airflow's, but what it does is ours
        assert {bare(row["parameter"]) for row in rows} == expected.keys()
        for row in rows:
            name = bare(row["parameter"])
            default = "required" if expected[name] is REQUIRED else IN_WORDS.get(name, f"`{expected[name]}`")
            assert row["default"] == default, name

    @pytest.mark.parametrize(
        "kind",
        [kind for kind in public_classes() if hasattr(kind, "template_fields")],
        ids=lambda kind: kind.__name__,
    )
    def test_its_table_marks_what_is_templated(self, kind: Any) -> None:
        rows = pages.table(pages.section(OPERATORS, f"## {kind.__name__}"), "parameter")
        assert {bare(row["parameter"]) for row in rows if row["T"]} == set(kind.template_fields)

    @pytest.mark.parametrize("model", [ManusTask, QStashTask], ids=lambda model: model.__name__)
    def test_every_field_of_a_model_is_listed(self, model: Any) -> None:
        listed = set(re.findall(r"`(\w+)`", pages.section(OPERATORS, f"## {model.__name__}")))
        properties = {name for name, value in vars(model).items() if isinstance(value, property)}
        nested = {*ManusMessage.model_fields, *ManusContent.model_fields} if model is ManusTask else set()
        assert {*model.model_fields, *properties, *nested} <= listed

    @pytest.mark.parametrize("hook", ["manus.hooks.ManusHook", "qstash.hooks.QStashHook"])
    def test_every_method_of_a_hook_is_listed_with_its_parameters(self, hook: str) -> None:
        module, _, name = hook.rpartition(".")
        kind = getattr(importlib.import_module(f"remote_tasks_provider.{module}"), name)
        text = pages.section(OPERATORS, f"## {name}")
        for method, value in vars(kind).items():
            if inspect.isfunction(value) and not method.startswith("_"):
                listed = re.search(rf"`{method}\(([^)]*)\)`", text)
                assert listed, method
                names = {part.strip() for part in listed[1].split(",")} - {"*"}
                assert names == inspect.signature(value).parameters.keys() - {"self"}

    def test_every_state_is_named(self) -> None:
        assert set(TaskState) <= set(re.findall(r"`(\w+)`", pages.read(OPERATORS)))

    def test_every_extra_link_is_named(self) -> None:
        module = importlib.import_module("remote_tasks_provider.manus.links")
        for name in module.__all__:
            assert f"{module.__name__}.{name}" in pages.read(OPERATORS)


class TestConnections:
    def test_the_extras_are_the_models(self) -> None:
        rows = pages.table(pages.section("docs/connections.md", "## Extras"), "extra")
        listed = {bare(row["extra"]): (row["connection"], bare(row["default"])) for row in rows}
        fields = {**ManusExtras.model_fields, **QStashExtras.model_fields}
        assert listed == {
            name: (
                "both"
                if name in ManusExtras.model_fields and name in QStashExtras.model_fields
                else "`manus`"
                if name in ManusExtras.model_fields
                else "`qstash`",
                str(field.default),
            )
            for name, field in fields.items()
        }

    def test_the_readme_names_the_same_extras(self) -> None:
        (row,) = [
            row for row in pages.table(pages.section("README.md", "## Connect"), "") if row[""] == "extras"
        ]
        assert set(re.findall(r"\w+", row["Manus"])) == ManusExtras.model_fields.keys()
        assert set(re.findall(r"\w+", row["QStash"])) == QStashExtras.model_fields.keys()

    @pytest.mark.parametrize(
        "wrong",
        [
            {"password": ""},
            {"password": "two words"},
            {"host": "ftp://somewhere"},
            {"host": "https://somewhere:port"},
            {"host": "http://somewhere.example"},
            {"host": "https://user:key@somewhere"},
            {"host": "https://somewhere?x=1"},
            {"host": "https://somewhere/v1/tasks"},
            {"host": "https://somewhere", "schema": "http"},
            {"host": "https://somewhere:8443", "port": 443},
            {"extra": {"timeout": 3}},
            {"extra": {"read_timeout": 0}},
            {"extra": {"api_version": "v9"}},
        ],
        ids=str,
    )
    def test_every_message_about_a_connection_is_explained(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(ConnectionConfigError) as caught:
            MANUS.endpoint(ConnectionFields("mine", **{"password": "sk-key", **wrong}))
        found = re.fullmatch(r"Connection 'mine', field (.+?): (.*)", caught.value.message)
        assert found
        rows = pages.table(pages.section("docs/connections.md", "## What an error message wants"), "field")
        patterns = [tuple(_pattern(bare(row[name])) for name in ("field", "message")) for row in rows]
        assert any(re.fullmatch(field, found[1]) and re.fullmatch(text, found[2]) for field, text in patterns)


def _pattern(cell: str) -> str:
    return ".*".join(re.escape(part) for part in cell.split("…"))


class TestStates:
    @pytest.mark.parametrize(("vendor", "states"), [("Manus", MANUS_STATES), ("QStash", QSTASH_STATES)])
    def test_the_words_are_the_tables(self, vendor: str, states: StateTable) -> None:
        text = pages.section("docs/waiting.md", "## What each status word means")
        rows = pages.table(text[text.index(f"{vendor} (API v1):") :], "status")
        listed = {bare(row["status"]): bare(row["state"]) for row in rows}
        assert listed == {word: state.value for word, state in states._words.items()}
        for row in rows:
            assert TaskState(bare(row["state"])).is_terminal == row[""].startswith("end")


class TestRateLimits:
    def test_the_table_has_every_limit_and_what_a_triggerer_takes_of_it(self) -> None:
        rows = pages.table(pages.section("docs/waiting.md", "### Rate limits"), "service")
        assert {
            (row["service"], bare(row["endpoint"])): (row["limit"], row["taken by one triggerer"])
            for row in rows
        } == {
            (service.name, endpoint): (
                f"{limit.calls} in {limit.seconds:g} s",
                f"{self.places(limit)} in {limit.seconds:g} s",
            )
            for service in (MANUS, QSTASH)
            for endpoint, limit in service.limits.items()
        }

    def places(self, limit: Limit) -> int:
        pacer = Pacer({"GET /": limit})
        return next(sent for sent in range(limit.calls + 1) if pacer.reserve("GET /", 0.0) > 0)


class RecordingStats:
    """Keeps what would be sent: metric → its type, in the words of ``docs/metrics.md``, and its tags."""

    def __init__(self) -> None:
        self.sent: dict[str, tuple[str, set[str]]] = {}

    def incr(self, name: str, count: int, *, tags: dict[str, str]) -> None:
        self.sent[name] = ("counter", set(tags))

    def gauge(self, name: str, value: float, *, tags: dict[str, str]) -> None:
        self.sent[name] = ("gauge", set(tags))

    def timing(self, name: str, milliseconds: float, *, tags: dict[str, str]) -> None:
        self.sent[name] = ("timer, ms", set(tags))


class TestMetrics:
    def test_the_table_has_every_metric_with_its_type_and_tags(self, monkeypatch: pytest.MonkeyPatch) -> None:
        stats = RecordingStats()
        monkeypatch.setattr(metrics, "Stats", stats)
        metrics.METER.looked("Manus", waits=3, told=3, calls=2, saved=1, rate_limited=1)
        metrics.METER.ended("Manus", outcome="completed", seconds=1.0)

        rows = pages.table(pages.read("docs/metrics.md"), "metric")

        listed = {
            bare(row["metric"]): (row["type"], set(re.findall(r"`(\w+)`", row["tags"]))) for row in rows
        }
        assert listed == stats.sent

    def test_no_metric_is_sent_that_the_page_does_not_name(self) -> None:
        in_the_code = set(re.findall(r'"(remote_tasks\.\w+)"', inspect.getsource(metrics)))
        assert in_the_code == set(
            re.findall(r"^\| `(remote_tasks\.\w+)`", pages.read("docs/metrics.md"), re.M)
        )

    def test_every_outcome_is_named(self) -> None:
        rows = pages.table(pages.read("docs/metrics.md"), "tag")
        (listed,) = [set(re.findall(r"`(\w+)`", row["values"])) for row in rows if row["tag"] == "`outcome`"]
        states = [TaskState.COMPLETED, TaskState.FAILED, TaskState.CANCELLED, TaskState.WAITING]
        reports = [
            *(WaitReport({"a": {"state": state.value}}, {}, None, 1.0) for state in states),
            WaitReport({"a": None}, {}, "timeout", 1.0),
            WaitReport({"a": None}, {}, "execution_timeout", 1.0),
            WaitReport({"a": None}, {"a": {}}, None, 1.0),
        ]
        assert {report.outcome for report in reports} == listed - {"execution_timeout"}


class TestTheEvent:
    def test_the_keys_are_the_events(self) -> None:
        text = pages.section("docs/stability.md", "## The event")
        keys = [bare(row["key"]) for row in pages.table(text, "key")]
        assert keys == list(WaitReport({}, {}, None, 0.0).to_event())
        (shown,) = [block for block in pages.blocks("json") if '"timed_out"' in block.text]
        assert list(json.loads(shown.text)) == keys


class TestErrors:
    def test_every_class_is_listed_and_says_whether_a_retry_helps(self) -> None:
        rows = pages.table(pages.read("docs/errors.md"), "class")
        classes = {name: getattr(errors, name) for name in errors.__all__ if name != "error_from_json"}
        assert {bare(row["class"]): row["`retry_helps`"] for row in rows} == {
            name: "yes" if kind.retry_helps else "no" for name, kind in classes.items()
        }

    def test_the_tree_is_the_classes(self) -> None:
        (tree,) = [block.text for block in pages.blocks("text") if block.text.startswith("RemoteTaskError")]
        parents: dict[str, str] = {}
        path: list[str] = []
        for line in tree.splitlines():
            found = re.search(r"\w", line)
            assert found
            depth, name = found.start() // 4, line[found.start() :].split()[0]
            path[depth:] = [name]
            parents[name] = path[depth - 1] if depth else "Exception"
        expected = {
            name: getattr(errors, name).__base__.__name__ for name in errors.__all__ if name[0].isupper()
        }
        assert parents == expected


class TestCommands:
    def test_the_table_has_every_make_target(self) -> None:
        targets = set(re.findall(r"^([a-z-]+):.*## ", pages.read("Makefile"), flags=re.MULTILINE))
        rows = pages.table(pages.section("docs/contributing.md", "## Commands"), "command")
        assert {bare(row["command"]).removeprefix("make ") for row in rows} == targets

    def test_every_make_command_anywhere_exists(self) -> None:
        targets = set(re.findall(r"^([a-z-]+):", pages.read("Makefile"), flags=re.MULTILINE))
        for page in pages.pages():
            for command in re.findall(
                r"(?:^|`)make ((?:[a-z-]+ ?)+)", page.read_text(encoding="utf-8"), flags=re.MULTILINE
            ):
                assert set(command.split()) <= targets, page

    def test_every_path_in_the_layout_exists(self) -> None:
        text = pages.section("docs/contributing.md", "## Layout")
        names = [
            name for name in re.findall(r"`([\w./]+)`", text) if "/" in name and not name.startswith("_")
        ]
        provider = pages.ROOT / "provider" / "remote_tasks_provider"
        assert names
        for name in names:
            places = (pages.ROOT / name, provider / name)
            assert any(place.exists() for place in places), name


class TestVersions:
    def test_the_readme_names_the_tested_versions(self) -> None:
        rows = pages.table(pages.section("README.md", "## Install"), "")
        (airflow,) = [row["tested with"] for row in rows if row[""] == "Airflow"]
        assert airflow.split(", ") == list(VERSIONS)

    def test_the_changelog_has_the_packages_version(self) -> None:
        version = re.search(r'^version = "(.*)"', pages.read("pyproject.toml"), flags=re.MULTILINE)
        assert version
        assert f"\n## {version[1]}" in pages.read("docs/changelog.md")


def test_the_modules_named_in_the_documentation_can_be_imported() -> None:
    for page in pages.pages():
        for name in re.findall(r"`(remote_tasks_provider(?:\.\w+)+)`", page.read_text(encoding="utf-8")):
            module, _, attribute = name.rpartition(".")
            if name not in sys.modules:
                assert hasattr(importlib.import_module(module), attribute), f"{page}: {name}"
