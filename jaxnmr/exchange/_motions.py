r"""Motions by name: the orientations that a rigid group jumps between, with the rates of the jumps.

A `Motion` knows no nucleus. Called with one site it gives what `jaxnmr.simulate` takes:

    sites, exchange = flip(axis=(0.0, 0.0, 1.0), k=1e5)(site)

Position j turns the tensors, and all else fixed to the group, by $R_j$; position 0 leaves them as given (but see `cone`).

k is the rate of one jump, from one position to one other, in $s^{-1}$; not the total rate out of a position, which is k
times the number of positions within reach, and not $k_{ex}$, which for two positions is 2k. With unequal populations all
jumps of a motion pass the same barrier top, so the rate out of position i is $k\,p_0/p_i$ for each jump, and k that out
of position 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from jaxnmr.errors import is_concrete
from jaxnmr.exchange._model import ExchangeModel
from jaxnmr.exchange._motion import Motion
from jaxnmr.rotations import Numeric, as_floats, euler_to_matrix

__all__ = ["cone", "flip", "jumps", "n_site_jump", "tetrahedral_jump"]

Populations = ArrayLike | Sequence[float] | None


def jumps(rotations: Numeric, k: ArrayLike, *, populations: Populations = None) -> Motion:
    r"""Jumps at random among any positions: each to each other.

    For another network of jumps build `Motion(rotations, ExchangeModel.from_rates(...))`.

    Args:
        rotations: matrices (position, 3, 3), or ZYZ Euler angles in radians, (position, 3), as in
            `jaxnmr.rotations.euler_to_matrix`. The first is usually the identity: tensors as given.
        k: rate of a jump from position 0 to each other one, $s^{-1}$; so $(n - 1) k$ leaves it in all.
        populations: (position,), summing to one; equal by default. The rate from i to j is then $k\,p_0/p_i$.

    Raises:
        ValueError: shapes that do not fit, a matrix that is not orthogonal, a negative rate, populations that are not
            positive or do not sum to one.
    """
    (r,) = as_floats(rotations)
    if r.ndim == 2 and r.shape[1] == 3:
        r = euler_to_matrix(r[:, 0], r[:, 1], r[:, 2])
    if r.ndim != 3 or r.shape[1:] != (3, 3):
        raise ValueError(f"rotations: got shape {r.shape}; give matrices (position, 3, 3) or Euler angles (position, 3).")
    n = r.shape[0]
    return Motion(r, _exchange([(i, j) for i in range(n) for j in range(i + 1, n)], n, k, populations))


def n_site_jump(axis: Numeric, n: int, k: ArrayLike, *, populations: Populations = None) -> Motion:
    r"""Jumps by a turn of $2\pi/n$, forth or back, about an n-fold axis; a methyl group is `n_site_jump(axis, 3, k)`.

    Positions stand at $2\pi j/n$; only neighbours on the ring are joined. With many positions this is rotational diffusion
    about the axis, $D = k (2\pi/n)^2$ for large n.

    Args:
        axis: direction, (3,), of any length, crystal frame.
        n: number of positions, >= 2.
        k: rate of one jump, j -> j + 1 and j -> j - 1 each, $s^{-1}$; so 2k leaves a position in all where n > 2.
        populations: (n,), summing to one; equal by default. The rate out of i is then $k\,p_0/p_i$ for each jump.

    Raises:
        ValueError: n < 2, an axis of no length, a negative rate, populations that are not positive or do not sum to one.

    References:
        Wittebort, Olejniczak and Griffin, J. Chem. Phys. 86, 5411 (1987), for jumps about axes in 2H spectra.
    """
    n = _count("n", n, 2)
    turns = np.arange(n) * (2 * np.pi / n)
    return Motion(_turn(_unit(axis), turns), _exchange(_ring(n), n, k, populations))


def flip(axis: Numeric, k: ArrayLike, *, angle: Numeric = math.pi, populations: Populations = None) -> Motion:
    r"""Jumps between two positions an angle apart; by default the half turn of a phenyl ring or of water.

    Args:
        axis: direction to turn about, (3,), of any length, crystal frame.
        k: rate of the jump 0 -> 1, $s^{-1}$; the way back is k too, or $k\,p_0/p_1$.
        angle: from position 0 to 1, radians, counter-clockwise seen against `axis`.
        populations: (2,), summing to one; equal by default.

    Raises:
        ValueError: an axis of no length, an angle that is not one number, a negative rate, populations that are not
            positive or do not sum to one.
    """
    (angle,) = as_floats(angle)
    if angle.ndim:
        raise ValueError(f"angle: got shape {angle.shape}; give one number, in radians (vmap over more).")
    turns = jnp.stack([jnp.zeros_like(angle), angle])
    return Motion(_turn(_unit(axis), turns), _exchange([(0, 1)], 2, k, populations))


def tetrahedral_jump(
    k: ArrayLike, *, euler: tuple[Numeric, Numeric, Numeric] = (0.0, 0.0, 0.0), populations: Populations = None
) -> Motion:
    r"""Jumps among the four corners of a tetrahedron, as of a C-D or N-H bond of CD4 or NH4+.

    A bond along corner 0 comes to the other corners by half turns about the tetrahedron's three twofold axes. Tensors
    axial about that bond average to their isotropic part; others would need all twelve rotations of the tetrahedron.

    Args:
        k: rate of the jump from corner 0 to each other corner, $s^{-1}$; so 3k leaves it in all.
        euler: (α, β, γ), radians, of the rotation that takes a tetrahedron with corner 0 along z and corner 1 in the
            half-plane x > 0, y = 0 to where it is: corner 0 has azimuth α and polar angle β.
        populations: (4,), summing to one; equal by default. The rate out of i is then $k\,p_0/p_i$ for each jump.

    Raises:
        ValueError: a negative rate, populations that are not positive or do not sum to one.
    """
    a, b, g = as_floats(*euler)
    if a.ndim or b.ndim or g.ndim:
        raise ValueError(f"euler: got shapes {a.shape}, {b.shape}, {g.shape}; give three numbers, in radians.")
    frame = euler_to_matrix(a, b, g)
    # Twofold axes: the sum of corner 0 with each other corner, all at acos(-1/3) from it.
    corners = np.arange(3) * (2 * np.pi / 3)
    polar = np.arccos(-1 / 3)
    sine = np.sin(polar)
    axes = np.stack([sine * np.cos(corners), sine * np.sin(corners), np.full(3, 1 + np.cos(polar))], axis=1)
    axes = jnp.asarray(axes / np.linalg.norm(axes, axis=1, keepdims=True), frame.dtype) @ frame.T
    halves = 2 * axes[:, :, None] * axes[:, None, :] - jnp.eye(3, dtype=frame.dtype)[None]
    rotations = jnp.concatenate([jnp.eye(3, dtype=frame.dtype)[None], halves])
    return Motion(rotations, _exchange([(i, j) for i in range(4) for j in range(i + 1, 4)], 4, k, populations))


def cone(axis: Numeric, half_angle: Numeric, diffusion: ArrayLike, *, n: int = 12) -> Motion:
    r"""Diffusion on the surface of a cone, as jumps between n neighbours on its rim.

    The tensors are given for the group's mean position, upright on the axis of the cone; position j leans them by the
    half-angle towards the azimuth $2\pi j/n$, without a twist about the axis. Axial tensors along the axis average to
    $(3\cos^2\theta - 1)/2$ of their anisotropy. (A tensor that is given at its place on the cone and turns about
    the axis as a whole is an `n_site_jump`.)

    Args:
        axis: of the cone, (3,), of any length, crystal frame.
        half_angle: θ between the axis and the rim, radians.
        diffusion: D of the azimuth, rad²/s: $e^{im\varphi}$ loses its memory at the rate $m^2 D$. The jumps to either
            neighbour have $k = D (n/2\pi)^2$.
        n: positions on the rim, >= 5, below which the average would depend on where they stand. Rates at finite n fall
            short of $m^2 D$ by $m^2 \pi^2/3n^2$: 9 % of m = 2 at 12.

    Raises:
        ValueError: n < 5, an axis of no length, an angle that is not one number, a negative D.
    """
    n = _count("n", n, 5)
    if is_concrete(diffusion) and not (np.ndim(diffusion) == 0 and np.isfinite(diffusion) and np.asarray(diffusion) >= 0):
        raise ValueError(f"diffusion: got {diffusion}; give one finite number >= 0, in rad^2/s.")
    (theta,) = as_floats(half_angle)
    if theta.ndim:
        raise ValueError(f"half_angle: got shape {theta.shape}; give one number, in radians (vmap over more).")
    first, second = _transverse(_unit(axis))
    phi = jnp.asarray(np.arange(n) * (2 * np.pi / n), first.dtype)[:, None]
    leaning = jnp.cos(phi) * second[None, :] - jnp.sin(phi) * first[None, :]  # across the axis and the azimuth
    (d,) = as_floats(diffusion)
    return Motion(_turn(leaning, theta), _exchange(_ring(n), n, d * (n / (2 * np.pi)) ** 2, None))


def _ring(n: int) -> list[tuple[int, int]]:
    return [(0, 1)] if n == 2 else [(i, i + 1) for i in range(n - 1)] + [(0, n - 1)]


def _exchange(pairs: list[tuple[int, int]], n: int, k: ArrayLike, populations: Populations) -> ExchangeModel:
    """Jumps over equal barrier tops: out of i at k p_0 / p_i, which `from_rates` completes by detailed balance."""
    if jnp.ndim(k) or (is_concrete(k) and not (np.isfinite(k) and np.asarray(k) >= 0)):
        raise ValueError(f"k: got {k}; give the rate of one jump, one finite number >= 0, in 1/s.")
    (rate,) = as_floats(k)
    if populations is None:
        return ExchangeModel.from_rates({pair: rate for pair in pairs}, n_sites=n)
    (rate, p) = as_floats(rate, populations)
    if p.shape != (n,):
        raise ValueError(f"populations: got shape {p.shape} for {n} positions; give ({n},).")
    return ExchangeModel.from_rates({(i, j): rate * p[0] / p[i] for i, j in pairs}, p, n)


def _count(name: str, n: int, least: int) -> int:
    if not isinstance(n, int | np.integer) or n < least:
        raise ValueError(f"{name}: got {n!r}; give an integer >= {least}.")
    return int(n)


def _unit(axis: Numeric) -> Float[Array, " xyz"]:
    (vector,) = as_floats(axis)
    if vector.shape != (3,):
        raise ValueError(f"axis: got shape {vector.shape}; give a direction (3,).")
    if is_concrete(axis):
        size = np.linalg.norm(np.asarray(axis, dtype=np.float64))
        if not (np.isfinite(size) and size > 0):
            raise ValueError(f"axis: got {np.asarray(axis).tolist()}; give a direction of finite length > 0.")
    return vector / jnp.sqrt(vector @ vector)


def _turn(axes: Float[Array, "*position 3"], angles: ArrayLike) -> Float[Array, "position 3 3"]:
    """Rodrigues' rotations about unit vectors, one of the two for all positions or both one each."""
    angles = jnp.asarray(angles, axes.dtype)
    count = max(angles.size, axes.size // 3)
    u, t = jnp.broadcast_to(axes.reshape(-1, 3), (count, 3)), jnp.broadcast_to(angles.reshape(-1), (count,))
    cross = jnp.cross(u[:, None, :], jnp.eye(3, dtype=u.dtype)[None, :, :]).swapaxes(1, 2)
    cosine, sine = jnp.cos(t)[:, None, None], jnp.sin(t)[:, None, None]
    along = u[:, :, None] * u[:, None, :]
    return cosine * (jnp.eye(3, dtype=u.dtype)[None] - along) + sine * cross + along


def _transverse(n: Float[Array, " xyz"]) -> tuple[Array, Array]:
    """Two unit vectors that make a right-handed frame with n; smooth but where n_z changes sign.

    Duff et al., J. Comput. Graph. Tech. 6, 1 (2017).
    """
    x, y, z = n
    sign = jnp.where(z >= 0, 1.0, -1.0).astype(n.dtype)
    a = -1 / (sign + z)
    b = x * y * a
    return jnp.stack([1 + sign * x * x * a, sign * b, -sign * x]), jnp.stack([b, sign + y * y * a, -y])
