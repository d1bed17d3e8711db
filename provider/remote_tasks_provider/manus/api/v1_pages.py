"""Pages of API v1's list of tasks, whose conversations stay JSON until one of them is asked for.

A conversation is by far the largest part of a listed task, and of a hundred thousand few are looked at. So a
page is read twice at most: at once for all but the conversations, and for those when someone asks.
"""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Generic, TypeVar

from pydantic import ConfigDict, Field, GetCoreSchemaHandler, field_serializer
from pydantic_core import CoreSchema, core_schema

from remote_tasks_provider.core.http.operation import Response
from remote_tasks_provider.core.http.parsing import Items, LenientStr, OrEmpty, Reader, RemoteModel
from remote_tasks_provider.manus.models import ManusTask, ManusTaskSummary

__all__ = ["TaskPage", "TaskPages", "read_summaries"]

ItemT = TypeVar("ItemT")


class TaskPage(RemoteModel, Generic[ItemT]):
    """One page of the list."""

    object: LenientStr = None
    data: Items[ItemT] | None = None
    last_id: LenientStr = None
    # Not lenient: a list whose end is not known must not end.
    has_more: bool | None = None


class _Skipped:
    """Annotation: a list of which nothing is kept."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        # An object without fields takes any object and skips what is in it.
        return core_schema.list_schema(core_schema.typed_dict_schema({}, extra_behavior="ignore"))


class ListedTask(ManusTask):
    """A :class:`ManusTask` whose conversation is read when it is first asked for."""

    raw_output: Annotated[list[Any], _Skipped(), OrEmpty(list)] = Field(
        default_factory=list, alias="output", repr=False
    )

    @field_serializer("raw_output")
    def _dump(self, _kept: Any) -> list[Any]:
        return self.raw_output

    def __eq__(self, other: Any) -> bool:
        if type(other) is not ManusTask:
            return super().__eq__(other)
        return self.model_extra == other.model_extra and all(
            getattr(self, name) == getattr(other, name) for name in ManusTask.model_fields
        )

    __hash__ = ManusTask.__hash__

    def __repr_name__(self) -> str:
        return ManusTask.__name__


def _raw_output(task: ListedTask) -> Any:
    kept = vars(task)["raw_output"]
    return kept.read() if isinstance(kept, _Conversation) else kept


if not TYPE_CHECKING:
    # A property comes before what pydantic keeps in the instance under the same name.
    ListedTask.raw_output = property(_raw_output)


class _Conversation:
    """One task's conversation: JSON on its page, then a list. Compared, copied and pickled as the list."""

    __slots__ = ("__weakref__", "items", "page")
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, page: _Conversations) -> None:
        self.page: _Conversations | None = page
        self.items: list[Any] = []

    def read(self) -> list[Any]:
        if (page := self.page) is not None:
            page.read()
        return self.items

    def __eq__(self, other: object) -> bool:
        return self.read() == (other.read() if isinstance(other, _Conversation) else other)

    def __reduce__(self) -> tuple[Any, ...]:
        return list, (self.read(),)


class _Conversations:
    """The conversations of one page's tasks. Until they are read they keep the page in memory."""

    def __init__(self, response: Response, tasks: Sequence[ListedTask]) -> None:
        self._response: Response | None = response
        self._lock = threading.Lock()
        self._unread: list[weakref.ref[_Conversation]] = []
        for task in tasks:
            conversation = vars(task)["raw_output"] = _Conversation(self)
            self._unread.append(weakref.ref(conversation))

    def read(self) -> None:
        """Read the conversations of all tasks that are still in use, and let go of the page."""
        with self._lock:
            if self._response is None:
                return
            found = _read_outputs(self._response).data
            for reference, item in zip(self._unread, found, strict=True):
                if (conversation := reference()) is not None:
                    conversation.items = item.output
                    conversation.page = None
            self._response, self._unread = None, []


class TaskPages:
    """Reads the pages of one list, one after the other; keeps at most the last two in memory.

    Of an older page remains what is still in use: a reader that keeps one task of a page, the last one above
    all, must not keep the page.
    """

    def __init__(self) -> None:
        self._recent: deque[weakref.ref[_Conversations]] = deque(maxlen=2)

    def __call__(self, response: Response) -> TaskPage[Any]:
        """Return the page.

        :raises ValueError: when it cannot be read.
        """
        page: TaskPage[ListedTask] = _read_tasks(response)
        if len(self._recent) == 2 and (older := self._recent[0]()) is not None:
            older.read()
        self._recent.append(weakref.ref(_Conversations(response, page.data or [])))
        return page


class _Output(RemoteModel):
    model_config = ConfigDict(extra="ignore")

    # With the same rule for the id, both readings leave out the same items.
    id: str = Field(min_length=1)
    output: Annotated[list[Any], OrEmpty(list)] = Field(default_factory=list)


_read_tasks = Reader(TaskPage[ListedTask])
_read_outputs = Reader(TaskPage[_Output])
read_summaries = Reader(TaskPage[ManusTaskSummary])
