"""Many starts, gradients without Jacobians, precision, and that no fit ends in numbers that are none."""

import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnmr as jn
from jaxnmr.fitting import Gradient, Interval, LogRate, MultiStart, Positive, Simplex, fit, fit_many
from jaxnmr.fitting._assemble import assemble
from jaxnmr.fitting._levenberg import forward_jacobian
from tests.systems.doublet import LARMOR, PPM, START, TRUTH, clean, doublet, measured, noisy

RATES = {"k": LogRate(1.0, 1e9), "lw": Positive()}
SIGMA = 0.02


def bump(p):
    """A Gaussian: far from its centre chi2 is flat."""
    x = (jnp.asarray(PPM) - p["d"]) / p["width"]
    return jn.Spectrum(PPM, PPM * LARMOR * 1e-6, jnp.exp(-(x**2)))


def test_many_starts_find_what_one_does_not():
    """A line forty widths from the start: missed by one start, found by forty, and again with the same seed."""
    data = bump({"d": jnp.asarray(-20.0), "width": jnp.asarray(1.5)})
    start, rules = {"d": 20.0, "width": 1.5}, {"width": Positive()}
    alone = fit(bump, start, data, constraints=rules, throw=False, bounds=False)
    search = MultiStart(40, 4, seed=3, ranges={"d": (-38.0, 38.0), "width": (0.5, 5.0)})
    found = fit(bump, start, data, constraints=rules, starts=search)
    assert alone.chi2 > 1.0 > 1e-6 > found.chi2
    np.testing.assert_allclose([found.params["d"], found.params["width"]], [-20.0, 1.5], rtol=1e-5)
    again = fit(bump, start, data, constraints=rules, starts=search)
    assert (again.values == found.values).all()
    assert sum(optimum.hits for optimum in found.starts) == 4 and found.starts[0].chi2 <= found.starts[-1].chi2


def test_starts_cover_the_decades():
    """One in each of n parts of ln k, the given one first."""
    found = fit(doublet, START, clean(), constraints=RATES, bounds=False)
    drawn = MultiStart(90, 2, seed=1).draw(found.problem, found.inner)
    assert drawn.shape == (90, 4) and (drawn[0] == np.asarray(found.inner)).all()
    decade = np.floor(drawn[1:, 2] / np.log(10.0))
    assert set(decade) == set(range(9)) and all(9 <= (decade == d).sum() <= 10 for d in range(9))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MultiStart(4, 5), "1 <= best <= n"),
        (lambda: MultiStart(ranges={"k": (2.0, 1.0)}), "low < high"),
        (lambda: Gradient(3.0), "optax"),
        (lambda: fit(doublet, START, clean(), starts=MultiStart(4, 2, ranges={"kk": (1.0, 2.0)})), "no parameter 'kk'"),
        (
            lambda: fit(doublet, START, clean(), constraints=RATES, starts=MultiStart(4, 2, ranges={"k": (1e10, 1e11)})),
            "outside its constraint",
        ),
    ],
)
def test_bad_choices(make, message):
    """Named."""
    with pytest.raises(ValueError, match=message):
        make()


def test_no_fit_ends_in_nan():
    """Two hundred starts anywhere within the bounds: finite values and chi2, errors that are finite or infinite."""
    rng = np.random.default_rng(5)
    count = 200
    starts = {
        "d1": rng.uniform(-300, 300, count),
        "d2": rng.uniform(-300, 300, count),
        "k": 10 ** rng.uniform(0, 9, count),
        "lw": 10 ** rng.uniform(0, 5, count),
    }
    rules = {"k": LogRate(1.0, 1e9), "lw": Interval(1.0, 1e5), "d1": Interval(-300, 300), "d2": Interval(-300, 300)}
    data = noisy(clean(), SIGMA, 1)
    fits = fit_many(doublet, starts, [data] * count, batched_start=True, constraints=rules)
    assert np.isfinite(fits.values).all() and np.isfinite(fits.chi2).all()
    assert not np.isnan(fits.stderr).any() and not np.isnan(fits.covariance).any()
    low, high = np.array([-300, -300, 1, 1]), np.array([300, 300, 1e9, 1e5])
    assert (fits.values >= low * (1 + 1e-9) - 1e-9).all() and (fits.values <= high * (1 + 1e-9)).all()
    best = fits.chi2.min()
    assert (fits.chi2 < best * 1.0001).sum() > 20  # many find the optimum


@pytest.mark.slow
def test_batches_side_by_side_give_the_same():
    """Vectorised over spectra, with a last batch that is not full."""
    data = [noisy(clean(), SIGMA, seed) for seed in range(5)]
    one = fit_many(doublet, START, data, constraints=RATES)
    three = fit_many(doublet, START, data, constraints=RATES, batch_size=3)
    np.testing.assert_allclose(three.values, one.values, rtol=1e-7)
    np.testing.assert_allclose(three.stderr, one.stderr, rtol=1e-6)


@pytest.mark.parametrize(("name", "sense"), [("weights[0]", 1), ("weights[1]", -1)])
def test_a_range_of_a_share_is_one_of_shares(name, sense):
    """Starts of either element of a simplex of two fill the range asked for; it is no range of their variable's."""
    begin = {"weights": np.array([0.5, 0.5])}
    rules = {"weights": Simplex()}
    problem, y0 = assemble(doublet, begin, clean(), rules, (), (), None, None, 1.0, None, None)
    drawn = MultiStart(40, 1, ranges={name: (0.1, 0.3)}).draw(problem, y0)[1:, 0]
    share = 1 / (1 + np.exp(-sense * drawn))
    assert share.min() >= 0.1 and share.max() <= 0.3
    # Forty strata, of which the given start replaces one.
    assert share.min() < 0.12 and share.max() > 0.28
    with pytest.raises(ValueError, match="but it is a share"):
        MultiStart(4, 1, ranges={name: (-1.0, 0.3)}).draw(problem, y0)
    three = {"weights": np.full(3, 1 / 3)}
    problem, y0 = assemble(doublet, three, clean(), rules, (), (), None, None, 1.0, None, None)
    with pytest.raises(ValueError, match=r"ranges: .* tied to the other elements"):
        MultiStart(4, 1, ranges={name: (0.1, 0.3)}).draw(problem, y0)


def test_many_refuses():
    """What a batch cannot be."""
    data = [noisy(clean(), SIGMA, seed) for seed in range(2)]
    with pytest.raises(ValueError, match="got one spectrum"):
        fit_many(doublet, START, data[0])
    with pytest.raises(ValueError, match="entries differ"):
        fit_many(doublet, START, [data[0], jn.Spectrum(PPM[:50], PPM[:50], PPM[:50])])
    with pytest.raises(ValueError, match="different axes"):
        fit_many(doublet, START, [data[0], jn.Spectrum(PPM + 1, (PPM + 1) * 100.0, PPM, isotope="13C")])
    with pytest.raises(ValueError, match=r"different Larmor frequencies, 1e\+08 Hz of entry 0 and 2e\+08 Hz of entry 1"):
        fit_many(doublet, START, [data[0], jn.Spectrum(PPM, PPM * 200.0, np.asarray(data[1].intensity), isotope="13C")])
    with pytest.raises(ValueError, match="entry 1 has points"):
        fit_many(doublet, START, [data[0], measured(np.full(len(PPM), np.nan))])
    with pytest.raises(ValueError, match="needs 2 entries"):
        fit_many(doublet, {name: np.ones(3) for name in START}, data, batched_start=True)


def test_a_batch_has_one_value_of_what_is_fixed():
    """Starts that differ in what is fixed are refused, as a leaf and as an element; equal ones are fitted at theirs."""
    data = [noisy(clean(), SIGMA, seed) for seed in range(2)]
    starts = {name: np.full(2, value) for name, value in TRUTH.items()}
    with pytest.raises(ValueError, match=r"start: 'lw' is fixed, but its entries 0 and 1 differ"):
        fit_many(doublet, starts | {"lw": np.array([300.0, 350.0])}, data, batched_start=True, fixed=("lw",))
    both = {"k": starts["k"], "x": np.array([[1.0, 2.0], [1.0, 3.0]])}
    with pytest.raises(ValueError, match=r"start: 'x' is fixed"):
        fit_many(doublet, both, data, batched_start=True, fixed=("x[1]",))


def gapped(p):
    """The doublet, not finite where the first site lies at a low field."""
    line = doublet(p)
    return jn.Spectrum(PPM, line.hz, line.intensity + jnp.where(p["d1"] < -30.0, jnp.nan, 0.0), isotope="13C")


def test_a_broken_start_is_its_entrys_alone():
    """The first of three starts is not finite: the others are fitted; all of them raise; so does one outside."""
    data = [noisy(clean(), SIGMA, 1)] * 3
    starts = {name: np.full(3, value) for name, value in TRUTH.items()}
    found = fit_many(gapped, starts | {"d1": np.array([-35.0, -10.0, -10.0])}, data, batched_start=True, constraints=RATES)
    assert [code.value for code in found.codes] == ["not finite", "converged", "converged"]
    assert found.values[1, 0] == pytest.approx(-10.0, abs=0.5)
    with pytest.raises(ValueError, match="not finite at the start"):
        fit_many(gapped, starts | {"d1": np.full(3, -35.0)}, data, batched_start=True, constraints=RATES)
    with pytest.raises(ValueError, match=r"entry 2 of start: 'k' = \[-1.0\] lies outside"):
        fit_many(gapped, starts | {"k": np.array([1e3, 1e3, -1.0])}, data, batched_start=True, constraints=RATES)


class Descent:
    """Steepest descent with momentum, in the form of an optax transformation."""

    def init(self, y):
        return jnp.zeros_like(y)

    def update(self, slope, memory, y):
        memory = 0.9 * memory - 0.02 * slope / (1e-2 + jnp.linalg.norm(slope))
        return memory, memory


def test_gradients_reach_the_same_optimum():
    """First-order steps of any transformation end where Levenberg-Marquardt does, with the same errors."""
    data = noisy(clean(), SIGMA, 1)
    near = {**TRUTH, "k": 1300.0, "lw": 330.0}
    exact = fit(doublet, near, data, constraints=RATES)
    found = fit(doublet, near, data, constraints=RATES, optimiser=Gradient(Descent(), max_steps=4000, patience=300))
    assert found.status.code == "converged"
    assert (np.abs(found.values - exact.values) < 0.3 * exact.errors).all()
    np.testing.assert_allclose(found.errors, exact.errors, rtol=0.1)


def test_patience_alone_is_no_optimum():
    """Out of patience on a slope: stalled, not converged, and raised."""
    data = noisy(clean(), SIGMA, 1)
    # No single step halves chi2, so that six steps end the search.
    hasty = Gradient(Descent(), patience=5, rtol=0.5)
    found = fit(doublet, {**TRUTH, "k": 1000.0}, data, constraints=RATES, optimiser=hasty, throw=False)
    assert found.status.code == "stalled" and not found.status.ok and found.steps < 20


def test_optax():
    """The real one."""
    optax = pytest.importorskip("optax")
    data = noisy(clean(), SIGMA, 1)
    near = {**TRUTH, "k": 1300.0, "lw": 330.0}
    found = fit(doublet, near, data, constraints=RATES, optimiser=Gradient(optax.adam(0.01), max_steps=4000, patience=300))
    exact = fit(doublet, near, data, constraints=RATES)
    assert (np.abs(found.values - exact.values) < 0.3 * exact.errors).all()


@pytest.mark.parametrize("size", [1, 8, 9, 19])
def test_columns_in_groups_are_the_jacobian(size):
    """Of any number of parameters, padded or not, with what stands beside."""
    weights = jnp.asarray(np.random.default_rng(size).normal(size=(5, size)))

    def function(y):
        value = jnp.sin(weights @ y) * y[0]
        return value, {"twice": 2 * value, "none": jnp.zeros((0,))}

    y = jnp.linspace(0.3, 1.7, size)
    jacobian, beside = jax.jit(forward_jacobian(function))(y)
    angle = weights @ y
    by_hand = jnp.cos(angle)[:, None] * weights * y[0]
    by_hand = by_hand.at[:, 0].add(jnp.sin(angle))
    np.testing.assert_allclose(jacobian, by_hand, rtol=1e-12)
    np.testing.assert_allclose(beside["twice"], 2 * jnp.sin(angle) * y[0], rtol=1e-12)
    assert beside["none"].shape == (0,)


def test_reverse_mode_gives_the_same():
    """The Jacobian by rows."""
    from jaxnmr.fitting import LevenbergMarquardt

    data = noisy(clean(), SIGMA, 1)
    forward = fit(doublet, START, data, constraints=RATES)
    reverse = fit(doublet, START, data, constraints=RATES, optimiser=LevenbergMarquardt(jacobian="reverse"))
    np.testing.assert_allclose(reverse.values, forward.values, rtol=1e-7)


SINGLE = """
import jax, numpy as np
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
from jaxnmr.fitting import LogRate, Positive, fit
from tests.systems.doublet import *
found = fit(doublet, START, noisy(clean(), 0.02, 1), constraints={"k": LogRate(), "lw": Positive()})
assert found.inner.dtype == np.float32
print(found.status.code.value, *map(float, found.values), *map(float, found.errors), sep=",")
"""


@pytest.mark.slow
def test_single_precision():
    """As users run it: the same optimum within a fraction of its error."""
    exact = fit(doublet, START, noisy(clean(), SIGMA, 1), constraints=RATES)
    done = subprocess.run(
        [sys.executable, "-c", SINGLE], capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False
    )
    assert done.returncode == 0, done.stderr
    code, *numbers = done.stdout.strip().split(",")
    values, errors = np.array(numbers, float).reshape(2, -1)
    assert code == "converged"
    assert (np.abs(values - exact.values) < 0.05 * exact.errors).all()
    np.testing.assert_allclose(errors, exact.errors, rtol=0.02)


@pytest.mark.filterwarnings("ignore::jaxnmr.errors.ResolutionWarning")
def test_a_simulated_line_is_fitted():
    """The same through `jn.simulate`: static 13C, rate and width from a poor start."""
    axis, sizes = jn.Axis(ppm=(240.0, 40.0), points=64), jn.Resolution(40, samples=256)

    def model(p):
        shift = jn.shift_tensor(np.array([120.0, 160.0]), -60.0, 0.4, (0.0, np.array([0.0, 1.2]), 0.0))
        hops = jn.ExchangeModel.from_rates({(0, 1): p["k"]})
        return jn.simulate(jn.Sites("13C", shift), jn.Static(9.4), axis, exchange=hops, linewidth=p["lw"], resolution=sizes)

    made = jax.jit(model)({"k": jnp.asarray(2e4), "lw": jnp.asarray(1000.0)})
    data = jn.Spectrum(made.ppm, made.hz, 7.0 * made.intensity, isotope="13C", field=9.4)
    found = fit(model, {"k": 2e3, "lw": 2000.0}, data, constraints={"k": LogRate(), "lw": Positive()})
    np.testing.assert_allclose([found.params["k"], found.params["lw"]], [2e4, 1000.0], rtol=1e-5)
