"""A proton in a well with two minima whose energies, frequencies, tensors and spectrum are known in closed form."""

import jax.numpy as jnp
import numpy as np

from jaxnmr.dynamics import Surface
from jaxnmr.dynamics._units import OMEGA
from jaxnmr.isotopes import isotope
from jaxnmr.structure import Structure
from jaxnmr.units import BOLTZMANN_IN_EV
from jaxnmr.workflow import RunConfig

X0, XS, X1, C = -0.5, 0.0, 0.4931, 35.0  # stationary points, Å, and the scale of the quartic, eV/Å⁴
ACROSS, TILT = 10.0, 4.0  # stiffness across the path and its slope along it, eV/Å² and eV/Å³
SIGMA, SLOPE = 90.0, 80.0  # shielding of the carbon at x = 0, ppm, and its slope, ppm/Å
REFERENCE, FIELD, WIDTH, KELVIN, MASS = 170.0, 9.4, 150.0, 298.0, 1.008
PPM, POINTS = (160.0, 0.0), 256


def along(x):
    """Energy along the path, whose derivative is C (x - X0)(x - XS)(x - X1)."""
    s1, s2, s3 = X0 + XS + X1, X0 * XS + X0 * X1 + XS * X1, X0 * XS * X1
    return C * (x**4 / 4 - s1 * x**3 / 3 + s2 * x**2 / 2 - s3 * x)


def energy(positions):
    """eV."""
    x, y, z = positions[1, 0], positions[1, 1] - 1.0, positions[1, 2]
    return along(x) + (ACROSS + TILT * x) / 2 * (y**2 + z**2)


def surface():
    """The carbon is held."""
    return Surface(energy, species=("C", "H"), fixed=(True, False))


class Tensors:
    """An isotropic shielding of the carbon that follows the proton."""

    def label(self, structure):
        """With tensors."""
        x = float(structure.positions[1, 0])
        shielding = np.stack([(SIGMA + SLOPE * x) * np.eye(3), 30.0 * np.eye(3)])
        return Structure(structure.species, structure.positions, shielding=shielding)

    def tensor_fn(self, name, positions, cell, graph):
        """The same as a function of coordinates."""
        eye = jnp.eye(3, dtype=positions.dtype)
        return jnp.stack([(SIGMA + SLOPE * positions[1, 0]) * eye, 30.0 * eye])


def atoms(x):
    """Carbon and proton."""
    return Structure(("C", "H"), [[0.0, 0.0, 0.0], [x, 1.03, 0.02]])


def config(folder, **changes):
    """Tables of the toy's run; keys as "experiment__linewidth_hz"."""
    atoms(X0 + 0.05).write(folder / "start.extxyz")
    atoms(X1 - 0.04).write(folder / "end.extxyz")
    tables = {
        "structure": {"file": folder / "start.extxyz"},
        "motion": {"ends": [folder / "end.extxyz"], "images": 5},
        "tensors": {"reference_ppm": (-1.0, REFERENCE)},
        "experiment": {"isotope": "13C", "fields_t": [FIELD], "temperatures_k": [KELVIN], "linewidth_hz": WIDTH},
        "axis": {"ppm": PPM, "points": POINTS},
        "resolution": {"orientations": 4},
        "output": {"folder": folder / "run"},
    }
    for key, value in changes.items():
        table, name = key.split("__")
        tables[table] = tables.get(table, {}) | {name: value}
    return RunConfig.from_tables(tables)


def barrier():
    """eV, from the first minimum."""
    return along(XS) - along(X0)


def stiffness(x):
    """Second derivative along the path at each stationary point."""
    others = [p for p in (X0, XS, X1) if p != x]
    return C * (x - others[0]) * (x - others[1])


def rate():
    """Classical harmonic theory: the frequencies across differ between minimum and saddle."""
    across = (ACROSS + TILT * X0) / (ACROSS + TILT * XS)  # two directions, each the square root
    attempt = OMEGA * np.sqrt(stiffness(X0) / MASS) / (2 * np.pi)
    return attempt * across * np.exp(-barrier() / (BOLTZMANN_IN_EV * KELVIN))


def populations():
    """Of the two minima, classical."""
    share = [
        np.exp(-along(x) / (BOLTZMANN_IN_EV * KELVIN)) / (np.sqrt(stiffness(x)) * (ACROSS + TILT * x)) for x in (X0, X1)
    ]
    return np.array(share) / sum(share)


def mean_place(kelvin, basin):
    """Mean x over a basin that ends at the saddle, classical; the stiffness across weighs it."""
    x = np.linspace(-1.5, 0.0, 3001) if basin == 0 else np.linspace(0.0, 1.5, 3001)
    weight = np.exp(-along(x) / (BOLTZMANN_IN_EV * kelvin)) / (ACROSS + TILT * x)
    return np.sum(weight * x) / np.sum(weight)


def line(ppm, sigma=None, k=None):
    """Two sites in exchange, McConnell's equation, per Hz; shieldings and rate may be others than the toy's."""
    larmor = abs(isotope("13C").gamma) * FIELD / (2 * np.pi) * 1e-6
    p, k = populations(), rate() if k is None else k
    sites = larmor * (REFERENCE - (SIGMA + SLOPE * np.array([X0, X1]) if sigma is None else np.asarray(sigma)))
    back = k * p[0] / p[1]
    jumps = np.array([[-k, back], [k, -back]])
    out = []
    for nu in larmor * np.asarray(ppm):
        matrix = np.diag(2j * np.pi * (nu - sites) + np.pi * WIDTH) - jumps
        out.append(2 * np.linalg.solve(matrix, p.astype(complex)).sum().real)
    return jnp.asarray(out)
