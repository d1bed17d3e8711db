"""Runs DAGs one after the other with `dag.test()`: `dags.py compat_dag branches_dag`.

One process for several, because most of its time goes into loading Airflow. Prints, as one line of JSON, the
state and the number of the attempt of each task instance: `{"compat": {"wait": ["success", 1]}}`.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from typing import Any


def ran(dag: Any) -> dict[str, tuple[str, int]]:
    """Run a DAG; return what became of each task instance, a mapped one with its index: `wait[0]`."""
    return {
        one.task_id + (f"[{one.map_index}]" if one.map_index >= 0 else ""): (one.state, one.try_number)
        for one in dag.test().get_task_instances()
    }


if __name__ == "__main__":
    dags = [import_module(name).dag for name in sys.argv[1:]]
    print(json.dumps({dag.dag_id: ran(dag) for dag in dags}))
