"""`make demo`: wait for two remote tasks in a real Airflow, one of which fails, and branch on each.

The remote side is the sandbox, so the demo needs no key and costs nothing.
"""

from pathlib import Path

#: The folder of the demo's DAG file, which the playground serves too.
DAGS = Path(__file__).parent / "dags"
