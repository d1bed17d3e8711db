"""The tables of the documentation say what the code says."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import json
import re
import sys
from dataclasses import fields
from typing import Any, get_args

import pytest

from dev.compat import VERSIONS
from remote_tasks_provider.bases import metrics
from remote_tasks_provider.bases.hitl_forms import form_of
from remote_tasks_provider.bases.submission import CorrelationTag
from remote_tasks_provider.core import errors
from remote_tasks_provider.core.errors import ConnectionConfigError
from remote_tasks_provider.core.http.connection import ConnectionFields
from remote_tasks_provider.core.http.rate_limit import RateLimit, RateLimiter
from remote_tasks_provider.core.polling.result import WaitResult
from remote_tasks_provider.core.states import StateTable, TaskState
from remote_tasks_provider.core.submission import OnOrphanedIntent, OnStaleState, SubmissionPolicy
from remote_tasks_provider.manus.agents import ManusAgentHook
from remote_tasks_provider.manus.api.v2_models import MANUS_V2_STATES, ManusTaskV2
from remote_tasks_provider.manus.hitl import ON_WAITING_FOR_INPUT
from remote_tasks_provider.manus.hitl_forms import form_for
from remote_tasks_provider.manus.models import MANUS_STATES, ManusContent, ManusMessage, ManusTask
from remote_tasks_provider.manus.results import ManusFile, ManusQuestion, ManusResult
from remote_tasks_provider.manus.service import MANUS, ManusExtras
from remote_tasks_provider.qstash.api.options import PLANS
from remote_tasks_provider.qstash.api.v2_models import DlqMessage, LogEntry, MessageOutcome
from remote_tasks_provider.qstash.models import QSTASH_STATES, QStashTask
from remote_tasks_provider.qstash.service import QSTASH, QStashExtras
from remote_tasks_provider.qstash.signature import SignatureError
from tests.docs import pages

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
    "first_poll_at": "at once",
    "max_poll_interval": "none",
    "checkpoint": "none",
    "sensor": "none",
}


def bare(cell: str) -> str:
    return cell.strip("`")


def public_classes() -> list[type]:
    return list(import_modules())


def import_modules() -> dict[type, str]:
    """Return every public class with the module that users import it from."""
    found: dict[type, str] = {}
    for name in PUBLIC_MODULES:
        module = importlib.import_module(f"remote_tasks_provider.{name}")
        found |= dict.fromkeys((getattr(module, public) for public in module.__all__), module.__name__)
    return found


def parameters(kind: type) -> dict[str, Any]:
    """Return the constructor parameters that this provider adds to Airflow's, with their defaults."""
    found: dict[str, Any] = {}
    for owner in reversed(kind.__mro__):
        if owner.__module__.startswith("remote_tasks_provider.") and "__init__" in vars(owner):
            found |= own_parameters(owner)
    if getattr(kind, "ids_field", "remote_task_id") != "remote_task_id":
        # The base's name for what this class calls by its own.
        found.pop("remote_task_id", None)
    return found


def own_parameters(owner: type) -> dict[str, Any]:
    """Return the parameters of this class's own constructor, with their defaults."""
    return {
        name: parameter.default
        for name, parameter in inspect.signature(vars(owner)["__init__"]).parameters.items()
        if name != "self" and parameter.kind is not parameter.VAR_KEYWORD
    }


class TestOperators:
    @pytest.mark.parametrize("kind", public_classes(), ids=lambda kind: kind.__name__)
    def test_every_public_class_has_its_section(self, kind: type) -> None:
        text = pages.section(OPERATORS, f"## {kind.__name__}")
        assert f"from {import_modules()[kind]} import {kind.__name__}" in text

    @pytest.mark.parametrize(
        "kind",
        [kind for kind in public_classes() if kind.__name__ != "QStashTaskTrigger"],
        ids=lambda kind: kind.__name__,
    )
    def test_its_table_has_every_parameter_and_default(self, kind: type) -> None:
        rows = pages.table(pages.section(OPERATORS, f"## {kind.__name__}"), "parameter")
        # The message trigger's table has its own, and refers to the other trigger's for the rest.
        expected = own_parameters(kind) if kind.__name__ == "QStashMessageTrigger" else parameters(kind)
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

    @pytest.mark.parametrize(
        ("heading", "models"),
        [
            ("ManusTask", [ManusTask, ManusMessage, ManusContent]),
            ("ManusResult", [ManusResult, ManusFile, ManusQuestion]),
            ("QStashTask", [QStashTask]),
            ("MessageOutcome", [MessageOutcome]),
            ("LogEntry and DlqMessage", [LogEntry, DlqMessage]),
        ],
    )
    def test_every_field_of_a_model_is_listed(self, heading: str, models: list[Any]) -> None:
        listed = set(re.findall(r"`(\w+)`", pages.section(OPERATORS, f"## {heading}")))
        for model in models:
            names = set(getattr(model, "model_fields", ()) or (field.name for field in fields(model)))
            assert (
                names | {name for name, value in vars(model).items() if isinstance(value, property)} <= listed
            )

    def test_what_only_a_task_of_api_v2_has_is_named(self) -> None:
        own = {
            name: field
            for name, field in ManusTaskV2.model_fields.items()
            if name not in ManusTask.model_fields and field.alias is None
        }
        listed = set(re.findall(r"`(\w+)`", pages.section(OPERATORS, "## ManusTask")))
        # Its page goes by the name that both versions have: url.
        assert own.keys() - {"task_url"} <= listed

    def test_every_xcom_key_is_listed(self) -> None:
        listed = {bare(row["key"]) for row in pages.table(pages.section(OPERATORS, "## XCom keys"), "key")}
        # The triggerer writes the last one, together with those that a worker would push.
        assert listed == {"return_value", *pushed_keys(), "remote_task_error"}

    @pytest.mark.parametrize("hook", ["manus.hooks.ManusHook", "qstash.hooks.QStashHook"])
    def test_every_method_of_a_hook_is_listed_with_its_parameters(self, hook: str) -> None:
        module, _, name = hook.rpartition(".")
        kind = getattr(importlib.import_module(f"remote_tasks_provider.{module}"), name)
        text = pages.section(OPERATORS, f"## {name}")
        for method, value in vars(kind).items():
            if inspect.isfunction(value) and not method.startswith("_"):
                listed = re.search(rf"`{method}\(([^)]*)\)`", text)
                assert listed, method
                names = {part.strip().lstrip("*") for part in listed[1].split(",")} - {""}
                assert names == inspect.signature(value).parameters.keys() - {"self"}

    def test_every_state_is_named(self) -> None:
        assert set(TaskState) <= set(re.findall(r"`(\w+)`", pages.read(OPERATORS)))

    def test_every_extra_link_is_named(self) -> None:
        module = importlib.import_module("remote_tasks_provider.manus.links")
        for name in module.__all__:
            assert f"{module.__name__}.{name}" in pages.read(OPERATORS)


def pushed_keys() -> set[str]:
    """Return the XCom keys that the package's code pushes, by name or by constant."""
    found = set()
    package = pages.ROOT / "provider" / "remote_tasks_provider"
    for path in package.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        for word in re.findall(r"xcom_push\(\s*key=([\w\"]+)", text):
            home = ".".join(["remote_tasks_provider", *path.relative_to(package).with_suffix("").parts])
            is_text = word.startswith('"')
            found.add(word.strip('"') if is_text else getattr(importlib.import_module(home), word))
    return found


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
            {"extra": {"auth": "oauth"}},
        ],
        ids=str,
    )
    def test_every_message_about_a_connection_is_explained(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(ConnectionConfigError) as caught:
            MANUS.config(ConnectionFields("mine", **{"password": "sk-key", **wrong}))
        found = re.fullmatch(r"Connection 'mine', field (.+?): (.*)", caught.value.message)
        assert found
        rows = pages.table(pages.section("docs/connections.md", "## Fixing errors"), "field")
        patterns = [tuple(_pattern(bare(row[name])) for name in ("field", "message")) for row in rows]
        assert any(re.fullmatch(field, found[1]) and re.fullmatch(text, found[2]) for field, text in patterns)

    def test_the_limits_of_the_plans_are_those_that_are_checked(self) -> None:
        text = pages.section("docs/connections.md", "## Limits of QStash's plans")
        assert {bare(row.pop("`plan`")): row for row in pages.table(text, "`plan`")} == {
            name: {
                "body": f"{plan.body // 1024**2} MiB",
                "delay": "any" if plan.delay is None else f"{plan.delay // 86400} days",
                "time to answer": f"{plan.timeout // 60} min"
                if plan.timeout < 3600
                else f"{plan.timeout // 3600} h",
            }
            for name, plan in PLANS.items()
        }
        assert {f"at most {plan.requests // 1024**2} MiB" in text for plan in PLANS.values()} == {True}


def _pattern(cell: str) -> str:
    return ".*".join(re.escape(part) for part in cell.split("…"))


class TestStates:
    @pytest.mark.parametrize(
        ("head", "states"),
        [
            ("Manus (API v1):", MANUS_STATES),
            ("Manus (API v2):", MANUS_V2_STATES),
            ("QStash (both versions of its API):", QSTASH_STATES),
        ],
    )
    def test_the_words_are_the_tables(self, head: str, states: StateTable) -> None:
        text = pages.section("docs/waiting.md", "## What each status word means")
        rows = pages.table(text[text.index(f"\n{head}\n") :], "status")
        listed = {bare(row["status"]): bare(row["state"]) for row in rows}
        assert listed == {word: state.value for word, state in states._words.items()}
        for row in rows:
            assert TaskState(bare(row["state"])).is_terminal == row[""].startswith("terminal")


class TestRateLimits:
    def test_rate_limit_table_has_every_limit_and_the_share_of_a_triggerer(self) -> None:
        rows = pages.table(pages.section("docs/shared-poller.md", "## Rate limits"), "service")
        assert {
            (row["service"], bare(row["endpoint"])): (row["limit"], row["used by one triggerer"])
            for row in rows
        } == {
            (service.name, endpoint): (
                f"{limit.calls} in {limit.seconds:g} s",
                f"{self.places(limit)} in {limit.seconds:g} s",
            )
            for service in (MANUS, QSTASH)
            for endpoint, limit in service.limits.items()
        }

    def places(self, limit: RateLimit) -> int:
        rate_limiter = RateLimiter({"GET /": limit})
        return next(sent for sent in range(limit.calls + 1) if rate_limiter.reserve("GET /", 0.0) > 0)


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
        metrics.METRICS.looked("Manus", waits=3, told=3, calls=2, saved=1, rate_limited=1)
        metrics.METRICS.ended("Manus", outcome="completed", seconds=1.0)

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
            *(WaitResult({"a": {"state": state.value}}, {}, None, 1.0) for state in states),
            WaitResult({"a": None}, {}, "timeout", 1.0),
            WaitResult({"a": None}, {}, "execution_timeout", 1.0),
            WaitResult({"a": None}, {"a": {}}, None, 1.0),
        ]
        assert {report.outcome for report in reports} == listed - {"execution_timeout"}


class TestTheEvent:
    def test_the_keys_are_the_events(self) -> None:
        text = pages.section("docs/stability.md", "## The event")
        keys = [bare(row["key"]) for row in pages.table(text, "key")]
        assert keys == list(WaitResult({}, {}, None, 0.0).to_event())
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

    def test_an_error_that_is_kept_elsewhere_says_the_same(self) -> None:
        text = pages.read("docs/errors.md")
        rows = pages.table(text[text.index("Two errors are kept") :], "class")
        (row,) = [row for row in rows if f"`{SignatureError.__module__}.SignatureError`" in row["class"]]
        assert row["`retry_helps`"] == ("yes" if SignatureError.retry_helps else "no")


class TestStarting:
    @pytest.mark.parametrize(
        ("policy", "values"), [("on_stale_state", OnStaleState), ("on_orphaned_intent", OnOrphanedIntent)]
    )
    def test_every_value_of_a_policy_is_listed_and_the_default_first(self, policy: str, values: Any) -> None:
        rows = pages.table(pages.section("docs/submitting.md", "## Policies"), "parameter")
        begin = next(i for i, row in enumerate(rows) if row["parameter"].startswith(f"`{policy}`"))
        end = next((i for i, row in enumerate(rows) if i > begin and row["parameter"]), len(rows))
        listed = [row["value"] for row in rows[begin:end]]
        default = getattr(SubmissionPolicy(), policy)
        assert listed[0] == f"`{default}` (default)"
        assert {bare(value) for value in listed[1:]} == set(get_args(values)) - {default}

    def test_the_mark_that_is_shown_is_one(self) -> None:
        shown = re.findall(r"`(\[af-[^`]*)`", pages.read("docs/submitting.md") + pages.read(OPERATORS))
        key = hashlib.sha256(b"any").hexdigest()[:10]
        form = re.sub(r"\w", "x", str(CorrelationTag(key, 1)))
        assert {re.sub(r"\w", "x", tag) for tag in shown} == {form}


class TestQuestions:
    def test_every_way_to_deal_with_a_question_is_listed(self) -> None:
        rows = pages.table(pages.read("docs/human-in-the-loop.md"), "`on_waiting`")
        assert [re.findall(r"`(\w+)`", row["`on_waiting`"])[0] for row in rows] == list(ON_WAITING_FOR_INPUT)

    def test_every_button_and_field_is_listed(self) -> None:
        text = pages.section("docs/human-in-the-loop.md", "## A person answers in Airflow")
        asked = ManusQuestion("Which day?", options=("Tuesday", "Thursday"))
        form = form_of(form_for(asked, None, None, rich=True), None, defaults=None)
        buttons = [row["button"] for row in pages.table(text, "button")]
        assert buttons == [
            "each of the agent's options, up to ten",
            *(f"*{one}*" for one in form["options"] if one not in asked.options),
        ]
        titles = [f"*{field['schema']['title']}*" for field in form["params"].values()]
        assert [row["field"] for row in pages.table(text, "field") if row["field"][0] == "*"] == titles


class TestAgents:
    def test_the_table_has_every_parameter_and_default(self) -> None:
        rows = pages.table(pages.read("docs/manus-as-a-tool.md"), "parameter of `ManusAgentHook`")
        listed = {bare(row["parameter of `ManusAgentHook`"]): bare(row["default"]) for row in rows}
        assert listed == {name: str(default) for name, default in own_parameters(ManusAgentHook).items()}


class TestExamples:
    def test_every_example_dag_is_quoted_or_linked(self) -> None:
        text = "".join(page.read_text(encoding="utf-8") for page in pages.pages())
        for path in (pages.ROOT / "example_dags").glob("*.py"):
            assert f"example_dags/{path.name}" in text


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

    def test_changelog_names_the_packages_version(self) -> None:
        version = re.search(r'^version = "(.*)"', pages.read("pyproject.toml"), flags=re.MULTILINE)
        assert version
        # Until a release, the section of what is unreleased says which version it will be.
        unreleased = pages.section("docs/changelog.md", "## Unreleased")
        assert f"The first release will be {version[1]}." in unreleased


def test_the_modules_named_in_the_documentation_can_be_imported() -> None:
    for page in pages.pages():
        for name in re.findall(r"`(remote_tasks_provider(?:\.\w+)+)`", page.read_text(encoding="utf-8")):
            module, _, attribute = name.rpartition(".")
            if name not in sys.modules:
                assert hasattr(importlib.import_module(module), attribute), f"{page}: {name}"
