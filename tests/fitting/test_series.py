"""Activation laws, and which of two models."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnmr.fitting import LogRate, Positive, arrhenius, boltzmann, compare, eyring, fit, residual_test
from jaxnmr.units import BOLTZMANN, PLANCK
from tests.systems.doublet import POINTS, START, TRUTH, clean, doublet, measured, noisy

RATES = {"k": LogRate(), "lw": Positive()}
SIGMA = 0.02


def test_arrhenius():
    """At T = E_a/k_B the rate is A/e; 1 eV is 11604.5 K."""
    np.testing.assert_allclose(arrhenius(11604.518, 13.0, 1.0), 1e13 / math.e, rtol=1e-6)
    np.testing.assert_allclose(arrhenius(np.array([11604.518]), 13.0, 0.5), [1e13 * math.exp(-0.5)], rtol=1e-6)


def test_eyring():
    """Without enthalpy and entropy, k_B T/h (6.2e12 at 298 K); R ln 10 of entropy is a decade."""
    np.testing.assert_allclose(eyring(298.15, 0.0, 0.0), BOLTZMANN * 298.15 / PLANCK, rtol=1e-12)
    np.testing.assert_allclose(eyring(298.15, 0.0, 19.1448) / eyring(298.15, 0.0, 0.0), 10.0, rtol=1e-5)
    # 57.08 kJ/mol are ten decades at 298.15 K: R T ln 10 = 5.708 kJ/mol.
    np.testing.assert_allclose(eyring(298.15, 57.0801, 0.0) / eyring(298.15, 0.0, 0.0), 1e-10, rtol=1e-4)


def test_boltzmann():
    """Equal at zero; R T ln 3 above, a ratio of three."""
    np.testing.assert_allclose(boltzmann(300.0, 0.0), [0.5, 0.5])
    np.testing.assert_allclose(boltzmann(300.0, 8.314463e-3 * 300.0 * math.log(3.0)), [0.75, 0.25], rtol=1e-6)
    np.testing.assert_allclose(boltzmann(300.0, np.array([0.0, 1e3])), [0.5, 0.5, 0.0], atol=1e-12)


TEMPERATURES = (230.0, 250.0, 270.0, 290.0, 310.0)


def series(p):
    """Five temperatures by one law."""
    return [doublet({**p["line"], "k": arrhenius(t, p["log_a"], p["e_a"])}) for t in TEMPERATURES]


def test_activation_energy_from_a_series():
    """A poor start to E_a and lg A, with errors that hold for this draw and a correlation near one."""
    truth = {"log_a": 12.0, "e_a": 0.42}
    rates = [float(arrhenius(t, truth["log_a"], truth["e_a"])) for t in TEMPERATURES]
    assert 1e3 / rates[0] > 1 and rates[-1] > 1e4  # slow to fast
    data = [noisy(clean(k=k), SIGMA, i) for i, k in enumerate(rates)]
    line = {name: START[name] for name in ("d1", "d2", "lw")}
    found = fit(series, {"line": line, "log_a": 11.0, "e_a": 0.35}, data, constraints={"line.lw": Positive()})
    for name, value in truth.items():
        assert abs(float(found.params[name]) - value) < 3.5 * float(found.stderr[name])
    i, j = found.names.index("log_a"), found.names.index("e_a")
    assert found.correlation[i, j] > 0.9 and 0 < float(found.stderr["e_a"]) < 0.02


def single(p):
    """One line: what two become when they are not told apart."""
    return doublet({"d1": p["d"], "d2": p["d"], "k": jnp.zeros_like(p["d"]), "lw": p["lw"]})


def test_criteria_choose_the_right_number_of_sites():
    """Two lines, one model each: exchange is chosen where it is; one line where two are one."""
    two = noisy(clean(), SIGMA, 1)
    one_line = noisy(clean(d1=0.0, d2=0.0), SIGMA, 2)
    for data, best in ((two, "exchange"), (one_line, "one line")):
        exchange = fit(doublet, {**TRUTH, "k": 3e3}, data, constraints=RATES, bounds=False, throw=False)
        lone = fit(single, {"d": 0.5, "lw": 500.0}, data, constraints={"lw": Positive()}, bounds=False)
        table = compare(exchange, lone, labels=("exchange", "one line"))
        assert table.best == best and table.parameters == (5, 3)
        assert table.weights[("exchange", "one line").index(best)] > 0.7
        assert best in repr(table)


def test_criteria_by_hand():
    """AIC and BIC of least squares: n ln(chi2/n) + 2k and k ln n, up to a constant; the noise is one more number."""
    found = fit(doublet, START, noisy(clean(), SIGMA, 1), constraints=RATES)
    n, k = POINTS, 6
    likelihood = n * math.log(found.chi2 / n)
    assert found.aic == pytest.approx(likelihood + 2 * k) and found.bic == pytest.approx(likelihood + k * math.log(n))
    assert found.aicc == pytest.approx(found.aic + 2 * k * (k + 1) / (n - k - 1))
    known = fit(doublet, START, noisy(clean(), SIGMA, 1), constraints=RATES, noise=SIGMA)
    assert known.aic == pytest.approx(known.chi2 + 2 * 5)


def test_compare_refuses():
    """Other data."""
    first = fit(doublet, START, noisy(clean(), SIGMA, 1), constraints=RATES)
    second = fit(doublet, START, noisy(clean(), SIGMA, 2), constraints=RATES)
    with pytest.raises(ValueError, match="different data"):
        compare(first, second)
    with pytest.raises(ValueError, match="at least two"):
        compare(first)
    with pytest.raises(ValueError, match="labels"):
        compare(first, first, labels=["a"])


def test_data_in_tiny_units_are_told_apart():
    """Intensities of 1e-12, as of some instruments: other noise is other data, single precision is not."""
    fits = [fit(doublet, START, tiny(noisy(clean(), SIGMA, seed)), constraints=RATES) for seed in (1, 2)]
    with pytest.raises(ValueError, match="different data"):
        compare(*fits)
    rounded = fit(doublet, START, tiny(noisy(clean(), SIGMA, 1), np.float32), constraints=RATES)
    assert compare(fits[0], rounded).labels == ("model 1", "model 2")


def tiny(spectrum, dtype=np.float64):
    """The same with other intensities."""
    values = (1e-12 * np.asarray(spectrum.intensity)).astype(dtype)
    return measured(values.astype(np.float64))


def test_residual_of_noise_and_of_a_misfit():
    """Independent noise passes; a second line that the model lacks does not."""
    good = residual_test(fit(doublet, START, noisy(clean(), SIGMA, 3), constraints=RATES))
    assert good.runs_p > 0.01 and good.autocorrelation_p > 0.01 and abs(good.durbin_watson - 2) < 0.6
    lone = fit(single, {"d": 5.0, "lw": 2000.0}, noisy(clean(), SIGMA, 3), constraints={"lw": Positive()})
    bad = residual_test(lone)
    assert bad.runs_p < 1e-6 and bad.autocorrelation_p < 1e-6 and bad.durbin_watson < 1 and bad.correlation > 2


@pytest.mark.filterwarnings("ignore:fit. not determined")
def test_residual_correlation_is_that_of_the_noise():
    """Noise over three points: the sum of its autocorrelation."""
    kernel = np.array([0.25, 0.5, 0.25]) / np.sqrt(0.375)
    estimates = []
    for seed in range(10):
        noise = np.convolve(np.random.default_rng(seed).normal(size=POINTS + 2), kernel, "valid")
        data = measured(np.asarray(clean().intensity) + SIGMA * noise)
        estimates.append(residual_test(fit(doublet, START, data, constraints=RATES)).correlation)
    # The truth is 2.67; estimates stop at the first lag that is not significant, and five numbers were fitted.
    assert 2.0 < np.mean(estimates) < 3.0


def test_gradients_of_the_laws():
    """Against differences."""
    from jax.test_util import check_grads

    check_grads(lambda a, e: jnp.log(arrhenius(300.0, a, e)), (jnp.asarray(12.0), jnp.asarray(0.4)), 1, rtol=1e-6)
    check_grads(lambda h, s: jnp.log(eyring(300.0, h, s)), (jnp.asarray(40.0), jnp.asarray(5.0)), 1, rtol=1e-6)
    assert np.isfinite(jax.grad(lambda e: boltzmann(300.0, e)[1])(1.0))
