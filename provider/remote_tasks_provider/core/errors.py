"""Everything that can go wrong with a remote task, sorted by what the reader should do about it.

::

    RemoteTaskError
    ├── ConnectionConfigError      the Airflow connection is wrong             (also a ValueError)
    ├── TransportError             no answer: refused, reset, timed out        a retry helps
    ├── ApiError                   the service answered with an error status
    │   ├── AuthenticationError    the key was not accepted
    │   ├── PermissionDeniedError  the key may not do this
    │   ├── NotFoundError          no such task, or not yet
    │   ├── InvalidRequestError    the service refused what was sent
    │   ├── RateLimitedError       too many calls                              a retry helps, later
    │   └── ServerError            the service could not answer now            a retry helps
    ├── InvalidResponseError       an answer that is not what was asked for    a retry may help
    │   └── RedirectError          the base URL has moved
    ├── PaginationError            a list that leads in circles
    ├── TransferError              a file cannot be moved: too large, in the way, a bad link
    │   └── TransferIncompleteError    files that have not arrived yet         a retry fetches the rest
    │       └── LinkExpiredError   a file's signed link is no longer valid     a retry gets a fresh one
    └── the end of a wait
        ├── TaskFailedError        ├── TaskCancelledError
        ├── TaskNeedsInputError    ├── WaitTimeoutError
        └── BudgetExceededError

``retry_helps`` on each class says whether asking again can help; Airflow retries a task only where it can.
Errors are picklable and become JSON (:meth:`RemoteTaskError.to_json`), so that a trigger can hand one to a
worker. They never hold a key, a response object or a whole body.
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
    "InvalidRequestError",
    "InvalidResponseError",
    "LinkExpiredError",
    "NotFoundError",
    "OrphanedStartError",
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
    """Base of every error this provider raises for a remote task.

    :param message: a whole sentence: what happened and what to do.
    """

    retry_helps: ClassVar[bool] = False
    """Whether asking again, unchanged, can succeed."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    @property
    def concerns_service(self) -> bool:
        """Whether every other call to the service would meet the same fate right now."""
        return False

    def facts(self) -> dict[str, Any]:
        """Return the keyword arguments that make this error again; plain JSON values."""
        return {"message": self.message}

    def to_json(self) -> dict[str, Any]:
        """Return the error as JSON; :func:`error_from_json` is the way back."""
        return {"type": type(self).__name__, **self.facts()}

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.facts())


class ConnectionConfigError(RemoteTaskError, ValueError):
    """The Airflow connection cannot be used; the message names the field and the fix. A retry cannot help."""


class TransportError(RemoteTaskError):
    """No answer came: the host is unknown, refused, hung up or was silent too long. A retry helps.

    :param sent: ``False`` when the request provably never left, ``None`` when nobody can tell.
    """

    retry_helps = True

    def __init__(self, message: str, *, sent: bool | None = None) -> None:
        super().__init__(message)
        self.sent = sent

    @property
    def concerns_service(self) -> bool:
        """Nobody could connect. A request that got lost later may have met with its own trouble."""
        return self.sent is False

    def facts(self) -> dict[str, Any]:
        """Return the keyword arguments that make this error again."""
        return {"message": self.message, "sent": self.sent}


class ApiError(RemoteTaskError):
    """The service answered with an error status.

    :param message: the service's own text, cut and redacted.
    :param status_code: the HTTP status.
    :param code: the service's error code, where it has one.
    :param request_id: the service's id of the call, to quote to its support.
    :param retry_after: seconds the service asked to wait, where it did.
    :param endpoint: the call, such as ``Manus GET /v1/tasks``.
    :param hint: what the reader can do.
    """

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

    def facts(self) -> dict[str, Any]:
        """Return the keyword arguments that make this error again."""
        names = ("message", "status_code", "code", "request_id", "retry_after", "endpoint", "hint")
        return {name: getattr(self, name) for name in names}

    def __str__(self) -> str:
        code = f" {self.code}" if self.code else ""
        where = f"{self.endpoint}: " if self.endpoint else ""
        request = f" (request {self.request_id})" if self.request_id else ""
        hint = f" {self.hint}" if self.hint else ""
        return f"{where}HTTP {self.status_code}{code}: {self.message or 'no message'}{request}.{hint}"


class AuthenticationError(ApiError):
    """401, or an account the service does not know. Mend the connection; a retry cannot help."""

    @property
    def concerns_service(self) -> bool:
        """Every other call carries the same key."""
        return True


class PermissionDeniedError(ApiError):
    """403: the key is known but may not do this. A retry cannot help."""


class NotFoundError(ApiError):
    """404: no such object, or one so new that it is not visible yet. Waits tolerate it for a grace time."""


class InvalidRequestError(ApiError):
    """Any other 4xx: the service refused what was sent. A retry cannot help."""


class RateLimitedError(ApiError):
    """429: too many calls. A retry helps after :attr:`~ApiError.retry_after` seconds."""

    retry_helps = True

    @property
    def concerns_service(self) -> bool:
        """The limit is the account's."""
        return True


class ServerError(ApiError):
    """408, 425 or 5xx: the service could not answer now. A retry helps."""

    retry_helps = True


class InvalidResponseError(RemoteTaskError):
    """The answer is not JSON, or JSON of another shape; names the endpoint and what was expected.

    A retry may help when a proxy put its own page in the way; a wrong ``host`` in the connection stays wrong.
    """

    retry_helps = True


class RedirectError(InvalidResponseError):
    """The service points elsewhere. Redirects are not followed, as the key would travel along."""

    retry_helps = False

    @property
    def concerns_service(self) -> bool:
        """The whole service has moved."""
        return True


class PaginationError(RemoteTaskError):
    """The service's next-page cursor leads back to a page already read. A retry will hardly help."""


class TransferError(RemoteTaskError):
    """A file cannot be moved, now or later: it is too large, another is in its place, its link is unsafe.

    The message names the file and the fix, and never the query of a link, which is its key.
    """


class TransferIncompleteError(TransferError):
    """Some files have not arrived; those that have stay where they are. A retry fetches the rest."""

    retry_helps = True


class LinkExpiredError(TransferIncompleteError):
    """A file's signed link is not, or no longer, valid. A retry helps when it asks for a fresh one."""


class StaleStartError(RemoteTaskError):
    """An earlier attempt started a task with other inputs. A retry cannot help; ``on_stale_state`` can."""


class OrphanedStartError(RemoteTaskError):
    """A request to start a task was lost, and nobody can tell what came of it. A person must look."""


class TaskFailedError(RemoteTaskError):
    """The remote task ended in failure. Asking again cannot help."""


class TaskCancelledError(RemoteTaskError):
    """The remote task was cancelled. Asking again cannot help."""


class TaskNeedsInputError(RemoteTaskError):
    """The remote task waits for a person's answer, and ``on_waiting="fail"`` was asked for."""


class WaitTimeoutError(RemoteTaskError):
    """The deadline passed before the remote task ended.

    :param aftermath: what became of the remote task.
    """

    def __init__(
        self,
        message: str,
        *,
        aftermath: str = "The remote side was left as it is and may still be running.",
    ) -> None:
        super().__init__(message)
        self.aftermath = aftermath

    def facts(self) -> dict[str, Any]:
        """Return the keyword arguments that make this error again."""
        return {"message": self.message, "aftermath": self.aftermath}

    def __str__(self) -> str:
        return f"{self.message} {self.aftermath}".rstrip()


class BudgetExceededError(RemoteTaskError):
    """The remote task has cost more than was allowed. A retry cannot help."""


def error_from_json(data: Mapping[str, Any]) -> RemoteTaskError:
    """Return what :meth:`RemoteTaskError.to_json` described; an unknown type becomes the base class."""
    facts = dict(data)
    kind = globals().get(str(facts.pop("type", "")))
    if isinstance(kind, type) and issubclass(kind, RemoteTaskError):
        # The triggerer may run another version of this provider, whose errors have other facts.
        with suppress(TypeError):
            return kind(**facts)
    return RemoteTaskError(str(facts.get("message", "an error without a message")))


def _rebuild(kind: type[RemoteTaskError], facts: Mapping[str, Any]) -> RemoteTaskError:
    return kind(**facts)
