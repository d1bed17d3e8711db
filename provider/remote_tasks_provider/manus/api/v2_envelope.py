"""The envelope of Manus API v2: every response says by ``ok`` whether it is one, beside the HTTP status.

https://open.manus.ai/docs/v2/introduction
"""

from __future__ import annotations

from typing import Annotated, Any, Generic, TypeVar

from pydantic import ConfigDict, Field

from remote_tasks_provider.core.http.operation import Refused, Response
from remote_tasks_provider.core.http.parsing import (
    Items,
    JsonObject,
    LenientBool,
    LenientInt,
    LenientStr,
    OrEmpty,
    OrNone,
    Reader,
    RemoteModel,
)
from remote_tasks_provider.manus.api.v2_models import ManusEvent, ManusTaskV2, ManusUsage
from remote_tasks_provider.manus.results import CreatedTask
from remote_tasks_provider.manus.webhooks import ManusWebhook
from remote_tasks_provider.manus.websites import ManusPublication, ManusWebsite

__all__ = [
    "PublicKey",
    "read_created",
    "read_credits",
    "read_events",
    "read_object",
    "read_objects",
    "read_public_key",
    "read_publication",
    "read_task",
    "read_tasks",
    "read_usage",
    "read_webhook",
    "read_webhooks",
    "read_website",
]

T = TypeVar("T")

# The codes of https://open.manus.ai/docs/v2/introduction and the HTTP status that fits each, should one come
# with a good status. The last ones are not documented: other services of this kind use them for their own
# faults, after which a request may have been carried out all the same.
_STATUS_OF = {
    "invalid_argument": 400,
    "unauthenticated": 401,
    "permission_denied": 403,
    "not_found": 404,
    "rate_limited": 429,
    "resource_exhausted": 429,
    "internal": 500,
    "unknown": 500,
    "unavailable": 503,
    "deadline_exceeded": 504,
}


class _Error(RemoteModel):
    code: LenientStr = None


class _Answer(RemoteModel):
    """What every response has.

    :param code: of an error that came without the envelope, as those of OAuth do.
    """

    ok: LenientBool = None
    error: Annotated[_Error | None, OrNone()] = None
    code: LenientStr = None


class _TaskAnswer(_Answer):
    task: ManusTaskV2


class _Page(_Answer):
    # Not lenient: a list whose end is not known must not end.
    has_more: bool | None = None
    next_cursor: LenientStr = None

    @property
    def cursor(self) -> str | None:
        """Where the next page begins; ``None`` on the last one."""
        if self.has_more and not self.next_cursor:
            raise ValueError("'has_more' is true but there is no 'next_cursor' for the next page")
        return self.next_cursor if self.has_more else None


class _TaskPage(_Page):
    data: Items[ManusTaskV2] | None = None


class _EventPage(_Page):
    messages: Items[ManusEvent] | None = None


class _Created(_Answer, CreatedTask):
    pass


class _Publication(_Answer, ManusPublication):
    pass


class _Website(_Answer, ManusWebsite):
    pass


class _Object(_Answer):
    model_config = ConfigDict(extra="allow")

    project: Annotated[JsonObject, OrEmpty(dict)] = Field(default_factory=dict)
    file: Annotated[JsonObject, OrEmpty(dict)] = Field(default_factory=dict)
    upload_url: LenientStr = Field(default=None, repr=False)
    confirmed: LenientBool = None


class _Objects(_Answer):
    data: Items[JsonObject] | None = None


class _UsagePage(_Page):
    data: Items[ManusUsage] | None = None


class _Credits(RemoteModel):
    total_credits: LenientInt = None


class _CreditsAnswer(_Answer):
    data: Annotated[_Credits | None, OrNone()] = None


class _WebhookAnswer(_Answer):
    webhook: ManusWebhook


class _WebhookList(_Answer):
    data: Items[ManusWebhook] | None = None


class PublicKey(RemoteModel):
    """A public key in PEM, as both versions show it."""

    public_key: str = Field(min_length=1)


class _PublicKeyAnswer(_Answer, PublicKey):
    pass


class _Read(Generic[T]):
    """Reads a response as ``model``; raises :class:`Refused` for an error that came with a good status."""

    def __init__(self, model: type[T]) -> None:
        self._read = Reader(model)
        self._read_envelope = Reader(_Answer)

    def __call__(self, response: Response) -> T:
        try:
            answer: T = self._read(response)
        except ValueError:
            # An error has none of the fields that a good response must have.
            self._check(self._read_envelope(response))
            raise
        self._check(answer)
        return answer

    def _check(self, answer: Any) -> None:
        if answer.ok is False or (answer.ok is None and answer.code in _STATUS_OF):
            code = answer.error.code if answer.error else answer.code
            raise Refused(_STATUS_OF.get(code or "", 400))


read_task = _Read(_TaskAnswer)
read_tasks = _Read(_TaskPage)
read_events = _Read(_EventPage)
read_created = _Read(_Created)
read_object = _Read(_Object)
read_objects = _Read(_Objects)
read_credits = _Read(_CreditsAnswer)
read_usage = _Read(_UsagePage)
read_publication = _Read(_Publication)
read_website = _Read(_Website)
read_webhook = _Read(_WebhookAnswer)
read_webhooks = _Read(_WebhookList)
read_public_key = _Read(_PublicKeyAnswer)
