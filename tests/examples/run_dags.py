"""Runs DAG files one after the other with ``dag.test()`` and prints what came of them as one JSON object.

A program of its own, because a DAG run wants an Airflow home and database of its own. Arguments: pairs of a
DAG file and a JSON object, the run's params.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from typing import Any

from airflow.providers.common.compat.sdk import DAG

from remote_tasks_provider.manus import hooks

# Nothing is late here.
hooks._OUTPUT_SETTLES_AFTER = 0.0


def run(path: str, params: dict[str, Any]) -> dict[str, Any]:
    """Run the DAG in the file ``path``; return its state and each task instance's state."""
    spec = importlib.util.spec_from_file_location("example", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    dag: DAG = module.dag
    dag_run = dag.test(run_conf=params)
    tasks: dict[str, list[str]] = {}
    for instance in dag_run.get_task_instances():
        tasks.setdefault(instance.task_id, []).append(str(instance.state))
    return {"dag_id": dag.dag_id, "state": str(dag_run.state), "tasks": tasks}


if __name__ == "__main__":
    files, confs = sys.argv[1::2], sys.argv[2::2]
    found = [run(path, json.loads(conf)) for path, conf in zip(files, confs, strict=True)]
    sys.stdout.write(f"\n{json.dumps(found)}\n")
