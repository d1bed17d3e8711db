"""What holds for the parameters of every operator and sensor: each is checked before anything is sent.

A class has a table of checks, one for each of its parameters. A value is checked when it is set: by the
caller, so that a literal value that cannot be right fails the DAG's parsing, and by the rendering of a
template. All are checked once more when the task is executed, before its first request. Airflow does not
retry a task for a value that cannot be right.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from functools import cache, partial
from typing import Any, ClassVar

from airflow.providers.common.compat.sdk import SET_DURING_EXECUTION, BaseOperator, ObjectStoragePath, conf

from remote_tasks_provider.bases.exceptions import ArgumentFailure
from remote_tasks_provider.bases.hooks import RemoteTaskHook
from remote_tasks_provider.bases.lineage import TellsLineage
from remote_tasks_provider.core import validation
from remote_tasks_provider.core.validation import Check

__all__ = ["CheckedOperator", "branches", "failing_for_good", "ids", "is_template", "wait_timeout"]

_PROVIDER = __name__.partition(".")[0]


def wait_timeout(timeout: Any, name: str = "timeout") -> float:
    """Return an operator's ``timeout`` in seconds; Airflow's ``[sensors] default_timeout`` for ``None``."""
    return validation.seconds(
        conf.getfloat("sensors", "default_timeout") if timeout is None else timeout, name
    )


@contextmanager
def failing_for_good() -> Iterator[None]:
    """Make of the ``ValueError`` of a check one that Airflow does not retry."""
    try:
        yield
    except ArgumentFailure:
        raise
    except ValueError as error:
        raise ArgumentFailure(str(error)) from error


class CheckedOperator(BaseOperator, TellsLineage):
    """An operator whose parameters are checked, and can be read as often as needed.

    A list of ids is read for the wait and again for its result. So what can be read only once becomes a list
    when it is set.
    """

    checks: ClassVar[Mapping[str, Check]] = {
        "cancel_on_kill": validation.flag,
        "deferrable": validation.flag,
        "not_found_grace": partial(validation.seconds, zero=True),
        "outage_tolerance": validation.seconds,
        "poll_interval": validation.seconds,
        "raise_on_failure": validation.flag,
        "timeout": wait_timeout,
        "wait_for_completion": validation.flag,
        "waiting_timeout": validation.optional(validation.seconds),
    }
    """What each parameter must be; a check returns the value as it is stored. Those that many operators have
    are here. A subclass has a table of those that it adds."""

    hook_class: ClassVar[type[RemoteTaskHook]]
    """The service's hook. Each service has one class that sets it, and has the parameter for the connection,
    named as the hook names it."""

    awaited_check: ClassVar[Check | None] = None
    """What the parameter must be that says what to wait for, where there is one; a service names it."""

    _checks: ClassVar[Mapping[str, Check]] = {}

    def __new__(cls, *_args: Any, **kwargs: Any) -> Any:
        """Refuse a parameter that the class does not have; before its constructor misses another one.

        :raises TypeError: with the parameter that may be meant.
        """
        _refuse_unknown(cls, kwargs)
        return super().__new__(cls)

    @classmethod
    def partial(cls, **kwargs: Any) -> Any:  # Airflow's knows what is mapped, but not what was meant
        """Map the operator, as Airflow's ``partial`` does.

        :raises TypeError: for a parameter that the class does not have, with the one that may be meant.
        """
        _refuse_unknown(cls, kwargs)
        return super().partial(**kwargs)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        merged: dict[str, Check] = {}
        for base in reversed(cls.__mro__):
            merged |= vars(base).get("checks", {})
        hook_class = getattr(cls, "hook_class", None)
        if hook_class is not None:
            merged[hook_class.conn_name_attr] = validation.text
        task_type = getattr(cls, "remote_task_type", None)
        if task_type is not None and cls.awaited_check is not None:
            merged[task_type.id_param] = cls.awaited_check
        cls._checks = merged

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute; one that is a parameter is checked unless it is still to be rendered.

        :raises ArgumentFailure: naming the parameter and what it must be.
        """
        found = validation.rereadable(value)
        check = self._checks.get(name)
        if check is not None and not self._is_open(name, found):
            if name not in (*self.template_fields, getattr(self, "filled", None)) and _has_template_text(
                found
            ):
                raise ArgumentFailure(
                    f"{name} is {found!r}, but {name} is not templated: give the value itself"
                )
            with failing_for_good():
                found = check(found, name)
        super().__setattr__(name, found)

    def _is_open(self, name: str, value: Any) -> bool:
        return value is SET_DURING_EXECUTION or (name in self.template_fields and is_template(value))

    def check_arguments(self) -> None:
        """Check every parameter, templates rendered; called before a task sends its first request.

        :raises ArgumentFailure: naming the parameter and what it must be.
        """
        with failing_for_good():
            for name, check in self._checks.items():
                if hasattr(self, name):
                    super().__setattr__(name, check(getattr(self, name), name))
            self.check_together()

    def check_together(self) -> None:
        """Check that the parameters fit together.

        Called when the task is executed, and at the end of the constructor of a class that has such rules.

        :raises ArgumentFailure: naming the parameters.
        """
        with failing_for_good():
            self.refuse_together()

    def refuse_together(self) -> None:
        """Raise ``ValueError`` for parameters that do not fit together; a value may still be a template."""


# What other classes, other providers or earlier versions call it. The closest name needs no table.
_OTHER_WORDS = {
    "max_poll_failures": ("outage_tolerance",),
    "mode": ("deferrable",),
    "output_path": ("result_path",),
    "result_path": ("output_path",),
    "task_ids": ("remote_task_id", "message_id", "workflow_run_id"),
    "remote_task_id": ("message_id", "workflow_run_id"),
}


def _refuse_unknown(operator: type[BaseOperator], given: Iterable[str]) -> None:
    """Refuse a parameter that the class does not have, such as a sensor's word given to an operator.

    A class of a user's own, with a constructor of its own, may take what it likes.

    :raises TypeError: with the parameter that may be meant.
    """
    first = next(base for base in operator.__mro__ if "__init__" in vars(base))
    if not first.__module__.startswith(_PROVIDER):
        return
    own, known = _parameters(operator)
    for name in given:
        if name not in known and not name.startswith("_"):
            meant = [one for one in _OTHER_WORDS.get(name, ()) if one in own]
            meant += get_close_matches(name, own, n=1) + get_close_matches(name, known, n=1)
            hint = f" Did you mean {meant[0]}?" if meant else ""
            called = getattr(operator, "custom_operator_name", operator.__name__)
            raise TypeError(f"{called} has no parameter {name}.{hint}")


@cache
def _parameters(operator: type[BaseOperator]) -> tuple[frozenset[str], frozenset[str]]:
    """Return the parameters that this provider gives a class, and those with all of Airflow's."""
    own, known = set(), set()
    for base in operator.__mro__:
        if "__init__" in vars(base):
            names = set(inspect.signature(base.__init__).parameters)  # type: ignore[misc]
            known |= names
            own |= names if base.__module__.startswith(_PROVIDER) else set()
    # A class that calls it otherwise fills it in itself.
    id_param = getattr(getattr(operator, "remote_task_type", None), "id_param", "remote_task_id")
    filled = {"remote_task_id"} - {id_param}
    filled -= set(inspect.signature(operator.__init__).parameters)
    return frozenset(own - filled), frozenset(known - filled)


ids = validation.as_given(validation.object_ids)
"""Checks one id, or several: whether it is a list says what the task returns."""


def branches(value: Any, name: str) -> Any:
    """Check what names tasks or task groups: one, several, or none."""
    several = [value] if isinstance(value, str) or not isinstance(value, Iterable) else value
    for one in () if value is None else several:
        validation.text(one, name)
    return value


def _has_template_text(value: Any) -> bool:
    """Whether ``value`` is a template in words, or a list of them."""
    words = [value] if isinstance(value, str) else value if isinstance(value, (list, tuple)) else []
    return any(isinstance(one, str) and is_template(one) for one in words)


def is_template(value: Any) -> bool:
    """Return whether Airflow makes another value of this one before it executes the task."""
    if isinstance(value, (str, ObjectStoragePath)):
        return any(mark in str(value) for mark in ("{{", "{%", "{#"))
    if isinstance(value, Mapping):
        return any(is_template(one) for one in value.values())
    if isinstance(value, (list, tuple, set)):
        return any(is_template(one) for one in value)
    if isinstance(value, (os.PathLike, type)):
        return False
    return callable(value) or any(hasattr(value, name) for name in ("resolve", "template_fields"))
