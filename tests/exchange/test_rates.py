"""Rates: known prefactors, limits of the quantum ones, tunnelling, detailed balance, derivatives, and bad input."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

import jaxnmr as jn
from jaxnmr.dynamics import OMEGA, Surface, stationary, vibrations
from jaxnmr.exchange import rates
from jaxnmr.exchange.rates import REDUCED, Eckart, Wigner
from jaxnmr.units import BOLTZMANN_IN_EV, ELECTRON_VOLT, HBAR
from tests.systems.surfaces import MB_MINIMA, MB_PREFACTORS, MB_SADDLES, MULLER_BROWN, muller_brown, muller_brown_of


@pytest.fixture(scope="module")
def points():
    surface = Surface(muller_brown, masses=[1.0])
    return {name: vibrations(surface, np.array([x])) for name, (x, _) in {**MB_MINIMA, **MB_SADDLES}.items()}


def well(positions):
    """x⁴ double well along x, 0.4 eV high with minima at ±0.5 Å; stiffer across at the top than in the wells."""
    x, y = positions[0, 0], positions[0, 1]
    return 0.4 * ((2 * x) ** 2 - 1) ** 2 + 0.5 * (8.0 - 6.0 * (4 * x**2)) ** 2 / 8 * y**2


@pytest.fixture(scope="module")
def proton():
    surface = Surface(well, masses=[1.008])
    return [vibrations(surface, np.array([[x, 0.0]])) for x in (-0.5, 0.0, 0.5)]


def test_the_front_desk_has_it():
    assert jn.rates is rates and jn.dynamics.neb


def test_vineyard_prefactors(points):
    """Müller and Brown's surface for unit mass, to the digits that the points are given with."""
    for (minimum, saddle), expected in MB_PREFACTORS.items():
        barrier = MB_SADDLES[saddle][1] - MB_MINIMA[minimum][1]
        found = rates.htst(points[minimum], points[saddle], 20.0, units=REDUCED)
        np.testing.assert_allclose(found * np.exp(barrier / 20), expected, rtol=1e-9)


def test_seconds(proton):
    """One over seconds: the closed form of the double well, by its own second derivatives."""
    minimum, saddle, _ = proton
    temperature = np.array([200.0, 300.0])
    along, across_min, across_top = 12.8, 0.5 * (8 - 6) ** 2 / 4, 0.5 * 8**2 / 4
    attempt = np.sqrt(along / 1.008 * across_min / across_top) / (2 * np.pi) * OMEGA
    expected = attempt * np.exp(-0.4 / (BOLTZMANN_IN_EV * temperature))
    np.testing.assert_allclose(rates.htst(minimum, saddle, temperature), expected, rtol=1e-9)
    np.testing.assert_allclose(rates.htst(minimum, saddle, temperature, degeneracy=2), 2 * expected, rtol=1e-9)


def test_quantum_partition_functions(proton):
    """Classical at high temperature with the next term known, zero-point barrier at low."""
    minimum, saddle, _ = proton
    classical = rates.eyring(minimum, saddle, 300.0, quantum=False)
    np.testing.assert_allclose(classical, rates.htst(minimum, saddle, 300.0), rtol=1e-12)
    hot = 5e4
    quanta = HBAR * OMEGA / ELECTRON_VOLT * np.sqrt(np.array([*minimum.eigenvalues, saddle.eigenvalues[1]]))
    x2 = (quanta / (BOLTZMANN_IN_EV * hot)) ** 2
    # q/q_classical = 1 - x²/24 + O(x⁴) for each mode; x⁴ here is below 1e-6.
    ratio = float(rates.eyring(minimum, saddle, hot) / rates.htst(minimum, saddle, hot))
    assert abs(ratio - (1 + (x2[0] + x2[1] - x2[2]) / 24)) < 1e-6
    assert abs(ratio - 1) > 1e-5
    cold = 20.0
    barrier = 0.4 + (quanta[2] - quanta[0] - quanta[1]) / 2
    kt = BOLTZMANN_IN_EV * cold
    expected = kt / (2 * np.pi * HBAR / ELECTRON_VOLT) * np.exp(-barrier / kt)
    np.testing.assert_allclose(rates.eyring(minimum, saddle, cold), expected, rtol=1e-6)


def test_tunnelling_limits():
    """Eckart's κ tends to Wigner's for weak tunnelling, exceeds it for strong, and is near an independent quadrature."""
    quantum, forward, back = jnp.asarray(0.12), jnp.asarray(0.5), jnp.asarray(0.3)
    weak = jnp.asarray(1.2)
    eckart, wigner = (float(t.factor(quantum, weak, 20 * forward, 20 * back)) for t in (Eckart(), Wigner()))
    assert abs(eckart - wigner) < 1e-4 and wigner > 1 + 4e-4
    kt = jnp.asarray(0.02585)
    found = float(Eckart().factor(quantum, kt, forward, back))
    # Johnston and Heicklen's formula, written with a, b, d, on a fine grid.
    energy = np.linspace(0.2, 0.5 + 1.2, 200001)[1:]
    a1, a2 = (2 * np.pi * float(v) / 0.12 for v in (forward, back))
    share = 1 / (a1**-0.5 + a2**-0.5)
    a, b = 2 * np.sqrt(a1 * energy / 0.5) * share, 2 * np.sqrt((energy / 0.5 - 1) * a1 + a2) * share
    d = 2 * np.sqrt(a1 * a2 - np.pi**2 / 4)
    p = 1 - (np.cosh(a - b) + np.cosh(d)) / (np.cosh(a + b) + np.cosh(d))
    expected = np.trapezoid(p * np.exp((0.5 - energy) / float(kt)), energy) / float(kt)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert found > float(Wigner().factor(quantum, kt, forward, back))


def test_tunnelling_says_where_it_ends(proton):
    """ħω_b above 4 kT, and a barrier below one quantum, are warned of; between them nothing is said."""
    minimum, saddle, _ = proton
    with pytest.warns(rates.TunnellingWarning, match=r"above 4 the Wigner and Eckart"):
        rates.eyring(minimum, saddle, 100.0, tunnelling=Wigner())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rates.eyring(minimum, saddle, 500.0, tunnelling=Eckart())
    low = Surface(lambda r: 0.1 * well(r) + 0.9 * (well(r) - 0.4 * ((2 * r[0, 0]) ** 2 - 1) ** 2), masses=[1.008])
    flat = [vibrations(low, np.array([[x, 0.0]])) for x in (-0.5, 0.0)]
    with pytest.warns(rates.TunnellingWarning, match=r"quanta of its own frequency"):
        rates.eyring(*flat, 500.0, tunnelling=Wigner())


def test_graph_of_minima_keeps_detailed_balance(points):
    """Each way's rate equals Eyring's from its own side, and populations are those of the partition functions."""
    model = rates.exchange_model(
        [points[m] for m in "ABC"], {(0, 2): points["ts1"], (2, 1): points["ts2"]}, 20.0, units=REDUCED
    )
    back = rates.eyring(points["C"], points["ts1"], 20.0, units=REDUCED)
    np.testing.assert_allclose(model.rates[0, 2], back, rtol=1e-10)
    np.testing.assert_allclose(model.rates @ model.populations, 0, atol=1e-12)
    shares = rates.populations([points[m] for m in "ABC"], 20.0, units=REDUCED)
    np.testing.assert_allclose(model.populations, shares, rtol=1e-12)
    # Twice the saddle, twice the rate, the same populations.
    twice = rates.exchange_model(
        [points[m] for m in "ABC"], {(0, 2): [points["ts1"]] * 2, (2, 1): points["ts2"]}, 20.0, units=REDUCED
    )
    np.testing.assert_allclose(twice.rates[2, 0], 2 * model.rates[2, 0], rtol=1e-12)
    with pytest.raises(ValueError, match=r"name each pair once"):
        rates.exchange_model([points["A"], points["C"]], {(0, 1): points["ts1"], (1, 0): points["ts1"]}, 20.0, units=REDUCED)


def test_symmetry_numbers_scale(proton):
    """σ of the minimum multiplies the rate, σ of the saddle divides it, populations likewise."""
    minimum, saddle, product = proton
    plain = rates.eyring(minimum, saddle, 300.0)
    np.testing.assert_allclose(rates.eyring(minimum, saddle, 300.0, symmetry=3, saddle_symmetry=2), 1.5 * plain, rtol=1e-12)
    np.testing.assert_allclose(rates.populations([minimum, product], 300.0, symmetries=[1, 3]), [0.75, 0.25], rtol=1e-9)


def test_rate_differentiates_in_the_surface(points):
    """ln k of HTST by the implicit function theorem, through energies, positions and frequencies."""
    amplitudes = jnp.asarray(MULLER_BROWN["A"])
    starts = jnp.asarray([[MB_MINIMA["A"][0]], [MB_SADDLES["ts1"][0]]])

    @jax.jit
    def log_rate(a):
        surface = Surface(Partial(muller_brown_of, a), masses=[1.0])
        at = [vibrations(surface, stationary(surface, x)) for x in starts]
        return jnp.log(rates.htst(*at, 20.0, units=REDUCED))

    # Re-optimised by Newton steps here, not by the code under test.
    @jax.jit
    def again(a):
        surface = Surface(Partial(muller_brown_of, a), masses=[1.0])
        at = []
        for x in starts:
            for _ in range(3):
                h = jax.hessian(lambda r: muller_brown_of(a, r))(x).reshape(2, 2)
                x = x - jnp.linalg.solve(h, jax.grad(lambda r: muller_brown_of(a, r))(x).ravel()).reshape(1, 2)
            at.append(vibrations(surface, x))
        return jnp.log(rates.htst(*at, 20.0, units=REDUCED))

    gradient = jax.grad(log_rate)(amplitudes)
    h = 1e-3
    differences = [float(again(amplitudes + h * e) - again(amplitudes - h * e)) / (2 * h) for e in jnp.eye(4)]
    np.testing.assert_allclose(gradient, differences, atol=1e-7)
    # Without the frequencies' share: that of the barrier alone, which must not be enough.
    barrier = jax.grad(lambda a: (muller_brown_of(a, starts[0]) - muller_brown_of(a, starts[1])) / 20)(amplitudes)
    assert np.abs(np.asarray(barrier) - differences).max() > 1e-4


def test_arrhenius_and_its_fit():
    """Law and fit are each other's inverse; errors are those of repeated noise."""
    t = np.array([200.0, 250.0, 300.0, 400.0])
    k = np.asarray(rates.arrhenius(1e13, 0.3, t))
    np.testing.assert_allclose(k[2], 1e13 * np.exp(-0.3 / (8.617333262e-5 * 300)), rtol=1e-9)
    fit = rates.arrhenius_fit(t, k)
    np.testing.assert_allclose([fit.prefactor, fit.activation_energy], [1e13, 0.3], rtol=1e-9)
    rng = np.random.default_rng(0)
    fits = [rates.arrhenius_fit(t, k * np.exp(0.1 * rng.normal(size=4)), 0.1 * k) for _ in range(400)]
    spread = np.std([[np.log(f.prefactor), f.activation_energy] for f in fits], axis=0)
    # 400 draws know a standard deviation to 3.5 %; three times that.
    np.testing.assert_allclose([fits[0].prefactor_stderr, fits[0].energy_stderr], spread, rtol=0.11)
    with pytest.raises(ValueError, match=r"give at least 3, or stderr with two"):
        rates.arrhenius_fit([200.0, 300.0], [1.0, 2.0])
    with pytest.raises(ValueError, match=r"rate: must be finite and > 0"):
        rates.arrhenius_fit(t, k * np.array([1, 1, 1, 0]))


def test_bad_input_is_named(points):
    with pytest.raises(ValueError, match=r"temperature: got 0.0"):
        rates.htst(points["A"], points["ts1"], 0.0)
    with pytest.raises(ValueError, match=r"temperature: got -5"):
        rates.populations([points["A"]], -5.0)
    with pytest.raises(ValueError, match=r"saddle: has 0 negative modes, but needs 1.*dimer"):
        rates.htst(points["A"], points["C"], 20.0)
    with pytest.raises(ValueError, match=r"minimum: has 1 negative modes, but needs 0.*minimise"):
        rates.eyring(points["ts2"], points["ts1"], 20.0)
    with pytest.raises(ValueError, match=r"saddle: its energy is .* below"):
        rates.htst(points["C"], _shifted(points["ts1"], -100.0), 20.0)
    with pytest.raises(ValueError, match=r"transmission: got 1.5"):
        rates.eyring(points["A"], points["ts1"], 20.0, transmission=1.5)


def _shifted(point, energy):
    import equinox as eqx

    return eqx.tree_at(lambda p: p.energy, point, point.energy + energy)
