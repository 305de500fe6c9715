"""The fused message sum against e3nn's general tensor product, and in blocks of every size."""

import sys
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnmr.potential import _convolution, load_potential, save_potential
from jaxnmr.potential._convolution import convolve
from jaxnmr.potential._edges import harmonics, lengths
from jaxnmr.potential._irreps import irreps_text, parse_irreps
from jaxnmr.potential._paths import message_irreps, message_paths
from tests.potential.small import crystals, small_potential, small_tensor_model

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


def summed(chunks, neighbors, vectors, basis, matrix, products="rows"):
    sphere = harmonics(vectors, lengths(vectors), L_MAX)
    return convolve(chunks, IRREPS, PATHS, neighbors, sphere, basis, lambda basis: basis @ matrix, products)


@pytest.mark.parametrize("products", ["rows", "cuequivariance"])
def test_sums_equal_those_of_e3nn(given, products):
    """Edge by edge with e3nn's product, weights applied in its order of results: to rounding."""
    e3nn = pytest.importorskip("e3nn_jax")
    if products == "cuequivariance":
        pytest.importorskip("cuequivariance_jax")
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
    got = jax.jit(lambda *given: summed(*given, products))(*given)
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


def forces_and_their_slope(given, products):
    """First derivatives, and the gradient of their squares: what trainings on forces compute. Of few paths."""
    irreps = IRREPS[0], IRREPS[2]  # 3x0e + 2x1o
    paths = message_paths(irreps, 1, irreps)

    def total(chunks, vectors, basis, matrix):
        sphere = harmonics(vectors, lengths(vectors), 1)
        made = convolve(chunks, irreps, paths, given[1], sphere, basis, lambda basis: basis @ matrix, products)
        return sum(jnp.sum(jnp.sin(chunk)) for chunk in made)

    def squares(*arguments):
        return sum(jnp.sum(slope**2) for slope in jax.tree.leaves(jax.grad(total, argnums=(0, 1, 2))(*arguments)))

    chunks, matrix = (given[0][0], given[0][2]), given[4][:, : sum(path.out.channels for path in paths)]
    assert chunks[1].shape[1] == 3
    return jax.value_and_grad(squares, argnums=(0, 1, 2, 3)), (chunks, given[2], given[3], matrix)


def test_kernels_of_others_have_the_same_derivatives(given):
    """Twice, through features, directions, basis and weights."""
    pytest.importorskip("cuequivariance_jax")
    found = []
    for products in ("rows", "cuequivariance"):
        function, arguments = forces_and_their_slope(given, products)
        found.append(jax.tree.leaves(jax.jit(function)(*arguments)))
    for one, two in zip(*found, strict=True):
        np.testing.assert_allclose(two, one, atol=1e-9 * max(1.0, float(np.abs(one).max())))


def test_the_kernel_of_nvidia_takes_the_products(given, monkeypatch):
    """Lowered for CUDA as far as the kernel's door, where a stand-in notes who comes: one uniform channel axis, twice
    differentiated too. (That the kernel computes rightly only a GPU can tell: `pytest -m gpu`.)"""
    pytest.importorskip("cuequivariance_jax")
    came = []

    def door(inputs, outputs, indices, configuration, *, operations, paths, math_dtype, name):
        widths = {array.shape[-1] for array in [*inputs, *outputs]} - {1}
        came.append((name, len(widths), len(paths)))
        return [jnp.zeros(out.shape, out.dtype) for out in outputs]

    ops = SimpleNamespace(Operation=lambda *a: a, Path=lambda *a: a, __version__="0.13.0", uniform_1d=door)
    monkeypatch.setitem(sys.modules, "cuequivariance_ops_jax", ops)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    function, arguments = forces_and_their_slope(given, "cuequivariance")
    jax.jit(function).trace(*arguments).lower(lowering_platforms=("cuda",))
    assert len(came) > 3  # forwards, backwards, and both again
    assert all(widths <= 1 and paths > 0 for _, widths, paths in came)


@pytest.mark.gpu
def test_the_kernel_of_nvidia_computes_the_same(given):
    """In single precision, values and second derivatives."""
    pytest.importorskip("cuequivariance_ops_jax")
    given = jax.tree.map(lambda x: x.astype("float32") if x.dtype.kind == "f" else x, given)
    found = []
    for products in ("rows", "cuequivariance"):
        function, arguments = forces_and_their_slope(given, products)
        found.append(jax.tree.leaves(jax.jit(function)(*arguments)))
    for one, two in zip(*found, strict=True):
        np.testing.assert_allclose(two, one, atol=1e-4 * max(1.0, float(np.abs(one).max())))


def test_kernels_that_are_not_there_are_named(given, monkeypatch):
    """Which extra brings them, and which choices there are."""
    monkeypatch.setitem(sys.modules, "cuequivariance_jax", None)
    with pytest.raises(ImportError, match=r"pip install 'jaxnmr\[nvidia\]'"):
        summed(*given, products="cuequivariance")
    monkeypatch.undo()
    pytest.importorskip("cuequivariance_jax")
    monkeypatch.setitem(sys.modules, "cuequivariance_ops_jax", None)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    with pytest.raises(ImportError, match="pip install cuequivariance-ops-jax-cu12"):
        summed(*given, products="cuequivariance")
    with pytest.raises(ValueError, match="'rows', 'cuequivariance'"):
        small_potential().with_products("cueq")


def test_a_potential_and_a_tensor_model_by_others_kernels(tmp_path):
    """The same numbers; and files do not keep the choice."""
    pytest.importorskip("cuequivariance_jax")
    crystal, potential, model = crystals(1)[0], small_potential(), small_tensor_model(members=1)
    one, two = (
        potential.energy_forces_stress(crystal),
        potential.with_products("cuequivariance").energy_forces_stress(crystal),
    )
    assert abs(two.energy - one.energy) < 1e-10
    np.testing.assert_allclose(two.forces, one.forces, atol=1e-10)
    np.testing.assert_allclose(two.stress, one.stress, atol=1e-10)
    found = model.with_products("cuequivariance").efg(crystal)
    np.testing.assert_allclose(found, model.efg(crystal), atol=1e-9 * np.abs(found).max())
    save_potential(potential.with_products("cuequivariance"), tmp_path / "model.safetensors")
    assert load_potential(tmp_path / "model.safetensors").config == potential.config
