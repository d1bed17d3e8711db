"""Where and how an agent is spoken to: its card names interfaces, and a harmless call proves one.

Cards are often wrong about hosts, so the path and the binding are the card's, and the host is the
connection's. What was found is remembered for a while, per connection.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

from remote_tasks_provider.a2a.api import wire
from remote_tasks_provider.a2a.api.errors import NO_SUCH_OPERATION, NOT_FOUND, is_wrong_place
from remote_tasks_provider.a2a.api.extras import A2AExtras
from remote_tasks_provider.a2a.api.filters import TaskFilter
from remote_tasks_provider.a2a.api.wire import Interface, split_url
from remote_tasks_provider.a2a.models import A2AAgentCard
from remote_tasks_provider.core.errors import (
    ApiError,
    ConnectionConfigError,
    NotFoundError,
    RemoteTaskError,
)
from remote_tasks_provider.core.http.account_memory import AccountMemory
from remote_tasks_provider.core.http.connection import ConnectionConfig, is_loopback
from remote_tasks_provider.core.http.operation import Operation, Request, Steps
from remote_tasks_provider.core.http.parsing import Reader

__all__ = ["AGENTS", "Agent", "Interface", "found_agent", "interfaces_of", "read_card"]

log = logging.getLogger(__name__)

# Seconds after which the card is read again: the agent may have learnt something.
_LOOK_AGAIN_AFTER = 3600.0
_WELL_KNOWN = ("/.well-known/agent-card.json", "/.well-known/agent.json")
_BINDINGS = {"HTTP+JSON": "rest", "JSONRPC": "jsonrpc"}

_read_card = Reader(A2AAgentCard)


@dataclass(frozen=True, slots=True)
class Agent:
    """An agent as it was found.

    :param lists: whether it lists tasks.
    """

    card: A2AAgentCard
    interface: Interface
    lists: bool


AGENTS: AccountMemory[Agent] = AccountMemory(
    _LOOK_AGAIN_AFTER, lambda config: (config.account, config.extras.model_dump_json())
)
"""The agents that were found, in this process."""


def get_card(url: str) -> Operation[A2AAgentCard]:
    """``GET /.well-known/agent-card.json``, or another path."""
    base_url, path = split_url(url)
    request = Request("GET", path, base_url=base_url)
    return Operation("GET agent card", request, "the card of an A2A agent", _read_card)


def read_card(config: ConnectionConfig) -> Steps[A2AAgentCard]:
    """Read the agent's card at the path that the connection names, or at the well-known ones.

    :raises NotFoundError: when there is none.
    """
    extras = _extras(config)
    bases = dict.fromkeys([config.base_url, split_url(config.base_url)[0]])
    urls = [f"{base}{path}" for path in _WELL_KNOWN for base in bases]
    if extras.card_path:
        urls = [f"{config.base_url}/{extras.card_path.lstrip('/')}"]
    *first, last = urls
    for url in first:
        with suppress(NotFoundError):
            card: A2AAgentCard = yield get_card(url)
            return card
    card = yield get_card(last)
    return card


def interfaces_of(card: A2AAgentCard, config: ConnectionConfig) -> list[Interface]:
    """Return the interfaces of a card that are known and that the connection allows, in the card's order."""
    extras = _extras(config)
    found = [
        Interface(version, binding, url, extras.tenant or tenant)
        for version, binding, named, tenant in _named(card)
        if extras.protocol_version in ("auto", version) and extras.binding in ("auto", binding)
        for url in _reachable(named, config)
    ]
    return list(dict.fromkeys(found))


def _named(card: A2AAgentCard) -> Iterator[tuple[Any, Any, str, str | None]]:
    """Yield version, binding, URL and tenant of the interfaces that a card names."""
    main = {"url": card.url, "transport": card.preferred_transport or "JSONRPC"}
    older = [
        {"url": one.get("url"), "protocolBinding": one.get("transport"), "protocolVersion": "0.3"}
        for one in [main, *card.additional_interfaces]
        if isinstance(one, dict)
    ]
    for one in [*card.supported_interfaces, *older]:
        named = one if isinstance(one, dict) else {}
        binding = _BINDINGS.get(str(named.get("protocolBinding")).upper())
        word = str(named.get("protocolVersion") or "1.0")
        version = "1.0" if word.startswith("1") else "0.3" if word.startswith("0.") else None
        # REST of 0.3 hardly exists, and the official SDK's cannot list.
        if binding and version and named.get("url") and (version, binding) != ("0.3", "rest"):
            yield version, binding, str(named["url"]), named.get("tenant") or None


def _reachable(named: str, config: ConnectionConfig) -> list[str]:
    """Return what an interface's URL may mean: its host is the connection's, unless that says otherwise."""
    own = urlsplit(config.base_url)
    try:
        parts = urlsplit(named)
        is_same = (parts.scheme, parts.netloc) == (own.scheme, own.netloc)
        host = parts.hostname or ""
    except ValueError:
        return []
    if is_same:
        return [named]
    if _extras(config).use_card_host:
        if parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host)):
            return [named]
        raise ConnectionConfigError(
            f"Connection {config.conn_id!r}, extra use_card_host: the agent's card names {named!r}, which is "
            "no https:// URL. Nothing was sent there."
        )
    here = urlunsplit((own.scheme, own.netloc, parts.path, "", ""))
    if own.path and not f"{parts.path}/".startswith(f"{own.path}/"):
        # A gateway may have taken its prefix away before the agent knew its own address.
        return [f"{config.base_url}{parts.path}", here]
    return [here]


def found_agent(config: ConnectionConfig) -> Steps[Agent]:
    """Return the agent of a connection; look for it unless that is known."""
    known = AGENTS.get(config)
    if known is not None:
        return known
    card = yield from read_card(config)
    problem: RemoteTaskError = ConnectionConfigError(
        f"Connection {config.conn_id!r}: the agent's card names no interface of A2A 1.0 over REST or "
        "JSON-RPC, or of 0.3 over JSON-RPC, which the extras protocol_version and binding allow."
    )
    for interface in interfaces_of(card, config):
        try:
            lists = yield from _proved(interface)
        except ApiError as error:
            if not is_wrong_place(error):
                raise
            problem = error
            continue
        log.info(
            "A2A: %s speaks %s over %s at %s.", card.name, interface.version, interface.binding, interface.url
        )
        agent = Agent(card, interface, lists)
        AGENTS.note(config, agent)
        return agent
    raise problem


def _proved(interface: Interface) -> Steps[bool]:
    """Return whether an interface lists tasks; raise the error that proves that it is none."""
    listing = partial(wire.list_tasks, interface, TaskFilter(page_size=1))
    is_sure = interface.version == "0.3"
    if not is_sure:
        try:
            yield listing()
        except ApiError as error:
            # Some servers have no list, and say so in many ways.
            if not (is_wrong_place(error) or error.status_code in (400, 500)):
                raise
            is_sure = error.code in NO_SUCH_OPERATION
        else:
            return True
    try:
        yield wire.get_task(interface, str(uuid4()))
    except ApiError as error:
        if error.code != NOT_FOUND:
            raise
    if not is_sure:
        with suppress(ApiError):
            # It may have been trouble of a moment, and without the list nothing lost is found.
            yield listing()
            return True
    return False


def _extras(config: ConnectionConfig) -> A2AExtras:
    assert isinstance(config.extras, A2AExtras)  # noqa: S101 - of a connection of this service
    return config.extras
