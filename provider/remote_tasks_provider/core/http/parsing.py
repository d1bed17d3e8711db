"""Reading a service's JSON: tolerant in what is read, exact about what cannot be read.

A field of a lenient type takes its default when the service sends something unreadable, such as a time in the
year 60000, so that one odd field never costs a whole page of tasks. Other fields, ids above all, make the
answer invalid.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, GetCoreSchemaHandler, TypeAdapter, ValidationError
from pydantic_core import CoreSchema, core_schema

from remote_tasks_provider.core.http.operation import Response

__all__ = [
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
    """Annotation: a value that is ``null`` or unreadable is read as an empty one of ``kind``."""

    def __init__(self, kind: Callable[[], Any]) -> None:
        self._kind = kind

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_default_schema(
            handler(source), default_factory=self._kind, on_error="default"
        )


Moment = Annotated[AwareDatetime | None, OrNone()]
"""An aware time from Unix seconds or milliseconds or ISO 8601 with an offset, else ``None``."""

LenientInt = Annotated[int | None, OrNone()]
"""An integer, also from a string as protobuf's JSON sends it, else ``None``."""

LenientStr = Annotated[str | None, OrNone()]
"""A string, else ``None``."""

LenientBool = Annotated[bool | None, OrNone()]
"""A boolean, else ``None``."""


class RemoteModel(BaseModel):
    """Base of every model of something remote: immutable, and open to fields the service adds later."""

    model_config = ConfigDict(frozen=True, extra="allow", populate_by_name=True)


class Reader:
    """Makes a value of ``kind`` from an answer's bytes.

    :raises ValueError: (on call) naming what is wrong and where; never showing a value, which may be secret.
    """

    def __init__(self, kind: Any) -> None:
        self._adapter: TypeAdapter[Any] = TypeAdapter(kind)

    def __call__(self, response: Response) -> Any:
        """Return the value."""
        # A page of a thousand tasks makes the garbage collector run dozens of times over all that Airflow has
        # loaded, to find nothing: what is read from JSON holds no cycles. That took three quarters of the
        # time of listing.
        collects = gc.isenabled()
        gc.disable()
        try:
            return self._adapter.validate_json(response.body)
        except ValidationError as error:
            raise ValueError(_first_fault(error)) from None
        finally:
            if collects:
                gc.enable()


def _first_fault(error: ValidationError) -> str:
    fault = error.errors(include_input=False, include_url=False, include_context=False)[0]
    if fault["type"] == "json_invalid":
        return "the body is not JSON"
    where = ".".join(str(part) for part in fault["loc"]) or "the top level"
    return f"{fault['msg'].lower()} at {where}"


def one_line(text: str, limit: int = 300) -> str:
    """Return ``text`` on one line and cut to ``limit`` characters, for a message."""
    line = " ".join(text.split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"
