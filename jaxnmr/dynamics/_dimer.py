"""First-order saddles: up along the softest direction, down along all others, and proof of what was found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jaxnmr.compiling import exact_products
from jaxnmr.dynamics._hessian import dense_hessian, lowest_modes
from jaxnmr.dynamics._implicit import settled
from jaxnmr.dynamics._minimise import Minimum, minimise
from jaxnmr.dynamics._optimisers import LBFGS, largest
from jaxnmr.dynamics._parts import Progress, in_parts
from jaxnmr.dynamics._rigid import Rigid, rigid_kind, rigid_motions, rigid_projector
from jaxnmr.dynamics._status import CONVERGED, MAX_STEPS, NOT_FINITE, OVERFLOW, SearchError, Status, explain, status_of
from jaxnmr.dynamics._surface import EnergyFunction, Surface, as_surface
from jaxnmr.errors import is_concrete

__all__ = ["Saddle", "dimer"]

# Up to so many coordinates the whole Hessian is counted; beyond, so many Lanczos steps look for two negative directions,
# twice, since one round sees one of two equal modes. Enough to tell a soft mode from a negative one, 1e-3 of the stiffest.
_DENSE = 600
_LANCZOS = 120


class Saddle(eqx.Module):
    """Where a search for a saddle ended; with a leading axis for several.

    Attributes:
        positions: Å, (atom, dimension).
        energy: eV.
        mode: the direction that was climbed, of unit norm.
        curvature: second derivative along it, eV/Å².
        max_force: largest norm of a force, eV/Å.
        n_negative: negative eigenvalues of the Hessian; in large systems 2 stands for more too, and -1 for a second one
            whose sign was not found out.
        evaluations: of forces, and of products of the Hessian, together, in the search. The Hessian that proves it and the
            ways down (`sides.evaluations`) come on top.
        code: a `Status`, as a number.
        sides: the two minima that it joins, a leading axis of two; None where not asked for.
        neighbors: as they were at the end.
    """

    positions: Float[Array, "*batch atom dim"]
    energy: Float[Array, "*batch"]
    mode: Float[Array, "*batch atom dim"]
    curvature: Float[Array, "*batch"]
    max_force: Float[Array, "*batch"]
    n_negative: Int[Array, "*batch"]
    evaluations: Int[Array, "*batch"]
    code: Int[Array, "*batch"]
    sides: Minimum | None
    neighbors: Any

    @property
    def converged(self) -> Bool[Array, "*batch"]:
        """Whether the forces vanish and exactly one direction goes down."""
        return (self.code == CONVERGED) & (self.n_negative == 1)

    @property
    def status(self) -> Status:
        """How the worst of them ended."""
        return status_of(self.code)


def dimer(
    surface: Surface | EnergyFunction,
    positions: Any,
    direction: Any = None,
    *,
    max_force: float = 1e-4,
    max_steps: int = 500,
    rotations: int = 4,
    max_step: float = 0.1,
    rigid: str | None = None,
    sides: bool = True,
    push: float = 0.1,
    seed: int = 0,
    throw: bool = True,
    progress: Progress | None = None,
) -> Saddle:
    r"""Search for a first-order saddle from one point, as from a climbing image or a displaced minimum.

    The dimer's axis $\hat{\mathbf n}$ is turned to the softest direction by products of the Hessian (exact ones, not
    differences over the dimer's length), then L-BFGS follows the force with its part along the axis reversed,
    $\mathbf F - 2(\mathbf F\cdot\hat{\mathbf n})\hat{\mathbf n}$; where the curvature is still positive, only that part.
    What is found is verified: one negative eigenvalue, and the minima on both sides.

    Args:
        surface: a `Surface`, or an energy function of positions.
        positions: Å, (atom, dimension), or (start, atom, dimension) for several searches side by side.
        direction: a guess for the axis, of the shape of `positions`; drawn at random unless given.
        max_force: goal for the largest norm of a force, eV/Å.
        max_steps: how often the point moves, in all.
        rotations: turns of the axis for each move; one product of the Hessian each.
        max_step: farthest that an atom moves at once, Å.
        rigid: what costs no energy, see `vibrations`.
        sides: go down to the two minima, for one search; for several say False and `dimer` again at each saddle.
        push: how far from the saddle the ways down start, Å.
        seed: of random directions.
        throw: raise where no first-order saddle was reached.
        progress: called every few moves with moves made, `max_steps`, and the largest force, eV/Å; then, for `sides`, as
            `minimise` does on the ways down.

    Raises:
        ValueError: shapes that do not fit, goals that are not positive.
        SearchError: not converged, or no negative mode (a minimum), or more than one, or not known whether there is more
            than one; the message says which.

    References:
        Henkelman, Jónsson, J. Chem. Phys. 111, 7010 (1999); Kästner, Sherwood, J. Chem. Phys. 128, 014106 (2008).
    """
    surface = as_surface(surface)
    start = jax.lax.stop_gradient(surface.check(positions))
    if not (max_force > 0 and push > 0):
        raise ValueError(f"max_force, push: got {max_force} and {push}; both must be > 0.")
    if direction is None:
        direction = jax.random.normal(jax.random.key(seed), start.shape, start.dtype)
    axis = jnp.asarray(direction, start.dtype)
    if axis.shape != start.shape:
        raise ValueError(f"direction: got shape {axis.shape}; give that of positions, {start.shape}.")
    kind = rigid_kind(surface, start, rigid)
    batch = start.shape[:-2]
    flat = lambda x: x.reshape(-1, *x.shape[len(batch) :])  # noqa: E731
    neighbors, frozen = surface.neighbors, surface.frozen()
    start, axis, optimiser = flat(start), flat(axis), LBFGS(max_step=max_step)
    made, goal = np.zeros(len(start), np.int32), jnp.asarray(max_force, start.dtype)
    how: dict[str, Any] = dict(optimiser=optimiser, max_force=goal, rotations=rotations, kind=kind)
    while True:
        before = int(made.max())
        carry = _climbed(frozen, start, axis, how | {"neighbors": neighbors}, max_steps - before, progress, before)
        count, code = carry[0], carry[-1]
        if neighbors is None or not is_concrete(code) or not (np.asarray(code) == OVERFLOW).any():
            break
        now = made + np.asarray(count)
        if now.max() >= max_steps:
            break
        at = int(np.argmax(np.asarray(code) == OVERFLOW))
        start, axis, made = carry[1], carry[5], now
        neighbors = neighbors.grow(start[at], surface.cell)
    found = _proven(frozen, neighbors, carry, kind)
    found = eqx.tree_at(lambda s: s.evaluations, found, (count + made) * (2 + rotations))
    found = jax.tree.map(lambda x: x.reshape(*batch, *x.shape[1:]) if eqx.is_array(x) else x, found)
    if is_concrete(found.code) and throw:
        _complain(found, max_force)
    live = settled(surface, found.neighbors, found.positions, found.energy)
    found = eqx.tree_at(lambda s: (s.positions, s.energy), found, live)
    if sides and not batch:
        # Far enough that the force down there exceeds the goal.
        far = push * found.mode / jnp.sqrt(jnp.max(jnp.sum(found.mode**2, axis=-1)))
        both = jnp.stack([found.positions - far, found.positions + far])
        given: dict[str, Any] = dict(max_force=max_force, max_steps=10 * max_steps, throw=False, progress=progress)
        low = minimise(surface, jax.lax.stop_gradient(both), **given)
        found = eqx.tree_at(lambda s: s.sides, found, low, is_leaf=lambda leaf: leaf is None)
        if throw and is_concrete(low.code) and low.status is not Status.CONVERGED:
            raise SearchError(explain("dimer, on the way down from the saddle", low.code, low.max_force), found)
    return found


def _complain(found: Saddle, max_force: float) -> None:
    curvature, force = np.atleast_1d(np.asarray(found.curvature)), np.atleast_1d(np.asarray(found.max_force))
    if ((force <= max_force) & (curvature >= 0)).any():
        raise SearchError(
            "dimer: ended at a minimum (no negative mode); start nearer to the barrier, or give a direction.", found
        )
    if found.status is Status.MAX_STEPS and (curvature > 0).any():
        raise SearchError(
            f"dimer: max_steps reached, and the softest direction still curves upwards ({curvature.max():.3g} eV/Å²): the "
            "search has not left a minimum's bowl; start nearer to the barrier, or give a direction.",
            found,
        )
    if found.status is not Status.CONVERGED:
        raise SearchError(explain("dimer", found.code, found.max_force), found)
    negative = np.atleast_1d(np.asarray(found.n_negative))
    if (negative == 0).any():
        raise SearchError(
            "dimer: the direction that was climbed is negative by rounding only (no negative mode); start nearer to the "
            "barrier, or give a direction.",
            found,
        )
    if (negative < 0).any():
        raise SearchError(
            "dimer: reached a stationary point with a negative mode, but could not tell whether a second mode is negative "
            "(n_negative -1): look with vibrations(surface, positions, lowest=2, steps=500) there. throw=False returns it.",
            found,
        )
    if (negative > 1).any():
        raise SearchError(
            f"dimer: ended at a stationary point with {negative.max()} negative modes; the reaction passes lower: push the "
            "atoms along the second mode (see vibrations) and search again. throw=False returns what was reached.",
            found,
        )


def _climbed(
    surface: Surface, start: Array, axis: Array, how: dict[str, Any], most: int, progress: Progress | None, before: int
) -> tuple[Any, ...]:
    """What the searches carry at their ends; `how` goes on to `_advanced`."""

    def advance(carry: Any, limit: Any) -> tuple[Any, Any, Any]:
        carry, told = _advanced(surface, carry, jnp.asarray(limit, jnp.int32), **how)
        return carry, carry, told

    carry = _begun(surface, how["neighbors"], start, axis, how["optimiser"])
    return in_parts(advance, carry, most, progress, before)


@eqx.filter_jit
def _begun(surface: Surface, neighbors: Any, start: Array, axis: Array, optimiser: LBFGS) -> Any:
    """What the searches carry before the first evaluation: of each, evaluations, place, energy, gradient and so on."""

    def one(start: Array, axis: Array) -> Any:
        arrays, _ = surface.carried(neighbors, start)
        zero, code = jnp.zeros((), jnp.int32), jnp.asarray(MAX_STEPS, jnp.int32)
        energy = jnp.zeros_like(jax.eval_shape(lambda r: surface.energy(r, None, neighbors), start))
        still, none = jnp.zeros_like(start), jnp.zeros((), start.dtype)
        return zero, start, energy, still, still, axis, none, optimiser.start(still), arrays, code

    return jax.vmap(one)(start, axis)


@eqx.filter_jit
@exact_products
def _advanced(
    surface: Surface,
    carry: Any,
    limit: Array,
    *,
    neighbors: Any,
    optimiser: LBFGS,
    max_force: Array,
    rotations: int,
    kind: Rigid,
) -> tuple[Any, Any]:
    """The searches after `limit` moves or at their ends, and how far they have come."""
    _, static = surface.carried(neighbors, carry[1][0])
    step = _stepper(surface, static, optimiser, max_force, rotations, kind)
    goes_on = lambda c: (c[-1] == MAX_STEPS) & ((c[0] == 0) | (c[0] < limit))  # noqa: E731
    carry = jax.vmap(lambda one: jax.lax.while_loop(goes_on, step, one))(carry)
    count, gradient, code = carry[0], carry[3], carry[-1]
    return carry, (jnp.all(code != MAX_STEPS), jnp.max(count), jnp.nanmax(jax.vmap(largest)(gradient)))


@eqx.filter_jit
@exact_products
def _proven(surface: Surface, neighbors: Any, carry: Any, kind: Rigid) -> Saddle:
    """What the searches have found, with its negative modes counted."""
    _, static = surface.carried(neighbors, carry[1][0])
    allowed = _inside(surface, kind)

    def one(carry: Any) -> Saddle:
        count, r, energy, gradient, _, n, c, _, arrays, code = carry
        around = eqx.combine(arrays, static)
        negative = _count_negative(surface.with_neighbors(around), r, n, allowed)
        return Saddle(r, energy, n, c, largest(gradient), negative, count, code, None, around)

    return eqx.filter_vmap(one)(carry)


def _inside(surface: Surface, kind: Rigid) -> Callable[[Array, Array], Array]:
    """Takes out of a vector, at some place, what fixed atoms and rigid motion have of it."""

    def allowed(v: Array, r: Array) -> Array:
        v = v * surface.free(r)
        if kind == "none":
            return v
        projector, _ = rigid_projector(rigid_motions(r, jnp.ones(len(r), r.dtype), kind))
        return v - (projector @ v.ravel()).reshape(v.shape)

    return allowed


def _stepper(
    surface: Surface, static: Any, optimiser: LBFGS, max_force: Array, rotations: int, kind: Rigid
) -> Callable[[Any], Any]:
    """One move of one search, from and to what it carries."""
    allowed = _inside(surface, kind)

    def unit(v: Array) -> Array:
        norm = jnp.sqrt(jnp.sum(v**2))
        return v / jnp.where(norm > 0, norm, 1.0)

    def turned(r: Array, n: Array, around: Any) -> tuple[Array, Array]:
        """Steps of locally optimal conjugate gradients for the smallest Rayleigh quotient."""
        product = lambda v: allowed(surface.hessian_product(r, v, around), r)  # noqa: E731
        n = unit(allowed(n, r))
        hn = product(n)

        def turn(_: Any, carry: tuple[Array, ...]) -> tuple[Array, ...]:
            n, hn, p, hp = carry
            c = jnp.sum(n * hn)
            w = hn - c * n
            scale = jnp.sqrt(jnp.sum(w**2))
            w = unit(w)
            w = unit(w - jnp.sum(w * n) * n)
            hw = product(w)
            # The third direction, made orthogonal to the two.
            p, hp = p - jnp.sum(p * n) * n, hp - jnp.sum(p * n) * hn
            overlap = jnp.sum(p * w)
            p, hp = p - overlap * w, hp - overlap * hw
            norm = jnp.sqrt(jnp.sum(p**2))
            there = norm > 1e-6
            p, hp = (jnp.where(there, v / jnp.where(there, norm, 1.0), 0.0) for v in (p, hp))
            s, hs = jnp.stack([n, w, p]).reshape(3, -1), jnp.stack([hn, hw, hp]).reshape(3, -1)
            small = s @ hs.T
            high = 4 * jnp.max(jnp.abs(small))
            # Empty directions are put above: the search does not take them.
            empty = jnp.stack([jnp.zeros_like(there), scale < 1e-12, ~there]).astype(small.dtype)
            _, vectors = jnp.linalg.eigh((small + small.T) / 2 + high * jnp.diag(empty))
            y = vectors[:, 0]
            step = jnp.asarray([0.0, 1.0, 1.0], y.dtype) * y
            combine = lambda a, b: (a @ b).reshape(n.shape)  # noqa: E731
            return combine(y, s), combine(y, hs), combine(step, s), combine(step, hs)

        zero = jnp.zeros_like(n)
        n, hn, _, _ = jax.lax.fori_loop(0, rotations, turn, (n, hn, zero, zero))
        return unit(n), jnp.sum(n * hn)

    def evaluate(r: Array, n: Array, around: Any) -> Any:
        around = surface.renew(around, r)
        energy, gradient = surface.value_and_gradient(r, around)
        n, c = turned(r, n, around)
        along = jnp.sum(gradient * n) * n
        field = jnp.where(c < 0, gradient - 2 * along, -along)
        return energy, gradient, field, n, c, around

    def ended(energy: Array, gradient: Array, c: Array, around: Any) -> Array:
        force = largest(gradient)
        code = jnp.where((force <= max_force) & (c < 0), CONVERGED, MAX_STEPS)
        code = jnp.where(jnp.isfinite(energy) & jnp.isfinite(force), code, NOT_FINITE)
        code = code if around is None else jnp.where(around.overflowed, OVERFLOW, code)
        return code.astype(jnp.int32)

    def step(carry: Any) -> Any:
        count, r, _, _, field, n, c, state, arrays, _ = carry
        # The first evaluation is a step of no length: the energy is in the program once, and less is compiled.
        first = count == 0
        move = jnp.where(first, 0.0, optimiser.step(state, field))
        new = evaluate(r + move, n, eqx.combine(arrays, static))
        # The two fields do not belong together: start afresh where the curvature changes its sign.
        learnt: Any = optimiser.learn(state, move, field, new[2] - field, jnp.asarray(True))
        fresh = optimiser.forget(learnt)
        crossed = (new[4] < 0) != (c < 0)
        state = jax.tree.map(lambda old, a, b: jnp.where(first, old, jnp.where(crossed, a, b)), state, fresh, learnt)
        code = ended(new[0], new[1], new[4], new[5])
        return count + 1, r + move, *new[:5], state, eqx.filter(new[5], eqx.is_array), code

    return step


def _count_negative(surface: Surface, r: Array, n: Array, allowed: Callable[[Array, Array], Array]) -> Array:
    size = r.size
    if size <= _DENSE:
        eye = jnp.eye(size, dtype=r.dtype)
        inside = jax.vmap(lambda v: allowed(v.reshape(r.shape), r).ravel())(eye)
        values = jnp.linalg.eigvalsh(inside @ dense_hessian(surface, r) @ inside.T)
        # Rounding of rigid motion is not a negative mode.
        return jnp.sum(values < -1e3 * jnp.finfo(r.dtype).eps * jnp.max(jnp.abs(values))).astype(jnp.int32)

    def product(v: Array) -> Array:
        return allowed(surface.hessian_product(r, allowed(v.reshape(r.shape), r)), r).ravel()

    def lifted(v: Array) -> Array:
        """Rigid motion and fixed atoms, which rounding brings in, are put above everything."""
        return product(v) + above * (v - allowed(v.reshape(r.shape), r).ravel())

    def start(number: Array) -> Array:
        drawn = jax.random.normal(jax.random.fold_in(jax.random.key(1), number), r.shape, r.dtype)
        return allowed(jnp.where(number == 0, n + 0.1 * drawn, drawn), r).ravel()

    tried = start(jnp.ones((), jnp.int32))
    above = 2 * jnp.linalg.norm(product(tried)) / jnp.linalg.norm(tried)
    values, _, residuals = lowest_modes(lifted, start, 2, min(_LANCZOS, size))
    # Exact eigenvalues lie at or below those of the rounds: a negative one is certain, a positive one only where its
    # residual does not reach zero.
    below = values < -1e3 * jnp.finfo(r.dtype).eps * above
    unsure = ~below[1] & (values[1] <= residuals[1])
    return jnp.where(unsure, -1, jnp.sum(below)).astype(jnp.int32)
