"""A connection's fields make a connection config; what is wrong is named with its field, and never shown."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import pytest
from pydantic import model_validator

from remote_tasks_provider.core.errors import ConnectionConfigError
from remote_tasks_provider.core.http.connection import (
    ConnectionConfig,
    ConnectionExtras,
    ConnectionFields,
    is_loopback,
)
from remote_tasks_provider.core.http.operation import Request
from remote_tasks_provider.core.service import Service
from tests.core.build import SECRET, a_call, a_config


class Extras(ConnectionExtras):
    api_version: Literal["v1"] = "v1"
    region: str = ""
    zone: str = ""

    @model_validator(mode="after")
    def _one_place(self) -> Extras:
        if self.region and self.zone:
            raise ValueError("region and zone exclude each other")
        return self


def _service(extras: type[ConnectionExtras], default_base_url: Any) -> Service:
    return Service(
        name="Example",
        conn_type="example",
        default_base_url=default_base_url,
        auth=lambda key, _extras: ("X-Key", key),
        extras=extras,
        probe=lambda _extras: a_call(),
        explain=lambda *_: None,
    )


def _connect(**fields: Any) -> ConnectionConfig:
    return _service(Extras, "https://api.example.com").config(
        ConnectionFields(**({"conn_id": "my_conn", "password": SECRET} | fields))
    )


class TestBaseUrl:
    @pytest.mark.parametrize(
        ("fields", "base_url"),
        [
            ({}, "https://api.example.com"),
            ({"host": "  "}, "https://api.example.com"),
            ({"host": "other.example.com"}, "https://other.example.com"),
            ({"host": "https://other.example.com/"}, "https://other.example.com"),
            ({"host": "https://other.example.com/a/b//"}, "https://other.example.com/a/b"),
            ({"host": "HTTPS://Other.Example.com"}, "https://other.example.com"),
            ({"host": "other.example.com", "port": 8443}, "https://other.example.com:8443"),
            ({"host": "https://other.example.com:1", "port": 1}, "https://other.example.com:1"),
            ({"host": "https://other.example.com", "schema": "https"}, "https://other.example.com"),
            ({"host": "other.example.com", "schema": "prefix"}, "https://other.example.com/prefix"),
            ({"host": "https://other.example.com", "schema": "a/b c/"}, "https://other.example.com/a/b%20c"),
            ({"host": "h.example.com", "port": 1, "schema": "/p"}, "https://h.example.com:1/p"),
            ({"host": "127.0.0.1:8099", "schema": "http"}, "http://127.0.0.1:8099"),
            ({"host": "http://127.0.0.1:8099/manus"}, "http://127.0.0.1:8099/manus"),
            ({"host": "http://localhost", "port": 8099}, "http://localhost:8099"),
            ({"host": "http://[::1]:8099"}, "http://[::1]:8099"),
            ({"host": "https://example.com/v1beta"}, "https://example.com/v1beta"),
        ],
    )
    def test_base_url_is_made_of_host_schema_and_port(self, fields: dict[str, Any], base_url: str) -> None:
        assert _connect(**fields).base_url == base_url


class TestSecret:
    @pytest.mark.parametrize(
        "pasted",
        [
            SECRET,
            f"  {SECRET}\n",
            f'"{SECRET}"',
            f"'{SECRET}'",
            f"Bearer {SECRET}",
            f"bearer  {SECRET} ",
            f'"Bearer {SECRET}"',
        ],
    )
    def test_pasted_extras_are_stripped(self, pasted: str) -> None:
        found = _connect(password=pasted)

        assert found.secret == SECRET
        assert found.auth == ("X-Key", SECRET)

    def test_fields_and_config_do_not_show_the_secret(self) -> None:
        fields = ConnectionFields("my_conn", password=SECRET, extra={"token": SECRET})

        assert SECRET not in f"{fields!r} {_connect()!r}"

    def test_secret_is_scrubbed_from_a_text(self) -> None:
        assert a_config().scrub(f"bad key {SECRET}!") == "bad key ***!"


class TestExtras:
    def test_defaults_hold_where_no_extra_is_given(self) -> None:
        assert _connect(extra={"read_timeout": None, "max_attempts": ""}).extras == Extras()

    def test_numbers_are_read_from_strings_as_forms_send_them(self) -> None:
        found = _connect(extra={"connect_timeout": "1.5", "read_timeout": 7, "max_attempts": "2"}).extras

        assert (found.connect_timeout, found.read_timeout, found.max_attempts) == (1.5, 7.0, 2)


class TestConfigErrors:
    @pytest.mark.parametrize(
        ("fields", "field", "fix"),
        [
            ({"password": None}, "password", "put the API key or token there"),
            ({"password": "  "}, "password", "put the API key or token there"),
            ({"password": '""'}, "password", "put the API key or token there"),
            ({"password": "Bearer "}, "password", "put the API key or token there"),
            ({"password": f"{SECRET} {SECRET}"}, "password", "paste the key alone"),
            ({"password": f"{SECRET}\r\nX-Other: 1"}, "password", "paste the key alone"),
            ({"password": f"{SECRET}ü"}, "password", "paste the key alone"),
            ({"host": "http://api.example.com"}, "host", "use https://"),
            ({"host": "api.example.com", "schema": "http"}, "host", "use https://"),
            ({"host": "http://127.0.0.1.example.com"}, "host", "use https://"),
            ({"host": "http://10.0.0.1"}, "host", "use https://"),
            ({"host": "ftp://api.example.com"}, "host", "expected something like https://api.example.com"),
            ({"host": "https://"}, "host", "expected something like https://api.example.com"),
            ({"host": "https://h:port"}, "host", "expected something like https://api.example.com"),
            ({"host": "https://h:99999"}, "host", "expected something like https://api.example.com"),
            ({"host": "https://[::1"}, "host", "expected something like https://api.example.com"),
            ({"host": "https://api exam.ple"}, "host", "expected something like https://api.example.com"),
            ({"host": f"https://{SECRET}@h"}, "host", "the key belongs into password"),
            ({"host": f"https://u:{SECRET}@h"}, "host", "the key belongs into password"),
            ({"host": f"https://h/?token={SECRET}"}, "host", "the key belongs into password"),
            ({"host": f"https://h/#{SECRET}"}, "host", "the key belongs into password"),
            ({"host": "https://h/v1"}, "host", "leave out the API's version and path"),
            ({"host": "https://h/p/v1/tasks"}, "host", "leave out the API's version and path"),
            ({"host": "https://h/v2/publish/"}, "host", "leave out the API's version and path"),
            ({"host": "https://h", "schema": "http"}, "schema", "put the whole base URL"),
            ({"schema": "prefix"}, "schema", "put the whole base URL"),
            ({"host": "https://h/a", "schema": "b"}, "schema", "put the whole base URL"),
            ({"host": "h", "schema": "v1/tasks"}, "host", "leave out the API's version and path"),
            ({"host": "https://h:1", "port": 2}, "port", "leave out one of them"),
            ({"extra": {"headers": {"X": SECRET}}}, "extra", "names are .*read_timeout.*api_version"),
            ({"extra": {"read_timeout": 0}}, "extra['read_timeout']", "greater than 0"),
            ({"extra": {"read_timeout": 601}}, "extra['read_timeout']", "less than or equal to 600"),
            ({"extra": {"read_timeout": "nan"}}, "extra['read_timeout']", "finite number"),
            ({"extra": {"connect_timeout": 0}}, "extra['connect_timeout']", "greater than 0"),
            ({"extra": {"connect_timeout": "inf"}}, "extra['connect_timeout']", "finite number"),
            ({"extra": {"connect_timeout": 301}}, "extra['connect_timeout']", "less than or equal to 300"),
            ({"extra": {"max_attempts": 21}}, "extra['max_attempts']", "less than or equal to 20"),
            ({"extra": {"connect_timeout": SECRET}}, "extra['connect_timeout']", "valid number"),
            ({"extra": {"max_attempts": 0}}, "extra['max_attempts']", "greater than or equal to 1"),
            ({"extra": {"max_attempts": 1.5}}, "extra['max_attempts']", "valid integer"),
            ({"extra": {"api_version": "v9"}}, "extra['api_version']", "'v1'"),
            ({"extra": {"region": "eu", "zone": SECRET}}, "extra", "region and zone exclude each other"),
            ({"extra": {"api_version": {"a": SECRET}}}, "extra['api_version']", "'v1'"),
        ],
        ids=str,
    )
    def test_message_names_connection_field_and_fix_and_no_secret(
        self, fields: dict[str, Any], field: str, fix: str
    ) -> None:
        with pytest.raises(ConnectionConfigError, match=fix) as caught:
            _connect(**fields)

        assert str(caught.value).startswith(f"Connection 'my_conn', field {field}: ")
        assert SECRET not in str(caught.value)
        assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("::1", True),
        ("10.0.0.1", False),
        ("example.com", False),
        ("127.9.9.9", True),
        ("::ffff:127.0.0.1", True),
        ("::ffff:10.0.0.1", False),
        ("2130706433", False),
    ],
)
def test_loopback_hosts_are_recognised(name: str, expected: bool) -> None:
    assert is_loopback(name) is expected


@pytest.mark.parametrize(
    ("host", "expected"), [(None, False), ("http://127.0.0.1:8099/manus", True), ("https://localhost", True)]
)
def test_config_knows_whether_the_service_is_on_this_machine(host: str | None, expected: bool) -> None:
    assert _connect(host=host).is_loopback is expected


class TestType:
    @pytest.mark.parametrize("conn_type", ["example", None, ""])
    def test_connection_of_the_service_is_taken(self, conn_type: str | None) -> None:
        assert _connect(conn_type=conn_type).secret == SECRET

    @pytest.mark.parametrize("conn_type", ["http", "qstash", "Example"])
    def test_connection_of_another_type_is_refused_by_name(self, conn_type: str) -> None:
        with pytest.raises(ConnectionConfigError) as caught:
            _connect(conn_type=conn_type)

        assert str(caught.value).startswith(
            f"Connection 'my_conn', field conn_type: is {conn_type!r}, but Example needs one of type 'exa"
        )
        assert SECRET not in str(caught.value)


class TestRegions:
    @staticmethod
    def _url(**fields: object) -> str:
        class Extras(ConnectionExtras):
            region: str = "eu"

        service = _service(Extras, lambda extras: f"https://{extras.region}.example.com")
        return service.config(ConnectionFields("my_conn", password=SECRET, **fields)).base_url  # type: ignore[arg-type]

    def test_extras_choose_the_region(self) -> None:
        assert self._url() == "https://eu.example.com"
        assert self._url(extra={"region": "us"}) == "https://us.example.com"

    def test_host_overrides_the_region(self) -> None:
        assert self._url(extra={"region": "us"}, host="https://h.example.com") == "https://h.example.com"

    def test_errors_name_the_field_of_the_region(self) -> None:
        with pytest.raises(ConnectionConfigError, match=r"expected something like https://us\.example\.com"):
            self._url(extra={"region": "us"}, host="ftp://h")


class TestServiceOfAnybody:
    """A service that anybody may run, anywhere, with or without a key."""

    @staticmethod
    def _config(**fields: object) -> ConnectionConfig:
        service = replace(_service(ConnectionExtras, None), key_is_optional=True)
        return service.config(ConnectionFields("my_conn", **fields))  # type: ignore[arg-type]

    def test_host_may_have_any_path(self) -> None:
        assert self._config(host="https://h/a/v1/").base_url == "https://h/a/v1"

    def test_host_must_be_given(self) -> None:
        with pytest.raises(ConnectionConfigError, match="field host: is empty; put the base URL there"):
            self._config(password=SECRET)

    def test_key_may_be_missing(self) -> None:
        found = self._config(host="https://h")

        assert found.auth is None
        assert found.auth_for(Request("GET", "/x", key_header="X-Key")) is None
        assert found.scrub("text") == "text"

    def test_key_that_is_given_is_sent(self) -> None:
        assert self._config(host="https://h", password=SECRET).auth == ("X-Key", SECRET)

    @pytest.mark.parametrize(
        ("base_url", "is_sent"),
        [
            (None, True),
            ("https://H/other", True),
            ("https://h:443", True),
            ("http://h", False),
            ("https://h:444", False),
            ("https://h.example.com", False),
            ("gopher://h", False),
        ],
    )
    def test_key_is_for_the_connections_own_host(self, base_url: str | None, is_sent: bool) -> None:
        request = Request("GET", "/x", base_url=base_url)

        found = self._config(host="https://h/a", password=SECRET).auth_for(request)
        assert (found is not None) is is_sent
