"""Every error of a remote task, sorted by what you do about it.

``retry_helps`` of a class says whether the same call can succeed later; Airflow retries a task only if it
can. Errors can be pickled and become JSON (:meth:`RemoteTaskError.to_json`), so that a trigger hands one to a
worker. They never hold a key, a response object or a whole body. ``docs/reference/errors.md`` shows the tree.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, ClassVar

__all__ = [
    "ApiError",
    "AuthenticationError",
    "BudgetExceededError",
    "ConnectionConfigError",
    "ConnectionUnavailableError",
    "InvalidArgumentError",
    "InvalidRequestError",
    "InvalidResponseError",
    "LinkExpiredError",
    "NotFoundError",
    "OrphanedActionError",
    "OrphanedStartError",
    "OutputMissingError",
    "PaginationError",
    "PermissionDeniedError",
    "RateLimitedError",
    "RedirectError",
    "RemoteTaskError",
    "ServerError",
    "StaleStartError",
    "TaskCancelledError",
    "TaskFailedError",
    "TaskNeedsInputError",
    "TransferError",
    "TransferIncompleteError",
    "TransportError",
    "WaitTimeoutError",
    "error_from_json",
]


class RemoteTaskError(Exception):
    """Base of all errors. Raised itself if a trigger's event can't be read, for example after an upgrade.

    Clear the Airflow task: it waits again.

    :param message: a whole sentence: what happened and what to do.
    """

    retry_helps: ClassVar[bool] = False
    """Whether asking again, unchanged, can succeed."""
    concerns_service: bool = False
    """Whether every other call to the service would fail in the same way now."""
    _fact_names: ClassVar[tuple[str, ...]] = ("message",)
    """The arguments that rebuild the error; plain JSON values."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def to_json(self) -> dict[str, Any]:
        """Return the error as JSON; :func:`error_from_json` reads it."""
        return {"type": type(self).__name__, **self._facts()}

    def _facts(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self._fact_names}

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self._facts())


class InvalidArgumentError(RemoteTaskError, ValueError):
    """A parameter cannot be right, so nothing was sent. Also a ``ValueError``.

    The message names the parameter, shows what it got and says what would be right. Correct it, or what it is
    rendered from.
    """


class ConnectionConfigError(RemoteTaskError, ValueError):
    """The Airflow connection can't be used, or its API version can't do this. Also a ``ValueError``.

    Or the machine's proxy or certificates can't be used. The message names the field or the environment
    variable, and the fix; see ``docs/how-to/connections.md``.
    """

    concerns_service = True


class ConnectionUnavailableError(RemoteTaskError):
    """The Airflow connection can't be read now: the secrets backend or the API server does not answer.

    Wait, or check them; the message has their error.
    """

    retry_helps = True
    concerns_service = True


class TransportError(RemoteTaskError):
    """No response: the host is unknown, refused or dropped the connection, or was silent for too long.

    Or the response was not whole in time. Check the network, the host, the proxy, ``read_timeout`` and
    ``total_timeout``. ``sent`` is ``False`` if the request never left.

    :param sent: ``False`` when the request provably never left, ``None`` when that is unknown.
    """

    retry_helps = True
    _fact_names = ("message", "sent")

    def __init__(self, message: str, *, sent: bool | None = None) -> None:
        super().__init__(message)
        self.sent = sent
        # A request that was lost later may have failed for a reason of its own.
        self.concerns_service = sent is False


class ApiError(RemoteTaskError):
    """Base of all responses with an error status.

    :param message: the service's own text, cut and redacted.
    :param status_code: the HTTP status.
    :param code: the service's error code, if it has one.
    :param request_id: the service's id of the call, to quote to its support.
    :param retry_after: seconds that the service asks to wait, if it does.
    :param endpoint: the operation, such as ``Manus GET /v1/tasks``.
    :param hint: what you can do.
    """

    _fact_names = ("message", "status_code", "code", "request_id", "retry_after", "endpoint", "hint")

    def __init__(
        self,
        message: str,
        *,
        status_code: int,
        code: str | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
        endpoint: str = "",
        hint: str = "",
    ) -> None:
        super().__init__(message)
        self.status_code = status_code
        self.code = code
        self.request_id = request_id
        self.retry_after = retry_after
        self.endpoint = endpoint
        self.hint = hint

    def __str__(self) -> str:
        # A number is gRPC's word for what the HTTP status says already.
        code = f" {self.code}" if self.code and not self.code.isdigit() else ""
        where = f"{self.endpoint}: " if self.endpoint else ""
        request = f" (request {self.request_id})" if self.request_id else ""
        hint = f" {self.hint}" if self.hint else ""
        return f"{where}HTTP {self.status_code}{code}: {self.message or 'no message'}{request}.{hint}"


class AuthenticationError(ApiError):
    """401, or a QStash token of another region. Check the connection's password and host."""

    concerns_service = True


class PermissionDeniedError(ApiError):
    """403: the key is known but may not do this. Use another key."""


class NotFoundError(ApiError):
    """404: no such task, or one so new that it is not visible yet. Check the id and the account.

    Waits tolerate a 404 for ``not_found_grace``; operators that read once let ``retries`` apply.
    """


class InvalidRequestError(ApiError):
    """Any other 4xx: the service refused the request. The message has the service's reason."""


class RateLimitedError(ApiError):
    """429: too many calls; ``retry_after`` has the seconds to wait, if the service gave them.

    Poll less often, or deferred: deferred waits share one poller, see ``docs/concepts/shared-poller.md``.
    """

    retry_helps = True
    concerns_service = True


class ServerError(ApiError):
    """408, 425 or 5xx: the service can't respond now. Wait."""

    retry_helps = True


class InvalidResponseError(RemoteTaskError):
    """A response that is not JSON, is JSON of another shape, or has more than 128 MiB.

    A proxy or a login page may have responded, the host may be wrong, or ``page_size`` too large.
    """

    retry_helps = True


class RedirectError(InvalidResponseError):
    """The service redirects, which is not followed because the key would go to another host.

    Put the final address into the connection's host.
    """

    retry_helps = False
    concerns_service = True


class PaginationError(RemoteTaskError):
    """The next page of a list is one that was already read. Report it to the vendor."""


class TransferError(RemoteTaskError):
    """A file can't be moved: it is too large, another file is in its place, or its link is unsafe.

    The message names the file and the fix, and never the query of a link, which is its key. See
    ``docs/how-to/files.md``.
    """


class TransferIncompleteError(TransferError):
    """Some files have not arrived; the others stay where they are. A retry fetches the rest."""

    retry_helps = True


class LinkExpiredError(TransferIncompleteError):
    """A file's signed link has expired. A retry asks for a fresh one."""


class StaleStartError(RemoteTaskError):
    """An earlier attempt submitted a task with other inputs.

    Make the inputs the same on every attempt, or set ``on_stale_state``; see ``docs/concepts/submitting.md``.
    """


class OrphanedStartError(RemoteTaskError):
    """The response to a submission was lost, and the search can't tell whether it created a task.

    Open the vendor's app, stop the tasks that you do not want, then clear the Airflow task.
    """


class OrphanedActionError(RemoteTaskError):
    """An earlier attempt may have acted already, and nothing tells whether it did.

    It may have sent a message or a confirmation, or published a website. Look at the page. If it has, mark
    the Airflow task successful; otherwise clear it.
    """


class OutputMissingError(RemoteTaskError):
    """The remote task has completed, but the output that it was asked for has not come yet.

    Nothing is paid again: a retry, or clearing the Airflow task later, reads the finished task's result.
    """

    retry_helps = True


class TaskFailedError(RemoteTaskError):
    """The remote task failed, a structured value could not be made, or elements of a batch were refused.

    The message has the vendor's text and the task's page.
    """


class TaskCancelledError(RemoteTaskError):
    """The remote task was cancelled, or stopped by a user."""


class TaskNeedsInputError(RemoteTaskError):
    """The agent waits for an answer: with ``on_waiting="fail"``, or because no answer came in Airflow.

    Answer on the task's page, then clear the Airflow task: it re-attaches.
    """


class WaitTimeoutError(RemoteTaskError):
    """``timeout`` or ``execution_timeout`` passed before the remote task finished.

    The message says whether the remote task was cancelled or keeps running.

    :param aftermath: what happened to the remote task.
    """

    _fact_names = ("message", "aftermath")

    def __init__(
        self,
        message: str,
        *,
        aftermath: str = "The remote side was left as it is and may still be running.",
    ) -> None:
        super().__init__(message)
        self.aftermath = aftermath

    def __str__(self) -> str:
        return f"{self.message} {self.aftermath}".rstrip()


class BudgetExceededError(RemoteTaskError):
    """The remote task cost more than ``max_credits`` and was stopped, or too few credits are left to begin.

    Raise ``max_credits``, ask for less, or lower ``min_credits``.
    """


def error_from_json(data: Mapping[str, Any]) -> RemoteTaskError:
    """Return the error that :meth:`RemoteTaskError.to_json` wrote; an unknown type becomes the base class."""
    facts = dict(data)
    error_type = globals().get(str(facts.pop("type", "")))
    if isinstance(error_type, type) and issubclass(error_type, RemoteTaskError):
        # The triggerer may run another version of this provider, whose errors have other facts.
        with suppress(TypeError):
            return error_type(**facts)
    return RemoteTaskError(str(facts.get("message", "an error without a message")))


def _rebuild(error_type: type[RemoteTaskError], facts: Mapping[str, Any]) -> RemoteTaskError:
    return error_type(**facts)
