"""What the configuration says of the receiver, and what it refuses."""

from __future__ import annotations

import pytest

from remote_tasks_provider.bases.webhooks import WebhookSettings, webhook_url
from remote_tasks_provider.core.errors import InvalidArgumentError

URL = "https://hooks.example.com/remote-tasks"


def configure(monkeypatch: pytest.MonkeyPatch, url: str = "", connections: str = "") -> None:
    monkeypatch.setenv("AIRFLOW__REMOTE_TASKS__WEBHOOK_URL", url)
    monkeypatch.setenv("AIRFLOW__REMOTE_TASKS__WEBHOOK_CONNECTIONS", connections)


class TestSettings:
    @pytest.mark.parametrize(
        ("url", "connections"), [("", ""), (URL, ""), ("", "manus/manus_default"), (URL, " , ")]
    )
    def test_receiver_is_off_unless_both_are_set(
        self, monkeypatch: pytest.MonkeyPatch, url: str, connections: str
    ) -> None:
        configure(monkeypatch, url, connections)

        assert not WebhookSettings.from_config().is_on

    @pytest.mark.parametrize(
        "names", ["manus/a,qstash/b", "manus/a qstash/b", " manus/a ,\nqstash/b, manus/a"]
    )
    def test_connections_are_divided(self, monkeypatch: pytest.MonkeyPatch, names: str) -> None:
        configure(monkeypatch, f"{URL}/", names)
        settings = WebhookSettings.from_config()

        assert settings.is_on
        assert settings.url == URL
        assert settings.connections == (("manus", "a"), ("qstash", "b"))

    @pytest.mark.parametrize("names", ["manus", "manus/", "/a"])
    def test_connection_without_a_type_is_refused(self, monkeypatch: pytest.MonkeyPatch, names: str) -> None:
        configure(monkeypatch, URL, names)
        with pytest.raises(InvalidArgumentError, match=r"webhook_connections has .*write each as type/id"):
            WebhookSettings.from_config()

    @pytest.mark.parametrize(
        "url",
        [
            "hooks.example.com",
            "ftp://hooks.example.com",
            "https://",
            "https://x:y",
            "http://hooks.example.com",
            "https://u:sesame@hooks.example.com",
            "https://hooks.example.com?a=1",
            "https://hooks.example.com#a",
        ],
    )
    def test_address_that_no_service_could_call_is_refused(
        self, monkeypatch: pytest.MonkeyPatch, url: str
    ) -> None:
        configure(monkeypatch, url)
        with pytest.raises(InvalidArgumentError, match="webhook_url has") as caught:
            WebhookSettings.from_config()

        assert "sesame" not in str(caught.value)

    def test_address_on_this_machine_may_be_http(self, monkeypatch: pytest.MonkeyPatch) -> None:
        configure(monkeypatch, "http://127.0.0.1:8090/x")

        assert WebhookSettings.from_config().url == "http://127.0.0.1:8090/x"


class TestUrl:
    def test_url_has_the_type_and_the_id(self, monkeypatch: pytest.MonkeyPatch) -> None:
        configure(monkeypatch, URL, "manus/a/b#1")

        assert webhook_url("manus", "a/b#1") == f"{URL}/webhooks/manus/a%2Fb%231"

    def test_url_without_a_receiver_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        configure(monkeypatch)
        with pytest.raises(InvalidArgumentError, match="there is no receiver of webhooks"):
            webhook_url("manus", "a")

    def test_url_of_another_connection_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        configure(monkeypatch, URL, "manus/a")
        with pytest.raises(InvalidArgumentError, match="add manus/b to"):
            webhook_url("manus", "b")
