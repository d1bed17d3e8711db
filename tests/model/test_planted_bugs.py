"""The machine finds providers that break their promises: each of these has one bug, planted at the border.

A bug is planted in what the provider sends or keeps, not in its code, so that it stays planted when the code
changes.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from hypothesis.stateful import run_state_machine_as_test

from remote_tasks_provider.core.errors import TransportError
from remote_tasks_provider.core.http.connection import ConnectionConfig
from remote_tasks_provider.core.http.operation import Request, Response
from tests.model.machine import BrokenPromise, SubmissionMachine, quiet
from tests.model.world import PROMISES, World

_TAGS_ONLY = {"service": "v2", "version": "3.2", "hides": False}


class NoRecord(World):
    """A provider that keeps no record."""

    def __init__(self, settings: Any) -> None:
        super().__init__(settings)
        for ti in self.tasks.values():
            if ti.store is not None:
                ti.store.set = lambda key, value, **_: None  # type: ignore[method-assign]


class NoDeduplicationId(World):
    """A provider that sends no deduplication id."""

    def answer(
        self, request: Request, config: ConnectionConfig, timeout: float | None
    ) -> Response | Exception:
        kept = tuple(one for one in request.headers if "deduplication" not in one[0].lower())
        return super().answer(replace(request, headers=kept), config, timeout)


class NoContextId(World):
    """A provider whose context ids and message ids an agent makes up anew."""

    def answer(
        self, request: Request, config: ConnectionConfig, timeout: float | None
    ) -> Response | Exception:
        if self.account.pays(request):
            request = replace(request, json=copy.deepcopy(request.json))
            message = request.json.get("params", request.json)["message"]
            message.update(contextId=str(uuid4()), messageId=str(uuid4()), metadata={})
        return super().answer(request, config, timeout)


class NoDeployment(World):
    """A provider that does not tell two Airflows apart."""

    def __init__(self, settings: Any) -> None:
        super().__init__(settings)
        self.tasks["staging"].deployment = "production"


class NoIndex(World):
    """A provider that does not tell the instances of a mapped task apart."""

    def __init__(self, settings: Any) -> None:
        super().__init__(settings)
        self.tasks["sibling"].map_index = -1


class NoLoss(World):
    """A provider that takes a lost answer for a request that was not sent."""

    def _faulty(self, *arguments: Any) -> Response | Exception:
        found = super()._faulty(*arguments)
        return TransportError(str(found), sent=False) if isinstance(found, TransportError) else found


@pytest.mark.parametrize(
    ("world", "promise", "fixed"),
    [
        pytest.param(NoRecord, "1", {"service": "v1", "version": "3.3"}, id="no record"),
        pytest.param(
            NoDeduplicationId, "1", {"service": "qstash", "version": "3.2"}, id="no deduplication id"
        ),
        pytest.param(
            NoContextId, "1", {"service": "a2a-rest", "version": "3.2"}, id="no context id over REST"
        ),
        pytest.param(
            NoContextId, "1", {"service": "a2a-rpc", "version": "3.2"}, id="no context id over JSON-RPC"
        ),
        pytest.param(NoRecord, "1", {"service": "a2a-0.3", "version": "3.3"}, id="no record over 0.3"),
        pytest.param(NoDeployment, "2", _TAGS_ONLY, id="no deployment"),
        pytest.param(NoIndex, "2", _TAGS_ONLY, id="no map index"),
        pytest.param(NoLoss, "1", {"service": "v2", "version": "3.3"}, id="no lost answers"),
    ],
)
def test_machine_finds_a_planted_bug(world: type[World], promise: str, fixed: dict[str, Any]) -> None:
    _finds(promise, {"world_class": world, "fixed": fixed})


@pytest.mark.parametrize(
    ("place", "bug", "promise", "fixed"),
    [
        pytest.param(
            "bases.submission.may_have_submitted",
            lambda _: False,
            "1",
            {"service": "v1"},
            id="no lost answers",
        ),
    ],
)
def test_machine_finds_a_wrong_rule(
    monkeypatch: pytest.MonkeyPatch, place: str, bug: Any, promise: str, fixed: dict[str, Any]
) -> None:
    monkeypatch.setattr(f"remote_tasks_provider.{place}", bug)

    _finds(promise, {"fixed": fixed})


def _finds(promise: str, members: dict[str, Any]) -> None:
    ignored = [number for number in PROMISES if number != promise]
    machine: Any = type("Planted", (SubmissionMachine,), {**members, "ignored": ignored})

    with pytest.raises(BrokenPromise, match=f"PROMISE {promise} BROKEN"):
        run_state_machine_as_test(machine, settings=quiet(500, 30, shorten=False, derandomize=True))
