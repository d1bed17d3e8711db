"""One task for each row of the kill matrix; ``dev/kills`` acts on them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.providers.common.compat.sdk import DAG

from dev.kills.triggers import CrashingTrigger
from remote_tasks_provider.manus.operators import ManusTaskOperator

#: Seconds. Long enough for a slow machine to submit the task or, in a retry, to find it.
SHORT = 15


class WithoutTriggerer(ManusTaskOperator):
    """Airflow times its deferral out before the trigger does, as it would where no triggerer runs."""

    def defer(self, **how: Any) -> Any:
        super().defer(**{**how, "timeout": timedelta(seconds=SHORT)})


class Crashing(ManusTaskOperator):
    """Its trigger crashes in the first attempt."""

    def execute(self, context: Any) -> Any:
        self._attempt = context["ti"].try_number
        return super().execute(context)

    def defer(self, *, trigger: Any, **how: Any) -> Any:
        if self._attempt == 1:
            _, arguments = trigger.serialize()
            trigger = CrashingTrigger(**arguments)
        super().defer(trigger=trigger, **how)


def ask(task_id: str, kind: type[ManusTaskOperator] = ManusTaskOperator, **more: Any) -> ManusTaskOperator:
    return kind(task_id=task_id, prompt="Take your time.", **more)


def ask_each(task_id: str) -> None:
    ManusTaskOperator.partial(task_id=task_id).expand(prompt=["Take your time.", "Take yours."])


every = {
    "poll_interval": 1,
    "retries": 1,
    "retry_delay": timedelta(seconds=1),
}
attempt = timedelta(seconds=25)

with DAG("kills", schedule=None, catchup=False, default_args=every):
    ask("killed")
    ask("killed_submitting", manus_conn_id="manus_lossy")
    ask("failed_submitting", manus_conn_id="manus_slow")
    ask("shut_down")
    ask("cleared")
    ask("failed")
    ask("succeeded")
    ask("kept", cancel_on_kill=False)
    ask("timeout", timeout=SHORT)
    ask("timeout_kept", timeout=SHORT, cancel_on_timeout=False)
    ask("attempt_timeout", execution_timeout=attempt)
    ask("last_attempt_timeout", execution_timeout=attempt, retries=0)
    ask_each("mapped")

with DAG("kills_deferred", schedule=None, catchup=False, default_args={**every, "deferrable": True}):
    ask("deferred_failed")
    ask("deferred_succeeded")
    ask("deferred_kept", cancel_on_kill=False)
    ask("deferred_refused")
    ask("deferred_refused_cleared")
    ask("deferred_cleared")
    ask("deferred_timeout", timeout=SHORT)
    ask("deferred_attempt_timeout", execution_timeout=attempt)
    ask("deferred_last_attempt_timeout", execution_timeout=attempt, retries=0)
    ask("no_triggerer", WithoutTriggerer)
    ask("crashed", Crashing)
    ask("crashed_for_good", Crashing, retries=0)
    ask("triggerer_shut_down")
    ask("triggerer_killed")
    ask_each("deferred_mapped")

for name in ("run_failed", "run_succeeded", "deferred_run_failed", "deferred_run_succeeded"):
    with DAG(f"kills_{name}", schedule=None, catchup=False, default_args=every):
        ask(name, deferrable=name.startswith("deferred"))
