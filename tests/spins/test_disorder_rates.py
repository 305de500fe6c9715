"""Distributions of rates and barriers, and averages over them."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

import jaxnmr as jn
from jaxnmr.spins import RateDistribution, barrier_rates, log_normal_rates, quadrature_error
from jaxnmr.units import BOLTZMANN_IN_EV

# The same coarse powder on both sides of a comparison.
pytestmark = pytest.mark.filterwarnings("ignore::jaxnmr.errors.ResolutionWarning")

AXIS = jn.Axis(hz=(-8e3, 8e3), points=128)
SIZES = jn.Resolution(orientations=400, samples=256)


def exchanging(k):
    """A static 13C line of two places, k jumps a second each way."""
    shift = jn.shift_tensor(0.0, 60.0, 0.0, ((0.0, 0.0), (0.0, 1.2), (0.0, 0.0)))
    return jn.simulate(
        jn.Sites("13C", shift),
        jn.Static(9.4),
        AXIS,
        exchange=jn.ExchangeModel.from_rates({(0, 1): k, (1, 0): k}, n_sites=2),
        linewidth=300.0,
        resolution=SIZES,
    )


def test_log_normal_moments():
    """Mean and spread of log10 k, and the mean rate k exp((s ln 10)^2 / 2)."""
    found = log_normal_rates(1e4, 0.5, nodes=32)
    log = np.log10(np.asarray(found.rates))
    weights = np.asarray(found.weights)
    assert weights @ log == pytest.approx(4.0, abs=1e-12)
    assert np.sqrt(weights @ (log - 4) ** 2) == pytest.approx(0.5, rel=1e-12)
    # The mean rate lies 1.15 deviations up, so the ends at 4.5 deviations leave 4e-4 of it out; without its factor: half.
    assert weights @ np.asarray(found.rates) == pytest.approx(1e4 * np.exp((0.5 * np.log(10)) ** 2 / 2), rel=5e-3)


def test_barriers_are_log_normal():
    """Arrhenius at the mean barrier, and s / (k_B T ln 10) decades, half of it at twice the temperature."""
    for temperature in (150.0, 300.0):
        found = barrier_rates(0.3, 0.03, temperature, 1e12)
        kt = 8.617333262e-5 * temperature
        same = log_normal_rates(1e12 * np.exp(-0.3 / kt), 0.03 / (kt * np.log(10)))
        # 1e-8 of the barrier over kT is what the constant's digits leave.
        np.testing.assert_allclose(found.rates[::-1], same.rates, rtol=1e-6)
        np.testing.assert_allclose(found.weights[::-1], same.weights, rtol=1e-12)


def test_mean_of_a_known_function():
    """The mean of cos(ln k) over a log-normal distribution is cos(ln k0) exp(-s^2/2), s in natural units."""
    decades, k = 0.6, 3e3
    got = log_normal_rates(k, decades, nodes=24).mean(
        lambda k: (jnp.cos(jnp.log(k)), jax.lax.complex(jnp.cos(jnp.log(k)), jnp.sin(jnp.log(k))))
    )
    size = np.exp(-((decades * np.log(10)) ** 2) / 2)
    # What lies beyond the ends is 1e-5, and its variance, put into the rest, 5e-5.
    assert float(got[0]) == pytest.approx(np.cos(np.log(k)) * size, abs=2e-4)
    assert complex(got[1]) == pytest.approx(np.exp(1j * np.log(k)) * size, abs=2e-4)


def test_mean_spectrum_is_the_sum_of_spectra():
    """One vmapped call equals spectra simulated one by one; it is a Spectrum, its axis as it was."""
    rates = log_normal_rates(3e4, 1.0, nodes=3)
    calls = []

    def line(k):
        calls.append(k)
        return exchanging(k)

    mean = rates.mean(line)
    assert len(calls) == 1
    assert isinstance(mean, jn.Spectrum)
    singles = [np.asarray(exchanging(k).intensity) for k in np.asarray(rates.rates)]
    expected = np.asarray(rates.weights) @ singles
    np.testing.assert_allclose(mean.intensity, expected, atol=1e-9 * expected.max())
    np.testing.assert_allclose(mean.hz, np.linspace(-8e3, 8e3, 128), rtol=1e-12, atol=1e-9)
    # It is not the spectrum of the mean rate, nor of the median.
    assert np.linalg.norm(expected - singles[1]) > 0.02 * np.linalg.norm(expected)


K_0 = np.logspace(2, 7, 64)


def narrowed(k):
    """As sharp as motion makes lines: the part of a tensor that is averaged, at 64 splittings."""
    return 1 / (1 + (jnp.asarray(K_0) / k) ** 2)


def test_mean_gradient():
    """In every parameter of a distribution of barriers, both modes, against differences."""

    def average(barrier, deviation, temperature, prefactor):
        return barrier_rates(barrier, deviation, 100 * temperature, 1e12 * prefactor, nodes=5).mean(narrowed)

    at = tuple(jnp.asarray(x) for x in (0.45, 0.03, 3.0, 1.0))
    check_grads(jax.jit(average), at, order=1, modes=("fwd", "rev"), rtol=1e-4, eps=1e-5)


def test_sixteen_nodes_for_a_decade():
    """As documented; three nodes are far from enough."""
    error = lambda count: quadrature_error(lambda n: log_normal_rates(3e4, 1.0, nodes=n).mean(narrowed), count)  # noqa: E731
    assert error(16)[0] < 1e-3
    assert error(3)[0] > 1e-2


def test_negative_barriers_warn():
    with pytest.warns(jn.errors.JaxnmrWarning, match="barriers are negative"):
        barrier_rates(0.05, 0.04, 300.0, 1e12)


def test_constants_are_checked_under_jit():
    """What the user wrote is checked although a jitted function makes arrays of it; traced values pass."""
    with pytest.raises(ValueError, match="temperature: got -1"):
        jax.jit(lambda e: barrier_rates(e, 0.01, -1.0, 1e12).rates)(0.3)
    rates = jax.jit(lambda t: barrier_rates(0.3, 0.01, t, 1e12, nodes=1).rates)(300.0)
    assert float(rates[0]) == pytest.approx(1e12 * np.exp(-0.3 / (BOLTZMANN_IN_EV * 300)), rel=1e-9)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: log_normal_rates(0.0, 1.0), "k: got 0.0"),
        (lambda: log_normal_rates(np.inf, 1.0), "k: got inf"),
        (lambda: log_normal_rates(1e3, -1.0), "decades: got -1.0"),
        (lambda: log_normal_rates([1e3, 1e4], 1.0), "k: got shape"),
        (lambda: log_normal_rates(1e3, 1.0, nodes=0), "nodes: got 0"),
        (lambda: barrier_rates(-0.1, 0.01, 300.0, 1e12), "barrier: got -0.1"),
        (lambda: barrier_rates(0.1, -0.01, 300.0, 1e12), "deviation: got -0.01"),
        (lambda: barrier_rates(0.1, 0.01, 0.0, 1e12), "temperature: got 0.0"),
        (lambda: barrier_rates(0.1, 0.01, 300.0, -1.0), "prefactor: got -1.0"),
        (lambda: RateDistribution([1.0, 2.0], [1.0]), "weights: shape"),
        (lambda: RateDistribution([1.0, -2.0], [0.5, 0.5]), "rates: got"),
        (lambda: RateDistribution([1.0, 2.0], [0.5, 0.6]), "weights: the sum is 1.1"),
    ],
)
def test_bad_input(call, words):
    with pytest.raises(ValueError, match=words):
        call()
