"""`make release-check`: whether this commit can be released; leaves in ``dist/`` what is published.

The release workflow runs it at the tag, and publishes the bytes that it has built and tried out. It builds
what is committed, never what lies around beside it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from dev.environments import ROOT
from dev.release.build import build_from_sdist, build_twice, check_metadata, keep
from dev.release.facts import CheckError, Release
from dev.release.installed import ask_airflow, install, parse_examples, run_examples
from dev.release.version import check_tag, check_version
from dev.terminal import leave_through_cleanup, say

STEPS: tuple[Callable[[Release], str], ...] = (
    check_version,
    check_tag,
    build_twice,
    build_from_sdist,
    check_metadata,
    install,
    ask_airflow,
    parse_examples,
    run_examples,
    keep,
)


def check(release: Release) -> None:
    """Run every step, say which one it is and what came of it; raises `CheckError` at the first problem."""
    for number, step in enumerate(STEPS, start=1):
        started = time.monotonic()
        say(f"[{number:2}/{len(STEPS)}] {(step.__doc__ or '').rstrip('.')} ...")
        outcome = step(release)
        say(f"      {outcome}  ({time.monotonic() - started:.1f} s)")


def main() -> int:
    """Check the commit; return the exit status."""
    parser = argparse.ArgumentParser(prog="make release-check", description=__doc__.splitlines()[0])
    parser.add_argument("--draft", action="store_true", help="continue if the commit can't be tagged yet")
    parser.add_argument("--tag", help="the tag that starts the release; it must be that of the version")
    arguments = parser.parse_args()
    leave_through_cleanup()
    with tempfile.TemporaryDirectory(prefix="release-") as work:
        release = Release(Path(work), arguments.tag, arguments.draft)
        try:
            check(release)
        except (CheckError, subprocess.SubprocessError) as error:
            say(f"\nNot ready: {error}")
            return 1
    say(f"\nReady: {', '.join(sorted(release.files))}")
    if not (arguments.draft or arguments.tag):
        say(f"Now: git tag -a v{release.version} -m {release.version} && git push origin v{release.version}")
    return 0


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.exit(main())
