"""``python -m tests.model``: lives through many histories, and prints how many, and which broke a promise.

One process a processor. Each plays rounds, with a seed of its own each, so that a round can be played again:
``make model ARGS="--steps 1 --seed 3"``. A round ends at its first broken promise. The first rounds of each
kind are played once more, to shorten their histories.
"""

from __future__ import annotations

import argparse
import ast
import os
import time
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from multiprocessing import get_context
from typing import Any

from tests.model.rounds import Round, play, set_up


def main() -> int:
    """Play, print, and return the exit status."""
    parser = argparse.ArgumentParser(prog="make model", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--steps", type=int, default=1_000_000, help="how many steps to make at least")
    parser.add_argument("--seconds", type=float, default=3600.0, help="begin no round after so many seconds")
    parser.add_argument("--seed", type=int, default=0, help="the seed of the first round")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--ignore", nargs="*", default=[], metavar="PROMISE", help="promises not to check")
    parser.add_argument("--shorten", type=int, default=1, help="how many histories of a kind to shorten")
    parser.add_argument("--without", nargs="*", default=[], metavar="ACT", help="such as clear, crash")
    parser.add_argument("--fix", nargs="*", default=[], metavar="SETTING=VALUE", help="such as service=v2")
    parser.add_argument("--services", nargs="*", default=[], metavar="SERVICE", help="such as v2 a2a-rest")
    given = parser.parse_args()
    limits = {"ignored": given.ignore, "without": given.without, "services": given.services}
    limits["fixed"] = {name: _value(text) for name, _, text in (one.partition("=") for one in given.fix)}
    began, done, broken = time.monotonic(), [], {}  # type: float, list[Round], dict[str, list[Round]]
    seed, steps = given.seed, 0

    def is_on() -> bool:
        return steps < given.steps and time.monotonic() - began < given.seconds

    with ProcessPoolExecutor(given.processes, mp_context=get_context("spawn"), initializer=set_up) as pool:
        under_way: set[Future[Round]] = set()
        while under_way or is_on():
            while is_on() and len(under_way) < given.processes:
                under_way.add(pool.submit(play, seed, limits))
                seed += 1
            finished, under_way = wait(under_way, return_when=FIRST_COMPLETED)
            for one in (future.result() for future in finished):
                done.append(one)
                steps += one.steps
                if one.text:
                    broken.setdefault(one.kind, []).append(one)
                    if len(broken[one.kind]) == 1:
                        print(f"\n{one.kind}, seed {one.seed}:\n{one.text}", flush=True)
        again = [one for found in broken.values() for one in found[: given.shorten]]
        shorter = (
            ()
            if not again
            else pool.map(play, *zip(*((one.seed, limits, one.promise) for one in again), strict=True))
        )
        for one in shorter:
            print(f"\nshortened, seed {one.seed}:\n{one.text}", flush=True)
    for kind, found in sorted(broken.items()):
        print(f"{len(found):6} rounds: {kind}")
    histories, seconds = sum(one.histories for one in done), time.monotonic() - began
    print(
        f"{histories:,} histories, {steps:,} steps, {sum(map(len, broken.values()))} violations "
        f"in {seconds:.0f} s"
    )
    return 1 if broken else 0


def _value(text: str) -> Any:
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
    # A version is no number.
    return text if isinstance(value, float) else value


if __name__ == "__main__":
    raise SystemExit(main())
