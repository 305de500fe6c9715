"""README's code runs as printed, and its set-up commands are the ones that the checks run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.readme_blocks import FENCE, README, python_blocks, setup_commands

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
@pytest.mark.parametrize("without", [(), ("plot",)], ids=["all", "without plot"])
def test_code_runs(tmp_path, without):
    """All blocks, in order, as one program under JAX's own defaults, in an empty folder."""
    blocks = python_blocks(without)
    assert blocks
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(blocks)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "MPLBACKEND": "Agg"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr, done.stderr


def test_code_of_atoms_runs(tmp_path):
    """The block that needs the models which come along, by itself."""
    plain = python_blocks(("atoms",))
    (block,) = [each for each in python_blocks() if each not in plain]
    (tmp_path / "block.py").write_text(block + "\nassert abs(slope + forces).max() < 1e-3 and not (novelty > 1).any()\n")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "block.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr


def test_trainings_are_understood(tmp_path):
    """The files for `jaxnmr train` have no key that is not known."""
    from jaxnmr.cli._train_config import read_config

    blocks = [
        body for language, marks, body in FENCE.findall(README.read_text(encoding="utf-8")) if marks.strip() == "train"
    ]
    assert len(blocks) == 2
    for name in ("frames/a.extxyz", "frames/900K.extxyz", "calculated/a.magres"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    for block in blocks:
        (tmp_path / "a.toml").write_text(block)
        config = read_config(tmp_path / "a.toml", None)
        assert config.model.start == tmp_path / "nequix-oam-1.nqx"
        assert [path.name for path in config.data.train] == [f"a{config.data.train[0].suffix}"]


def test_first_screen():
    """About a dozen lines of code and two set-up commands stand on the first screen."""
    first = [line for line in python_blocks()[0].splitlines() if line.strip()]
    assert len(first) <= 14
    assert setup_commands() == ["pip install '.[plot,atoms]' && jaxnmr demo", "pip install '.[test]' && pytest"]


def test_pictures_exist():
    """Every local picture and page that README points at is there."""
    import re

    links = re.findall(r"\]\(([^)#]+)\)", README.read_text(encoding="utf-8"))
    missing = [link for link in links if "://" not in link and not (ROOT / link).exists()]
    assert not missing
