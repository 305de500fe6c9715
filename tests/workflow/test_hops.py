"""Groups of molecules that protons join, and nuclei that hop in their own group only."""

from dataclasses import replace

import numpy as np
import pytest

import jaxnmr as jn
from jaxnmr.dynamics import Surface, minimise
from jaxnmr.errors import JaxnmrWarning
from jaxnmr.structure import Structure, symmetries
from jaxnmr.workflow._atoms import _one_by_one
from jaxnmr.workflow._combined import combined
from jaxnmr.workflow._config import Motion
from jaxnmr.workflow._event_images import images_of
from jaxnmr.workflow._explore import explored
from jaxnmr.workflow._hops import Bridge, Event, moved_groups, proton_hops
from jaxnmr.workflow._kinetics import exchange_of
from jaxnmr.workflow._records import Ends, RatesOfEvents, Relaxed

CELL = np.diag([12.0, 12.0, 12.0])


def pair(origin):
    """Two water molecules: a proton of the first points at the oxygen of the second, 2.8 Å away."""
    return np.asarray(origin) + np.array(
        [[0, 0, 0], [0.97, 0, 0], [-0.24, 0.93, 0], [2.8, 0, 0], [3.2, 0.62, 0.62], [3.2, 0.62, -0.62]], float
    )


def dimers():
    """Two pairs far from each other, one of them across the cell's edge, and a potassium ion."""
    positions = np.concatenate([pair([1, 1, 1]), pair([10.5, 7, 7]) % 12.0, [[6.0, 4.0, 4.0]]])
    return Structure(["O", "H", "H"] * 4 + ["K"], positions, CELL)


def test_each_pair_is_a_group_of_its_own():
    """Across the cell's edge too; the ion belongs to none; the proton ends as far from the acceptor as it was."""
    structure = dimers()
    events = proton_hops(structure)
    assert [event.atoms for event in events] == [tuple(range(6)), tuple(range(6, 12))]
    for event, proton, acceptor in zip(events, (1, 7), (3, 9), strict=True):
        moved = np.flatnonzero(np.abs(event.positions - structure.positions).max(axis=1) > 1e-9)
        assert moved.tolist() == [proton]
        gap = event.positions[proton] - structure.positions[acceptor]
        gap -= np.round(gap / 12.0) * 12.0
        assert np.linalg.norm(gap) == pytest.approx(0.97)
        # And without a jump over the cell: a path goes straight there.
        assert np.linalg.norm(event.positions[proton] - structure.positions[proton]) < 1.0


def test_the_dimers_of_potassium_bicarbonate(khco3):
    """Two dimers of ten atoms with two protons each; protons half way give no sign of either side."""
    events = proton_hops(khco3)
    assert [len(event.atoms) for event in events] == [10, 10]
    assert not set(events[0].atoms) & set(events[1].atoms)
    for event in events:
        elements = sorted(khco3.species[k] for k in event.atoms)
        assert elements == ["C"] * 2 + ["H"] * 2 + ["O"] * 6
        assert len(event.bridges) == 2
        before = [b.coordinate(khco3.positions) for b in event.bridges]
        after = [b.coordinate(event.positions) for b in event.bridges]
        # Mirrored, up to the bridges' small angles.
        np.testing.assert_allclose(after, np.negative(before), atol=0.02)


@pytest.fixture
def khco3():
    """The ambient crystal, of literature coordinates."""
    import os
    from pathlib import Path

    data = Path(os.environ.get("JAXNMR_DATA", Path(__file__).parents[2] / ".." / "shared" / "data"))
    path = data / "khco3" / "khco3.cif"
    if not path.exists():
        pytest.skip(f"{path} is absent")
    pytest.importorskip("gemmi")
    return jn.structure.read(path)


def test_given_ends_move_their_molecules_only():
    """A water that turns is a group; the other waters are not."""
    structure = dimers()
    positions = np.array(structure.positions)
    positions[5] += [0.5, 0.0, 0.4]
    (event,) = moved_groups(structure, [Structure(structure.species, positions % 12.0, CELL)])
    assert event.atoms == (3, 4, 5)


def test_nuclei_hop_in_their_own_group():
    """Two groups of two basins are two states for each nucleus, not four, and an atom of neither rests."""
    none = np.zeros(2)
    rates = np.array([[3e5, 7e5]])
    shares = np.array([[[0.8, 0.2], [0.5, 0.5]]])
    found = RatesOfEvents(np.array([298.0]), rates, 2 * rates, 3 * rates, shares, none, none, none, none, none, none, ())
    both = np.array([True, True])
    place = np.zeros((2, 13, 3))
    ends = Ends(("a", "b"), place, none, both, np.array([0, 1]), (0, 1), (tuple(range(6)), tuple(range(6, 12))))
    exchange = exchange_of([0, 9, 12], place[0], ends, [0, 1], found, "eyring")
    assert exchange.group.tolist() == [0, 1, -1]
    assert exchange.states.tolist() == [[0, 1], [0, 2]]
    np.testing.assert_allclose(exchange.populations[0], [[0.8, 0.2], [0.5, 0.5]])
    np.testing.assert_allclose(exchange.rates[0, :, 1, 0], [6e5, 14e5])


def test_two_ends_of_one_group_are_three_basins():
    """Shares of three from pairs: weights 1, 1/4 and 1."""
    none = np.zeros(2)
    rates = np.array([[3e5, 7e5]])
    shares = np.array([[[0.8, 0.2], [0.5, 0.5]]])
    found = RatesOfEvents(np.array([298.0]), rates, rates, rates, shares, none, none, none, none, none, none, ())
    places = np.zeros((2, 3, 3))
    places[0, 0, 0], places[1, 0, 0] = 1.0, -1.5
    ends = Ends(("a", "b"), places, none, np.array([True, True]), np.array([0, 1]), (0, 0), ((0, 1, 2),))
    exchange = exchange_of([1], np.zeros((3, 3)), ends, [0, 1], found, "htst")
    assert exchange.states.tolist() == [[0, 1, 2]]
    p = np.array([1, 0.25, 1]) / 2.25
    np.testing.assert_allclose(exchange.populations[0, 0], p)
    # The way from the second basin to the third is like none that was searched.
    np.testing.assert_allclose(exchange.rates[0, 0], [[0, 3e5 * p[0] / p[1], 7e5], [3e5, 0, 0], [7e5, 0, 0]])


def test_three_places_of_a_methyl_group_are_a_ring():
    """From each place to the two others at one rate: only two of the three jumps have saddles of their own."""
    angles = 2 * np.pi * np.arange(3) / 3
    ring = np.stack([np.cos(angles), np.sin(angles), 0 * angles], axis=-1)
    places = np.array([np.roll(ring, -k, axis=0) for k in range(3)])
    none, k = np.zeros(2), np.array([[2e5, 2e5]])
    found = RatesOfEvents(np.array([298.0]), k, k, k, np.full((1, 2, 2), 0.5), none, none, none, none, none, none, ())
    ends = Ends(("a", "b"), places[1:], none, np.array([True, True]), np.array([0, 0]), (0, 0), ((0, 1, 2),))
    exchange = exchange_of([0], places[0], ends, [0, 1], found, "htst")
    np.testing.assert_allclose(exchange.rates[0, 0], 2e5 * (1 - np.eye(3)))
    # Another height: the third jump is not known.
    high = Ends(("a", "b"), places[1:], none + 0.1, np.array([True, True]), np.array([0, 0]), (0, 0), ((0, 1, 2),))
    assert exchange_of([0], places[0], high, [0, 1], found, "htst").rates[0, 0, 1, 2] == 0


def test_a_search_finds_an_image_of_the_first_minimum():
    """Two wells that are mirror images: the other is a state of its own, though energy and fingerprint are the same."""

    def energy(r):
        x, y, z = r[1, 0] / 0.5, r[1, 1] - 1.0, r[1, 2]
        return 0.4 * (x**2 - 1) ** 2 + 5 * (y**2 + z**2)

    home = np.array([[0.0, 0.0, 0.0], [-0.5, 1.0, 0.0]])
    surface = Surface(energy, species=("C", "H"), fixed=(True, False))
    found = explored(surface, Relaxed(home, 0.0, 0.0, 0), Motion(hops="explore", explore_hops=30, explore_walkers=1))
    assert len(found.positions) == 1 and abs(found.energies[0]) < 1e-4
    np.testing.assert_allclose(found.positions[0, 1], [0.5, 1.0, 0.0], atol=5e-3)


def test_a_rate_that_no_nucleus_has_is_refused():
    """Quantum theory without a barrier; and a share that is none leaves numbers, not a division by zero."""
    none, k = np.zeros(1), np.array([[3e16]])
    shares = np.array([[[1.0, 0.0]]])
    found = RatesOfEvents(np.array([80.0]), 1e-12 * k, k, k, shares, none, none, none, none, none, none, ())
    ends = Ends(("a",), np.ones((1, 1, 3)), none, np.array([True]), np.array([0]), (0,), ((0,),))
    with pytest.raises(ValueError, match=r"rates.theory: eyring gives 3.0e\+16 /s for event 0 at 80 K"):
        exchange_of([0], np.zeros((1, 3)), ends, [0], found, "eyring")
    exchange = exchange_of([0], np.zeros((1, 3)), ends, [0], found, "htst")
    assert np.isfinite(exchange.rates).all() and exchange.populations[0, 0, 1] > 0


def test_protons_of_a_chain_are_tried_alone():
    """Waters in a row without end: no ring, so each proton is an event of its own, and a warning says what is not tried."""
    water = np.array([[0, 0, 0], [0.97, 0, 0], [-0.24, 0.93, 0]], float)
    positions = np.concatenate([water + np.array([2.8 * k, 0.0, 0.0]) for k in range(3)])
    chain = Structure(["O", "H", "H"] * 3, positions, np.diag([8.4, 9.0, 9.0]))
    with pytest.warns(JaxnmrWarning, match="in no closed ring"):
        events = proton_hops(chain)
    assert [len(event.bridges) for event in events] == [1, 1, 1]
    assert events[0].atoms == tuple(range(6))


def test_far_molecules_of_one_end_are_events_of_their_own():
    """Two waters that turn five ångström and more from each other; and a drift of everything is no move."""
    structure = dimers()
    positions = np.array(structure.positions)
    positions[2] += [0.0, 0.0, 0.5]
    positions[11] += [0.5, 0.0, 0.4]
    parts = moved_groups(structure, [Structure(structure.species, (positions + 0.7) % 12.0, CELL)])
    assert [event.atoms for event in parts] == [(0, 1, 2), (9, 10, 11)]
    for event in parts:
        gone = np.abs(event.positions - structure.positions).max(axis=1) > 0.1
        assert set(np.flatnonzero(gone)) <= set(event.atoms)


def test_equivalent_molecules_move_alike(khco3):
    """The four operations of P2_1/a: an end that moves one dimer's protons moves the other's as well."""
    operations = symmetries(khco3)
    assert len(operations) == 4
    np.testing.assert_allclose(operations[0][0], np.eye(3), atol=1e-12)
    for turn, order in operations:
        np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-6)
        assert sorted(order) == list(range(24)) and all(khco3.species[a] == khco3.species[k] for k, a in enumerate(order))
    first, second = proton_hops(khco3)
    alone = first._replace(bridges=())
    found = images_of(khco3, [alone], operations)
    assert len(found) == 2 and found[1].atoms == second.atoms
    np.testing.assert_allclose(found[1].positions, second.positions, atol=0.05)


def test_independent_motions_of_one_molecule_are_combined():
    """A methyl group of three places and a proton of two are six states, whose generator is the sum of both motions'."""
    angles = 2 * np.pi * np.arange(3) / 3
    ring = np.stack([np.cos(angles), np.sin(angles), 0 * angles], axis=-1)
    start = np.concatenate([ring, [[3.0, 0, 0]]])
    structure = Structure(["H"] * 4, start)

    def end(turn, x):
        return np.concatenate([np.roll(ring, -turn, axis=0), [[x, 0, 0]]])

    atoms = (0, 1, 2, 3)
    events = [Event(name, place, atoms, ()) for name, place in zip("abc", (end(1, 3), end(2, 3), end(0, 4)), strict=True)]
    found = combined(structure, events)
    assert found.parts == ((0,), (1,), (2,), (0, 2), (1, 2)) and found.factors == (0, 0, 1, -1, -1)
    np.testing.assert_allclose(found.events[4].positions, end(2, 4), atol=1e-12)

    kelvin, zero = 300.0, np.zeros(3)
    k = np.array([[2e5, 2e5, 7e6]])
    pairs = np.array([[[0.5, 0.5], [0.5, 0.5], [0.8, 0.2]]])
    rates = RatesOfEvents(np.array([kelvin]), k, k, k, pairs, zero, zero, zero, zero, zero, zero, ())
    energies = np.array([0, 0, 0.01, 0.01, 0.01])
    places = np.array([event.positions for event in found.events])
    ends = Ends(("",) * 5, places, energies, np.ones(5, bool), np.array([0, 0, 2, 3, 3]), (0,) * 5, (atoms,), *found[1:])
    exchange = exchange_of([3, 0], start, ends, [0, 1, 2], rates, "htst")
    assert exchange.states.tolist() == [[0, 1, 2, 3, 4, 5]]
    # The product of both motions, in the order of the states.
    turn, hop = np.array([0, 1, 2, 0, 1, 2]), np.array([0, 0, 0, 1, 1, 1])
    p = np.array([0.8, 0.2])[hop] / 3
    np.testing.assert_allclose(exchange.populations[0, 0], p)
    expected = np.where((hop[:, None] == hop) & (turn[:, None] != turn), 2e5, 0.0)
    expected += np.where((turn[:, None] == turn) & (hop[:, None] > hop), 7e6, 0.0)
    expected += np.where((turn[:, None] == turn) & (hop[:, None] < hop), 4 * 7e6, 0.0)
    np.testing.assert_allclose(exchange.rates[0, 0], expected)
    # The proton's shares are those that it has alone; one excluding the other they would be 3/4 : 1/4 of another sum.
    assert p[hop == 1].sum() == pytest.approx(0.2)

    # One motion that raises the other's minimum by kT: detailed balance holds, shares follow the energy.
    kt = 8.617333262e-5 * kelvin
    coupled = replace(ends, energies=energies + np.array([0, 0, 0, kt, 0]))
    exchange = exchange_of([3], start, coupled, [0, 1, 2], rates, "htst")
    weight = p * np.exp([0, 0, 0, 0, -1, 0])
    np.testing.assert_allclose(exchange.populations[0, 0], weight / weight.sum(), rtol=1e-6)
    flow = exchange.rates[0, 0] * exchange.populations[0, 0]
    np.testing.assert_allclose(flow, flow.T, rtol=1e-12)
    assert exchange.rates[0, 0, 4, 1] == pytest.approx(7e6 * np.exp(-0.5), rel=1e-6)


def test_what_a_search_finds_is_known_as_several_events():
    """A minimum in which both have jumped is made of two events; too many motions are left as they were."""
    start = 4.0 * np.arange(8)[:, None] * np.eye(3)[0]
    structure = Structure(["H"] * 8, start)

    def event(*moved):
        place = start.copy()
        place[list(moved), 1] += 1.0
        return Event(str(moved), place + 0.05, tuple(range(8)), ())

    found = combined(structure, [event(0, 1), event(0), event(1)])
    assert found.parts == ((1, 2), (1,), (2,)) and found.factors == (-1, 0, 1)
    # Two that jump with an atom in common exclude each other.
    found = combined(structure, [event(0, 2), event(0, 1)])
    assert found.parts == ((0,), (1,)) and found.factors == (0, 0)
    assert len(combined(structure, [event(k) for k in range(4)]).events) == 15
    assert len(combined(structure, [event(k) for k in range(5)]).events) == 5


@pytest.mark.parametrize(("coupling", "where"), [(0.2, ("between", "between")), (3.0, ("first", "first"))])
def test_a_proton_that_crosses_alone(coupling, where):
    """Two protons in double wells: weakly coupled each has a minimum of its own across, strongly it comes back."""
    ends = np.array([[0, 0, 0], [2.4, 0, 0], [0, 5.0, 0], [2.4, 5.0, 0]], float)

    def energy(r):
        x, off = r[4:, 0] - 1.2, r[4:, 1:] - np.array([[0.0, 0.0], [5.0, 0.0]])
        return 8.0 * ((x**2 - 0.0625) ** 2).sum() - coupling * (x[0] * x[1] - 0.0625) + 5.0 * (off**2).sum()

    surface = Surface(energy, species=("O",) * 4 + ("H",) * 2, fixed=(True,) * 4 + (False,) * 2)
    home, away = (np.concatenate([ends, [[1.2 + x, 0, 0], [1.2 + x, 5.0, 0]]]) for x in (-0.25, 0.25))
    first, last = (np.asarray(minimise(surface, place, max_force=1e-5).positions) for place in (home, away))
    bridges = tuple(Bridge(4 + k, 2 * k, 2 * k + 1, ends[2 * k], ends[2 * k + 1]) for k in range(2))
    event = Event("protons", away, tuple(range(6)), bridges)
    level = float(surface.energy(first))
    found = _one_by_one(surface, Relaxed(first, level, 0.0, 1), last, event, home, lambda text: None)
    assert tuple(place for place, _, _ in found) == where
    # Across alone the coupling changes sign: + 2 c x² in all, but for what the protons give way.
    expected = 2 * coupling * 0.0625 if where[0] == "between" else 0.0
    np.testing.assert_allclose([height for _, height, _ in found], expected, atol=0.3 * expected + 1e-4)
