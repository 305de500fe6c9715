"""Systems with known answers, shared by the tests of spins, exchange and spectra."""

from dataclasses import dataclass

import numpy as np

import jaxnmr as jn
from jaxnmr.spectrum._grids import Grid, Points
from tests.reference import brute

MAGIC = float(np.arctan(np.sqrt(2.0)))


@dataclass(frozen=True)
class Given(Grid):
    """Exactly these directions, whatever the number asked for."""

    directions: tuple[tuple[float, float, float], ...]
    weights: tuple[float, ...]

    def points(self, count: int) -> Points:
        n = len(self.weights)
        return Points(np.array(self.directions), np.array(self.weights), np.full(n, 0.2 * 2 * np.pi / n))


def given(directions, weights=None) -> Given:
    """A grid of these directions (C, 3)."""
    directions = np.asarray(directions)
    weights = np.full(len(directions), 1 / len(directions)) if weights is None else np.asarray(weights)
    return Given(tuple(map(tuple, directions.tolist())), tuple(weights.tolist()))


def turn(axis, angle: float) -> np.ndarray:
    """Rotation matrix about an axis (Rodrigues)."""
    x, y, z = np.asarray(axis, dtype=float) / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def random_sites(isotope: str, n: int, rng: np.random.Generator, antisymmetric: float = 10.0) -> jn.Sites:
    """General tensors, no two axes alike, with an antisymmetric shift."""
    spin = jn.isotope(isotope).spin
    shift, quadrupole = [], []
    for _ in range(n):
        tensor = np.asarray(
            jn.shift_tensor(rng.uniform(-20, 50), rng.uniform(-60, 60), rng.uniform(), tuple(rng.uniform(0, 3, 3)))
        )
        skew = antisymmetric * rng.normal(size=(3, 3))
        shift.append(tensor + skew - skew.T)
        c_q = (2e5 if spin == 1 else 3e6) * rng.uniform(0.5, 1)
        quadrupole.append(np.asarray(jn.quadrupole_tensor(c_q, rng.uniform(), tuple(rng.uniform(0, 3, 3)))))
    return jn.Sites(isotope, np.stack(shift), np.stack(quadrupole) if spin >= 1 else None)


def csa_pair(splitting: float = 0.0, zeta: float = 100.0, angle: float = np.deg2rad(70.528779)) -> jn.Sites:
    """13C, eta 0, axes an angle apart in the xz plane; isotropic shifts a splitting (ppm) apart."""
    zero = np.zeros(2)
    iso = np.array([-splitting / 2, splitting / 2])
    return jn.Sites("13C", jn.shift_tensor(iso, zeta, 0.0, (zero, np.array([0.0, angle]), zero)))


def all_pairs(n: int, rate, scale=lambda i, j: 1.0) -> dict:
    """One way of every pair of n sites."""
    return {(i, j): rate * scale(i, j) for i in range(n) for j in range(i)}


def reference(sites: jn.Sites, field: float, model: jn.ExchangeModel | None, linewidth=0.0) -> brute.System:
    """The same system for the brute force."""
    return brute.make_system(
        sites.nucleus.spin,
        float(sites.nucleus.larmor_frequency(field)),
        sites.shift,
        sites.quadrupole,
        None if model is None else np.asarray(model.rates),
        np.asarray(sites.populations) if model is None else np.asarray(model.populations),
        linewidth,
    )


def relative_l2(got, expected) -> float:
    """|got - expected| / |expected| over the whole axis."""
    got, expected = np.asarray(got, dtype=complex), np.asarray(expected, dtype=complex)
    return float(np.linalg.norm(got - expected) / np.linalg.norm(expected))
