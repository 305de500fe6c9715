"""Single precision, as on a GPU and as users have it, beside double."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from tests.systems import precision, relative_l2


def test_float32(tmp_path):
    """Within 1e-3 at every rate; area and first moment of a linear interaction to 1e-5."""
    file = tmp_path / "single.npz"
    root = Path(__file__).parents[2]
    environment = os.environ | {"JAX_ENABLE_X64": "0", "PYTHONPATH": str(root)}
    subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.systems.precision", str(file)],
        check=True,
        cwd=root,
        env=environment,
        timeout=600,
    )
    single = np.load(file)
    double = precision.lines()
    errors = {}
    for name, expected in double.items():
        assert single[name].dtype == np.float32 or name.startswith("moments")
        if name.startswith("moments"):
            np.testing.assert_allclose(single[name], 1.0, atol=1e-5, err_msg=name)
            np.testing.assert_allclose(expected, 1.0, atol=1e-5, err_msg=name)
        else:
            errors[name] = relative_l2(single[name], expected)
    assert all(error < 1e-3 for error in errors.values()), errors
