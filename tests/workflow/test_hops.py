"""Groups of molecules that protons join, and nuclei that hop in their own group only."""

import numpy as np
import pytest

import jaxnmr as jn
from jaxnmr.structure import Structure
from jaxnmr.workflow._hops import moved_groups, proton_hops
from jaxnmr.workflow._kinetics import exchange_of
from jaxnmr.workflow._records import Ends, RatesOfEvents

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
    exchange = exchange_of([0, 9, 12], ends, [0, 1], found, "eyring")
    assert exchange.group.tolist() == [0, 1, -1]
    assert exchange.states.tolist() == [[0, 1], [0, 2]]
    np.testing.assert_allclose(exchange.populations[0], [[0.8, 0.2], [0.5, 0.5]])
    np.testing.assert_allclose(exchange.rates[0, :, 1], [6e5, 14e5])


def test_two_ends_of_one_group_are_three_basins():
    """Shares of three from pairs: weights 1, 1/4 and 1."""
    none = np.zeros(2)
    rates = np.array([[3e5, 7e5]])
    shares = np.array([[[0.8, 0.2], [0.5, 0.5]]])
    found = RatesOfEvents(np.array([298.0]), rates, rates, rates, shares, none, none, none, none, none, none, ())
    ends = Ends(("a", "b"), np.zeros((2, 3, 3)), none, np.array([True, True]), np.array([0, 1]), (0, 0), ((0, 1, 2),))
    exchange = exchange_of([1], ends, [0, 1], found, "htst")
    assert exchange.states.tolist() == [[0, 1, 2]]
    np.testing.assert_allclose(exchange.populations[0, 0], np.array([1, 0.25, 1]) / 2.25)
