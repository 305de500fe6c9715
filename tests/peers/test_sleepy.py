"""Two-site exchange against SLEEPY, static and spinning."""

from __future__ import annotations

import numpy as np
import pytest

from tests.reference import brute

from . import sleepy
from .mrsim import MAGIC_ANGLE, relative_l2

# SLEEPY's stored signals are within 2e-3 of the brute force below; every neighbouring rate scores 0.07 and more.
TOLERANCE = 1e-2

WIDTH = {0.0: 300.0, 1e4: 200.0}  # Hz: signals have decayed at their end (to 6e-6 and 3e-4)
CENTRE = 0.0
OFFSETS = np.linspace(-20e3, 20e3, 1601)  # the static line is 15 kHz wide

ALL = [(k, spinning) for spinning in sleepy.SPINNING for k in sleepy.RATES]

needs_sleepy = pytest.mark.skipif(
    sleepy.installed_version() is None, reason="sleepy-nmr or ipython is not installed (pip install 'jaxnmr[test]')"
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
    """One small case live: a coarse powder on both sides would not do, so the line is broad instead."""
    k, width = 1e3, 1000.0
    _, signal = sleepy.two_site_fid(k, 0.0, sleepy.Grid("zcw4180", 1), points=512)
    expected = sleepy.spectrum(signal, width, OFFSETS)
    assert relative_l2(simulated(k, 0.0, OFFSETS, width), expected) < TOLERANCE


def test_one_rotor_period():
    """k = 1e3 each way, 10 kHz: the gamma-averaged signal after one period is 0.96848 of the start.

    From the spectrum: its Fourier integral over all frequencies at t = 1/rate, less the known Lorentzian decay.
    TODO: ask `jaxnmr.spectrum.fid` for the signal itself once that is public, and compare to 1e-5.
    """
    width, half, step = 50.0, 200e3, 12.5  # images in time are 1/step apart and decayed to 4e-6
    offsets = np.linspace(-half, half, round(2 * half / step) + 1)
    intensity = simulated(1e3, 1e4, offsets, width)
    period = 1e-4
    signal = step * (intensity * np.cos(2 * np.pi * offsets * period)).sum() * np.exp(np.pi * width * period)
    # Without hops it is 1, with gamma encoding 0.9755 of the decay; ends of the axis cost 3e-6.
    np.testing.assert_allclose(signal, 0.96848, atol=1e-4)


def test_stored_signals_hold_the_number():
    """0.96848 in the stored signal as well, and its version."""
    signal = sleepy.stored_fid(1e3, 1e4)
    np.testing.assert_allclose(signal[round(sleepy.SAMPLING_HZ / 1e4)].real, 0.96848, atol=2e-5)
    with np.load(sleepy.DATA) as file:
        assert str(file["version"]) == "1.1.2"
        assert len(file.files) == 1 + len(ALL)


@pytest.mark.parametrize(("k", "spinning"), ALL)
def test_stored_signals_are_converged(k, spinning):
    """Against the brute force, so that a disagreement of ours is ours."""
    system, width = brute_system(k), WIDTH[spinning]
    if spinning:
        directions, weights = brute.sphere(16, 32)
        frames = brute.frames_from_axes(directions)
        # 16 start phases and points a period, each step twice; the 96 periods are those of the stored signal.
        signal = brute.mas_fid(system, 0.5, frames, weights, MAGIC_ANGLE, spinning, 16, 1536, substeps=4)
    else:
        # Lines of 300 Hz over 15 kHz: enough crystallites for the part of the signal that is left.
        directions, weights = brute.sphere(48, 96)
        signal = brute.static_fid(system, 0.5, directions, weights, 1 / sleepy.SAMPLING_HZ, 1024)
    stored = sleepy.stored_fid(k, spinning)[: len(signal)]
    expected = sleepy.spectrum(signal, width, OFFSETS)
    assert relative_l2(sleepy.spectrum(stored, width, OFFSETS), expected) < 5e-3


@pytest.mark.parametrize("spinning", sleepy.SPINNING)
@pytest.mark.parametrize(("k", "wrong"), [(1e2, 2e2), (1e3, 1.2e3), (1e4, 1.2e4), (1e5, 1.2e5), (1e6, 1.2e6)])
def test_wrong_rates_score_badly(k, wrong, spinning):
    """A rate wrong by 20 % (at 100 s^-1 by a factor of two) misses by more than the tolerance."""
    width = WIDTH[spinning]
    directions, weights = brute.sphere(16, 32)
    if spinning:
        frames = brute.frames_from_axes(directions)
        lines = [
            brute.mas_fid(brute_system(r), 0.5, frames, weights, MAGIC_ANGLE, spinning, 16, 1024, substeps=2)
            for r in (k, wrong)
        ]
    else:
        width = 1500.0
        lines = [
            brute.static_fid(brute_system(r), 0.5, directions, weights, 1 / sleepy.SAMPLING_HZ, 256)
            for r in (k, wrong)
        ]
    right, other = (sleepy.spectrum(line, width, OFFSETS) for line in lines)
    score = relative_l2(other, right)
    print(f"{spinning:g} Hz, {wrong:g} for {k:g}: {score:.3f}")
    assert score > TOLERANCE
