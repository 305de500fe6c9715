"""Masses of isotopes, and what ASE's atoms say of masses and of atoms that are held."""

from types import SimpleNamespace

import numpy as np
import pytest

from jaxnmr.dynamics import Surface, from_ase
from jaxnmr.dynamics._masses import masses_of, standard_masses
from jaxnmr.isotopes import isotope, isotopes
from jaxnmr.structure import Structure

POTENTIAL = SimpleNamespace(energy_fn=lambda positions, cell, graph: positions.sum(), cutoff=3.0)
PLACES = np.array([[0.0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])


def test_every_isotope_has_its_mass():
    """Near its mass number; an element of one isotope weighs what the element weighs."""
    for name in isotopes():
        known = isotope(name)
        (mass,) = masses_of(Structure([known.symbol], np.zeros((1, 3)), isotopes=[name]))
        # Binding takes 0.1 amu at most (tin), a free proton and neutron exceed one by 0.02 at most.
        assert -0.1 < mass - known.mass_number < 0.02, name
        if known.abundance == 1:
            np.testing.assert_allclose(mass, standard_masses([known.symbol])[0], atol=1e-4)


def test_isotopes_are_not_lost():
    water = Structure(["O", "H", "H"], PLACES, isotopes=["17O", "2H", None])
    np.testing.assert_allclose(Surface.from_potential(POTENTIAL, water).masses, [16.99913, 2.0141, 1.008])
    plain = Structure(["O", "H", "H"], PLACES)
    np.testing.assert_allclose(Surface.from_potential(POTENTIAL, plain).masses, [15.999, 1.008, 1.008])


@pytest.mark.parametrize("made", [lambda a, **k: from_ase(a, calculator=object(), **k), None], ids=["ASE", "potential"])
def test_masses_and_held_atoms_of_ase(made):
    """FixAtoms holds, by index or mask; another constraint is refused by its name unless fixed= says what it means."""
    pytest.importorskip("ase")
    from ase import Atoms
    from ase.constraints import FixAtoms, FixCartesian

    made = made or (lambda a, **k: Surface.from_potential(POTENTIAL, a, **k))
    atoms = Atoms("OH2", PLACES, masses=[15.999, 2.014, 1.008])
    np.testing.assert_allclose(made(atoms).masses, [15.999, 2.014, 1.008])
    assert made(atoms).fixed is None
    atoms.set_constraint([FixAtoms([0]), FixAtoms(mask=[False, False, True])])
    assert made(atoms).fixed == (True, False, True)
    assert made(atoms, fixed=[False, True, False]).fixed == (False, True, False)
    atoms.set_constraint(FixCartesian(0))
    with pytest.raises(ValueError, match=r"atoms: have FixCartesian, and only FixAtoms"):
        made(atoms)
    assert made(atoms, fixed=[True, False, False]).fixed == (True, False, False)
