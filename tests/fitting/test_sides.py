"""Optima on the sides of the box: the step that stays inside, and searches that start, end and pass there."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnmr as jn
from jaxnmr.fitting import Code, Interval, Linear, LogRate, Positive, fit, fit_many
from jaxnmr.fitting._levenberg import _bounded
from tests.systems.doublet import LARMOR, PPM, clean, doublet, measured, noisy

optimize = pytest.importorskip("scipy.optimize")

PLACES = np.array([-12.0, -5.0, 0.0, 6.0, 11.0])
BASIS = np.exp(-(((PPM[:, None] - PLACES) / 7.0) ** 2))  # neighbours overlap by 0.8


def lines(p):
    """Heights of five lines that overlap: linear, and correlated."""
    return jn.Spectrum(PPM, PPM * LARMOR * 1e-6, jnp.asarray(BASIS) @ p["h"], isotope="13C")


def test_steps_within_ends_are_the_best():
    """Against scipy's bounded least squares: random problems, ends on some variables, some of them narrow or infinite."""
    rng, bounded = np.random.default_rng(7), jax.jit(_bounded)
    for _ in range(40):
        size = int(rng.integers(1, 7))
        matrix = rng.normal(size=(2 * size, size)) @ np.diag(10 ** rng.uniform(-2, 2, size))
        right = rng.normal(size=2 * size)
        low = np.where(rng.random(size) < 0.3, 0.0, -np.abs(rng.normal(size=size)))
        high = np.where(rng.random(size) < 0.3, np.inf, np.abs(rng.normal(size=size)))
        expected = optimize.lsq_linear(matrix, right, (low, high), method="bvls", tol=1e-14).x
        found = np.asarray(bounded(jnp.asarray(matrix), jnp.asarray(right), jnp.asarray(low), jnp.asarray(high)))
        assert (found >= low).all() and (found <= high).all()
        cost = [np.sum((matrix @ x - right) ** 2) for x in (found, expected)]
        # Both are exact but for rounding; a step that is only clipped is worse by some per cent.
        assert cost[0] <= cost[1] * (1 + 1e-9)


@pytest.mark.parametrize("start", [0.0, 0.5, 1.0])
def test_search_ends_at_the_constrained_optimum(start):
    """Correlated heights, some of which would be negative: that of bounded linear least squares, from any corner."""
    rng = np.random.default_rng(11)
    box = {"h": Interval(0.0, 1.0)}
    data = [measured(BASIS @ rng.uniform(-0.6, 1.4, 5) + 0.02 * rng.normal(size=len(PPM))) for _ in range(20)]
    batch = fit_many(lines, {"h": np.full(5, start)}, data, constraints=box, linear=Linear(scale=None))
    assert set(batch.codes) == {Code.CONVERGED}
    for spectrum, chi2, values in zip(data, batch.chi2, batch.values, strict=True):
        expected = optimize.lsq_linear(BASIS, np.asarray(spectrum.intensity), (0.0, 1.0), method="bvls", tol=1e-12)
        assert chi2 <= 2 * expected.cost * (1 + 1e-6)
        # The search ends a thousandth of a standard error, here 0.02, from the optimum.
        np.testing.assert_allclose(values, expected.x, atol=1e-3)


def test_no_search_stalls():
    """Two hundred starts within wide bounds: each ends at a minimum, be it a poor one; rates run to their ends in time."""
    rng = np.random.default_rng(5)
    count = 200
    starts = {
        "d1": rng.uniform(-300, 300, count),
        "d2": rng.uniform(-300, 300, count),
        "k": 10 ** rng.uniform(0, 9, count),
        "lw": 10 ** rng.uniform(0, 5, count),
    }
    rules = {"k": LogRate(1.0, 1e9), "lw": Positive(), "d1": Interval(-300, 300), "d2": Interval(-300, 300)}
    batch = fit_many(doublet, starts, [noisy(clean(), 0.02, 1)] * count, batched_start=True, constraints=rules)
    ended = {code: batch.codes.count(code) for code in Code}
    assert ended[Code.CONVERGED] >= 0.95 * count, ended


def test_a_bound_is_left_again():
    """A start on a side, with the optimum inside: found, though the first steps push against the side."""
    inside = fit(
        doublet,
        {"d1": -30.0, "d2": 30.0, "k": 1e4, "lw": 2000.0},
        noisy(clean(), 0.02, 2),
        constraints={
            "d1": Interval(-30, 0),
            "d2": Interval(0, 30),
            "k": LogRate(10.0, 1e4),
            "lw": Interval(50.0, 2000.0),
        },
    )
    assert inside.status.code is Code.CONVERGED
    np.testing.assert_allclose(inside.values, [-10.0, 12.0, 1500.0, 300.0], rtol=0.2)
