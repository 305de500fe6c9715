"""Saddles: the known ones, verified by their modes and by what lies on both sides."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxnmr.dynamics import SearchError, Surface, dimer, minimise
from tests.systems.surfaces import LJ7_SADDLES, MB_MINIMA, MB_SADDLES, lennard_jones, leps, muller_brown


@pytest.mark.parametrize(("name", "joins"), [("ts1", "AC"), ("ts2", "BC")])
def test_muller_brown_saddles(name, joins):
    """Position and energy to 1e-8, and the two minima that the saddle joins."""
    position, energy = MB_SADDLES[name]
    found = dimer(muller_brown, np.array([position]) + 0.08, max_force=1e-8)
    np.testing.assert_allclose(found.positions[0], position, atol=1e-9)
    np.testing.assert_allclose(found.energy, energy, atol=1e-9)
    assert int(found.n_negative) == 1 and float(found.curvature) < 0
    ends = sorted(np.asarray(found.sides.positions)[:, 0].tolist())
    np.testing.assert_allclose(ends, sorted(MB_MINIMA[m][0] for m in joins), atol=1e-6)


def test_leps_saddle():
    """Atom transfer coupled to an oscillator."""
    found = dimer(leps, np.array([[1.85, 0.1]]), max_force=1e-7, sides=False)
    np.testing.assert_allclose(found.positions[0], (1.9303062, -0.0684394), atol=1e-6)
    assert abs(float(found.energy) + 1.03482834) < 1e-7


@pytest.mark.slow
def test_saddles_of_seven_atoms():
    """From the minima of LJ7, displaced at random, the eight known first-order saddles are found."""
    rng = np.random.default_rng(0)
    minima = np.asarray(minimise(lennard_jones, rng.normal(size=(16, 7, 3)), max_force=1e-4, max_steps=3000).positions)
    _, first = np.unique(np.round(np.asarray([lennard_jones(m) for m in minima]), 3), return_index=True)
    starts = np.concatenate([minima[first] + s * rng.normal(size=(32, 1, 7, 3)) for s in (0.15, 0.25)]).reshape(-1, 7, 3)
    found = dimer(lennard_jones, starts, max_force=1e-6, throw=False, sides=False)
    energies = np.asarray(found.energy)[np.asarray(found.converged)]
    assert np.abs(energies[:, None] - np.array(LJ7_SADDLES)).min(axis=0).max() < 1e-5


def test_two_negative_modes_and_none_are_named():
    """An axis held in a symmetric plane leads to a maximum; a bowl has no saddle at all."""
    hill = lambda r: (r[0, 0] ** 2 - 1) ** 2 + (r[0, 1] ** 2 - 1) ** 2  # noqa: E731
    at_top = np.array([[0.0, 0.0]])
    with pytest.raises(SearchError, match=r"2 negative modes.*push the atoms along the second mode"):
        dimer(hill, at_top, np.array([[1.0, 0.0]]), rotations=1)
    bowl = lambda r: (r**2).sum()  # noqa: E731
    with pytest.raises(SearchError, match=r"dimer: an energy|softest direction still curves upwards .*start nearer"):
        dimer(bowl, np.array([[0.3, 0.1]]), max_steps=20)
    with pytest.raises(SearchError, match=r"ended at a minimum \(no negative mode\)"):
        dimer(bowl, np.array([[0.0, 0.0]]), max_steps=20)
    with pytest.raises(ValueError, match=r"direction: got shape"):
        dimer(bowl, np.array([[0.3, 0.1]]), np.ones(2))
    with pytest.raises(ValueError, match=r"positions: 1 atoms came, but the surface has 2"):
        dimer(Surface(bowl, masses=[1.0, 1.0]), np.array([[0.3, 0.1]]))


def test_two_equal_negative_modes_are_counted_without_a_matrix(monkeypatch):
    """In large systems too: one vector's steps see one of two equal modes; what steps too few leave open is not counted."""
    monkeypatch.setattr("jaxnmr.dynamics._dimer._DENSE", 0)
    at, given = np.zeros((2, 3)), dict(rigid="none", sides=False, throw=False, max_steps=3)

    def bowl(*curvatures):
        return lambda r: 0.5 * jnp.sum(jnp.asarray(curvatures) * r.ravel() ** 2)

    axis = np.array([[1.0, 1e-3, 0], [0, 0, 0]])
    twice, once = bowl(-1.0, -1.0, 0.5, 1.0, 2.0, 40.0), bowl(-1.0, 0.1, 0.1, 1.0, 2.0, 40.0)
    assert int(dimer(twice, at, axis, **given).n_negative) == 2
    assert int(dimer(once, at, axis, **given).n_negative) == 1
    monkeypatch.setattr("jaxnmr.dynamics._dimer._LANCZOS", 2)
    again = bowl(-1.0, 0.1, 0.1, 1.0, 2.0, 40.0)
    assert int(dimer(again, at, axis, **given).n_negative) == -1
    with pytest.raises(SearchError, match=r"could not tell whether a second mode is negative"):
        dimer(again, at, axis, **{**given, "throw": True})
