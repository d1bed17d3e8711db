"""The page of docs on the sandbox leaves nothing out: operations, options, directives, settings, faults."""

from __future__ import annotations

import inspect
import re

from remote_tasks_sandbox.faults import KINDS
from remote_tasks_sandbox.manus.account import read_directives
from remote_tasks_sandbox.manus.questions import Question
from tests.docs import pages

PAGE = "docs/reference/sandbox.md"


def first_column(table: list[dict[str, str]]) -> set[str]:
    return {name for row in table for name in re.findall(r"`([^`]+)`", next(iter(row.values())))}


def ticked(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if line.startswith("- [x]"))


class TestOperations:
    def test_operations_of_manus_v2_are_ticked_with_their_methods(self, sandbox):
        operations = sandbox.vendors["manus"].v2.operations
        listed = {}
        for part in re.findall(r"`(?:GET|POST) /v2/[^;\n]+", ticked(pages.read(PAGE))):
            method, names = re.match(r"`(GET|POST) /v2/(.*)", part).groups()
            listed |= dict.fromkeys(re.findall(r"\w+\.\w+", names), method)
        assert listed == {name: method for name, (method, _) in operations.items()}

    def test_operations_of_manus_v1_are_ticked(self, sandbox, manus):
        text = pages.read(PAGE)
        listed = set()
        for line in ticked(text).splitlines():
            for methods, path in re.findall(
                r"((?:`?(?:GET|POST|PUT|DELETE)`?(?: and )?)+) ?(/v1/[\w/{}]+)`", line
            ):
                listed |= {(method, path) for method in re.findall(r"[A-Z]+", methods)}
        listed = {one for one in listed if "taskId}" not in one[1] and "messages" not in one[1]}
        served = set()
        for path in (
            "/v1/tasks",
            "/v1/tasks/{id}",
            "/v1/files",
            "/v1/files/{id}",
            "/v1/projects",
            "/v1/webhooks",
            "/v1/webhooks/{id}",
            "/v1/webhook/public_key",
        ):
            for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
                sandbox.manus.clear()
                sandbox.manus.add_task("one")
                answer = manus.call(method, path.replace("{id}", "one"), json={})
                if answer.status_code != 501 and answer.json().get("message") != "Not Found":
                    served.add((method, path))
        assert listed == served


class TestTables:
    def test_option_of_a_task_is_listed(self, sandbox):
        rows = pages.table(pages.section(PAGE, "### Manus tasks"), "parameter of `sandbox.manus.add_task`")
        assert first_column(rows) == set(sandbox.manus.options)

    def test_option_of_a_message_is_listed(self, sandbox):
        section = pages.section(PAGE, "### QStash messages")
        rows = pages.table(section, "parameter of `sandbox.qstash.add_message`")
        assert first_column(rows) == set(inspect.signature(sandbox.qstash.add_message).parameters) - {
            "options"
        } | {*("method", "max_retries", "queue", "topic", "schedule_id")}

    def test_attributes_of_messages_exist(self, sandbox):
        rows = pages.table(pages.section(PAGE, "### QStash messages"), "then")
        names = {name.partition("(")[0].removeprefix("sandbox.qstash.") for name in first_column(rows)}
        assert all(hasattr(sandbox.qstash, name) for name in names)
        sandbox.qstash.publish("https://example.com/", headers={"Upstash-Retries": "0"})
        sandbox.qstash.plan_delivery("*", [500])
        sandbox.qstash.publish("https://example.com/", headers={"Upstash-Retries": "0"})
        for row in rows:
            first, told = row.values()
            found = getattr(sandbox.qstash, re.findall(r"sandbox\.qstash\.(\w+)", first)[0])
            for fields in re.findall(r": `([a-z_ ]+)`", told):
                assert all(hasattr(found[0], field) for field in fields.split())

    def test_attributes_of_webhooks_exist(self, sandbox):
        sandbox.manus.webhooks.add("https://example.com/")
        sandbox.manus.add_task("one")
        rows = pages.table(pages.section(PAGE, "### Manus webhooks"), "then")
        assert len(rows) == 2
        for row in rows:
            first, told = row.values()
            found = getattr(sandbox.manus.webhooks, re.findall(r"webhooks\.(\w+)", first)[0])
            item = (found() if callable(found) else found)[0]
            assert {*told.replace("`", "").replace(",", "").partition(": ")[2].split()} == {
                *item.__dataclass_fields__,
                *(["json"] if hasattr(item, "json") else []),
            }

    def test_part_of_a_question_is_listed(self):
        text = pages.section(PAGE, "### Manus tasks")
        assert all(f'"{name}"' in text for name in Question.__dataclass_fields__)

    def test_directives_are_listed_and_understood(self):
        rows = pages.table(pages.section(PAGE, "### Steering by the prompt"), "directive")
        directives = first_column(rows)
        for directive in directives:
            error = read_directives(f"sandbox: {directive.replace('N', '1')}").get("error") or ""
            assert "no such directive" not in error
        assert {directive.split()[0] for directive in directives} == {
            *("seconds", "ask", "action", "fail", "stop", "answer", "files", "website"),
            *("credits", "burn", "lag", "background", "hide"),
        }

    def test_setting_is_listed(self, sandbox):
        rows = pages.table(pages.section(PAGE, "## Settings"), "setting")
        assert first_column(rows) == vars(sandbox.settings).keys()

    def test_endpoint_with_a_rate_is_listed(self, sandbox):
        operations = sandbox.vendors["manus"].v2.operations
        text = " ".join(pages.section(PAGE, "## Settings").split())
        for name in sandbox.settings.all_endpoints():
            assert name.removeprefix("manus.") in operations or re.search(rf"[` ]{re.escape(name)}[` ]", text)

    def test_operation_of_v2_has_a_rate(self, sandbox):
        operations = sandbox.vendors["manus"].v2.operations
        assert {f"manus.{name}" for name in operations} <= set(sandbox.settings.all_endpoints())

    def test_fault_is_listed(self):
        rows = pages.table(pages.section(PAGE, "## Faults"), "kind")
        assert first_column(rows) == KINDS.keys()
