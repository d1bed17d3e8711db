"""The core's tests see no proxy and no certificates of this machine's."""

from __future__ import annotations

import pytest

_VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
_CERTIFICATES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")


@pytest.fixture(autouse=True)
def _plain_network(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*_VARIABLES, *map(str.upper, _VARIABLES), *_CERTIFICATES):
        monkeypatch.delenv(name, raising=False)
