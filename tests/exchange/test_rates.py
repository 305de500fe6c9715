"""Rates: known prefactors, limits of the quantum ones, tunnelling, detailed balance, derivatives, and bad input."""

import dataclasses
import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

import jaxnmr as jn
from jaxnmr.dynamics import OMEGA, Surface, dimer, minimise, stationary, vibrations
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


def transmitted(quantum, forward, back, energies):
    """Shares of waves that pass the Eckart barrier, by Numerov's steps through Schrödinger's equation."""
    # V = A y/(1+y) + B y/(1+y)², y = exp(x): heights V1 and V2 from its sides.
    a, b = forward - back, (forward**0.5 + back**0.5) ** 2
    x, h = np.linspace(-32.0, 32.0, 16001, retstep=True)
    y = np.exp(x)
    v = a * y / (1 + y) + b * y / (1 + y) ** 2
    top = int(np.argmax(v))
    np.testing.assert_allclose(v[top], forward, rtol=1e-5)
    # The unit of length and the mass are free: ħ²/2m follows from the curvature, ħω_b being given.
    curvature = -(v[top + 1] - 2 * v[top] + v[top - 1]) / h**2
    half = quantum**2 / (2 * curvature)
    f = (energies[:, None] - v) / half
    k_in, k_out = np.sqrt(energies / half), np.sqrt((energies - a) / half)
    # From the wave that has passed, back to those that came and were thrown back.
    w = 1 + h**2 / 12 * f
    psi, after = np.exp(1j * k_out * x[-2]), np.exp(1j * k_out * x[-1])
    for i in range(len(x) - 2, 0, -1):
        psi, after = ((12 - 10 * w[:, i]) * psi - w[:, i + 1] * after) / w[:, i - 1], psi
    ahead, behind = np.exp(1j * k_in * x[0]), np.exp(1j * k_in * x[1])
    came = (psi / ahead.conj() - after / behind.conj()) / (ahead / ahead.conj() - behind / behind.conj())
    return k_out / k_in / np.abs(came) ** 2


@pytest.mark.parametrize(("quantum", "forward", "back", "kt"), [(0.16, 0.4, 0.4, 0.02585), (0.12, 0.5, 0.3, 0.02585)])
def test_eckart_is_the_average_of_what_waves_do(quantum, forward, back, kt):
    """κ of a symmetric and of a skewed barrier from Schrödinger's equation, with nothing of the closed form in it."""
    bottom = max(0.0, forward - back)
    nodes, weights = np.polynomial.legendre.leggauss(60)
    total = 0.0
    for low, high in ((bottom, forward), (forward, forward + 25 * kt)):
        energy = low + (high - low) * (1 + nodes) / 2
        passed = transmitted(quantum, forward, back, energy)
        total += (high - low) / 2 * np.sum(weights * passed * np.exp((forward - energy) / kt)) / kt
    found = float(Eckart().factor(*(jnp.asarray(number) for number in (quantum, kt, forward, back))))
    np.testing.assert_allclose(found, total, rtol=1e-3)
    assert found > 2


def test_no_barrier_is_left_with_zero_point_energies(proton):
    """With or without a correction the saddle below the well is told; so is a rate above kT/h; classical nuclei are not."""

    def shallow(height, top):
        # 4 y² across in the wells, top y² across at the top.
        def energy(r):
            x, y = r[0, 0], r[0, 1]
            return height * (4 * x**2 - 1) ** 2 + (4.0 + (top - 4.0) * (1 - 4 * x**2)) * y**2

        return [vibrations(Surface(energy, masses=[1.008]), np.array([[x, 0.0]])) for x in (-0.5, 0.0)]

    flat = shallow(0.01, 4.0)
    # 10 meV less half of ħω = 64.65 meV sqrt(0.32/1.008).
    for correction in (None, Wigner()):
        with pytest.warns(rates.TunnellingWarning, match=r"zero-point energies the saddle lies 0.00821 below a minimum"):
            rates.eyring(*flat, 200.0, tunnelling=correction)
    with pytest.warns(rates.TransitionStateWarning, match=r"exceeds kT/h at 800 K .*counted_rates"):
        rates.eyring(*shallow(0.2, 0.1), np.array([800.0, 1000.0]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rates.eyring(*flat, 40.0, quantum=False)
        rates.htst(*flat, 40.0)
        rates.eyring(*proton[:2], np.array([300.0, 1000.0]))


def test_points_of_other_atoms_and_far_from_stationary(proton):
    """Another isotope, another element or another number of atoms is refused, a force is warned of."""
    minimum, saddle, product = proton
    heavy = [vibrations(Surface(well, masses=[2.014]), np.array([[x, 0.0]])) for x in (-0.5, 0.0)]
    for call, message in (
        (lambda: rates.htst(minimum, heavy[1], 300.0), r"saddle: atom 0 weighs 2.014, but 1.008 in minimum"),
        (lambda: rates.eyring(heavy[0], saddle, 300.0), r"saddle: atom 0 weighs 1.008, but 2.014 in minimum"),
        (lambda: rates.eyring(minimum, saddle, 300.0, product=heavy[0]), r"product: an atom weighs 2.014"),
        (lambda: rates.populations([minimum, heavy[0]], 300.0), r"minima\[1\]: an atom weighs 2.014"),
        (lambda: rates.exchange_model([minimum, product], {(0, 1): heavy[1]}, 300.0), r"saddle: atom 0 weighs 2.014"),
        (lambda: rates.htst(_named(minimum, "H"), _named(saddle, "He"), 300.0), r"saddle: its elements are not those of"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    pulled = eqx.tree_at(lambda p: p.max_force, saddle, jnp.asarray(0.3))
    with pytest.warns(jn.errors.JaxnmrWarning, match=r"saddle: a force is 0.3 eV/Å there"):
        rates.htst(minimum, pulled, 300.0)
    with pytest.warns(jn.errors.JaxnmrWarning, match=r"minima\[1\]: a force is 0.3 eV/Å there"):
        rates.populations([minimum, eqx.tree_at(lambda p: p.max_force, product, jnp.asarray(0.3))], 300.0)


def test_shares_and_ways_for_each_temperature(proton):
    """Transmission and degeneracy as arrays, as long as the temperatures."""
    minimum, saddle, _ = proton
    t, plain = np.array([200.0, 300.0]), rates.eyring(*proton[:2], np.array([200.0, 300.0]))
    found = rates.eyring(minimum, saddle, t, transmission=np.array([0.5, 0.8]), degeneracy=np.array([1.0, 2.0]))
    np.testing.assert_allclose(found, np.array([0.5, 1.6]) * plain, rtol=1e-12)
    classical = rates.htst(minimum, saddle, t, degeneracy=np.array([1.0, 2.0]))
    np.testing.assert_allclose(classical, np.array([1.0, 2.0]) * rates.htst(minimum, saddle, t), rtol=1e-12)
    with pytest.raises(ValueError, match=r"transmission: got \[0.5 1.2\]"):
        rates.eyring(minimum, saddle, t, transmission=np.array([0.5, 1.2]))


# Zero-point energies with an ħ of 1 are larger than the low barrier of this surface.
@pytest.mark.filterwarnings("ignore:tunnelling. with zero-point energies")
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


def springs(lengths):
    """Three atoms of 16, 12 and 16 amu joined by springs of 20 eV/Å² along all three sides."""

    def energy(r):
        sides = jnp.stack([jnp.sqrt(jnp.sum((r[i] - r[j]) ** 2)) for i, j in ((0, 1), (1, 2), (0, 2))])
        return 10.0 * jnp.sum((sides - jnp.asarray(lengths)) ** 2)

    return Surface(energy, masses=[16.0, 12.0, 16.0])


# ħ²/2k of 1 amu Å², K.
ROTOR = HBAR**2 / (2 * 1.66053906892e-27 * 1e-20 * 1.380649e-23)


def test_the_rotor_of_a_bent_and_of_a_linear_molecule():
    """q_rot in closed form, by moments of inertia that are summed by hand."""
    h, t = 0.5, np.array([200.0, 300.0])
    side = np.sqrt(1 + h**2)
    bent = vibrations(springs([side, side, 2.0]), np.array([[-1.0, 0, 0], [0, h, 0], [1.0, 0, 0]]))
    # The centre lies at y = 12 h/44; the moment about x is that of a reduced mass, about y that of the two ends.
    about_x, about_y = 32 * 12 / 44 * h**2, 32.0
    q = np.sqrt(np.pi) * (t / ROTOR) ** 1.5 * np.sqrt(about_x * about_y * (about_x + about_y))
    quanta = np.asarray(bent.omega)[3 + 3 :] * HBAR * OMEGA / 1.380649e-23
    expected = np.log(q) - np.log(2 * np.sinh(quanta / (2 * t[:, None]))).sum(axis=1)
    assert int(bent.n_rigid) == 6
    np.testing.assert_allclose(rates.log_partition(bent, t, zero=bent.energy), expected, rtol=1e-7)
    stick = vibrations(
        Surface(lambda r: 15.0 * (jnp.sqrt(jnp.sum((r[1] - r[0]) ** 2)) - 1.2) ** 2, masses=[12.0, 16.0]),
        np.array([[0.0, 0, 0], [0, 0, 1.2]]),
    )
    quantum = np.sqrt(30 / (12 * 16 / 28)) * HBAR * OMEGA / 1.380649e-23
    expected = np.log(t / ROTOR * 12 * 16 / 28 * 1.44) - np.log(2 * np.sinh(quantum / (2 * t)))
    np.testing.assert_allclose(rates.log_partition(stick, t, zero=stick.energy), expected, rtol=1e-7)


def bends(r):
    """Two bonds of 1 Å in a line, or bent until the cosine between them is about 0.2."""
    a, b = r[1] - r[0], r[2] - r[1]
    lengths = [jnp.sqrt(jnp.sum(v**2)) for v in (a, b)]
    cosine = jnp.sum(a * b) / lengths[0] / lengths[1]
    bonds = sum((length - 1.0) ** 2 for length in lengths)
    # u = 1 - cos: minima at 0, of slope 0.5, and at 0.8; a top between.
    u = 1 - cosine
    return 15.0 * bonds + u * (u - 0.8) ** 2 / 0.64 * 0.5 + 0.02 * u


def test_linear_and_bent_points_of_one_molecule():
    """Shares and rates between a linear and a bent minimum: each with its own rotor and its own vibrations."""
    surface = Surface(bends, masses=[16.0, 12.0, 16.0])

    def at(angle):
        return np.array([[-np.cos(angle / 2), -np.sin(angle / 2), 0], [0.0] * 3, [np.cos(angle / 2), -np.sin(angle / 2), 0]])

    bent = minimise(surface, at(np.arccos(0.2)), max_force=1e-9)
    top = dimer(surface, at(np.arccos(0.75)), max_force=1e-9, sides=False)
    straight, low, high = (vibrations(surface, r) for r in (at(0.0), bent.positions, top.positions))
    assert [int(p.n_rigid) for p in (straight, low, high)] == [5, 6, 6]
    t = 250.0

    def classical(point, skipped):
        """Q without translation, by NumPy: vibrations counted from the whole matrix, the moments from its atoms."""
        r, m = np.asarray(point.positions), np.array([16.0, 12.0, 16.0])
        arm = r - m @ r / m.sum()
        moments = np.linalg.eigvalsh(np.einsum("a,ab->", m, arm**2) * np.eye(3) - (arm * m[:, None]).T @ arm)
        root = np.repeat(np.sqrt(m), 3)
        values = np.linalg.eigvalsh(np.asarray(point.hessian) / root[:, None] / root[None])
        values = values[np.argsort(np.abs(values))][skipped:]
        quanta = np.sqrt(values[values > 0]) * HBAR * OMEGA / 1.380649e-23
        rotor = t / ROTOR * moments[-1] if skipped == 5 else np.sqrt(np.pi * np.prod(moments)) * (t / ROTOR) ** 1.5
        return rotor * np.prod(t / quanta) * np.exp(-float(point.energy) / (BOLTZMANN_IN_EV * t))

    q = [classical(p, k) for p, k in ((straight, 5), (low, 6), (high, 6))]
    shares = rates.populations([straight, low], t, quantum=False)
    np.testing.assert_allclose(shares[1] / shares[0], q[1] / q[0], rtol=1e-6)
    k = rates.eyring(straight, high, t, product=low, quantum=False)
    np.testing.assert_allclose(k, BOLTZMANN_IN_EV * ELECTRON_VOLT * t / (2 * np.pi * HBAR) * q[2] / q[0], rtol=1e-6)
    model = rates.exchange_model([straight, low], {(0, 1): high}, t, quantum=False)
    back = rates.eyring(low, high, t, quantum=False)
    np.testing.assert_allclose(model.rates[0, 1], back, rtol=1e-6)
    with pytest.raises(ValueError, match=r"saddle: 3 vibrations for a minimum of 4"):
        rates.htst(straight, high, t)
    crystal = lambda p: eqx.tree_at(lambda p: p.inertia, p, None)  # noqa: E731
    for call in (
        lambda: rates.populations([straight, crystal(low)], t),
        lambda: rates.eyring(low, crystal(high), t),
        lambda: rates.eyring(low, high, t, product=crystal(straight)),
    ):
        with pytest.raises(ValueError, match=r"must treat rigid motion alike \(take both with one rigid="):
            call()


def _named(point, symbol):
    return dataclasses.replace(point, species=(symbol,))


def _shifted(point, energy):
    return eqx.tree_at(lambda p: p.energy, point, point.energy + energy)
