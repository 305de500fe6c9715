"""The models that come with the package: small, plain about themselves, and right about the crystal they are for."""

import lzma
from pathlib import Path

import numpy as np
import pytest

import jaxnmr as jn
from jaxnmr.structure import Structure, read_frames

pytest.importorskip("safetensors")
DATA, ROOT = Path(jn.__file__).parent / "data", Path(__file__).parents[2]


@pytest.fixture(scope="module")
def kalicinite(shared):
    return jn.structure.read_all(shared / "data" / "khco3" / "khco3_experimental.extxyz")[0]


def test_they_are_small():
    """Below 1 MB together, for they travel with every installation."""
    assert sum(path.stat().st_size for path in DATA.glob("*.safetensors")) < 1_000_000


def test_their_cards_say_what_they_are():
    for card in (jn.load_potential("khco3").card, jn.load_tensor_model("khco3").card):
        assert "demonstrations" in card.description
        assert "no other compound" in card.description
        assert card.licence and card.data_licence and card.training


def test_the_teacher_is_imitated_at_a_temperature_never_learnt_from(tmp_path):
    """Ten frames at 400 K: forces to 40 meV/A of some 1 eV/A, energies to 1 meV/atom."""
    text = lzma.decompress((ROOT / "scripts" / "data" / "khco3-frames.extxyz.xz").read_bytes()).decode().splitlines()
    starts = [k - 1 for k, line in enumerate(text) if "group=400K" in line][::5]
    (tmp_path / "a.extxyz").write_text("\n".join(line for k in starts for line in text[k : k + 26]) + "\n")
    potential, wrong, off = jn.load_potential("khco3"), [], []
    for structure, (energy, forces) in read_frames(tmp_path / "a.extxyz", ("energy", "forces")):
        result = potential.energy_forces_stress(structure)
        wrong.append(result.forces - forces)
        off.append((result.energy - energy[0]) / 24)
    assert len(wrong) == 10
    assert np.sqrt(np.mean(np.square(wrong))) < 0.040
    assert np.sqrt(np.mean(np.square(off))) < 0.001


def test_shieldings_of_three_kinds_of_oxygen(kalicinite):
    """C-OH above both C=O, as the dimers' labels have it: near 140, 105 and 90 ppm, with the crystal's symmetry."""
    sigma = jn.load_tensor_model("khco3").shielding(kalicinite)
    oxygen = np.array([symbol == "O" for symbol in kalicinite.species])
    isotropic = np.sort(np.trace(sigma[oxygen], axis1=1, axis2=2) / 3).reshape(3, 4)
    # Four equivalent atoms of each kind: to the coordinates' rounding.
    np.testing.assert_allclose(isotropic - isotropic.mean(axis=1, keepdims=True), 0, atol=0.5)
    np.testing.assert_allclose(isotropic.mean(axis=1), [90, 105, 140], atol=15)


def test_other_elements_are_refused():
    with pytest.raises(ValueError, match="'khco3-tensors' does not know Na; it knows H, C, O, K"):
        jn.load_tensor_model("khco3").shielding(Structure(["Na"], [[0.0, 0.0, 0.0]]))


def test_potassium_has_no_tensor(kalicinite):
    labelled = jn.load_tensor_model("khco3").label(kalicinite)
    potassium = np.array([symbol == "K" for symbol in kalicinite.species])
    assert np.array_equal(labelled.has_shielding, ~potassium)
