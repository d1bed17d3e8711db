"""Files from links into a folder and back, on a file system that renames and on a store that copies."""

from __future__ import annotations

import hashlib
import json
import logging
import socket
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath
from fsspec.implementations.memory import MemoryFileSystem

from remote_tasks_provider.bases import files as module
from remote_tasks_provider.bases import listing as listing_module
from remote_tasks_provider.bases.files import RemoteFile, open_source, save_files
from remote_tasks_provider.bases.listing import RemoteListOperator
from remote_tasks_provider.core.errors import (
    LinkExpiredError,
    RemoteTaskError,
    ServerError,
    TransferError,
    TransferIncompleteError,
)
from remote_tasks_provider.core.files import content, transfer
from remote_tasks_provider.core.files.content import SignedLink
from remote_tasks_provider.core.http.retry import RetryPolicy
from remote_tasks_provider.core.progress_log import ProgressLog
from tests.core.raw_server import Handler, RawServer, answer

KEY = "Signature=top-secret"
log = logging.getLogger(__name__)


class Host:
    """Serves files by path; a query of ``expired`` is refused as expired."""

    def __init__(self) -> None:
        self.files: dict[str, bytes | Handler] = {}
        self.server = RawServer(self._handle)

    def _handle(self, connection: socket.socket) -> None:
        path, _, query = self.server.requests[-1].split(b" ")[1].decode().partition("?")
        found = self.files.get(path, answer(404, b""))
        if query == "expired":
            found = answer(403, b"")
        (answer(200, found, content_type="text/plain") if isinstance(found, bytes) else found)(connection)

    def add(self, name: str, content: bytes | Handler, path: str = "", **facts: Any) -> RemoteFile:
        path = path or f"/{len(self.files)}/file"
        self.files[path] = content
        link = SignedLink(f"{self.server.url}{path}?{facts.pop('query', KEY)}")
        return RemoteFile(name, link, **facts)

    def link(self, content: bytes | Handler, **facts: Any) -> str:
        found = self.add("", content, **facts).content
        assert isinstance(found, SignedLink)
        return found.url

    @property
    def asked(self) -> list[str]:
        return [request.split(b" ")[1].decode().partition("?")[0] for request in self.server.requests]


@pytest.fixture(autouse=True)
def one_short_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "_RETRIES", RetryPolicy(max_attempts=1))
    monkeypatch.setattr(transfer, "_READ_TIMEOUT", 0.5)


@pytest.fixture
def host() -> Iterator[Host]:
    host = Host()
    with host.server:
        yield host


@pytest.fixture(params=["file", "memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """A folder that does not exist yet."""
    if request.param == "file":
        return ObjectStoragePath(f"file://{tmp_path}/out/deep")
    store = import_module(f"{ObjectStoragePath.__module__.rpartition('.')[0]}.store")
    store.attach("memory", fs=MemoryFileSystem())
    return ObjectStoragePath(f"memory://bucket/{uuid.uuid4().hex}/deep")


def _save(files: list[RemoteFile], folder: Any, **facts: Any) -> list[dict[str, Any]]:
    named = {"owner": "Example t1", "max_bytes_per_file": 1 << 20, "log": log, "from_loopback": True} | facts
    return save_files(files, folder, **named)


def _fails(kind: type[RemoteTaskError], *args: Any, **facts: Any) -> RemoteTaskError:
    with pytest.raises(kind) as caught:
        _save(*args, **facts)
    assert type(caught.value) is kind
    assert KEY not in str(caught.value)
    return caught.value


def _in(folder: Any) -> dict[str, bytes]:
    """What a reader of the folder meets, the record aside."""
    return {
        path.name: path.read_bytes()
        for path in folder.iterdir()
        if not path.name.startswith(".remote-tasks-")
    }


def _record(folder: Any) -> Any:
    (record,) = [path for path in folder.iterdir() if path.name.startswith(".remote-tasks-")]
    return record


def _put(path: Any, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.fs.open(path.path, "wb") as file:
        file.write(content)


def _broken(connection: socket.socket) -> None:
    answer(200, b"half", content_length="8")(connection)


def _relinked(file: RemoteFile, key: str, another: str) -> SignedLink:
    assert isinstance(file.content, SignedLink)
    return SignedLink(file.content.url.replace(key, another))


def _slow_clock(monkeypatch: pytest.MonkeyPatch, kind: Any, seconds: float) -> None:
    """Let so many seconds pass whenever progress is counted."""
    now = count(1000.0, seconds)
    monkeypatch.setattr(kind, "ProgressLog", partial(ProgressLog, monotonic=lambda: next(now)))


class TestProgress:
    def test_long_download_says_how_far_it_is(
        self, host: Host, folder: Any, monkeypatch: pytest.MonkeyPatch, log_lines: list[str]
    ) -> None:
        _slow_clock(monkeypatch, module, 6.0)
        _save([host.add(name, b"x" * 1000) for name in ("a", "b", "c")], folder)

        assert [line for line in log_lines if "so far" in line] == [
            f"Saving to {folder}: 1 of 3 files, 1.0 kB so far, 83 bytes/s.",
            f"Saving to {folder}: 2 of 3 files, 2.0 kB so far, 83 bytes/s.",
            f"Saving to {folder}: 3 of 3 files, 3.0 kB so far, 83 bytes/s.",
        ]

    def test_long_upload_says_how_far_it_is(
        self, host: Host, folder: Any, monkeypatch: pytest.MonkeyPatch, log_lines: list[str]
    ) -> None:
        _put(folder / "a.csv", b"a,b")
        _slow_clock(monkeypatch, module, 10.0)
        open_source(folder / "a.csv").upload_to(host.link(answer(200, b"")), log=log, from_loopback=True)

        assert log_lines == [f"Uploading {folder / 'a.csv'} (3 bytes): 3 bytes so far, 0 bytes/s."]

    def test_long_list_says_how_far_it_is(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log_lines: list[str]
    ) -> None:
        class Items(RemoteListOperator):
            def read(self, hook: Any, limit: int | None) -> Any:
                return ((str(number), {"id": number}) for number in range(10))

        _slow_clock(monkeypatch, listing_module, 4.0)
        target = f"file://{tmp_path}/a.jsonl"
        found = Items(task_id="list", output_path=target).act(None, {})

        assert found["count"] == 10
        assert log_lines == [
            f"Writing to {target}: 3 items, 30 bytes so far, 0 items/s.",
            f"Writing to {target}: 6 items, 60 bytes so far, 0 items/s.",
            f"Writing to {target}: 9 items, 90 bytes so far, 0 items/s.",
        ]


class TestSaving:
    def test_files_are_saved_and_described_in_order(self, host: Host, folder: Any) -> None:
        files = [host.add("b.txt", b"bbb"), host.add("a.csv", b"", content_type="text/csv")]

        manifest = _save(files, folder)

        assert manifest == [
            {
                "name": "b.txt",
                "path": str(folder / "b.txt"),
                "size": 3,
                "content_type": "text/plain",
                "sha256": hashlib.sha256(b"bbb").hexdigest(),
            },
            {
                "name": "a.csv",
                "path": str(folder / "a.csv"),
                "size": 0,
                "content_type": "text/csv",
                "sha256": hashlib.sha256(b"").hexdigest(),
            },
        ]
        assert _in(folder) == {"b.txt": b"bbb", "a.csv": b""}

    def test_manifest_path_leads_to_the_file(self, host: Host, folder: Any) -> None:
        names = ["a b#c?.txt", "100%20.txt", "re [1]*.txt", "a@b;c=d&e+f.txt", 'ü\'s "x".txt', "#"]
        manifest = _save([host.add(name, name.encode()) for name in names], folder)

        assert [entry["name"] for entry in manifest] == names
        assert [ObjectStoragePath(entry["path"]).read_bytes().decode() for entry in manifest] == names

    def test_foreign_names_stay_inside_the_folder_and_apart(self, host: Host, folder: Any) -> None:
        names = ["../../escape", "a.txt", "A.txt", "", ".hidden"]
        _save([host.add(name, name.encode()) for name in names], str(folder))

        assert _in(folder) == {
            "escape": b"../../escape",
            "a.txt": b"a.txt",
            "A (2).txt": b"A.txt",
            "file-4.bin": b"",
            "_hidden": b".hidden",
        }

    def test_unprintable_name_is_remembered(self, host: Host, folder: Any) -> None:
        files = [host.add("half \ud800 a character", b"a"), host.add("ü.txt", b"b")]

        assert _save(files, folder) == _save(files, folder)
        assert _in(folder) == {"half  a character": b"a", "ü.txt": b"b"}
        assert len(host.asked) == 2

    def test_manifest_record_and_repr_hold_no_link(self, host: Host, folder: Any) -> None:
        file = host.add("a.txt", b"a")
        manifest = _save([file], folder)

        for text in (json.dumps(manifest), _record(folder).read_text(), repr(file)):
            assert KEY not in text
            assert host.server.url not in text

    def test_empty_list_creates_no_folder(self, folder: Any) -> None:
        assert _save([], folder) == []
        assert not folder.exists()

    def test_lineage_names_the_file_and_no_temporary_one(
        self, host: Host, folder: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        told: list[str] = []

        class Collector:
            def add_output_asset(self, context: Any, uri: str) -> None:
                told.append(uri)

        monkeypatch.setattr(module, "get_hook_lineage_collector", Collector)
        _save([host.add("a.txt", b"a")], folder)

        assert told == [str(folder / "a.txt")]

    def test_announced_size_is_reported_but_not_trusted(
        self, host: Host, folder: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        manifest = _save([host.add("a.txt", b"abc", size=5)], folder)

        assert manifest[0]["size"] == 3
        assert "'a.txt' has 3 bytes; 5 were announced." in caplog.messages

    @pytest.mark.parametrize("target", ["", "  "])
    def test_empty_folder_argument_is_refused(self, target: str) -> None:
        with pytest.raises(ValueError, match="did a template come out empty"):
            _save([], target)

    def test_folder_that_is_a_file_is_refused(self, host: Host, folder: Any) -> None:
        _put(folder, b"a file")

        assert "is a file" in str(_fails(TransferError, [host.add("a.txt", b"a")], folder))


class TestFailures:
    def test_failed_file_leaves_no_trace_and_the_others_are_saved(self, host: Host, folder: Any) -> None:
        files = [host.add("a.txt", b"a"), host.add("bad.txt", _broken), host.add("c.txt", b"c")]

        error = _fails(TransferIncompleteError, files, folder)

        assert _in(folder) == {"a.txt": b"a", "c.txt": b"c"}
        assert str(error).startswith(f"1 of 3 files were not saved to {folder}: bad.txt (download from ")
        assert str(error).endswith("). The other 2 are in place.")
        assert error.retry_helps

    def test_repetition_fetches_only_missing_files(self, host: Host, folder: Any) -> None:
        files = [host.add("a.txt", b"a"), host.add("bad.txt", _broken), host.add("c.txt", b"c")]
        _fails(TransferIncompleteError, files, folder)
        before = len(host.asked)
        host.add("bad.txt", b"good now", path="/1/file")

        manifest = _save(files, folder)

        assert host.asked[before:] == ["/1/file"]
        assert [(entry["name"], entry["size"]) for entry in manifest] == [
            ("a.txt", 1),
            ("bad.txt", 8),
            ("c.txt", 1),
        ]
        assert manifest == _save(files, folder)
        assert len(_in(folder)) == 3

    def test_retry_is_not_asked_for_in_vain(self, host: Host, folder: Any) -> None:
        files = [host.add("big.bin", b"x" * 11), host.add("gone.txt", answer(404, b"")), host.add("c", b"c")]

        error = _fails(TransferError, files, folder, max_bytes_per_file=10)

        assert not error.retry_helps
        assert "big.bin (" in str(error)
        assert "gone.txt (" in str(error)
        assert _in(folder) == {"c": b"c"}

    def test_many_failures_are_summarised(self, host: Host, folder: Any) -> None:
        error = _fails(TransferError, [host.add(f"{n}.txt", answer(404, b"")) for n in range(7)], folder)

        assert "4.txt (" in str(error)
        assert "5.txt" not in str(error)
        assert str(error).endswith("; and 2 more, see the log.")

    def test_storage_error_is_reported_in_its_own_words(
        self, host: Host, folder: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(part: Any, final: Any) -> None:
            raise PermissionError("the bucket is read-only")

        monkeypatch.setattr(module, "_move", fail)
        error = _fails(TransferIncompleteError, [host.add("a.txt", b"a")], folder)

        assert "a.txt (PermissionError: the bucket is read-only)" in str(error)
        assert _in(folder) == {}

    def test_lost_bytes_of_a_move_are_noticed(
        self, host: Host, folder: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        move = module._move

        def lossy(part: Any, final: Any) -> None:
            if final.name == "a.txt":
                _put(part, b"ab")
            move(part, final)

        monkeypatch.setattr(module, "_move", lossy)
        error = _fails(TransferIncompleteError, [host.add("a.txt", b"abc")], folder)

        assert "has 2 bytes of 3 after the move" in str(error)

    def test_temporary_file_that_cannot_be_removed_is_only_logged(
        self, host: Host, folder: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def fail(path: Any) -> None:
            raise PermissionError("no deletes here")

        monkeypatch.setattr(module, "_move", lambda part, final: part.fs.cp_file(part.path, final.path))
        monkeypatch.setattr(module, "_remove", fail)

        assert _save([host.add("a.txt", b"a")], folder)[0]["size"] == 1
        assert [line for line in caplog.messages if line.endswith(".part could not be removed.")]

    def test_kill_leaves_no_temporary_file(
        self, host: Host, folder: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def killed(url: str, open_writer: Callable[[], Any], **rest: Any) -> None:
            with open_writer() as writer:
                writer.write(b"half")
                raise KeyboardInterrupt

        monkeypatch.setattr(content, "download", killed)
        with pytest.raises(KeyboardInterrupt):
            _save([host.add("a.txt", b"a")], folder)

        assert _in(folder) == {}

    @pytest.mark.parametrize("before", [True, False])
    def test_kill_during_the_move_is_recovered_from(
        self, before: bool, host: Host, folder: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        move = module._move
        files = [host.add("a.txt", b"a")]

        def killed(part: Any, final: Any) -> None:
            if not before or final.name != "a.txt":
                move(part, final)
            if final.name == "a.txt":
                raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(module, "_move", killed)
            with pytest.raises(KeyboardInterrupt):
                _save(files, folder)
        manifest = _save(files, folder)

        assert _in(folder) == {"a.txt": b"a"}
        assert manifest[0]["sha256"] == hashlib.sha256(b"a").hexdigest()
        assert len(host.asked) == (2 if before else 1)

    def test_kill_during_the_move_of_a_renewed_file_is_recovered_from(
        self, host: Host, folder: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        move = module._move
        _save([host.add("a.txt", b"old version")], folder)
        renewed = [host.add("a.txt", b"new")]

        def killed(part: Any, final: Any) -> None:
            if final.name == "a.txt":
                raise KeyboardInterrupt
            move(part, final)

        with monkeypatch.context() as patch:
            patch.setattr(module, "_move", killed)
            with pytest.raises(KeyboardInterrupt):
                _save(renewed, folder)
        _save(renewed, folder)

        assert _in(folder) == {"a.txt": b"new"}


class TestExistingFiles:
    def test_foreign_file_is_not_touched(self, host: Host, folder: Any) -> None:
        _put(folder / "a.txt", b"theirs")
        files = [host.add("a.txt", b"ours"), host.add("b.txt", b"b")]

        error = _fails(TransferError, files, folder)

        assert f"{folder / 'a.txt'} exists and was not saved for this remote task" in str(error)
        assert "overwrite=True" in str(error)
        assert _in(folder) == {"a.txt": b"theirs", "b.txt": b"b"}
        assert host.asked == ["/1/file"]

    def test_existing_file_is_replaced_with_overwrite(self, host: Host, folder: Any) -> None:
        _put(folder / "a.txt", b"theirs")

        _save([host.add("a.txt", b"ours")], folder, overwrite=True)

        assert _in(folder) == {"a.txt": b"ours"}

    def test_identical_file_of_another_owner_is_not_adopted(self, host: Host, folder: Any) -> None:
        files = [host.add("report.csv", b"1,2")]
        _save(files, folder, owner="Example t1")

        _fails(TransferError, files, folder, owner="Example t2")

        _save([host.add("report.csv", b"3,4")], folder, owner="Example t2", overwrite=True)
        assert _in(folder) == {"report.csv": b"3,4"}

    def test_changed_file_is_not_touched(self, host: Host, folder: Any) -> None:
        files = [host.add("a.txt", b"ours")]
        _save(files, folder)
        _put(folder / "a.txt", b"edited by hand")

        assert "or was changed since" in str(_fails(TransferError, files, folder))
        assert _in(folder) == {"a.txt": b"edited by hand"}

    def test_renewed_file_is_fetched_again(self, host: Host, folder: Any) -> None:
        _save([host.add("a.txt", b"old version")], folder)

        manifest = _save([host.add("a.txt", b"new")], folder)

        assert _in(folder) == {"a.txt": b"new"}
        assert manifest[0]["size"] == 3

    def test_file_with_another_announced_size_is_another_file(self, host: Host, folder: Any) -> None:
        _save([host.add("a.txt", b"old", path="/same", size=3)], folder)

        _save([host.add("a.txt", b"newer", path="/same", size=5)], folder)

        assert _in(folder) == {"a.txt": b"newer"}

    def test_fresh_link_to_the_same_file_is_the_same_file(self, host: Host, folder: Any) -> None:
        _save([host.add("a.txt", b"a", path="/same", query="one")], folder)
        _save([host.add("a.txt", b"a", path="/same", query="two")], folder)

        assert host.asked == ["/same"]

    def test_repetition_with_overwrite_still_resumes(self, host: Host, folder: Any) -> None:
        files = [host.add("a.txt", b"a")]
        _save(files, folder, overwrite=True)
        _save(files, folder, overwrite=True)

        assert len(host.asked) == 1

    def test_file_that_appears_during_the_transfer_is_not_overwritten(self, host: Host, folder: Any) -> None:
        def serve(connection: socket.socket) -> None:
            _put(folder / "a.txt", b"theirs")
            answer(200, b"ours")(connection)

        _fails(TransferError, [host.add("a.txt", serve)], folder)

        assert _in(folder) == {"a.txt": b"theirs"}

    @pytest.mark.parametrize("overwrite", [True, False])
    def test_folder_of_the_same_name_is_never_replaced(
        self, overwrite: bool, host: Host, folder: Any
    ) -> None:
        _put(folder / "a.txt" / "inner", b"x")

        _fails(TransferError, [host.add("a.txt", b"a")], folder, overwrite=overwrite)

        assert (folder / "a.txt" / "inner").read_bytes() == b"x"

    def test_folder_and_file_names_are_never_read_as_patterns(self, host: Host, folder: Any) -> None:
        inside = folder / "[xy]"
        _put(inside / "a.txt", b"keep me")
        _put(folder / "x" / "a.txt", b"me too")
        _put(inside / "[ab].txt", b"old")

        _save([host.add("[ab].txt", b"new")], inside, overwrite=True)

        assert _in(inside) == {"a.txt": b"keep me", "[ab].txt": b"new"}
        assert _in(folder / "x") == {"a.txt": b"me too"}

    @pytest.mark.parametrize("text", ["", "{", "[]", '{"files": []}', '{"files": {"a.txt": {"size": 1}}}'])
    def test_unreadable_record_proves_no_ownership(self, text: str, host: Host, folder: Any) -> None:
        files = [host.add("a.txt", b"a")]
        _save(files, folder)
        _put(_record(folder), text.encode())

        _fails(TransferError, files, folder)
        _save(files, folder, overwrite=True)
        _save(files, folder)

        assert len(host.asked) == 2


class TestExpiredLinks:
    def test_fresh_links_are_fetched_once_for_all(self, host: Host, folder: Any) -> None:
        fresh = [host.add("a.txt", b"a"), host.add("b.txt", b"b"), host.add("new.txt", b"n")]
        stale = [RemoteFile(file.name, _relinked(file, KEY, "expired")) for file in fresh[:2]]
        calls: list[int] = []

        def refresh() -> list[RemoteFile]:
            calls.append(1)
            return fresh

        manifest = _save(stale, folder, refresh=refresh)

        assert calls == [1]
        assert [entry["name"] for entry in manifest] == ["a.txt", "b.txt"]
        assert _in(folder) == {"a.txt": b"a", "b.txt": b"b"}
        assert host.asked == ["/0/file", "/0/file", "/1/file"]

    def test_files_of_the_same_name_are_not_mixed_up(self, host: Host, folder: Any) -> None:
        fresh = [host.add("a.txt", b"first"), host.add("a.txt", b"second")]
        stale = [RemoteFile(file.name, _relinked(file, KEY, "expired")) for file in fresh]

        _save(stale, folder, refresh=lambda: fresh)

        assert _in(folder) == {"a.txt": b"first", "a (2).txt": b"second"}

    @pytest.mark.parametrize("listed", [True, False])
    def test_file_without_a_fresh_link_is_reported_as_expired(
        self, listed: bool, host: Host, folder: Any
    ) -> None:
        stale = host.add("a.txt", b"a", query="expired")

        error = _fails(
            TransferIncompleteError, [stale], folder, refresh=(lambda: [stale]) if listed else lambda: []
        )

        assert "the link has expired" in str(error)
        assert len(host.asked) == 1

    def test_missing_refresh_function_means_an_expired_link(self, host: Host, folder: Any) -> None:
        error = _fails(TransferIncompleteError, [host.add("a.txt", b"a", query="expired")], folder)

        assert "the link has expired" in str(error)

    def test_refused_fresh_links_are_not_asked_for_again(self, host: Host, folder: Any) -> None:
        files = [host.add(f"{n}.txt", answer(403, b"")) for n in range(3)]
        calls: list[int] = []

        def refresh() -> list[RemoteFile]:
            calls.append(1)
            return [
                RemoteFile(file.name, _relinked(file, KEY, f"{KEY}&again={len(calls)}")) for file in files
            ]

        _fails(TransferIncompleteError, files, folder, refresh=refresh)

        assert calls == [1]
        assert len(host.asked) == 4

    def test_missing_fresh_links_cost_only_the_expired_files(self, host: Host, folder: Any) -> None:
        expired = [host.add(f"{n}.txt", b"x", query="expired") for n in range(2)]
        calls: list[int] = []

        def refresh() -> list[RemoteFile]:
            calls.append(1)
            raise ServerError("down", status_code=503)

        error = _fails(TransferIncompleteError, [*expired, host.add("c.txt", b"c")], folder, refresh=refresh)

        assert calls == [1]
        assert "0.txt (HTTP 503: down)" in str(error)
        assert _in(folder) == {"c.txt": b"c"}


class TestSource:
    def test_file_is_described(self, folder: Any) -> None:
        _put(folder / "data [1].csv", b"a,b")

        found = open_source(folder / "data [1].csv")

        assert (found.name, found.size, found.content_type) == ("data [1].csv", 3, "text/csv")
        assert open_source(str(folder / "data [1].csv")) == found
        with found.path.open("rb") as reader:
            assert reader.read(100) == b"a,b"

    @pytest.mark.parametrize(
        ("name", "content_type"),
        [
            ("a.pdf", "application/pdf"),
            ("a.csv.gz", "application/gzip"),
            ("a.tar.Z", "application/octet-stream"),
            ("notes", "application/octet-stream"),
        ],
    )
    def test_content_type_follows_the_name(self, name: str, content_type: str, folder: Any) -> None:
        _put(folder / name, b"x")

        assert open_source(folder / name).content_type == content_type

    def test_file_is_sent_to_a_link_unchanged(self, host: Host, folder: Any) -> None:
        _put(folder / "a.csv", b"a,b")
        link = host.link(answer(200, b""))

        open_source(folder / "a.csv").upload_to(link, log=log, from_loopback=True)

        assert host.server.requests[0].endswith(b"\r\n\r\na,b")
        headers = dict(host.server.header_lines())
        assert (headers["content-type"], headers["content-length"]) == ("text/csv", "3")

    def test_expired_link_is_reported(self, host: Host, folder: Any) -> None:
        _put(folder / "a.csv", b"a,b")

        with pytest.raises(LinkExpiredError):
            open_source(folder / "a.csv").upload_to(
                host.link(b"", query="expired"), log=log, from_loopback=True
            )

    def test_missing_file_is_reported(self, folder: Any) -> None:
        with pytest.raises(FileNotFoundError, match=r"no\.csv does not exist"):
            open_source(folder / "no.csv")

    def test_folder_is_refused(self, folder: Any) -> None:
        _put(folder / "a.csv", b"x")

        with pytest.raises(ValueError, match="name a single file"):
            open_source(folder)

    @pytest.mark.parametrize("path", ["", " "])
    def test_empty_path_is_refused(self, path: str) -> None:
        with pytest.raises(ValueError, match="name a single file"):
            open_source(path)

    def test_empty_file_is_refused(self, folder: Any) -> None:
        _put(folder / "a.csv", b"")

        with pytest.raises(ValueError, match="is empty"):
            open_source(folder / "a.csv")

    def test_file_over_the_limit_is_refused(self, folder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        _put(folder / "a.csv", b"abcd")

        monkeypatch.setattr(module, "_MOST_UPLOAD_BYTES", 4)
        assert open_source(folder / "a.csv").size == 4
        monkeypatch.setattr(module, "_MOST_UPLOAD_BYTES", 3)
        with pytest.raises(ValueError, match="has 4 bytes; the service takes at most 3"):
            open_source(folder / "a.csv")
