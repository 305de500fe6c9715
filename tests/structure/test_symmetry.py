"""Operations of crystals: their number is the space group's times the cell's, and each carries atoms onto atoms."""

import numpy as np
import pytest

from jaxnmr.structure import Structure, repeated, symmetries

pytest.importorskip("spglib")

DIAMOND = Structure(["Si"] * 2, [[0, 0, 0], [1.3575] * 3], 2.715 * (1 - np.eye(3)))
ROCKSALT = Structure(["Mg", "O"], [[0, 0, 0], [2.106] * 3], 2.106 * (1 - np.eye(3)))
HEXAGONAL = Structure(["Mg"] * 2, [[0, 0, 0], [1.605, 0.9266, 2.605]], [[3.21, 0, 0], [-1.605, 2.77994, 0], [0, 0, 5.21]])


@pytest.mark.parametrize(
    ("structure", "count"),
    [
        (DIAMOND, 48),
        (ROCKSALT, 48),
        (HEXAGONAL, 24),
        (repeated(ROCKSALT, (2, 2, 2)), 384),
        (repeated(HEXAGONAL, (1, 1, 2)), 48),
    ],
)
def test_operations_are_those_of_the_space_group(structure, count):
    """As many as the group's, times the primitive cells in the cell; distances between atoms stay what they are."""
    found = symmetries(structure)
    assert len(found) == count
    np.testing.assert_array_equal(found[0][1], np.arange(len(structure)))
    np.testing.assert_allclose(found[0][0], np.eye(3), atol=1e-12)
    assert len({(*np.round(turn, 3).ravel() + 0.0, *order) for turn, order in found}) == count
    positions, cell = np.asarray(structure.positions), np.asarray(structure.cell)
    for turn, order in found:
        np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-4)
        # A lattice of steps: an atom's step from the first one, turned, ends at its image.
        gap = ((positions - positions[0]) @ turn + positions[order[0]] - positions[order]) @ np.linalg.inv(cell)
        np.testing.assert_allclose(gap, np.round(gap), atol=1e-3)


def test_noise_below_the_tolerance_hides_no_operation():
    """Relaxed atoms lie beside their places by the optimiser's threshold."""
    noise = np.random.default_rng(0).normal(scale=0.005, size=(16, 3))
    crystal = repeated(ROCKSALT, (2, 2, 2))
    moved = Structure(crystal.species, np.asarray(crystal.positions) + noise, crystal.cell)
    assert len(symmetries(moved)) == 384
    assert len(symmetries(moved, within=1e-4)) == 1


def test_what_has_no_symmetry_keeps_the_identity():
    """A molecule, a slab, and two atoms in one place."""
    for structure in (
        Structure(["O", "H"], [[0, 0, 0], [0, 0, 1.0]]),
        Structure(["O", "H"], [[0, 0, 0], [0, 0, 1.0]], np.eye(3) * 5, (True, True, False)),
        Structure(["O", "O"], [[0, 0, 0], [0, 0, 0.01]], np.eye(3) * 5),
    ):
        ((turn, order),) = symmetries(structure)
        np.testing.assert_array_equal(turn, np.eye(3))
        np.testing.assert_array_equal(order, [0, 1])
