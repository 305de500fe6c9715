"""The atoms' type: what it refuses, what it keeps, and ASE's Atoms both ways."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnmr.structure import Structure

PLACES = [[0.0, 0.0, 0.0], [1.5, 0.0, 0.0], [0.0, 1.7, 0.2]]
CELL = [[5.0, 0.0, 0.0], [1.0, 6.0, 0.0], [0.0, 0.5, 7.0]]
SIGMA = np.arange(27.0).reshape(3, 3, 3) + 100.0


def water(**changes):
    return Structure(**{"species": ["O", "H", "H"], "positions": PLACES, **changes})


def test_defaults():
    """Without a cell nothing repeats, labels are the species, atoms are counted, and no atom has a tensor."""
    s = water()
    assert s.species == ("O", "H", "H") and len(s) == 3 and s.elements == ("O", "H")
    assert s.cell is None and s.pbc == (False, False, False)
    assert s.names == ("O_1", "H_1", "H_2")
    assert not s.has_shielding.any() and not s.has_efg.any() and s.efg.shape == (3, 3, 3)
    assert water(cell=CELL).pbc == (True, True, True)
    assert water(cell=CELL, pbc=[True, False, False]).pbc == (True, False, False)


def test_has():
    sigma = SIGMA.copy()
    sigma[1] = np.nan
    assert water(shielding=sigma).has_shielding.tolist() == [True, False, True]
    assert water(efg=sigma).has_efg.tolist() == [True, False, True]


def test_immutable():
    """Neither the fields nor the numbers in them change; nor does the structure when the array it came from does."""
    mine = np.array(PLACES)
    s = water(positions=mine)
    mine[0, 0] = 9.0
    assert s.positions[0, 0] == 0.0
    with pytest.raises(AttributeError):
        s.species = ("C",)
    with pytest.raises(ValueError, match="read-only"):
        s.positions[0, 0] = 1.0


@pytest.mark.parametrize("x64", [True, False])
def test_double_precision(x64):
    """The digits of a file stay, whether or not JAX computes in double precision."""
    with jax.enable_x64(x64):
        s = water(shielding=SIGMA + 8000.0000001)
    assert s.shielding.dtype == np.float64 and s.shielding[0, 0, 0] == 8100.0000001


def test_pytree():
    """Structures go through jit and grad: positions and tensors are leaves, names are not."""
    s = water(cell=CELL)
    gradient = jax.grad(lambda s: jnp.sum(jnp.asarray(s.positions) ** 3))(
        jax.tree.map(lambda x: x if x.shape == (3, 3) and not np.isnan(x).any() else np.zeros_like(x), s)
    )
    np.testing.assert_allclose(gradient.positions, 3 * np.array(PLACES) ** 2)
    assert gradient.names == s.names

    @jax.jit
    def moved(x):
        made = Structure(["O", "H", "H"], x, shielding=jnp.zeros((3, 3, 3)) * x.sum())
        return made.positions + 1.0, made.has_shielding

    places, has = moved(jnp.asarray(PLACES))
    np.testing.assert_allclose(places, np.array(PLACES) + 1)
    assert has.all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"species": []}, "species: got no atom"),
        ({"species": ["O", "H", "Hx"]}, "species: got 'Hx'"),
        ({"positions": PLACES[:2]}, r"positions: got shape \(2, 3\); give \(3, 3\)"),
        ({"positions": [[np.nan] * 3] * 3}, "positions: not finite"),
        ({"cell": np.ones((3, 3))}, "cell: .* has no volume"),
        ({"cell": np.ones(3)}, r"cell: got shape \(3,\); give \(3, 3\)"),
        ({"pbc": True}, "pbc: .* without a cell"),
        ({"cell": CELL, "pbc": [True, False]}, "pbc: got 2 values"),
        ({"labels": ["O"]}, "labels: 1 came for 3 atoms"),
        ({"labels": ["O", "H a", "H"]}, "labels: got 'H a'"),
        ({"indices": [1, 2, 2]}, "indices: two atoms are called 'H_2'"),
        ({"isotopes": ["17O", "2H", "13C"]}, "isotopes: got '13C' for an atom of H"),
        ({"isotopes": ["16O", None, None]}, "which has spin 0"),
        ({"shielding": SIGMA[:2]}, r"shielding: got shape \(2, 3, 3\)"),
        ({"efg": np.where(np.arange(27).reshape(3, 3, 3) == 13, np.nan, 1.0)}, "efg: the tensor of H_1 has elements"),
        ({"shielding": np.where(np.arange(27).reshape(3, 3, 3) == 13, np.inf, 1.0)}, "shielding: the tensor of H_1"),
    ],
)
def test_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        water(**changes)


def test_ase_round_trip():
    """Everything ASE has room for comes back; its arrays hold tensors as files print them."""
    pytest.importorskip("ase")
    sigma = SIGMA.copy()
    sigma[2] = np.nan
    s = water(cell=CELL, pbc=[True, True, False], labels=["O1", "H", "H"], indices=[7, 1, 2], shielding=sigma, code="X 1")
    atoms = s.to_ase()
    np.testing.assert_array_equal(atoms.arrays["ms"][0], sigma[0])
    assert "efg" not in atoms.arrays and atoms.info["magres_units"] == {"ms": "ppm"}
    back = Structure.from_ase(atoms)
    assert (back.species, back.pbc, back.names, back.code) == (s.species, s.pbc, s.names, s.code)
    for name in ("positions", "cell", "shielding", "efg"):
        np.testing.assert_array_equal(getattr(back, name), getattr(s, name))


def test_ase_without_lattice():
    """A molecule of ASE has a cell of zeros, which is none; None marks an atom without a tensor."""
    ase = pytest.importorskip("ase")
    atoms = ase.Atoms("OHH", positions=PLACES)
    atoms.arrays["ms"] = np.array([np.eye(3), None, None], dtype=object)
    s = Structure.from_ase(atoms)
    assert s.cell is None and not any(s.pbc)
    assert s.has_shielding.tolist() == [True, False, False]


def test_slabs_of_ase_keep_their_lattice():
    """ASE keeps a slab's third vector as zeros; it is completed, and the two others stay. A periodic zero is refused."""
    ase = pytest.importorskip("ase")
    slab = ase.Atoms("Si", [[0.1, 0.2, 5.0]], cell=[[3, 0, 0], [1, 4, 0], [0, 0, 0]], pbc=(True, True, False))
    s = Structure.from_ase(slab)
    assert s.pbc == (True, True, False)
    np.testing.assert_allclose(s.cell, [[3, 0, 0], [1, 4, 0], [0, 0, 1]])
    molecule = ase.Atoms("Si", [[0.1, 0.2, 5.0]])
    assert Structure.from_ase(molecule).cell is None
    slab.pbc = True
    with pytest.raises(ValueError, match="lattice vector c is zero"):
        Structure.from_ase(slab)
