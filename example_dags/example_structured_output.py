"""Get a value of a known shape from the agent, and pass it to the next task.

The operator checks the schema before you pay for anything. If the agent cannot make such a value, the task
fails with the reason, and no empty value is passed on.

**Look at:** the field ``structured`` of the XCom ``return_value`` of ``capital``; the XCom of ``use``.

Needs: the connection ``manus_default``.
"""

from __future__ import annotations

from typing import Any

# On Airflow 3 alone: from airflow.sdk import DAG, Param, task
from airflow.providers.common.compat.sdk import DAG, Param, task

with DAG(
    dag_id="example_structured_output",
    doc_md=__doc__,
    schedule=None,
    catchup=False,
    tags=["example", "manus"],
    params={"country": Param("France", type="string")},
) as dag:
    # [START structured]
    @task.manus(
        deferrable=True,
        poll_interval=30,
        retries=2,
        structured_output_schema={
            "type": "object",
            "properties": {
                "capital": {"type": "string"},
                "inhabitants": {"type": ["integer", "null"], "description": "of the city itself"},
            },
            "required": ["capital", "inhabitants"],
            "additionalProperties": False,
        },
    )
    def capital(params: dict[str, Any]) -> str:
        return f"What is the capital of {params['country']}, and how many people live there?"

    @task
    def use(answer: dict[str, Any]) -> str:
        found = answer["structured"]
        return f"{found['capital']}: {found['inhabitants'] or 'an unknown number of'} inhabitants"

    # [END structured]

    use(capital())
