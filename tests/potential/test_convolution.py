"""The fused message sum against e3nn's general tensor product, and in blocks of every size."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnmr.potential import _convolution
from jaxnmr.potential._convolution import convolve, message_irreps, message_paths
from jaxnmr.potential._edges import harmonics, lengths
from jaxnmr.potential._irreps import irreps_text, parse_irreps

IRREPS, L_MAX, ATOMS, WIDTH = parse_irreps("3x0e+2x0o+2x1o+1x1e+2x2e"), 2, 11, 5
PATHS = message_paths(IRREPS, L_MAX, parse_irreps("1x0e+1x1o+1x1e+1x2e+1x3o"))
COLUMNS = sum(path.out.channels for path in PATHS)


@pytest.fixture(scope="module")
def given():
    """Features, neighbours (with gaps), vectors, a radial basis that is zero in the gaps, and its matrix."""
    rng = np.random.default_rng(0)
    chunks = tuple(jnp.asarray(rng.normal(size=(ATOMS, irrep.size, irrep.channels))) for irrep in IRREPS)
    neighbors = rng.integers(0, ATOMS, (ATOMS, WIDTH))
    neighbors[rng.uniform(size=neighbors.shape) < 0.3] = ATOMS
    basis = rng.normal(size=(ATOMS, WIDTH, 4)) * (neighbors < ATOMS)[..., None]
    vectors = jnp.asarray(rng.normal(size=(ATOMS, WIDTH, 3)))
    return chunks, jnp.asarray(neighbors), vectors, jnp.asarray(basis), jnp.asarray(rng.normal(size=(4, COLUMNS)))


def summed(chunks, neighbors, vectors, basis, matrix):
    sphere = harmonics(vectors, lengths(vectors), L_MAX)
    return convolve(chunks, IRREPS, PATHS, neighbors, sphere, basis, lambda basis: basis @ matrix)


def test_sums_equal_those_of_e3nn(given):
    """Edge by edge with e3nn's product, weights applied in its order of results: to rounding."""
    e3nn = pytest.importorskip("e3nn_jax")
    chunks, neighbors, vectors, basis, matrix = given
    flat = [np.swapaxes(chunk, 1, 2).reshape(ATOMS, -1) for chunk in chunks]
    receivers, places = np.nonzero(np.asarray(neighbors) < ATOMS)
    senders = np.asarray(neighbors)[receivers, places]

    @jax.jit
    def messages(features, vectors, weights):
        with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
            sphere = e3nn.spherical_harmonics(e3nn.s2_irreps(L_MAX), vectors, normalize=True, normalization="component")
            wanted = e3nn.Irreps("0e+1o+1e+2e+3o")
            product = e3nn.tensor_product(e3nn.IrrepsArray(irreps_text(IRREPS), features), sphere, filter_ir_out=wanted)
            return (product * weights).array

    edges = messages(jnp.concatenate(flat, 1)[senders], vectors[receivers, places], (basis @ matrix)[receivers, places])
    expected = np.zeros((ATOMS, edges.shape[1]))
    np.add.at(expected, receivers, np.asarray(edges))
    got = jax.jit(summed)(*given)
    shapes = [(irrep.size, irrep.channels) for irrep in message_irreps(PATHS)]
    assert [chunk.shape[1:] for chunk in got] == shapes
    got = np.concatenate([np.swapaxes(chunk, 1, 2).reshape(ATOMS, -1) for chunk in got], axis=1)
    np.testing.assert_allclose(got, expected, atol=1e-12)


@pytest.mark.parametrize(
    ("block", "region"),
    [
        pytest.param(2 * WIDTH, 10**6, marks=pytest.mark.slow),
        (WIDTH, 4 * WIDTH),
        pytest.param(1, 1, marks=pytest.mark.slow),
    ],
)
def test_blocks_change_nothing(given, monkeypatch, block, region):
    """Values and gradients in one piece and in blocks (of two atoms, of one; in regions of four) that do not divide 11."""

    def total(chunks, vectors, basis):
        return sum(jnp.sum(jnp.sin(chunk)) for chunk in summed(chunks, given[1], vectors, basis, given[4]))

    arguments = given[0], given[2], given[3]
    whole = jax.jit(jax.value_and_grad(total, argnums=(0, 1, 2)))(*arguments)
    monkeypatch.setattr(_convolution, "_BLOCK_ON_CPU", block)
    monkeypatch.setattr(_convolution, "_GATHERED", region)
    pieces = jax.jit(jax.value_and_grad(lambda *a: total(*a), argnums=(0, 1, 2)))(*arguments)
    for one, two in zip(jax.tree.leaves(whole), jax.tree.leaves(pieces), strict=True):
        np.testing.assert_allclose(two, one, atol=1e-11)
