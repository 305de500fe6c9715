"""Crystals without tensors: CIF and POSCAR, and supercells."""

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from jaxnmr.errors import JaxnmrWarning
from jaxnmr.structure import Structure, read, repeated, supercell

# Kalicinite (Allan, Marshall and Pulham, Am. Mineral. 92, 1018 (2007)) in a setting of P 2_1/c that few readers know.
KALICINITE = """data_KHCO3
_chemical_formula_sum 'K H C O3'
_cell_length_a 15.195
_cell_length_b 5.6298
_cell_length_c 3.7088
_cell_angle_alpha 90
_cell_angle_beta 104.534
_cell_angle_gamma 90
_symmetry_space_group_name_H-M 'P 1 21/a 1'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
K K 0.16810 0.03000 0.30200 1
H D 0.01490 0.69400 0.55000 1
C C 0.12250 0.52000 0.86000 1
O1 O 0.19450 0.53900 0.10000 1
O2 O 0.07850 0.72200 0.72900 1
O3 O 0.08350 0.32300 0.72800 1
"""
LISTED = """loop_
_space_group_symop_operation_xyz
'x,y,z'
'1/2+x,1/2-y,z'
'1/2-x,1/2+y,-z'
'-x,-y,-z'
"""


@pytest.fixture
def crystal(tmp_path):
    pytest.importorskip("gemmi")

    def make(text, name="a.cif"):
        (tmp_path / name).write_text(text)
        return read(tmp_path / name)

    return make


def bonds(structure, a, b, longest):
    """Distances of pairs of two elements, sorted, Å."""
    cell = np.asarray(structure.cell)
    fraction = np.asarray(structure.positions) @ np.linalg.inv(cell)
    difference = fraction[:, None] - fraction[None]
    apart = np.linalg.norm((difference - np.round(difference)) @ cell, axis=-1)
    of = [np.array([symbol == each for symbol in structure.species]) for each in (a, b)]
    found = apart[np.ix_(*of)].ravel()
    return np.sort(found[found < longest])


def test_a_setting_by_its_symbol(crystal):
    """Four formula units whose C-O bonds are those of the paper: 1.240 to 1.333 Å."""
    found = crystal(KALICINITE)
    assert Counter(found.species) == {"K": 4, "H": 4, "C": 4, "O": 12}
    assert set(found.isotopes) == {None, "2H"}
    assert found.labels.count("O2") == 4
    lengths = bonds(found, "C", "O", 1.6)
    assert len(lengths) == 12
    assert 1.2 < lengths[0] and lengths[-1] < 1.4
    # Hydrogens lie between two oxygens of a dimer.
    assert len(bonds(found, "H", "O", 1.75)) == 8


def test_listed_operations_rule(crystal):
    """The same atoms from operations as from the symbol; the list wins over a symbol that is wrong."""
    by_symbol = crystal(KALICINITE)
    wrong = KALICINITE.replace("P 1 21/a 1", "P 1").replace("loop_\n_atom", LISTED + "loop_\n_atom")
    listed = crystal(wrong, "b.cif")
    for a, b in (("C", "O"), ("K", "O")):
        np.testing.assert_allclose(bonds(by_symbol, a, b, 3.5), bonds(listed, a, b, 3.5), atol=1e-9)


def test_special_positions_are_one_atom(crystal):
    """Rock salt: four of each from one each, on positions that 48 operations leave alone."""
    head = (
        "data_x\n"
        + "".join(f"_cell_length_{v} 4.212\n" for v in "abc")
        + "".join(f"_cell_angle_{v} 90\n" for v in ("alpha", "beta", "gamma"))
    )
    salt = head + (
        "_symmetry_space_group_name_H-M 'F m -3 m'\nloop_\n_atom_site_label\n_atom_site_fract_x\n_atom_site_fract_y\n"
        "_atom_site_fract_z\nMg1 0 0 0\nO1 0.5 0.5 0.5\n"
    )
    found = crystal(salt)
    assert Counter(found.species) == {"Mg": 4, "O": 4}
    np.testing.assert_allclose(bonds(found, "Mg", "O", 2.2), 2.106, atol=1e-3)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("0.55000 1", "0.55000 0.5", "H is occupied by 0.5; choose one"),
        ("O3 O 0.08350 0.32300 0.72800", "O3 O 0.07850 0.72300 0.72900", "apart, as where two arrangements"),
        ("'P 1 21/a 1'", "'P none'", "no symmetry operations and no known space group"),
        ("C C 0.1", "C Qq 0.1", "is of element"),
        ("_atom_site_fract_x\n", "", "not CIF"),
        ("_cell_angle_beta 104.534\n", "", "_cell_angle_beta is missing; the cell needs all six"),
        ("_cell_length_b 5.6298", "_cell_length_b ?", "_cell_length_b is \\?"),
        ("0.55000 1", "? 1", "H has a coordinate that is not a number"),
        (
            "_atom_site_label\n",
            "_space_group_symop_operation_xyz\n'x,y,q'\nloop_\n_atom_site_label\n",
            "operation cannot be",
        ),
    ],
)
def test_what_is_refused(crystal, old, new, message):
    """Each with the site and the remedy."""
    with pytest.raises(ValueError, match=message):
        crystal(KALICINITE.replace(old, new))


def test_hydrogens_left_out(crystal):
    """The formula tells."""
    with pytest.warns(JaxnmrWarning, match="0 H for 4"):
        crystal(KALICINITE.replace("H D 0.01490 0.69400 0.55000 1\n", ""))


def test_two_origins(crystal):
    """A symbol that leaves the origin open is said so; with operations there is nothing to say."""
    cubic = "data_x\n" + "".join(f"_cell_length_{v} 5.43\n" for v in "abc")
    cubic += "".join(f"_cell_angle_{v} 90\n" for v in ("alpha", "beta", "gamma"))
    atoms = "loop_\n_atom_site_label\n_atom_site_fract_x\n_atom_site_fract_y\n_atom_site_fract_z\nSi1 0.125 0.125 0.125\n"
    with pytest.warns(JaxnmrWarning, match="two choices of origin"):
        found = crystal(cubic + "_symmetry_space_group_name_H-M 'F d -3 m'\n" + atoms)
    assert len(found) == 8


@pytest.mark.parametrize(("name", "count"), [("khco3/khco3.cif", 24)])
def test_files_of_others(name, count):
    pytest.importorskip("gemmi")
    path = Path(os.environ.get("JAXNMR_DATA", Path(__file__).parents[3] / "shared" / "data")) / name
    if not path.exists():
        pytest.skip(f"{path} is absent")
    assert len(read(path)) == count


def test_poscar(tmp_path):
    pytest.importorskip("ase")
    lines = ["MgO", "4.2", "0 0.5 0.5", "0.5 0 0.5", "0.5 0.5 0", "Mg O", "1 1", "Direct", "0 0 0", "0.5 0.5 0.5"]
    (tmp_path / "POSCAR").write_text("\n".join(lines) + "\n")
    found = read(tmp_path / "POSCAR")
    assert found.species == ("Mg", "O") and found.pbc == (True, True, True)
    np.testing.assert_allclose(np.linalg.norm(found.positions[1]), 4.2 * 3**0.5 / 2)
    (tmp_path / "c").write_text("\n".join([*lines[:5], *lines[6:]]) + "\n")
    with pytest.raises(ValueError, match="line 6: numbers of atoms without a line of elements"):
        read(tmp_path / "c")
    (tmp_path / "b").write_text("\n".join([*lines[:-1], "0.5 0.5"]) + "\n")
    with pytest.raises(ValueError, match="no POSCAR that can be read"):
        read(tmp_path / "b")


def test_supercell():
    """As thick as asked for in every direction, and no thicker than it must be; every copy is one lattice vector away."""
    cell = np.array([[5.0, 0, 0], [2.5, 4.0, 0], [0, 0, 9.0]])
    one = Structure(["O", "H"], [[0, 0, 0], [0, 0, 1.0]], cell, labels=["O1", "H1"], efg=np.ones((2, 3, 3)))
    large = supercell(one, 9.0)
    # The first two vectors are 5 sin(58 degrees) = 4.24 and 4 Å thick.
    assert len(large) == 2 * 3 * 3 * 1
    np.testing.assert_allclose(large.cell, cell * [[3], [3], [1]])
    fraction = np.asarray(large.positions)[::2] @ np.linalg.inv(cell)
    np.testing.assert_allclose(fraction, np.round(fraction), atol=1e-12)
    assert len(np.unique(np.round(fraction), axis=0)) == 9
    assert large.names[2] == "O1_2" and large.has_efg.all()
    assert len(supercell(one, 3.9)) == 2


def test_supercells_refused():
    wire = Structure(["O"], [[0, 0, 0]], np.eye(3) * 5, pbc=[True, False, False])
    assert len(supercell(wire, 9.0)) == 2
    with pytest.raises(ValueError, match="along vector 1, along which nothing repeats"):
        repeated(wire, (1, 2, 1))
    with pytest.raises(ValueError, match="has no cell"):
        supercell(Structure(["O"], [[0, 0, 0]]), 5.0)
    with pytest.raises(ValueError, match=r"times: got \(0, 1, 1\)"):
        repeated(wire, (0, 1, 1))
    with pytest.raises(ValueError, match="length: got 0"):
        supercell(wire, 0.0)
