"""The same crystallites, phases and steps as an independent brute force of spin matrices."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

import jaxnmr as jn
from jaxnmr.harmonics import frames
from jaxnmr.spectrum._grids import Grid, Points
from tests.reference import brute, floquet
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


def _exact_line(system, m, kind, points, hz, gaussian):
    """The transform in closed form: no time step, no record, nothing to fold."""

    def line(nu):
        if kind == "static":
            return brute.static_spectrum(system, m, points.directions, points.weights, nu)
        return floquet.mas_spectrum(system, m, frames(points.directions), points.weights, MAGIC, RATE, nu)

    # Poles lie 250 Hz or more from the axis and sigma is 127 Hz: e^-31 and e^-127.
    return brute.convolved(line, gaussian, hz, 50.0)


@pytest.mark.parametrize(("kind", "linewidth"), [("static", 600.0), ("mas", (500.0, 700.0))])
def test_spectrum(kind, linewidth):
    """Lorentzian, Gaussian and transform too, wings and ends of a descending axis, against integrals without samples."""
    axis = jn.Axis(hz=(50e3, -45e3), points=101)  # off centre: a carrier left in would show
    width = np.asarray(linewidth)
    # The record ends at e^-20. 64 phases: the fourth order of the steps leaves 1.7e-6 at k = 1e7, less elsewhere.
    resolution = jn.Resolution(DIRECTIONS, 64 if kind == "mas" else None, 9600 if kind == "mas" else 1024, smooth=False)
    points = resolution.grid.points(DIRECTIONS)
    for rate in RATES:
        sites, model, _ = _problem("17O", 2, rate)
        spectrum = jn.simulate(
            sites,
            _experiment(kind, 0.5),
            axis,
            exchange=model,
            linewidth=width,
            gaussian=300.0,
            resolution=resolution,
        )
        system = reference(sites, FIELD, model, width)
        expected = _exact_line(system, 0.5, kind, points, np.asarray(spectrum.hz), 300.0)
        # Static wings are unfolded to the order of the initial slope and the next one leaves 2e-6 at k = 1e5; left
        # folded they cost 5e-4. Under MAS at rest steps are exact and only wings are left: 1e-10, folded 2e-6.
        limit = 1e-8 if kind == "mas" and rate == 0 else 5e-6
        assert relative_l2(spectrum.intensity, expected) < limit, f"k = {rate:g}"


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


@pytest.mark.parametrize("order", [2, 4])
def test_order_in_substeps(order):
    """The mean generator errs as the square of the step, with the commutator as its fourth power: to the exact line."""
    sites, model, _ = _problem("17O", 2, 2e4)
    axis = jn.Axis(hz=(50e3, -45e3), points=101)
    width = np.array([500.0, 700.0])
    points = _resolution("mas").grid.points(DIRECTIONS)
    hz = np.linspace(50e3, -45e3, 101)
    expected = _exact_line(reference(sites, FIELD, model, width), 0.5, "mas", points, hz, 300.0)
    coarse, fine = (
        relative_l2(
            jn.simulate(
                sites,
                _experiment("mas", 0.5),
                axis,
                exchange=model,
                linewidth=width,
                gaussian=300.0,
                resolution=jn.Resolution(DIRECTIONS, 16, 2400, substeps, smooth=False, commutator=order == 4),
            ).intensity,
            expected,
        )
        for substeps in (1, 2)
    )
    assert coarse < {2: 5e-4, 4: 2e-5}[order]
    # The next orders take 4 % off.
    assert 0.9 < coarse / fine / 2**order < 1.05


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


@dataclasses.dataclass(frozen=True)
class _Cells(Grid):
    """Directions of `brute.sphere(2, 2)`, each for a cell of this mean square extent per axis, rad^2."""

    spread: float

    def points(self, count):
        directions, weights = brute.sphere(2, 2)
        return Points(directions, weights, np.full(len(weights), self.spread))

    def inside(self):
        """Directions and weights that make up the cells: a Gaussian in the tangent plane of each, wrapped on."""
        x, w = np.polynomial.hermite_e.hermegauss(10)
        u = np.sqrt(self.spread) * np.stack(np.meshgrid(x, x), axis=-1).reshape(-1, 2)
        angle = np.linalg.norm(u, axis=1)[:, None]
        local = np.concatenate([u * np.sinc(angle / np.pi), np.cos(angle)], axis=1)
        directions, weights = brute.sphere(2, 2)
        inside = np.einsum("cia,ja->cji", brute.frames_from_axes(directions), local)
        share = np.outer(w, w).reshape(-1) / w.sum() ** 2
        return inside.reshape(-1, 3), np.outer(weights, share).reshape(-1)


@pytest.mark.parametrize("exchange", [False, True])
@pytest.mark.parametrize("kind", ["static", "mas"])
def test_smoothing_is_the_mean_over_a_cell(kind, exchange):
    """The decay of a cell against the mean over many directions inside, at rest and for slow and fast hops."""
    grid = _Cells(2e-4)
    directions, weights = grid.inside()
    axis = jn.Axis(hz=(-20e3, 20e3), points=64)
    phases = PHASES if kind == "mas" else 1
    count = 40 * phases if kind == "mas" else 64
    # Sites at rest pass a grid of frequencies whose error grows towards the end of the record: a longer one.
    samples = count if exchange else 32 * count
    resolution = jn.Resolution(4, phases if kind == "mas" else None, samples, grid=grid)
    for rate in (1.0, 1e10) if exchange else (0.0,):
        sites, model, _ = _problem("17O", 2, rate)
        model = model if exchange else None
        got = jn.spectrum.decay(sites, _experiment(kind, 0.5), axis, exchange=model, resolution=resolution)
        dt = float(got.dt)
        system = reference(sites, FIELD, model)
        if kind == "mas":
            fid = brute.mas_fid(system, 0.5, brute.frames_from_axes(directions), weights, MAGIC, RATE, phases, count)
        else:
            fid = brute.static_fid(system, 0.5, directions, weights, dt, count)
        fid = fid * np.exp(-2j * np.pi * float(got.carrier) * dt * np.arange(count))
        # Under spinning what grows with time is smoothed, and whole turns show it. The theory's next order in the cell
        # leaves 3e-4 (static) and 7e-5; without the Laplacian 4e-3 and 9e-4, without the damping more.
        error = relative_l2(got.signal[:count:phases], fid[::phases])
        assert error < {"static": 1e-3, "mas": 3e-4}[kind], f"k = {rate:g}"


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
