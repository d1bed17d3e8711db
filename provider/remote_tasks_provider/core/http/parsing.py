"""Reading a service's JSON: tolerant in what is read, exact about what cannot be read.

One odd value spoils nothing but itself:

* A field of a lenient type takes its default when the service sends something unreadable, such as a time in
  the year 60000.
* An item of :data:`Items` whose other fields are unreadable, its id above all, is left out, and the log says
  so. Nobody can tell whose it is. A task that a wait needs is then asked for by itself, and has that error
  for its own.
* Text that no database stores is replaced, wherever it is in the answer; see
  :mod:`remote_tasks_provider.core.storable`. Bytes that no reader of JSON takes are repaired.

An answer of another shape, or of whose items none is readable, is invalid.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cached_property
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
)
from pydantic_core import CoreSchema, core_schema

from remote_tasks_provider.core.http import json_body
from remote_tasks_provider.core.http.operation import Response
from remote_tasks_provider.core.storable import cut, storable_json, storable_text

__all__ = [
    "Items",
    "Json",
    "JsonObject",
    "LenientBool",
    "LenientInt",
    "LenientStr",
    "Moment",
    "OrEmpty",
    "OrNone",
    "Reader",
    "RemoteModel",
    "one_line",
]

T = TypeVar("T")


class OrNone:
    """Annotation: a value that does not fit is read as ``None``. Runs inside pydantic's compiled core."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_default_schema(handler(source), default=None, on_error="default")


class OrEmpty:
    """Annotation: a value that is ``null`` or unreadable is read as what ``make_empty`` returns."""

    def __init__(self, make_empty: Callable[[], Any]) -> None:
        self._make_empty = make_empty

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_default_schema(
            handler(source), default_factory=self._make_empty, on_error="default"
        )


_FIRST_MOMENT = datetime(1970, 1, 1, tzinfo=UTC)
# A year before Python's last, so that a time can be moved to any zone and have hours added.
_LAST_MOMENT = datetime(9999, 1, 1, tzinfo=UTC)

Moment = Annotated[Annotated[AwareDatetime, Field(ge=_FIRST_MOMENT, lt=_LAST_MOMENT)] | None, OrNone()]
"""An aware time from Unix seconds or milliseconds or ISO 8601 with an offset, else ``None``."""

LenientInt = Annotated[Annotated[int, Field(ge=-(2**63), lt=2**63)] | None, OrNone()]
"""An integer of 64 bits, also from a string as protobuf's JSON sends it, else ``None``."""

LenientStr = Annotated[str | None, OrNone()]
"""A string, else ``None``."""

LenientBool = Annotated[bool | None, OrNone()]
"""A boolean, else ``None``."""

Json = Annotated[Any, AfterValidator(storable_json)]
"""Any JSON value, fit to be stored."""

JsonObject = Annotated[dict[str, Any], AfterValidator(storable_json)]
"""Any JSON object, fit to be stored."""


def _readable(items: list[Any], info: ValidationInfo) -> list[Any]:
    """Return ``items`` without the odd ones, which are ``None``; count them in the context."""
    found = [one for one in items if one is not None]
    odd = len(items) - len(found)
    if odd > 1 and not found:
        raise ValueError(f"none of the {odd} items is readable")
    if odd and info.context is not None:
        info.context.append(odd)
    return found


Items = Annotated[list[Annotated[T, OrNone()]], AfterValidator(_readable)]
"""A list without the items that are no ``T``."""


class RemoteModel(BaseModel):
    """Base of every model of something remote: immutable, and open to fields the service adds later."""

    # Built when it is first used: every DAG file imports the models of all answers, and needs few.
    model_config = ConfigDict(frozen=True, extra="allow", populate_by_name=True, defer_build=True)

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object that can be stored."""
        found: dict[str, Any] = storable_json(self.model_dump(mode="json"))
        return found


class Reader:
    """Makes a value of a type from an answer's bytes.

    :raises ValueError: (on call) naming what is wrong and where; never showing a value, which may be secret.
    """

    def __init__(self, value_type: Any) -> None:
        self._type = value_type

    @cached_property
    def _adapter(self) -> TypeAdapter[Any]:
        # Made when it is needed: every DAG file imports the readers of all operations.
        return TypeAdapter(self._type)

    def __call__(self, response: Response) -> Any:
        """Return the value."""
        # A page of a thousand tasks makes the garbage collector run dozens of times over all that Airflow has
        # loaded, to find nothing: what is read from JSON holds no cycles. That took three quarters of the
        # time of listing.
        collects = gc.isenabled()
        gc.disable()
        try:
            return self._read(response)
        finally:
            if collects:
                gc.enable()

    def _read(self, response: Response) -> Any:
        body = response.body
        # An answer is repaired only if it has to be, and no more than it has to.
        for repaired in (json_body.without_nul, json_body.with_readable_text, json_body.with_readable_values):
            body = repaired(body)
            try:
                return self._adapter.validate_json(body, context=response.odd_items)
            except ValidationError as error:
                fault = error.errors(include_input=False, include_url=False, include_context=False)[0]
            if fault["type"] != "json_invalid":
                where = ".".join(str(part) for part in fault["loc"]) or "the top level"
                raise ValueError(f"{fault['msg'].lower()} at {cut(where, 200)}")
        raise ValueError("the body is not JSON")


def one_line(text: str, limit: int = 300) -> str:
    """Return ``text`` on one line, fit to be stored and cut to ``limit`` characters, for a message."""
    return cut(" ".join(storable_text(text).split()), limit)
