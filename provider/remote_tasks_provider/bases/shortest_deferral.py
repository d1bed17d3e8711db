"""For how long a deferral lasts at least.

A deferred task has two processes, one before the wait and one after it. Airflow's scheduler learns of the
end of a process from its executor, and tells by the state of the task which of the two it was. If the second
is queued before the scheduler has heard of the end of the first, it fails the task: "finished with state
success, but the task instance's state attribute is queued". On a loaded machine that takes seconds, so a wait
must not be over sooner.
"""

from __future__ import annotations

import logging

from airflow.configuration import conf

from remote_tasks_provider.core import validation

__all__ = ["shortest_deferral"]

log = logging.getLogger(__name__)

_DEFAULT = 10.0
# Less than the grace that a deferral has before Airflow itself times it out.
_MOST = 120.0


def shortest_deferral() -> float:
    """Return ``[remote_tasks] shortest_deferral``, seconds."""
    given = conf.get("remote_tasks", "shortest_deferral", fallback=None)
    try:
        return min(validation.seconds(_DEFAULT if given in (None, "") else given, "it", zero=True), _MOST)
    except ValueError as error:
        log.warning("[remote_tasks] shortest_deferral is not used, %g s is: %s", _DEFAULT, error)
        return _DEFAULT
