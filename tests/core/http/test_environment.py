"""The environment's proxy and certificates are read in one way, and what cannot be used is named."""

from __future__ import annotations

import importlib.util
import os
import ssl
import time
from pathlib import Path

import pytest

from remote_tasks_provider.core.errors import ConnectionConfigError
from remote_tasks_provider.core.http import environment
from remote_tasks_provider.core.http.environment import Proxy, network_settings
from tests.core.tls import certificate

URL = "https://api.example.com"
PROXY = "http://proxy.example.com:3128"


def _proxy(url: str = URL) -> Proxy | None:
    return network_settings(url).proxy


class TestProxy:
    @pytest.mark.parametrize(
        ("value", "url"),
        [
            (PROXY, PROXY),
            (f"{PROXY}/", PROXY),
            (f" {PROXY} ", PROXY),
            ("proxy.example.com:3128", PROXY),
            ("HTTP://Proxy.Example.com", "http://proxy.example.com:80"),
            ("https://proxy", "https://proxy:443"),
            ("http://10.0.0.1:3128", "http://10.0.0.1:3128"),
            ("http://[fd00::1]:3128", "http://[fd00::1]:3128"),
            ("[fd00::1]:3128", "http://[fd00::1]:3128"),
            ("socks5://proxy", "socks5://proxy:1080"),
            ("socks5h://proxy", "socks5://proxy:1080"),
            ("http://me:p%40ss@proxy", "http://me:p%40ss@proxy:80"),
            ("http://me:p@ss@proxy", "http://me:p%40ss@proxy:80"),
            ("http://me@proxy", "http://me:@proxy:80"),
        ],
    )
    def test_url_is_made_whole(self, value: str, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HTTPS_PROXY", value)
        found = _proxy()

        assert found is not None
        assert found.url == url

    @pytest.mark.parametrize(
        ("variables", "expected"),
        [
            ({}, None),
            ({"HTTPS_PROXY": ""}, None),
            ({"HTTPS_PROXY": " "}, None),
            ({"HTTP_PROXY": "http://other"}, None),
            ({"HTTPS_PROXY": PROXY}, "HTTPS_PROXY"),
            ({"https_proxy": PROXY}, "https_proxy"),
            ({"https_proxy": PROXY, "HTTPS_PROXY": "http://other"}, "https_proxy"),
            ({"https_proxy": "", "HTTPS_PROXY": "http://other"}, None),
            ({"all_proxy": PROXY}, "all_proxy"),
            ({"ALL_PROXY": "http://other", "HTTPS_PROXY": PROXY}, "HTTPS_PROXY"),
            ({"HTTPS_PROXY": PROXY, "HTTP_PROXY": PROXY}, "HTTPS_PROXY"),
        ],
        ids=str,
    )
    def test_variables_have_their_order(
        self, variables: dict[str, str], expected: str | None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        found = _proxy()

        assert (found and (found.variable, found.url)) == (expected and (expected, PROXY))

    def test_plain_http_has_its_own_variable(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HTTP_PROXY", PROXY)
        found = _proxy("http://api.example.com")

        assert found is not None
        assert found.variable == "HTTP_PROXY"

    @pytest.mark.parametrize(
        "url",
        ["http://localhost", "https://localhost:8443", "http://127.0.0.1", "http://127.1.2.3:80", "https://[::1]",
         "https://[::ffff:127.0.0.1]"],
    )  # fmt: skip
    def test_loopback_host_has_none(self, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, PROXY)

        assert _proxy(url) is None

    @pytest.mark.parametrize(
        ("value", "fix"),
        [
            ("http://", "is no URL"),
            ("http://hush@", "is no URL"),
            ("http://proxy:port", "is no URL"),
            ("http://proxy:99999", "is no URL"),
            ("http://proxy:0", "is no URL"),
            ("http://[::1", "is no URL"),
            ("http://me:hush@pro xy", "is no URL"),
            ("http://me:hu/sh@proxy", "is no URL"),
            ("http://me:hu#sh@proxy", "is no URL"),
            ("http://proxy..example.com", "is no URL"),
            ("http://%s:3128" % ("x" * 64), "is no URL"),
            ("://proxy", "is no URL"),
            ("ftp://proxy", "http, https, socks5, socks5h are known"),
            ("socks4://proxy", "http, https, socks5, socks5h are known"),
            ("http://me:hüsh@proxy", "non-ASCII"),
        ],
    )
    def test_unusable_proxy_is_named_by_its_variable_only(
        self, value: str, fix: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("https_proxy", value)
        with pytest.raises(
            ConnectionConfigError, match=f"^Environment variable https_proxy: .*{fix}"
        ) as caught:
            _proxy()

        assert "hu" not in str(caught.value)
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__ or caught.value.__context__ is None

    def test_unusable_proxy_does_no_harm_where_it_is_not_used(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HTTPS_PROXY", "http://")
        monkeypatch.setenv("NO_PROXY", "example.com")

        assert _proxy() is None

    @pytest.mark.parametrize("missing", ["socks", "socksio"])
    def test_socks_proxy_needs_both_libraries_everywhere(
        self, missing: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("ALL_PROXY", "socks5://proxy")
        monkeypatch.setattr(
            environment, "find_spec", lambda name: None if name == missing else importlib.util.find_spec(name)
        )
        with pytest.raises(ConnectionConfigError, match=r"ALL_PROXY: .*pip install pysocks socksio"):
            _proxy()

    def test_password_is_in_no_repr_and_is_scrubbed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HTTPS_PROXY", "http://me:hu%40sh@proxy")
        found = _proxy()

        assert found is not None
        assert "hu" not in repr(found)
        assert found.scrub("a hu@sh b hu%40sh c") == "a *** b *** c"

    def test_text_is_kept_where_there_is_no_password(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HTTPS_PROXY", "http://me@proxy")
        found = _proxy()

        assert found is not None
        assert found.scrub("text") == "text"


class TestExemptions:
    @pytest.mark.parametrize(
        ("exempt", "url", "expected"),
        [
            ("*", URL, True),
            ("a,*", URL, True),
            ("api.example.com", URL, True),
            ("API.Example.COM", URL, True),
            ("example.com", URL, True),
            (".example.com", URL, True),
            ("*.example.com", URL, True),
            ("example.com.", URL, True),
            ("other, example.com", URL, True),
            ("other example.com", URL, True),
            ("example.com:443", URL, True),
            ("example.com:8443", URL, False),
            ("example.com:8443", f"{URL}:8443", True),
            ("ample.com", URL, False),
            ("com.", URL, True),
            (".", URL, False),
            ("", URL, False),
            ("example.com", f"{URL}.", True),
            ("10.1.2.3", "https://10.1.2.3", True),
            ("10.1.2.3:443", "https://10.1.2.3", True),
            ("10.0.0.0/8", "https://10.1.2.3", True),
            ("10.1.2.3/8", "https://10.1.2.3", True),
            ("10.0.0.0/8", "https://11.1.2.3", False),
            ("10.0.0.0/99", "https://10.1.2.3", False),
            ("10.0.0.0/8", URL, False),
            ("10.0.0.0/8", "https://[::ffff:10.1.2.3]", True),
            ("fd00::/8", "https://[fd00::1]", True),
            ("[fd00::]/8", "https://[fd00::1]", True),
            ("fd00::/8", "https://[fe80::1]", False),
            ("fd00::/8", URL, False),
            ("fd00::1", "https://[fd00::1]", True),
            ("[fd00::1]", "https://[fd00::1]", True),
            ("[fd00::1]:443", "https://[fd00::1]", True),
            ("[fd00::1]:444", "https://[fd00::1]", False),
            ("FD00:0::1", "https://[fd00::1]", True),
            ("::443", "https://[::444]", False),
        ],
    )  # fmt: skip
    def test_entry_covers_hosts(
        self, exempt: str, url: str, expected: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HTTPS_PROXY", PROXY)
        monkeypatch.setenv("NO_PROXY", exempt)

        assert (_proxy(url) is None) is expected

    def test_lower_case_wins(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HTTPS_PROXY", PROXY)
        monkeypatch.setenv("NO_PROXY", "*")
        monkeypatch.setenv("no_proxy", "other")

        assert _proxy() is not None


class TestCertificates:
    def test_default_is_certifi(self) -> None:
        found = network_settings(URL)

        assert found.trusted == "certifi"
        assert found.ssl_context.cert_store_stats()["x509_ca"] > 50

    def test_plain_http_trusts_nobody(self) -> None:
        found = network_settings("http://127.0.0.1:1")

        assert found.ssl_context.cert_store_stats()["x509"] == 0
        assert found.ssl_context.verify_mode is ssl.CERT_REQUIRED

    @pytest.mark.parametrize(
        ("variables", "trusted"),
        [
            (("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"), "REQUESTS_CA_BUNDLE"),
            (("CURL_CA_BUNDLE", "SSL_CERT_FILE"), "CURL_CA_BUNDLE"),
            (("SSL_CERT_FILE",), "SSL_CERT_FILE"),
        ],
    )
    def test_variables_have_their_order(
        self, variables: tuple[str, ...], trusted: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in variables:
            monkeypatch.setenv(name, str(certificate()))
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate()))
        found = network_settings(URL)

        assert found.trusted == trusted
        assert found.ssl_context.cert_store_stats()["x509_ca"] == 1

    def test_empty_variable_is_as_good_as_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", "")

        assert network_settings(URL).trusted == "certifi"

    def test_certificates_are_read_once_until_they_change(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = tmp_path / "ca.pem"
        file.write_bytes(certificate().read_bytes())
        monkeypatch.setenv("SSL_CERT_FILE", str(file))
        first, second = network_settings(URL).ssl_context, network_settings(URL).ssl_context
        os.utime(file, (time.time() + 5, time.time() + 5))

        assert first is second
        assert network_settings(URL).ssl_context is not first

    @pytest.mark.parametrize(
        "variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"]
    )
    @pytest.mark.parametrize("kind", ["missing", "empty", "no certificate", "empty folder"])
    def test_unusable_path_is_named_with_its_variable(
        self, variable: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "ca"
        if kind == "empty folder":
            path.mkdir()
        elif kind != "missing":
            path.write_text("" if kind == "empty" else "nothing of the sort")
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv(variable, "ca")
        with pytest.raises(ConnectionConfigError) as caught:
            network_settings(URL)

        assert str(caught.value).startswith(f"Environment variable {variable}: ")
        assert str(path) in str(caught.value)
        assert "unset the variable" in str(caught.value)
