"""The hand-written tables of the documentation say what the code says; the rest is generated."""

from __future__ import annotations

import hashlib
import importlib
import json
import pkgutil
import re
from typing import Any, get_args

import pytest

from dev.compat import VERSIONS
from remote_tasks_provider.a2a.models import A2A_STATES
from remote_tasks_provider.a2a.service import A2AExtras
from remote_tasks_provider.bases import metrics
from remote_tasks_provider.bases.agent_tasks import ON_WAITING_FOR_INPUT
from remote_tasks_provider.bases.hitl_forms import form_of
from remote_tasks_provider.bases.xcoms import XCOM_KEYS
from remote_tasks_provider.core.errors import ConnectionConfigError
from remote_tasks_provider.core.http.connection import ConnectionFields
from remote_tasks_provider.core.http.environment import network_settings
from remote_tasks_provider.core.http.rate_limit import RateLimit, RateLimiter
from remote_tasks_provider.core.polling.metrics import PollerName
from remote_tasks_provider.core.polling.result import WaitResult
from remote_tasks_provider.core.states import StateTable, TaskState
from remote_tasks_provider.core.submission import (
    CorrelationTag,
    OnOrphanedIntent,
    OnStaleState,
    SubmissionPolicy,
    inputs_of,
)
from remote_tasks_provider.manus.api.v2_models import MANUS_V2_STATES
from remote_tasks_provider.manus.hitl_forms import form_for
from remote_tasks_provider.manus.models import MANUS_STATES
from remote_tasks_provider.manus.results import ManusQuestion
from remote_tasks_provider.manus.service import MANUS, ManusExtras
from remote_tasks_provider.manus.websites import WEBSITE_STATES
from remote_tasks_provider.qstash.api.options import PLANS
from remote_tasks_provider.qstash.models import QSTASH_STATES
from remote_tasks_provider.qstash.service import QSTASH, QStashExtras
from tests.docs import pages

XCOM = "docs/reference/xcom.md"
PROVIDER = pages.ROOT / "provider" / "remote_tasks_provider"


def bare(cell: str) -> str:
    return cell.strip("`")


class TestXCom:
    def test_xcom_page_lists_every_key(self) -> None:
        rows = pages.table(pages.section(XCOM, "## Keys"), "key")
        listed = {key for row in rows for key in re.findall(r"`(\w+)`", row["key"])}
        # The triggerer writes the last one, together with those that a worker would push.
        assert listed == {"return_value", *pushed_keys(), "remote_task_error"}

    def test_xcom_page_names_every_state(self) -> None:
        assert set(TaskState) <= set(re.findall(r"`(\w+)`", pages.read(XCOM)))

    def test_xcom_page_names_every_extra_link(self) -> None:
        module = importlib.import_module("remote_tasks_provider.manus.links")
        for name in module.__all__:
            assert f"{module.__name__}.{name}" in pages.read(XCOM)


def pushed_keys() -> set[str]:
    """Return the XCom keys that the package's code pushes, by name or by constant."""
    found = set(XCOM_KEYS)
    package = pages.ROOT / "provider" / "remote_tasks_provider"
    for path in package.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        found |= set(re.findall(r'id_key(?:: ClassVar\[str\])? = "(\w+)"', text))
        for word in re.findall(r"xcom_push\(\s*key=(?!key\b|self\b)([\w\"]+)", text):
            home = ".".join(["remote_tasks_provider", *path.relative_to(package).with_suffix("").parts])
            is_text = word.startswith('"')
            found.add(word.strip('"') if is_text else getattr(importlib.import_module(home), word))
    return found


class TestConnections:
    def test_readme_names_every_extra(self) -> None:
        (row,) = [
            row for row in pages.table(pages.section("README.md", "## Connect"), "") if row[""] == "extras"
        ]
        assert set(re.findall(r"\w+", row["Manus"])) == ManusExtras.model_fields.keys()
        assert set(re.findall(r"\w+", row["QStash"])) == QStashExtras.model_fields.keys()
        assert set(re.findall(r"\w+", row["A2A"])) == A2AExtras.model_fields.keys()

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
            {"extra": {"auth": "oauth", "api_version": "v1"}},
        ],
        ids=str,
    )
    def test_connections_page_explains_every_message(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(ConnectionConfigError) as caught:
            MANUS.config(ConnectionFields("mine", **{"password": "sk-key", **wrong}))
        found = re.fullmatch(r"Connection 'mine', field (.+?): (.*)", caught.value.message)
        assert found
        rows = pages.table(pages.section("docs/how-to/connections.md", "## Fixing errors"), "field")
        patterns = [tuple(_pattern(bare(row[name])) for name in ("field", "message")) for row in rows]
        assert any(re.fullmatch(field, found[1]) and re.fullmatch(text, found[2]) for field, text in patterns)

    @pytest.mark.parametrize(
        ("variable", "value"),
        [
            ("HTTPS_PROXY", "http://"),
            ("HTTPS_PROXY", "ftp://proxy"),
            ("HTTPS_PROXY", "http://ü@proxy"),
            ("HTTPS_PROXY", "socks5://proxy"),
            ("REQUESTS_CA_BUNDLE", "/nowhere"),
            ("SSL_CERT_DIR", "/nowhere"),
        ],
    )
    def test_connections_page_explains_every_message_about_the_environment(
        self, variable: str, value: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv(variable, value)
        monkeypatch.setattr("remote_tasks_provider.core.http.environment.find_spec", lambda name: None)
        with pytest.raises(ConnectionConfigError) as caught:
            network_settings("https://somewhere")
        text = pages.section("docs/how-to/connections.md", "## Proxies and certificates")
        rows = pages.table(text, "message")
        assert any(re.fullmatch(_pattern(row["message"]), caught.value.message) for row in rows)

    def test_plan_table_has_the_limits_that_are_checked(self) -> None:
        text = pages.section("docs/how-to/connections.md", "## Limits of QStash's plans")
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
            ("A [website](../how-to/publish-a-website.md) that Manus publishes:", WEBSITE_STATES),
            ("QStash (both versions of its API):", QSTASH_STATES),
            ("A2A (1.0 has `TASK_STATE_` before it, 0.3 hyphens):", A2A_STATES),
        ],
    )
    def test_status_table_has_every_word(self, head: str, states: StateTable) -> None:
        text = pages.section("docs/concepts/waiting.md", "## What each status word means")
        rows = pages.table(text[text.index(f"\n{head}\n") :], "status")
        listed = {bare(row["status"]): bare(row["state"]) for row in rows}
        assert listed == {word: state.value for word, state in states._words.items()}
        for row in rows:
            assert TaskState(bare(row["state"])).is_terminal == row[""].startswith("terminal")


class TestRateLimits:
    def test_rate_limit_table_has_every_limit_and_the_share_of_a_triggerer(self) -> None:
        rows = pages.table(pages.section("docs/concepts/shared-poller.md", "## Rate limits"), "service")
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
    """Keeps what would be sent: metric → its type, in the words of the page, and its tags."""

    def __init__(self) -> None:
        self.sent: dict[str, tuple[str, set[str]]] = {}

    def incr(self, name: str, count: int, *, tags: dict[str, str]) -> None:
        self.sent[name] = ("counter", set(tags))

    def gauge(self, name: str, value: float, *, tags: dict[str, str]) -> None:
        self.sent[name] = ("gauge", set(tags))

    def timing(self, name: str, milliseconds: float, *, tags: dict[str, str]) -> None:
        self.sent[name] = ("timer, ms", set(tags))


class TestMetrics:
    PAGE = "docs/reference/metrics.md"

    def test_metrics_page_names_every_metric_with_its_type(self, monkeypatch: pytest.MonkeyPatch) -> None:
        stats = RecordingStats()
        monkeypatch.setattr(metrics, "Stats", stats)
        monkeypatch.setattr(metrics, "_tags_are_on", lambda: True)
        poller = PollerName("Manus", "Manus task", "manus_default")
        metrics.METRICS.polled(poller, calls=2, saved=1)
        metrics.METRICS.waiting(poller, states={TaskState.RUNNING: 1}, oldest=1.0, unanswered=1.0)
        metrics.METRICS.finished(poller, outcome="completed", seconds=1.0)
        metrics.METRICS.called("Manus", "GET /v1/tasks")
        metrics.METRICS.refused("Manus", "GET /v1/tasks")
        metrics.METRICS.spent("Manus", 1)
        metrics.METRICS.heard(poller)

        listed = dict(re.findall(r"^\* `(remote_tasks\.\w+)` \((.*?)\)", pages.read(self.PAGE), re.M))
        assert listed == {name: kind for name, (kind, _) in stats.sent.items()}
        tags = set(re.findall(r"^\* `(\w+)`, on ", pages.read(self.PAGE), re.M))
        assert tags == set.union(*(tags for _, tags in stats.sent.values()))

    def test_dashboard_shows_metrics_and_tags_of_the_page(self) -> None:
        dashboard = json.loads(pages.read("docs/how-to/remote-tasks-dashboard.json"))
        shown = "\n".join(panel["targets"][0]["expr"] for panel in dashboard["panels"])
        names = set(re.findall(r"airflow_remote_tasks_(\w+?)(?:_count)?\{", shown))
        tags = {tag for group in re.findall(r"by \(([^)]*)\)", shown) for tag in group.split(", ")}

        page = pages.read(self.PAGE)
        assert names == set(re.findall(r"^\* `remote_tasks\.(\w+)`", page, re.M)) - {"polls", "bells"}
        assert tags <= set(re.findall(r"^\* `(\w+)`, on ", page, re.M))

    def test_metrics_page_names_every_outcome(self) -> None:
        text = " ".join(pages.read(self.PAGE).split())
        listed = set(re.findall(r"`(\w+)`", text[text.index("* `outcome`, on") : text.index("For a wait")]))
        states = [TaskState.COMPLETED, TaskState.FAILED, TaskState.CANCELLED, TaskState.WAITING]
        results = [
            *(WaitResult({"a": {"state": state.value}}, {}, None, 1.0) for state in states),
            WaitResult({"a": None}, {}, "timeout", 1.0),
            WaitResult({"a": None}, {}, "execution_timeout", 1.0),
            WaitResult({"a": None}, {"a": {}}, None, 1.0),
        ]
        assert {result.outcome for result in results} == listed - {
            "outcome",
            "wait_duration",
            "execution_timeout",
        }


class TestEvent:
    def test_event_table_has_every_key(self) -> None:
        text = pages.section("docs/stability.md", "## The event")
        keys = [bare(row["key"]) for row in pages.table(text, "key")]
        assert keys == list(WaitResult({}, {}, None, 0.0).to_event())
        (shown,) = [block for block in pages.blocks("json") if '"timed_out"' in block.text]
        assert list(json.loads(shown.text)) == keys


class TestSubmitting:
    @pytest.mark.parametrize(
        ("policy", "values"), [("on_stale_state", OnStaleState), ("on_orphaned_intent", OnOrphanedIntent)]
    )
    def test_policy_table_has_every_value_and_the_default_first(self, policy: str, values: Any) -> None:
        rows = pages.table(pages.section("docs/concepts/submitting.md", "## Policies"), "parameter")
        begin = next(i for i, row in enumerate(rows) if row["parameter"].startswith(f"`{policy}`"))
        end = next((i for i, row in enumerate(rows) if i > begin and row["parameter"]), len(rows))
        listed = [row["value"] for row in rows[begin:end]]
        default = getattr(SubmissionPolicy(), policy)
        assert listed[0] == f"`{default}` (default)"
        assert {bare(value) for value in listed[1:]} == set(get_args(values)) - {default}

    def test_correlation_tag_that_is_shown_has_the_right_form(self) -> None:
        shown = re.findall(r"`(\[af-[^`]*)`", pages.read("docs/concepts/submitting.md"))
        key = hashlib.sha256(b"any").hexdigest()[:10]
        form = re.sub(r"\w", "x", str(CorrelationTag(key, 1, 2, inputs_of(key))))
        assert {re.sub(r"\w", "x", tag) for tag in shown} == {form}


class TestHumanInTheLoop:
    def test_waiting_table_has_every_value(self) -> None:
        rows = pages.table(pages.read("docs/how-to/human-in-the-loop.md"), "`on_waiting`")
        assert [re.findall(r"`(\w+)`", row["`on_waiting`"])[0] for row in rows] == list(ON_WAITING_FOR_INPUT)

    def test_form_tables_have_every_button_and_field(self) -> None:
        text = pages.section("docs/how-to/human-in-the-loop.md", "## A person answers in Airflow")
        asked = ManusQuestion("Which day?", options=("Tuesday", "Thursday"))
        form = form_of(form_for(asked, None, None, rich=True), None, defaults=None)
        buttons = [row["button"] for row in pages.table(text, "button")]
        assert buttons == [
            "each of the agent's options, up to ten",
            *(f"*{one}*" for one in form["options"] if one not in asked.options),
        ]
        titles = [f"*{field['schema']['title']}*" for field in form["params"].values()]
        assert [row["field"] for row in pages.table(text, "field") if row["field"][0] == "*"] == titles


class TestExamples:
    def test_example_dags_are_all_quoted_or_linked(self) -> None:
        text = "".join(page.read_text(encoding="utf-8") for page in pages.pages())
        for path in (pages.ROOT / "example_dags").glob("*.py"):
            assert f"example_dags/{path.name}" in text


class TestCommands:
    def test_command_table_has_every_make_target(self) -> None:
        targets = set(re.findall(r"^([a-z-]+):.*## ", pages.read("Makefile"), flags=re.MULTILINE))
        rows = pages.table(pages.section("docs/contribute/contributing.md", "## Commands"), "command")
        assert {bare(row["command"]).removeprefix("make ") for row in rows} == targets

    def test_make_commands_on_every_page_exist(self) -> None:
        targets = set(re.findall(r"^([a-z-]+):", pages.read("Makefile"), flags=re.MULTILINE))
        for page in pages.pages():
            for command in re.findall(
                r"(?:^|`)make ((?:[a-z-]+ ?)+)", page.read_text(encoding="utf-8"), flags=re.MULTILINE
            ):
                assert set(command.split()) <= targets, page

    def test_layout_table_names_existing_paths(self) -> None:
        text = pages.section("docs/contribute/contributing.md", "## Layout")
        names = [
            name for name in re.findall(r"`([\w./]+)`", text) if "/" in name and not name.startswith("_")
        ]
        assert names
        for name in names:
            places = (pages.ROOT / name, PROVIDER / name)
            assert any(place.exists() for place in places), name

    def test_rule_table_names_existing_modules_and_the_tests_of_them(self) -> None:
        rows = pages.table(pages.section("docs/contribute/contributing.md", "## Where each rule is"), "rule")
        assert rows
        for row in rows:
            modules, tests = (re.findall(r"`([\w./]+)`", row[column]) for column in ("module", "test"))
            assert modules, row["rule"]
            assert tests, row["rule"]
            missing = [name for name in modules if not (PROVIDER / name).is_file()]
            missing += [name for name in tests if not (pages.ROOT / name).is_file()]
            assert not missing, row["rule"]


class TestArchitecture:
    WALKS = (
        "## From a sensor's id to the socket, on a worker",
        "## From a sensor's id to the socket, in the triggerer",
        "## From an operator's prompt to the POST",
    )

    @pytest.mark.parametrize("heading", WALKS)
    def test_walk_names_what_the_files_define_in_at_most_nine_files(self, heading: str) -> None:
        rows = pages.table(pages.section("docs/contribute/architecture.md", heading), "file")
        assert rows
        for row in rows:
            text = (PROVIDER / bare(row["file"])).read_text(encoding="utf-8")
            names = re.findall(r"`(\w+)`", row["there"] + row["back"])
            assert names, row["file"]
            undefined = [name for name in names if not re.search(rf"\b(?:def|class) {name}\b", text)]
            assert not undefined, row["file"]
        for direction in ("there", "back"):
            assert len([row for row in rows if row[direction]]) <= 9, direction


class TestVersions:
    def test_readme_names_the_tested_versions(self) -> None:
        rows = pages.table(pages.section("README.md", "## Install"), "")
        (airflow,) = [row["tested with"] for row in rows if row[""] == "Airflow"]
        assert airflow.split(", ") == list(VERSIONS)


def test_module_names_on_every_page_can_be_imported() -> None:
    for page in pages.pages():
        for name in re.findall(r"`(remote_tasks_provider(?:\.\w+)+)`", page.read_text(encoding="utf-8")):
            assert pkgutil.resolve_name(name), f"{page}: {name}"
