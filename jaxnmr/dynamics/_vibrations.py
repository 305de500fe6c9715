"""Harmonic vibrations about a minimum or a saddle, and what a partition function needs of them."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxnmr.compiling import exact_products
from jaxnmr.dynamics._hessian import COLUMNS, batches, dense_hessian, hessian_rows, lowest_modes
from jaxnmr.dynamics._rigid import Rigid, idle_motions, inertia, rigid_kind, rigid_motions, rigid_parts, rigid_projector
from jaxnmr.dynamics._surface import EnergyFunction, Surface, as_surface
from jaxnmr.dynamics._units import OMEGA
from jaxnmr.errors import is_concrete
from jaxnmr.units import PI, SPEED_OF_LIGHT

__all__ = ["Vibrations", "vibrations"]


class Vibrations(eqx.Module):
    r"""Normal modes: $\mathbf M^{-1/2}\mathbf H\mathbf M^{-1/2}\,\mathbf v_k = \lambda_k\mathbf v_k$, rigid motion removed.

    Attributes:
        energy: of the point, eV.
        positions: Å, (atom, dimension).
        eigenvalues: λ, eV/(Å² amu), ascending, rigid motions as zeros among them; only the lowest if so asked.
        modes: v, orthonormal and mass-weighted, (mode, atom, dimension).
        residuals: norm of what the matrix makes of a mode beyond λ v; the full matrix has an eigenvalue within this
            distance of λ. Zero for a full Hessian; for a partial one it is the pull on atoms left out; for the lowest modes
            what the Lanczos steps have left as well.
        hessian: eV/Å², (coordinate, coordinate), of the coordinates that move; None where only the lowest were sought.
        log_determinant: ln |det| of the matrix with rigid motion removed: Σ ln |λ|; differentiable where modes cross.
        inertia: of a molecule, amu Å², (3, 3); None otherwise.
        max_force: largest norm of a force at the point, eV/Å.
        n_rigid: how many rigid motions were removed.
        species: of the atoms, for files.
        complete: whether all modes are there.
    """

    energy: Float[Array, ""]
    positions: Float[Array, "atom dim"]
    eigenvalues: Float[Array, " mode"]
    modes: Float[Array, "mode atom dim"]
    residuals: Float[Array, " mode"]
    hessian: Float[Array, "free free"] | None
    log_determinant: Float[Array, ""]
    inertia: Float[Array, "3 3"] | None
    masses: Float[Array, " atom"]
    max_force: Float[Array, ""]
    n_rigid: Int[Array, ""]
    species: tuple[str, ...] | None = eqx.field(static=True)
    complete: bool = eqx.field(static=True)

    @property
    def is_vibration(self) -> Array:
        """Which eigenvalues are not those of rigid motion: all but the `n_rigid` nearest to zero."""
        order = jnp.argsort(jnp.argsort(jnp.abs(self.eigenvalues)))
        return order.astype(jnp.int32) >= self.n_rigid

    @property
    def omega(self) -> Float[Array, " mode"]:
        """Angular frequencies in sqrt(eV/amu)/Å (times `OMEGA`: rad/s), negative where imaginary, zero if rigid."""
        size = jnp.abs(self.eigenvalues)
        root = jnp.sqrt(jnp.where(self.is_vibration, size, 1.0)) * jnp.sign(self.eigenvalues)
        return jnp.where(self.is_vibration, root, 0.0)

    @property
    def thz(self) -> Float[Array, " mode"]:
        """Frequencies, THz; negative where imaginary."""
        return self.omega * (OMEGA / (2 * PI) * 1e-12)

    @property
    def wavenumbers(self) -> Float[Array, " mode"]:
        """Frequencies, cm⁻¹; negative where imaginary."""
        return self.omega * (OMEGA / (2 * PI * SPEED_OF_LIGHT) * 1e-2)

    @property
    def errors(self) -> Float[Array, " mode"]:
        """By how much a wavenumber may be wrong for what the Hessian left out, cm⁻¹, from `residuals`."""
        size, unit = jnp.abs(self.eigenvalues), OMEGA / (2 * PI * SPEED_OF_LIGHT) * 1e-2
        # The eigenvalue lies within the residual; the root is steeper below, and held atoms only ever stiffen a mode.
        return (jnp.sqrt(size) - jnp.sqrt(jnp.maximum(size - self.residuals, 0.0))) * unit

    @property
    def n_negative(self) -> Int[Array, ""]:
        """Imaginary frequencies: 0 at a minimum, 1 at a saddle that a reaction passes."""
        return jnp.sum((self.eigenvalues < 0) & self.is_vibration)

    def displacement(self, mode: int) -> Float[Array, "atom dim"]:
        """Cartesian displacement along a mode, of unit norm."""
        moved = self.modes[mode] / jnp.sqrt(self.masses)[:, None]
        return moved / jnp.linalg.norm(moved)

    def write(self, path: str | os.PathLike[str], mode: int = 0, *, amplitude: float = 0.5, frames: int = 20) -> None:
        """One period of a mode as an XYZ file of several frames, which molecular viewers play.

        Args:
            path: where to.
            mode: which.
            amplitude: largest displacement of an atom, Å.
            frames: how many.

        Raises:
            ValueError: the surface had no species, or positions are not in space.
        """
        if self.species is None or self.positions.shape[-1] != 3:
            raise ValueError("write: needs elements in space; make the Surface with species=.")
        moved = np.asarray(self.displacement(mode))
        moved = amplitude * moved / np.linalg.norm(moved, axis=-1).max()
        lines = []
        for frame in range(frames):
            now = np.asarray(self.positions) + np.sin(2 * np.pi * frame / frames) * moved
            lines += [str(len(now)), f"mode {mode}, {float(self.wavenumbers[mode]):.1f} cm-1"]
            lines += [f"{s} {x:.6f} {y:.6f} {z:.6f}" for s, (x, y, z) in zip(self.species, now, strict=True)]
        with open(path, "w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")


def vibrations(
    surface: Surface | EnergyFunction,
    positions: Any,
    *,
    rigid: str | None = None,
    lowest: int | None = None,
    max_force: float | None = None,
    steps: int | None = None,
    seed: int = 0,
    columns: int = COLUMNS,
    progress: Callable[[int, int], None] | None = None,
) -> Vibrations:
    """Vibrations from the Hessian by automatic differentiation.

    Fixed atoms make a partial Hessian: only the others move, and `errors` says what that may cost. Differentiable in
    surface and positions (use `log_determinant`, whose derivative exists where modes cross too).

    Args:
        surface: with masses, or species; an energy function without units takes masses of one.
        positions: of a minimum or a saddle, Å, (atom, dimension).
        rigid: "molecule", "crystal" or "none": which motions cost no energy and are projected out (all, shifts, nothing).
            By default shifts with a cell, nothing with fixed atoms or outside space; without a cell what the energy says
            when the atoms are shifted and turned as a whole: in a field or a trap only what the Hessian shows to be free
            is projected out, such as turns about the field (with `lowest` only shifts, if free). Where values are traced it
            is not asked, and free atoms in space are a molecule.
        lowest: only so many of the softest modes, by Lanczos steps without a matrix, for large systems; see `residuals`.
            Modes of one frequency are found each for itself, in rounds of steps.
        max_force: refuse a point where a force is larger, eV/Å; None: do not look.
        steps: products of the Hessian for `lowest` in each round; 20 times the number of modes, 60 at least, unless given.
        seed: of the first Lanczos vector.
        columns: of the Hessian, computed side by side.
        progress: called with columns made and columns in all; not under a transformation, nor for the `lowest`.

    Raises:
        ValueError: no masses, no atom that moves, shapes that do not fit, or a point that is not stationary.
    """
    surface = as_surface(surface)
    positions = surface.check(positions)
    if surface.masses is None:
        raise ValueError("surface: has no masses; give Surface(masses=...) in amu, or species (ones where it has no units).")
    if positions.ndim != 2:
        raise ValueError(f"positions: got shape {positions.shape}; give one point, (atom, dimension).")
    kind = rigid_kind(surface, positions, rigid)
    moving = np.flatnonzero(np.repeat(~np.asarray(surface.fixed or [False] * len(positions)), positions.shape[1]))
    if not len(moving):
        raise ValueError("surface: all atoms are fixed, and nothing vibrates; free those that move.")
    if columns < 1:
        raise ValueError(f"columns: got {columns}; give how many columns are computed side by side, 1 at least.")
    if lowest is not None and not 0 < lowest <= len(moving):
        raise ValueError(f"lowest: got {lowest}; give 1 to {len(moving)}.")
    surface, positions = surface.at_rest(positions)
    if lowest is None:
        rows = None
        if progress is not None and is_concrete(surface, positions):
            rows = _told(surface, positions, moving, columns, progress)
        # In a field some turns may still be free: the Hessian says which.
        free = surface.cell is None and not any(surface.fixed or ()) and positions.shape[1] == 3 and len(positions) > 1
        field = rigid is None and free and kind != "molecule"
        result = _dense(surface, positions, kind, tuple(moving.tolist()), columns, rows, field)
    else:
        tries = min(len(moving), max(20 * lowest, 60) if steps is None else steps)
        result = _softest(surface, positions, kind, lowest, tries, seed)
    if max_force is not None and is_concrete(result.max_force) and not float(result.max_force) <= max_force:
        raise ValueError(
            f"positions: a force is {float(result.max_force):.3g} there, above max_force {max_force:g}; minimise first, or "
            "refine the saddle by dimer."
        )
    return result


def _frame(surface: Surface, positions: Array, kind: Rigid) -> tuple[Array, Array, Array | None]:
    masses = jnp.asarray(surface.masses, positions.dtype)
    motions = rigid_motions(positions, masses, kind)
    return masses, motions, inertia(positions, masses) if kind == "molecule" else None


def _told(
    surface: Surface, positions: Array, moving: np.ndarray, columns: int, progress: Callable[[int, int], None]
) -> Array | None:
    """The same rows batch by batch; None inside someone's jit, where constants are concrete but rows are not."""
    made = []
    for batch in batches(len(moving), columns):
        made.append(_rows(surface, positions, jnp.asarray(moving[batch])))
        if not is_concrete(made):
            return None
        made[-1].block_until_ready()
        progress(min(len(moving), len(made) * len(batch)), len(moving))
    return jnp.concatenate(made)[: len(moving)]


_rows = eqx.filter_jit(exact_products(hessian_rows))


@eqx.filter_jit
@exact_products
def _dense(
    surface: Surface, positions: Array, kind: Rigid, moving: tuple[int, ...], columns: int, rows: Array | None, field: bool
) -> Vibrations:
    masses, motions, turning = _frame(surface, positions, kind)
    energy, gradient = surface.value_and_gradient(positions)
    free, dim = np.asarray(moving), positions.shape[1]
    root = jnp.repeat(jnp.sqrt(masses), dim, total_repeat_length=positions.size)
    rows = dense_hessian(surface, positions, free, columns) if rows is None else rows
    hessian = (rows[:, free] + rows[:, free].T) / 2
    matrix = hessian / root[free][:, None] / root[free][None, :]
    rank, ones = jnp.zeros((), jnp.int32), jnp.zeros_like(matrix)
    if field:
        known = jax.lax.stop_gradient((positions, gradient, hessian))
        motions = idle_motions(*known, free=surface.free(positions)).reshape(-1, *positions.shape)
        motions = motions * jnp.sqrt(masses)[None, :, None]
    if len(motions):
        ones, rank = rigid_projector(motions)
        inside = jnp.eye(len(matrix), dtype=matrix.dtype) - ones
        matrix = inside @ matrix @ inside
    values, vectors = jnp.linalg.eigh(jax.lax.stop_gradient(matrix))
    # First-order change of the eigenvalues: right for simple ones, and the sum over a degenerate set is right too.
    values = jnp.einsum("ik,ij,jk->k", vectors, matrix, vectors)
    modes = jnp.zeros((len(free), positions.size), positions.dtype).at[:, free].set(vectors.T)
    held = np.setdiff1d(np.arange(positions.size), free)
    pull = (
        (rows[:, held] / root[free][:, None] / root[held][None, :]).T @ vectors if len(held) else jnp.zeros((1, len(free)))
    )
    _, log_determinant = jnp.linalg.slogdet(matrix + ones)
    return Vibrations(
        energy=energy,
        positions=positions,
        eigenvalues=values,
        modes=modes.reshape(len(free), *positions.shape),
        residuals=jax.lax.stop_gradient(jnp.sqrt(jnp.sum(pull**2, axis=0))).astype(values.dtype),
        hessian=hessian,
        log_determinant=log_determinant,
        inertia=turning,
        masses=masses,
        max_force=jnp.sqrt(jnp.max(jnp.sum(gradient**2, axis=-1))),
        n_rigid=rank,
        species=surface.species,
        complete=True,
    )


@eqx.filter_jit
@exact_products
def _softest(surface: Surface, positions: Array, kind: Rigid, count: int, steps: int, seed: int) -> Vibrations:
    masses, motions, turning = _frame(surface, positions, kind)
    root, free = jnp.sqrt(masses)[:, None], surface.free(positions)
    parts = None if kind == "none" else rigid_parts(motions)

    def inside(v: Array) -> Array:
        v = v * free.ravel()
        return v if parts is None else v - (parts[1] @ (parts[0] @ v)) @ parts[0]

    def product(v: Array) -> Array:
        moved = surface.hessian_product(positions, inside(v).reshape(positions.shape) / root)
        return inside((moved / root).ravel())

    def lifted(v: Array) -> Array:
        """Rigid motion and fixed atoms, which rounding brings in, are put above everything."""
        return product(v) + above * (v - inside(v))

    def start(number: Array) -> Array:
        key = jax.random.fold_in(jax.random.key(seed), number)
        return inside(jax.random.normal(key, (positions.size,), positions.dtype))

    tried = start(jnp.zeros((), jnp.int32))
    above = 2 * jnp.linalg.norm(product(tried)) / jnp.linalg.norm(tried)
    values, modes, residuals = lowest_modes(lifted, start, count, steps)
    if any(surface.fixed or ()):
        # What the modes pull on atoms that are held: the part that the projected operator cannot see.
        whole = jax.lax.map(
            lambda v: surface.hessian_product(positions, v.reshape(positions.shape) / root) / root * (1 - free), modes
        )
        residuals = jnp.sqrt(residuals**2 + jnp.sum(whole**2, axis=(1, 2)))
    energy, gradient = surface.value_and_gradient(positions)
    return Vibrations(
        energy=energy,
        positions=positions,
        eigenvalues=values,
        modes=modes.reshape(count, *positions.shape),
        residuals=residuals,
        hessian=None,
        log_determinant=jnp.asarray(jnp.nan, positions.dtype),
        inertia=turning,
        masses=masses,
        max_force=jnp.sqrt(jnp.max(jnp.sum(gradient**2, axis=-1))),
        n_rigid=jnp.zeros((), jnp.int32),
        species=surface.species,
        complete=False,
    )
