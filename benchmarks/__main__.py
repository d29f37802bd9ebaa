"""
`make bench`: runs the benchmarks, all of them or those that are named (`make bench ONLY="lists related"`).

A benchmark is a file `bench_<name>.py` that prints what it measured and, as its last line, the figure. Each runs in a
process of its own. The last line here has all figures.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PREFIX = "bench_"


def known() -> list[str]:
    return sorted(path.stem.removeprefix(PREFIX) for path in Path(__file__).parent.glob(f"{PREFIX}*.py"))


def run(name: str) -> str:
    """Run one benchmark, show what it prints, and return its last line; "" when it failed."""
    print(f"== {name}", flush=True)
    command = [sys.executable, "-m", f"benchmarks.{PREFIX}{name}"]
    last = ""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout or ():
            print(line, end="", flush=True)
            last = line.strip() or last
    return last if process.returncode == 0 else ""


def main(chosen: list[str]) -> int:
    unknown = set(chosen) - set(known())
    if unknown:
        print(f"bench: no benchmark {', '.join(sorted(unknown))}; there are {', '.join(known())}")
        return 2
    names = chosen or known()
    figures = {name: run(name) for name in names}
    failed = [name for name, figure in figures.items() if not figure]
    print(
        f"bench: {len(names) - len(failed)} of {len(names)} ran: "
        + "; ".join(figure or f"{name}: FAILED" for name, figure in figures.items())
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
