"""An architecture that the package does not know, written here in a page: heads, training, files and dynamics take it."""

import json
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnmr.potential import (
    EFG,
    SHIELDING,
    BackboneConfig,
    HeadConfig,
    NequipConfig,
    NodeFeatures,
    Potential,
    TensorConfig,
    add_architecture,
    load_potential,
    load_tensor_model,
    save_potential,
    save_tensor_model,
)
from jaxnmr.potential._container import pack, unpack
from jaxnmr.potential._edges import bessel_basis, envelope, harmonics, lengths
from jaxnmr.potential._irreps import Irrep, irreps_text
from jaxnmr.potential.training import Settings, new_potential, train
from tests.potential.small import CONFIG, crystals, labelled, small_potential, small_tensor_model

pytest.importorskip("safetensors")


class DensityConfig(BackboneConfig):
    """Moments of the neighbours' density about each atom, one shell of products: no messages at all."""

    architecture: Literal["density"] = "density"
    channels: int = 5
    promised: int = 2

    @property
    def outputs(self):
        """Vectors before scalars, against any habit of this package."""
        moments = (Irrep(self.channels, 1, -1), Irrep(self.channels, 0, 1), Irrep(self.channels, 2, 1))
        return (moments,) * self.promised

    def module(self):
        """The module below."""
        return Density(self)


class Density(nn.Module):
    """Sums over neighbours of radial functions, by element, times harmonics; the second layer weighs them by the first."""

    config: DensityConfig

    @nn.compact
    def __call__(self, vectors, neighbors, species):
        """Moments of order 1, 0 and 2."""
        config, r = self.config, lengths(vectors)
        radial = bessel_basis(r, config.cutoff, 4) * envelope(r, config.cutoff, 4)[..., None]
        sphere = harmonics(vectors, r, 2)
        size = (len(config.elements), 4, config.channels)
        heard = self.param("heard", nn.initializers.normal(1.0), size, vectors.dtype)[species.at[neighbors].get(mode="clip")]
        weights = jnp.einsum("nkb,nkbc->nkc", radial, heard)
        moments = [jnp.einsum("nkc,nkm->nmc", weights, sphere[..., lo:hi]) for lo, hi in ((1, 4), (0, 1), (4, 9))]
        own = self.param("own", nn.initializers.normal(1.0), (len(config.elements), config.channels), vectors.dtype)
        gate = jnp.tanh(moments[1] + own[species][:, None, :])
        return tuple(
            NodeFeatures(tuple(chunk * factor for chunk in moments), irreps_text(irreps))
            for irreps, factor in zip(config.outputs, (jnp.ones_like(gate), gate), strict=False)
        )


add_architecture(DensityConfig)
DENSITY = DensityConfig(elements=CONFIG.elements, cutoff=CONFIG.cutoff)


def test_a_potential_of_it_learns_turns_and_is_kept(tmp_path):
    """Labels of another network are learnt; energies stay and forces turn; the file gives the same numbers back."""
    samples = labelled(small_potential(), crystals(8))
    start = new_potential(DENSITY, samples[:6])
    done = train(start, samples[:6], samples[6:], Settings(epochs=30, batch_size=6, learning_rate=3e-2, ema=0.8))
    assert done.course[-1].train_loss < 0.7 * done.course[0].train_loss
    model, crystal = done.model, samples[7].structure
    assert isinstance(model, Potential)
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    there = type(crystal)(crystal.species, crystal.positions @ turn.T, crystal.cell @ turn.T)
    before, after = model.energy_forces_stress(crystal), model.energy_forces_stress(there)
    assert abs(after.energy - before.energy) < 1e-10 * abs(before.energy)
    np.testing.assert_allclose(after.forces, before.forces @ turn.T, atol=1e-10 * np.abs(before.forces).max())
    step = 1e-4 * np.eye(12)[5].reshape(4, 3)
    ends = [model.energy(type(crystal)(crystal.species, crystal.positions + s * step, crystal.cell)) for s in (1, -1)]
    assert abs((ends[1] - ends[0]) / 2e-4 - before.forces[1, 2]) < 1e-5 * np.abs(before.forces).max()
    save_potential(model, tmp_path / "density.safetensors")
    again = load_potential(tmp_path / "density.safetensors")
    assert again.config == DENSITY
    np.testing.assert_array_equal(again.forces(crystal), before.forces)


def test_tensors_of_it_turn_and_are_kept(tmp_path):
    """All parts of a shielding come from its features, the antisymmetric one too, though no layer carries any."""
    model = small_tensor_model((SHIELDING, EFG), network=DENSITY)
    crystal = crystals(1)[0]
    turn = np.linalg.qr(np.random.default_rng(2).normal(size=(3, 3)))[0]
    there = type(crystal)(crystal.species, crystal.positions @ turn.T, crystal.cell @ turn.T)
    for name in ("shielding", "efg"):
        before, after = model.predict(crystal, name).values, model.predict(there, name).values
        np.testing.assert_allclose(after, turn @ before @ turn.T, atol=1e-10 * np.abs(before).max())
    skew = model.shielding(crystal) - np.swapaxes(model.shielding(crystal), 1, 2)
    assert np.abs(skew).max() > 0.1
    save_tensor_model(model, tmp_path / "density.safetensors")
    again = load_tensor_model(tmp_path / "density.safetensors")
    np.testing.assert_array_equal(again.efg(crystal), model.efg(crystal))
    assert again.config.network == DENSITY


def test_features_that_were_not_promised_are_refused():
    """A network with one layer more, or channels less, than its configuration says is no backbone."""
    short = Short(elements=DENSITY.elements, cutoff=DENSITY.cutoff)
    for config, told in ((DENSITY.model_copy(update={"promised": 3}), "density"), (short, "short")):
        model = small_potential(config)
        with pytest.raises(TypeError, match=f"architecture '{told}' made features"):
            model.energy(crystals(1)[0])


class Short(DensityConfig):
    """Says one channel more than there is."""

    architecture: Literal["short"] = "short"

    @property
    def outputs(self):
        """One channel too many."""
        return tuple(tuple(irrep._replace(channels=irrep.channels + 1) for irrep in layer) for layer in super().outputs)

    def module(self):
        """With what the other promises."""
        return Density(DensityConfig(elements=self.elements, cutoff=self.cutoff))


def test_an_architecture_that_is_not_known_is_named(tmp_path):
    """Whose file it is, what came, what there is; never another architecture's class."""
    path = tmp_path / "model.safetensors"
    save_potential(small_potential(), path)
    text, arrays = unpack(path.read_bytes(), "model", "jaxnmr-potential", 1)
    for given, told in (("mace", "'mace' is not known"), ("nequipp", "did you mean 'nequip'"), (None, "None is not known")):
        header = json.loads(text)
        header["config"]["architecture"] = given
        pack(path, "jaxnmr-potential", 1, json.dumps(header), arrays)
        with pytest.raises(ValueError, match=told):
            load_potential(path)
    with pytest.raises(ValueError, match="is that of NequipConfig"):
        add_architecture(type("Other", (NequipConfig,), {}))
    with pytest.raises(ValueError, match="has no name"):
        add_architecture(BackboneConfig)
    config = TensorConfig(network=DENSITY, properties=(EFG,), heads=HeadConfig())
    assert TensorConfig.model_validate_json(config.model_dump_json()) == config


def test_scalars_carry_the_energy():
    """Without them in the last layer there is none to carry it."""

    class Vectors(DensityConfig):
        @property
        def outputs(self):
            return ((Irrep(2, 1, -1),),)

    with pytest.raises(ValueError, match="even scalars"):
        new_potential(Vectors(elements=(1,), cutoff=3.0), labelled(small_potential(), crystals(1))[:0])


def test_the_energy_finds_its_scalars():
    """They may stand anywhere among the features."""
    weights = small_potential(DENSITY)
    assert weights.params["energy"]["0e"].shape == (5, 1)
    moved = jax.tree.map(lambda x: x, weights.params)
    moved["energy"] = {"0e": 2 * moved["energy"]["0e"]}
    double = Potential(weights.config, moved, weights.scale, weights.card)
    crystal, base = crystals(1)[0], small_potential(DENSITY).scale
    rest = sum(float(base.references[CONFIG.elements.index(z)]) + float(base.shift) for z in (14, 8, 8, 1))
    assert abs((double.energy(crystal) - rest) - 2 * (weights.energy(crystal) - rest)) < 1e-10
