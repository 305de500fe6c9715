"""Measured spectra made ready: phase, base, noise, regions, area, moments; on data whose truth is known."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnmr as jn
from jaxnmr.spectrum import processing
from tests.systems import relative_l2

LARMOR = 100e6
POINTS, WIDTH = 2048, 50e3
TIMES = np.arange(POINTS) / WIDTH
LINES = ((6e3, 1.0, 150.0), (-4e3, 0.6, 250.0), (-15e3, 0.3, 400.0))  # Hz, area, FWHM


def decay(noise=0.0, seed=0, late=0.0, turn=0.0):
    """Three lines, recorded `late` s after the pulse with a receiver phase of `turn`, and white complex noise."""
    t = TIMES + late
    signal = sum(area * np.exp((2j * np.pi * at - np.pi * width) * t) for at, area, width in LINES)
    random = np.random.default_rng(seed)
    signal = signal * np.exp(1j * turn) + noise * (random.normal(size=POINTS) + 1j * random.normal(size=POINTS))
    return jn.FID(signal, 1 / WIDTH, larmor_frequency=LARMOR, isotope="13C")


def turned(spectrum):
    """The same with its axis the other way."""
    return jax.tree.map(lambda x: x[::-1] if jnp.ndim(x) else x, spectrum)


BOTH = pytest.mark.parametrize("way", [lambda s: s, turned], ids=["descending", "ascending"])


@BOTH
def test_phase_by_hand(way):
    """The phases of a late receiver, undone by the formula of the docstring; each axis direction the same."""
    late, turn = 3 / WIDTH, 0.7
    clean = way(decay().spectrum(2 * POINTS))
    off = way(decay(late=late, turn=turn).spectrum(2 * POINTS))
    width = float(abs(off.hz[-1] - off.hz[0]))
    back = processing.phase(off, -turn, -2 * np.pi * late * width, pivot=0.0)
    # The three points that are lost, 3 to 5 % of the lines: 7 %; the uncorrected is off by 140 %.
    near = (np.abs(clean.hz - 6e3) < 400) | (np.abs(clean.hz + 4e3) < 400)
    assert relative_l2(np.asarray(back.intensity)[near], np.asarray(clean.intensity)[near]) < 0.1
    assert relative_l2(np.asarray(off.intensity)[near], np.asarray(clean.intensity)[near]) > 1
    # And it turns back exactly, at any pivot.
    for pivot in (None, -40.0):
        there = processing.phase(off, 0.4, 2.0, pivot)
        again = processing.phase(there, -0.4, -2.0, pivot)
        np.testing.assert_allclose(again.intensity, off.intensity, atol=1e-16)
    assert float(jnp.abs(off.intensity**2 + off.imaginary**2 - there.intensity**2 - there.imaginary**2).max()) < 1e-15


@BOTH
def test_autophase(way):
    """Both orders at a signal-to-noise ratio of 780 of the largest line; each axis direction the same."""
    clean = way(decay(noise=0.003).spectrum())
    off = processing.phase(clean, 2.5, -1.2, pivot=0.0)
    found = processing.autophase(off, first_order=3.0, pivot=0.0)
    p0, p1 = (float(found.p0) + 2.5 + np.pi) % (2 * np.pi) - np.pi, float(found.p1) - 1.2
    # Of the two larger lines: to 1 and 3 degrees, as the docstring says, and a half more.
    assert abs(p0 + p1 * 6 / 50) < 0.03 and abs(p0 - p1 * 4 / 50) < 0.08
    assert relative_l2(found.spectrum.intensity, clean.intensity) < 0.06
    zero = processing.autophase(processing.phase(clean, -1.0))
    assert abs(float(zero.p0) - 1.0) < 0.035 and float(zero.p1) == 0


def test_autophase_of_a_powder_pattern():
    """A static pattern of 200 ppm, with the dispersion that belongs to it: to a degree."""
    sites = jn.Sites("13C", jn.shift_tensor(20.0, 100.0, 0.3))
    axis = jn.Axis(ppm=(300.0, -300.0), points=1024)
    line = jn.simulate(sites, jn.Static(9.4), axis, linewidth=200.0, resolution=jn.Resolution(4000, samples=1024))
    off = processing.phase(processing.dispersion(line), 2.0)
    assert abs(float(processing.autophase(off).p0) + 2.0) < 0.02


def test_dispersion():
    """From the absorption alone, where it was zero-filled: the imaginary part of the same decay."""
    whole = decay().spectrum(4 * POINTS)
    alone = dataclasses.replace(whole, imaginary=None)
    for way in (lambda s: s, turned):
        found = processing.dispersion(way(alone))
        # The decay at the record's end is e^-19: what is left is the fold of the second half.
        assert relative_l2(found.imaginary, way(whole).imaginary) < 1e-6
    with pytest.raises(ValueError, match=r"no imaginary part.*dispersion"):
        processing.phase(alone, 0.1)


BASE = processing.Polynomial(2)


def measured(noise=2e-4, seed=1, base=0.0, points=POINTS):
    spectrum = decay().spectrum(points)
    x = np.linspace(-1, 1, points)
    curve = base * 1e-3 * (0.5 + 0.3 * x + 0.4 * x**2)
    random = np.random.default_rng(seed).normal(size=points)
    return dataclasses.replace(spectrum, intensity=spectrum.intensity + curve + noise * 1e-3 * random), curve


@pytest.mark.parametrize("sigma", [1e-3, 1e-2, 0.1])
def test_noise_and_empty_regions(sigma):
    """White noise beside lines and on a curved base: its deviation to 5 % (its error is 2 %), no correlation."""
    spectrum, _ = measured(sigma, base=1.0)
    noise = processing.noise(spectrum, degree=2)
    # At a signal-to-noise ratio of 4000 the lines' wings are seen in the noise.
    assert abs(noise.sigma / (sigma * 1e-3) - 1) < (0.06 if sigma > 1e-3 else 0.25)
    if sigma > 1e-3:
        assert 0.6 < noise.correlation_length < 1.5
    # No line above three deviations (ten in that case) is called empty, and half of what is empty is found.
    line = decay().spectrum().intensity > (3 if sigma > 1e-3 else 10) * sigma * 1e-3
    assert not (noise.empty & np.asarray(line)).any()
    assert noise.empty.sum() > 0.4 * (~np.asarray(line)).sum()
    given = processing.noise(spectrum, (-200, -170), degree=1)
    assert abs(given.sigma / (sigma * 1e-3) - 1) < 0.3


def test_noise_of_a_broad_line():
    """A line over two thirds of the axis, smooth as a base: its flanks are not called empty."""
    random = np.random.default_rng(3)
    ppm = np.linspace(300, -300, 4096)
    line = np.exp(-((ppm / 70) ** 2))
    for level in (0.0, 5.0, -5.0):
        spectrum = jn.Spectrum(ppm, ppm * 100, line + level + 0.01 * random.normal(size=4096))
        empty = processing.empty_regions(spectrum)
        assert np.abs(ppm[empty]).min() > 130  # where the line is 0.03, three deviations
        assert empty.sum() > 0.7 * (np.abs(ppm) > 160).sum()


def test_noise_ignores_spikes():
    """One per cent of the points hit by spikes of thirty deviations: as without."""
    spectrum, _ = measured(0.05)
    where = np.random.default_rng(2).choice(POINTS, POINTS // 100, replace=False)
    spikes = dataclasses.replace(spectrum, intensity=spectrum.intensity.at[where].add(1.5e-3))
    region = [(-250.0, -190.0), (100.0, 240.0)]
    assert abs(processing.noise(spikes, region).sigma / 5e-5 - 1) < 0.08


@pytest.mark.parametrize(("fill", "width", "expected"), [(1, 0.0, 1.0), (2, 0.0, 1.0), (4, 0.0, 2.0), (2, 300.0, None)])
def test_correlation_length(fill, width, expected):
    r"""Noise of a decay of N points: its real part has $\tau = n \max w^2/\sum w^2 / 2$ for n points and a window w, and at
    least one."""
    random = np.random.default_rng(5)
    found = []
    for _ in range(6):
        signal = random.normal(size=POINTS) + 1j * random.normal(size=POINTS)
        fid = processing.apodise(jn.FID(signal, 1 / WIDTH, larmor_frequency=LARMOR), lorentzian=width)
        spectrum = processing.zero_fill(fid, fill * POINTS).spectrum()
        found.append(processing.noise(spectrum, (-260, 260), degree=0).correlation_length)
    if expected is None:
        window = np.exp(-2 * np.pi * width * TIMES)
        expected = fill * POINTS / window.sum() / 2
    # Each estimate scatters by sqrt(4 * 6 tau / n), 10 to 30 %.
    assert abs(np.mean(found) / expected - 1) < 0.2


@pytest.mark.parametrize("shape", [processing.Polynomial(2), processing.Spline(8)])
def test_baseline(shape):
    """A curve found below lines, from automatic and from given regions, to a third of the noise of a point."""
    spectrum, curve = measured(0.01, base=1.0)
    # The lines' Lorentzian wings are 3e-6 in the gaps.
    for regions in (None, [(250, 80), (45, -25), (-60, -130), (-180, -250)]):
        found = processing.baseline(spectrum, shape, regions)
        assert np.abs(np.asarray(found) - curve)[50:-50].max() < 1.5e-5
        corrected = processing.correct_baseline(spectrum, shape, regions)
        np.testing.assert_allclose(corrected.intensity, spectrum.intensity - found, atol=1e-18)
    slope = jax.grad(lambda y: processing.baseline(dataclasses.replace(spectrum, intensity=y), shape, regions)[700])
    weights = slope(spectrum.intensity)
    np.testing.assert_allclose(weights @ spectrum.intensity, found[700], rtol=1e-9)  # linear: its own tangent


def test_polynomial_is_exact():
    """Without noise and lines each shape gives back what it can draw."""
    x = np.linspace(-1, 1, 300)
    y = 3 - x + 2 * x**3
    spectrum = jn.Spectrum(np.linspace(10, -10, 300), np.linspace(1e3, -1e3, 300), y)
    everywhere = np.ones(300, bool)
    for shape in (processing.Polynomial(3), processing.Spline(4, smoothing=0.0)):
        np.testing.assert_allclose(processing.baseline(spectrum, shape, everywhere), y, atol=1e-11)
    straight = dataclasses.replace(spectrum, intensity=jnp.asarray(2 + x))
    half = np.arange(300) < 100
    # Bends are held small, a straight line has none: carried on over two thirds of the axis.
    np.testing.assert_allclose(processing.baseline(straight, processing.Spline(6), half), 2 + x, atol=1e-8)


@BOTH
def test_regions(way):
    spectrum = way(decay().spectrum())
    part = processing.crop(spectrum, ppm=(80.0, 40.0))
    inside = (np.asarray(spectrum.ppm) >= 40) & (np.asarray(spectrum.ppm) <= 80)
    np.testing.assert_array_equal(part.intensity, np.asarray(spectrum.intensity)[inside])
    np.testing.assert_array_equal(part.imaginary, np.asarray(spectrum.imaginary)[inside])
    np.testing.assert_array_equal(processing.mask(spectrum, hz=(8e3, 4e3)), inside)
    both = processing.mask(spectrum, ppm=[(40, 80), (-50, -20)])
    np.testing.assert_array_equal(both, inside | processing.mask(spectrum, ppm=(-20, -50)))
    assert (part.isotope, float(part.larmor_frequency)) == ("13C", pytest.approx(LARMOR))


@BOTH
def test_bins(way):
    """Means of neighbours on every axis and in both parts, what is left over dropped; white noise falls by the root."""
    spectrum = way(decay(noise=1.0).spectrum(2 * POINTS))
    few = processing.binned(spectrum, 5)
    assert few.intensity.shape == (819,) and few.isotope == "13C"
    for name in ("ppm", "hz", "intensity", "imaginary"):
        column = np.asarray(getattr(spectrum, name))
        np.testing.assert_allclose(getattr(few, name), [column[i : i + 5].mean() for i in range(0, 4095, 5)], atol=1e-12)
    assert float(few.larmor_frequency) == pytest.approx(LARMOR)
    assert processing.binned(spectrum, 1).intensity.shape == (4096,)


@BOTH
def test_area(way):
    """The integral is positive whichever way the axis runs, and is what `normalise` sets."""
    spectrum = way(decay().spectrum(2 * POINTS))
    assert float(processing.integral(spectrum)) == pytest.approx(1.9, rel=1e-3)
    first = float(processing.integral(spectrum, (90, 30)))
    # 150 Hz wide, +- 3 kHz: arctan leaves 1.6 % outside; the others' wings add 2 %.
    assert first == pytest.approx(1.0, abs=0.03)
    one = processing.normalise(spectrum, (90, 30), area=2.0)
    assert float(processing.integral(one, (90, 30))) == pytest.approx(2.0)
    np.testing.assert_allclose(one.imaginary, spectrum.imaginary * 2 / first)
    slope = jax.grad(lambda y: processing.integral(dataclasses.replace(spectrum, intensity=y), (90, 30)))(spectrum.intensity)
    step = WIDTH / (2 * POINTS)
    assert set(np.unique(np.round(np.asarray(slope) / step, 9))) == {0.0, 1.0}
    with pytest.raises(ValueError, match=r"area is -.*correct phase"):
        processing.normalise(processing.scale(spectrum, -1))


HZ = np.linspace(40e3, -40e3, 1024)
GAUSSIAN = 5.0 * np.exp(-(((HZ - 2e3) / 3e3) ** 2) / 2) / (3e3 * np.sqrt(2 * np.pi))


def bell(seed=0, noise=2e-6, step=1):
    y = GAUSSIAN + 3e-5 + 1e-5 * HZ / 40e3
    return jn.Spectrum(HZ / 100, HZ, (y + noise * np.random.default_rng(seed).normal(size=1024))[::step])


@BOTH
def test_moments(way):
    """Area, centre, second and fourth moment of a Gaussian on a sloping base."""
    found = processing.moments(way(bell(noise=0.0)), (170, -130), base=[(390, 180), (-140, -390)])
    np.testing.assert_allclose([found.area, found.centre], [5.0, 2e3], rtol=1e-5)
    np.testing.assert_allclose(found.second, 9e6, rtol=2e-4)  # 5 deviations: 1.5e-5 is cut off
    np.testing.assert_allclose(found.fourth, 3 * 81e12, rtol=2e-3)


@pytest.mark.parametrize("degree", [-1, 1])
def test_error_of_moments(degree):
    """The stated errors are those of 400 draws, to 15 % (each scatter is known to 3.5 %); white noise."""
    regions, base = (170, -130), [(390, 180), (-140, -390)]
    clean = bell(noise=0.0)
    noise = processing.Noise(2e-6, 1.0, 0.0, np.zeros(1024, bool))
    random = jnp.asarray(np.random.default_rng(8).normal(size=(400, 1024)) * 2e-6)

    @jax.jit
    @jax.vmap
    def draw(y):
        spectrum = dataclasses.replace(clean, intensity=clean.intensity + y)
        return processing.moments(spectrum, regions, base=base, degree=degree, noise=noise)

    found = draw(random)
    for value, error in zip(found[:4], found[4:], strict=True):
        assert abs(float(jnp.std(value) / jnp.mean(error)) - 1) < 0.15
    own = processing.moments(bell(1), regions, degree=1)
    assert abs(float(own.second) - 9e6) < 4 * float(own.second_stderr)
    assert 0.5 < float(own.second_stderr / jnp.mean(draw(random).second_stderr)) < 2.5


def test_error_of_moments_counts_correlation():
    """Zero-filled to four times: twice the points' information is not there, and the error says so."""
    random = np.random.default_rng(4)
    values, errors = [], []
    for _ in range(60):
        signal = 5.0 * np.exp(-((2 * np.pi * 3e3 * TIMES[:512]) ** 2) / 2)
        signal = signal + 0.02 * (random.normal(size=512) + 1j * random.normal(size=512))
        spectrum = processing.zero_fill(jn.FID(signal, 1 / WIDTH, larmor_frequency=LARMOR), 2048).spectrum()
        found = processing.moments(spectrum, (130, -130), base=[(240, 140), (-140, -240)])
        values.append(float(found.second))
        errors.append(float(found.second_stderr))
    # 60 draws know a scatter to 9 %; leaving the correlation out would give 0.7.
    assert 0.8 < np.mean(errors) / np.std(values) < 1.3


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s: processing.mask(s), r"either ppm=.*or hz="),
        (lambda s: processing.mask(s, ppm=(np.nan, 3.0)), r"ppm: got .*give \(from, to\)"),
        (lambda s: processing.mask(s, ppm=(900, 950)), r"ppm: no point between 900 and 950; the axis runs from 249"),
        (lambda s: processing.binned(s, 0), r"size: got 0 for .* give 1 to"),
        (lambda s: processing.binned(s, len(s.ppm)), r"size: got .* give 1 to"),
        (lambda s: processing.crop(s, ppm=(10.0, 10.2)), r"crop: got .*one region that holds two points"),
        (lambda s: processing.noise(s, np.ones(7, bool)), r"regions: a mask of shape \(7,\) for 2048 points"),
        (lambda s: processing.noise(s, np.zeros(POINTS, bool)), r"no point in it"),
        (lambda s: processing.noise(s, (0.0, 0.5)), r"regions: \d points; the noise needs at least 8"),
        (lambda s: processing.baseline(s, processing.Polynomial(12), (0.0, 1.5)), r"regions: \d points for 13"),
        (lambda s: processing.Polynomial(-1), r"degree: got -1"),
        (lambda s: processing.Spline(0), r"intervals: got 0"),
        (lambda s: processing.Spline(4, -1.0), r"smoothing: got -1"),
        (lambda s: processing.moments(s, (20, -20), base=(30, 10)), r"base: \d+ points of it lie in the regions"),
        (lambda s: processing.phase(s, np.nan), r"p0: got nan"),
        (lambda s: processing.autophase(s, first_order=-1.0), r"first_order: got -1"),
        (lambda s: processing.autophase(processing.scale(s, 0.0)), r"nothing to phase"),
        (lambda s: processing.scale(s, np.inf), r"factor: got inf"),
        (lambda s: processing.normalise(s, area=0.0), r"area: got 0"),
        (lambda s: processing.empty_regions(processing.crop(s, ppm=(0, 3))), r"too few to tell line from base"),
        (
            lambda s: processing.noise(dataclasses.replace(s, intensity=s.intensity.at[6].set(jnp.nan))),
            r"point 7 is not a f",
        ),
        (lambda s: jax.jit(processing.baseline)(s), r"traced.*outside jit and pass a mask"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call(decay().spectrum())
