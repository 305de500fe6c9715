"""The models that come with the package: small, plain about themselves, and right about the crystal they are for."""

import lzma
from pathlib import Path

import numpy as np
import pytest

import jaxnmr as jn
from jaxnmr.potential.training import Comparison
from jaxnmr.structure import Structure, batch_graphs, neighbor_pairs, read_frames
from tests.potential.test_potential import apart, orthogonal, turned

pytest.importorskip("safetensors")
DATA, ROOT = Path(jn.__file__).parent / "data", Path(__file__).parents[2]


def frames(name, folder, wanted, numbers=()):
    """Some frames of 24 atoms from scripts/data, chosen by their lines of properties, which come with them."""
    text = lzma.decompress((ROOT / "scripts" / "data" / f"{name}.extxyz.xz").read_bytes()).decode().splitlines()
    comments = text[1::26]
    chosen = list(wanted(comments))
    (folder / "some.extxyz").write_text("\n".join(line for k in chosen for line in text[26 * k : 26 * k + 26]) + "\n")
    return [(comments[k], frame) for k, frame in zip(chosen, read_frames(folder / "some.extxyz", numbers), strict=True)]


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

    def fifth(comments):
        return [k for k, line in enumerate(comments) if "group=400K" in line][::5]

    potential, wrong, off = jn.load_potential("khco3"), [], []
    for _, (structure, (energy, forces)) in frames("khco3-frames", tmp_path, fifth, ("energy", "forces")):
        result = potential.energy_forces_stress(structure)
        wrong.append(result.forces - forces)
        off.append((result.energy - energy[0]) / 24)
    assert len(wrong) == 10
    assert np.sqrt(np.mean(np.square(wrong))) < 0.040
    assert np.sqrt(np.mean(np.square(off))) < 0.001


def test_tensors_of_frames_that_were_held_out(tmp_path):
    """The last tenth of each temperature's labels: 0.98 of the variance of oxygen's elements, at every temperature."""
    kelvins = ("300", "500", "700")

    def last_tenth(comments):
        for kelvin in kelvins:
            mine = [k for k, line in enumerate(comments) if f"temperature_K={kelvin} " in line]
            yield from mine[len(mine) - round(0.1 * len(mine)) :]

    model, some = jn.load_tensor_model("khco3"), frames("khco3-labels", tmp_path, last_tenth)
    predictions = model.evaluate(model.prepare([frame.structure for _, frame in some]))
    assert len(some) == 29
    for kelvin in kelvins:
        for place, prop in enumerate(model.properties):
            given, found = [], []
            for (line, (structure, _)), prediction in zip(some, predictions, strict=True):
                labels = np.asarray(getattr(structure, prop.name))
                oxygen = np.array([symbol == "O" for symbol in structure.species]) & ~np.isnan(labels).any(axis=(1, 2))
                if f"temperature_K={kelvin} " in line:
                    given.append(labels[oxygen])
                    found.append(prediction[place].values[oxygen])
            given, found = np.concatenate(given), np.concatenate(found)
            assert len(given) == 6 * (9 if kelvin == "700" else 10)
            each = Comparison(prop.name, prop.unit, "O", given, found, np.full(len(given), np.nan))
            assert each.r2 > 0.98, f"{prop.name} at {kelvin} K"


def test_single_precision_turns_with_the_crystal(kalicinite):
    """Rotations and reflections of KHCO3: 1e-5 of the size of energy, forces, stress and tensors.

    Distances come from positions in double precision; from rounded ones forces are 1.5e-5 off, those of stiff bonds in a
    cell of 15 Å.
    """
    potential, model = jn.load_potential("khco3", "float32"), jn.load_tensor_model("khco3", "float32")
    start, tensors = potential.energy_forces_stress(kalicinite), model.evaluate(model.prepare([kalicinite]))[0]
    for matrix in (orthogonal(1, 1), orthogonal(2, -1), orthogonal(4, 1)):
        image = turned(kalicinite, matrix)
        result = potential.energy_forces_stress(image)
        assert result.energy == pytest.approx(start.energy, rel=1e-5)
        assert apart(result.forces, start.forces @ matrix.T) < 1e-5
        assert apart(result.stress, matrix @ start.stress @ matrix.T) < 1e-5
        for before, after in zip(tensors, model.evaluate(model.prepare([image]))[0], strict=True):
            there = ~np.isnan(before.values).any(axis=(1, 2))
            assert there.sum() == 20  # all but potassium
            assert apart(after.values[there], matrix @ before.values[there] @ matrix.T) < 1e-5


def test_shieldings_of_three_kinds_of_oxygen(kalicinite):
    """The oxygen that bears the proton above the one that accepts another's and the one that does neither."""
    sigma = jn.load_tensor_model("khco3").shielding(kalicinite)
    isotropic = np.trace(sigma, axis1=1, axis2=2) / 3
    # The nearest proton is at 1.04 Å, 1.59 Å and 3.1 Å.
    i, j, _, distance = neighbor_pairs(kalicinite, 2.2)
    protons = {k for k, symbol in enumerate(kalicinite.species) if symbol == "H"}
    kinds = [], [], []
    for k, symbol in enumerate(kalicinite.species):
        if symbol == "O":
            nearest = min((d for a, b, d in zip(i, j, distance, strict=True) if a == k and b in protons), default=np.inf)
            kinds[0 if nearest < 1.2 else 1 if nearest < 2.2 else 2].append(isotropic[k])
    # Four equivalent atoms of each kind: to the coordinates' rounding.
    np.testing.assert_allclose(np.array(kinds) - np.mean(kinds, axis=1, keepdims=True), 0, atol=0.5)
    np.testing.assert_allclose(np.mean(kinds, axis=1), [148, 107, 100], atol=3)


def test_other_elements_are_refused():
    with pytest.raises(ValueError, match="'khco3-tensors' does not know Na; it knows H, C, O, K"):
        jn.load_tensor_model("khco3").shielding(Structure(["Na"], [[0.0, 0.0, 0.0]]))


@pytest.mark.parametrize(
    ("species", "cutoff", "message"),
    [
        ("O", 2.0, r"batch: lists pairs up to 2.0 Å; this model needs 4.5 Å. Make it by this model's `prepare`"),
        ("Na", 4.5, "batch: has Na, which is not known"),
    ],
)
def test_batches_for_other_models_are_refused(species, cutoff, message):
    """A short list would give other tensors without a word."""
    batch = batch_graphs([Structure([species] * 2, [[0, 0, 0], [2.5, 0, 0]])], cutoff)
    for model in (jn.load_tensor_model("khco3"), jn.load_potential("khco3")):
        with pytest.raises(ValueError, match=message):
            model.evaluate(batch)


def test_potassium_has_no_tensor(kalicinite):
    labelled = jn.load_tensor_model("khco3").label(kalicinite)
    potassium = np.array([symbol == "K" for symbol in kalicinite.species])
    assert np.array_equal(labelled.has_shielding, ~potassium)
