"""Motion of the whole that costs no energy: translations and rotations."""

from __future__ import annotations

from typing import Literal

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxnmr.dynamics._surface import Surface

__all__ = ["Rigid", "idle_motions", "inertia", "rigid_kind", "rigid_motions", "rigid_projector"]

Rigid = Literal["molecule", "crystal", "none"]


def rigid_kind(surface: Surface, positions: Array, rigid: str | None) -> Rigid:
    """What costs no energy: all motions of a molecule, translations of a crystal, nothing where atoms are held.

    Raises:
        ValueError: a word that is not known.
    """
    if rigid is not None:
        if rigid == "molecule" or rigid == "crystal" or rigid == "none":
            return rigid
        raise ValueError(f"rigid: got {rigid!r}; give 'molecule', 'crystal' or 'none'.")
    if positions.shape[-1] != 3 or positions.shape[-2] == 1 or any(surface.fixed or ()):
        return "none"
    return "molecule" if surface.cell is None else "crystal"


def rigid_motions(
    positions: Float[Array, "atom dim"], weights: Float[Array, " atom"], kind: Rigid
) -> Float[Array, "motion atom dim"]:
    """Displacements along rigid motions, each times the root of the weights; not normalised."""
    n, root = len(positions), jnp.sqrt(weights)
    if kind == "none":
        return jnp.zeros((0, *positions.shape), positions.dtype)
    eye = jnp.eye(positions.shape[-1], dtype=positions.dtype)
    shifts = jnp.broadcast_to(eye[:, None, :], (len(eye), n, len(eye)))
    if kind == "crystal":
        return shifts * root[:, None][None]
    centre = jnp.sum(positions * weights[:, None], axis=0) / jnp.sum(weights)
    arm = positions - centre[None]
    turns = jnp.cross(jnp.broadcast_to(eye[:, None, :], (3, n, 3)), jnp.broadcast_to(arm[None], (3, n, 3)))
    return jnp.concatenate([shifts, turns]) * root[:, None][None]


def rigid_projector(motions: Float[Array, "motion atom 3"]) -> tuple[Float[Array, "size size"], Array]:
    """Projector on the space of these motions, and its rank (a linear molecule has no turn about its axis)."""
    size = motions[0].size if len(motions) else 0
    if not len(motions):
        return jnp.zeros((size, size)), jnp.zeros((), jnp.int32)
    b = motions.reshape(len(motions), -1)
    gram = b @ b.T
    # Lengths of shifts and turns differ: compare what is left with what there was.
    scale = jnp.sqrt(jnp.diag(gram))
    safe = jnp.where(scale > 0, scale, 1.0)
    inverse = jnp.linalg.pinv(gram / safe[:, None] / safe[None, :], rtol=1e-6, hermitian=True)
    b = b / safe[:, None]
    projector = b.T @ inverse @ b
    return projector, jnp.round(jnp.trace(projector)).astype(jnp.int32)


def idle_motions(
    positions: Float[Array, "atom dim"],
    gradient: Float[Array, "atom dim"],
    hessian: Float[Array, "size size"],
    *,
    free: Float[Array, "atom dim"],
) -> Float[Array, "motion size"]:
    r"""Orthonormal rigid motions that leave the energy as it is and fixed atoms at rest; rows of zeros fill up.

    An energy that does not change under $\mathbf r_i\mapsto\mathbf r_i + \mathbf A(\mathbf r_i - \mathbf c) + \mathbf t$ has
    $\mathbf H\mathbf v = \mathbf A\,\nabla E$ along that motion v, at stationary points and elsewhere: which motions these
    are is thus seen from the energy, in any dimension, with whatever field, cell or held atoms. Only rigid motions are
    looked at, so a soft mode is none. With these motions as rows of B, $\mathbf H + \mathbf B^\top\mathbf B$ can be solved
    with; since a derivative of the gradient has no part along them, neither has the solution, and B may be held fixed in
    derivatives of it.
    """
    n, dim = positions.shape
    e, eye = np.eye(dim), jnp.eye(dim, dtype=positions.dtype)
    planes = [(i, j) for i in range(dim) for j in range(i)]
    turns = jnp.asarray([np.outer(e[i], e[j]) - np.outer(e[j], e[i]) for i, j in planes], positions.dtype)
    turns = turns.reshape(-1, dim, dim)  # none in one dimension
    arm = positions - jnp.mean(positions, axis=0)[None]
    shifts = jnp.broadcast_to(eye[:, None, :], (dim, n, dim))
    motions = jnp.concatenate([shifts, jnp.einsum("kxy,ay->kax", turns, arm)]).reshape(-1, n * dim)
    forces = jnp.concatenate([jnp.zeros_like(shifts), jnp.einsum("kxy,ay->kax", turns, gradient)]).reshape(-1, n * dim)
    # Orthonormal combinations of them; a row of atoms has no turn about its axis, one atom none at all.
    _, lengths, combine = jnp.linalg.svd(motions.T, full_matrices=False)
    there = lengths > max(1e-6, 20 * float(jnp.finfo(lengths.dtype).eps)) * jnp.max(lengths)
    combine = jnp.where(there[:, None], combine / jnp.where(there, lengths, 1.0)[:, None], 0.0)
    motions, forces = combine @ motions, combine @ forces
    stiff = jnp.max(jnp.abs(hessian))
    defect = jnp.where(free.ravel()[None] > 0, motions @ hessian - forces, jnp.where(stiff > 0, stiff, 1.0) * motions)
    # What is left of no combination at all must not count as idle.
    defect = jnp.concatenate([defect, stiff * jnp.diag((~there).astype(defect.dtype))], axis=1)
    left, size, _ = jnp.linalg.svd(defect, full_matrices=False)
    # Between rounding and the softest field that anybody means: a motion not seen as idle costs digits, not the answer.
    idle = size <= jnp.finfo(size.dtype).eps ** 0.7 * stiff
    return jnp.where(idle[:, None], left.T @ motions, 0.0)


def inertia(positions: Float[Array, "atom 3"], masses: Float[Array, " atom"]) -> Float[Array, "3 3"]:
    """Tensor of inertia about the centre of mass, amu Å²."""
    arm = positions - jnp.sum(positions * masses[:, None], axis=0)[None] / jnp.sum(masses)
    moment = jnp.einsum("a,ax,ay->xy", masses, arm, arm)
    return jnp.trace(moment) * jnp.eye(3, dtype=moment.dtype) - moment
