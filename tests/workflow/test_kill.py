"""A run that is killed by the system, at any moment, goes on and ends with the same numbers."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from . import toy

ROOT = Path(__file__).parents[2]
PROGRAM = Path(__file__).with_name("toy_program.py")
TOML = f"""
structure = {{ file = "start.extxyz" }}
motion = {{ ends = ["end.extxyz"], images = 5 }}
tensors = {{ reference_ppm = [-1.0, {toy.REFERENCE}] }}
experiment = {{ isotope = "13C", fields_t = [{toy.FIELD}], linewidth_hz = {toy.WIDTH} }}
axis = {{ ppm = [160, 0], points = 128 }}
sample = {{ length_ps = 20.0, warmup_ps = 0.2, every = 20, friction_per_ps = 20.0 }}
uncertainty = {{ barrier_ev = 0.01, draws = 8 }}
resolution = {{ orientations = 4 }}
output = {{ folder = "run" }}
"""


def written(folder):
    """The run's file, with its atoms beside it."""
    folder.mkdir(exist_ok=True)
    toy.config(folder)
    (folder / "toy.toml").write_text(TOML)
    return folder / "toy.toml"


def started(path):
    """The program, with compiled code from before, so that what is killed is the work."""
    environment = {
        **os.environ,
        "JAX_COMPILATION_CACHE_DIR": str(ROOT / ".cache" / "jax"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.2",
        "PYTHONUNBUFFERED": "1",
    }
    command = [sys.executable, str(PROGRAM), "run", str(path)]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)


def numbers(folder):
    """All of the report but where it was made."""
    return {k: v for k, v in json.loads((folder / "run" / "report.json").read_text()).items() if k != "provenance"}


@pytest.mark.slow
@pytest.mark.parametrize("kills", [3, 20])
def test_killed_at_random_moments(tmp_path, kills):
    """SIGKILL some lines and a random moment after the first step has begun; then once to the end: the same report.

    A run that comes to its end before its time is up counts for none: it is compared, and the next one starts from nothing.
    """
    whole = started(written(tmp_path / "whole"))
    _, said = whole.communicate(timeout=600)
    assert whole.returncode == 0, said
    rng, killed, folder = np.random.default_rng(kills), 0, 0
    path = written(tmp_path / "0")
    while killed < kills:
        program = started(path)
        for _ in range(int(rng.integers(1, 16))):
            if not program.stderr.readline():
                break
        timer = threading.Timer(float(rng.uniform(0, 1.0)), program.kill)
        timer.start()
        _, said = program.communicate(timeout=600)
        timer.cancel()
        if program.returncode == -signal.SIGKILL:
            killed += 1
            continue
        assert program.returncode == 0, said
        assert numbers(path.parent) == numbers(tmp_path / "whole")
        folder += 1
        path = written(tmp_path / str(folder))
    last = started(path)
    _, said = last.communicate(timeout=600)
    assert last.returncode == 0, said
    assert numbers(path.parent) == numbers(tmp_path / "whole")


@pytest.mark.slow
def test_two_programs_in_one_folder(tmp_path):
    """The second is refused with the number of the first process, and the first goes on."""
    path = written(tmp_path)
    first = started(path)
    while "begins" not in (line := first.stderr.readline()):
        assert line, "the first program ended"
    second = started(path)
    _, said = second.communicate(timeout=600)
    assert second.returncode == 2 and f"in use by process {first.pid}" in said
    _, said = first.communicate(timeout=600)
    assert first.returncode == 0, said
