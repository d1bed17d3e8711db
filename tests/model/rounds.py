"""Rounds of histories, each with a seed of its own, played in processes of their own."""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
from dataclasses import dataclass

__all__ = ["Round", "play", "set_up"]

_STEPS_IN_A_HISTORY = 40
_HISTORIES_IN_A_ROUND = 100


@dataclass(frozen=True)
class Round:
    """What came of a round.

    :param text: the history that broke a promise.
    """

    seed: int
    histories: int
    steps: int
    text: str = ""

    @property
    def promise(self) -> str:
        """Which promise was broken."""
        return self.text.split("*** PROMISE ")[1].split()[0]

    @property
    def kind(self) -> str:
        """Which promise was broken, and with which service."""
        service = self.text.split("service='")[1].split("'")[0]
        return f"promise {self.promise} on {service}"


def play(seed: int, ignore: list[str], only: str | None = None) -> Round:
    """Play a round; with a number of a promise, only for that one, and shorten the history."""
    # Here, because importing Airflow takes seconds.
    from hypothesis import seed as seeded
    from hypothesis.stateful import run_state_machine_as_test

    from tests.model.machine import BrokenPromise, SubmissionMachine, quiet
    from tests.model.world import PROMISES

    if only is not None:
        ignore = [number for number in PROMISES if number != only]
    machine = type("Machine", (SubmissionMachine,), {"ignored": ignore})
    steps, histories, text = SubmissionMachine.steps, SubmissionMachine.histories, ""
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            run_state_machine_as_test(
                seeded(seed)(machine),
                settings=quiet(_HISTORIES_IN_A_ROUND, _STEPS_IN_A_HISTORY, shorten=only is not None),
            )
    except BrokenPromise as error:
        text = str(error)
    return Round(seed, SubmissionMachine.histories - histories, SubmissionMachine.steps - steps, text)


def set_up() -> None:
    """Give Airflow a home of this process, and let nobody log: it is half of the time."""
    import logging

    os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="remote-tasks-airflow-home-")
    os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
    logging.disable(logging.CRITICAL)
