"""README's code runs as printed, and its set-up commands are the ones that the checks run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.readme_blocks import README, python_blocks, setup_commands

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
