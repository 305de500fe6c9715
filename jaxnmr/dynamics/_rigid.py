"""Motion of the whole that costs no energy: translations and rotations."""

from __future__ import annotations

from typing import Literal

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxnmr.dynamics._surface import Surface

__all__ = ["Rigid", "inertia", "rigid_kind", "rigid_motions", "rigid_projector"]

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


def inertia(positions: Float[Array, "atom 3"], masses: Float[Array, " atom"]) -> Float[Array, "3 3"]:
    """Tensor of inertia about the centre of mass, amu Å²."""
    arm = positions - jnp.sum(positions * masses[:, None], axis=0)[None] / jnp.sum(masses)
    moment = jnp.einsum("a,ax,ay->xy", masses, arm, arm)
    return jnp.trace(moment) * jnp.eye(3, dtype=moment.dtype) - moment
