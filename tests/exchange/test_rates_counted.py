"""Rates from trajectories: known jump processes, states by their cores, and three ways to one classical rate."""

import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxnmr.dynamics import Langevin, MotionError, Observable, Surface, md, vibrations
from jaxnmr.errors import JaxnmrWarning
from jaxnmr.exchange import rates
from jaxnmr.exchange.rates import REDUCED

# Rates j -> i in column j, in detailed balance with (0.5, 0.3, 0.2).
SHARES = np.array([0.5, 0.3, 0.2])
FLUX = np.array([[0, 0.02, 0.004], [0.02, 0, 0.01], [0.004, 0.01, 0]])
TRUE = FLUX / SHARES


def jumps(length, seed):
    """A trajectory of that process, sampled every 0.01."""
    rng = np.random.default_rng(seed)
    state, labels = 0, []
    total = 0.0
    while total < length:
        leave = TRUE[:, state]
        dwell = rng.exponential(1 / leave.sum())
        labels.append((state, dwell))
        total += dwell
        state = rng.choice(3, p=leave / leave.sum())
    edges = np.cumsum([d for _, d in labels])
    moments = np.arange(0, length, 0.05)
    return np.array([s for s, _ in labels])[np.searchsorted(edges, moments)]


def test_errors_of_counted_rates_cover_the_truth():
    """Forty trajectories of a known process: deviations in units of the errors are normal, detailed balance is exact."""
    scores, share_scores = [], []
    for seed in range(40):
        found = rates.counted_rates(jumps(4000.0, seed), 0.05, units=REDUCED)
        i, j = np.nonzero(FLUX)
        scores.append((np.log(found.rates[i, j] / TRUE[i, j])) / (found.stderr[i, j] / found.rates[i, j]))
        share_scores.append((found.populations - SHARES) / found.population_stderr)
        flux = found.rates * found.populations
        np.testing.assert_allclose(flux, flux.T, atol=1e-14)
        np.testing.assert_allclose(found.rates.sum(axis=0), 0, atol=1e-14)
    for score in (np.array(scores), np.array(share_scores)):
        # 40 draws of correlated scores know a standard deviation to a tenth or so.
        assert 0.8 < score.std() < 1.2 and abs(score.mean()) < 0.25
    # Counts need no detailed balance; the estimate has it and stays a likelihood's maximum: no nearby process does better.
    counts, times = found.counts, found.times

    def likelihood(p, x):
        k = x / p
        return np.sum(counts[FLUX > 0] * np.log(k[FLUX > 0])) - np.sum(k * times)

    best = np.where(FLUX > 0, found.rates * found.populations, 0.0)
    top, rng = likelihood(found.populations, best), np.random.default_rng(0)
    for _ in range(50):
        p = found.populations * np.exp(1e-2 * rng.normal(size=3))
        noise = rng.normal(size=(3, 3)) * 1e-2
        assert likelihood(p / p.sum(), best * np.exp(noise + noise.T)) < top


def test_two_states_are_counts_over_times():
    """The closed form, in seconds: N/T for each way where both ways were seen alike often."""
    labels = np.repeat([0, 1, 0, 1, 0], [300, 100, 300, 100, 0])
    labels = np.concatenate([labels, [0]])
    found = rates.counted_rates(labels, 2.0)
    np.testing.assert_allclose(found.rates[1, 0], 2 / 1200e-15, rtol=1e-2)
    np.testing.assert_allclose(found.rates[0, 1], 2 / 400e-15, rtol=1e-2)
    model = found.exchange_model()
    np.testing.assert_allclose(model.rates, found.rates, rtol=1e-9)
    np.testing.assert_allclose(model.populations, found.populations, rtol=1e-9)


def test_samples_too_far_apart_are_told():
    """Two states left at rate 1: at k dt = 0.5 the count is (1 - exp(-2 k dt))/2 for each sample, 37 % too low."""
    rng = np.random.default_rng(0)

    def sampled(spacing):
        return np.cumsum(rng.random(40_000) < (1 - np.exp(-2 * spacing)) / 2) % 2

    with pytest.warns(JaxnmrWarning, match=r"spacing: state \d is left \d+ times in \d+ samples, 0.3. for each"):
        found = rates.counted_rates(sampled(0.5), 0.5, units=REDUCED)
    assert abs(found.rates[1, 0] - 0.632) < 0.02
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert abs(rates.counted_rates(sampled(0.05), 0.05, units=REDUCED).rates[1, 0] - 0.95) < 0.06


def test_states_by_their_cores():
    """Crossings that turn back count as none; moments before the first core are unknown."""
    x = np.array([0.0, 0.6, -1.0, -0.1, 0.3, -0.2, -0.9, 0.1, 0.95, 0.0, -0.5, 1.1, 0.0, -1.05])[:, None]
    found = rates.assign_states(x, [[-1.0], [1.0]], 0.3)
    np.testing.assert_array_equal(found, [-1, -1, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 0])
    both = rates.assign_states(np.stack([x, -x], axis=1), [[-1.0], [1.0]], 0.3)
    np.testing.assert_array_equal(both[2:, 1], 1 - found[2:])


def test_bad_input_is_named():
    with pytest.raises(ValueError, match=r"cores of states 0 and 1 overlap"):
        rates.assign_states(np.zeros((3, 1)), [[0.0], [1.0]], 0.6)
    with pytest.raises(ValueError, match=r"values, centres: got shapes"):
        rates.assign_states(np.zeros((3, 2)), [[0.0], [1.0]], 0.1)
    with pytest.raises(ValueError, match=r"no way from state 1 to state 0 was seen \(1 jumps"):
        rates.counted_rates(np.array([0, 0, 1, 1]), 1.0)
    with pytest.raises(ValueError, match=r"labels: states 2 were never visited .*n_states 2"):
        rates.counted_rates(np.array([0, 0, 1, 1, 0]), 1.0, n_states=3)
    with pytest.raises(ValueError, match=r"spacing: got 0"):
        rates.counted_rates(np.array([0, 1, 0]), 0.0)
    with pytest.raises(ValueError, match=r"labels: got shape \(3,\) of float64"):
        rates.counted_rates(np.array([0.0, 1.0, 0.0]), 1.0)


def tilted(positions):
    """Two wells 1 deep; the way over the barrier is oblique and widens."""
    x, y = positions[0, 0], positions[0, 1]
    return (x**2 - 1) ** 2 + 1.5 * (1 + 0.5 * x**2) * (y - 0.6 * x) ** 2


SURFACE = Surface(tilted, masses=[1.0])


def transition_state_rate(kt):
    """Exact classical rate through the line across the saddle's unstable mode, by quadrature."""
    saddle = vibrations(SURFACE, np.zeros((1, 2)))
    normal = np.asarray(saddle.modes[0]).ravel()
    along = np.array([-normal[1], normal[0]])
    grid = np.linspace(-4, 4, 1601)
    step = grid[1] - grid[0]
    boltzmann = lambda x, y: np.exp(-((x**2 - 1) ** 2 + 1.5 * (1 + 0.5 * x**2) * (y - 0.6 * x) ** 2) / kt)  # noqa: E731
    line = boltzmann(grid * along[0], grid * along[1]).sum() * step
    x, y = np.meshgrid(grid, grid, indexing="ij")
    # The surface is even: half of the plane lies on each side.
    half = boltzmann(x, y).sum() * step**2 / 2
    return np.sqrt(kt / (2 * np.pi)) * line / half


def test_harmonic_theory_tends_to_the_exact_one():
    """The ratio of harmonic to exact transition-state theory goes to 1 in proportion to T."""
    minimum, saddle = (vibrations(SURFACE, np.array([r])) for r in ((-1.0, -0.6), (0.0, 0.0)))
    ratios = [
        float(rates.htst(minimum, saddle, kt, units=REDUCED)) / transition_state_rate(kt) for kt in (0.2, 0.1, 0.05, 0.025)
    ]
    away = np.abs(np.array(ratios) - 1)
    np.testing.assert_allclose(away[:-1] / away[1:], 2.0, rtol=0.25)
    assert away[-1] < 0.01 < away[0]


def test_transmission_limits():
    """Newton's motion in a nearly separable valley does not come back; strong friction follows Kramers."""
    straight = Surface(lambda r: (r[0, 0] ** 2 - 1) ** 2 + 2 * r[0, 1] ** 2, masses=[1.0])
    saddle = vibrations(straight, np.zeros((1, 2)))
    given = dict(time=2.0, dt=0.02, samples=400, every=5, units=REDUCED)
    free = rates.transmission(straight, saddle, 0.1, **given)
    # One period later it returns over the top: look before.
    np.testing.assert_allclose(free.series, 1.0, atol=1e-12)
    assert abs(free.anharmonic - 1) < 1e-9 and free.effective > 399
    gamma, top = 4.0, 2.0
    slow = rates.transmission(
        straight, saddle, 0.05, **{**given, "time": 6.0, "samples": 3000}, method=Langevin(0.05, gamma)
    )
    kramers = np.sqrt((gamma / 2 / top) ** 2 + 1) - gamma / 2 / top
    # Kramers holds for a parabola; the quartic's next term is of order kT over the barrier.
    assert abs(slow.value - kramers) < 4 * slow.value_stderr + 0.03 and slow.value_stderr < 0.02
    heavy = Surface(straight.energy_fn, masses=[2.0])
    with pytest.raises(ValueError, match=r"saddle: its masses are not those of the surface"):
        rates.transmission(heavy, saddle, 0.1, **given)
    with pytest.raises(ValueError, match=r"saddle: has 0 negative modes"):
        rates.transmission(straight, vibrations(straight, np.array([[1.0, 0.0]])), 0.1, **given)


class Room(eqx.Module):
    """Neighbours that see so far along y, and must grow beyond."""

    graph: jax.Array
    overflowed: jax.Array
    reach: float = eqx.field(static=True)

    def update(self, positions, cell=None):
        beyond = jnp.abs(positions[0, 1]) > self.reach
        return Room(beyond, self.overflowed | beyond, self.reach)

    def grow(self, positions, cell=None):
        return Room(jnp.asarray(False), jnp.asarray(False), 1.2 * abs(float(positions[0, 1])))


def test_trajectories_run_in_parts(monkeypatch):
    """As many side by side as said, the last part filled up; each starts where it would alone, and noise is no gain."""
    saddle = vibrations(SURFACE, np.zeros((1, 2)))
    given = dict(time=1.0, dt=0.02, samples=37, every=5, units=REDUCED)
    whole, sizes = rates.transmission(SURFACE, saddle, 0.1, **given), []

    def counted(surface, positions, *rest, **more):
        sizes.append(len(positions))
        return md(surface, positions, *rest, **more)

    monkeypatch.setattr("jaxnmr.exchange._transmission.md", counted)
    monkeypatch.setattr("jaxnmr.exchange._transmission._PAIRS", 10)
    parted = rates.transmission(SURFACE, saddle, 0.1, **given)
    assert sizes == [20] * 4
    np.testing.assert_array_equal(parted.time, whole.time)
    for name in ("series", "stderr", "value", "value_stderr"):
        np.testing.assert_allclose(getattr(parted, name), getattr(whole, name), rtol=1e-9, atol=1e-12)
    monkeypatch.setattr("jaxnmr.exchange._transmission._share", lambda gain, flux: (1.02, 0.1))
    assert rates.transmission(SURFACE, saddle, 0.1, **given).value == 1.0


def test_starts_beyond_the_neighbours_grow_them():
    """Far out on the plane a list that is too short would give another energy, so another weight."""
    valley = lambda r: (r[0, 0] ** 2 - 1) ** 2 + 2 * r[0, 1] ** 2 + 0.5 * r[0, 1] ** 4  # noqa: E731
    plain = Surface(valley, masses=[1.0])
    short = Room(jnp.asarray(False), jnp.asarray(False), 0.2)
    lacking = lambda r, cell, beyond: valley(r) + jnp.where(beyond, 1.0, 0.0)  # noqa: E731
    saddle = vibrations(plain, np.zeros((1, 2)))
    # More starts than one batch, and no multiple of it.
    given = dict(time=1.0, dt=0.02, samples=53, every=5, units=REDUCED)
    expected = rates.transmission(plain, saddle, 0.1, **given)
    found = rates.transmission(Surface(lacking, masses=[1.0], neighbors=short), saddle, 0.1, **given)
    np.testing.assert_allclose(found.anharmonic, expected.anharmonic, rtol=1e-9)
    np.testing.assert_allclose(found.series, expected.series, rtol=1e-9)
    assert 0.85 < expected.anharmonic < 0.999


def test_a_large_step_and_a_missing_plateau_are_told():
    """Newton's motion keeps its energy or is stopped; a share that still falls at the end is no coefficient."""
    saddle = vibrations(SURFACE, np.zeros((1, 2)))
    with pytest.raises(MotionError, match=r"drifts; take a smaller dt"):
        rates.transmission(SURFACE, saddle, 0.1, time=20.0, dt=0.3, samples=100, every=1, units=REDUCED)
    # They come back from the other well after one period, at 5 and later.
    with pytest.warns(JaxnmrWarning, match=r"no plateau; the share goes from"):
        rates.transmission(SURFACE, saddle, 0.1, time=6.0, dt=0.02, samples=400, every=5, units=REDUCED)


@pytest.mark.slow
def test_three_ways_to_one_rate():
    """Transition-state theory by quadrature times the transmission equals jumps counted in long motion, at three T."""
    saddle = vibrations(SURFACE, np.zeros((1, 2)))
    scores = []
    # Below: a quarter of kT/barrier leaves jumps no memory of each other (at 0.35 the two differ by 7 %).
    for kt in (0.25, 0.2, 0.16):
        bath = Langevin(kt, 1.0)
        kappa = rates.transmission(SURFACE, saddle, kt, time=4.0, dt=0.05, samples=4000, every=5, method=bath, units=REDUCED)
        expected = transition_state_rate(kt) * kappa.value
        starts = np.array([1.0, 0.6]) * np.where(np.arange(512) % 2, 1, -1)[:, None, None]
        watched = Observable(lambda s: s.positions[0], keep=True)
        run = md(SURFACE, starts, bath, steps=16_000, dt=0.05, every=4, observe=watched, units=REDUCED, block_steps=4000)
        labels = rates.assign_states(run.observed.values[100:], [[-1.0, -0.6], [1.0, 0.6]], 0.5)
        found = rates.counted_rates(labels, 0.2, units=REDUCED)
        error = np.hypot(found.stderr[1, 0], expected * kappa.value_stderr / kappa.value)
        scores.append((found.rates[1, 0] - expected) / error)
        assert 0.3 < kappa.value < 0.9 and error < 0.1 * expected
    # Three scores within three errors, and not all on one side by much.
    assert np.abs(scores).max() < 3 and stats.chi2.sf(np.sum(np.square(scores)), 3) > 1e-2, scores
