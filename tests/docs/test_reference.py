"""The generated reference: its examples run. ``make check`` holds that it is up to date."""

from __future__ import annotations

import importlib
import re

import pytest
from airflow.providers.common.compat.sdk import DAG, task

from remote_tasks_sandbox import Sandbox
from remote_tasks_sandbox.demo import seed_demo
from tests.docs import pages

BLOCKS = pages.blocks("python", among=pages.reference_pages())
EXAMPLES = [
    block for block in BLOCKS if not re.search(r"^\)? ?.*\) -> .+\Z", block.text.strip(), re.MULTILINE)
]
IMPORT = re.compile(r"^`from ([\w.]+) import (\w+)`$", re.MULTILINE)


@pytest.mark.parametrize("block", EXAMPLES, ids=str)
def test_reference_example_runs(
    block: pages.Block, sandbox: Sandbox, manus_conn: str, qstash_conn: str, a2a_conn: str
) -> None:
    seed_demo(sandbox, seconds=0)
    names = {
        name: getattr(importlib.import_module(module), name)
        for page in pages.reference_pages()
        for module, name in IMPORT.findall(page.read_text(encoding="utf-8"))
    }
    with DAG("reference", schedule=None):
        exec(compile(block.text, str(block), "exec"), {"task": task, **names})
