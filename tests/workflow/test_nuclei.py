"""Which part of a shielding is the less certain, from how a committee parts."""

from importlib.resources import files

import numpy as np
import pytest

import jaxnmr as jn
from jaxnmr.structure import Structure, read
from jaxnmr.workflow._nuclei import _parts
from jaxnmr.workflow._spectra import _by_parts

ATOMS = Structure(("O", "H"), [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]])


class Committee:
    """Members that differ by elements alike and independent, the isotropic part of it half as large again."""

    def members(self, structure, name):
        """Many, so that the parts are known to a few per cent."""
        return _by_parts(np.random.default_rng(0).normal(size=(4000, 3, 3)), np.array([1.5, 1.0, 1.0]))[:, None]


def test_parts_of_a_committee():
    """Relative to their mean square over nine elements; drawn noise of these parts has the mean square of before."""
    parts = _parts(Committee(), [ATOMS], np.array([0]))
    size = np.sqrt((1.5**2 + 3 + 5) / 9)
    np.testing.assert_allclose(parts, np.array([1.5, 1.0, 1.0]) / size, rtol=0.05)
    noise = _by_parts(np.random.default_rng(1).normal(size=(20000, 3, 3)), parts)
    assert np.mean(noise**2) == pytest.approx(1.0, rel=0.02)
    np.testing.assert_array_equal(_parts(object(), [ATOMS], np.array([0])), np.ones(3))


@pytest.mark.slow
def test_members_of_a_model():
    """Their mean is the prediction."""
    model, crystal = jn.load_tensor_model("khco3"), read(files("jaxnmr") / "data" / "khco3.extxyz")
    each = model.members(crystal, "shielding")
    assert each.shape == (4, len(crystal), 3, 3)
    there = [symbol != "K" for symbol in crystal.species]
    np.testing.assert_allclose(each.mean(axis=0)[there], model.shielding(crystal)[there], atol=1e-3)
