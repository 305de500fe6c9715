"""Published measured spectra, where they are at hand: second moments, and fits from several starts."""

import importlib.util
import itertools
import os
from pathlib import Path

import numpy as np
import pytest

from jaxnmr.fitting import Linear, fit

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("JAXNMR_DATA", ROOT.parent / "shared" / "data"))
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"third-party spectra are not at {DATA}; set JAXNMR_DATA")


@pytest.fixture(scope="module")
def real():
    """The benchmark's readers and models."""
    spec = importlib.util.spec_from_file_location("real_spectra", ROOT / "benchmarks" / "real_spectra.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("temperature", ["-30", "100", "160"])
def test_second_moment(real, temperature):
    """As a sum over the file's columns by hand, a base laid through the same far points."""
    table = np.genfromtxt(DATA / "dipolar_averages" / "di_spectra_3.csv", delimiter=",", skip_header=1)
    khz, y = table[:, 1], table[:, 2 + ("-30", "100", "160").index(temperature)]
    far, near = (np.abs(khz) >= 160) & (np.abs(khz) <= 239), np.abs(khz) <= 40
    y = (y - np.polyval(np.polyfit(khz[far], y[far], 1), khz))[near]
    x = khz[near]
    centre = x @ y / y.sum()
    second = (x - centre) ** 2 @ y / y.sum()
    found = real.diamantane_moments(DATA, temperature, 40e3)
    np.testing.assert_allclose([found.centre / 1e3, found.second / 1e6], [centre, second], rtol=1e-6)
    # The error by the spread of what the sum gives on noise alone: a tenth of the far points at a time.
    pieces = np.array_split(np.flatnonzero(far), 12)
    levels = np.array([table[piece, 2 + ("-30", "100", "160").index(temperature)].mean() for piece in pieces])
    scale = levels.std() * (x**2).sum() / y.sum()
    assert 0.02 * scale < float(found.second_stderr) / 1e6 < 2 * scale


def test_motion_narrows(real):
    """Molecules of diamantane turn when warm: the second moment falls twice, by far more than its errors at each cut."""
    for cut in real.CUTS:
        moments = [real.diamantane_moments(DATA, temperature, cut) for temperature in real.TEMPERATURES]
        for cold, warm in itertools.pairwise(moments):
            fall, error = float(cold.second - warm.second), float(np.hypot(cold.second_stderr, warm.second_stderr))
            assert fall > 50 * error and fall > 15e6


@pytest.mark.slow
def test_vanadium(real):
    """Two starts come to one optimum near the published start of its fit; the residual is less than twice the noise."""
    spectra, sigma = real.vanadium_data(DATA)
    model = real.vanadium_model(spectra)
    options = {"constraints": real.VANADIUM_LIMITS, "linear": Linear(scale="each", baseline=10), "noise": sigma}
    results = [fit(model, start, spectra, bounds=False, throw=False, **options) for start in real.VANADIUM_STARTS[:2]]
    for result in results:
        assert float(result.reduced_chi2) < 4
        # Published start 3.72 MHz, 0.62, -669 ppm; the background that the model lacks moves them more than the noise.
        assert abs(float(result.params["c_q"]) - 3.72e6) < 0.3e6
        assert abs(float(result.params["eta_q"]) - 0.62) < 0.25
        assert abs(float(result.params["delta"]) + 669) < 10
        np.testing.assert_allclose(result.params["rate"], [33.8e3, 39.1e3], atol=300)
    first, second = results
    for name in ("c_q", "eta_q", "delta", "zeta"):
        assert abs(float(first.params[name] - second.params[name])) < 0.5 * float(first.stderr[name])
