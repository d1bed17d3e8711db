"""Rounds of histories, each with a seed of its own, played in processes of their own."""

from __future__ import annotations

import contextlib
import gc
import io
import logging
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Round", "play", "set_up"]

_STEPS_IN_A_HISTORY = 40
_HISTORIES_IN_A_ROUND = 50


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
        """Which promise was broken, with which service and Airflow."""
        service, version = (self.text.split(f"{name}='")[1].split("'")[0] for name in ("service", "version"))
        return f"promise {self.promise}, {service}, Airflow {version}"


def play(seed: int, limits: Mapping[str, Any], only: str | None = None) -> Round:
    """Play a round.

    :param limits: members of the machine.
    :param only: check only this promise, and shorten the history that breaks it.
    """
    # Here, because importing Airflow takes seconds.
    from hypothesis import seed as seeded
    from hypothesis.stateful import run_state_machine_as_test

    from tests.model.machine import BrokenPromise, SubmissionMachine, quiet
    from tests.model.world import PROMISES

    if only is not None:
        limits = {**limits, "ignored": [number for number in PROMISES if number != only]}
    machine: Any = type("Machine", (SubmissionMachine,), dict(limits))
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
    """Prepare a process: a home for its Airflow if it has none, no log, no search for garbage that stays."""
    if "AIRFLOW_HOME" not in os.environ:
        os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="remote-tasks-airflow-home-")
    os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
    import structlog

    import tests.model.machine  # noqa: F401 - all that histories need

    logging.disable(logging.CRITICAL)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    gc.freeze()
    gc.set_threshold(100_000, 20, 100)
