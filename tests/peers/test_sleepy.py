"""Two-site exchange against SLEEPY, static and spinning."""

from __future__ import annotations

import numpy as np
import pytest

from tests.reference import brute

from . import sleepy
from .mrsim import MAGIC_ANGLE, relative_l2

# SLEEPY's stored spectra are within 3e-4 (static) and 2.1e-3 (spinning) of the brute force; what a wrong
# rate scores is in `test_wrong_rates_score_badly`.
TOLERANCE = 1e-2

WIDTH = {0.0: 500.0, 1e4: 200.0}  # Hz: signals have decayed at their end (to 2e-9 and 3e-4)
OFFSETS = np.linspace(-20e3, 20e3, 1601)  # the static line is 15 kHz wide

ALL = [(k, spinning) for spinning in sleepy.SPINNING for k in sleepy.RATES]

needs_sleepy = pytest.mark.skipif(
    sleepy.installed_version() is None,
    reason="sleepy-nmr or ipython is not installed (pip install 'jaxnmr[test]')",
)


def two_sites() -> np.ndarray:
    """Shift tensors, ppm: two axial ones, the second axis in the xz plane."""
    out = []
    for angle in (0.0, sleepy.ANGLE):
        axis = np.array([np.sin(angle), 0.0, np.cos(angle)])
        out.append(sleepy.ZETA * (1.5 * np.outer(axis, axis) - 0.5 * np.eye(3)))
    return np.array(out)


def brute_system(k: float) -> brute.System:
    rates = k * np.array([[-1.0, 1.0], [1.0, -1.0]])
    return brute.make_system(0.5, sleepy.LARMOR_HZ, two_sites(), None, rates)


def experiment(spinning: float):
    """jaxnmr's experiment at SLEEPY's Larmor frequency."""
    import jaxnmr as jn

    field = sleepy.LARMOR_HZ / jn.isotope("13C").larmor_frequency(1.0)
    return jn.MAS(field, spinning) if spinning else jn.Static(field)


def simulated(k: float, spinning: float, offsets: np.ndarray, linewidth: float) -> np.ndarray:
    import jaxnmr as jn

    spectrum = jn.simulate(
        jn.Sites("13C", two_sites()),
        experiment(spinning),
        jn.Axis(hz=(float(offsets[0]), float(offsets[-1])), points=len(offsets)),
        exchange=jn.ExchangeModel.from_rates({(0, 1): k, (1, 0): k}),
        linewidth=linewidth,
    )
    return np.asarray(spectrum.intensity)


@pytest.mark.parametrize(("k", "spinning"), ALL)
def test_against_stored(k, spinning):
    """Spectra of the stored signals, the same Lorentzian."""
    width = WIDTH[spinning]
    expected = sleepy.spectrum(sleepy.stored_fid(k, spinning), width, OFFSETS)
    assert relative_l2(simulated(k, spinning, OFFSETS, width), expected) < TOLERANCE


@pytest.mark.peer
@needs_sleepy
def test_against_installed():
    """One small case live; its powder is coarser, so its line is broader."""
    k, width = 1e3, 1000.0
    _, signal = sleepy.two_site_fid(k, 0.0, sleepy.Grid("zcw4180", 1), points=512)
    expected = sleepy.spectrum(signal, width, OFFSETS)
    assert relative_l2(simulated(k, 0.0, OFFSETS, width), expected) < TOLERANCE


def test_one_rotor_period():
    """k = 1e3 each way, 10 kHz: the gamma-averaged signal after one period is 0.96848 of the start."""
    import jaxnmr as jn

    decay = jn.spectrum.decay(
        jn.Sites("13C", two_sites()),
        experiment(1e4),
        jn.Axis(hz=(-20e3, 20e3), points=512),
        exchange=jn.ExchangeModel.from_rates({(0, 1): 1e3, (1, 0): 1e3}),
        resolution=jn.Resolution(orientations=10000, phases=64, samples=128, substeps=4),
    )
    periods = 1e-4 / float(decay.dt)
    row = round(periods)
    np.testing.assert_allclose(periods, row, rtol=1e-5)
    signal = np.asarray(decay.signal)[row] * np.exp(2e-4j * np.pi * float(decay.carrier))
    # Without hops it is 1; a gamma-encoded average misses by 0.7 %.
    np.testing.assert_allclose(signal, 0.96848, atol=2e-5)


def test_stored_signals_hold_the_number():
    """0.96848 in the stored signal as well, and its version."""
    signal = sleepy.stored_fid(1e3, 1e4)
    np.testing.assert_allclose(signal[round(sleepy.SAMPLING_HZ / 1e4)].real, 0.96848, atol=2e-5)
    with np.load(sleepy.DATA) as file:
        assert str(file["version"]) == "1.1.2"
        assert len(file.files) == 1 + len(ALL)


def brute_signal(k: float, spinning: float, periods: int = 96) -> np.ndarray:
    """Start of the stored signal by spin matrices; all of it under spinning, decayed at 1 kHz if static."""
    if not spinning:
        return brute.static_fid(brute_system(k), 0.5, *brute.sphere(64, 128), 1 / sleepy.SAMPLING_HZ, 512)
    directions, weights = brute.sphere(16, 32)
    frames = brute.frames_from_axes(directions)
    return brute.mas_fid(brute_system(k), 0.5, frames, weights, MAGIC_ANGLE, spinning, 16, 16 * periods, substeps=4)


@pytest.mark.parametrize(("k", "spinning"), ALL)
def test_stored_signals_are_converged(k, spinning):
    """Against the brute force, so that a disagreement of ours is ours; measured 3e-7 to 4.2e-3."""
    width = WIDTH[spinning] if spinning else 1000.0  # a broader line for the coarser powder of this test
    signal = brute_signal(k, spinning)
    stored = sleepy.stored_fid(k, spinning)[: len(signal)]
    expected = sleepy.spectrum(signal, width, OFFSETS)
    assert relative_l2(sleepy.spectrum(stored, width, OFFSETS), expected) < 5e-3


@pytest.mark.parametrize("spinning", sleepy.SPINNING)
@pytest.mark.parametrize(("k", "factor"), [(1e2, 3.0), (1e3, 1.5), (1e4, 1.5), (1e5, 1.5), (1e6, 6.0)])
def test_wrong_rates_score_badly(k, factor, spinning):
    """Such errors of a rate miss by more than the tolerance; at the ends the line depends little on it."""
    width = WIDTH[spinning]
    right, wrong = (sleepy.spectrum(brute_signal(rate, spinning, 48), width, OFFSETS) for rate in (k, factor * k))
    score = relative_l2(wrong, right)
    print(f"{spinning:g} Hz, {factor:g} x {k:g}: {score:.3f}")
    assert score > 1.5 * TOLERANCE
