"""Labels as files hold them: found by their names, refused where they cannot be meant, with file and frame."""

from itertools import pairwise

import numpy as np
import pytest

from jaxnmr.potential import EFG, SHIELDING, Property
from jaxnmr.potential.training import (
    LabelNames,
    Sample,
    as_sample,
    check_plausible,
    new_potential,
    read_samples,
    shifted_potential,
)
from jaxnmr.structure import Structure, write
from tests.potential.small import CELL, CONFIG, crystals, labelled, small_potential

pytest.importorskip("optax")
pytest.importorskip("safetensors")
# One layer: a few products, compiled in seconds.
CONFIG = CONFIG.model_copy(update={"n_layers": 1})


def test_labels_come_from_files(tmp_path):
    """Columns and entries by their names; Voigt's order; a property of one's own; shieldings of magres."""
    path = tmp_path / "a.extxyz"
    rows = "O 0 0 0 0.1 0.2 0.3 -0.5\nH 0.96 0 0 0 0 0 0.25\nH -0.3 0.9 0 0 0 0 0.25\n"
    head = 'Properties=species:S:1:pos:R:3:dft_forces:R:3:charge:R:1 Lattice="9 0 0 0 9 0 0 0 9" my_energy=-3.5'
    path.write_text(f'3\n{head} stress="1 2 3 4 5 6"\n{rows}')
    charge = Property(name="charge", irreps="0e")
    names = {"energy": "my_energy", "forces": "dft_forces"}
    (sample,) = read_samples([path], (charge,), LabelNames(**names))
    assert sample.energy == -3.5
    assert sample.forces[0].tolist() == [0.1, 0.2, 0.3]
    assert sample.stress.tolist() == [[1, 6, 5], [6, 2, 4], [5, 4, 3]]
    assert sample.values[0].tolist() == [-0.5, 0.25, 0.25]
    with pytest.raises(ValueError, match=r"names.stress: no frame of .*a.extxyz has 'dft'; give the column or entry"):
        read_samples([path], (charge,), LabelNames(**names, stress="dft"))
    assert len(read_samples([path], (charge,), LabelNames(**names, stress="dft"), strict=False)) == 1
    for virial in ("virial", "virials", "REF_virial"):
        with pytest.raises(ValueError, match=r"minus the volume times the stress; write stress = -virial / volume"):
            LabelNames(stress=virial)
    with pytest.raises(ValueError, match=r"no frame of .* has any label; looked for energy, forces, .*efg"):
        read_samples([path], (EFG,), LabelNames(stress=None))
    sigma = np.full((3, 3, 3), np.nan)
    sigma[0] = np.arange(9.0).reshape(3, 3)
    write(Structure(["O", "H", "H"], sample.structure.positions, shielding=sigma), tmp_path / "b.magres")
    (sample,) = read_samples([tmp_path / "b.magres"], (SHIELDING,))
    assert np.array_equal(sample.values[0], sigma, equal_nan=True)


def test_of_a_shielding_the_parts_that_the_irreps_name(tmp_path):
    """The isotropic value is a number, from files too; a field gradient has no part to leave out."""
    rng = np.random.default_rng(0)
    sigma, positions = rng.normal(size=(3, 3, 3)), np.array([[0, 0, 0], [0.96, 0, 0], [-0.3, 0.9, 0]])
    sigma[1] = np.nan
    structure = Structure(["O", "H", "H"], positions, shielding=sigma)
    write(structure, tmp_path / "a.extxyz")
    isotropic, turned = np.trace(sigma, axis1=1, axis2=2) / 3, np.swapaxes(sigma, 1, 2)
    for irreps, expected in (
        ("0e", isotropic),
        ("0e+2e", (sigma + turned) / 2),
        ("2e", (sigma + turned) / 2 - isotropic[:, None, None] * np.eye(3)),
        ("1e+2e", sigma - isotropic[:, None, None] * np.eye(3)),
        ("0e+1e+2e", sigma),
    ):
        prop = Property(name="shielding", irreps=irreps)
        for sample in (as_sample(structure, (prop,)), *read_samples([tmp_path / "a.extxyz"], (prop,))):
            np.testing.assert_allclose(sample.values[0], expected, rtol=1e-12, atol=1e-12)
    for prop, works in (
        (Property(name="shielding", irreps="1e"), "shielding came with the irreps 1x1e, .* give 0e.1e.2e, 0e.2e"),
        (Property(name="shielding", irreps="2x0e"), "shielding came with the irreps 2x0e"),
        (Property(name="efg", irreps="0e"), "efg came with the irreps 1x0e, .* give 2e"),
    ):
        with pytest.raises(ValueError, match=works):
            as_sample(structure, (prop,))
    # Neither the sign nor the size of what is left is mistaken.
    for irreps in ("0e", "2e"):
        prop = Property(name="shielding", irreps=irreps)
        good = as_sample(Structure(["H"], [[0, 0, 0]], shielding=[np.diag([20.0, 30, 40])]), (prop,))
        check_plausible([good], (prop,))
    prop = Property(name="shielding", irreps="0e")
    shift = as_sample(Structure(["H"], [[0, 0, 0]], shielding=[-np.diag([20.0, 30, 40])]), (prop,))
    with pytest.raises(ValueError, match="look like shifts"):
        check_plausible([shift], (prop,))


FRAME = "2\nProperties=species:S:1:pos:R:3:forces:R:{}:efg:R:9 energy={}\nO 0 0 0 {} {}\nO 1.2 0 0 {} {}\n"
ZERO = "0 0 0 0 0 0 0 0 0"


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (FRAME.format(2, 1, "0 0", ZERO, "0 0", ZERO), r"forces: .*bad.extxyz, frame 1 has \(2, 2\); \(2, 3\) is needed"),
        (FRAME.format(3, "1 2", "0 0 0", ZERO, "0 0 0", ZERO), None),
        (FRAME.format(3, '"1 2"', "0 0 0", ZERO, "0 0 0", ZERO), r"energy: .*frame 1 has \(2,\)"),
        (FRAME.format(3, 1, "0 nan 0", ZERO, "0 0 0", ZERO), "forces: .*frame 1 has numbers that are not finite"),
        (FRAME.format(3, 1, "0 0 0", "1 0 0 0 1 0 0 0 1", "0 0 0", ZERO), "efg: .*frame 1 has the trace 3"),
        (FRAME.format(3, 1, "0 0 0", "0 1 0 0 0 0 0 0 0", "0 0 0", ZERO), "efg: .*frame 1 is not symmetric by 1"),
        (FRAME.format(3, 1, "0 0 0", "0 nan 0 0 0 0 0 0 0", "0 0 0", ZERO), "efg.*not finite"),
    ],
)
def test_labels_of_a_wrong_kind_are_named_with_file_and_frame(tmp_path, frame, message):
    path = tmp_path / "bad.extxyz"
    path.write_text(FRAME.format(3, 1, "0 0 0", ZERO, "0 0 0", ZERO) + frame)
    if message is None:
        assert len(read_samples([path], (EFG,))) == 2
        return
    with pytest.raises(ValueError, match=message):
        read_samples([path], (EFG,))


def test_labels_that_cannot_be_meant():
    """Gradients given as forces, another unit, shifts given as shieldings; the right ones pass."""
    potential, start = small_potential(CONFIG), crystals(1)[0]
    rng, frames = np.random.default_rng(0), []
    direction = rng.normal(size=(4, 3))
    for k in range(8):
        frames.append(Structure(start.species, start.positions + 0.05 * np.sin(k) * direction, CELL))
    samples = labelled(potential, frames)
    check_plausible(samples)
    with pytest.raises(ValueError, match=r"forces: made: .* as of gradients instead of forces"):
        check_plausible([sample._replace(forces=-sample.forces) for sample in samples])
    for factor, cause in ((0.529, "forces per bohr"), (1.89, "positions in bohr"), (1 / 27.2, "hartree/Å"),
                          (1 / 13.6, "rydberg/Å"), (27.2, "energies in hartree"), (1.5, "give energies in eV")):  # fmt: skip
        with pytest.raises(ValueError, match=cause):
            check_plausible([sample._replace(forces=sample.forces * factor) for sample in samples])
    # Each file by itself: right frames of another one do not outvote it.
    right = [sample._replace(source=f"right, frame {k}") for k, sample in enumerate(samples * 3)]
    wrong = [sample._replace(source=f"wrong, frame {k}", forces=-sample.forces) for k, sample in enumerate(samples)]
    with pytest.raises(ValueError, match="forces: wrong: "):
        check_plausible(right + wrong)
    sigma = 30.0 * np.tile(np.eye(3), (4, 1, 1))
    shielded = Structure(start.species, start.positions, CELL, shielding=sigma)
    check_plausible([as_sample(shielded, (SHIELDING,))], (SHIELDING,))
    shifted = Structure(start.species, start.positions, CELL, shielding=-sigma)
    right, wrong = as_sample(shielded, (SHIELDING,), source="a"), as_sample(shifted, (SHIELDING,), source="b")
    with pytest.raises(ValueError, match=r"shielding: b: .* look like shifts"):
        check_plausible([wrong], (SHIELDING,))
    with pytest.raises(ValueError, match=r"shielding: b \(and 3 more of 10 frames\): "):
        check_plausible([right] * 6 + [wrong] * 4, (SHIELDING,))


def test_forces_are_judged_in_any_order():
    """Frames of a trajectory that were shuffled, so that those which follow each other are far apart."""
    potential, start, rng = small_potential(CONFIG), crystals(1)[0], np.random.default_rng(0)
    directions = rng.normal(size=(2, 4, 3))
    turns = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    frames = [
        Structure(start.species, start.positions + 0.3 * np.cos(t) * directions[0] + 0.3 * np.sin(t) * directions[1], CELL)
        for t in turns
    ]
    samples = labelled(potential, frames)
    shuffled = [samples[23 * k % 60] for k in range(60)]
    moved = [np.abs(b.structure.positions - a.structure.positions).max() for a, b in pairwise(shuffled)]
    assert min(moved) > 0.3
    check_plausible(shuffled)
    with pytest.raises(ValueError, match="as of gradients instead of forces"):
        check_plausible([sample._replace(forces=-sample.forces) for sample in shuffled])
    with pytest.raises(ValueError, match="as of energies in hartree"):
        check_plausible([sample._replace(energy=sample.energy / 27.2114) for sample in shuffled])


@pytest.mark.parametrize("cell", [None, 12 * np.eye(3)])
def test_forces_of_turning_molecules_are_judged(cell):
    """No two frames are near before they are turned onto each other; in a box too."""
    rng, samples = np.random.default_rng(0), []
    water = np.array([[0, 0, 0], [0.96, 0, 0], [-0.3, 0.9, 0]])
    for k in range(60):
        r = water + 0.05 * rng.normal(size=(3, 3))
        bonds = r[1:] - r[0]
        lengths = np.linalg.norm(bonds, axis=1)
        pull = 40 * (lengths - 0.96)[:, None] * bonds / lengths[:, None]
        forces, energy = np.concatenate([pull.sum(axis=0)[None], -pull]), 20 * np.sum((lengths - 0.96) ** 2)
        turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
        turn = turn * np.linalg.det(turn)
        place = 5 * rng.normal(size=3)
        structure = Structure(["O", "H", "H"], r @ turn + place, cell)
        samples.append(Sample(structure, energy, forces @ turn, np.full((3, 3), np.nan), (), f"made, frame {k}"))
    check_plausible(samples)
    with pytest.raises(ValueError, match="as of gradients instead of forces"):
        check_plausible([sample._replace(forces=-sample.forces) for sample in samples])


def test_atoms_that_overlap_are_named_with_their_frame():
    others = [as_sample(each) for each in crystals(2)]
    near = Structure(["O", "O"], [[0, 0, 0], [0.1, 0, 0]])
    sample = Sample(near, 0.0, np.zeros((2, 3)), np.full((3, 3), np.nan), (), "a.extxyz, frame 7")
    with pytest.raises(ValueError, match=r"a.extxyz, frame 7: two atoms are 0.1 Å apart"):
        new_potential(CONFIG, [*others, sample])
    with pytest.raises(ValueError, match=r"a.extxyz, frame 7: two atoms are 0.1 Å apart"):
        shifted_potential(small_potential(CONFIG), [*others, sample])
    carbon = sample._replace(structure=Structure(["C", "O"], [[0, 0, 0], [1.1, 0, 0]]))
    with pytest.raises(ValueError, match=r"a.extxyz, frame 7: has C, which the model does not know; drop the frame"):
        shifted_potential(small_potential(CONFIG), [*others, carbon])
