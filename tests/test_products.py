"""No matrix product of a spectrum or a network is left to a GPU's own precision, nor in a derivative: TF32 has ten bits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnmr as jn


def products(jaxpr):
    """Precisions of all matrix products, those inside of loops and calls too, and where they were written."""
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            yield equation.params["precision"], str(equation.source_info.traceback)
        for value in jax.tree.leaves(equation.params, is_leaf=lambda x: hasattr(x, "eqns") or hasattr(x, "jaxpr")):
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                yield from products(inner)


def check(function, *args):
    """All are the highest, and there are some."""
    found = list(products(jax.make_jaxpr(function)(*args).jaxpr))
    assert found
    for precision, place in found:
        assert precision == (jax.lax.Precision.HIGHEST,) * 2, place


@pytest.mark.filterwarnings("ignore::jaxnmr.errors.ResolutionWarning")
@pytest.mark.parametrize("experiment", [jn.MAS(14.1, 20e3), jn.Static(14.1)], ids=["mas", "static"])
def test_spectra_and_their_gradients(experiment):
    """Two oxygens that exchange; the sizes are of no account here."""
    resolution = jn.Resolution(orientations=16, phases=8, samples=32)
    axis = jn.Axis(ppm=(300.0, -100.0), points=64)

    def line(k):
        sites = jn.Sites(
            "17O",
            jn.shift_tensor(jnp.array([110.0, 160.0]), -90.0),
            jn.quadrupole_tensor(7e6, 0.3, (0.0, jnp.array([0.0, 1.9]), 0.0)),
        )
        hops = jn.ExchangeModel.from_rates({(0, 1): k})
        return jn.simulate(sites, experiment, axis, exchange=hops, linewidth=300.0, resolution=resolution).intensity.sum()

    for function in (line, jax.grad(line)):
        check(function, jnp.asarray(1e4))


def test_networks_and_their_forces():
    """Energies, forces and tensors of a small network."""
    pytest.importorskip("flax")
    from jaxnmr.potential._evaluate import derivatives
    from jaxnmr.potential._tensor_network import summary
    from tests.potential.small import small_potential, small_tensor_model

    structure = jn.structure.Structure(["Si", "O", "O"], np.array([[0, 0, 0], [1.6, 0, 0], [0, 1.6, 0.2]], float))
    potential, model = small_potential(), small_tensor_model()
    batch = potential.prepare([structure])
    check(derivatives, potential._network, batch.positions, batch.cell, batch.graph)
    batch = model.prepare([structure])
    check(summary, model._network, batch.positions, batch.cell, batch.graph)
