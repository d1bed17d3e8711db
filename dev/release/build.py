"""Wheels and sdists that are the same bytes wherever they are built."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

from packaging.metadata import Metadata

from dev.environments import ROOT
from dev.readme import without_relative_links
from dev.release.facts import DISTRIBUTIONS, CheckError, Release, run
from dev.terminal import say

#: What must not change the result: two builds differ in all of it.
BUILDS = (
    {"umask": 0o022, "env": {"TZ": "UTC", "PYTHONHASHSEED": "1", "LC_ALL": "C"}},
    {"umask": 0o077, "env": {"TZ": "Asia/Tokyo", "PYTHONHASHSEED": "2", "LC_ALL": "C.UTF-8"}},
)


def build_twice(release: Release) -> str:
    """Wheel and sdist of both distributions are built twice, and are equal byte by byte."""
    release.epoch = run("git", "log", "-1", "--format=%ct").strip()
    say(f"      SOURCE_DATE_EPOCH={release.epoch}, the time of the commit")
    first, second = (_build(release, number, **how) for number, how in enumerate(BUILDS, start=1))
    if set(first) != set(second):
        raise CheckError(f"The builds have different files: {sorted(first)} and {sorted(second)}")
    for name, path in first.items():
        if path.read_bytes() != second[name].read_bytes():
            raise CheckError(
                f"{name} differs between two builds in {', '.join(_differences(path, second[name]))}"
            )
        if f"-{release.version}" not in name:
            raise CheckError(f"{name} has not the version {release.version}")
        say(f"      {name}  {path.stat().st_size:,} bytes  sha256 {_sha256(path)[:16]}…")
    release.files = first
    return f"{len(first)} files"


def build_from_sdist(release: Release) -> str:
    """The wheel that pip would build from the sdist is the same wheel."""
    folder = release.work / "from-sdist"
    for name in [name for name in release.files if name.endswith(".tar.gz")]:
        with tarfile.open(release.files[name]) as archive:
            archive.extractall(folder, filter="data")
        source = folder / name.removesuffix(".tar.gz")
        _hatchling(source, folder, "wheel", {"SOURCE_DATE_EPOCH": release.epoch})
    wheels = sorted(folder.glob("*.whl"))
    for wheel in wheels:
        if wheel.read_bytes() != release.files[wheel.name].read_bytes():
            changed = ", ".join(_differences(wheel, release.files[wheel.name]))
            raise CheckError(f"{wheel.name} from the sdist differs in {changed}")
    if len(wheels) != len(DISTRIBUTIONS):
        raise CheckError(f"The sdists gave {len(wheels)} wheels")
    return f"{len(wheels)} wheels"


def check_metadata(release: Release) -> str:
    """The metadata is valid, names the licence, and has no link that leads nowhere on a package index."""
    for name, path in release.files.items():
        if name.endswith(".whl"):
            with zipfile.ZipFile(path) as archive:
                (info,) = [one for one in archive.namelist() if one.endswith(".dist-info/METADATA")]
                metadata = Metadata.from_email(archive.read(info), validate=True)
            if not metadata.license_expression or not metadata.license_files:
                raise CheckError(f"{name} has no licence")
            if (text := metadata.description or "") != without_relative_links(text):
                raise CheckError(f"{name} has a description with links to files of the repository")
            if not metadata.project_urls:
                say("      No [project.urls]: the package index will not show where the repository is")
            say(f"      {metadata.name} {metadata.version}, Python {metadata.requires_python}")
    return "valid"


def keep(release: Release) -> str:
    """What is published lies in dist/, what goes with it in build/release/."""
    for folder in (ROOT / "dist", ROOT / "build" / "release"):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    for name, path in sorted(release.files.items()):
        shutil.copyfile(path, ROOT / "dist" / name)
    sums = "".join(f"{_sha256(path)}  {name}\n" for name, path in sorted(release.files.items()))
    (ROOT / "build" / "release" / "SHA256SUMS").write_text(sums)
    (ROOT / "build" / "release" / "notes.md").write_text(without_relative_links(release.notes) + "\n")
    return "SHA256SUMS and notes.md"


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _build(release: Release, number: int, *, umask: int, env: dict[str, str]) -> dict[str, Path]:
    """Build everything from a fresh copy of the commit; return the files by name."""
    folder = release.work / f"build-{number}" / ("deep" * number)
    source, out = folder / "source", folder / "out"
    previous = os.umask(umask)
    try:
        source.mkdir(parents=True)
        run("git", "archive", "--output", folder / "source.tar", "HEAD")
        with tarfile.open(folder / "source.tar") as archive:
            archive.extractall(source, filter="data")
        for place in DISTRIBUTIONS:
            for target in ("wheel", "sdist"):
                _hatchling(source / place, out, target, {**env, "SOURCE_DATE_EPOCH": release.epoch})
    finally:
        os.umask(previous)
    return {path.name: path for path in out.iterdir()}


def _hatchling(source: Path, out: Path, target: str, env: dict[str, str]) -> None:
    command = (sys.executable, "-m", "hatchling", "build", "--target", target, "--directory", str(out))
    run(*command, cwd=source, env={**os.environ, **env})


def _differences(one: Path, other: Path) -> list[str]:
    """Return the names of the archive's members that differ, in content or in what is noted of them."""
    first, second = _members(one), _members(other)
    return sorted(name for name in first | second if first.get(name) != second.get(name)) or ["their order"]


def _members(path: Path) -> dict[str, Any]:
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as wheel:
            return {i.filename: (i.CRC, i.date_time, i.external_attr) for i in wheel.infolist()}
    with tarfile.open(path) as sdist:
        return {m.name: (m.size, m.mtime, m.mode, m.uid, m.gid, m.uname) for m in sdist.getmembers()}
