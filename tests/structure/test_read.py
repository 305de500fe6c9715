"""Every dialect read from small files of our own, written and read again, and refused with file, line and remedy."""

import os
import stat
from pathlib import Path

import numpy as np
import pytest

from jaxnmr.structure import Structure, read, read_all, write
from jaxnmr.units import AVOGADRO, BOHR_IN_ANGSTROM, EFG_AU, PI

DATA = Path(__file__).with_name("data")
CELL = [[5.0, 0.0, 0.0], [1.0, 6.0, 0.0], [0.0, 0.5, 7.0]]
# As printed: a row for each direction of the field.
ALUMINIUM = np.array([[500.0, 9.0, -1.0], [17.0, 519.0, -11.0], [-2.0, -6.0, 504.0]])
GRADIENT = np.array([[0.02, -0.07, 0.02], [-0.07, -0.07, 0.05], [0.02, 0.05, 0.05]])


def lines(name):
    return (DATA / name).read_text(encoding="utf-8").splitlines()


def put(path, content):
    path.write_text("\n".join(content) + "\n", encoding="utf-8")
    return path


def test_castep():
    """Block format: labels run into indices in both blocks, one atom without a gradient, other records passed over."""
    s = read(DATA / "castep.magres")
    assert s.species == ("Al", "O", "O", "H")
    assert s.names == ("Al_1", "O1_100", "O1_101", "H_1")
    assert s.code == "CASTEP 99.1" and s.source.endswith("castep.magres") and s.pbc == (True, True, True)
    np.testing.assert_array_equal(s.cell, CELL)
    np.testing.assert_array_equal(s.positions[1], [1.9, 0.2, -0.4])
    np.testing.assert_array_equal(s.shielding[0], ALUMINIUM)
    np.testing.assert_array_equal(s.shielding[1], [[200, 1, 2], [3, 210, 4], [5, 6, 220]])
    np.testing.assert_array_equal(s.shielding[2], [[200, -1, 2], [-3, 210, -4], [5, -6, 220]])
    np.testing.assert_array_equal(s.efg[0], GRADIENT)
    assert s.has_shielding.all() and s.has_efg.tolist() == [True, True, False, False]


def test_quantum_espresso():
    """Pointed brackets, a label that is not the element, a lattice in bohr beside positions in Å, no gradients."""
    s = read(DATA / "qe.magres")
    assert s.names == ("Si1_1", "O_2") and s.species == ("Si", "O") and s.code == "QE-GIPAW 99.1"
    np.testing.assert_allclose(s.cell, np.diag([10, 10, 20]) * BOHR_IN_ANGSTROM, rtol=1e-15)
    np.testing.assert_array_equal(s.positions[1], [1.673406, -0.623251, 1.158539])
    np.testing.assert_array_equal(s.shielding[0, 1], [0.25, 431, 3.5])
    assert not s.has_efg.any()


def test_old_castep():
    """Sections of atoms, shieldings first and gradients after; no lattice."""
    s = read(DATA / "old.magres")
    assert s.names == ("Al_1", "H_100") and s.cell is None and not any(s.pbc)
    np.testing.assert_array_equal(s.positions, [[0.25, 0.1, 0.3], [2.7, 0.5, -0.9]])
    np.testing.assert_array_equal(s.shielding[0], ALUMINIUM)
    np.testing.assert_array_equal(s.efg[0], GRADIENT)
    np.testing.assert_array_equal(s.efg[1], np.diag([0.1, -0.06, -0.04]))


def test_extxyz():
    """Columns by their names, others passed over; nine zeros are no shielding; frames by number."""
    with pytest.raises(ValueError, match="holds 2 frames; give frame=0 to frame=1, or use read_all"):
        read(DATA / "tensors.extxyz")
    s = read(DATA / "tensors.extxyz", frame=0)
    assert s.names == ("Al_1", "H_1") and s.pbc == (True, True, False)
    np.testing.assert_array_equal(s.cell, CELL)
    np.testing.assert_array_equal(s.shielding[0], ALUMINIUM)
    np.testing.assert_array_equal(s.efg[0], GRADIENT)
    assert s.has_shielding.tolist() == [True, False] and s.has_efg.tolist() == [True, False]
    last = read(DATA / "tensors.extxyz", frame=-1)
    assert last.species == ("C", "O", "H") and last.cell is None and not last.has_shielding.any()
    assert len(read_all(DATA / "tensors.extxyz")) == 2
    with pytest.raises(ValueError, match=r"frame: got 2, but .* holds 2"):
        read(DATA / "tensors.extxyz", frame=2)


def test_vasp():
    """Shielding = -(symmetrised + G=0 + core + G=0 of the core); gradients from V/Å²; numbers without a blank."""
    s = read(DATA / "OUTCAR")
    assert s.names == ("Al_1", "O_1", "O_2") and s.code == "VASP 99.1.0"
    np.testing.assert_array_equal(s.positions[1], [1.5, -12.25, -3.5])
    printed = np.array([[259.0, -10, 1], [-18, 246, 14], [-1, 7, 269]])
    uniform = np.array([[-5.0, 0.04, -0.05], [0.06, -5.1, -0.03], [-0.07, -0.02, -5.2]])
    of_core = -766 + 8 * PI / 3 * -40 / (1000e-24 * AVOGADRO)
    np.testing.assert_allclose(s.shielding[0], -(printed + uniform + of_core * np.eye(3)), atol=1e-10)
    assert s.shielding[2, 0, 0] == pytest.approx(-(90 - 5 - 271 + of_core + 766), abs=1e-10)
    volts = 1e20 / EFG_AU  # V/Å² in atomic units: 0.01029
    np.testing.assert_allclose(s.efg[0], np.array([[1, -7, 2], [-7, -6, 3], [2, 3, 5]]) * volts, rtol=1e-12)
    assert s.has_efg.all()  # zero is a gradient


@pytest.mark.parametrize("suffix", ["magres", "extxyz", "xyz"])
@pytest.mark.parametrize("name", ["castep.magres", "qe.magres", "old.magres", "OUTCAR"])
def test_round_trip(name, suffix, tmp_path):
    """What is written is read back as it was, to the last bit."""
    s = read(DATA / name)
    s.write(tmp_path / f"again.{suffix}")
    again = read(tmp_path / f"again.{suffix}")
    assert (again.species, again.names, again.pbc, again.code) == (s.species, s.names, s.pbc, s.code)
    for field in ("positions", "cell", "shielding", "efg"):
        np.testing.assert_array_equal(getattr(again, field), getattr(s, field))


def test_round_trip_of_frames(tmp_path):
    """Several structures in one file, with isotopes, with and without a lattice."""
    frames = read_all(DATA / "tensors.extxyz")
    deuterated = Structure(["C", "H"], [[0, 0, 0], [1, 0, 0]], isotopes=[None, "2H"])
    write([*frames, deuterated], tmp_path / "all.xyz")
    again = read_all(tmp_path / "all.xyz")
    assert [len(s) for s in again] == [2, 3, 2] and again[2].isotopes == (None, "2H")
    np.testing.assert_array_equal(again[0].shielding, frames[0].shielding)


def test_ase_reads_what_is_written(tmp_path):
    """The files are those that ASE expects, tensors as printed."""
    ase_io = pytest.importorskip("ase.io")
    s = read(DATA / "castep.magres")
    s = Structure(s.species, s.positions, s.cell, labels=s.labels, indices=s.indices, shielding=s.shielding)
    for name in ("a.magres", "a.xyz"):  # without gradients: ASE wants a tensor for every atom or for none
        s.write(tmp_path / name)
    for name, kind in (("a.magres", "magres"), ("a.xyz", "extxyz")):
        atoms = ase_io.read(tmp_path / name, format=kind)
        np.testing.assert_array_equal(atoms.positions, s.positions)
        np.testing.assert_array_equal(np.reshape(atoms.arrays["ms"][0], (3, 3)), ALUMINIUM)
        assert atoms.arrays["labels"].tolist() == list(s.labels)


def test_written_aside(tmp_path, monkeypatch):
    """A failure leaves the old file and nothing else; a success is as readable as any new file."""
    path = tmp_path / "a.magres"
    s = read(DATA / "castep.magres")
    s.write(path)
    (tmp_path / "other").write_text("x")
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE((tmp_path / "other").stat().st_mode)
    before = path.read_bytes()

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        s.write(path)
    assert path.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.magres", "other"]


@pytest.mark.parametrize(
    ("changes", "name", "message"),
    [
        ({}, "a.cif", r"path: got .*a\.cif'; let it end in \.magres, \.xyz or \.extxyz"),
        ({"cell": CELL, "pbc": [True, False, False]}, "a.magres", "pbc is .* which magres cannot say; write extxyz"),
    ],
)
def test_write_refused(changes, name, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        Structure(["C"], [[0, 0, 0]], **changes).write(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_magres_holds_one(tmp_path):
    s = Structure(["C"], [[0, 0, 0]])
    with pytest.raises(ValueError, match="got 2, but a magres file holds one"):
        write([s, s], tmp_path / "a.magres")
    with pytest.raises(ValueError, match="structure: got none"):
        write([], tmp_path / "a.xyz")


CASTEP = lines("castep.magres")


def changed(old, new):
    content = [line.replace(old, new) for line in CASTEP]
    assert content != CASTEP
    return content


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (CASTEP[:16], "line 16: the file ends inside the block .atoms., which began in line 8; it was cut short"),
        (CASTEP[:22], "line 22: the file ends inside the block .magres., which began in line 18"),
        ([*CASTEP[:17], *CASTEP[18:]], r"line 29: \[/magres\] ends a block that did not begin"),
        ([*CASTEP[:16], *CASTEP[17:]], r"line 17: \[magres\] begins, but \[atoms\] of line 8 has no end"),
        (changed("v1.0", "v2.0"), r"line 1: magres version 2\.0; write the file as version 1\.0"),
        (changed("units ms ppm", "units ms au"), r"line 19: unit 'au' of ms; give it in ppm"),
        (changed("units atom Angstrom", "units atom furlong"), "line 11: unit 'furlong' of atom; give it in angstrom"),
        (changed("5.1900000000000000E+02", "**********"), r"line 20: '\*+' is not a number"),
        (changed("5.1900000000000000E+02", "nan 1"), "line 20: ms has 12 entries; expected label, index and nine"),
        (changed("ms H   1", "ms H   2"), "line 23: ms of H 2, which .atoms. does not have"),
        (changed("ms O1100", "ms O1109"), "line 21: 'O1109' is no label and index"),
        (changed("ms H   1", "ms Al  1"), "line 23: a second, different ms of Al 1"),
        (changed("atom O       O1101", "atom O       O1100"), "line 15: a second atom with label O1 and index 100"),
        (changed("atom H       H   1", "atom Q       H   1"), "line 16: 'Q' is no element"),
        (changed("atom H       H   1", "atom H   1"), "line 16: cannot part label and index in '1'"),
        (changed("atom H       H   1", "atom H 1"), "line 16: cannot part label and index in '1'"),
        (CASTEP[:7], "no .atoms. block"),
    ],
)
def test_faulty_magres(content, message, tmp_path):
    """The file, the line, what is wrong, and what would do."""
    path = put(tmp_path / "bad.magres", content)
    with pytest.raises(ValueError, match=message) as caught:
        read(path)
    assert str(caught.value).startswith(str(path))


def test_run_together_labels(tmp_path):
    """H1100 is what the atoms allow; where they allow two, a blank is asked for."""
    head = ["#$magres-abinitio-v1.0", "[atoms]", "atom H H1 100 0 0 0"]
    tail = ["[/atoms]", "[magres]", "ms H1100 1 0 0 0 2 0 0 0 3", "[/magres]"]
    s = read(put(tmp_path / "a.magres", [*head, *tail]))
    assert s.names == ("H1_100",) and s.shielding[0, 2, 2] == 3
    s = read(put(tmp_path / "b.magres", [*head[:2], "atom H H 1100 0 0 0", *tail]))
    assert s.names == ("H_1100",) and s.shielding[0, 2, 2] == 3
    # An index is not padded with zeros: H1001 is not atom 1 of H1.
    both = [*head[:2], "atom H H1 1 0 0 0", "atom H H 1001 1 0 0"]
    s = read(put(tmp_path / "e.magres", [*both, *(line.replace("H1100", "H1001") for line in tail)]))
    assert s.has_shielding.tolist() == [False, True]
    with pytest.raises(ValueError, match="line 7: 'H1100' may be H 1100 or H1 100; put a blank"):
        read(put(tmp_path / "c.magres", [*head, "atom H H 1100 1 0 0", *tail]).rename(tmp_path / "d.magres"))


OLD = lines("old.magres")
OUTCAR = lines("OUTCAR")
XYZ = lines("tensors.extxyz")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("old.magres", OLD[:11], "line 11: the file ends inside the tensor of line 8"),
        ("old.magres", OLD[:20], "line 20: the file ends before the shielding of H 100"),
        ("old.magres", OLD[:-6], "line 43: the file ends before the field gradient of H 100"),
        ("old.magres", OLD[:4], "line 4: the file ends before the coordinates of Al 1"),
        ("old.magres", OLD[5:], "line 1: values before the first 'Atom:' line"),
        ("a.xyz", XYZ[:3], "line 3: the file ends inside the frame of 2 atoms that begins in line 1"),
        ("a.xyz", XYZ[:6], "line 6: the file ends inside the frame of 3 atoms that begins in line 5"),
        ("a.xyz", [*XYZ[:2], *XYZ[3:4], "H 0 0"], "line 4: 3 columns, but Properties names 26"),
        ("a.xyz", [XYZ[0], XYZ[1].replace("efg_au:R:9", "efg_au:R:6"), *XYZ[2:]], "line 2: efg_au has 6 columns"),
        ("a.xyz", [*XYZ[:4], "three"], "line 5: expected the number of atoms of a frame, got 'three'"),
        ("OUTCAR", [line for line in OUTCAR if "ions per type" not in line], "line 75: .* without the number of atoms"),
        ("OUTCAR", OUTCAR[:38], "line 38: the file ends inside the shift tensors, which begin in line 29"),
        ("OUTCAR", OUTCAR[:52], "line 52: the file ends before the shift tensor of atom 3 of 3"),
        ("OUTCAR", OUTCAR[:64], "line 64: the file ends inside the table that begins in line 58"),
        ("OUTCAR", OUTCAR[:74], "line 74: the file ends without the core's susceptibility"),
        ("OUTCAR", OUTCAR[:20], "line 20: the file ends inside the table that begins in line 18"),
        ("OUTCAR", OUTCAR[:7], "line 7: the file ends without the number of atoms"),
    ],
)
def test_cut_short(name, content, message, tmp_path):
    path = put(tmp_path / name, content)
    with pytest.raises(ValueError, match=message) as caught:
        read(path, frame=0)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize(
    ("row", "comment", "message"),
    [
        ("H 0 0 nan", "", "positions: not finite"),
        ("H 0 0 0.7", 'Lattice="1 0 0 2 0 0 0 0 1"', "cell: .* no volume"),
        ("H 0 0 0.7", 'pbc="T T T"', r"pbc: got \(True, True, True\) without a cell"),
        ("H 0 0 0.7", 'pbc="T T maybe"', "pbc='T T maybe'; expected three of T and F"),
    ],
)
def test_faulty_frames_are_named(row, comment, message, tmp_path):
    """What the atoms' type refuses comes with file, line and frame; a molecule that says that nothing repeats passes."""
    right = ["2", 'Properties=species:S:1:pos:R:3 pbc="F F F"', "H 0 0 0", "H 0 0 0.7"]
    wrong = ["2", f"Properties=species:S:1:pos:R:3 {comment}", "H 0 0 0", row]
    path = put(tmp_path / "a.xyz", [*right, *wrong])
    place = r"a\.xyz, line 6: " if "maybe" in comment else r"a\.xyz, line 5: frame 1: "
    with pytest.raises(ValueError, match=place + message):
        read_all(path)
    assert len(read_all(put(tmp_path / "b.xyz", right))) == 1


def test_further_columns(tmp_path):
    """Numbers of one's own beside the tensors: passed over by our reader, found by ASE; refused where they do not fit."""
    s = read(DATA / "castep.magres")
    bare = Structure(s.species, s.positions, s.cell)
    write([bare, bare], tmp_path / "a.xyz", columns=[{"mine": np.arange(4.0)}, {"mine": np.array([1, np.nan, 2, 3])}])
    np.testing.assert_array_equal(read_all(tmp_path / "a.xyz")[1].positions, s.positions)
    atoms = pytest.importorskip("ase.io").read(tmp_path / "a.xyz", 1)
    np.testing.assert_array_equal(atoms.arrays["mine"], [1, np.nan, 2, 3])
    for columns, name, message in (
        ([{"mine": np.zeros(3)}], "b.xyz", "mine has 3 rows for 4 atoms"),
        ([], "b.xyz", "0 came for 1 structures"),
        ([{"mine": np.zeros(4)}], "b.magres", "got mine, for which magres has no room"),
    ):
        with pytest.raises(ValueError, match=message):
            write(bare, tmp_path / name, columns=columns)
    assert not list(tmp_path.glob("b*"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[atoms\nnothing\n", "is in no known format; give magres 1.0, .* extxyz, VASP's OUTCAR and POSCAR, and CIF"),
        ("", "is empty"),
        ("# a\nspinsys {\n channels 23Na\n", "line 2: the input of a SIMPSON simulation, which has no atoms; enter"),
    ],
)
def test_unknown_format(content, message, tmp_path):
    path = tmp_path / "x.magres"
    path.write_text(content)
    with pytest.raises(ValueError, match=message) as caught:
        read(path)
    assert str(path) in str(caught.value)


def test_no_file(tmp_path):
    with pytest.raises(ValueError, match=r"nowhere\.magres does not exist"):
        read(tmp_path / "nowhere.magres")
    with pytest.raises(ValueError, match="is a folder"):
        read(tmp_path)
    (tmp_path / "b").write_bytes(b"\x1f\x8b\0\0")
    with pytest.raises(ValueError, match="is a binary file"):
        read(tmp_path / "b")
