"""Compile time, run time, memory, and the machine that they were measured on."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import jax
import numpy as np

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Run:
    """A compiled function, run.

    Attributes:
        compile_s: tracing, lowering and compiling, seconds.
        run_s: median of the repeats, result ready.
        spread_s: fastest and slowest.
        memory_mb: temporaries and outputs, 1e6 bytes; None where the backend does not say.
        value: the result.
    """

    compile_s: float
    run_s: float
    spread_s: tuple[float, float]
    memory_mb: float | None
    value: object


def measured(function: Callable, *args, repeats: int, budget: float = 4.0) -> Run:
    """Compile a function for its arguments and run it.

    Args:
        function: traceable.
        *args: pytrees of arrays.
        repeats: timed runs, after one that does not count.
        budget: seconds after which no further run starts (three are made in any case).
    """
    args = jax.device_put(args)
    start = time.perf_counter()
    compiled = jax.jit(function).lower(*args).compile()
    compile_s = time.perf_counter() - start
    value = jax.block_until_ready(compiled(*args))
    seconds, spread = timed(lambda: jax.block_until_ready(compiled(*args)), repeats, budget)
    return Run(compile_s, seconds, spread, _megabytes(compiled), value)


def alternated(functions: Sequence[Callable], *args, repeats: int) -> list[Run]:
    """Compile functions of the same arguments and run them in turns; as `measured`."""
    args = jax.device_put(args)
    programs, compile_s, values = [], [], []
    for function in functions:
        start = time.perf_counter()
        programs.append(jax.jit(function).lower(*args).compile())
        compile_s.append(time.perf_counter() - start)
        values.append(jax.block_until_ready(programs[-1](*args)))
    times: list[list[float]] = [[] for _ in programs]
    for _ in range(repeats):
        for program, spent in zip(programs, times, strict=True):
            start = time.perf_counter()
            jax.block_until_ready(program(*args))
            spent.append(time.perf_counter() - start)
    sizes = [_megabytes(program) for program in programs]
    return [
        Run(seconds, statistics.median(spent), (min(spent), max(spent)), size, value)
        for seconds, spent, size, value in zip(compile_s, times, sizes, values, strict=True)
    ]


def _megabytes(program) -> float | None:
    """Temporaries and outputs of a compiled program."""
    memory = program.memory_analysis()
    return None if memory is None else (memory.temp_size_in_bytes + memory.output_size_in_bytes) / 1e6


def timed(call: Callable[[], object], repeats: int, budget: float = 4.0) -> tuple[float, tuple[float, float]]:
    """Median, fastest and slowest of `call`, seconds."""
    times: list[float] = []
    while len(times) < repeats and (len(times) < 3 or sum(times) < budget):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times), (min(times), max(times))


def relative_l2(a: object, b: object) -> float:
    """|a - b| / |b| over the axis, in float64."""
    x, y = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    return float(np.linalg.norm(x - y) / np.linalg.norm(y))


def environment() -> dict[str, object]:
    """Device, threads, versions, commit, precision and load: what a time means nothing without."""
    device = jax.devices()[0]
    return {
        "device": device.device_kind if device.platform != "cpu" else _processor(),
        "backend": device.platform,
        "precision": "float64" if jax.config.read("jax_enable_x64") else "float32",
        "threads": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "thread_settings": {
            name: os.environ[name]
            for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "XLA_FLAGS")
            if name in os.environ
        },
        "load_average_1min": load(),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": {"python": platform.python_version()}
        | {name: _version(name) for name in ("jaxnmr", "jax", "jaxlib", "numpy", "equinox", "mrsimulator", "sleepy-nmr")},
        "commit": _commit(),
        "date": time.strftime("%Y-%m-%d"),
    }


def load() -> float | None:
    """Processes that ran or waited over the last minute; with others at work, times are not to be trusted."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or "unknown CPU"


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _commit() -> str:
    """Short hash, with "+" where the library or the benchmark differ from it."""

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, timeout=30)
        if done.returncode:
            raise OSError(done.stderr)
        return done.stdout.strip()

    try:
        changed = git("status", "--porcelain", "--", "jaxnmr", "benchmarks/*.py")
        return git("rev-parse", "--short=12", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.TimeoutExpired):
        return "none"
