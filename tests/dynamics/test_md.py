"""Motion against the exact ensembles, its restart, and what stops it."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxnmr.dynamics import (
    ATOMIC,
    NPT,
    REDUCED,
    Ending,
    Frames,
    Langevin,
    MotionError,
    NoseHoover,
    Observable,
    Surface,
    md,
    mean_error,
    minimise,
    read_trajectory,
)
from jaxnmr.dynamics._md import _writers
from jaxnmr.errors import JaxnmrWarning
from jaxnmr.structure import NeighborList, Structure, read
from jaxnmr.units import AMU, BOLTZMANN_IN_EV, ELECTRON_VOLT
from tests.systems.surfaces import cut_lennard_jones, cut_lennard_jones_of_all, lennard_jones


def uneven(positions):
    """Two wells 1 deep, coupled to a second coordinate."""
    x, y = positions[0, 0], positions[0, 1]
    return (x**2 - 1) ** 2 + 0.5 * x * y + y**2


def springs(positions):
    """A harmonic crystal of four atoms, 3 N - 3 quadratic terms: every pair pulls with 2 eV/Å²."""
    i, j = np.triu_indices(len(positions), 1)
    return jnp.sum((positions[i] - positions[j]) ** 2)


def thinned(series, spacing):
    """Samples far enough apart to be independent, of all replicas."""
    return np.asarray(series)[20::spacing].ravel()


def spacing_of(series):
    """At which samples of (sample, replica) are independent."""
    _, _, effective = mean_error(np.moveaxis(np.asarray(series), 0, -1))
    return int(np.ceil(len(series) / np.mean(effective))) * 2


def test_newton_conserves_energy():
    """The energy of a hot cluster neither drifts nor wanders, and its error falls as the square of the step."""
    surface = Surface(lennard_jones, masses=np.ones(7))
    start = minimise(surface, np.random.default_rng(0).normal(size=(7, 3)), max_force=1e-4).positions
    spread = []
    for dt, every in ((0.01, 4), (0.005, 8)):
        run = md(surface, start, steps=1600 * every // 4, dt=dt, every=every, temperature=0.2, units=REDUCED, seed=1)
        spread.append(np.std(run.conserved))
        # kT for each degree of freedom per unit of time: 160 periods of the stiffest mode would show it.
        assert abs(run.drift) < 2e-6 * run.thermal / dt
    assert 3.5 < spread[0] / spread[1] < 4.5


@pytest.mark.parametrize("method", [Langevin(0.6, 0.5), NoseHoover(np.full(24, 0.6), 4.0)], ids=["Langevin", "NoseHoover"])
def test_canonical_distributions(method):
    """Coordinates and speeds of the uneven wells by Kolmogorov-Smirnov; the configurational temperature is the bath's."""
    surface = Surface(uneven, masses=[1.0])

    def heat(state):
        hessian = jax.hessian(uneven)(state.positions).reshape(2, 2)
        return jnp.sum(state.gradient**2), jnp.trace(hessian), state.positions[0], state.velocities[0]

    starts = np.array([1.0, 0.0]) * np.where(np.arange(24) % 2, 1, -1)[:, None, None]
    watched = Observable(heat, keep=True)
    run = md(surface, starts, method, steps=12000, dt=0.05, every=10, temperature=0.6, observe=watched, units=REDUCED)
    grid = np.linspace(-4, 4, 801)
    x, y = np.meshgrid(grid, grid, indexing="ij")
    weight = np.exp(-((x**2 - 1) ** 2 + 0.5 * x * y + y**2) / 0.6)
    slopes, traces, coordinates, speeds = run.observed.values
    for axis in (0, 1):
        marginal = np.cumsum(weight.sum(axis=1 - axis))
        samples = thinned(coordinates[..., axis], spacing_of(coordinates[..., axis]))
        assert len(samples) > 300
        assert stats.kstest(samples, lambda v, c=marginal: np.interp(v, grid, c / c[-1])).pvalue > 1e-3
    kinetic = run.kinetic / 0.3
    assert stats.kstest(thinned(kinetic, spacing_of(kinetic)), stats.chi2(2).cdf).pvalue > 1e-3
    fast = thinned(speeds[..., 0], spacing_of(speeds[..., 0])) / np.sqrt(0.6)
    assert stats.kstest(fast, "norm").pvalue > 1e-3
    ratio = slopes.mean() / traces.mean()
    # Replicas are independent: their scatter is the error of the whole.
    each = slopes.mean(axis=0) / traces.mean(axis=0)
    assert abs(ratio - 0.6) < 4 * each.std() / np.sqrt(24) < 0.07


def test_harmonic_crystal_in_kelvin():
    """In eV, Å, amu, fs and K: potential and kinetic energy of nine modes each follow chi-squared at 300 K."""
    surface = Surface(springs, species=["C", "O", "H", "H"])
    starts = np.zeros((24, 4, 3)) + 0.05 * np.random.default_rng(0).normal(size=(24, 4, 3))
    run = md(surface, starts, Langevin(300.0, 0.05), steps=6000, dt=0.5, every=20)
    half = BOLTZMANN_IN_EV * 300 / 2
    assert run.dof == 9
    for name in ("energy", "kinetic"):
        series = getattr(run, name) / half
        samples = thinned(series, spacing_of(series))
        assert len(samples) > 500
        # BAOAB is exact for the positions; speeds are cold by (ω dt)²/4, 3e-3 for the hydrogens.
        assert stats.kstest(samples, stats.chi2(9).cdf).pvalue > 1e-3
    momentum = np.einsum("a,kax->kx", surface.masses, np.asarray(run.state.velocities))
    assert np.abs(momentum).max() < 1e-12
    # The heat that the bath gave is accounted for.
    assert np.abs(run.conserved - run.conserved[0]).max() < 0.02 * 9 * half


REFERENCE = np.array([[4.0, 0, 0], [0.5, 4.2, 0], [-0.4, 0.3, 3.8]])


def elastic(positions, cell, graph):
    """Four dimers that do not see each other, in a cell with an elastic energy of its own that no rotation changes."""
    deformation = jnp.linalg.inv(jnp.asarray(REFERENCE)) @ cell
    strain = (deformation @ deformation.T - jnp.eye(3)) / 2
    pairs = positions.reshape(4, 2, 3)
    return 10.0 * jnp.sum(strain**2) + 3.0 * jnp.sum((pairs[:, 0] - pairs[:, 1]) ** 2)


CELLS = Observable(lambda state: state.cell, keep=True)


def exact_cells(kt, pressure, molecules):
    """Cells of the exact ensemble with their weights: six numbers of a lower triangle, drawn around the reference."""
    rng, low = np.random.default_rng(5), np.tril_indices(3)
    centre = np.linalg.cholesky(REFERENCE @ REFERENCE.T)[low]
    # Twice: the second draws are spread as the first were found to be, a little wider.
    root = np.diag([0.5] * 6)
    for _ in range(2):
        draws = rng.standard_t(8, size=(200_000, 6))
        cells = np.zeros((len(draws), 3, 3))
        cells[:, low[0], low[1]] = centre + draws @ root.T
        deformation = np.linalg.inv(REFERENCE) @ cells
        strain = (deformation @ deformation.transpose(0, 2, 1) - np.eye(3)) / 2
        diagonal = cells[:, [0, 1, 2], [0, 1, 2]]
        lengths = np.where(diagonal > 0, diagonal, 1.0)
        volume = lengths.prod(axis=1)
        # Measure V^N V^-2 dh, and dh = L11² L22 dL for a triangle; free dimers: V for each.
        log = (molecules - 2) * np.log(volume) + 2 * np.log(lengths[:, 0]) + np.log(lengths[:, 1])
        log = log - (10.0 * (strain**2).sum(axis=(1, 2)) + pressure * volume) / kt
        log = np.where((diagonal > 0).all(axis=1), log - stats.t(8).logpdf(draws).sum(axis=1), -np.inf)
        weights = np.exp(log - log.max())
        flat = cells[:, low[0], low[1]]
        centre = np.average(flat, axis=0, weights=weights)
        root = 1.1 * np.linalg.cholesky(np.cov(flat.T, aweights=weights))
    return cells, weights


@pytest.mark.parametrize("centred", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_constant_pressure_distributions(centred):
    """Volume, lengths and angles of the cell by Kolmogorov-Smirnov against weights that are known in closed form."""
    kt, pressure = 0.5, 0.02
    surface = Surface(elastic, masses=np.ones(8), cell=REFERENCE)
    starts = np.random.default_rng(0).normal(size=(32, 8, 3)) * 0.3
    method = NPT(kt, pressure, friction=0.5, period=6.0, cell_friction=0.5)
    run = md(surface, starts, method, steps=5000, dt=0.1, every=10, observe=CELLS, units=REDUCED, centred=centred, seed=2)
    exact, weights = exact_cells(kt, pressure, 4)
    assert weights.sum() ** 2 / (weights**2).sum() > 20_000

    def shape_of(cells):
        lengths = np.linalg.norm(cells, axis=-1)
        angle = np.einsum("...x,...x->...", cells[..., 0, :], cells[..., 1, :]) / lengths[..., 0] / lengths[..., 1]
        return {"volume": np.linalg.det(cells), "c": lengths[..., 2], "a/c": lengths[..., 0] / lengths[..., 2], "cos": angle}

    ours, theirs = shape_of(run.observed.values), shape_of(exact)
    for name, series in ours.items():
        order = np.argsort(theirs[name])
        cdf = np.cumsum(weights[order]) / weights.sum()
        samples = thinned(series, spacing_of(series))
        assert len(samples) > 600
        found = stats.kstest(samples, lambda v, x=theirs[name][order], c=cdf: np.interp(v, x, c))
        assert found.pvalue > 1e-3, (name, found)
    np.testing.assert_allclose(run.volume, ours["volume"], rtol=1e-12)
    # The crystal's axes stay where they were: the deformation is symmetric.
    deformation = np.linalg.solve(REFERENCE, np.asarray(run.state.cell))
    np.testing.assert_allclose(deformation, deformation.transpose(0, 2, 1), atol=1e-12)
    assert np.abs(run.conserved - run.conserved[0]).max() < 0.1 * run.dof * kt


def test_constant_pressure_in_kelvin():
    """In eV, eV/Å³, amu, fs and K the motion is that which the exact distributions are tested with, in other units."""
    starts = np.random.default_rng(0).normal(size=(32, 8, 3)) * 0.3
    surface = Surface(elastic, masses=np.ones(8), cell=REFERENCE)
    fs = np.sqrt(AMU * 1e-20 / ELECTRON_VOLT) / 1e-15  # one sqrt(amu Å²/eV), 10.18 fs
    # Numbers of the method: kT = 0.5 eV, p = 0.02 eV/Å³ = 3.2 GPa.
    pressure = 3.204353268e9 * 1e-30 / ELECTRON_VOLT
    runs = [
        md(surface, starts, method, steps=100, dt=0.1 * unit, every=10, observe=CELLS, units=units, centred=True, seed=2)
        for method, unit, units in (
            (NPT(0.5, pressure, friction=0.5, period=6.0, cell_friction=0.5), 1.0, REDUCED),
            (NPT(0.5 / BOLTZMANN_IN_EV, pressure, 0.5 / fs, 6.0 * fs, 0.5 / fs), fs, ATOMIC),
        )
    ]
    np.testing.assert_allclose(runs[1].volume, runs[0].volume, rtol=1e-9)
    np.testing.assert_allclose(runs[1].state.velocities * fs, runs[0].state.velocities, atol=1e-9)
    np.testing.assert_allclose(runs[1].temperature * BOLTZMANN_IN_EV, runs[0].temperature, rtol=1e-9)
    np.testing.assert_allclose(pressure, 0.02, rtol=1e-9)


@pytest.fixture(scope="module")
def falling():
    """Thirteen atoms far apart, in a list that is too short once they have come together."""
    rng = np.random.default_rng(0)
    start = 2.6 * np.stack(np.meshgrid(*[np.arange(3) - 1.0] * 3, indexing="ij"), -1).reshape(-1, 3)[:13]
    start = start + 0.05 * rng.normal(size=start.shape)
    neighbors = NeighborList.allocate(Structure(["Ar"] * 13, start), 3.0, skin=0.3)
    return Surface(cut_lennard_jones, np.ones(13), species=["Ar"] * 13, neighbors=neighbors), start


def test_overflow_in_the_middle_and_exact_restart(falling, tmp_path):
    """A list that grows on the way loses nothing; stopped and resumed, the run is the same to the last bit."""
    surface, start = falling
    method = Langevin(0.3, 0.5)
    given = dict(dt=0.01, every=10, seed=4, units=REDUCED, block_steps=200, frame_every=20, velocities=-0.4 * start)
    watched = Observable(lambda s: s.positions, lags=3)
    whole = md(surface, start, method, steps=1200, observe=watched, trajectory=tmp_path / "whole.xyz", **given)
    assert whole.state.neighbors.graph.n_neighbors > surface.neighbors.graph.n_neighbors
    np.testing.assert_allclose(whole.state.energy, cut_lennard_jones_of_all(np.asarray(whole.state.positions)), rtol=1e-12)
    assert np.abs(whole.conserved - whole.conserved[0]).max() < 0.05

    files = dict(trajectory=tmp_path / "parts.xyz", checkpoint=tmp_path / "run.npz")
    md(surface, start, method, steps=800, observe=watched, **files, **given)
    # What was written after the checkpoint, as by a run that was killed, goes; the half frame too.
    with open(files["trajectory"], "a") as file:
        file.write("13\nhalf a fra")
    parts = md(surface, None, method, steps=1200, observe=watched, resume=files["checkpoint"], **files, **given)
    np.testing.assert_array_equal(parts.state.positions, whole.state.positions)
    np.testing.assert_array_equal(parts.conserved, whole.conserved)
    for name in ("mean", "stderr", "correlation"):
        np.testing.assert_array_equal(getattr(parts.observed, name), getattr(whole.observed, name))
    assert (tmp_path / "parts.xyz").read_bytes() == (tmp_path / "whole.xyz").read_bytes()

    species, frames = read_trajectory(tmp_path / "parts.xyz")
    assert species == ("Ar",) * 13 and frames.positions.shape == (60, 13, 3)
    np.testing.assert_allclose(frames.time, 0.2 * np.arange(1, 61), rtol=1e-12)
    np.testing.assert_allclose(frames.positions[-1], whole.state.positions, atol=1e-8)
    np.testing.assert_allclose(frames.energy[-1], whole.energy[-1], rtol=1e-9)
    text = (tmp_path / "parts.xyz").read_text()
    # Cut within the last number, before the end of its line, within a row, at a row's end, in the header and in the count.
    size = len(text) - text.rindex("\n13\n") - 1
    for cut in (1, 4, 50, 200, size - 20, size - 3, size - 1):
        (tmp_path / "cut.xyz").write_text(text[:-cut])
        with pytest.raises(ValueError, match=r"cut short or damaged in frame 59 .* partial=True"):
            read_trajectory(tmp_path / "cut.xyz")
        assert len(read_trajectory(tmp_path / "cut.xyz", partial=True)[1].time) == 59
    (tmp_path / "parts.xyz").write_text(text[: len(text) // 2])
    with pytest.raises(ValueError, match=r"whole frames, but the checkpoint was written after 60"):
        md(surface, None, method, steps=1400, observe=watched, resume=files["checkpoint"], **files, **given)
    with pytest.raises(ValueError, match=r"written with dt 0.01, now it is 0.02"):
        md(surface, None, method, steps=1400, resume=files["checkpoint"], **{**given, "dt": 0.02})
    (tmp_path / "run.npz").write_bytes((tmp_path / "run.npz").read_bytes()[:500])
    with pytest.raises(ValueError, match=r"resume: .* is cut short"):
        md(surface, None, method, steps=1400, resume=files["checkpoint"], **given)


def test_what_a_resumed_run_may_change(falling, tmp_path):
    """Frames are at multiples of frame_every wherever a run stopped; other numbers or files of other runs are refused."""
    surface, start = falling
    given = dict(dt=0.01, every=10, seed=4, units=REDUCED, block_steps=200, frame_every=40, velocities=-0.1 * start)
    frames, checkpoint = tmp_path / "a.h5", tmp_path / "a.npz"
    method = Langevin(0.3, 0.5)
    md(surface, start, method, steps=100, trajectory=frames, checkpoint=checkpoint, **given)
    for changed, other, message in (
        (dict(frame_every=20), method, r"written with frame_every 40, now it is 20"),
        ({}, Langevin(0.4, 0.5), r"written with temperature 0.3, now it is 0.4"),
        ({}, Langevin(0.3, 0.1), r"written with friction 0.5, now it is 0.1"),
        (dict(frame_every=400), method, r"frame_every: a run of 300 steps ends before its first frame, after 400"),
    ):
        with pytest.raises(ValueError, match=message):
            md(surface, None, other, steps=300, trajectory=frames, resume=checkpoint, **{**given, **changed})
    heavy = eqx.tree_at(lambda s: s.masses, surface, 2 * surface.masses)
    with pytest.raises(ValueError, match=r"written with masses and fixed atoms"):
        md(heavy, None, method, steps=300, trajectory=frames, resume=checkpoint, **given)
    assert len(read_trajectory(frames)[1].time) == 2
    # Under another name the rest is written, and gone on with; a file of other frames is left alone.
    rest, foreign = tmp_path / "rest.xyz", tmp_path / "foreign.xyz"
    again = dict(checkpoint=checkpoint, resume=checkpoint)
    first = tmp_path / "first.npz"
    first.write_bytes(checkpoint.read_bytes())
    md(surface, None, method, steps=200, trajectory=rest, **again, **given)
    md(surface, None, method, steps=300, trajectory=rest, **again, **given)
    np.testing.assert_allclose(read_trajectory(rest)[1].time, [1.2, 1.6, 2.0, 2.4, 2.8])
    foreign.write_text(rest.read_text().replace("time_fs=2", "time_fs=7"))
    before = foreign.read_bytes()
    with pytest.raises(ValueError, match=r"5 whole frames, but the checkpoint was written after 7.*another name"):
        md(surface, None, method, steps=400, trajectory=foreign, resume=checkpoint, **given)
    assert foreign.read_bytes() == before
    foreign.write_text("13\nno trajectory, but what someone needs\n")
    with pytest.raises(ValueError, match=r"0 whole frames, but the checkpoint was written after 7"):
        md(surface, None, method, steps=400, trajectory=foreign, resume=checkpoint, **given)
    assert "needs" in foreign.read_text()
    md(surface, None, method, steps=300, trajectory=frames, resume=first, **given)
    np.testing.assert_allclose(read_trajectory(frames)[1].time, 0.4 * np.arange(1, 8))
    frames.write_bytes(frames.read_bytes()[:300])
    with pytest.raises(ValueError, match=r"is damaged .*resume with another name"):
        read_trajectory(frames)
    with pytest.raises(ValueError, match=r"trajectory: .* is damaged .*resume with another name"):
        md(surface, None, method, steps=400, trajectory=frames, resume=checkpoint, **given)
    with pytest.raises(ValueError, match=r"frame_every: a run of 30 steps ends"):
        md(surface, start, method, steps=30, trajectory=rest, **given)
    assert rest.exists()


def test_a_slab_stays_one_in_its_file(tmp_path):
    """Along which vectors atoms repeat is that of the neighbour list."""
    neighbors = NeighborList.allocate(Structure(["Ar"], np.zeros((1, 3)), 9 * np.eye(3), (True, True, False)), 3.0)
    surface = Surface(lambda positions, cell, graph: 0.0, cell=9 * np.eye(3), species=["Ar"], neighbors=neighbors)
    path, still = tmp_path / "slab.xyz", np.zeros((1, 1, 3))
    (writer,) = _writers(path, surface, jnp.zeros((1, 3)), 1.0, None)
    writer.append(Frames(np.ones(1), np.ones(1), still, still, 9 * np.eye(3)[None]))
    assert read(path).pbc == (True, True, False)


def test_sums_along_the_way_are_those_of_the_series(tmp_path):
    """Streaming mean, covariance and correlations equal those of all values; errors those of a known process."""
    surface = Surface(uneven, masses=[1.0])
    watched = Observable(lambda s: dict(x=s.positions[0], e=s.energy), lags=4, covariance=True, keep=True)
    start = np.array([[1.0, 0.0]])
    run = md(surface, start, Langevin(0.6, 0.5), steps=4003, dt=0.05, every=1, observe=watched, units=REDUCED, frame_every=1)
    seen, values = run.observed, run.observed.values
    flat = np.c_[values["e"], values["x"]]
    assert seen.count == 4003 and flat.shape == (4003, 3)
    np.testing.assert_allclose(seen.mean["x"], values["x"].mean(axis=0), rtol=1e-10)
    np.testing.assert_allclose(seen.covariance, np.cov(flat.T), rtol=1e-9)
    e = values["e"]
    expected = [np.mean(e[k:] * e[: len(e) - k]) - e[k:].mean() * e[: len(e) - k].mean() for k in range(5)]
    np.testing.assert_allclose(seen.correlation["e"], expected, rtol=1e-8)
    # Blocking from the sums is blocking of the series.
    np.testing.assert_allclose(seen.stderr["e"], mean_error(e)[1], rtol=1e-9)
    np.testing.assert_allclose(run.energy, e, rtol=1e-14)


def test_error_of_a_mean_is_honest():
    """An autoregressive series with a correlation time of 10 samples: errors scatter about the exact one."""
    rng = np.random.default_rng(0)
    a, n = np.exp(-1 / 10), 20_000
    x = rng.normal(size=(60, n))
    for k in range(1, n):
        x[:, k] = a * x[:, k - 1] + np.sqrt(1 - a * a) * x[:, k]
    _, error, effective = mean_error(x)
    exact = (1 + a) / (1 - a)  # statistical inefficiency
    # Blocks of some hundreds know an error to a tenth; sixty series to a hundredth, less the bias of finite blocks.
    np.testing.assert_allclose(np.mean(error), np.sqrt(exact / n), rtol=0.06)
    np.testing.assert_allclose(np.mean(effective), n / exact, rtol=0.15)


def test_a_step_too_large_is_stopped_with_advice(tmp_path):
    """Newton's motion drifts, a thermostat's explodes; what was good so far is kept, and files hold it."""
    surface = Surface(springs, species=["C", "O", "H", "H"])
    start = 0.1 * np.random.default_rng(0).normal(size=(4, 3))
    # The stiffest mode, hydrogen at 8 eV/Å², is unstable beyond 2/ω = 7.2 fs.
    with pytest.raises(MotionError, match=r"md: stopped .* (drifts|not finite).*smaller dt.*dt is 9") as caught:
        md(surface, start, steps=200, dt=9.0, every=1, temperature=300.0)
    assert caught.value.result.ending in (Ending.DRIFT, Ending.NOT_FINITE)
    path = tmp_path / "hot.h5"
    warm = Langevin(300.0, 0.001)
    with pytest.raises(MotionError, match=r"temperature explodes.*minimise first") as caught:
        md(surface, start, warm, steps=400, dt=7.3, every=1, trajectory=path, frame_every=1)
    result = caught.value.result
    kept = len(result.time)
    assert result.ending is Ending.HOT and 0 < kept < 400 and np.isfinite(np.asarray(result.state.positions)).all()
    assert result.temperature.max() < 300 * (3 + 60 / 9)
    _, frames = read_trajectory(path)
    assert len(frames.time) == kept
    np.testing.assert_allclose(frames.velocities[-1], result.state.velocities, rtol=1e-12)
    meeting = np.zeros((4, 3))
    stopped = md(Surface(lennard_jones, np.ones(4)), meeting, steps=10, throw=False, temperature=300.0)
    assert stopped.ending is Ending.NOT_FINITE and len(stopped.time) == 0


def test_replicas_and_seeds():
    """Replicas differ, a seed repeats itself, and single precision stays single."""
    surface = Surface(uneven, masses=[1.0])
    starts = np.ones((3, 1, 2), np.float32)
    given = dict(steps=40, dt=0.05, every=20, units=REDUCED)
    one, same, other = (md(surface, starts, Langevin(0.5, 0.1), seed=s, **given) for s in (1, 1, 2))
    assert one.state.positions.dtype == jnp.float32 and one.energy.shape == (2, 3)
    np.testing.assert_array_equal(one.state.positions, same.state.positions)
    flat = np.asarray(jnp.concatenate([one.state.positions, other.state.positions])).reshape(6, 2)
    assert len(np.unique(flat[:, 0])) == 6


def test_replicas_each_have_their_temperature():
    """Three temperatures for three replicas, not for x, y and z; each moves as it would among its like."""
    surface = Surface(springs, masses=np.ones(4))
    starts = np.zeros((3, 4, 3)) + 0.1 * np.random.default_rng(0).normal(size=(4, 3))
    given = dict(steps=40, dt=0.05, every=20, units=REDUCED, max_temperature=np.inf)
    mixed = np.array([0.01, 1.0, 4.0])
    found = md(surface, starts, Langevin(mixed, 0.5), **given)
    for k, t in enumerate(mixed):
        alone = md(surface, starts, Langevin(t, 0.5), **given)
        np.testing.assert_allclose(found.state.positions[k], alone.state.positions[k], rtol=1e-12)
        np.testing.assert_allclose(found.conserved[:, k], alone.conserved[:, k], rtol=1e-12)
    for method, at, message in (
        (Langevin(np.ones(3), 0.5), starts[0], r"Langevin.temperature: got shape \(3,\); give one number"),
        (
            Langevin(1.0, np.ones(4)),
            starts,
            r"Langevin.friction: got shape \(4,\); give one number, or one for each replica",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            md(surface, at, method, **given)
    with pytest.raises(ValueError, match=r"^temperature: got shape \(3,\)"):
        md(surface, starts[0], Langevin(1.0, 0.5), **given, temperature=np.ones(3))


def test_single_precision_from_rest():
    """At rest near a minimum far below zero only rounding moves the energy, which is no drift."""
    deep = Surface(lambda r: springs(r) - 1000.0, masses=np.ones(4))
    start = np.full((4, 3), 1e-3, np.float32) * np.arange(4, dtype=np.float32)[:, None]
    run = md(deep, start, steps=400, dt=0.05, units=REDUCED)
    assert run.ending is Ending.FINISHED
    assert np.ptp(run.conserved) > 0.1 * run.dof * run.thermal


def test_bad_input_is_named(tmp_path):
    surface, start = Surface(uneven, masses=[1.0]), np.array([[1.0, 0.0]])
    for given, message in (
        (dict(steps=10, dt=0.0), r"dt: got 0.0"),
        (dict(steps=15), r"steps: 15 is no multiple of every, 10; give 20"),
        (dict(steps=10, temperature=-3.0), r"temperature: got -3.0"),
        (dict(steps=10, frame_every=15), r"frame_every: got 15; give a multiple of every, 10"),
        (dict(steps=10, velocities=np.zeros(2)), r"velocities: got shape \(2,\)"),
        (dict(steps=10, method=NPT(1.0)), r"method: NPT moves a cell, but the surface has none"),
        (dict(steps=10, trajectory=tmp_path / "a.xyz"), r"trajectory: files hold positions in space"),
        (dict(steps=10, resume=tmp_path / "a.npz"), r"positions: give either"),
    ):
        with pytest.raises(ValueError, match=message):
            md(surface, start, **given)
    with pytest.raises(ValueError, match=r"Langevin.temperature: got 0.0"):
        Langevin(0.0)
    with pytest.raises(ValueError, match=r"NPT.pressure"):
        NPT(300.0, np.nan)
    with pytest.raises(ValueError, match=r"surface: has no masses"):
        md(uneven, start, steps=10)
    with pytest.raises(ValueError, match=r"name: got 'entropy'"):
        md(surface, start, steps=10, units=REDUCED).mean("entropy")


def test_a_run_goes_on_only_on_its_own_surface(tmp_path):
    """Another potential has another energy at the saved positions; a cell that has moved has its own; steps only add."""
    path, start = tmp_path / "run.npz", np.random.default_rng(0).normal(size=(2, 8, 3)) * 0.3
    given = dict(dt=0.1, every=10, units=REDUCED, seed=2)
    method = NPT(0.5, 0.02, friction=0.5, period=6.0, cell_friction=0.5)
    surface = Surface(elastic, masses=np.ones(8), cell=REFERENCE)
    whole = md(surface, start, method, steps=60, **given)
    md(surface, start, method, steps=40, checkpoint=path, **given)
    np.testing.assert_array_equal(md(surface, None, method, steps=60, resume=path, **given).energy, whole.energy)
    other = Surface(lambda r, h, g: 1.01 * elastic(r, h, g), masses=np.ones(8), cell=REFERENCE)
    with pytest.raises(ValueError, match=r"resume: .* was written on another surface: its last energy of replica \d is"):
        md(other, None, method, steps=60, resume=path, **given)
    with pytest.raises(ValueError, match=r"steps: got 20, in all; .* was written after 40, give at least that"):
        md(surface, None, method, steps=20, resume=path, **given)
    assert len(md(surface, None, method, steps=40, resume=path, **given).time) == 4


def test_a_cold_bath_is_told():
    """A step just below the limit of stability: no drift and no explosion, but hydrogens that are cold by (ω dt)²/4."""
    surface = Surface(springs, species=["C", "O", "H", "H"])
    starts = np.zeros((16, 4, 3)) + 0.05 * np.random.default_rng(0).normal(size=(16, 4, 3))
    with pytest.warns(JaxnmrWarning, match=r"mean temperature is \d+\.\d % below the bath's.*dt, 5, is too large"):
        run = md(surface, starts, Langevin(300.0, 0.05), steps=400, dt=5.0, every=4)
    assert run.ending is Ending.FINISHED


def test_given_velocities_do_not_move_the_whole():
    """Their common part is taken off where the momentum is kept at zero, and left where it is not."""
    surface, at = Surface(springs, masses=np.array([1.0, 2.0, 3.0, 4.0])), np.zeros((4, 3))
    pushed = np.tile([0.1, 0.0, -0.2], (4, 1))
    given = dict(steps=10, dt=1e-3, velocities=pushed, units=REDUCED)
    assert np.abs(md(surface, at, **given).state.velocities).max() < 1e-12
    np.testing.assert_allclose(md(surface, at, centred=False, **given).state.velocities, pushed, atol=1e-9)


def test_the_replica_that_went_wrong_is_named():
    surface = Surface(lennard_jones, np.ones(2))
    starts = np.array([[[0.0, 0, 0], [1.2, 0, 0]], [[0.0, 0, 0], [0.0, 0, 0]], [[0.0, 0, 0], [1.3, 0, 0]]])
    with pytest.raises(MotionError, match=r"md: stopped by replica 1 before its first sample: an energy is not finite"):
        md(surface, starts, steps=10, dt=1e-3, units=REDUCED, centred=False)
