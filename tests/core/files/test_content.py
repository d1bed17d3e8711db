"""Content within an answer: what arrives, and what is refused. Links are the transfer's own business."""

from __future__ import annotations

import base64
import hashlib
import io
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from remote_tasks_provider.core.errors import TransferError
from remote_tasks_provider.core.files.content import Content, Inline, SignedLink
from remote_tasks_provider.core.files.transfer import Transferred
from tests.core.raw_server import RawServer, answer

FILE = bytes(range(256))
TEXT = base64.b64encode(FILE).decode()


def save(content: Content, max_bytes: int = 1000) -> tuple[bytes, Transferred, list[int]]:
    buffer, seen = io.BytesIO(), list[int]()

    @contextmanager
    def opened() -> Iterator[io.BytesIO]:
        yield buffer

    rules: Any = {"max_bytes": max_bytes, "from_loopback": True, "on_bytes": seen.append}
    done = content.save(opened, **rules)
    return buffer.getvalue(), done, seen


class TestInline:
    @pytest.mark.parametrize(
        "text",
        [
            pytest.param(TEXT, id="standard"),
            pytest.param(base64.urlsafe_b64encode(FILE).decode(), id="url-safe"),
            pytest.param(TEXT.rstrip("="), id="unpadded"),
            pytest.param(base64.encodebytes(FILE).decode(), id="with line breaks"),
        ],
    )
    def test_content_is_decoded_however_it_is_written(self, text: str) -> None:
        content, done, seen = save(Inline(text))

        assert content == FILE
        assert done == Transferred(len(FILE), hashlib.sha256(FILE).hexdigest())
        assert seen == [len(FILE)]

    def test_empty_content_is_an_empty_file(self) -> None:
        content, done, _ = save(Inline(""))

        assert (content, done.size) == (b"", 0)

    @pytest.mark.parametrize("text", ["YQYQY", "%%%%", "ab=cd", "äöüß", "{}", "data:text/plain;base64,YQ=="])
    def test_broken_content_is_refused_for_good(self, text: str) -> None:
        with pytest.raises(TransferError, match="no base64") as caught:
            save(Inline(text))

        assert not caught.value.retry_helps
        assert text not in str(caught.value)

    @pytest.mark.parametrize(("most", "fits"), [(256, True), (255, False)])
    def test_content_beyond_the_limit_is_refused(self, most: int, fits: bool) -> None:
        if fits:
            assert save(Inline(TEXT), most)[0] == FILE
            return
        with pytest.raises(TransferError, match="256 bytes, and 255 are allowed"):
            save(Inline(TEXT), most)

    def test_identity_changes_with_the_content(self) -> None:
        assert Inline("YQ==").identity == Inline("YQ==").identity != Inline("YWE=").identity

    def test_content_is_in_no_repr(self) -> None:
        assert TEXT not in repr(Inline(TEXT))


class TestSignedLink:
    def test_link_is_downloaded(self) -> None:
        def handle(connection: socket.socket) -> None:
            answer(200, FILE, content_type="text/plain")(connection)

        with RawServer(handle) as server:
            content, done, _ = save(SignedLink(f"{server.url}/a?key=secret"))

        assert (content, done.content_type) == (FILE, "text/plain")

    def test_identity_is_the_link_without_its_key(self) -> None:
        link = SignedLink("https://files.test/a?key=secret")

        assert link.identity == "https://files.test/a"
        assert "secret" not in repr(link)

    @pytest.mark.parametrize("url", ["report.csv", "/files/report.csv", "", "../a?key=secret"])
    def test_link_without_a_host_is_refused_for_good(self, url: str) -> None:
        with pytest.raises(TransferError, match="names no host") as caught:
            save(SignedLink(url))

        assert "secret" not in str(caught.value)
