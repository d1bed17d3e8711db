"""``dev/clients``: which tools it asks for, what it installs and starts. These tests need no Node.js."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from dev import clients

WORKFLOW = clients.ROOT / ".github" / "workflows" / "clients.yml"


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the only folder that programs are found in."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def put(folder: Path, name: str, script: str) -> str:
    program = folder / name
    program.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    program.chmod(0o755)
    return str(program)


class TestTools:
    def test_missing_tools_are_named(self, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(
            clients.MissingError, match=r"needs Node\.js 20\.10 or newer, with npm; .*: node and npm"
        ):
            clients.tools()
        put(path, "node", "echo v20.20.2")
        with pytest.raises(clients.MissingError, match=r"not on the PATH: npm$"):
            clients.tools()

    @pytest.mark.parametrize("version", ["v18.20.4", "v20.9.0"])
    def test_node_that_is_too_old_is_refused(self, path: Path, version: str) -> None:
        put(path, "npm", "exit 0")
        put(path, "node", f"echo {version}")
        with pytest.raises(clients.MissingError, match=f"is {version}"):
            clients.tools()

    @pytest.mark.parametrize("version", ["v20.10.0", "v24.1.0"])
    def test_newer_node_is_taken(self, path: Path, version: str) -> None:
        found = put(path, "node", f"echo {version}"), put(path, "npm", "exit 0")
        assert clients.tools() == found

    @pytest.mark.usefixtures("path")
    def test_command_fails_without_tools(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(clients, "leave_through_cleanup", lambda: None)
        assert clients.main() == 2
        assert "not on the PATH: node and npm" in capsys.readouterr().out


class TestInstall:
    def test_clients_are_installed_once_and_again_after_a_change(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = path.parent
        monkeypatch.setattr(clients, "ROOT", folder)
        npm = put(path, "npm", 'echo "$@" >> calls; /bin/mkdir -p node_modules')
        for change in ("{}", "{}", "{ }"):
            (folder / "package.json").write_text(change, encoding="utf-8")
            clients.install(npm, folder)
        calls = (folder / "calls").read_text(encoding="utf-8").splitlines()
        assert len(calls) == 2
        assert all("--no-package-lock" in call and "--ignore-scripts" in call for call in calls)

    def test_failed_installation_is_tried_again(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (path.parent / "package.json").write_text("{}", encoding="utf-8")
        monkeypatch.setattr(clients, "ROOT", path.parent)
        npm = put(path, "npm", "/bin/mkdir -p node_modules; exit 1")
        for _ in range(2):
            with pytest.raises(subprocess.CalledProcessError):
                clients.install(npm, path.parent)

    @pytest.mark.parametrize("folder", [clients.FOLDER, clients.ROOT / "dev" / "a2a" / "javascript"], ids=str)
    def test_package_pins_exact_versions_and_no_lock_file_is_kept(self, folder: Path) -> None:
        package: dict[str, Any] = json.loads((folder / "package.json").read_text(encoding="utf-8"))
        pinned = package["dependencies"] | package.get("overrides", {})
        for name, version in pinned.items():
            assert version == f"${name}" or re.fullmatch(r"\d+\.\d+\.\d+", version), name
        command = ["git", "ls-files", "*package-lock.json", "*node_modules*"]
        tracked = subprocess.run(command, cwd=clients.ROOT, capture_output=True, text=True, check=False)
        assert tracked.stdout == ""

    def test_oldest_node_is_that_of_the_package(self) -> None:
        package = json.loads((clients.FOLDER / "package.json").read_text(encoding="utf-8"))
        assert package["engines"] == {"node": f">={'.'.join(map(str, clients.OLDEST))}"}


class TestRun:
    def test_sandbox_runs_in_a_group_of_its_own_and_is_stopped(self) -> None:
        with clients.sandbox() as url:
            with urllib.request.urlopen(f"{url}/_sandbox/state", timeout=10) as answer:
                assert json.load(answer)["base_url"] == url
            (process,) = [
                one for one in psutil.Process().children() if "remote_tasks_sandbox" in one.cmdline()
            ]
            assert os.getpgid(process.pid) == process.pid
        assert not process.is_running()

    def test_sandbox_that_does_not_start_is_an_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "executable", "/bin/true")
        with pytest.raises(clients.MissingError, match="did not start"), clients.sandbox():
            pass

    def test_checks_know_the_sandbox_and_nothing_else(self) -> None:
        given = {
            **{"PATH": "/bin", "HOME": "/root-of-ada", "NO_PROXY": "example.com", "QSTASH_DEV": "true"},
            **{
                "QSTASH_REGION": "US_EAST_1",
                "US_EAST_1_QSTASH_URL": "https://example.com",
                "QSTASH_TOKEN": "x",
            },
        }
        found = clients.environment(given, "http://127.0.0.1:1")
        assert found == {
            **{"PATH": "/bin", "HOME": "/root-of-ada", "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"},
            **{"SANDBOX_URL": "http://127.0.0.1:1", "QSTASH_URL": "http://127.0.0.1:1/qstash"},
            **{"QSTASH_TOKEN": clients.TOKEN, "UPSTASH_DISABLE_TELEMETRY": "1"},
        }

    @pytest.mark.parametrize("status", [0, 1])
    def test_exit_status_is_that_of_the_checks(self, path: Path, status: int) -> None:
        assert clients.check(put(path, "node", f"exit {status}"), "http://127.0.0.1:1") == status

    def test_checks_are_every_file_one_after_the_other(
        self, path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        clients.check(put(path, "node", 'echo "$@"'), "http://127.0.0.1:1")
        told = capfd.readouterr().out
        assert "--test-concurrency=1" in told
        assert told.split()[-2:] == ["qstash.test.mjs", "workflow.test.mjs"]


def test_workflow_runs_the_command_with_the_tested_versions() -> None:
    (job,) = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))["jobs"].values()
    assert [step["run"] for step in job["steps"] if "run" in step] == ["make test-clients"]
    given = {name: value for step in job["steps"] for name, value in step.get("with", {}).items()}
    versions = {name: value for name, value in given.items() if name.endswith("-version")}
    assert versions == {"python-version": "3.11", "node-version": str(clients.OLDEST[0])}
