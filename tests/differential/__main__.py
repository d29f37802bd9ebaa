"""
`make differential N=10000 [SEED=…]`: how often both sides were asked, disagreed, and ERPNext's refused.

It runs on sandboxes of both dialects, or with ERPNEXT_URL and an administrator's ERPNEXT_API_KEY and
ERPNEXT_API_SECRET at a real site, which gets DocTypes of its own for the time. JOBS says how many processes run.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import django

# Before any model is imported, here and in the processes that this one starts.
os.environ["DJANGO_SETTINGS_MODULE"] = "tests.differential.settings"
django.setup()

from tests.differential.running import Result, run  # noqa: E402

WORLD = 200
"""Cases in one world at a sandbox; making DocTypes at a real site takes longer, so there it has more."""
REAL_WORLD = 250


def shares(total: int, size: int) -> list[int]:
    """Return how many cases each world gets."""
    count = -(-total // size)
    return [total // count + (number < total % count) for number in range(count)]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.differential")
    parser.add_argument("cases", type=int, nargs="?", default=1000)
    parser.add_argument("seed", type=int, nargs="?", default=None)
    arguments = parser.parse_args()
    seed = random.randrange(10**8) if arguments.seed is None else arguments.seed
    jobs = int(os.environ.get("JOBS", os.cpu_count() or 1))
    where = os.environ.get("ERPNEXT_URL") or "sandboxes of v15 and v16"
    print(f"differential: {arguments.cases} querysets, SEED={seed}, {where}", flush=True)
    started = time.monotonic()
    parts = shares(arguments.cases, REAL_WORLD if os.environ.get("ERPNEXT_URL") else WORLD)
    with ProcessPoolExecutor(
        min(jobs, len(parts)), mp_context=get_context("spawn"), initializer=django.setup
    ) as pool:
        waiting = [pool.submit(run, number, part, seed) for number, part in enumerate(parts)]
        results = [each.result() for each in waiting]
    return report(results, seed, time.monotonic() - started)


def report(results: list[Result], seed: int, seconds: float) -> int:
    for failure in (failure for result in results for failure in result.failures):
        print(f"\n{failure}\n")
    refusals: Counter[str] = Counter()
    for result in results:
        refusals.update(result.refusals)
    compared = sum(result.compared for result in results)
    for reason, count in refusals.most_common(12):
        print(f"refused {100 * count / compared:.2f} %: {reason} …")
    wrong = sum(len(result.failures) for result in results)
    share = 100 * sum(refusals.values()) / max(1, compared)
    print(
        f"differential: {sum(result.cases for result in results)} querysets, {compared} answers: {wrong} wrong, "
        f"{share:.1f} % refused (SEED={seed}, {seconds:.0f} s)"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
