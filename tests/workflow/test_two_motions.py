"""The chain on quadrupolar nuclei of which one sees two motions of its own molecule, in closed form, under MAS."""

import jax.numpy as jnp
import numpy as np
import pytest

import jaxnmr as jn
from jaxnmr.dynamics import Surface
from jaxnmr.structure import Structure
from jaxnmr.tensors import efg_to_coupling, shielding_to_shift
from jaxnmr.units import BOLTZMANN_IN_EV
from jaxnmr.workflow import RunConfig

from . import toy

pytestmark = pytest.mark.filterwarnings("ignore::jaxnmr.errors.JaxnmrWarning")
# Two protons on one oxygen, one on another, far away; each is the toy's, over its own barrier.
SCALES = (1.0, 1.25, 1.1)
OXYGENS = np.array([[0.0, 0.0, 0.0], [0.0, 12.0, 0.0]])
HOME = ((0, 1.0), (0, -1.0), (1, 1.0))  # oxygen of each proton, and on which side
ORDER = ("O", "H", "H", "O", "H")
PROTONS, REFERENCE = (1, 2, 4), 200.0
EFG = np.array([[0.4, 0.1, 0.0], [0.1, 0.5, 0.2], [0.0, 0.2, -0.9]])
TURNS = np.array(
    [[[0.3, 0.5, 0.1], [0.5, -0.2, 0.0], [0.1, 0.0, -0.1]], [[-0.1, 0.0, 0.6], [0.0, 0.3, 0.1], [0.6, 0.1, -0.2]]]
)
SHIELDING = np.diag([120.0, 150.0, 90.0])
SLOPES = np.array([[[60.0, 10, 0], [-5, 40, 8], [0, 20, 25]], [[20.0, 0, 15], [0, -30, 0], [9, 0, 50]]])


def energy(positions):
    """eV: each proton's path and the stiffness across it, by its own scale."""
    total = 0.0
    for scale, atom, (oxygen, side) in zip(SCALES, PROTONS, HOME, strict=True):
        x, y, z = positions[atom] - OXYGENS[oxygen] - np.array([0.0, side, 0.0])
        total += scale * (toy.along(x) + (toy.ACROSS + toy.TILT * x) / 2 * (y**2 + z**2))
    return total


def tensors_at(x):
    """Shielding and field gradient of both oxygens where the protons stand at x; not symmetric, and turning."""
    both = []
    for base, slopes in ((SHIELDING, SLOPES), (EFG, TURNS)):
        both.append(np.array([base + x[0] * slopes[0] + x[1] * slopes[1], base + x[2] * slopes[1]]))
    return both


class Tensors:
    """Of the oxygens, linear in the protons' places."""

    def label(self, structure):
        """With tensors."""
        r = np.asarray(structure.positions)
        found = tensors_at([r[atom, 0] for atom in PROTONS])
        shielding, efg = np.zeros((2, 5, 3, 3))
        for whole, part in ((shielding, found[0]), (efg, found[1])):
            whole[[0, 3]] = part
        return Structure(structure.species, structure.positions, shielding=shielding, efg=efg)


def atoms(*x):
    """With the protons at x."""
    positions = np.zeros((5, 3))
    positions[[0, 3]] = OXYGENS
    for atom, place, (oxygen, side) in zip(PROTONS, x, HOME, strict=True):
        positions[atom] = OXYGENS[oxygen] + [place, side, 0.0]
    return Structure(ORDER, positions)


def rate_and_share(scale):
    """Of one proton, classical: barrier and all stiffnesses are the toy's times the scale."""
    kt = BOLTZMANN_IN_EV * toy.KELVIN
    k = toy.rate() * np.sqrt(scale) * np.exp((1 - scale) * toy.barrier() / kt)
    weight = toy.populations() * np.exp(-(scale - 1) * np.array([toy.along(toy.X0), toy.along(toy.X1)]) / kt)
    return k, weight / weight.sum()


def test_every_oxygen_has_the_states_of_its_molecule(tmp_path):
    """Four of two protons and two of one; the spectrum is that of the product of both motions: 1 % of the line.

    Taken to exclude each other, the two protons of one molecule would make three states, 4 % of the line away.
    """
    atoms(*[toy.X0] * 3).write(tmp_path / "start.extxyz")
    names = []
    for k in range(3):
        x = [toy.X1 if j == k else toy.X0 for j in range(3)]
        atoms(*x).write(tmp_path / f"end-{k}.extxyz")
        names.append(tmp_path / f"end-{k}.extxyz")
    config = RunConfig.from_tables(
        {
            "structure": {"file": tmp_path / "start.extxyz"},
            "motion": {"ends": names, "images": 5},
            "tensors": {"reference_ppm": REFERENCE},
            "experiment": {
                "isotope": "17O",
                "fields_t": [14.1],
                "rate_hz": 20e3,
                "temperatures_k": [toy.KELVIN],
                "linewidth_hz": 400.0,
            },
            "axis": {"ppm": (300.0, -150.0), "points": 256},
            "resolution": {"orientations": 64},
            "output": {"folder": tmp_path / "run"},
        }
    )
    surface = Surface(energy, species=ORDER, fixed=(True, False, False, True, False))
    result = jn.run(config, potential=surface, tensors=Tensors())
    assert [len(some) for some in result.ends.parts] == [1, 1, 1, 2]
    exchange = result.exchange
    known = [rate_and_share(scale) for scale in SCALES]
    (first, p), (second, q), (third, s) = known
    mine, other = exchange.group
    assert exchange.states[mine].tolist() == [0, 1, 2, 4] and exchange.states[other].tolist() == [0, 3, -1, -1]
    joint = np.array([p[0] * q[0], p[1] * q[0], p[0] * q[1], p[1] * q[1]])
    np.testing.assert_allclose(exchange.populations[0, mine], joint, rtol=2e-3)
    np.testing.assert_allclose(exchange.populations[0, other, :2], s, rtol=2e-3)
    rates = exchange.rates[0, mine]
    np.testing.assert_allclose([rates[1, 0], rates[3, 2]], first, rtol=2e-3)
    np.testing.assert_allclose([rates[2, 0], rates[3, 1]], second, rtol=2e-3)
    assert rates[3, 0] == rates[2, 1] == 0

    one, two = jn.MAS(14.1, 20e3), jn.Axis(ppm=(300.0, -150.0), points=256)
    same = {"linewidth": 400.0, "resolution": jn.Resolution(orientations=64)}

    def line(places, oxygen, model):
        found = [tensors_at(x) for x in places]
        shift = jnp.asarray([shielding_to_shift(shielding[oxygen], REFERENCE) for shielding, _ in found])
        coupling = jnp.asarray([efg_to_coupling(efg[oxygen], "17O") for _, efg in found])
        return np.asarray(jn.simulate(jn.Sites("17O", shift, coupling), one, two, exchange=model, **same).intensity)

    low, high = toy.X0, toy.X1
    jumps = {(0, 1): first, (2, 3): first, (0, 2): second, (1, 3): second}
    jumps |= {(1, 0): first * p[0] / p[1], (3, 2): first * p[0] / p[1]}
    jumps |= {(2, 0): second * q[0] / q[1], (3, 1): second * q[0] / q[1]}
    four = [(low, low, low), (high, low, low), (low, high, low), (high, high, low)]
    product = line(four, 0, jn.ExchangeModel.from_rates(jumps)) / 2
    back = third * s[0] / s[1]
    single = line([(low, low, low), (low, low, high)], 1, jn.ExchangeModel.from_rates({(0, 1): third, (1, 0): back})) / 2
    expected = product + single
    size = np.linalg.norm(expected)
    found = np.asarray(result.moving().intensity)
    assert np.linalg.norm(found - expected) < 0.01 * size
    three = {pair: k for pair, k in jumps.items() if 3 not in pair}
    star = line(four[:3], 0, jn.ExchangeModel.from_rates(three)) / 2
    star += single
    assert np.linalg.norm(star - expected) > 0.04 * size
