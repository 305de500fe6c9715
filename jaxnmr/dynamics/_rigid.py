"""Motion of the whole that costs no energy: translations and rotations."""

from __future__ import annotations

from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxnmr.compiling import QUICK, exact_products, known
from jaxnmr.dynamics._surface import Surface
from jaxnmr.errors import is_concrete

__all__ = ["Rigid", "idle_motions", "inertia", "rigid_kind", "rigid_motions", "rigid_parts", "rigid_projector"]

Rigid = Literal["molecule", "crystal", "none"]

# A molecule whose turn about an axis is shorter than this share of the others, squared, is linear: its rotor has two axes.
_LINEAR = 1e-6


def rigid_kind(surface: Surface, positions: Array, rigid: str | None) -> Rigid:
    """What costs no energy: all motions of a molecule, translations of a crystal, nothing where atoms are held.

    A word that was given is obeyed. By default atoms in space without cell and without fixed ones are shifted and turned as
    a whole, and the energy is asked: "molecule" where neither costs any, "crystal" where only turns do, as in a uniform
    field, "none" where a shift does, as in a trap. Where values are traced, as under `jit` in the surface's parameters, they
    count as a molecule unasked.

    Args:
        surface: on which they move.
        positions: (atom, dimension), with any number of axes before, of which the first is looked at.
        rigid: the word, or None.

    Raises:
        ValueError: a word that is not known.
    """
    several = positions.shape[-1] == 3 and positions.shape[-2] > 1
    if rigid is not None:
        if rigid == "molecule" and positions.shape[-1] != 3:
            raise ValueError(f"rigid: 'molecule' came for {positions.shape[-1]} dimensions; give 'none' where not in space.")
        if rigid == "molecule" or rigid == "crystal" or rigid == "none":
            return rigid
        raise ValueError(f"rigid: got {rigid!r}; give 'molecule', 'crystal' or 'none'.")
    if not several or any(surface.fixed or ()):
        return "none"
    if surface.cell is not None:
        return "crystal"
    if not is_concrete(surface, positions):
        return "molecule"
    # Inside someone's jit constants are still constants.
    with jax.ensure_compile_time_eval():
        costs = (_quick_costs if known() else _costs)(surface, positions.reshape(-1, *positions.shape[-2:])[0])
    if not is_concrete(costs):
        return "molecule"
    shift, turn = np.asarray(costs)
    return "none" if shift else "crystal" if turn else "molecule"


@exact_products
def _of_motions(surface: Surface, positions: Array) -> Array:
    """Whether a shift and a turn of the whole change the energy: no, where that cannot be told."""
    n = len(positions)
    arm = positions - jnp.mean(positions, axis=0)[None]
    size = jnp.sqrt(jnp.mean(jnp.sum(arm**2, axis=-1)))
    away = jnp.sqrt(jnp.sum((arm[:, None] - arm[None]) ** 2, axis=-1)) + jnp.where(jnp.eye(n, dtype=bool), jnp.inf, 0.0)
    # Off any minimum, where the energy may be zero and leaves no measure of what is much.
    noise = np.random.default_rng(0).normal(size=positions.shape)
    shaken = positions + 0.02 * jnp.min(away) * jnp.asarray(noise, positions.dtype)
    # No symmetry of any field: all components differ.
    step = jnp.asarray([1.61, -1.47, 1.35], positions.dtype) * size
    a, b = (jnp.asarray([[np.cos(x), -np.sin(x)], [np.sin(x), np.cos(x)]], positions.dtype) for x in (0.7, 1.1))
    eye = jnp.eye(3, dtype=positions.dtype)
    turn = eye.at[:2, :2].set(a) @ eye.at[1:, 1:].set(b)
    centre = jnp.mean(shaken, axis=0)[None]
    places = jnp.stack([positions, shaken, shaken + step[None], (shaken - centre) @ turn.T + centre])

    def one(r: Array) -> tuple[Array, Array]:
        around = surface.renew(surface.neighbors, r)
        return surface.energy(r, None, around), jnp.asarray(False) if around is None else around.overflowed

    energies, short = jax.lax.map(one, places)
    # Rounding of a network in single precision, even among others in double, is no field.
    allowed = 1e-3 * jnp.abs(energies[1] - energies[0]) + 1e-6 * jnp.max(jnp.abs(energies))
    change = jnp.abs(energies[2:] - energies[1])
    return (change > allowed) & jnp.isfinite(change) & ~jnp.any(short)


_costs = eqx.filter_jit(_of_motions)
# Four energies: to compile them is all that costs.
_quick_costs = eqx.filter_jit(_of_motions, compiler_options=QUICK)  # pyright: ignore[reportCallIssue]


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
    b, inverse = rigid_parts(motions)
    projector = b.T @ inverse @ b
    return projector, jnp.round(jnp.trace(projector)).astype(jnp.int32)


def rigid_parts(motions: Float[Array, "motion atom 3"]) -> tuple[Float[Array, "motion size"], Float[Array, "motion motion"]]:
    """The projector's factors: B and G with P = BᵀGB, of which no matrix of the size of the system need be made."""
    b = motions.reshape(len(motions), -1)
    lengths = jnp.sum(b**2, axis=1)
    # Lengths of shifts and of turns differ, and have different units. But all turns share one: a turn that moves next to
    # nothing, as that of a linear molecule about its axis, must stay short.
    scale = jnp.concatenate(
        [jnp.broadcast_to(jnp.max(part), part.shape) for part in (lengths[:3], lengths[3:]) if len(part)]
    )
    b = b / jnp.sqrt(jnp.where(scale > 0, scale, 1.0))[:, None]
    return b, jnp.linalg.pinv(b @ b.T, rtol=_LINEAR, hermitian=True)


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
