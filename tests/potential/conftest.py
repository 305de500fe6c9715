"""Where the foundation weights are, and structures whose energies are known."""

import os
from pathlib import Path

import numpy as np
import pytest

from jaxnmr.potential import load_potential
from jaxnmr.structure import Structure

_DATA = Path(os.environ.get("JAXNMR_DATA", Path(__file__).parents[3] / "shared" / "data"))


@pytest.fixture(scope="session")
def shared():
    """The folder of third-party data and weights."""
    if not (_DATA.parent / "weights").is_dir():
        pytest.skip(f"no foundation weights in {_DATA.parent / 'weights'}")
    return _DATA.parent


@pytest.fixture(scope="session")
def oam(shared):
    """nequix-oam-1 in float64."""
    return load_potential(shared / "weights" / "nequix-oam-1.nqx")


@pytest.fixture(scope="session")
def quartz():
    """Alpha-quartz P3_2 21, nine atoms, from its two sites and the group's operations."""
    a, c = 4.916, 5.4054
    cell = np.array([[a, 0, 0], [-a / 2, a * 3**0.5 / 2, 0], [0, 0, c]])

    def images(x, y, z):
        general = [(x, y, z), (-y, x - y, z + 2 / 3), (y - x, -x, z + 1 / 3)]
        return [*general, (y, x, -z), (x - y, -y, 1 / 3 - z), (-x, y - x, 2 / 3 - z)]

    unique = []
    for species, site in (("Si", (0.4697, 0, 2 / 3)), ("O", (0.4135, 0.2669, 0.7858))):
        for image in np.array(images(*site)) % 1:
            apart = [abs((image - other + 0.5) % 1 - 0.5).max() > 1e-6 for _, other in unique]
            if all(apart):
                unique.append((species, image))
    return Structure([species for species, _ in unique], np.array([image for _, image in unique]) @ cell, cell)


@pytest.fixture(scope="session")
def magnesia():
    """Rocksalt MgO, eight atoms."""
    fcc = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    positions = 4.212 * np.vstack([fcc, fcc + np.array([0.5, 0, 0])])
    return Structure(["Mg"] * 4 + ["O"] * 4, positions, 4.212 * np.eye(3))
