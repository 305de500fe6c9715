"""Limits that are known in closed form, and invariances."""

import jax.numpy as jnp
import numpy as np
import pytest

import jaxnmr as jn
from tests.systems import MAGIC, all_pairs, csa_pair, given, random_sites, relative_l2, turn

pytestmark = pytest.mark.filterwarnings("ignore::jaxnmr.errors.ResolutionWarning")

FIELD = 9.4
SPLITTING = 2000.0  # Hz
ONE = jn.Resolution(16, samples=4096, smooth=False)  # isotropic sites need no powder


def _two_lines(dnu=SPLITTING):
    """Two isotropic 13C sites, Hz apart, about the reference."""
    larmor = float(jn.isotope("13C").larmor_frequency(FIELD))
    return jn.Sites("13C", jn.shift_tensor(np.array([-0.5, 0.5]) * dnu / larmor * 1e6))


def _hops(k, populations=None):
    return jn.ExchangeModel.from_rates({(0, 1): k}, populations=populations)


def _mcconnell(hz, dnu, k, linewidth):
    """Two equal lines, rate k each way: McConnell's closed form, per Hz."""
    decay = np.pi * linewidth + 2j * np.pi * hz
    delta = np.pi * dnu
    return 2 * ((2 * k + decay) / (decay * (2 * k + decay) + delta**2)).real


@pytest.mark.parametrize("k", [0.0, 200.0, 4442.0, 1e5, 1e9])
@pytest.mark.parametrize("experiment", [jn.Static(FIELD), jn.MAS(FIELD, 3e4)])
def test_mcconnell(experiment, k):
    """The whole line shape, slow to fast, static and spinning (isotropic shifts do not see the rotor)."""
    axis = jn.Axis(hz=(-50e3, 50e3), points=2001)
    resolution = jn.Resolution(16, None if isinstance(experiment, jn.Static) else 8, 8192, smooth=False)
    got = jn.simulate(_two_lines(), experiment, axis, exchange=_hops(k), linewidth=100.0, resolution=resolution)
    expected = _mcconnell(np.asarray(got.hz), SPLITTING, k, 100.0)
    # Wings folded at 115 kHz cost 1e-3 at coalescence; a rate wrong by one per cent costs 5e-3.
    assert relative_l2(got.intensity, expected) < 2e-3


@pytest.mark.parametrize("experiment", [jn.Static(FIELD), jn.MAS(FIELD, 3e4)])
def test_width_of_each_site(experiment):
    """Sites at rest, each of its own width: Lorentzians (with exchange: the brute force)."""
    axis = jn.Axis(hz=(-20e3, 20e3), points=801)
    widths = np.array([200.0, 600.0])
    resolution = jn.Resolution(16, None if isinstance(experiment, jn.Static) else 4, 2048)
    line = jn.simulate(_two_lines(), experiment, axis, linewidth=widths, resolution=resolution)
    hz = np.asarray(line.hz)
    expected = sum(
        0.5 * width / (2 * np.pi) / ((hz - place) ** 2 + width**2 / 4)
        for place, width in zip((-SPLITTING / 2, SPLITTING / 2), widths, strict=True)
    )
    # Measured 1e-4 static and 4e-4 spinning; a width wrong by one per cent costs 5e-3.
    assert relative_l2(line.intensity, expected) < 1e-3


def test_coalescence():
    """The dip between two equal lines is gone at k = pi dnu / sqrt(2)."""
    axis = jn.Axis(hz=(-20e3, 20e3), points=4001)
    critical = np.pi * SPLITTING / np.sqrt(2)

    def curvature(k):
        s = np.asarray(
            jn.simulate(_two_lines(), jn.Static(FIELD), axis, exchange=_hops(k), linewidth=4.0, resolution=ONE).intensity
        )
        return s[2000 + 5] - 2 * s[2000] + s[2000 - 5]

    # A width of 4 Hz moves the point by 0.2 %.
    assert curvature(0.985 * critical) > 0 > curvature(1.015 * critical)


def test_slow_broadening():
    """Each line is broader by k / pi."""
    axis = jn.Axis(hz=(SPLITTING / 2 - 200, SPLITTING / 2 + 200), points=4001)
    k = 60.0

    def width(rate):
        line = jn.simulate(_two_lines(), jn.Static(FIELD), axis, exchange=_hops(rate), linewidth=20.0, resolution=ONE)
        above = np.asarray(line.hz)[np.asarray(line.intensity) > np.max(line.intensity) / 2]
        return float(np.ptp(above))

    # Steps of the axis are 0.1 Hz; the theory's next order is (k / 2 pi dnu)^2.
    assert abs(width(k) - width(0.0) - k / np.pi) < 0.4


@pytest.mark.parametrize("p", [0.5, 0.8])
def test_fast_broadening(p):
    """One line of width 4 pi p1 p2 dnu^2 / k_ex, k_ex = k12 + k21, read from the decay itself."""
    k_ex = 1e6
    axis = jn.Axis(hz=(-5e3, 5e3), points=64)
    decay = jn.spectrum.decay(
        _two_lines(),
        jn.Static(FIELD),
        axis,
        exchange=_hops(k_ex * (1 - p), np.array((p, 1 - p))),
        resolution=ONE,
    )
    late = np.log(np.abs(np.asarray(decay.signal)[[1000, 3000]]))
    width = (late[0] - late[1]) / (2000 * float(decay.dt) * np.pi)
    # Next order: (2 pi dnu / k_ex)^2 = 1.6e-4.
    np.testing.assert_allclose(width, 4 * np.pi * p * (1 - p) * SPLITTING**2 / k_ex, rtol=5e-4)


def _bonds(name):
    """Directions of the C-D bonds that a deuteron visits."""
    if name == "phenyl flip":
        return np.array([[np.sin(a), 0, np.cos(a)] for a in (np.pi / 3, -np.pi / 3)])
    if name == "methyl":
        tilt, phi = np.arccos(-1 / 3), 2 * np.pi * np.arange(3) / 3
        return np.stack([np.sin(tilt) * np.cos(phi), np.sin(tilt) * np.sin(phi), np.full(3, np.cos(tilt))], 1)
    return np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / np.sqrt(3)


@pytest.mark.parametrize(
    ("motion", "factor", "eta", "beta"),
    [("phenyl flip", 5 / 8, 0.6, np.pi / 2), ("methyl", -1 / 3, 0.0, 0.0), ("tetrahedral", 0.0, 0.0, 0.0)],
)
def test_deuterium_fast_limit(motion, factor, eta, beta):
    """The averaged coupling and asymmetry, against the static pattern of that tensor."""
    c_q = 180e3
    n = _bonds(motion)
    quadrupole = c_q * (1.5 * n[:, :, None] * n[:, None, :] - 0.5 * np.eye(3))
    sites = jn.Sites("2H", np.zeros((len(n), 3, 3)), quadrupole)
    model = jn.ExchangeModel.from_rates(all_pairs(len(n), 1e13))
    still = jn.Sites("2H", np.zeros((3, 3)), jn.quadrupole_tensor(factor * c_q, eta, (0.0, beta, 0.0)))
    axis = jn.Axis(hz=(-200e3, 200e3), points=401)
    resolution = jn.Resolution(2048, samples=512)
    lines = [
        jn.simulate(s, jn.Static(FIELD), axis, exchange=m, linewidth=4000.0, resolution=resolution).intensity
        for s, m in ((sites, model), (still, None))
    ]
    # Two solvers and two ways to smooth: measured 1e-3. A coupling wrong by one per cent costs 4e-2.
    assert relative_l2(*lines) < 3e-3


@pytest.mark.parametrize("experiment", [jn.Static(FIELD), jn.MAS(FIELD, 1e4)])
def test_identical_sites(experiment):
    """Hops between equal sites do nothing, at any rate."""
    still = random_sites("23Na", 1, np.random.default_rng(3))
    twice = jn.Sites("23Na", jnp.tile(still.shift, (2, 1, 1)), jnp.tile(still.quadrupole, (2, 1, 1)))
    axis = jn.Axis(hz=(-40e3, 40e3), points=128)
    phases = None if isinstance(experiment, jn.Static) else 16
    resolution = jn.Resolution(16, phases, 256, smooth=False)
    one = jn.spectrum.decay(still, experiment, axis, resolution=resolution).signal
    for k in (0.0, 1e3, 1e6, 1e12):
        two = jn.spectrum.decay(
            twice, experiment, axis, exchange=_hops(k, np.array((0.7, 0.3))), resolution=resolution
        ).signal
        assert relative_l2(two, one) < 1e-9


def test_relabelling():
    """The order of the sites has no meaning."""
    sites = random_sites("17O", 3, np.random.default_rng(5))
    order = np.array([2, 0, 1])
    p = np.array([0.5, 0.2, 0.3])
    rates = {(0, 1): 3e4, (1, 2): 5e3, (0, 2): 2e5}
    where = {int(old): new for new, old in enumerate(order)}
    # One way of a pair: the way back follows, so the same direction must be named.
    shuffled = {(where[i], where[j]): k for (i, j), k in rates.items()}
    width = np.array([100.0, 300.0, 200.0])
    axis = jn.Axis(hz=(-30e3, 30e3), points=128)
    resolution = jn.Resolution(16, samples=256)
    first = jn.simulate(
        sites,
        jn.Static(FIELD),
        axis,
        exchange=jn.ExchangeModel.from_rates(rates, populations=p),
        linewidth=width,
        resolution=resolution,
    )
    second = jn.simulate(
        jn.Sites("17O", sites.shift[order], sites.quadrupole[order]),
        jn.Static(FIELD),
        axis,
        exchange=jn.ExchangeModel.from_rates(shuffled, populations=p[order]),
        linewidth=width[order],
        resolution=resolution,
    )
    assert relative_l2(second.intensity, first.intensity) < 1e-10


@pytest.mark.parametrize("isotope", ["13C", pytest.param("17O", marks=pytest.mark.slow)])
def test_rotation_of_crystal_and_grid(isotope):
    """A rotated crystal on a rotated grid: static and spinning infinitely fast, with exchange and without."""
    sites = random_sites(isotope, 2, np.random.default_rng(7))
    r = turn([1, 2, -1], 1.1)
    directions = jn.spectrum.Fibonacci().points(20).directions
    turned = jn.Sites(
        isotope,
        r @ np.asarray(sites.shift) @ r.T,
        None if sites.quadrupole is None else r @ np.asarray(sites.quadrupole) @ r.T,
    )
    axis = jn.Axis(hz=(-40e3, 40e3), points=128)
    for experiment in (jn.Static(FIELD), jn.MAS(FIELD, np.inf)):
        for model in (None, _hops(2e4)):
            lines = [
                jn.simulate(
                    s,
                    experiment,
                    axis,
                    exchange=model,
                    linewidth=900.0,
                    resolution=jn.Resolution(20, samples=256, grid=given(d)),
                ).intensity
                for s, d in ((sites, directions), (turned, directions @ r.T))
            ]
            # Extents are surveyed on a fixed grid and change dt a little, so a last part in 1e4 may differ.
            assert relative_l2(*lines) < 1e-3


def test_rotation_under_spinning():
    """Under MAS the rotor's start phase is averaged: the powder line of a rotated crystal is the same."""
    sites = random_sites("13C", 2, np.random.default_rng(8))
    r = turn([1, 0.3, 2], 0.7)
    axis = jn.Axis(hz=(-12e3, 12e3), points=256)
    lines = [
        jn.simulate(
            jn.Sites("13C", shift),
            jn.MAS(FIELD, 5e3),
            axis,
            exchange=_hops(3e3),
            linewidth=100.0,
            resolution=jn.Resolution(600, 16, 512),
        ).intensity
        for shift in (sites.shift, r @ np.asarray(sites.shift) @ r.T)
    ]
    assert relative_l2(*lines) < 2e-3


def test_unconnected_groups():
    """Two pairs that hop within themselves: the sum of two problems, by their weights."""
    sites = random_sites("13C", 5, np.random.default_rng(11))
    axis = jn.Axis(hz=(-15e3, 15e3), points=256)
    resolution = jn.Resolution(24, samples=512, smooth=False)

    def line(chosen, rates, weights=None, populations=None):
        part = jn.Sites("13C", sites.shift[np.array(chosen)], weights=weights)
        model = jn.ExchangeModel.from_rates(rates, populations, n_sites=len(chosen))
        return np.asarray(
            jn.simulate(part, jn.Static(FIELD), axis, exchange=model, linewidth=200.0, resolution=resolution).intensity
        )

    # Site 2 stays; 0 <-> 3 and 1 <-> 4 hop at different rates, the first with unequal populations.
    whole = line(range(5), {(0, 3): 1e3, (3, 0): 3e3, (1, 4): 1e5})
    parts = 0.4 * line([0, 3], {(0, 1): 1e3, (1, 0): 3e3}) + 0.4 * line([1, 4], {(0, 1): 1e5}) + 0.2 * line([2], {})
    # dt follows the extent of each part: wings fold at different places.
    assert relative_l2(whole, parts) < 5e-3
    weighted = line(range(5), {(0, 3): 1e3, (3, 0): 3e3, (1, 4): 1e5}, weights=np.array([0.45, 0.1, 0.2, 0.15, 0.1]))
    parts = 0.6 * line([0, 3], {(0, 1): 1e3, (1, 0): 3e3}) + 0.2 * line([1, 4], {(0, 1): 1e5}) + 0.2 * line([2], {})
    assert relative_l2(weighted, parts) < 5e-3


@pytest.mark.parametrize("experiment", [jn.Static(FIELD), jn.MAS(FIELD, 1e4)])
def test_many_sites(experiment):
    """24 sites, eight copies of three: lumps to the three."""
    three = random_sites("13C", 3, np.random.default_rng(13))
    axis = jn.Axis(hz=(-15e3, 15e3), points=64)
    phases = None if isinstance(experiment, jn.Static) else 8
    resolution = jn.Resolution(8, phases, 64, smooth=False)
    k = 4e3
    small = jn.spectrum.decay(
        three,
        experiment,
        axis,
        exchange=jn.ExchangeModel.from_rates(all_pairs(3, k)),
        resolution=resolution,
    )
    large = jn.spectrum.decay(
        jn.Sites("13C", jnp.tile(three.shift, (8, 1, 1))),
        experiment,
        axis,
        exchange=jn.ExchangeModel.from_rates(all_pairs(24, k / 8)),
        resolution=resolution,
    )
    assert relative_l2(large.signal, small.signal) < 1e-9


@pytest.mark.parametrize(("isotope", "exchange"), [("13C", False), ("13C", True), ("17O", True)])
def test_infinite_spinning(isotope, exchange):
    """rate = inf is where finite rates tend to; sites hop slowly beside the rotor."""
    sites = random_sites(isotope, 2, np.random.default_rng(17))
    model = _hops(1e3) if exchange else None
    axis = jn.Axis(hz=(-15e3, 15e3), points=256)
    resolution = jn.Resolution(128, smooth=False)
    infinite = jn.simulate(sites, jn.MAS(FIELD, np.inf), axis, exchange=model, linewidth=300.0, resolution=resolution)
    fast = jn.simulate(
        sites,
        jn.MAS(FIELD, 1e6),
        axis,
        exchange=model,
        linewidth=300.0,
        resolution=jn.Resolution(128, 10, 90000, smooth=False),
    )
    # What differs is sidebands, (line / rate)^2, and the wings' fold in the narrower band.
    assert relative_l2(fast.intensity, infinite.intensity) < 2e-2


def test_infinite_spinning_of_fast_hops_does_not_fold():
    """A quadrupole averaged to zero leaves a line at the isotropic shift; others do not show it."""
    n = _bonds("tetrahedral")
    sites = jn.Sites("17O", np.zeros((4, 3, 3)), 5e6 * (1.5 * n[:, :, None] * n[:, None, :] - 0.5 * np.eye(3)))
    model = jn.ExchangeModel.from_rates(all_pairs(4, 1e11))
    slow = jn.simulate(sites, jn.MAS(FIELD, np.inf), jn.Axis(hz=(-10e3, 2e3), points=512), linewidth=100.0)
    centre = float(slow.hz @ slow.intensity / slow.intensity.sum())
    assert centre < -2000
    window = jn.Axis(hz=(centre - 500.0, centre + 500.0), points=101)
    line = jn.simulate(sites, jn.MAS(FIELD, np.inf), window, exchange=model, linewidth=50.0)
    wing = 50 / (2 * np.pi) / (centre + 500) ** 2
    assert float(line.intensity.max()) < 3 * wing


@pytest.mark.parametrize("exchange", [False, True])
def test_off_magic_angle(exchange):
    """The second Legendre polynomial scales the pattern; at zero angle the rotor does nothing."""
    sites = csa_pair(angle=0.0, zeta=40.0)
    model = _hops(1e3) if exchange else None
    axis = jn.Axis(hz=(-8e3, 8e3), points=256)

    def line(experiment, phases=None, tensors=sites, count=1600):
        resolution = jn.Resolution(count, phases, 2048)
        return jn.simulate(tensors, experiment, axis, exchange=model, linewidth=200.0, resolution=resolution).intensity

    static = line(jn.Static(FIELD))
    assert relative_l2(line(jn.MAS(FIELD, 2e4, angle=0.0), 8), static) < 5e-3
    angle = MAGIC + 0.2
    scaled = csa_pair(angle=0.0, zeta=40.0 * (1.5 * np.cos(angle) ** 2 - 0.5))
    tilted = line(jn.MAS(FIELD, np.inf, angle=angle))
    assert relative_l2(tilted, line(jn.Static(FIELD), tensors=scaled)) < 2e-3
    assert relative_l2(tilted, static) > 0.1


def test_sleepy_number():
    """13C at 400 MHz, zeta 100 ppm, axes 70.53 degrees apart, 10 kHz, k = 1e3: 0.96848 after a turn.

    SLEEPY's, converged in its powder and steps.
    """
    phases = 32
    decay = jn.spectrum.decay(
        csa_pair(),
        jn.MAS(9.3947, 1e4),
        jn.Axis(hz=(-20e3, 20e3), points=64),
        exchange=_hops(1e3),
        resolution=jn.Resolution(400, phases, 2 * phases, 2, smooth=False),
    )
    signal = np.asarray(decay.signal)
    turned = signal[phases] * np.exp(2j * np.pi * float(decay.carrier) * float(decay.dt) * phases)
    np.testing.assert_allclose(signal[0], 1.0, rtol=1e-12)
    np.testing.assert_allclose(turned.real / signal[0].real, 0.96848, atol=1e-4)
