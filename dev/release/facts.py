"""What the steps of `make release-check` share: what is known of the commit, and how a command is run."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dev.environments import ROOT

#: Folder of a distribution's sources → its name.
DISTRIBUTIONS = {".": "airflow-provider-remote-tasks", "sandbox": "remote-tasks-sandbox"}


class CheckError(RuntimeError):
    """This commit can't be released; the message says why, and what to do."""


@dataclass
class Release:
    """What the steps find out, in their order.

    :param work: a temporary folder for everything that is built or run.
    :param tag: the tag that starts the release, if there is one already.
    :param draft: whether a commit that can't be tagged yet is checked all the same.
    """

    work: Path
    tag: str | None
    draft: bool
    version: str = ""
    notes: str = ""
    epoch: str = ""
    files: dict[str, Path] = field(default_factory=dict)


def run(*command: str | Path, cwd: Path = ROOT, env: dict[str, str] | None = None, **options: Any) -> str:
    """Run a command and return what it printed; raises `CheckError` with its output if it fails."""
    answer = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False, **options)
    if answer.returncode:
        name = " ".join(map(str, command))
        raise CheckError(f"{name} failed with {answer.returncode}\n{answer.stdout}{answer.stderr}")
    return answer.stdout
