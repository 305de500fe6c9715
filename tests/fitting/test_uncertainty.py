"""Profiles, one-sided bounds, posterior samples, and how many of them hold."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

import jaxnmr as jn
from jaxnmr.cli import _fit_report
from jaxnmr.fitting import (
    Code,
    FitWarning,
    Interval,
    LogRate,
    MultiStart,
    Positive,
    Prior,
    Samples,
    Simplex,
    fit,
    fit_many,
    profile,
    sample,
)
from tests.systems.doublet import LARMOR, PPM, START, TRUTH, clean, doublet, measured, noisy

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


def test_profile_goes_on_from_a_lower_point(clear):
    """A result that is off its optimum by three errors of k: the profile of lw comes to it, says so, and closes there."""
    i = clear.names.index("k")
    off = clear.inner.at[i].add(3 * np.sqrt(clear.inner_covariance[i, i] * clear.variance))
    # Nine variances in the linear model.
    short = dataclasses.replace(clear, inner=off, objective=clear.objective + 9 * clear.variance)
    with pytest.warns(FitWarning, match=r"along 'lw' chi2 falls"):
        found = profile(short, "lw")
    assert found.closed == (True, True)
    np.testing.assert_allclose(found.interval, profile(clear, "lw").interval, rtol=1e-3)


def test_profile_optimises_the_others(clear):
    """chi2 at each point is the least for that rate, to a hundredth: a fit with the rate fixed agrees."""
    found = profile(clear, "k")
    at = int(np.argmax(found.rise))
    fixed = fit(
        doublet,
        {**KNOWN, "k": float(found.values[at])},
        noisy(clean(), SIGMA, 4),
        constraints=RATES,
        fixed=("d1", "d2", "k"),
    )
    np.testing.assert_allclose((fixed.chi2 - clear.chi2) / clear.variance, found.rise[at], atol=0.01)
    # A tenth of the error of the width.
    np.testing.assert_allclose(fixed.params["lw"], found.others[at, 1], atol=0.1 * clear.stderr["lw"])


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


def test_an_end_is_told_from_what_is_not_determined():
    """A shift kept below its truth has an error, and is known from one side: the table says that, not less."""
    with pytest.warns(FitWarning, match="one side only"):
        found = fit(
            doublet,
            {**TRUTH, "d2": 9.0},
            noisy(clean(), SIGMA, 1),
            constraints={**RATES, "d2": Interval(0.0, 11.0)},
            fixed=("d1", "k"),
        )
    assert found.status.code is Code.AT_BOUND and list(found.bounds) == ["d2"] and np.isfinite(found.stderr["d2"])
    (line,) = [line for line in found.table().splitlines() if line.startswith("d2")]
    assert line.endswith("one side only")
    row = next(row for row in _fit_report.parameters(found, dict.fromkeys(KNOWN, ""), KNOWN) if row["name"] == "d2")
    assert row["determined"] and row["high"] == 11.0


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


@pytest.mark.parametrize("level", [0.0, 1.0, 95.0, float("nan")])
def test_intervals_of_samples_refuse_a_level(level):
    """A probability, not a percentage."""
    drawn = Samples(("k",), np.zeros((1, 4, 1)), 0, np.ones(1), np.ones(1))
    assert drawn.interval("k", 0.5) == (0.0, 0.0)
    with pytest.raises(ValueError, match=r"level: got .* between 0 and 1"):
        drawn.interval("k", level)


def lines(p):
    """Three Gaussians at known places with shares that sum to one."""
    x = jnp.asarray(PPM)[:, None] - jnp.asarray([-20.0, 0.0, 15.0], p["share"].dtype)[None, :]
    return jn.Spectrum(PPM, PPM * LARMOR * 1e-6, jnp.exp(-((x / 4.0) ** 2)) @ p["share"], isotope="13C")


def shares(third, seed, **options):
    truth = {"share": jnp.asarray([0.7 - third, 0.3, third])}
    data = measured(np.asarray(lines(truth).intensity) + SIGMA * np.random.default_rng(seed).normal(size=len(PPM)))
    start = {"share": np.full(3, 1 / 3)}
    return fit(lines, start, data, constraints={"share": Simplex()}, **options)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_share_of_nothing_has_a_bound(seed):
    """An element of a simplex that is not there: an upper bound near the error, and finite errors of the others."""
    with pytest.warns(FitWarning, match=r"share\[2\] between 0 and"):
        found = shares(0.0, seed)
    assert found.status.ok and np.isfinite(found.errors[:2]).all() and (found.errors[:2] < 0.03).all()
    bound = found.bounds["share[2]"]
    # A line of height 1 over 12 points of noise 0.02 is known to 0.008; two of these, and what noise added.
    assert bound.low == 0.0 and 0.002 < bound.high < 0.04
    assert found.interval("share[2]") == (0.0, bound.high)


def test_profile_of_a_share_is_that_of_a_linear_model():
    """Shares enter linearly: the profile is a parabola whose interval is the covariance's, for each element."""
    found = shares(0.2, 1)
    for k, name in enumerate(found.names):
        rise = profile(found, name)
        expected = found.values[k] + np.array([-1, 1]) * found.quantile(0.95) * found.errors[k]
        # The scale is solved beside the shares, so that bends by the relative error, 1 %, remain.
        np.testing.assert_allclose(rise.interval, expected, atol=0.05 * found.errors[k])
        np.testing.assert_allclose(rise.others.sum(axis=1), 1.0, atol=1e-6)


def two(p):
    """Two Gaussians at known places with shares that sum to one."""
    return lines({"share": jnp.concatenate([p["share"], jnp.zeros((1,), p["share"].dtype)])})


def test_intervals_of_two_shares_mirror_each_other():
    """Both elements of a simplex of two: ends ascend around the value, and those of one are one minus the other's."""
    truth = np.asarray(two({"share": jnp.asarray([0.65, 0.35])}).intensity)
    data = measured(truth + SIGMA * np.random.default_rng(1).normal(size=len(PPM)))
    # From equal shares the search is far enough from either end that no profile is needed.
    found = fit(two, {"share": np.full(2, 0.5)}, data, constraints={"share": Simplex()}, bounds=False)
    first, second = found.interval("share[0]"), found.interval("share[1]")
    assert second[0] < found.values[1] < second[1] and second[1] - second[0] < 0.1
    np.testing.assert_allclose([1 - second[1], 1 - second[0]], first, rtol=1e-6)


def mirrored(p):
    """A line at d**2/10, wider by a trifle where d > 0: two optima that the noise cannot tell apart."""
    x = (jnp.asarray(PPM) - p["d"] ** 2 / 10) / (4.0 + 2e-3 * p["d"])
    return jn.Spectrum(PPM, PPM * LARMOR * 1e-6, jnp.exp(-(x**2)), isotope="13C")


def test_intervals_reach_around_every_optimum_that_the_data_allow():
    """Two signs, hardly different: with many starts the interval holds both; where the sign shows, it does not."""
    data = measured(
        np.asarray(mirrored({"d": jnp.asarray(12.0)}).intensity) + SIGMA * np.random.default_rng(3).normal(size=len(PPM))
    )
    rules, starts = {"d": Interval(-20.0, 20.0)}, MultiStart(12, 4, seed=1)
    alone = fit(mirrored, {"d": 10.0}, data, constraints=rules)
    assert alone.interval("d")[0] > 11
    both = fit(mirrored, {"d": 10.0}, data, constraints=rules, starts=starts)
    low, high = both.interval("d")
    assert low < -11.5 < 11.5 < high and len(both.starts) >= 2
    precise = measured(np.asarray(mirrored({"d": jnp.asarray(12.0)}).intensity) + 1e-5 * np.sin(37 * PPM))
    sure = fit(mirrored, {"d": 10.0}, precise, constraints=rules, starts=starts)
    assert sure.interval("d")[0] > 11


def even(p):
    """A line at d**2/10: both signs draw the same spectrum."""
    x = (jnp.asarray(PPM) - p["d"] ** 2 / 10) / 4.0
    return jn.Spectrum(PPM, PPM * LARMOR * 1e-6, jnp.exp(-(x**2)), isotope="13C")


def test_degenerate_optima_count_and_relabelled_ones_do_not():
    """A sign that no data tell is part of the interval; sites that changed places are the same answer."""
    noise = SIGMA * np.random.default_rng(3).normal(size=len(PPM))
    data = measured(np.asarray(even({"d": jnp.asarray(12.0)}).intensity) + noise)
    found = fit(even, {"d": 10.0}, data, constraints={"d": Interval(-20.0, 20.0)}, starts=MultiStart(12, 4, seed=1))
    low, high = found.interval("d")
    assert low < -11.5 < 11.5 < high
    ranges = {"d1": (-20.0, 20.0), "d2": (-20.0, 20.0)}
    sites = fit(doublet, START, noisy(clean(), SIGMA, 1), constraints=RATES, starts=MultiStart(24, 6, seed=1, ranges=ranges))
    assert len(sites.starts) > 1 and not sites.bounds
    low, high = sites.interval("d1")
    assert high - low < 5


def test_intervals_are_wider_with_few_points():
    """Noise taken from seven degrees of freedom: Student's 2.36, not 1.96."""
    from scipy.stats import t

    few = np.zeros(len(PPM))
    few[4::13] = 1.0
    found = shares(0.2, 1, weights=few)
    assert found.dof < 10 and "share[1]" not in dict(found.limits)
    low, high = found.interval("share[1]")
    np.testing.assert_allclose((high - low) / 2 / found.errors[1], t.ppf(0.975, found.dof), rtol=1e-6)
