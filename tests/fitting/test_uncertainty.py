"""Profiles, one-sided bounds, posterior samples, and how many of them hold."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxnmr.fitting import Code, FitWarning, LogRate, Positive, Prior, fit, fit_many, profile, sample
from tests.systems.doublet import START, TRUTH, clean, doublet, noisy

RATES = {"k": LogRate(), "lw": Positive()}
SIGMA = 0.02
# Shifts known, as from the frozen spectrum: what remains is the rate and the width.
KNOWN = {**START, "d1": TRUTH["d1"], "d2": TRUTH["d2"]}


def rate_fit(k, seed, start=1e3, **options):
    return fit(
        doublet, {**KNOWN, "k": start}, noisy(clean(k=k), SIGMA, seed), constraints=RATES, fixed=("d1", "d2"), **options
    )


@pytest.fixture(scope="module")
def clear():
    """A rate that the data determine well."""
    return rate_fit(1500.0, 4)


def test_profile_is_the_parabola_where_the_model_is_linear(clear):
    """Rise of one at one standard error, and the interval of the covariance."""
    found = profile(clear, "lw")
    low, high = clear.interval("lw")
    width = high - low
    # The error of lw is 3 %, so the model bends by about that much within it.
    assert abs(found.interval[0] - low) < 0.05 * width and abs(found.interval[1] - high) < 0.05 * width
    assert found.closed == (True, True)
    scaled = np.log(found.values / float(clear.params["lw"])) / (float(clear.stderr["lw"]) / float(clear.params["lw"]))
    inside = np.abs(scaled) < 1.0
    assert inside.sum() > 2
    # The third order is about the relative error, 5 %; a rise in units of the residual instead of its variance is 1e-4.
    np.testing.assert_allclose(found.rise[inside], scaled[inside] ** 2, rtol=0.15, atol=1e-6)
    assert (np.diff(found.values) > 0).all()


def test_profile_optimises_the_others(clear):
    """chi2 at each point is the least for that rate: a fit with the rate fixed agrees."""
    found = profile(clear, "k")
    at = int(np.argmax(found.rise))
    fixed = fit(
        doublet,
        {**KNOWN, "k": float(found.values[at])},
        noisy(clean(), SIGMA, 4),
        constraints=RATES,
        fixed=("d1", "d2", "k"),
    )
    np.testing.assert_allclose((fixed.chi2 - clear.chi2) / clear.variance, found.rise[at], rtol=1e-4)
    np.testing.assert_allclose(fixed.params["lw"], found.others[at, 1], rtol=1e-4)


def test_frozen_and_fast_limits_give_bounds():
    """Too slow or too fast to see: one-sided bounds that hold, a status and a warning, no standard error."""
    with pytest.warns(FitWarning, match="not determined"):
        slow = rate_fit(0.01, 5)
    assert slow.status.code is Code.NOT_DETERMINED and "k lies between 1 and" in slow.status.message
    # A width of 300 Hz known to 3 %: a rate of 30 /s, its width k/pi, would be seen.
    assert slow.bounds["k"].low == 1.0 and 3.0 < slow.bounds["k"].high < 200.0
    assert np.isinf(slow.stderr["k"]) and np.isfinite(slow.stderr["lw"])
    assert slow.interval("k") == (slow.bounds["k"].low, slow.bounds["k"].high)
    with pytest.warns(FitWarning, match="not determined"):
        fast = rate_fit(1e11, 5, start=1e5)
    # The width left over by exchange, pi dnu**2 / 2k with dnu = 2200 Hz, is below the error of 300 Hz.
    assert fast.bounds["k"].high == 1e12 and 1e4 < fast.bounds["k"].low < 1e7
    assert "not determined" in fast.table()


@pytest.mark.slow
def test_bounds_hold_as_often_as_they_say():
    """Lines nearly frozen: what is said of k, bound or interval, holds in about 95 %."""
    truth = 30.0  # about one error above zero, so that a bound too low is seen
    fits = fit_many(
        doublet,
        {**KNOWN, "k": 30.0},
        [noisy(clean(k=truth), SIGMA, seed) for seed in range(150)],
        constraints=RATES,
        fixed=("d1", "d2"),
    )
    results = [fits.result(i) for i in range(150)]
    low, high = np.array([result.interval("k") for result in results]).T
    bounded = np.array(["k" in result.bounds for result in results])
    assert bounded.sum() > 75
    holds = (low <= truth) & (truth <= high)
    # 99.9 % of draws from a binomial with p = 0.95 lie above 0.88; bounds at one standard error hold in 84 %.
    assert holds.mean() > 0.88 and holds[bounded].mean() > 0.86


@pytest.mark.filterwarnings("ignore:fit. at a bound")
def test_a_prior_replaces_what_the_data_do_not_say():
    """The frozen line's rate with a prior on its logarithm: the prior's error."""
    prior = Prior(lambda p: jnp.log10(p["k"]), 0.0, 0.3)
    found = rate_fit(0.5, 6, priors=[prior], bounds=False)
    np.testing.assert_allclose(found.stderr["k"] / found.params["k"], 0.3 * np.log(10), rtol=0.02)


def test_profile_refuses(clear):
    """Names that are not there, and levels."""
    with pytest.raises(ValueError, match="no parameter 'kk'"):
        profile(clear, "kk")
    with pytest.raises(ValueError, match="level"):
        profile(clear, "k", level=95.0)
    with pytest.raises(ValueError, match="no parameter"):
        clear.interval("nothing")
    with pytest.raises(ValueError, match="level"):
        clear.interval("k", level=2.0)


@pytest.mark.slow
def test_samples_agree_with_the_profile(clear):
    """NUTS and profile intervals, where the posterior is nearly normal."""
    pytest.importorskip("blackjax")
    drawn = sample(clear, draws=1500, warmup=200, chains=2, seed=1)
    assert drawn.values.shape == (2, 1500, 2) and drawn.divergences < 20
    assert (drawn.r_hat < 1.02).all() and (drawn.effective > 500).all()
    for name in clear.names:
        low, high = profile(clear, name).interval
        a, b = drawn.interval(name)
        # The 2.5 % quantile of 1000 draws is known to 4 % of the width.
        assert abs(a - low) < 0.12 * (high - low) and abs(b - high) < 0.12 * (high - low)


def test_samples_of_a_rate_within_its_ends():
    """A frozen line: samples fill the range below the bound evenly in the logarithm."""
    pytest.importorskip("blackjax")
    with pytest.warns(FitWarning):
        slow = rate_fit(0.01, 3)
    drawn = sample(slow, draws=1500, warmup=300, chains=2, seed=2)
    log_k = np.log10(drawn.values[:, :, 0].ravel())
    assert log_k.min() > 0 and np.quantile(log_k, 0.99) < np.log10(slow.bounds["k"].high) + 0.5
    # Even between 0 and about 1.5, the mean lies in the middle.
    assert 0.4 < log_k.mean() < 1.1


def test_sample_refuses(clear):
    """Numbers that make no chain."""
    pytest.importorskip("blackjax")
    with pytest.raises(ValueError, match="draws"):
        sample(clear, draws=2)
