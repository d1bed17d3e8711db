"""A sandboxed QStash account, the connection to it, and the Airflow tasks that use it."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from remote_tasks_provider.qstash import dlq, submission
from remote_tasks_provider.qstash.api import options
from remote_tasks_sandbox import Sandbox
from tests.conftest import QSTASH_TOKEN
from tests.manus.airflow_task import Account, AirflowTask

__all__ = ["HOOK", "SECRETS", "QStash"]

HOOK = "https://example.com/hook"

SECRETS = {
    "header": "hush-forwarded-header",
    "body": "hush-sent-body",
    "query": "hush-query",
    "response_header": "hush-response-header",
    "response_token": "hushResponseToken0123456789",
}
"""What must never be seen, by where it is planted."""


class QStash(Account):
    """The account behind the connection ``qstash_default``; everybody lives by the sandbox's clock."""

    def __init__(
        self, sandbox: Sandbox, url: str, define: Callable[..., str], patch: pytest.MonkeyPatch
    ) -> None:
        super().__init__(sandbox, url, define, patch)
        self.qstash = sandbox.qstash
        patch.setattr(options, "time", SimpleNamespace(time=sandbox.clock.now))
        fake = SimpleNamespace(
            **{"time": sandbox.clock.now, "monotonic": sandbox.clock.now, "sleep": sandbox.clock.advance},
            **{"gmtime": time.gmtime, "strftime": time.strftime},
        )
        for module in (dlq, submission):
            patch.setattr(module, "time", fake)

    def connect(self, _version: str = "", *, password: str = QSTASH_TOKEN, **extra: Any) -> None:
        """Let the connection ``qstash_default`` lead here."""
        extra = {"max_attempts": 3, "connect_timeout": 2, "read_timeout": 2, **extra}
        self._define("qstash_default", conn_type="qstash", host=self._url, password=password, extra=extra)

    def requests(self, method: str, path: str) -> list[Any]:
        """Return the requests of a method to paths that begin so, oldest first."""
        found = [one for one in self.sandbox.requests if one.method == method]
        return [one for one in found if one.path.startswith(f"/qstash{path}")]

    def states_of(self, message_ids: list[str]) -> list[str]:
        """Return the newest state of messages, as the account knows it."""
        return [self._message(one).states[-1] for one in message_ids]

    def _message(self, message_id: str) -> Any:
        found = self.qstash.get_message(message_id)
        assert found is not None
        return found

    @property
    def sent(self) -> list[str]:
        """The ids of all messages there are, callbacks included, oldest first."""
        return [message.id for message in self.qstash.messages]

    def fail(self, url: str = HOOK, status: int = 500, **facts: Any) -> None:
        """Let all attempts at a destination fail."""
        self.qstash.plan_delivery(url, [{"status": status, **facts}])

    def secret_failure(self) -> str:
        """Return a failed message whose every part holds a secret."""
        self.fail(
            f"{HOOK}*",
            body=f'{{"error": "no room", "token": "{SECRETS["response_token"]}"}}',
            headers={"X-Key": SECRETS["response_header"]},
        )
        (message_id,) = self.qstash.publish(
            f"{HOOK}?key={SECRETS['query']}",
            SECRETS["body"],
            {"Upstash-Forward-Authorization": SECRETS["header"], "Upstash-Retries": "0"},
        )
        self.clock.advance(60)
        return message_id

    @property
    def clock(self) -> Any:
        return self.sandbox.clock

    def ended_as(self, task: AirflowTask, state: str) -> None:
        """Let Airflow know the state of a task instance."""
        self.states(**{task.task_id: state})
