"""What symmetry makes of events: when it is looked for, of which atoms, and what is said of it."""

import jax.numpy as jnp
import numpy as np
import pytest

import jaxnmr as jn
from jaxnmr.dynamics import Surface
from jaxnmr.structure import Structure
from jaxnmr.workflow import _run
from jaxnmr.workflow._event_images import said_of_images
from jaxnmr.workflow._hops import moved_groups

from . import toy

pytestmark = pytest.mark.filterwarnings("ignore::jaxnmr.errors.JaxnmrWarning")
CELL = np.diag([12.0, 6.0, 6.0])
PLACES = np.array([[1.0, 1, 1], [1.97, 1, 1], [7.0, 1, 1], [7.97, 1, 1]])  # two hydroxyls, half a cell apart
SPECIES = ("O", "H", "O", "H")


def made(folder, places, **motion):
    """A run to its events, on a surface whose minimum is the symmetric crystal."""
    Structure(SPECIES, places, CELL).write(folder / "crystal.extxyz")
    config = toy.config(folder, structure__file=folder / "crystal.extxyz", experiment__isotope="17O")
    config = config.model_copy(update={"motion": config.motion.model_copy(update=motion)})
    surface = Surface(lambda r: jnp.sum((r - PLACES) ** 2), cell=CELL, species=SPECIES, pbc=(True, True, True))
    return jn.run(config, potential=surface, tensors=toy.Tensors(), until="explore")


def turned(places):
    """The first hydroxyl's proton points along y."""
    found = np.array(places)
    found[1] = found[0] + [0.0, 0.97, 0.0]
    return found


def test_symmetry_is_that_of_the_relaxed_minimum(tmp_path):
    """A file whose second molecule lies 0.5 Å off: its minimum has the symmetry, four turns of either proton."""
    places = PLACES + np.array([[0.0, 0, 0], [0, 0, 0], [0, 0.5, 0], [0, 0.5, 0]])
    Structure(SPECIES, turned(places), CELL).write(tmp_path / "turned.extxyz")
    found = made(tmp_path, places, ends=(tmp_path / "turned.extxyz",))
    assert any("of the first minimum made 7 images of 1 event." in remark for remark in found.remarks)


def test_molecules_without_an_event_are_named():
    """Where no symmetry is seen and another molecule of the kind has no event; not where each has its own."""
    start = Structure(SPECIES, PLACES, CELL)
    both = turned(PLACES)
    both[3] = both[2] + [0.0, 0.97, 0.0]
    identity = [(np.eye(3), np.arange(4))]
    one, two = (moved_groups(start, [Structure(SPECIES, end, CELL)]) for end in (turned(PLACES), both))
    for files in (False, True):
        (said,) = said_of_images(start, one, one, identity, files)
        assert "1 operation of the first minimum made 0 images of 1 event; other molecules" in said
    assert len(two) == 2 and said_of_images(start, two, two, identity, False) == ()
    free = Structure(SPECIES, PLACES)
    assert said_of_images(free, one, one, identity, True) == ()


def test_protons_on_bridges_need_no_symmetry(tmp_path, monkeypatch):
    """Each bridge is an event of its own: nobody looks for operations, and spglib may be missing."""
    bridged = np.array([[1.0, 1, 1], [1.97, 1, 1], [3.6, 1, 1], [3.9, 1.9, 1]])
    monkeypatch.setattr(_run, "symmetries", lambda *_: pytest.fail("looked for symmetry"))
    for motion in ({"hops": "protons", "ends": ()}, {"hops": "none", "ends": ()}):
        assert made(tmp_path, bridged, **motion).relaxed is not None
