"""Proxy and CA certificates of this machine, read from the environment: one source for every transport.

Left to themselves, requests and httpx read the variables differently, so that a worker and a triggerer on one
machine would reach different hosts. Here both get explicit values, and a variable that cannot be used is an
error that names it when a transport is made: before anything that costs money is submitted.

Must import neither requests nor httpx.
"""

from __future__ import annotations

import ipaddress
import os
import re
import ssl
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.util import find_spec
from urllib.parse import quote, unquote, urlsplit
from urllib.request import getproxies_environment

import certifi

from remote_tasks_provider.core.errors import ConnectionConfigError
from remote_tasks_provider.core.http.connection import address, is_loopback

__all__ = ["NetworkSettings", "Proxy", "network_settings"]

# SOCKS names are resolved by the proxy in both libraries, so socks5 means socks5h.
_DEFAULT_PORTS = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}
_HOST_SHAPE = re.compile(r"[a-z0-9._:-]+")
_SOCKS_LIBRARIES = ("socks", "socksio")
# The first group with a value counts.
_CA_VARIABLES = (("REQUESTS_CA_BUNDLE",), ("CURL_CA_BUNDLE",), ("SSL_CERT_FILE", "SSL_CERT_DIR"))
# OpenSSL finds a certificate in a folder by the hash of its subject.
_HASHED_NAME = re.compile(r"[0-9a-f]{8}\.\d+")


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy to send through.

    :param label: scheme, host and port, without user and password.
    :param variable: the environment variable that names it.
    """

    label: str
    variable: str
    user: str = field(repr=False)
    password: str = field(repr=False)

    @property
    def is_socks(self) -> bool:
        """Whether it speaks SOCKS 5."""
        return self.label.startswith("socks")

    @property
    def url(self) -> str:
        """The URL with user and password."""
        scheme, _, place = self.label.partition("://")
        # With the colon: requests sends no user that has no password.
        login = f"{quote(self.user, '')}:{quote(self.password, '')}@" if self.user else ""
        return f"{scheme}://{login}{place}"

    def scrub(self, text: str) -> str:
        """Return ``text`` without the proxy's password."""
        for secret in {self.password, quote(self.password, "")} - {""}:
            text = text.replace(secret, "***")
        return text


@dataclass(frozen=True, slots=True)
class NetworkSettings:
    """How a host is reached.

    :param proxy: ``None`` for a direct connection.
    :param ssl_context: whom to trust. It trusts nobody where nothing is encrypted.
    :param trusted: where the trusted certificates come from, for messages.
    """

    proxy: Proxy | None
    ssl_context: ssl.SSLContext
    trusted: str


def network_settings(url: str) -> NetworkSettings:
    """Return how to reach ``url``, an ``http`` or ``https`` URL.

    The proxy: ``HTTPS_PROXY`` or ``HTTP_PROXY``, else ``ALL_PROXY``, unless ``NO_PROXY`` names the host; in
    lower case, they win. Never for a loopback host: the key would leave the machine.

    The certificates: ``REQUESTS_CA_BUNDLE``, else ``CURL_CA_BUNDLE``, each a file or a folder, else
    ``SSL_CERT_FILE`` and ``SSL_CERT_DIR`` together, else those of certifi.

    :raises ConnectionConfigError: a variable cannot be used.
    """
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or _DEFAULT_PORTS[parts.scheme]
    proxy = None if is_loopback(host) or _is_exempt(host, port) else _proxy(parts.scheme)
    if parts.scheme == "http":
        return NetworkSettings(proxy, ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), "nobody")
    return NetworkSettings(proxy, *_certificates())


def _error(variable: str, problem: str) -> ConnectionConfigError:
    return ConnectionConfigError(f"Environment variable {variable}: {problem}")


# ------------------------------------------------------------------------------------------- the proxy


def _proxy(scheme: str) -> Proxy | None:
    found = getproxies_environment()
    proxied = scheme if scheme in found else "all"
    if not (value := found.get(proxied, "").strip()):
        return None
    variable = next(
        name
        for name, text in os.environ.items()
        if name.lower() == f"{proxied}_proxy" and text == found[proxied]
    )
    return _parsed(value, variable)


def _parsed(value: str, variable: str) -> Proxy:
    """Return the proxy at ``value``, which no message shows: it may hold a password."""
    try:
        parts = urlsplit(value if "://" in value else f"http://{value}")
        port, host = parts.port, parts.hostname or ""
        host.encode("idna")  # refuses empty and long labels, as the socket would
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
    except ValueError:
        port, host = 0, ""
    if not _HOST_SHAPE.fullmatch(host) or port == 0:
        raise _error(variable, "is no URL; expected something like http://proxy.example.com:3128")
    if parts.scheme not in _DEFAULT_PORTS:
        raise _error(variable, f"names a proxy of an unknown kind; {', '.join(_DEFAULT_PORTS)} are known")
    if not (user + password).isascii():
        raise _error(
            variable, "has a user or password with non-ASCII characters, which proxies do not agree on"
        )
    if parts.scheme.startswith("socks") and not all(map(find_spec, _SOCKS_LIBRARIES)):
        raise _error(
            variable,
            "names a SOCKS proxy, which needs PySocks and socksio on workers and triggerers; "
            "run: pip install pysocks socksio",
        )
    place = f"[{host}]" if ":" in host else host
    scheme = parts.scheme.removesuffix("h")
    return Proxy(f"{scheme}://{place}:{port or _DEFAULT_PORTS[parts.scheme]}", variable, user, password)


def _is_exempt(host: str, port: int) -> bool:
    """Whether ``NO_PROXY`` names the host."""
    listed = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    return any(
        _covers(entry, host.rstrip("."), port) for entry in re.split(r"[\s,]+", listed.lower()) if entry
    )


def _covers(entry: str, host: str, port: int) -> bool:
    """Whether an entry of ``NO_PROXY`` is ``*``, an address, a network, or a name or one of its parents."""
    if entry == "*":
        return True
    for name in _without_port(entry, port):
        try:
            network = ipaddress.ip_network(name.strip("[]"), strict=False)
        except ValueError:
            suffix = name.lstrip("*").strip(".")
            if suffix and (host == suffix or host.endswith(f".{suffix}")):
                return True
        else:
            if (one := address(host)) is not None and one in network:
                return True
    return False


def _without_port(entry: str, port: int) -> Iterator[str]:
    """Yield the entry and, if it ends in this port, the entry without it."""
    yield entry.replace("]/", "/")
    name, colon, number = entry.rpartition(":")
    # "::443" is an address.
    if colon and number == str(port) and (":" not in name or name.endswith("]")):
        yield name


# ------------------------------------------------------------------------------------- the certificates


def _certificates() -> tuple[ssl.SSLContext, str]:
    for group in _CA_VARIABLES:
        if given := {name: os.environ[name] for name in group if os.environ.get(name)}:
            break
    else:
        return _context(certifi.where(), None), "certifi"
    folders = {name: path for name, path in given.items() if name == "SSL_CERT_DIR" or os.path.isdir(path)}
    for name, path in folders.items():
        _check_folders(name, path)
    files = {name: path for name, path in given.items() if name not in folders}
    try:
        changed = [os.stat(path).st_mtime_ns for path in files.values()]
        context = _context(_only(files), _only(folders), *changed)
    except OSError as error:
        name, path = next(iter(files.items()))
        raise _error(
            name,
            f"no certificates can be read from {os.path.abspath(path)} ({error.strerror}); give a file in "
            "PEM format, or unset the variable",
        ) from None
    return context, " and ".join(given)


@lru_cache(maxsize=4)
def _context(file: str | None, folder: str | None, _changed: int | None = None) -> ssl.SSLContext:
    """Return a context that trusts the certificates of a file and a folder; reading a file takes 25 ms."""
    return ssl.create_default_context(cafile=file, capath=folder)


def _only(paths: Mapping[str, str]) -> str | None:
    return next(iter(paths.values()), None)


def _check_folders(name: str, paths: str) -> None:
    """Check that there is a certificate that OpenSSL can find; ``SSL_CERT_DIR`` may list several folders."""
    for path in paths.split(os.pathsep):
        with suppress(OSError):
            if any(map(_HASHED_NAME.fullmatch, os.listdir(path))):
                return
    raise _error(
        name,
        f"{os.path.abspath(paths)} is no folder with certificates under their hashed names; run "
        "'openssl rehash' on it, or unset the variable",
    )
