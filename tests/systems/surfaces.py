"""Potential-energy surfaces whose stationary points are known."""

import jax.numpy as jnp
import numpy as np

# Müller and Brown, Theor. Chim. Acta 53, 75 (1979).
MULLER_BROWN = dict(
    A=np.array([-200.0, -100.0, -170.0, 15.0]),
    a=np.array([-1.0, -1.0, -6.5, 0.7]),
    b=np.array([0.0, 0.0, 11.0, 0.6]),
    c=np.array([-10.0, -10.0, -6.5, 0.7]),
    x=np.array([1.0, 0.0, -0.5, -1.0]),
    y=np.array([0.0, 0.5, 1.5, 1.0]),
)
MB_MINIMA = {
    "A": ((-0.558223634633, 1.441725841805), -146.699517209954),
    "B": ((0.623499404931, 0.028037758529), -108.166724116852),
    "C": ((-0.050010822998, 0.466694104872), -80.767818129659),
}
MB_SADDLES = {
    "ts1": ((-0.822001558733, 0.624312802815), -40.664843508657),
    "ts2": ((0.212486582001, 0.292988325107), -72.248940112325),
}
# Harmonic prefactors for unit mass, in the surface's own units.
MB_PREFACTORS = {
    ("A", "ts1"): 9.2894411546,
    ("C", "ts1"): 4.1101853924,
    ("C", "ts2"): 4.0262789049,
    ("B", "ts2"): 9.0020782692,
}


def muller_brown_of(amplitudes, positions):
    """Energy of one particle in the plane, (1, 2), as a function of the four amplitudes too."""
    p = MULLER_BROWN
    x, y = positions[0, 0], positions[0, 1]
    dx, dy = x - jnp.asarray(p["x"], x.dtype), y - jnp.asarray(p["y"], x.dtype)
    a, b, c = (jnp.asarray(p[name], x.dtype) for name in "abc")
    return jnp.sum(amplitudes.astype(x.dtype) * jnp.exp(a * dx**2 + b * dx * dy + c * dy**2))


def muller_brown(positions):
    return muller_brown_of(jnp.asarray(MULLER_BROWN["A"]), positions)


def leps(positions):
    """LEPS potential of a collinear atom transfer coupled to an oscillator (Jónsson, Mills, Jacobsen 1998)."""
    x, y = positions[0, 0], positions[0, 1]
    a, b, c = 0.05, 0.30, 0.05
    d, r0, alpha = (4.746, 4.746, 3.445), 0.742, 1.942
    r_ac, k_c, cc = 3.742, 0.2025, 1.154
    r = (x, r_ac - x, jnp.asarray(r_ac, x.dtype))
    q = [de / 2 * (1.5 * jnp.exp(-2 * alpha * (s - r0)) - jnp.exp(-alpha * (s - r0))) for de, s in zip(d, r, strict=True)]
    j = [de / 4 * (jnp.exp(-2 * alpha * (s - r0)) - 6 * jnp.exp(-alpha * (s - r0))) for de, s in zip(d, r, strict=True)]
    one = (1 + a, 1 + b, 1 + c)
    qs = sum(v / o for v, o in zip(q, one, strict=True))
    js = sum((v / o) ** 2 for v, o in zip(j, one, strict=True))
    js = js - j[0] * j[1] / (one[0] * one[1]) - j[1] * j[2] / (one[1] * one[2]) - j[0] * j[2] / (one[0] * one[2])
    return qs - jnp.sqrt(js) + 2 * k_c * (x - (r_ac / 2 - y / cc)) ** 2


def lennard_jones(positions):
    """Σ 4 (r⁻¹² − r⁻⁶) over pairs, in units of ε and σ."""
    n = len(positions)
    i, j = np.triu_indices(n, 1)
    r6 = jnp.sum((positions[i] - positions[j]) ** 2, axis=-1) ** 3
    return jnp.sum(4 * (1 / r6**2 - 1 / r6))


LJ7_MINIMA = (-16.50538, -15.93504, -15.59321, -15.53306)
LJ7_SADDLES = (-15.44473, -15.31986, -15.28342, -15.09785, -15.03338, -15.02644, -14.59695, -14.56806)


def cut_lennard_jones(positions, cell, graph):
    """Lennard-Jones that goes smoothly to zero at 3 σ, over a neighbour graph."""
    positions = jnp.zeros((graph.n_atoms, 3), positions.dtype).at[: len(positions)].set(positions)
    d2 = jnp.sum(graph.vectors(positions, cell) ** 2, axis=-1)
    near = d2 < 9.0
    d2 = jnp.where(near, d2, 1.0)
    return 0.5 * jnp.sum(jnp.where(near, 4 * (d2**-6 - d2**-3) * (1 - d2 / 9) ** 3, 0.0))


def cut_lennard_jones_of_all(positions):
    """The same over all pairs of a cluster, in NumPy."""
    i, j = np.triu_indices(len(positions), 1)
    d2 = ((positions[i] - positions[j]) ** 2).sum(axis=-1)
    return np.where(d2 < 9, 4 * (d2**-6.0 - d2**-3.0) * (1 - d2 / 9) ** 3, 0.0).sum()
