"""Single precision, as on a GPU and as users have it, beside double."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.systems import precision, relative_l2

pytestmark = pytest.mark.filterwarnings("ignore::jaxnmr.errors.ResolutionWarning")


@pytest.fixture(scope="module")
def single(tmp_path_factory) -> tuple[dict, dict]:
    """Lines and moments of a process without 64-bit types."""
    files = [tmp_path_factory.mktemp("single") / name for name in ("lines.npz", "moments.npz")]
    root = Path(__file__).parents[2]
    environment = os.environ | {"JAX_ENABLE_X64": "0", "PYTHONPATH": str(root)}
    subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.systems.precision", *map(str, files)],
        check=True,
        cwd=root,
        env=environment,
        timeout=600,
    )
    lines, moments = (dict(np.load(file)) for file in files)
    return lines, moments


def test_lines(single):
    """Within 1e-3 at every rate, static and spinning."""
    errors = {}
    for name, expected in precision.lines().items():
        assert single[0][name].dtype == np.float32
        errors[name] = relative_l2(single[0][name], expected)
    assert all(error < 1e-3 for error in errors.values()), errors


def test_area_and_first_moment(single):
    """Linear interactions: neither depends on the rate, from 0 to 1e10, in either precision, static and spinning."""
    double = precision.moments()
    assert double.keys() == single[1].keys()
    # Measured up to 4e-6 in float32 and 2e-6 in float64 (wings beyond the window, rounding). One per cent of the
    # populations moves the line by 2e-3.
    for kind, results in (("float32", single[1]), ("float64", double)):
        for name, values in results.items():
            np.testing.assert_allclose(values, 1.0, atol=1e-5, err_msg=f"{kind}, {name}")
