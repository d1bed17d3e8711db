"""Cancelling all that match, with as many requests as that takes."""

from __future__ import annotations

import logging
from typing import Any

from remote_tasks_provider.core.http.client import Client
from remote_tasks_provider.core.http.operation import Operation

__all__ = ["cancel_all"]

log = logging.getLogger(__name__)

# A bound on requests that each cancel some, until one finds none.
_MOST_CANCELLATIONS = 1000


def cancel_all(client: Client, operation: Operation[Any], noun: str, most: float = float("inf")) -> int:
    """Cancel until one request cancels nothing; return how many, as far as QStash's answers tell.

    Where an answer was lost, the log says that there may be more.

    :param operation: cancels some of them, and returns how many.
    :param noun: names them in the log.
    :param most: how many there can be.
    """
    cancelled, taken = 0, client.taken
    # How many one request cancels is not documented for sure. It may count again what is being cancelled.
    for _ in range(_MOST_CANCELLATIONS):
        found = client.send(operation) or 0
        taken += 1
        cancelled += found
        if not found or cancelled >= most:
            break
    else:
        log.warning("Gave up after %d requests: some %s may be left.", _MOST_CANCELLATIONS, noun)
    if client.taken > taken:
        log.warning("An answer was lost: at least %d %s were cancelled.", cancelled, noun)
    return cancelled
