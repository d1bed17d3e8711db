"""Errors travel: pickled between processes, as JSON from the triggerer to a worker."""

from __future__ import annotations

import inspect
import json
import pickle
from collections.abc import Iterator

import pytest

from remote_tasks_provider.core import errors
from remote_tasks_provider.core.errors import (
    ApiError,
    AuthenticationError,
    ConnectionConfigError,
    NotFoundError,
    RateLimitedError,
    RedirectError,
    RemoteTaskError,
    ServerError,
    TransportError,
    error_from_json,
)


def _kinds(kind: type[RemoteTaskError] = RemoteTaskError) -> Iterator[type[RemoteTaskError]]:
    yield kind
    for child in kind.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from _kinds(child)


KINDS = sorted(set(_kinds()), key=lambda kind: kind.__name__)


def _full(kind: type[RemoteTaskError]) -> RemoteTaskError:
    """An error whose every argument differs from its default."""
    values = {
        "message": "it went wrong",
        "sent": False,
        "status_code": 418,
        "code": "teapot",
        "request_id": "req_1",
        "retry_after": 2.5,
        "endpoint": "Example GET /v1/things",
        "hint": "Use coffee.",
        "aftermath": "The kettle was left on.",
    }
    names = list(inspect.signature(kind).parameters)
    return kind(**{name: values[name] for name in names})


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
class TestEveryClass:
    def test_error_survives_pickling(self, kind: type[RemoteTaskError]) -> None:
        error = _full(kind)
        again = pickle.loads(pickle.dumps(error))

        assert type(again) is kind
        assert (str(again), vars(again)) == (str(error), vars(error))

    def test_error_survives_json(self, kind: type[RemoteTaskError]) -> None:
        error = _full(kind)
        again = error_from_json(json.loads(json.dumps(error.to_json())))

        assert type(again) is kind
        assert (str(again), vars(again)) == (str(error), vars(error))

    def test_error_is_exported(self, kind: type[RemoteTaskError]) -> None:
        assert kind.__name__ in errors.__all__
        assert getattr(errors, kind.__name__) is kind

    def test_retry_helps_is_set_for_transient_errors(self, kind: type[RemoteTaskError]) -> None:
        helps = {
            "ConnectionUnavailableError",
            "InvalidResponseError",
            "LinkExpiredError",
            "OutputMissingError",
            "RateLimitedError",
            "ServerError",
            "TransferIncompleteError",
            "TransportError",
        }

        assert kind.retry_helps is (kind.__name__ in helps)


class TestUnknownJson:
    @pytest.mark.parametrize("name", ["FutureError", "Any", "error_from_json", "", None])
    def test_unknown_type_becomes_the_base_class(self, name: str | None) -> None:
        error = error_from_json({"type": name, "message": "from tomorrow", "more": 1})

        assert type(error) is RemoteTaskError
        assert str(error) == "from tomorrow"

    def test_missing_message_is_reported(self) -> None:
        assert str(error_from_json({})) == "an error without a message"


class TestText:
    def test_api_error_shows_all_its_facts(self) -> None:
        assert str(_full(NotFoundError)) == (
            "Example GET /v1/things: HTTP 418 teapot: it went wrong (request req_1). Use coffee."
        )

    def test_api_error_without_facts_is_still_a_sentence(self) -> None:
        assert str(ApiError("", status_code=500)) == "HTTP 500: no message."

    def test_grpc_number_is_not_shown(self) -> None:
        error = NotFoundError("file not found", status_code=404, code="5", endpoint="Manus GET /v1/files")

        assert str(error) == "Manus GET /v1/files: HTTP 404: file not found."
        assert error.code == "5"

    def test_connection_config_error_is_a_value_error(self) -> None:
        assert issubclass(ConnectionConfigError, ValueError)


class TestConcernsService:
    @pytest.mark.parametrize(
        ("error", "concerns"),
        [
            (TransportError("refused", sent=False), True),
            (TransportError("reset", sent=None), False),
            (AuthenticationError("no", status_code=401), True),
            (RateLimitedError("slow down", status_code=429), True),
            (RedirectError("moved"), True),
            (NotFoundError("gone", status_code=404), False),
            (ServerError("oops", status_code=500), False),
            (RemoteTaskError("x"), False),
        ],
        ids=repr,
    )
    def test_error_concerns_the_service_if_other_calls_would_meet_it(
        self, error: RemoteTaskError, concerns: bool
    ) -> None:
        assert error.concerns_service is concerns


def test_facts_of_another_version_do_not_hide_the_error() -> None:
    told = {"type": "ServerError", "message": "down", "status_code": 503, "weather": "bad"}

    again = error_from_json(told)

    assert str(again) == "down"
