"""Surfaces of jax-md's energy functions: their box, and lists that follow the atoms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnmr.dynamics import Surface, from_jax_md, minimise, vibrations

SIDE = 3.0


def waves(positions):
    """Two atoms of a periodic box, as a displacement function of jax-md sees them: a well at half the box."""
    away = positions[1] - positions[0]
    return jnp.sum(jnp.cos(2 * jnp.pi * away / SIDE))


def test_a_periodic_box_is_no_molecule():
    """Only translations cost nothing in a box: three rigid motions and three frequencies, where a molecule has one."""
    at = np.array([[0.0, 0, 0], [1.5, 1.5, 1.5]])
    surface = from_jax_md(waves, cell=SIDE * np.eye(3), masses=np.ones(2))
    found = vibrations(surface, at)
    assert int(found.n_rigid) == 3 and surface.periodic == (True, True, True)
    # ω² = k/μ with μ = 1/2 along each direction.
    np.testing.assert_allclose(found.eigenvalues[3:], 2 * (2 * np.pi / SIDE) ** 2, rtol=1e-9)
    # Without the cell, too, the energy shows that a turn is not free; a word given is obeyed.
    bare = from_jax_md(waves, masses=np.ones(2))
    assert [int(vibrations(bare, at, rigid=word).n_rigid) for word in (None, "molecule")] == [3, 5]
    assert from_jax_md(waves, cell=SIDE * np.eye(3), pbc=(True, True, False)).periodic == (True, True, False)
    with pytest.raises(ValueError, match=r"max_stress: moves the cell, but the energy function does not see it"):
        minimise(surface, at, max_stress=1e-3)
    with pytest.raises(ValueError, match=r"pbc: \(True, True, True\) came, .*without a cell"):
        Surface(waves, pbc=(True, True, True))


@pytest.mark.slow
def test_a_neighbour_list_of_jax_md():
    """Atoms that come together out of a list with no room to spare: grown on the way, and no pair is missing."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        pytest.importorskip("jax_md")  # it computes while it is imported
        from jax_md import energy, space

        displacement, _ = space.periodic(9.0)
        neighbor_fn, lj = energy.lennard_jones_neighbor_list(
            displacement, 9.0, r_onset=2.0, r_cutoff=2.5, dr_threshold=0.2, capacity_multiplier=1.0
        )
        whole = energy.lennard_jones_pair(displacement, r_onset=2.0, r_cutoff=2.5)
    start = 1.6 * np.stack(np.meshgrid(*[np.arange(2.0)] * 3), -1).reshape(-1, 3)
    start = start + 0.1 * np.random.default_rng(0).normal(size=start.shape)
    with pytest.raises(ValueError, match=r"positions: needed with neighbor_fn"):
        from_jax_md(lj, neighbor_fn=neighbor_fn)
    surface = from_jax_md(lj, neighbor_fn=neighbor_fn, positions=start, cell=9.0 * np.eye(3), masses=np.ones(8))
    found = minimise(surface, start, max_force=1e-5, max_steps=2000)
    assert not bool(found.neighbors.overflowed)
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        np.testing.assert_allclose(found.energy, whole(found.positions), rtol=1e-9)
    # The list of the start would not do: it is renewed, and grown, where the vibrations are.
    modes = vibrations(surface, found.positions)
    assert int(modes.n_rigid) == 3 and int(modes.n_negative) == 0
