"""Every Python block is a quotation of a tested file, or runs; every connection example can be used."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import pytest

from remote_tasks_provider.a2a.service import A2A
from remote_tasks_provider.bases.compat import STARTS_FROM_TRIGGER
from remote_tasks_provider.bases.connection import connection_config
from remote_tasks_provider.bases.retry_policy import RemoteTaskRetryPolicy
from remote_tasks_provider.manus import models as manus_models
from remote_tasks_provider.manus.hooks import ManusHook
from remote_tasks_provider.manus.service import MANUS
from remote_tasks_provider.manus.triggers import ManusTaskTrigger
from remote_tasks_provider.qstash import models as qstash_models
from remote_tasks_provider.qstash.api.v2_models import DlqMessage, LogEntry, outcome_of, snapshot_of
from remote_tasks_provider.qstash.hooks import QStashHook
from remote_tasks_provider.qstash.service import QSTASH
from remote_tasks_sandbox import Sandbox
from remote_tasks_sandbox.demo import seed_demo
from tests.docs import pages

PYTHON = pages.blocks("python")
QUOTED = [block for block in PYTHON if block.include]
RUN = [block for block in PYTHON if not block.include]
CONNECTION = re.compile(r"^\s*export (AIRFLOW_CONN_(A2A|MANUS|QSTASH)_\w+)='(.*)'(?: +#.*)?$", re.MULTILINE)
CONNECTIONS = [
    pytest.param(name, vendor.lower(), value, id=f"{block.page.name}-{block.line}-{vendor.lower()}")
    for block in pages.blocks("shell")
    for name, vendor, value in CONNECTION.findall(block.text)
]


@pytest.mark.parametrize("block", QUOTED, ids=str)
def test_quotation_equals_its_file(block: pages.Block) -> None:
    assert block.include
    assert block.text == pages.region(block.include), "run: python -m tests.docs.pages"


@pytest.mark.parametrize("block", RUN, ids=str)
def test_block_runs(
    block: pages.Block, sandbox: Sandbox, manus_conn: str, qstash_conn: str, a2a_conn: str
) -> None:
    seed_demo(sandbox, seconds=0)
    exec(compile(block.text, str(block), "exec"), {"__name__": "snippet", "sandbox": sandbox})


def test_sensor_example_starts_and_ends_in_the_triggerer(sandbox: Sandbox, manus_conn: str) -> None:
    (block,) = [block for block in RUN if "start_from_trigger=True" in block.text]
    names: dict[str, Any] = {"__name__": "snippet"}
    exec(compile(block.text, str(block), "exec"), names)
    wait = names["wait"]
    assert wait.start_from_trigger is STARTS_FROM_TRIGGER
    if STARTS_FROM_TRIGGER:
        trigger = ManusTaskTrigger(**wait.start_trigger_args.trigger_kwargs)
        trigger.render_template_fields({"params": wait.dag.params})
        assert trigger.remote_task_ids == "demo-completes"
        assert trigger.sensor is not None
        assert trigger.sensor["ends_in_triggerer"] is True


def test_example_of_an_operator_test_passes(tmp_path: Path) -> None:
    (block,) = [block for block in RUN if "def test_sensor_leaves_a_failed_task_to_the_branch" in block.text]
    (tmp_path / "test_snippet.py").write_text(block.text, encoding="utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    arguments = ["-q", "-c", str(tmp_path / "pytest.ini"), "-p", "no:cacheprovider", "-p", "no:randomly"]
    assert pytest.main([*arguments, "--no-cov", str(tmp_path)]) == pytest.ExitCode.OK


def test_callback_example_accepts_only_signed_requests() -> None:
    (block,) = [block for block in RUN if "def receive(" in block.text]
    names: dict[str, Any] = {"__name__": "snippet"}
    exec(compile(block.text, str(block), "exec"), names)
    keys = {"QSTASH_CURRENT_SIGNING_KEY": "current" * 6, "QSTASH_NEXT_SIGNING_KEY": "next" * 10}
    body = b'{"status": 200}'

    def signed_with(key: str) -> dict[str, str]:
        digest = base64.urlsafe_b64encode(hashlib.sha256(body).digest()).decode()
        claims = {
            "iss": "Upstash",
            "sub": "https://example.com/hooks/qstash",
            "exp": int(time.time()) + 300,
            "jti": "jwt_1",
            "body": digest,
        }
        return {"Upstash-Signature": jwt.encode(claims, key, algorithm="HS256")}

    for key in keys.values():
        assert names["receive"](signed_with(key), body, keys) == 200
    assert names["receive"](signed_with("another" * 6), body, keys) == 401
    assert names["receive"](signed_with(keys["QSTASH_CURRENT_SIGNING_KEY"]), body + b" ", keys) == 401
    assert names["receive"]({}, body, keys) == 401


def test_retry_policy_example_applies_to_every_task() -> None:
    (block,) = [block for block in RUN if "polite_retries" in block.text]
    names: dict[str, Any] = {"__name__": "snippet"}
    exec(compile(block.text, str(block), "exec"), names)
    (only,) = names["dag"].tasks
    found = getattr(only, "retry_policy", None)
    assert isinstance(found, RemoteTaskRetryPolicy) is STARTS_FROM_TRIGGER


@pytest.mark.parametrize(("name", "vendor", "value"), CONNECTIONS)
def test_connection_example_can_be_used(
    name: str, vendor: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    service = {"a2a": A2A, "manus": MANUS, "qstash": QSTASH}[vendor]
    found = connection_config(service, name.removeprefix("AIRFLOW_CONN_").lower())
    assert found.base_url.startswith(("https://", "http://127.0.0.1"))
    if value.startswith("{"):
        assert json.loads(value)["conn_type"] == vendor


def test_connection_examples_have_both_forms() -> None:
    values = [str(parameters.values[2]) for parameters in CONNECTIONS]
    assert {value[0] for value in values} == {"{", "m", "q"}


def record_of_a_failed_message() -> dict[str, Any]:
    """Return the record of a message with the log entries and the DLQ message that the page shows."""
    (block,) = [block for block in pages.blocks("json") if block.comment == "record of a failed message"]
    shown = json.loads(block.text)
    step = {"messageId": shown["id"], "url": f"{shown['url']}?key=secret", "time": 1793612792000}
    entries = [
        LogEntry.model_validate({**step, "state": "ERROR", "responseStatus": shown["response_status"]}),
        LogEntry.model_validate({**step, "state": "FAILED"}),
    ]
    dlq_message = DlqMessage.model_validate(
        {
            "messageId": shown["id"],
            "dlqId": shown["dlq_id"],
            "responseStatus": 500,
            "responseBody": "out of memory",
        }
    )
    return snapshot_of(outcome_of(shown["id"], entries).with_dlq_message(dlq_message)).to_record()


EXAMPLES: dict[str, Callable[[], Any]] = {
    "result of demo-completes": lambda: {
        **manus_models.snapshot(ManusHook().get_task("demo-completes")).to_record(),
        **ManusHook().get_result("demo-completes", output_grace=0).to_json(),
    },
    "record of a failed message": record_of_a_failed_message,
    "record of demo-completes": lambda: manus_models.snapshot(
        ManusHook().get_task("demo-completes")
    ).to_record(),
    "record of tsk_demo_failed": lambda: qstash_models.snapshot(
        QStashHook().get_task("tsk_demo_failed")
    ).to_record(),
    "task of demo-completes": lambda: ManusHook().get_task("demo-completes").to_json(),
    "task of tsk_demo_failed": lambda: QStashHook().get_task("tsk_demo_failed").to_json(),
}


@pytest.mark.parametrize("what", EXAMPLES)
def test_xcom_example_equals_the_result(
    what: str, sandbox: Sandbox, manus_conn: str, qstash_conn: str
) -> None:
    seed_demo(sandbox, seconds=0)
    (block,) = [block for block in pages.blocks("json") if block.comment == what]
    shown, real = json.loads(block.text), EXAMPLES[what]()
    assert list(shown) == list(real)
    names = ("id", "task_id", "state", "status", "error", "title", "credit_usage", "retried", "text", "files")
    for name in names:
        assert shown.get(name) == real.get(name)


@pytest.mark.parametrize("block", pages.blocks("json"), ids=str)
def test_json_block_can_be_parsed(block: pages.Block) -> None:
    json.loads(block.text)
