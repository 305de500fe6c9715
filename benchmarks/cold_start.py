"""Wall time of `jaxnmr simulate` from a cold start: two exchanging 17O sites under MAS, into a CSV file.

    python benchmarks/cold_start.py [--runs 5]

Each run is a new process without a compilation cache. Prints the wall time of each with what it says itself.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from _measure import environment, load
from _printing import in_a_line

GOAL = 6.0  # seconds
FLAGS = (
    "--isotope 17O --field-t 14.1 --rate-hz 20000 --shift-ppm 110,160 --cq-hz 7.2e6 --eta-q 0.3 --exchange 0-1:1e4 "
    "--axis ppm:300:-100 --linewidth-hz 300"
).split()


def run(folder: Path) -> tuple[float, str]:
    """Wall time, s, and the program's own account of it."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("JAX_", "XLA_"))}
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "jaxnmr", "simulate", *FLAGS, "--force", "-o", str(folder / "line.csv")],
        env=clean,
        capture_output=True,
        text=True,
        check=True,
    )
    wall = time.perf_counter() - start
    return wall, next(line for line in done.stderr.splitlines() if line.startswith("start-up"))


def main() -> int:
    """Run and compare with the goal."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    print(in_a_line(environment()))
    with tempfile.TemporaryDirectory() as folder:
        walls = []
        for _ in range(runs):
            wall, told = run(Path(folder))
            walls.append(wall)
            print(f"{wall:.2f} s wall: {told}", flush=True)
    median = statistics.median(walls)
    print(f"{'met' if median <= GOAL else 'MISSED'}: median {median:.2f} s (<= {GOAL:g}), load {load():.1f} at the end")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
