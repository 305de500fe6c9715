"""Fits of a line in closed form: optimum, errors, what enters linearly, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnmr as jn
from jaxnmr.fitting import (
    Code,
    FitError,
    FitWarning,
    Interval,
    LevenbergMarquardt,
    Linear,
    LogRate,
    Ordered,
    Positive,
    Prior,
    Simplex,
    Unit,
    fit,
    fit_many,
)
from tests.systems.doublet import LARMOR, POINTS, PPM, START, TRUTH, clean, doublet, measured, noisy

RATES = {"k": LogRate(), "lw": Positive()}
SIGMA = 0.02


@pytest.fixture(scope="module")
def one():
    """A noisy spectrum and its fit."""
    data = noisy(clean(), SIGMA, 1)
    return data, fit(doublet, START, data, constraints=RATES)


def test_exact_data_give_back_the_parameters():
    """Without noise the optimum is the truth, the scale is what the data were multiplied by."""
    found = fit(doublet, START, clean(), constraints=RATES)
    assert found.status.code is Code.CONVERGED
    for name, value in TRUTH.items():
        # Convergence is quadratic; rounding of the data allows some 1e-9.
        np.testing.assert_allclose(found.params[name], value, rtol=1e-6)
    np.testing.assert_allclose(found.linear.scale, [1e3], rtol=1e-6)
    np.testing.assert_allclose(found.spectrum.intensity, clean().intensity, rtol=1e-6)


def test_covariance_is_that_of_the_whole_linear_model(one):
    """Against numerical derivatives with the scale as one more column: (JᵀJ)⁻¹ s², first order in the noise."""
    _, found = one

    def model(x):
        values = dict(zip(found.names, x[:-1], strict=True))
        return x[-1] * np.asarray(doublet({name: jnp.asarray(value) for name, value in values.items()}).intensity)

    at = np.append(found.values, float(found.linear.scale[0]))
    steps = 1e-5 * at
    columns = [(model(at + step) - model(at - step)) / 2 / step.sum() for step in np.diag(steps)]
    jacobian = np.stack(columns, axis=1) * at  # columns of one size
    inverse = np.linalg.inv(jacobian.T @ jacobian) * np.outer(at, at)
    expected = inverse[:-1, :-1] * found.noise**2
    # The projection's own derivative adds noise over signal squared, 1e-4; a forgotten scale column changes lw by 20 %.
    np.testing.assert_allclose(found.covariance, expected, rtol=5e-3)
    np.testing.assert_allclose(found.noise, SIGMA, rtol=0.2)
    np.testing.assert_allclose(np.diag(found.correlation), 1.0)
    np.testing.assert_allclose(found.stderr["k"] ** 2, found.covariance[2, 2], rtol=1e-12)


def test_many_fits_scatter_as_their_errors_say():
    """200 draws: standard deviations, and the coverage of 95 % intervals."""
    fits = fit_many(doublet, START, [noisy(clean(), SIGMA, seed) for seed in range(200)], constraints=RATES)
    assert set(fits.codes) == {Code.CONVERGED}
    # The standard deviation of 200 draws is known to 5 %.
    np.testing.assert_allclose(fits.values.std(axis=0) / fits.stderr.mean(axis=0), 1.0, atol=0.17)
    truth = np.array([TRUTH[name] for name in fits.names])
    inside = np.abs(fits.values - truth) < 1.96 * fits.stderr
    # 99.9 % of binomial draws lie between 0.89 and 0.99.
    assert ((inside.mean(axis=0) > 0.89) & (inside.mean(axis=0) < 0.995)).all()
    alone = fit(doublet, START, noisy(clean(), SIGMA, 7), constraints=RATES)
    np.testing.assert_allclose(fits[7].values, alone.values, rtol=1e-9)
    np.testing.assert_allclose(fits[7].errors, alone.errors, rtol=1e-9)
    assert alone.chi2 == pytest.approx(fits.chi2[7])


def test_correlated_noise_has_fewer_points():
    """Noise smoothed over neighbours: errors hold with the correlation stated, and are far too small without."""
    kernel = np.array([0.25, 0.5, 0.25])
    kernel /= np.sqrt(np.sum(kernel**2))
    correlation = kernel.sum() ** 2  # the sum of the autocorrelation over all lags
    draws = []
    for seed in range(150):
        noise = np.convolve(np.random.default_rng(seed).normal(size=POINTS + 2), kernel, "valid")
        draws.append(measured(np.asarray(clean().intensity) + SIGMA * noise))
    fits = fit_many(doublet, START, draws, constraints=RATES, noise_correlation=correlation)
    ratio = fits.values.std(axis=0) / fits.stderr.mean(axis=0)
    # Known to 6 %; without the correlation, 2.7 points, all would be 1.6.
    np.testing.assert_allclose(ratio, 1.0, atol=0.25)
    result = fits[0]
    np.testing.assert_allclose(result.errors, fits.stderr[0], rtol=1e-9)
    assert result.points == pytest.approx(POINTS / correlation)
    assert result.dof == pytest.approx(POINTS / correlation - 5)


def test_known_noise_sets_chi2(one):
    """With the noise given, chi2 per degree of freedom is one within its own scatter, and errors scale with it."""
    data, free = one
    known = fit(doublet, START, data, constraints=RATES, noise=SIGMA)
    assert abs(known.reduced_chi2 - 1) < 4 * np.sqrt(2 / known.dof)
    np.testing.assert_allclose(known.errors / free.errors, SIGMA / free.noise, rtol=1e-6)
    each = fit(doublet, START, data, constraints=RATES, noise=np.full(POINTS, SIGMA))
    np.testing.assert_allclose(each.values, known.values, rtol=1e-9)


def test_scale_offset_and_baseline():
    """A line on a sloping, curved floor: found beside the parameters."""
    x = np.linspace(-1, 1, POINTS)
    floor = 0.5 + 0.3 * x + 0.2 * (2 * x**2 - 1)
    data = measured(np.asarray(clean().intensity) + floor)
    found = fit(doublet, START, data, constraints=RATES, linear=Linear(baseline=2))
    np.testing.assert_allclose(found.linear.baseline, [[0.5, 0.3, 0.2]], rtol=1e-5)
    np.testing.assert_allclose(found.values, [TRUTH[name] for name in found.names], rtol=1e-5)
    only = fit(doublet, START, measured(np.asarray(clean().intensity) + 0.5), constraints=RATES, linear=Linear(offset=True))
    np.testing.assert_allclose(only.linear.baseline, [[0.5]], rtol=1e-6)


def test_phase():
    """A line out of phase by half a radian, its dispersion from the closed form."""
    nu, width = PPM * LARMOR * 1e-6, 300.0

    def line(p):
        freq = jnp.asarray(nu) - p["d"] * (LARMOR * 1e-6)
        both = 1 / jax.lax.complex(jnp.pi * p["lw"] * jnp.ones_like(freq), 2 * jnp.pi * freq)
        return jn.Spectrum(PPM, nu, both.real, imaginary=both.imag)

    both = 1 / (np.pi * width + 2j * np.pi * (nu - 300.0))
    data = measured(5.0 * (np.cos(0.5) * both.real + np.sin(0.5) * both.imag))
    found = fit(line, {"d": 1.0, "lw": 500.0}, data, constraints={"lw": Positive()}, linear=Linear(phase=True))
    np.testing.assert_allclose([found.params["d"], found.params["lw"]], [3.0, width], rtol=1e-6)
    np.testing.assert_allclose([found.linear.phase[0], found.linear.scale[0]], [0.5, 5.0], rtol=1e-6)

    def real_only(p):
        return jn.Spectrum(PPM, nu, line(p).intensity)

    by_transform = fit(real_only, {"d": 1.0, "lw": 500.0}, data, constraints={"lw": Positive()}, linear=Linear(phase=True))
    # The line's wings leave the window, and with them a few per cent of its dispersion; the wrong sign gives -0.5.
    np.testing.assert_allclose(by_transform.linear.phase[0], 0.5, atol=0.05)


@pytest.mark.filterwarnings("ignore:fit. at a bound")
def test_series_shares_parameters_and_scale():
    """Two rates, common shifts and width; with one scale the relative intensities count."""

    def series(p):
        return {name: doublet({**p["line"], "k": p["rates"][i]}) for i, name in enumerate(("cold", "warm"))}

    data = {"cold": clean(k=200.0), "warm": clean(k=9000.0)}
    line = {name: START[name] for name in ("d1", "d2", "lw")}
    found = fit(
        series,
        {"line": line, "rates": np.array([400.0, 3000.0])},
        data,
        constraints={"rates": LogRate(), "line.lw": Positive()},
        linear=Linear(scale="shared"),
    )
    assert found.names == ("line.d1", "line.d2", "line.lw", "rates[0]", "rates[1]")
    np.testing.assert_allclose(found.params["rates"], [200.0, 9000.0], rtol=1e-5)
    np.testing.assert_allclose(found.linear.scale, [1e3, 1e3], rtol=1e-5)
    assert set(found.spectrum) == {"cold", "warm"} and found.stderr["rates"].shape == (2,)
    floors = {name: measured(np.asarray(s.intensity) + f) for (name, s), f in zip(data.items(), (0.3, -0.2), strict=True)}
    floored = fit(
        series,
        {"line": line, "rates": np.array([400.0, 3000.0])},
        floors,
        constraints={"rates": LogRate(), "line.lw": Positive()},
        linear=Linear(scale="shared", offset=True),
    )
    np.testing.assert_allclose(floored.linear.baseline, [[0.3], [-0.2]], rtol=1e-5)
    np.testing.assert_allclose(floored.linear.scale, [1e3, 1e3], rtol=1e-5)
    half = {"cold": data["cold"], "warm": measured(0.5 * np.asarray(data["warm"].intensity))}
    wrong = fit(
        series,
        {"line": line, "rates": np.array([400.0, 3000.0])},
        half,
        constraints={"rates": LogRate(), "line.lw": Positive()},
        linear=Linear(scale="shared"),
        bounds=False,
        throw=False,
    )
    assert found.chi2 < 1e-12 < 0.1 < wrong.chi2


def test_constraints_hold():
    """Populations on the simplex, shifts in order, a fraction at its end: each at the truth."""

    def model(p):
        return doublet({"d1": p["d"][0], "d2": p["d"][1], "k": p["k"], "lw": p["lw"], "p": p["pop"][0]})

    start = {"d": np.array([-14.0, 15.0]), "k": 400.0, "lw": 500.0, "pop": np.array([0.5, 0.5])}
    rules = {**RATES, "d": Ordered(), "pop": Simplex()}
    found = fit(model, start, clean(p=0.3), constraints=rules)
    np.testing.assert_allclose(found.params["pop"], [0.3, 0.7], rtol=1e-5)
    np.testing.assert_allclose(found.params["d"], [-10.0, 12.0], rtol=1e-5)
    # Populations move against each other: one error, correlation -1.
    np.testing.assert_allclose(found.stderr["pop"][0], found.stderr["pop"][1], rtol=1e-6)
    index = found.names.index("pop[0]")
    np.testing.assert_allclose(found.correlation[index, index + 1], -1.0, rtol=1e-6)


def test_end_of_an_interval_is_reached_and_left():
    """A start at one end goes inside; a truth outside ends at the end, which is said."""
    inside = fit(doublet, {**START, "p": 0.0 + 0.05}, clean(p=0.3), constraints={**RATES, "p": Interval(0.05, 0.9)})
    np.testing.assert_allclose(inside.params["p"], 0.3, rtol=1e-5)
    with pytest.warns(FitWarning, match="p between 0.4"):
        ended = fit(
            doublet, {**START, "p": 0.6}, noisy(clean(p=0.38), SIGMA, 3), constraints={**RATES, "p": Interval(0.4, 0.9)}
        )
    assert ended.status.code is Code.AT_BOUND and "p lies between 0.4" in ended.status.message
    assert float(ended.params["p"]) == pytest.approx(0.4, abs=1e-9) and ended.bounds["p"].high < 0.5


def test_fixed_ones_stay():
    """By name and by element; their errors are zero."""

    def model(p):
        return doublet({"d1": p["d"][0], "d2": p["d"][1], "k": p["k"], "lw": p["lw"]})

    start = {"d": np.array([-10.0, 15.0]), "k": 400.0, "lw": 300.0}
    found = fit(model, start, noisy(clean(), SIGMA, 5), constraints=RATES, fixed=("lw", "d[0]"))
    assert found.names == ("d[1]", "k")
    assert float(found.params["lw"]) == 300.0 and float(found.params["d"][0]) == -10.0
    assert float(found.stderr["lw"]) == 0.0 and float(found.stderr["d"][0]) == 0.0 < float(found.stderr["d"][1])


@pytest.mark.parametrize("noise", [SIGMA, None])
def test_prior_weighs_as_a_measurement(noise):
    """A Gaussian beside the data: mean and error of two measurements of one number, where the model is linear."""
    data = noisy(clean(), SIGMA, 8)
    alone = fit(doublet, START, data, constraints=RATES, noise=noise)
    value, error = float(alone.params["d1"]), float(alone.stderr["d1"])
    prior = Prior(lambda p: p["d1"], value + error, 0.5 * error)
    both = fit(doublet, START, data, constraints=RATES, noise=noise, priors=[prior])
    # Weights 1 and 4; the model is linear over one error to 1 %, and s² of another fit is the same to 2 %.
    np.testing.assert_allclose((float(both.params["d1"]) - value) / error, 0.8, atol=0.02)
    np.testing.assert_allclose(float(both.stderr["d1"]) / error, 5**-0.5, rtol=0.02)


def test_regions_and_weights_leave_points_out():
    """A spike, or a point that is no number, outside the regions does nothing."""
    spoilt = np.asarray(noisy(clean(), SIGMA, 2).intensity).copy()
    inside = (PPM <= 30) & (PPM >= -30)
    whole = fit(doublet, START, measured(np.where(inside, spoilt, 0.0)), constraints=RATES, weights=inside.astype(float))
    spoilt[3], spoilt[5] = 100.0, np.nan
    cut = fit(doublet, START, measured(spoilt), constraints=RATES, regions=(30.0, -30.0))
    np.testing.assert_allclose(cut.values, whole.values, rtol=1e-9)
    assert cut.points == inside.sum()


def test_nothing_compiles_twice():
    """Other data, another start and other errors: the model is traced once."""
    traced = []

    def model(p):
        traced.append(1)
        return doublet(p)

    fit(model, START, noisy(clean(), SIGMA, 1), constraints=RATES)
    first = len(traced)
    fit(model, {**START, "k": 900.0}, noisy(clean(), SIGMA, 2), constraints=RATES, noise=0.03)
    assert len(traced) == first


def test_failures_have_a_status():
    """Too few steps: raised, or returned with advice."""
    data = noisy(clean(), SIGMA, 1)
    few = LevenbergMarquardt(max_steps=2)
    with pytest.raises(FitError, match="no optimum after 2 steps"):
        fit(doublet, START, data, constraints=RATES, optimiser=few)
    found = fit(doublet, START, data, constraints=RATES, optimiser=few, throw=False)
    assert found.status.code == "max steps" and "max_steps" in found.status.advice and not found.status.ok
    assert np.isfinite(found.values).all()


@pytest.mark.parametrize("what", ["value", "derivative"])
def test_search_steps_back_from_what_is_not_finite(what):
    """A model that is NaN, or only its derivative, where the first steps from this start go, but not on all ways."""

    def model(p):
        line = doublet(p)
        if what == "value":
            extra = jnp.where(p["k"] > 4000.0, jnp.nan, 0.0)
        else:
            extra = 0.0 * jnp.sqrt(jnp.maximum(jnp.abs(jnp.log(p["k"] / 217.6)) - 0.1, 0.0))
        return jn.Spectrum(PPM, line.hz, line.intensity + extra, isotope="13C")

    wide = {**TRUTH, "lw": 1000.0, "k": 50.0}
    found = fit(model, wide, clean(), constraints=RATES)
    np.testing.assert_allclose(found.params["lw"], 300.0, rtol=1e-4)


def test_negative_scale_is_reported():
    """A spectrum upside down is fitted, and named."""
    with pytest.warns(FitWarning, match="negative"):
        found = fit(doublet, START, measured(-np.asarray(clean().intensity)), constraints=RATES)
    assert float(found.linear.scale[0]) < 0


def test_table(one):
    """As in a paper: value and error to two digits of the error."""
    text = repr(one[1])
    error = float(one[1].stderr["d1"])
    assert f"{error:.2g}" in text and "converged" in text and "95 % interval" in text


def without(**changes):
    return {**{"model": doublet, "start": START, "measured": clean(), "constraints": RATES}, **changes}


def elsewhere(p):
    line = doublet(p)
    return jn.Spectrum(PPM + 5.0, (PPM + 5.0) * 100.0, line.intensity, isotope="13C")


def otherwise(larmor, isotope="13C"):
    return lambda p: jn.Spectrum(PPM, PPM * larmor * 1e-6, doublet(p).intensity, isotope=isotope)


def broken(p):
    line = doublet(p)
    return jn.Spectrum(PPM, line.hz, line.intensity * jnp.nan, isotope="13C")


def steep(p):
    line = doublet(p)
    return jn.Spectrum(PPM, line.hz, line.intensity + jnp.sqrt(jnp.abs(p["d1"] + 14.0)), isotope="13C")


def holed():
    values = np.asarray(clean().intensity).copy()
    values[7] = np.nan
    return measured(values)


def cut(points):
    spectrum = clean()
    return jn.Spectrum(PPM[:points], PPM[:points] * 100.0, np.asarray(spectrum.intensity)[:points])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (without(model=elsewhere), "axis lies up to .* points .*measured.axis"),
        (without(model=lambda p: doublet(p), measured=cut(50)), "128 points, the measured one 50"),
        (without(measured=cut(4)), "4 points for 5 fitted numbers"),
        (
            without(noise_correlation=26.0),
            r"128 points \(4.923 independent ones, .* for 5 .* or give the noise",
        ),
        (without(measured=cut(4), priors=[Prior(lambda p: p["k"], 1e3, 1.0)]), r"4 points for 5 .* or give the noise"),
        (without(measured=holed()), r"1 of 128 points are not finite numbers, the first at 35.59\d* ppm"),
        (without(model=broken), "not finite at the start"),
        (without(model=steep), "derivative by d1, d2, k, lw is not finite"),
        (without(model=otherwise(150e6)), r"Larmor frequency is 1.5 times"),
        (without(model=otherwise(LARMOR, "17O")), "17O, the measured one of 13C"),
        (without(model=lambda p: [doublet(p), doublet(p)]), "in the same structure"),
        (without(model=lambda p: doublet(p).intensity), "jn.Spectrum"),
        (without(measured=np.ones(POINTS)), "give jn.Spectrum"),
        (without(start={**START, "k": -1.0}), r"'k' = \[-1.0\] lies outside LogRate"),
        (without(start={**START, "k": np.nan}), "'k' is nan"),
        (without(constraints={"kk": Positive()}), r"no parameter 'kk' \(did you mean 'k'"),
        (without(constraints={"k": Simplex()}), "ties all elements"),
        (without(fixed=("lw", "width")), "no parameter 'width'"),
        (without(fixed=tuple(START)), "nothing to fit"),
        (without(noise=-1.0), "standard deviation > 0"),
        (without(weights=-np.ones(POINTS)), "numbers >= 0"),
        (without(regions=(500.0, 400.0)), r"\(400, 500\) ppm has no point"),
        (without(regions=(40.0, 0.0, -20.0)), r"regions: got \(40.0, 0.0, -20.0\); give \(from, to\)"),
        (without(regions=[(40.0, np.nan)]), r"regions: got .*nan.*finite"),
        (without(regions=["left"]), r"regions: got \['left'\]; give \(from, to\)"),
        (without(regions=[]), r"regions: got \[\]; give \(from, to\)"),
        (
            without(model=lambda p: [doublet(p)] * 2, measured=[clean()] * 2, regions=[(40.0, 0.0), "left", None]),
            r"regions: got .*with such a choice per spectrum",
        ),
        (
            without(model=lambda p: [doublet(p)] * 2, measured=[clean()] * 2, regions=[(40.0, 0.0), "left"]),
            r"regions\[1\]: got 'left'; give \(from, to\)",
        ),
        (without(noise_correlation=0.5), "noise_correlation"),
        (
            without(priors=[Prior(lambda p: p["k"], 1e3, 1.0), Prior(lambda p: jnp.log(p["d1"]), 1.0, 1.0)]),
            r"priors\[1\]: at the start its function is nan",
        ),
        (
            without(priors=[Prior(lambda p: jnp.sqrt(p["d1"] + 14.0), 1.0, 1.0)]),
            r"priors\[0\]: at the start the derivative of its function",
        ),
    ],
)
def test_bad_input(arguments, message):
    """Named, with the remedy."""
    model, start, data = (arguments.pop(name) for name in ("model", "start", "measured"))
    with pytest.raises(ValueError, match=message):
        fit(model, start, data, **arguments)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Interval(2.0, 1.0), "low < high"),
        (lambda: LogRate(0.0, 1.0), "0 < low"),
        (lambda: Linear(baseline=50), "0 to 20"),
        (lambda: Linear(scale=None, phase=True), "needs scale='each'"),
        (lambda: LevenbergMarquardt(max_steps=0), "at least 1"),
        (lambda: LevenbergMarquardt(offset=0.0), "both are > 0"),
        (lambda: Prior(lambda p: p, 1.0, 0.0), "standard deviation is > 0"),
        (lambda: Prior(lambda p: p, np.nan, 1.0), "mean: got nan"),
    ],
)
def test_bad_choices(make, message):
    """Where the user builds them."""
    with pytest.raises(ValueError, match=message):
        make()


def test_unit_prints_as_written():
    """For messages."""
    assert [repr(c) for c in (Unit(), Interval(0, 2), Simplex(), Ordered(), Positive())] == [
        "Unit()",
        "Interval(0, 2)",
        "Simplex()",
        "Ordered()",
        "Positive()",
    ]
