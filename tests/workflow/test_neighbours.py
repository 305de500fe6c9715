"""Groups that feel each other: what their events cost together, the mean field, and the chain among neighbours that hop."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import brentq, minimize

import jaxnmr as jn
from jaxnmr.dynamics import Surface, minimise
from jaxnmr.dynamics._units import OMEGA
from jaxnmr.structure import Structure
from jaxnmr.units import BOLTZMANN_IN_EV
from jaxnmr.workflow import RunConfig
from jaxnmr.workflow._atoms import settled
from jaxnmr.workflow._combined import combined
from jaxnmr.workflow._hops import Event
from jaxnmr.workflow._mean_field import exact_shares, mean_field, with_the_rest
from jaxnmr.workflow._neighbours import couples, filled, together
from jaxnmr.workflow._numbers import numbers_of
from jaxnmr.workflow._page import _neighbours
from jaxnmr.workflow._records import Ends, Relaxed, Together

from . import toy

pytestmark = pytest.mark.filterwarnings("ignore::jaxnmr.errors.JaxnmrWarning")
KT = BOLTZMANN_IN_EV * 298.0


def two_basins(count):
    """Of groups with one event each."""
    return [[(), (k,)] for k in range(count)]


@pytest.mark.parametrize("over", [0.6, 0.9, 1.1, 2.0])
def test_order_ends_where_the_mean_field_says(over):
    """Wells that are level when all have hopped: m = tanh(m T_c/T), with kT_c half of what one hop costs."""
    cost = 0.05
    kt = over * cost / 2
    weights = [np.array([1.0, np.exp(-cost / kt)])] * 3
    matrix = -cost * (1 - np.eye(3))  # three groups, each of which feels two others
    order = brentq(lambda m: np.tanh(m / over) - m, 1e-3, 1.0) if over < 1 else 0.0
    for hopped, sign in ((False, 1), (True, -1)):
        found = mean_field(weights, two_basins(3), matrix, kt, hopped=hopped)
        assert found.settled
        for p, energy in zip(found.shares, found.felt, strict=True):
            assert p[0] - p[1] == pytest.approx(sign * order, abs=1e-6)
            assert energy[1] == pytest.approx(-2 * cost * p[1]) and energy[0] == 0


def test_basins_of_several_motions_are_felt_as_the_sum_of_their_parts():
    """The equations of the mean field hold, and its free energy is no higher than that of shares nearby."""
    rng = np.random.default_rng(0)
    parts = [[(), (0,), (1,), (0, 1)], [(), (2,)], [(), (3,), (4,)]]
    weights = [np.concatenate([[1.0], rng.uniform(0.2, 1.0, len(some) - 1)]) for some in parts]
    group = np.array([0, 0, 1, 2, 2])
    matrix = rng.normal(0, 0.01, (5, 5))
    matrix = (matrix + matrix.T) * (group[:, None] != group)
    found = mean_field(weights, parts, matrix, KT)

    def free_energy(some):
        often = np.zeros(5)
        for p, basins in zip(some, parts, strict=True):
            for share, events in zip(p, basins, strict=True):
                often[list(events)] += share
        own = sum(KT * np.sum(p * np.log(p / w)) for p, w in zip(some, weights, strict=True))
        return own + often @ matrix @ often / 2

    for p, w, energy in zip(found.shares, weights, found.felt, strict=True):
        np.testing.assert_allclose(p, w * np.exp(-energy / KT) / np.sum(w * np.exp(-energy / KT)), atol=1e-10)
    assert found.free_energy == pytest.approx(free_energy(found.shares), abs=1e-12)
    for _ in range(20):
        near = [p * np.exp(0.1 * rng.normal(size=p.shape)) for p in found.shares]
        assert free_energy([p / p.sum() for p in near]) > found.free_energy
    # Weak couplings: the states of all groups together say nearly the same, and the free energy is an upper bound of theirs.
    exact = exact_shares(weights, parts, matrix, KT)
    assert exact.free_energy < found.free_energy
    for p, q, w, energy in zip(exact.shares, found.shares, weights, exact.felt, strict=True):
        np.testing.assert_allclose(p, q, atol=0.02)
        np.testing.assert_allclose(p, w * np.exp(-energy / KT) / np.sum(w * np.exp(-energy / KT)), atol=1e-12)


def test_groups_that_repel_each_other_are_treated_alike():
    """Neither the order of the atoms nor an oscillation decides which of two equal groups hops."""
    weights, matrix = [np.array([1.0, np.exp(-0.01 / KT)])] * 2, np.array([[0, 0.2], [0.2, 0]])
    found = mean_field(weights, two_basins(2), matrix, KT, kinds=[0, 0])
    q = brentq(lambda q: np.log(q / (1 - q)) + (0.01 + 0.2 * q) / KT, 1e-6, 1 - 1e-6)
    np.testing.assert_allclose([p[1] for p in found.shares], q, atol=1e-10)
    boltzmann = np.exp(-np.array([0.0, 0.01, 0.01, 0.22]) / KT)
    np.testing.assert_allclose(
        [p[1] for p in exact_shares(weights, two_basins(2), matrix, KT).shares], boltzmann[[1, 3]].sum() / boltzmann.sum()
    )


@pytest.mark.parametrize("kelvin", [200.0, 298.0, 400.0, 600.0])
@pytest.mark.parametrize("pairs", [(-0.04, -0.01, 0.0), (0.03, -0.1, 0.02)])
def test_all_events_at_once_are_right_at_every_temperature(kelvin, pairs):
    """Four groups in a ring whose crystal with all hopped is the mirror image of that with none: level wells, however soft.

    The entropy of single hops is in no pair's energy. Above the order's end the shares must be equal at every temperature.
    """
    kt = BOLTZMANN_IN_EV * kelvin
    matrix = np.zeros((4, 4))
    for a in range(4):
        for b in range(4):
            matrix[a, b] = 0.0 if a == b else pairs[1] if abs(a - b) == 2 else pairs[0]
    cost = 0.05 - 0.085e-3 * kelvin  # free energy of one hop; softer there
    rest = -4 * cost - np.triu(matrix).sum()
    found = mean_field(
        [np.array([1.0, np.exp(-cost / kt)])] * 4, two_basins(4), with_the_rest(matrix, rest), kt, kinds=[0] * 4
    )
    order = 0.0 if cost < 2 * kt else brentq(lambda m: np.tanh(m * cost / 2 / kt) - m, 1e-3, 1.0)
    np.testing.assert_allclose([p[0] - p[1] for p in found.shares], order, atol=1e-6)
    assert np.triu(with_the_rest(np.zeros((4, 4)), 0.6)).sum() == pytest.approx(0.6)


def test_what_no_minimum_holds_or_nobody_looked_at_is_no_coupling():
    """Pairs that fall apart count for nothing, and those alike share one energy."""
    found, place = couples(*chain_of_four()), np.zeros((8, 3))
    there = {k: Together(place, -0.02, 0.0, True, 1) for k in {couple.like for couple in found}}
    assert np.all(filled(found, there, None).energies == -0.02)
    alike = [couple.like == found[0].like for couple in found]
    for pair, state in (
        (Together(place, -0.02, 1.0, True, 1), "none"),
        (Together(place, 0.0, 0.0, False, 1), "not converged"),
    ):
        some = filled(found, there | {found[0].like: pair}, pair)
        assert np.isnan(some.energies).tolist() == alike and some.matrix(4)[found[0].events] == 0
        assert [one == state for one in some.states] == alike
        assert some.whole_state == state and not len(some.whole)
    left = {k: pair for k, pair in there.items() if k != found[0].like}
    assert [one == "not looked at" for one in filled(found, left, None).states] == alike


def chain_of_four():
    """A crystal of one molecule, two times two cells of it, and the hops of its protons."""
    corners = np.array([[x, y, 0.0] for x in (0.0, 5.0) for y in (0.0, 6.0)])
    first = np.concatenate([corners, corners + np.array([0.3, 1.0, 0.2])])
    structure = Structure(["C"] * 4 + ["H"] * 4, first, np.diag([10.0, 12.0, 7.0]), pbc=(True,) * 3)
    places = np.stack([first] * 4)
    for k in range(4):
        places[k, 4 + k, 0] += 0.9
    atoms = tuple((k, 4 + k) for k in range(4))
    ends = Ends(("",) * 4, places, np.zeros(4), np.ones(4, bool), np.zeros(4, int), (0, 1, 2, 3), atoms)
    return structure, ends, range(4)


def test_pairs_that_symmetry_makes_alike_are_looked_at_once():
    """Along one axis, along the other, and across: three kinds of six pairs."""
    found = couples(*chain_of_four())
    kinds = {}
    for couple in found:
        kinds.setdefault(couple.like, []).append(couple.events)
    assert sorted(map(sorted, kinds.values())) == [[(0, 1), (2, 3)], [(0, 2), (1, 3)], [(0, 3), (1, 2)]]
    assert [round(couple.distance, 6) for couple in found] == sorted([5.0] * 2 + [6.0] * 2 + [round(61**0.5, 6)] * 2)
    # An event that costs more is not the image of one that costs less.
    structure, ends, used = chain_of_four()
    ends.energies[0] = 0.1
    assert len({couple.like for couple in couples(structure, ends, used)}) > 3


@pytest.mark.parametrize("coupling", [0.0, 0.3])
def test_two_events_at_once(coupling):
    """Two tilted double wells far apart; coupled so that both across lie level with none across."""
    carbons = np.array([[0.0, 0, 0], [30.0, 0, 0]])

    def energy(r):
        x, off = r[2:, 0] - np.array([0.0, 30.0]), r[2:, 1:] - np.array([[1.0, 0.0]])
        wells = 8.0 * ((x**2 - 0.25) ** 2).sum() + 0.1 * x.sum() + 5.0 * (off**2).sum()
        return wells - coupling * (x[0] + 0.5) * (x[1] + 0.5)

    surface = Surface(energy, species=("C", "C", "H", "H"), fixed=(True, True, False, False))

    def place(*x):
        return np.concatenate([carbons, [[x[0], 1.0, 0.0], [30.0 + x[1], 1.0, 0.0]]])

    first = np.asarray(minimise(surface, place(-0.5, -0.5), max_force=1e-6).positions)
    start, home = Relaxed(first, float(surface.energy(first)), 0.0, 1), Structure(["C", "C", "H", "H"], first)
    events = [
        Event(name, place(*x), atoms, ()) for name, x, atoms in (("a", (0.5, -0.5), (0, 2)), ("b", (-0.5, 0.5), (1, 3)))
    ]
    ends = settled(surface, start, place(-0.5, -0.5), combined(home, events), lambda text: None)
    (couple,) = couples(home, ends, [0, 1])
    pair = together(surface, home, start.energy, ends, couple.events, lambda text: None)
    both = float(surface.energy(np.asarray(minimise(surface, place(0.5, 0.5), max_force=1e-6).positions)))
    assert pair.converged and pair.energy_ev == pytest.approx(both - start.energy - ends.energies.sum(), abs=1e-5)
    # Each well across costs 0.1 eV; the coupling takes 0.3 eV off where both are.
    assert pair.energy_ev == pytest.approx(-coupling, abs=0.02)


APART = np.array([[0.0, 12.0, 0.0]])
COUPLING = -0.075  # eV/Å², so that the pair's minimum lies as low as the first


def energy(positions):
    """Two of the toy's protons, each by its own carbon; the far one feels where the near one is."""
    moved = positions[2:] - APART
    near, far = positions[1, 0] - toy.X0, moved[1, 0] - toy.X0
    return toy.energy(positions[:2]) + toy.energy(moved) + COUPLING * near * far


class Tensors:
    """An isotropic shielding of each carbon that follows its own proton."""

    def label(self, structure):
        """With tensors."""
        x = np.asarray(structure.positions)[[1, 3], 0]
        own = [toy.SIGMA + toy.SLOPE * x[0], 30.0, toy.SIGMA + toy.SLOPE * x[1], 30.0]
        shielding = np.array(own)[:, None, None] * np.eye(3)
        return Structure(structure.species, structure.positions, shielding=shielding)


def stationary(x, saddle=False):
    """Energy, eV, and the product of all frequencies that are real, at the point near x, by SciPy."""

    def along(at):
        return toy.along(at[0]) + toy.along(at[1]) + COUPLING * (at[0] - toy.X0) * (at[1] - toy.X0)

    def slope(at):
        both = [toy.C * (p - toy.X0) * (p - toy.XS) * (p - toy.X1) for p in at]
        return np.array(both) + COUPLING * (np.array(at)[::-1] - toy.X0)

    found = minimize(lambda at: np.sum(slope(at) ** 2), x, method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-18}).x
    curve = np.array([[(slope(found + h) - slope(found - h))[k] / 2e-4 for k in range(2)] for h in 1e-4 * np.eye(2)])
    across = np.prod([toy.ACROSS + toy.TILT * p for p in found])
    values = np.linalg.eigvalsh(curve)
    assert (values < 0).sum() == saddle
    return along(found), np.sqrt(np.prod(values[values > 0])) * across


@pytest.mark.parametrize("kind", ["molecules", "crystal", "still"])
def test_the_chain_among_neighbours_that_hop(tmp_path, kind):
    """Shares, rates and the spectrum, 1 %, at two temperatures; among neighbours that stay all three are others.

    Of two molecules the four states are counted, of a crystal (here in a cell that they do not feel) the mean field solved.
    """
    cell = np.diag([40.0] * 3) if kind == "crystal" else None

    def atoms(*x):
        near, far = (toy.atoms(each).positions for each in x)
        place = np.concatenate([near, np.asarray(far) + APART])
        return Structure(("C", "H", "C", "H"), place, cell, pbc=(cell is not None,) * 3)

    atoms(toy.X0, toy.X0).write(tmp_path / "start.extxyz")
    names = [tmp_path / "end-0.extxyz", tmp_path / "end-1.extxyz"]
    atoms(toy.X1, toy.X0).write(names[0])
    atoms(toy.X0, toy.X1).write(names[1])
    temperatures = [toy.KELVIN, 450.0]
    config = RunConfig.from_tables(
        {
            "structure": {"file": tmp_path / "start.extxyz"},
            "motion": {"ends": names, "images": 5, "neighbours": "still" if kind == "still" else "hop"},
            "tensors": {"reference_ppm": (-1.0, toy.REFERENCE)},
            "experiment": {
                "isotope": "13C",
                "fields_t": [toy.FIELD],
                "temperatures_k": temperatures,
                "linewidth_hz": toy.WIDTH,
            },
            "axis": {"ppm": toy.PPM, "points": toy.POINTS},
            "resolution": {"orientations": 4},
            "output": {"folder": tmp_path / "run"},
        }
    )
    surface = Surface(energy, species=("C", "H", "C", "H"), fixed=(True, False) * 2)
    result = jn.run(config, potential=surface, tensors=Tensors())
    home, first = stationary((toy.X0, toy.X0))
    one, across = stationary((toy.X1, toy.X0))
    both, whole = stationary((toy.X1, toy.X1))
    top, over = stationary((toy.XS, toy.X0), saddle=True)
    together_ev = both + home - 2 * one
    # Hundredths of an eV, beside kT of 0.026.
    assert together_ev < -0.05
    numbers = numbers_of(result)
    if kind == "still":
        assert result.neighbours is None and numbers["neighbours"] is None
        assert any('"still"' in sentence for sentence in numbers["not_known"])
    else:
        assert result.neighbours.energies == pytest.approx([together_ev], abs=1e-5)
        assert any("neighbours that hop as well" in remark for remark in result.remarks)
        assert (tmp_path / "run" / "minimum-all.extxyz").exists()
        assert "both at once" in (tmp_path / "run" / "report.html").read_text()
    for t, kelvin in enumerate(temperatures):
        kt = BOLTZMANN_IN_EV * kelvin
        alone, all_at_once = first / across * np.exp(-(one - home) / kt), first / whole * np.exp(-(both - home) / kt)
        # What all at once weigh: vibrations have their part in it.
        felt = -kt * np.log(all_at_once / alone**2)
        assert abs(felt - together_ev) > 1e-3
        ratio = alone
        if kind == "crystal":

            def equation(q, kt=kt, alone=alone, felt=felt):
                weight = alone * np.exp(-q * felt / kt)
                return q - weight / (1 + weight)

            grid = np.linspace(1e-6, 1, 4001)
            lowest = int(np.flatnonzero(np.diff(np.sign([equation(q) for q in grid])))[0])
            q = brentq(equation, grid[lowest], grid[lowest + 1])
            ratio = q / (1 - q)
        elif kind == "molecules":
            ratio = (alone + all_at_once) / (1 + alone)
        q = ratio / (1 + ratio)
        assert kind == "still" or abs(q - alone / (1 + alone)) > 0.05
        attempt = OMEGA / np.sqrt(toy.MASS) / (2 * np.pi)
        k = attempt * first / over * np.exp(-(top - home) / kt) * np.sqrt(ratio / alone)
        np.testing.assert_allclose(result.exchange.populations[t, :, 1], q, rtol=5e-3)
        np.testing.assert_allclose(result.exchange.rates[t, :, 1, 0], k, rtol=5e-3)
        row = numbers["events"][0]["rates"][t]
        assert row["free_energy_ev"] == pytest.approx(-kt * np.log(alone), abs=2e-4)
        if kind != "still":
            assert row["felt_ev"] == pytest.approx(-kt * np.log(ratio / alone), abs=2e-4)
        shift = toy.REFERENCE - toy.SIGMA - toy.SLOPE * np.array([toy.X0, toy.X1])
        model = jn.ExchangeModel.from_rates({(0, 1): k, (1, 0): k / ratio})
        sites = jn.Sites("13C", jnp.asarray(shift[:, None, None] * np.eye(3)))
        axis = jn.Axis(ppm=toy.PPM, points=toy.POINTS)
        expected = jn.simulate(sites, jn.Static(toy.FIELD), axis, exchange=model, linewidth=toy.WIDTH).intensity
        found = np.asarray(result.moving(temperature=t).intensity)
        assert np.linalg.norm(found - expected) < 0.01 * np.linalg.norm(expected)


def test_the_page_tells_couplings_without_all_events_at_once():
    """Groups of several events have no one way for all to happen: the table stands all the same."""
    pairs = [{"events": [0, 2], "energy_ev": None, "state": "none", "nearest_a": 3.0, "same_as": [0, 2]}]
    rows = [{"temperature_k": 298.0, "other_order_ev": 0.0, "settled": True}]
    found = {"treatment": "mean field", "pairs": pairs, "all_at_once": "not looked at", "free_energies": rows}
    said = "".join(_neighbours({"neighbours": found}))
    assert "none" in said and "in a mean field" in said and "as free energy" not in said
    found["free_energies"] = [rows[0] | {"all_at_once_ev": -1e-6}]
    assert "+0.0000 eV at 298 K" in "".join(_neighbours({"neighbours": found}))
    assert _neighbours({"neighbours": None}) == []
