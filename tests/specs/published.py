"""Checks requests and answers against what the vendors publish; the validator is openapi-core's.

The published schemas let unknown fields and parameters pass. A request of ours is held to more: it may carry
nothing that is not published, so that a misspelt name shows.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import yaml
from openapi_core import Config, OpenAPI
from openapi_core.exceptions import OpenAPIError
from openapi_core.testing import MockRequest
from openapi_schema_validator import OAS31Validator

from remote_tasks_provider.core.http.operation import Request

__all__ = ["Refusal", "Spec", "published"]

_FOLDER = Path(__file__).parent
_METHODS = ("get", "post", "put", "delete", "patch")
# What later pages have than the file: https://open.manus.ai/docs/v2/task.create
_LATER = {
    "manus-v2": {
        "Message": {"task_references": {"type": "array", "items": {"type": "string"}, "maxItems": 20}}
    }
}


class Refusal(AssertionError):
    """What was sent is not what is published."""


class Spec:
    """One published interface.

    :param name: of its file, without the ending.
    """

    def __init__(self, name: str) -> None:
        text = (_FOLDER / f"{name}.openapi.yaml").read_text()
        self._raw: dict[str, Any] = yaml.safe_load(text)
        _mend_nullable(self._raw)
        strict = _closed(self._raw, _LATER.get(name, {}))
        # The files are without descriptions, which a well-formed document must have.
        self._checker = OpenAPI.from_dict(strict, config=Config(spec_validator_cls=None))
        self._host = self._raw["servers"][0]["url"]

    def check_request(self, request: Request, headers: Mapping[str, str]) -> None:
        """Raise :class:`Refusal` unless the request is one that the vendor describes."""
        has_body = request.json is not None
        sent = MockRequest(
            self._host,
            request.method.lower(),
            request.path,
            args=list(request.query),
            headers=dict(headers),
            data=json.dumps(request.json).encode() if has_body else None,
            content_type="application/json",
        )
        try:
            self._checker.validate_request(sent)
        except OpenAPIError as error:
            raise Refusal(f"{error} {error.__cause__ or ''}") from None
        operation = self.operation(request.method, request.path)
        known = {one["name"] for one in operation.get("parameters", []) if one["in"] == "query"}
        if unknown := {name for name, _ in request.query} - known:
            raise Refusal(f"{request.method} {request.path} has no {sorted(unknown)}")
        if has_body and "requestBody" not in operation:
            raise Refusal(f"{request.method} {request.path} takes no body")

    def operation(self, method: str, path: str) -> Mapping[str, Any]:
        """Return the description of one operation; ``path`` may hold ids."""
        for template, item in self._raw["paths"].items():
            if _fits(template, path) and method.lower() in item:
                found: Mapping[str, Any] = item[method.lower()]
                return found
        raise Refusal(f"there is no {method} {path}")

    @property
    def operations(self) -> Iterator[tuple[str, str]]:
        """Every method and path template."""
        for template, item in self._raw["paths"].items():
            yield from ((method.upper(), template) for method in _METHODS if method in item)

    def answer_schema(
        self, method: str, path: str, status: str = "200", *, needs: Iterable[str] = ()
    ) -> dict[str, Any]:
        """Return the JSON schema of an answer, free of references.

        :param needs: fields that shall be there and not be empty, such as ``data.*.id``
        """
        answer = self.operation(method, path)["responses"][status]
        schema = deepcopy(self._inlined(answer["content"]["application/json"]["schema"]))
        for one in needs:
            _require(schema, one.split("."))
        return schema

    def faults(self, method: str, path: str, status: int, body: Any) -> list[tuple[str, str]]:
        """Return what of an answer is not as published: the place, with ``*`` for each index, and why."""
        answers = self.operation(method, path)["responses"]
        key = next((one for one in (str(status), f"{status // 100}XX") if one in answers), None)
        if key is None:
            raise Refusal(f"{method} {path} has no answer with status {status}")
        faults = OAS31Validator(
            self.answer_schema(method, path, key), format_checker=OAS31Validator.FORMAT_CHECKER
        )
        return sorted({(_place(fault.absolute_path), fault.validator) for fault in faults.iter_errors(body)})

    def _inlined(self, node: Any) -> Any:
        if isinstance(node, list):
            return [self._inlined(one) for one in node]
        if not isinstance(node, dict):
            return node
        if "$ref" in node:
            return self._inlined(self._raw["components"]["schemas"][node["$ref"].rpartition("/")[2]])
        return {name: self._inlined(one) for name, one in node.items()}


@cache
def published(name: str) -> Spec:
    """Return an interface; reading one takes a moment."""
    return Spec(name)


def _fits(template: str, path: str) -> bool:
    wanted, given = template.split("/"), [unquote(part) for part in path.split("/")]
    return len(wanted) == len(given) and all(
        one.startswith("{") or one == other for one, other in zip(wanted, given, strict=True)
    )


def _place(path: Iterable[Any]) -> str:
    return ".".join("*" if isinstance(part, int) else part for part in path)


def _mend_nullable(node: Any) -> None:
    """Say it in the words of OpenAPI 3.1, which knows no ``nullable``; the document mixes both."""
    if isinstance(node, dict) and node.pop("nullable", None):
        node["type"] = [node["type"], "null"]
    for inner in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        _mend_nullable(inner)


def _closed(raw: dict[str, Any], later: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return a copy whose requests allow no field that is not named."""
    closed = deepcopy(raw)
    schemas = closed["components"]["schemas"]
    for name, fields in later.items():
        schemas[name]["properties"] |= fields
    bodies = [
        operation["requestBody"]
        for item in closed["paths"].values()
        for operation in item.values()
        if isinstance(operation, dict) and "requestBody" in operation
    ]
    for part in (*bodies, *(schemas[name] for name in ("Message", "ContentPart") if name in schemas)):
        _close(part)
    return closed


def _close(node: Any) -> None:
    if isinstance(node, dict):
        if "properties" in node and node.get("type") == "object":
            node.setdefault("additionalProperties", False)
        for inner in node.values():
            _close(inner)
    elif isinstance(node, list):
        for inner in node:
            _close(inner)


def _require(schema: dict[str, Any], names: list[str]) -> None:
    name, *rest = names
    if name == "*":
        _require(schema["items"], rest)
        return
    schema["required"] = sorted({*schema.get("required", ()), name})
    inner = schema["properties"][name]
    if rest:
        _require(inner, rest)
    elif inner.get("type") == "string":
        inner["minLength"] = 1
