"""What was sent and answered may hold secrets: no log, XCom, event, error or repr ever shows them."""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, redact

from remote_tasks_provider.core.errors import RemoteTaskError
from remote_tasks_provider.qstash.hooks import QStashHook
from remote_tasks_provider.qstash.operators import (
    QStashListDlqOperator,
    QStashListLogsOperator,
    QStashMessageBranchOperator,
    QStashPublishBatchOperator,
    QStashPublishOperator,
    QStashRetryDlqOperator,
    QStashScheduleOperator,
    QStashWorkflowOperator,
    checks,
)
from remote_tasks_provider.qstash.sensors import QStashMessageSensor
from tests.conftest import QSTASH_TOKEN
from tests.manus.airflow_task import MODES, AirflowTask
from tests.qstash.account import HOOK, SECRETS, QStash

PUBLISH = {
    "destination": f"{HOOK}?key={SECRETS['query']}",
    "body": SECRETS["body"],
    "headers": {"Authorization": SECRETS["header"]},
    "callback": HOOK,
    "callback_options": {"headers": {"Authorization": SECRETS["header"]}},
    "failure_callback": HOOK,
    "failure_callback_options": {"headers": {"Cookie": SECRETS["header"]}},
    "extra_headers": {"Upstash-New-Secret": SECRETS["header"]},
}


@pytest.fixture(params=MODES)
def deferrable(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "deferred")


class Witness:
    """Runs a task, and keeps all that a reader could see of it."""

    def __init__(self, account: QStash, caplog: pytest.LogCaptureFixture, capsys: Any) -> None:
        self._account, self._caplog, self._capsys = account, caplog, capsys

    def all_of(self, make: Callable[[], Any], task: AirflowTask | None = None) -> str:
        """Run an attempt; return its result, error, XComs, deferrals, events and log as one text."""
        task = task or self._account.task()
        seen: list[Any] = []
        try:
            seen.append(task.attempt(make))
        except (AirflowFailException, RemoteTaskError) as error:
            seen += [repr(error), str(error), repr(error.__cause__)]
        for deferral in task.deferrals:
            seen.append([deferral.trigger.serialize(), deferral.kwargs])
        written = self._capsys.readouterr()
        text = "\n".join([json.dumps([seen, task.xcoms]), self._caplog.text, written.out, written.err])
        assert len(text) > 100
        return text


@pytest.fixture
def witness(
    account: QStash, caplog: pytest.LogCaptureFixture, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> Witness:
    # What is shown here would have been shown, had Airflow not hidden it.
    monkeypatch.setattr(checks, "mask_secret", lambda _secret: None)
    caplog.set_level(logging.DEBUG)
    for noisy in ("asyncio", "urllib3", "httpcore", "httpx", "hpack"):
        caplog.set_level(logging.INFO, noisy)
    # httpx logs each request at INFO, its URL included.
    caplog.set_level(logging.WARNING, "httpx")
    return Witness(account, caplog, capsys)


def assert_clean(text: str) -> None:
    for place, secret in SECRETS.items():
        assert secret not in text, place
    assert QSTASH_TOKEN not in text


class TestOutcomes:
    @pytest.mark.parametrize("raises", [True, False])
    def test_sensor_shows_no_secret(
        self, account: QStash, witness: Witness, deferrable: bool, raises: bool
    ) -> None:
        message_id = account.secret_failure()
        text = witness.all_of(
            lambda: QStashMessageSensor(
                task_id="ask", message_id=message_id, deferrable=deferrable, raise_on_failure=raises
            )
        )

        assert "no room" in text
        assert_clean(text)

    def test_branch_shows_no_secret(self, account: QStash, witness: Witness, deferrable: bool) -> None:
        message_id = account.secret_failure()
        assert_clean(
            witness.all_of(
                lambda: QStashMessageBranchOperator(
                    task_id="ask", message_id=message_id, deferrable=deferrable
                )
            )
        )

    def test_waiting_publish_shows_no_secret(
        self, account: QStash, witness: Witness, deferrable: bool
    ) -> None:
        account.secret_failure()
        text = witness.all_of(
            lambda: QStashPublishOperator(
                task_id="ask",
                wait_for_completion=True,
                deferrable=deferrable,
                delivery_retries=0,
                **PUBLISH,  # type: ignore[arg-type]
            )
        )

        assert "no room" in text
        assert_clean(text)

    def test_dlq_retry_shows_no_secret(self, account: QStash, witness: Witness, deferrable: bool) -> None:
        account.secret_failure()
        assert_clean(
            witness.all_of(
                lambda: QStashRetryDlqOperator(
                    task_id="ask", response_status=500, wait_for_completion=True, deferrable=deferrable
                )
            )
        )

    def test_failed_polls_show_no_secret(self, account: QStash, witness: Witness, deferrable: bool) -> None:
        message_id = account.secret_failure()
        account.faults.add("status", status=500, times=4)
        assert_clean(
            witness.all_of(
                lambda: QStashMessageSensor(task_id="ask", message_id=message_id, deferrable=deferrable)
            )
        )


class TestLists:
    @pytest.mark.parametrize("make", [QStashListLogsOperator, QStashListDlqOperator])
    def test_log_and_dlq_lists_show_no_secret(self, account: QStash, witness: Witness, make: Any) -> None:
        message_id = account.secret_failure()
        text = witness.all_of(lambda: make(task_id="ask"))

        assert message_id in text
        assert_clean(text)

    def test_hook_results_can_be_printed(self, account: QStash) -> None:
        message_id = account.secret_failure()
        hook = QStashHook()
        found = [
            *hook.iter_logs(),
            *hook.iter_dlq(),
            hook.get_outcomes([message_id]),
            hook.publish(**PUBLISH, deduplication_id="a"),  # type: ignore[arg-type]
            hook.order(**PUBLISH),  # type: ignore[arg-type]
        ]

        assert_clean("\n".join(f"{one!r} {one}" for one in found))


class TestErrors:
    """Errors name the operation and never what was sent with it."""

    @pytest.mark.parametrize(
        "fault",
        [
            {"kind": "drop_after"},
            {"kind": "hang"},
            {"kind": "status", "status": 500},
            {"kind": "status", "status": 400},
            {"kind": "garbage"},
            {"kind": "redirect"},
        ],
        ids=str,
    )
    @pytest.mark.parametrize("batch", [False, True])
    def test_failed_publish_shows_no_secret(
        self, account: QStash, witness: Witness, fault: dict[str, Any], batch: bool
    ) -> None:
        account.connect(read_timeout=0.2, max_attempts=2)
        account.faults.add(**fault)

        def make() -> Any:
            if batch:
                return QStashPublishBatchOperator(task_id="ask", messages=[PUBLISH])
            return QStashPublishOperator(task_id="ask", **PUBLISH)  # type: ignore[arg-type]

        text = witness.all_of(make)
        assert "QStash POST /v2/" in text
        assert_clean(text)

    def test_oversized_body_is_not_shown(self, account: QStash, witness: Witness) -> None:
        with pytest.raises(ValueError, match="body") as caught:
            account.task().attempt(
                lambda: QStashPublishOperator(task_id="ask", **(PUBLISH | {"body": SECRETS["body"] * 10**5}))  # type: ignore[arg-type]
            )
        assert_clean(str(caught.value))

    @pytest.mark.parametrize("path", ["/v2/logs", "/v2/dlq"])
    def test_unreadable_entries_are_not_shown(
        self, account: QStash, path: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Neither is the start of an answer shown, where others would help to find a proxy's page."""
        account.secret_failure()
        entry = {"body": SECRETS["body"], "header": {"Authorization": [SECRETS["header"]]}}
        body = json.dumps({"messages": [entry, entry], "events": [entry, entry]})
        account.faults.add("status", status=200, body=body, path=f"/qstash{path}")
        hook = QStashHook()
        with pytest.raises(RemoteTaskError) as caught:
            list(hook.iter_logs() if path == "/v2/logs" else hook.iter_dlq())

        assert "expected QStash's" in str(caught.value)
        assert_clean(str(caught.value))
        assert_clean(repr(caught.value.to_json()))

    def test_killed_wait_shows_no_secret(self, account: QStash, witness: Witness) -> None:
        operator = QStashPublishOperator(task_id="ask", wait_for_completion=True, **PUBLISH)  # type: ignore[arg-type]

        def killed(*_: Any, **__: Any) -> Any:
            raise SystemExit

        operator.wait_for_tasks = killed  # type: ignore[method-assign]
        task = account.task()
        with suppress(SystemExit):
            operator.execute(task.context)
        account.ended_as(task, "failed")
        account.faults.add("drop_before", method="DELETE")
        operator.on_kill()

        assert_clean(witness.all_of(lambda: QStashListLogsOperator(task_id="ask")))


def _publish(**options: Any) -> Any:
    given = {"destination": HOOK, "callback": HOOK, "failure_callback": HOOK}
    return QStashPublishOperator(task_id="ask", **(given | options))


def _batch(**options: Any) -> Any:
    element = {"destination": HOOK, "callback": HOOK, "failure_callback": HOOK} | options
    return QStashPublishBatchOperator(task_id="ask", messages=[element])


def _schedule(**options: Any) -> Any:
    given = {"callback": HOOK, "failure_callback": HOOK} | options
    return QStashScheduleOperator(
        task_id="ask", action="create", cron="0 4 * * *", destination=HOOK, options=given
    )


class TestRenderedFields:
    """Airflow shows template fields; a long one as a text, whose parts it does not know by their names."""

    @pytest.mark.parametrize(
        ("option", "name"),
        [
            *(
                (option, name)
                for option in ("headers", "callback_options", "failure_callback_options")
                for name in ("Authorization", "X-Api-Key", "Cookie", "X-Session")
            ),
            *(("extra_headers", name) for name in ("X-Api-Key", "Cookie", "Upstash-New-Token")),
        ],
    )
    @pytest.mark.parametrize("make", [_publish, _batch, _schedule])
    def test_secret_header_is_hidden_in_any_text(self, make: Any, option: str, name: str) -> None:
        secret = f"hush-{uuid.uuid4().hex}"
        headers = {name: f"Bearer {secret}", "X-Plain": "an ordinary value"}
        is_callback = option.endswith("callback_options")
        operator = make(**{option: {"headers": headers} if is_callback else headers})

        shown = redact("; ".join(repr(getattr(operator, field)) for field in operator.template_fields))

        assert secret not in str(shown)
        assert "an ordinary value" in str(shown)

    @pytest.mark.parametrize("option", ["headers", "extra_headers"])
    def test_secret_header_of_a_workflow_run_is_hidden_in_any_text(self, option: str) -> None:
        secret = f"hush-{uuid.uuid4().hex}"
        operator: Any = QStashWorkflowOperator(
            task_id="ask", workflow_url=HOOK, **{option: {"X-Api-Key": secret}}
        )

        assert secret not in str(redact(repr(getattr(operator, option))))

    def test_secret_of_a_template_is_hidden_once_it_is_rendered(self) -> None:
        secret = f"hush-{uuid.uuid4().hex}"
        operator = _publish(callback_options={"headers": {"X-Api-Key": "{{ params.key }}"}})

        operator.render_template_fields({"params": {"key": secret}})

        assert operator.callback_options == {"headers": {"X-Api-Key": secret}}
        assert secret not in str(redact(repr(operator.callback_options)))
