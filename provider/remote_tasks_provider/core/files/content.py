"""Where the bytes of a service's file are: behind a signed link, or within an answer of the service."""

from __future__ import annotations

import binascii
import hashlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from remote_tasks_provider.core.errors import TransferError
from remote_tasks_provider.core.files.transfer import ByteWriter, OnBytes, Transferred, download

__all__ = ["Content", "Inline", "SignedLink"]

_URL_SAFE = str.maketrans("-_", "+/")


class Content(Protocol):
    """The bytes of a file, which can be read as often as needed."""

    @property
    def identity(self) -> str:
        """What is another one when the bytes are others; no key is in it."""

    def save(
        self,
        open_writer: Callable[[], AbstractContextManager[ByteWriter]],
        *,
        max_bytes: int,
        from_loopback: bool,
        on_bytes: OnBytes,
    ) -> Transferred:
        """Write the bytes; see :func:`~remote_tasks_provider.core.files.transfer.download`.

        :raises LinkExpiredError: the service may give the content again.
        :raises RemoteTaskError: the content cannot be had.
        """


@dataclass(frozen=True, slots=True)
class SignedLink:
    """Content behind a link that needs no key."""

    url: str = field(repr=False)

    @property
    def identity(self) -> str:
        """The link without its query, which is its key."""
        return self.url.partition("?")[0]

    def save(
        self, open_writer: Callable[[], AbstractContextManager[ByteWriter]], **rules: Any
    ) -> Transferred:
        """Download the bytes."""
        return download(self.url, open_writer, **rules)


@dataclass(frozen=True, slots=True)
class Inline:
    """Content that is here already.

    :param base64: in either alphabet, with or without padding.
    """

    base64: str = field(repr=False)

    @property
    def identity(self) -> str:
        """The hash of the content."""
        return f"sha256:{hashlib.sha256(self.base64.encode()).hexdigest()}"

    def save(
        self,
        open_writer: Callable[[], AbstractContextManager[ByteWriter]],
        *,
        max_bytes: int,
        from_loopback: bool,
        on_bytes: OnBytes,
    ) -> Transferred:
        """Write the bytes.

        :raises TransferError: they are too many, or no base64. A retry cannot help.
        """
        content = self._decoded()
        if len(content) > max_bytes:
            raise TransferError(
                f"the file has {len(content)} bytes, and {max_bytes} are allowed. Raise the limit if files "
                "of this size are meant to be saved."
            )
        with open_writer() as writer:
            writer.write(content)
        on_bytes(len(content))
        return Transferred(len(content), hashlib.sha256(content).hexdigest())

    def _decoded(self) -> bytes:
        text = "".join(self.base64.split()).rstrip("=").translate(_URL_SAFE)
        try:
            return binascii.a2b_base64(text + "=" * (-len(text) % 4), strict_mode=True)
        except ValueError:
            raise TransferError(
                "the service sent content that is no base64: the file is broken there."
            ) from None
