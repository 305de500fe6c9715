"""Published measured spectra, where they are at hand: second moments, and fits from several starts."""

import importlib.util
import itertools
import os
from pathlib import Path

import numpy as np
import pytest

import jaxnmr as jn
from jaxnmr.fitting import Linear, MultiStart, fit

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


def test_early_times_are_taken_out(real):
    """A decay that ends before the cut vanishes with its base, one that begins behind it stays."""
    hz = np.linspace(5e5, -5e5, 401)
    spectrum = jn.Spectrum(hz / 100.0, hz, np.zeros(401))
    late = real._vanadium.without(spectrum, 10e-6)
    np.testing.assert_allclose(late @ late, late, atol=1e-12)
    early = 3.0 + hz / 1e6 + np.cos(2 * np.pi * hz * 6e-6 + 0.4)
    # Times lie on a grid of 1/width: what falls between its points leaks by a few per cent.
    assert np.linalg.norm(late @ early) < 0.1 * np.linalg.norm(early)
    echo = np.cos(2 * np.pi * hz * 30e-6 + 0.4)
    assert np.linalg.norm(late @ echo - echo) < 0.15 * np.linalg.norm(echo)


@pytest.mark.slow
def test_vanadium(real):
    """Many starts come near the published start of its fit; the residual is near the noise, once early times are out."""
    spectra, sigma, correlation, late = real._vanadium.measured(DATA)
    options = {"constraints": real._vanadium.LIMITS, "noise": sigma, "noise_correlation": correlation, "bounds": False}
    starts = MultiStart(24, 4, ranges=real._vanadium.RANGES)
    found = fit(real._vanadium.model(spectra, late), real._vanadium.START, spectra, starts=starts, throw=False, **options)
    misfit = real._vanadium.misfit(found, sigma, late)
    # 2 with a polynomial base in the place of the early times; 1 would be noise alone.
    assert 1.0 < misfit["chi2_over_dof"] < 1.5
    # Published start -669 ppm, 3.72 MHz. What the model lacks moves couplings by more than their errors.
    assert abs(float(found.params["delta"]) + 664) < 4 and 2.5e6 < float(found.params["c_q"]) < 5e6
    np.testing.assert_allclose(found.params["rate"], [33.7e3, 38.9e3], atol=200)


@pytest.mark.slow
def test_bromide(real):
    """Two starts at either end come to one distribution; satellites need a width of their own."""
    spectra, sigma = real._bromide.measured(DATA)
    nodes = real._bromide.decays(spectra)
    linear = Linear(scale="each", baseline=12, phase=True)
    options = {"constraints": real._bromide.LIMITS, "linear": linear, "noise": sigma, "bounds": False}
    slopes = (0.5, 2.0)
    model = real._bromide.model(spectra, nodes)
    starts = [real._bromide.start(slope ** np.arange(len(real._bromide.NODES))) for slope in slopes]
    first, second = (fit(model, start, spectra, **options) for start in starts)
    assert first.chi2 == pytest.approx(second.chi2, rel=1e-6)
    np.testing.assert_allclose(first.params["weights"], second.params["weights"], atol=1e-3)
    tied = real._bromide.model(spectra, nodes, tied=True)
    fixed = ("offset", "linewidth_st", "gaussian_st", "central")
    assert fit(tied, starts[0], spectra, fixed=fixed, **options).chi2 > 1.5 * first.chi2
