"""What was built, installed as a user installs it: an Airflow with the provider's wheel and nothing else."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dev.airflow.standalone import clean_environment, migrated_database
from dev.compat import NEWEST
from dev.environments import ROOT, constraints_file, uv
from dev.release.facts import DISTRIBUTIONS, CheckError, Release, run
from dev.terminal import say

#: The example DAGs that are run against the sandbox.
EXAMPLES = ("example_wait_and_branch", "example_publish_and_wait")
ENVIRONMENT = ROOT / ".venvs" / "release"
SANDBOX_ENVIRONMENT = ROOT / ".venvs" / "release-sandbox"


def install(release: Release) -> str:
    """The wheel installs into an Airflow that has nothing else, the sandbox into an empty environment."""
    provider, sandbox = (_wheel(release, name) for name in DISTRIBUTIONS.values())
    pins = ("--constraint", constraints_file(NEWEST))
    for environment, wanted in (
        (ENVIRONMENT, [f"apache-airflow=={NEWEST}", provider]),
        (SANDBOX_ENVIRONMENT, [sandbox]),
    ):
        uv("venv", "--quiet", "--clear", "--python", sys.executable, environment)
        uv("pip", "install", "--quiet", "--python", environment / "bin" / "python", *pins, *wanted)
        uv("pip", "check", "--quiet", "--python", environment / "bin" / "python")
    for record in ENVIRONMENT.rglob("airflow_provider_*.dist-info/direct_url.json"):
        record.unlink()  # it names a folder of this machine, and what lists the environment would repeat it
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for extra in project["optional-dependencies"]:
        # What it would bring, not more: the environment stays bare.
        python = ENVIRONMENT / "bin" / "python"
        uv("pip", "install", "--quiet", "--dry-run", "--python", python, *pins, f"{provider}[{extra}]")
        say(f"      the extra {extra} fits")
    found = run(
        ENVIRONMENT / "bin" / "python",
        "-c",
        "import remote_tasks_provider as p; print(p.__file__)",
        cwd=release.work,
    )
    if not Path(found.strip()).is_relative_to(ENVIRONMENT):
        raise CheckError(f"The provider was not imported from the wheel, but from {found.strip()}")
    return f"Airflow {NEWEST}, Python {sys.version_info.major}.{sys.version_info.minor}"


def ask_airflow(release: Release) -> str:
    """Airflow lists the provider, its version and its connection types."""
    name = DISTRIBUTIONS["."]
    listed = {row["package_name"]: row["version"] for row in _airflow(release, "providers", "list")}
    if listed.get(name) != release.version:
        raise CheckError(f"`airflow providers list` has {listed.get(name)} of {name}, not {release.version}")
    say(f"      airflow providers list: {name} {listed[name]}, among {len(listed)}")
    answer = _airflow(release, "providers", "get", name)
    if name not in json.dumps(answer) or release.version not in json.dumps(answer):
        raise CheckError(f"`airflow providers get {name}` says {answer}")
    say(f"      airflow providers get: {answer[0].get('Provider', name)} {release.version}")
    hooks = {
        row["connection_type"]
        for row in _airflow(release, "providers", "hooks")
        if row["package_name"] == name
    }
    if not hooks >= {"manus", "qstash"}:
        raise CheckError(f"`airflow providers hooks` has the connection types {hooks} of {name}")
    return "connection types " + ", ".join(sorted(hooks))


def parse_examples(release: Release) -> str:
    """The example DAGs are imported from the wheel without an error."""
    folder = _examples(release)
    program = (
        "import sys; from airflow.dag_processing.dagbag import DagBag;"
        "bag = DagBag(sys.argv[1]);"
        "[print(f'{path}: {text}', file=sys.stderr) for path, text in bag.import_errors.items()];"
        "print(len(bag.dags)); sys.exit(bool(bag.import_errors))"
    )
    answer = run(
        ENVIRONMENT / "bin" / "python",
        "-c",
        program,
        folder,
        cwd=release.work,
        env=_airflow_environment(release),
    )
    count = int(answer.strip().splitlines()[-1])
    if count != len(list(folder.glob("*.py"))):
        raise CheckError(f"{count} DAGs came of {len(list(folder.glob('*.py')))} files")
    return f"{count} DAGs"


def run_examples(release: Release) -> str:
    """Example DAGs run, from the wheel, against the sandbox, from its wheel."""
    pairs = [part for name in EXAMPLES for part in (str(_examples(release) / f"{name}.py"), "{}")]
    with _sandbox(release) as connections:
        program = ROOT / "tests" / "examples" / "run_dags.py"
        env = {
            **_airflow_environment(release),
            **connections,
            "AIRFLOW__REMOTE_TASKS__SHORTEST_DEFERRAL": "0",
        }
        answer = run(ENVIRONMENT / "bin" / "python", program, *pairs, cwd=release.work, env=env, timeout=300)
    for result in json.loads(answer.strip().splitlines()[-1]):
        say(f"      {result['dag_id']}: {result['state']}  {result['tasks']}")
        if result["state"] != "success":
            raise CheckError(f"{result['dag_id']} ended as {result['state']}\n{answer}")
    return f"{len(EXAMPLES)} runs"


def _wheel(release: Release, distribution: str) -> Path:
    (name,) = [
        name
        for name in release.files
        if name.startswith(distribution.replace("-", "_")) and name.endswith(".whl")
    ]
    return release.files[name]


def _airflow_environment(release: Release) -> dict[str, str]:
    """Return the variables of an Airflow with its home in the temporary folder, away from this checkout."""
    env = {name: value for name, value in clean_environment().items() if not name.startswith("PYTHON")}
    home = release.work / "airflow"
    if not home.exists():
        home.mkdir()
        shutil.copy(migrated_database(ENVIRONMENT / "bin" / "python"), home / "airflow.db")
    return {
        **env,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(release.work / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    }


def _airflow(release: Release, *command: str) -> list[dict[str, Any]]:
    airflow = (ENVIRONMENT / "bin" / "python", "-m", "airflow")
    answer = run(*airflow, *command, "--output", "json", cwd=release.work, env=_airflow_environment(release))
    found = json.loads(answer[answer.index("[") :])
    return [found] if isinstance(found, dict) else found


def _examples(release: Release) -> Path:
    """Return a folder with the example DAGs of the commit, which poll each second."""
    folder = release.work / "dags"
    if not folder.exists():
        folder.mkdir()
        for path in sorted((release.work / "build-1" / "deep" / "source" / "example_dags").glob("*.py")):
            (folder / path.name).write_text(path.read_text().replace("_interval=30", "_interval=1"))
    return folder


@contextmanager
def _sandbox(release: Release) -> Iterator[dict[str, str]]:
    """Start the installed sandbox; yield the variables of its connections, which it prints itself."""
    program = SANDBOX_ENVIRONMENT / "bin" / "remote-tasks-sandbox"
    command = [program, "--port", "0", "--seed-demo", "--seed-seconds", "2"]
    env = {**clean_environment(), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, cwd=release.work, env=env, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            connections: dict[str, str] = {}
            for line in process.stdout:
                if match := re.fullmatch(r"export (AIRFLOW_CONN_\w+)='(.*)'", line.strip()):
                    connections[match[1]] = match[2]
                elif connections:
                    break
                if len(connections) == 2:
                    break
            yield connections
        finally:
            process.terminate()
