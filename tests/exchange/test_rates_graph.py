"""Rates that belong to a graph or to the cold: heights on both sides, symmetry numbers, single precision, a cell."""

import itertools
import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnmr.dynamics import Surface, stationary, vibrations
from jaxnmr.exchange import rates
from jaxnmr.exchange.rates import Eckart, Wigner
from jaxnmr.units import BOLTZMANN_IN_EV


def well(positions):
    """Minima at ±0.5 Å, 0.4 eV below the saddle; the right one is softer across."""
    x, y = positions[0, 0], positions[0, 1]
    return 0.4 * (4 * x**2 - 1) ** 2 + (6.0 - 2.0 * x) * y**2


@pytest.fixture(scope="module")
def points():
    surface = Surface(well, masses=[1.008])
    return [vibrations(surface, np.array([[x, 0.0]])) for x in (-0.5, 0.0, 0.5)]


def raised(point, energy):
    return eqx.tree_at(lambda p: p.energy, point, point.energy + energy)


def single(point):
    """The same numbers in single precision."""
    return jax.tree.map(lambda x: x.astype(jnp.float32) if jnp.issubdtype(x.dtype, jnp.floating) else x, point)


def test_a_saddle_below_the_product_is_refused(points):
    """On either side, and with the pair's name in a graph."""
    left, saddle, right = points
    high = raised(right, 0.5)
    with pytest.raises(ValueError, match=r"saddle: its energy is 0.1 below that of the product"):
        rates.eyring(left, saddle, 300.0, product=high)
    with pytest.raises(ValueError, match=r"saddles\[0, 1\]: saddle: its energy is 0.1 below that of the product"):
        rates.exchange_model([left, high], {(0, 1): saddle}, 300.0)


def test_a_rate_back_above_kt_over_h_is_told(points):
    """Over 1 meV on the far side: told both ways round, of classical nuclei too; nothing is said of the whole barrier."""
    left, saddle, right = points
    high = raised(right, 0.399)
    with pytest.warns(rates.TransitionStateWarning, match=r"rate back from the product: exceeds kT/h at 300 K"):
        rates.exchange_model([left, high], {(0, 1): saddle}, 300.0, quantum=False)
    with pytest.warns(rates.TransitionStateWarning, match=r"rate: exceeds kT/h at 300 K"):
        rates.exchange_model([left, high], {(1, 0): saddle}, 300.0, quantum=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rates.exchange_model([left, right], {(0, 1): saddle}, 300.0, quantum=False)


def test_symmetry_numbers_and_shares_keep_detailed_balance(points):
    """Each way's rate is Eyring's from its own side with its own numbers, though only one way is computed."""
    left, saddle, right = points
    model = rates.exchange_model(
        [left, right],
        {(0, 1): [saddle, saddle]},
        600.0,
        tunnelling=Wigner(),
        symmetries=[1, 3],
        saddle_symmetries={(0, 1): [1, 2]},
        transmission={(0, 1): 0.7},
    )
    for i, (well, other, number) in enumerate(((left, right, 1), (right, left, 3))):
        given = dict(product=other, tunnelling=Wigner(), symmetry=number, transmission=0.7)
        expected = sum(rates.eyring(well, saddle, 600.0, saddle_symmetry=turn, **given) for turn in (1, 2))
        np.testing.assert_allclose(model.rates[1 - i, i], expected, rtol=1e-10)
    np.testing.assert_allclose(model.populations, rates.populations([left, right], 600.0, symmetries=[1, 3]), rtol=1e-12)
    for wrong, message in (
        (dict(transmission={(1, 0): 0.7}), r"transmission: \(1, 0\) is no key of saddles; those are \(0, 1\)"),
        (dict(saddle_symmetries={(0, 1): [1, 2]}), r"saddle_symmetries\[0, 1\]: 2 came for 1 saddles"),
        (dict(saddle_symmetries={(0, 1): 0}), r"saddles\[0, 1\]: symmetry: got 0; a symmetry number is > 0"),
        (dict(symmetries=[1]), r"symmetries: 1 came for 2 minima"),
        (dict(transmission={(0, 1): 1.2}), r"saddles\[0, 1\]: transmission: got 1.2"),
    ):
        with pytest.raises(ValueError, match=message):
            rates.exchange_model([left, right], {(0, 1): saddle}, 600.0, **wrong)


@pytest.mark.filterwarnings("ignore:tunnelling. hbar omega_b / kT reaches")
def test_eckart_where_its_factor_is_beyond_single_precision(points):
    """A high barrier in the cold: the logarithm and the rate are those of double precision, where κ is infinite."""
    kt = 50.0 * BOLTZMANN_IN_EV
    numbers = [jnp.asarray(x) for x in (0.2, kt, 0.6, 0.5)]
    exact = Eckart().log_factor(*numbers)
    np.testing.assert_allclose(exact, np.log(Eckart().factor(*numbers)), rtol=1e-12)
    found = Eckart().log_factor(*(x.astype(jnp.float32) for x in numbers))
    # Exponents of 140 in seven digits; κ itself is beyond e^88.7, where single precision ends.
    np.testing.assert_allclose(found, exact, atol=1e-4)
    assert exact > 88.8 and found.dtype == jnp.float32
    left, saddle, right = (raised(point, 0.2 * (i == 1)) for i, point in enumerate(points))
    cold = rates.eyring(left, saddle, 45.0, product=right, tunnelling=Eckart())
    again = rates.eyring(*map(single, (left, saddle)), 45.0, product=single(right), tunnelling=Eckart())
    assert again.dtype == jnp.float32
    np.testing.assert_allclose(again, cold, rtol=1e-3)


@pytest.mark.filterwarnings("ignore:tunnelling. with zero-point energies")
def test_total_energies_cost_no_digits_of_a_rate(points):
    """A thousand electronvolts below zero in single precision, at energies that it holds exactly."""
    left, saddle, right = (raised(p, by - p.energy) for p, by in zip(points, (0.0, 0.40625, 0.0078125), strict=True))
    low = [single(raised(point, -1000.0)) for point in (left, saddle, right)]
    np.testing.assert_array_equal(np.asarray([p.energy for p in low]) + 1000, [0.0, 0.40625, 0.0078125])
    found, exact = rates.eyring(*low[:2], 100.0), rates.eyring(left, saddle, 100.0)
    # Exponents of 50 in seven digits. With total energies they are 10^5, and the rate is good to 1e-2.
    np.testing.assert_allclose(found, exact, rtol=3e-5)
    shares = rates.populations([low[0], low[2]], 100.0)
    np.testing.assert_allclose(shares, rates.populations([left, right], 100.0), rtol=3e-6)


def test_arrhenius_without_units():
    """Temperatures in units of energy, as those of a surface without units."""
    t = np.array([0.1, 0.15, 0.2])
    fit = rates.arrhenius_fit(t, 3.0 * np.exp(-1.2 / t), boltzmann=1.0)
    np.testing.assert_allclose([fit.prefactor, fit.activation_energy], [3.0, 1.2], rtol=1e-9)
    np.testing.assert_allclose(fit(t), 3.0 * np.exp(-1.2 / t), rtol=1e-9)


SHIFTS = np.array(list(itertools.product(range(-2, 3), repeat=3)), float)
SIZES = np.array([[3.0, 2.0], [2.0, 1.5]])
CELL = 4.5 * np.array([[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
# Strained, so that no symmetry holds the saddle in its place.
CELL = CELL @ (np.eye(3) + np.array([[0.01, 0.02, 0.0], [0.0, -0.015, 0.01], [0.005, 0.0, 0.02]]))


def crystal(positions, cell, graph):
    """A guest among the large atoms of a crystal with one in its cell, all Lennard-Jones."""
    apart = positions[None, :, None, :] - positions[:, None, None, :] + (jnp.asarray(SHIFTS) @ cell)[None, None]
    square = jnp.sum(apart**2, axis=-1)
    itself = square < 1e-9
    x = jnp.asarray(SIZES**2)[:, :, None] / jnp.where(itself, 1.0, square)
    return 0.5 * jnp.sum(jnp.where(itself, 0.0, 0.2 * (x**6 - x**3)))


@jax.jit
def found_again(cell, start):
    """A stationary point by Newton's steps, not by the code under test."""

    def step(r, _):
        gradient = jax.grad(crystal)(r, cell, None).ravel()
        hessian = jax.hessian(crystal)(r, cell, None).reshape(6, 6)
        return r - (jnp.linalg.pinv(hessian, rtol=1e-9) @ gradient).reshape(2, 3), jnp.max(jnp.abs(gradient))

    r, forces = jax.lax.scan(step, start, None, length=12)
    return r, forces[-1]


def test_rate_differentiates_in_the_cell():
    """ln k of HTST by the implicit function theorem against points that are found again in cells a little deformed."""
    cell = jnp.asarray(CELL)
    starts = [jnp.stack([jnp.zeros(3), share * cell.sum(axis=0)]) for share in (0.5, 0.33)]
    at = [found_again(cell, start) for start in starts]
    assert max(float(force) for _, force in at) < 1e-10

    def log_rate(cell, places):
        surface = Surface(crystal, masses=[40.0, 4.0], cell=cell)
        return jnp.log(rates.htst(*(vibrations(surface, stationary(surface, r)) for r in places), 1000.0))

    places = [r for r, _ in at]
    gradient = np.asarray(jax.jit(jax.grad(log_rate))(cell, places))
    value = jax.jit(log_rate)
    h, differences = 1e-4, np.zeros((3, 3))
    for i, j in np.ndindex(3, 3):
        ends = [cell.at[i, j].add(by) for by in (h, -h)]
        up, down = (value(end, [found_again(end, r)[0] for r in places]) for end in ends)
        differences[i, j] = (up - down) / (2 * h)
    # Central differences err by h² times the third derivative, some 1e-6 of these slopes.
    np.testing.assert_allclose(gradient, differences, rtol=1e-5, atol=1e-5 * np.abs(differences).max())
    # Atoms that stayed where they are, or frequencies that did not change, would be far off.
    held = np.asarray(jax.grad(lambda c: (crystal(places[0], c, None) - crystal(places[1], c, None)) / 0.0861733)(cell))
    assert np.abs(held - differences).max() > 1e-2 * np.abs(differences).max()
