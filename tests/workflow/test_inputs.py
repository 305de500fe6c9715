"""What a run starts from: masses, names, repeated cells, and what is refused before any work."""

import json
import warnings

import jax.numpy as jnp
import numpy as np
import pytest

import jaxnmr as jn
from jaxnmr.dynamics import Surface
from jaxnmr.dynamics._units import OMEGA
from jaxnmr.errors import JaxnmrWarning, warn
from jaxnmr.potential import Property
from jaxnmr.structure import Structure, supercell
from jaxnmr.workflow import Step, prepared
from jaxnmr.workflow._compare import compared_or_why
from jaxnmr.workflow._crystal import ends_of
from jaxnmr.workflow._hops import moved_groups
from jaxnmr.workflow._nuclei import tensors_in
from jaxnmr.workflow._records import Explored, Relaxed
from jaxnmr.workflow._remarks import remarks_of

from . import toy

pytestmark = pytest.mark.filterwarnings("ignore::jaxnmr.errors.JaxnmrWarning")
CELL = 12.0 * np.eye(3)


class Potential:
    """The toy's energy of the proton beside the carbon, as a file's potential: it has no masses of its own."""

    cutoff, elements = 3.0, ("C", "H")

    def energy_fn(self, positions, cell, graph):
        """eV."""
        return toy.energy(positions - positions[:1])


def crystal(x, isotopes=None, labels=None):
    """The toy's atoms in a cell."""
    return Structure(("C", "H"), [[0.0, 0.0, 0.0], [x, 1.03, 0.02]], CELL, isotopes=isotopes, labels=labels)


def config(folder, isotopes=None, **changes):
    """The toy's run of the crystal."""
    found = toy.config(folder, **changes)
    crystal(toy.X0 + 0.05, isotopes).write(folder / "start.extxyz")
    crystal(toy.X1 - 0.04).write(folder / "end.extxyz")
    return found


def rate(mass):
    """The toy's in closed form, for a proton of some mass on a free carbon."""
    reduced = mass * 12.011 / (mass + 12.011)
    return toy.rate() * np.sqrt(toy.MASS / reduced)


def test_another_isotope_in_the_file_has_other_rates(tmp_path):
    """H and then 2H in one folder: minima and saddle stay, vibrations and rates are made anew, by the reduced mass."""
    found = [jn.run(config(tmp_path), potential=Potential(), tensors=toy.Tensors(), until="rates")]
    told: list[Step] = []
    again = config(tmp_path, (None, "2H"))
    found.append(jn.run(again, potential=Potential(), tensors=toy.Tensors(), until="rates", progress=told.append))
    assert {step.name for step in told if step.state == "kept"} == {"relax", "ends", "saddles-0"}
    light, heavy = (each.rates.htst[0, 0] for each in found)
    assert light == pytest.approx(rate(1.008), rel=1e-3) and heavy == pytest.approx(rate(2.0141), rel=1e-3)
    assert OMEGA > 0 and heavy / light == pytest.approx(rate(2.0141) / rate(1.008), rel=1e-5)


def test_the_observed_isotope_has_its_mass(tmp_path):
    """2H of a structure that says no isotope; what says one stays; 13C is too near to carbon to matter."""
    of = lambda **how: prepared(config(tmp_path, **how), Potential(), toy.Tensors())  # noqa: E731
    deuterated = of(experiment__isotope="2H")
    assert deuterated.surface.masses[1] == pytest.approx(2.0141) and deuterated.structure.isotopes == (None, "2H")
    assert any("all 1 have the mass of 2H" in remark for remark in deuterated.remarks)
    plain = of()
    np.testing.assert_allclose(plain.surface.masses, [12.011, 1.008])
    assert plain.remarks == () and plain.masses_digest != deuterated.masses_digest
    assert plain.atoms_digest == deuterated.atoms_digest  # energies are the same
    given = prepared(toy.config(tmp_path, experiment__isotope="2H"), toy.surface(), toy.Tensors())
    assert any("2H is observed, and the surface" in remark for remark in given.remarks)
    three = Structure(("C", "H", "H"), [[0, 0, 0], [-0.5, 1, 0], [3, 3, 3]], CELL, isotopes=(None, "2H", None))
    found = toy.config(tmp_path, experiment__isotope="2H", motion__ends=[])
    three.write(tmp_path / "start.extxyz")
    mixed = prepared(found, Potential(), toy.Tensors())
    np.testing.assert_allclose(mixed.surface.masses[1:], [2.0141, 1.008])
    assert any("1 of 2 H say no isotope" in remark for remark in mixed.remarks)


class Numbered:
    """Shieldings that tell the atoms apart."""

    def label(self, structure):
        """Ten ppm for each atom before."""
        whole = 10.0 * np.arange(len(structure))[:, None, None] * np.eye(3)
        return Structure(
            structure.species, structure.positions, labels=structure.labels, indices=structure.indices, shielding=whole
        )


def test_other_names_choose_other_atoms(tmp_path):
    """Labels that change places: the atom of that name is observed, and not the one that had it before."""
    surface = Surface(toy.energy, species=("C", "H", "C"), fixed=(True, False, True))
    places, shieldings = [[0.0, 0.0, 0.0], [toy.X0, 1.0, 0.0], [4.0, 0.0, 0.0]], []
    asked = toy.config(tmp_path, motion__ends=[], structure__file=tmp_path / "three.extxyz", structure__atoms=["CA"])
    for labels in (("CA", "H", "CB"), ("CB", "H", "CA")):
        Structure(("C", "H", "C"), places, labels=labels).write(tmp_path / "three.extxyz")
        found = jn.run(asked, potential=surface, tensors=Numbered(), until="tensors").tensors
        shieldings.append((found.nuclei, found.names, float(found.shielding[0, 0, 0, 0])))
    assert shieldings == [((0,), ("CA_1",), 0.0), ((2,), ("CA_1",), 20.0)]


def hydrogen_bonded():
    """A cell of 6 Å with a hydrogen between two oxygens, and the same after its hop."""
    places = np.array([[1.0, 1.0, 1.0], [2.0, 1.0, 1.0], [3.5, 1.0, 1.0]])
    step = np.array([[6.0, 0.0, 0.0], [6.5, 0.0, 0.0], [6.0, 0.0, 0.0]])  # and all by a lattice vector
    return tuple(Structure(("O", "H", "O"), place, 6.0 * np.eye(3)) for place in (places, places + step))


def test_ends_of_a_cell_that_is_repeated(tmp_path):
    """One event for each of eight copies, whose hydrogen alone moves, with its own molecules; a wrong end is named."""
    start, end = hydrogen_bonded()
    whole = supercell(start, 12.0)
    end.write(tmp_path / "end.extxyz")
    found = ends_of(start, whole, [tmp_path / "end.extxyz"])
    assert len(found) == 8
    for k, each in enumerate(found):
        moved = np.flatnonzero(np.linalg.norm(np.asarray(each.positions) - whole.positions, axis=1) > 1e-6)
        assert moved.tolist() == [3 * k + 1]
    events = moved_groups(whole, found)
    assert len({event.atoms for event in events}) == 8
    supercell(end, 12.0).write(tmp_path / "whole.extxyz")
    assert len(ends_of(start, whole, [tmp_path / "whole.extxyz"])) == 1
    Structure(("O", "H"), start.positions[:2], start.cell).write(tmp_path / "other.extxyz")
    with pytest.raises(ValueError, match=r"ends\[0\]: has 2 atoms; the structure has 3, and 24 repeated by structure.super"):
        ends_of(start, whole, [tmp_path / "other.extxyz"])
    Structure(end.species, end.positions, 6.5 * np.eye(3)).write(tmp_path / "wide.extxyz")
    with pytest.raises(ValueError, match=r"ends\[0\]: has another cell"):
        ends_of(start, whole, [tmp_path / "wide.extxyz"])


class Narrow(toy.Tensors):
    """A tensor model that has not seen carbon."""

    elements = ("H",)


class Shiftless(toy.Tensors):
    """A tensor model that has seen carbon, but not its shielding."""

    elements = ("C", "H")

    def predicts(self, name):
        """Of hydrogen alone."""
        return ("H",)


class Isotropic(toy.Tensors):
    """A tensor model of isotropic shieldings."""

    properties = (Property(name="shielding", irreps="0e"),)


class Unknowing(Potential):
    """A potential that has not seen hydrogen."""

    elements = ("C",)


@pytest.mark.parametrize(
    ("models", "words"),
    [
        ({"potential": Unknowing()}, "potential.file: does not know H; use a potential that was trained"),
        ({"tensors": Narrow()}, "tensors.file: does not know C; use a model that was trained"),
        ({"tensors": Shiftless()}, "tensors.file: has learnt no shielding of C"),
        ({"tensors": Isotropic()}, "tensors.file: its shielding has the irreps 1x0e, no tensors"),
    ],
)
def test_models_that_lack_an_element(tmp_path, models, words):
    """Said before any work, and nothing is made."""
    asked = config(tmp_path)
    with pytest.raises(ValueError, match=words):
        jn.run(asked, **{"potential": Potential(), "tensors": toy.Tensors()} | models)
    assert not (tmp_path / "run" / "stages").exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"structure__atoms": ["CX"]}, r"structure.atoms: .* has no 'CX'.*; its C are C_1"),
        ({"structure__atoms": [1]}, r"structure.atoms: H_1 is H, not 13C"),
        ({"structure__atoms": [7]}, r"structure.atoms: got 7; .* has 2 atoms"),
        ({"measured__file": "none.csv"}, r"measured.file: none.csv: no such file"),
        ({"measured__file": "far.csv"}, r"measured.file: .*far.csv has no points between 0 and 160 ppm"),
        ({"structure__file": "none.extxyz"}, r"structure.file: none.extxyz does not exist"),
    ],
)
def test_what_would_fail_after_hours_is_refused_at_once(tmp_path, changes, words, monkeypatch):
    """Atoms that are not there, and a measured spectrum that cannot be compared."""
    monkeypatch.chdir(tmp_path)
    np.savetxt("far.csv", [[900.0, 1.0], [890.0, 2.0], [880.0, 1.0]], delimiter=",", header="ppm,intensity", comments="")
    with pytest.raises(ValueError, match=words):
        prepared(toy.config(tmp_path, **changes), toy.surface(), toy.Tensors())


def test_a_report_without_what_cannot_be_compared_any_more(tmp_path):
    """The file went away while the run was at work."""
    asked = toy.config(tmp_path, measured__file=tmp_path / "gone.csv")
    first = Relaxed(np.zeros((2, 3)), 0.0, 0.0, 1)
    measured, why = compared_or_why(jn.workflow.Result(asked, toy.atoms(0.0), first))
    assert measured is None and "left out: measured.file" in why[0]


def test_a_lower_minimum_is_a_remark(tmp_path):
    """A and C are of the first minimum, which a search may find not to be the lowest."""
    place, first = np.zeros((1, 2, 3)), Relaxed(np.zeros((2, 3)), 0.0, 0.0, 1)
    for energy, said in ((-0.1, True), (0.1, False)):
        found = Explored(place, np.array([energy]), np.array([2]), 0, 10)
        remarks = remarks_of(jn.workflow.Result(toy.config(tmp_path), toy.atoms(0.0), first, explored=found))
        assert any("lies 0.100 eV below the first" in remark for remark in remarks) is said


class Doubtful(toy.Tensors):
    """A tensor model that warns."""

    def label(self, structure):
        """With tensors."""
        warn("tensors of a doubtful model")
        return super().label(structure)


def test_warnings_on_the_way_are_remarks(tmp_path):
    """Of a stage that was made, and of the same when it is kept; and they are heard as well."""
    asked = toy.config(tmp_path, motion__ends=[])
    for _ in range(2):
        with warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always")
            found = jn.run(asked, potential=toy.surface(), tensors=Doubtful())
        assert "tensors of a doubtful model" in found.remarks
        numbers = json.loads((found.folder / "report.json").read_text())
        assert "tensors of a doubtful model" in numbers["remarks"]
        if _ == 0:
            assert any("doubtful" in str(each.message) for each in heard)
    assert jnp.isfinite(found.still().intensity).all()


class Strange(toy.Tensors):
    """A tensor model that has learnt nothing like this proton's neighbour."""

    domain = True

    def novelty(self, structure):
        """Far for carbon, unknown for hydrogen."""
        return np.array([7.0, np.nan])


def test_nuclei_unlike_the_learnt_are_told(tmp_path):
    """How far, and how many; nothing of a model that does not know."""
    asked, states = config(tmp_path), [toy.atoms(toy.X0), toy.atoms(toy.X1)]
    with pytest.warns(JaxnmrWarning, match=r"surroundings of 1 of 1 C are up to 7 times as far"):
        tensors_in(Strange(), states, asked)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tensors_in(toy.Tensors(), states, asked)
