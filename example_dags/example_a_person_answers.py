"""A person answers the agent's question in Airflow, and the agent continues.

When the agent asks, the question appears under *Required Actions* in Airflow's UI, with the agent's text and
options. While it is open, the wait uses no worker and, on Airflow 3.3, no triggerer. The operator sends the
answer to the agent and waits on. The agent may ask again.

**Look at:** the badge *Required Action* of the run, half a minute after you press *Trigger*. Choose an option
or write an answer; another half minute later, the log of ``show`` has the agent's plan.

Needs: Airflow 3.1.3 or newer; the connection ``manus_default``.
"""

from __future__ import annotations

from typing import Any

# On Airflow 3 alone: from airflow.sdk import DAG, Param, task
from airflow.providers.common.compat.sdk import DAG, Param, task

from remote_tasks_provider.manus.operators import ManusTaskOperator

with DAG(
    dag_id="example_a_person_answers",
    doc_md=__doc__,
    schedule=None,
    catchup=False,
    tags=["example", "manus"],
    params={"wish": Param("Plan a day trip from Bern.", type="string", format="multiline")},
) as dag:
    # [START a_person_answers]
    plan = ManusTaskOperator(
        task_id="plan",
        prompt="{{ params.wish }}\n\nAsk me what you need to know before you begin.",
        interactive_mode=True,
        on_waiting="human",
        response_timeout=24 * 60 * 60,
        # Confirmed without asking: this type of action, with this input, and no other.
        auto_confirm={"apiHighCreditNotice": {"action": "accept"}},
        deferrable=True,
        poll_interval=30,
        retries=2,
    )
    # [END a_person_answers]

    @task
    def show(result: dict[str, Any]) -> None:
        print(result["text"])

    show(plan.output)
