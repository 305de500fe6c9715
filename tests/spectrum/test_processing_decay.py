"""Decays before their transform: windows, zeros, dead time, filters."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnmr as jn
from jaxnmr.spectrum import processing
from tests.systems import relative_l2

WIDTH, POINTS, LARMOR = 40e3, 2048, 100e6
TIMES = np.arange(POINTS) / WIDTH


def line(at=3e3, fwhm=200.0, times=TIMES):
    signal = np.exp((2j * np.pi * at - np.pi * fwhm) * times)
    return jn.FID(signal, 1 / WIDTH, larmor_frequency=LARMOR, isotope="13C", field=9.4)


def lorentzian(hz, at, fwhm):
    return fwhm / (2 * np.pi) / ((hz - at) ** 2 + fwhm**2 / 4)


def test_exponential_broadens():
    """A line of 200 Hz weighted by 300 Hz is one of 500; the metadata stay."""
    fid = processing.apodise(line(), lorentzian=300.0)
    spectrum = fid.spectrum()
    near = np.abs(spectrum.hz - 3e3) < 4e3
    expected = lorentzian(np.asarray(spectrum.hz), 3e3, 500.0)
    # Folded wings: 2.5e-3; a width wrong by 1 % costs 1e-2.
    assert relative_l2(np.asarray(spectrum.intensity)[near], expected[near]) < 4e-3
    assert (fid.isotope, float(fid.field), float(fid.larmor_frequency)) == ("13C", 9.4, LARMOR)


def test_lorentz_to_gauss():
    """A negative exponential takes the Lorentzian off; a Gaussian of the width asked for is left."""
    spectrum = processing.apodise(line(), lorentzian=-200.0, gaussian=300.0).spectrum()
    sigma = 300.0 / np.sqrt(8 * np.log(2))
    hz = np.asarray(spectrum.hz)
    expected = np.exp(-(((hz - 3e3) / sigma) ** 2) / 2) / (sigma * np.sqrt(2 * np.pi))
    assert relative_l2(spectrum.intensity, expected) < 1e-6


def test_apodise_derivatives():
    """In the width: d/dw of the height 2/(pi (w + w0)); both modes."""
    height = lambda w: processing.apodise(line(0.0), lorentzian=w).spectrum().intensity.max()  # noqa: E731
    expected = -2 / np.pi / 500.0**2
    for slope in (jax.grad(height)(300.0), jax.jacfwd(height)(300.0)):
        # The discrete sum's integral differs by (pi w dt)^2 / 6, 2e-4.
        assert float(slope) == pytest.approx(expected, rel=1e-2)


def test_sine_bell():
    """From one to zero for the cosine; from zero to zero, at its top half way, for the sine."""
    cosine = np.real(processing.sine_bell(line(0.0, 0.0), power=2).signal)
    np.testing.assert_allclose(cosine, np.cos(np.linspace(0, np.pi / 2, POINTS)) ** 2, atol=1e-12)
    sine = np.real(processing.sine_bell(line(0.0, 0.0), shift=0.0).signal)
    assert sine[0] == 0 and sine[-1] < 1e-12 and sine.argmax() in (1023, 1024)


def test_zero_fill():
    """The old points are among the new, with the same values."""
    fid = line()
    long = processing.zero_fill(fid, 4 * POINTS).spectrum()
    short = fid.spectrum()
    found = {round(float(x), 3): float(y) for x, y in zip(long.hz, long.intensity, strict=True)}
    some = range(0, POINTS, 97)
    np.testing.assert_allclose(
        [found[round(float(short.hz[i]), 3)] for i in some], short.intensity[np.array(some)], atol=1e-9
    )


@pytest.mark.parametrize("top", [100 / WIDTH, 100.4 / WIDTH])
def test_start_at_an_echo(top):
    """A line whose echo has its top at or between points: absorption from there on, without a phase."""
    times = TIMES - top
    signal = np.exp(2j * np.pi * 3e3 * times - np.pi * 200.0 * np.abs(times))
    fid = processing.start_at(jn.FID(signal, 1 / WIDTH, larmor_frequency=LARMOR), top)
    assert 0 <= float(fid.start) < 1 / WIDTH
    spectrum = fid.spectrum()
    near = np.abs(spectrum.hz - 3e3) < 1e3
    expected = lorentzian(np.asarray(spectrum.hz), 3e3, 200.0)
    # A fraction of a point's signal is lost with the points before the top, 1 % of the height; a phase costs far more.
    assert relative_l2(np.asarray(spectrum.intensity)[near], expected[near]) < 2e-2
    if top * WIDTH != 100:  # a start that were left at zero would turn the phase by 0.3 rad
        unmoved = dataclasses.replace(fid, start=0.0).spectrum()
        assert relative_l2(np.asarray(unmoved.intensity)[near], expected[near]) > 0.1


def test_remove_delay_is_a_first_order_phase():
    """A group delay counted off the time is the phase 2 pi nu t_d of the spectrum, about the carrier."""
    delay = 12.3 / WIDTH
    fid = line(times=TIMES - 20 / WIDTH)
    moved = processing.remove_delay(fid, delay)
    assert float(moved.start) == pytest.approx(-delay)
    # The first point counts whole where the record begins before zero.
    whole = jn.FID(fid.signal.at[0].multiply(2.0), 1 / WIDTH, larmor_frequency=LARMOR).spectrum()
    span = float(whole.hz[0] - whole.hz[-1])
    turned = processing.phase(whole, 0.0, 2 * np.pi * delay * span, pivot=0.0)
    np.testing.assert_allclose(moved.spectrum().intensity, turned.intensity, atol=1e-9)


def test_truncate():
    fid = processing.truncate(line(), 99.5 / WIDTH)
    assert len(fid.signal) == 100 and float(fid.times[-1]) <= 99.5 / WIDTH


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda f: processing.apodise(f, gaussian=-1.0), r"gaussian: got -1 Hz"),
        (lambda f: processing.apodise(f, lorentzian=-1.0), r"lorentzian: got -1 Hz.*gaussian beside it"),
        (lambda f: processing.apodise(f, lorentzian=np.nan), r"lorentzian: got nan"),
        (lambda f: processing.sine_bell(f, shift=2.0), r"shift: got 2"),
        (lambda f: processing.sine_bell(f, power=0.0), r"power: got 0"),
        (lambda f: processing.zero_fill(f, 100), r"points: got 100 for a decay of 2048"),
        (lambda f: processing.truncate(f, 0.0), r"time: got 0.0 s"),
        (lambda f: processing.start_at(f, 1.0), r"time: got 1.0 s; the decay runs from 0 to"),
        (lambda f: processing.start_at(f, -1.0), r"time: got -1.0 s"),
        (lambda f: processing.remove_delay(f, np.inf), r"delay: got inf"),
        (lambda f: jn.FID(np.real(f.signal), 1 / WIDTH, larmor_frequency=LARMOR), r"signal: got real numbers"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call(line())


def test_under_jit_in_single_precision():
    """The whole chain compiles, and float32 data stay float32."""
    fid = jn.FID(np.asarray(line().signal, np.complex64), 1 / WIDTH, larmor_frequency=LARMOR)

    @jax.jit
    def process(fid, width, turn):
        spectrum = processing.zero_fill(processing.apodise(fid, lorentzian=width), 4096).spectrum()
        return processing.phase(spectrum, turn, 0.1, pivot=0.0)

    found = process(fid, 100.0, 0.0)
    assert found.intensity.dtype == jnp.float32
    assert float(found.ppm[jnp.argmax(found.intensity)]) == pytest.approx(30.0, abs=0.2)
