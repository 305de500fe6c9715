"""The same crystallites, phases and steps as an independent brute force of spin matrices."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

import jaxnmr as jn
from jaxnmr.harmonics import frames
from tests.reference import brute
from tests.systems import MAGIC, all_pairs, random_sites, reference, relative_l2

pytestmark = pytest.mark.filterwarnings("ignore::jaxnmr.errors.JaxnmrWarning")

FIELD, RATE = 9.4, 25e3
DIRECTIONS, PHASES, PERIODS = 6, 8, 5
RATES = (0.0, 1e3, 1e5, 1e7, 1e9)

# isotope, upper level, sites, experiment. 17O and 15N have a negative gamma.
TABLE = [
    ("13C", 0.5, 1, "mas"),
    ("13C", 0.5, 2, "static"),
    ("13C", 0.5, 4, "mas"),
    ("15N", 0.5, 3, "static"),
    ("2H", 1.0, 2, "static"),
    ("2H", 0.0, 3, "mas"),
    ("14N", 1.0, 1, "static"),
    ("23Na", 0.5, 1, "static"),
    ("23Na", 0.5, 2, "mas"),
    ("23Na", 1.5, 3, "static"),
    ("23Na", -0.5, 4, "mas"),
    ("17O", 0.5, 1, "mas"),
    ("17O", 0.5, 2, "static"),
    ("17O", 0.5, 3, "mas"),
    ("17O", 0.5, 4, "static"),
    ("17O", 2.5, 2, "mas"),
    ("27Al", -1.5, 3, "static"),
    ("27Al", 0.5, 2, "inf"),
]


def _problem(isotope, n, rate, seed=1, antisymmetric=10.0):
    rng = np.random.default_rng(seed)
    sites = random_sites(isotope, n, rng, antisymmetric)
    p = rng.uniform(0.3, 1, n)
    widths = rng.uniform(50, 100, n)
    uneven = rng.uniform(0.5, 2, (n, n))
    model = None
    if n > 1:
        model = jn.ExchangeModel.from_rates(all_pairs(n, rate, lambda i, j: uneven[i, j]), populations=p / p.sum())
    return sites, model, widths


def _experiment(kind, m):
    if kind == "static":
        return jn.Static(FIELD, (m, m - 1))
    return jn.MAS(FIELD, np.inf if kind == "inf" else RATE, transition=(m, m - 1))


def _reference_fid(system, m, kind, points, dt, count, substeps=1, phases=PHASES):
    axes = frames(points.directions)
    if kind == "static":
        return brute.static_fid(system, m, points.directions, points.weights, dt, count)
    if kind == "inf":
        ell = brute.rotor_generators(system, m, axes, MAGIC, 1)[:, 0]
        return brute.fid_of_generators(system, ell, points.weights, dt, count)
    return brute.mas_fid(system, m, axes, points.weights, MAGIC, RATE, phases, count, substeps=substeps)


def _resolution(kind, substeps=1):
    phases = PHASES if kind == "mas" else None
    return jn.Resolution(DIRECTIONS, phases, PHASES * PERIODS, substeps, smooth=False, commutator=False)


@pytest.mark.parametrize(("isotope", "m", "n", "kind"), TABLE)
def test_decay(isotope, m, n, kind):
    """Every rate, unequal populations, a width for each site, antisymmetric shift: equal to rounding."""
    resolution = _resolution(kind)
    points = resolution.grid.points(DIRECTIONS)
    axis = jn.Axis(hz=(-40e3, 40e3), points=64)
    for rate in RATES if n > 1 else (0.0,):
        sites, model, widths = _problem(isotope, n, rate)
        got = jn.spectrum.decay(sites, _experiment(kind, m), axis, exchange=model, linewidth=widths, resolution=resolution)
        dt, count = float(got.dt), PHASES * PERIODS
        fid = _reference_fid(reference(sites, FIELD, model, widths), m, kind, points, dt, count)
        fid = fid * np.exp(-2j * np.pi * float(got.carrier) * dt * np.arange(count))
        # Rounding leaves 1e-9 at k = 1e9; an antisymmetric shift left out of a satellite costs
        # 1e-3, the motion in the second order 1e-1.
        assert relative_l2(got.signal, fid) < 1e-8, f"k = {rate:g}"


@pytest.mark.parametrize(("kind", "linewidth"), [("static", 600.0), ("mas", (500.0, 700.0))])
def test_spectrum(kind, linewidth):
    """Lorentzian, Gaussian and transform too, at every point of a descending axis, its ends included."""
    sites, model, _ = _problem("17O", 2, 2e4)
    axis = jn.Axis(hz=(50e3, -45e3), points=101)
    resolution = jn.Resolution(DIRECTIONS, PHASES if kind == "mas" else None, 400, 1, smooth=False, commutator=False)
    width = np.asarray(linewidth)
    spectrum = jn.simulate(
        sites,
        _experiment(kind, 0.5),
        axis,
        exchange=model,
        linewidth=width,
        gaussian=300.0,
        resolution=resolution,
    )
    decay = jn.spectrum.decay(sites, _experiment(kind, 0.5), axis, exchange=model, linewidth=width, resolution=resolution)
    dt, count = float(decay.dt), len(decay.signal)
    points = resolution.grid.points(DIRECTIONS)
    fid = _reference_fid(reference(sites, FIELD, model, width), 0.5, kind, points, dt, count)
    expected = brute.spectrum(fid, dt, 300.0, np.asarray(spectrum.hz))
    # To the plain sum the library adds the unfolding of the wings (tested by itself on analytic lines): for the
    # exponential of the same initial slope, integral minus sum.
    slope = complex(decay.slopes[0]) - (np.pi * float(width) if width.ndim == 0 else 0.0)
    half = (slope - 2j * np.pi * (np.asarray(spectrum.hz) - float(decay.carrier))) * dt / 2
    expected = expected + dt * (1 / np.tanh(half) - 1 / half).real
    assert relative_l2(spectrum.intensity, expected) < 1e-8
    # Brute force is at home in the reference's frame: the carrier has no effect on the result.
    assert float(decay.carrier) == 2.5e3


def test_all_transitions():
    """2H: both lines, each half of the intensity."""
    sites, model, widths = _problem("2H", 2, 1e5)
    axis = jn.Axis(hz=(-200e3, 200e3), points=64)
    resolution = _resolution("static")
    got = jn.spectrum.decay(sites, jn.Static(FIELD), axis, exchange=model, linewidth=widths, resolution=resolution)
    points = resolution.grid.points(DIRECTIONS)
    system = reference(sites, FIELD, model, widths)
    fid = sum(
        weight * _reference_fid(system, m, "static", points, float(got.dt), PHASES * PERIODS)
        for m, weight in brute.transitions(1, "all")
    )
    assert relative_l2(got.signal, fid) < 1e-8


def test_antisymmetric_shift_acts_on_satellites_alone():
    """Through its product with the quadrupole; the central line does not feel it."""
    axis = jn.Axis(hz=(-40e3, 40e3), points=64)
    change = {}
    for m in (0.5, 1.5):
        runs = [
            jn.spectrum.decay(
                _problem("23Na", 2, 1e3, antisymmetric=size)[0],
                jn.Static(FIELD, (m, m - 1)),
                axis,
                exchange=_problem("23Na", 2, 1e3)[1],
                resolution=_resolution("static"),
            ).signal
            for size in (0.0, 200.0)
        ]
        # Extremely little of the shift enters the extent, so both runs share dt.
        change[m] = relative_l2(*runs)
    assert change[0.5] < 0.1 * change[1.5]


def test_order_in_substeps():
    """Averaging the generator over a step errs as the square of the step."""
    sites, model, widths = _problem("13C", 2, 3e4)
    axis = jn.Axis(hz=(-20e3, 20e3), points=64)
    runs = [
        jn.spectrum.decay(
            sites,
            _experiment("mas", 0.5),
            axis,
            exchange=model,
            linewidth=widths,
            resolution=_resolution("mas", substeps),
        ).signal
        for substeps in (1, 2, 4, 32)
    ]
    errors = [relative_l2(run, runs[-1]) for run in runs[:-1]]
    assert errors[0] < 0.05
    # 4 for second order; the reference's own error takes 1.6 % off the last ratio.
    assert 3.4 < errors[0] / errors[1] < 4.6
    assert 3.4 < errors[1] / errors[2] < 4.6


def test_substeps_equal_brute_force():
    """Substeps as brute force understands them."""
    sites, model, widths = _problem("13C", 2, 3e4)
    axis = jn.Axis(hz=(-20e3, 20e3), points=64)
    resolution = _resolution("mas", 2)
    got = jn.spectrum.decay(sites, _experiment("mas", 0.5), axis, exchange=model, linewidth=widths, resolution=resolution)
    points = resolution.grid.points(DIRECTIONS)
    fid = _reference_fid(
        reference(sites, FIELD, model, widths),
        0.5,
        "mas",
        points,
        float(got.dt),
        PHASES * PERIODS,
        substeps=2,
    )
    fid = fid * np.exp(-2j * np.pi * float(got.carrier) * float(got.dt) * np.arange(len(fid)))
    assert relative_l2(got.signal, fid) < 1e-8


@pytest.mark.parametrize("exchange", [False, True])
def test_order_in_orientations(exchange):
    """A static shift pattern: at least first order in the number of directions (second in their distance)."""
    sites = jn.Sites("13C", jn.shift_tensor(jnp.zeros(2), 40.0, 0.4, (0.0, jnp.array([0.0, 1.0]), 0.0)))
    model = jn.ExchangeModel.from_rates({(0, 1): 5e3}) if exchange else None
    axis = jn.Axis(hz=(-6e3, 6e3), points=256)

    def run(count):
        resolution = jn.Resolution(count, samples=1024)
        return jn.simulate(sites, jn.Static(9.4), axis, exchange=model, linewidth=120.0, resolution=resolution).intensity

    exact = run(16384)
    errors = [relative_l2(run(count), exact) for count in (128, 512, 2048)]
    assert errors[-1] < 1e-2
    # Directions fourfold, distances halved: the error falls by four or more once cells resolve the line.
    assert errors[0] / errors[1] > 2.5
    assert errors[1] / errors[2] > 3.5


def test_fourth_order_in_substeps():
    """With the commutator of motion and precession the error falls as the fourth power of the step."""
    sites, model, widths = _problem("13C", 2, 3e4)
    axis = jn.Axis(hz=(-20e3, 20e3), points=64)
    runs = [
        jn.spectrum.decay(
            sites,
            _experiment("mas", 0.5),
            axis,
            exchange=model,
            linewidth=widths,
            resolution=dataclasses.replace(_resolution("mas", substeps), commutator=True),
        ).signal
        for substeps in (2, 4, 32)
    ]
    errors = [relative_l2(run, runs[-1]) for run in runs[:-1]]
    # 16 for fourth order; second order gives 4.
    assert 12 < errors[0] / errors[1] < 20
