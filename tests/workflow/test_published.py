"""The exchange step alone on published numbers of bicarbonate in MFU-4l: rates, coalescence, and narrowed tensors."""

import jax.numpy as jnp
import numpy as np
import pytest

import jaxnmr as jn
from jaxnmr.tensors import efg_to_coupling, shift_to_shielding
from jaxnmr.units import BOLTZMANN_IN_EV
from jaxnmr.workflow import RunConfig
from jaxnmr.workflow._kinetics import exchange_of
from jaxnmr.workflow._lines import Bench
from jaxnmr.workflow._records import Ends, RatesOfEvents, TensorsOfStates
from jaxnmr.workflow._spectra import spectra_at

BARRIER, K, KELVIN = 0.49, 2.4e5, 298.0  # eV, s⁻¹: Schaaf et al., ChemPhysChem (2024), e202400941
AXIS = jn.Axis(ppm=(330.0, 0.0), points=512)


def pair(narrowed=1.0, shifts=(205.0, 150.0)):
    """Two bicarbonate oxygens, C=O and C-OH, sizes as in such groups; `narrowed` scales what motion averages."""
    iso = jnp.array(shifts)
    return jn.Sites(
        "17O",
        jn.shift_tensor(iso, narrowed * jnp.array([-100.0, -80.0]), 0.4, (0.0, np.pi / 2, jnp.array([0.0, 1.05]))),
        jn.quadrupole_tensor(narrowed * jnp.array([7.5e6, 7.0e6]), 0.3, (0.0, jnp.array([0.0, 1.9]), 0.0)),
    )


def line(k, narrowed=1.0):
    hops = jn.ExchangeModel.from_rates({(0, 1): k})
    sizes = jn.Resolution(orientations=300)
    found = jn.simulate(pair(narrowed), jn.MAS(23.5, 20e3), AXIS, exchange=hops, linewidth=300.0, resolution=sizes)
    return np.asarray(found.ppm), np.asarray(found.intensity)


def spread(ppm, intensity):
    """Half of the area lies within this many ppm: sidebands count little."""
    order = np.argsort(intensity)[::-1]
    inside = order[np.cumsum(intensity[order]) < 0.5 * intensity.sum()]
    return len(inside) * abs(ppm[1] - ppm[0])


def tops(ppm, intensity):
    """Maxima above a third of the highest."""
    inner = intensity[1:-1]
    peak = (inner > intensity[:-2]) & (inner > intensity[2:]) & (inner > intensity.max() / 3)
    return ppm[1:-1][peak]


def test_barrier_and_rate_make_a_prefactor():
    """4.6e13 /s, two figures as published; an attempt frequency of kT/h, 6.2e12, would give a seventh of the rate."""
    prefactor = K * np.exp(BARRIER / (BOLTZMANN_IN_EV * KELVIN))
    assert prefactor == pytest.approx(4.6e13, rel=0.02)
    assert float(jn.rates.arrhenius(prefactor, BARRIER, KELVIN)) == pytest.approx(K, rel=1e-5)


@pytest.mark.filterwarnings("ignore::jaxnmr.errors.JaxnmrWarning")
def test_the_lines_coalesce_at_that_rate_and_not_at_a_thousand():
    """At 23.5 T two lines 55 ppm apart stand still at 1e3 /s; at 2.4e5 /s, beyond π Δν/√2 = 1.7e4, one remains between."""
    ppm, slow = line(1e3)
    _, fast = line(K)
    apart = tops(ppm, slow)
    assert len(apart) >= 2 and apart.max() > 185 and apart.min() < 160
    assert len(tops(ppm, fast)) == 1 and 150 < tops(ppm, fast)[0] < 180
    between = np.abs(ppm - 165.0) < 13
    assert fast[between].sum() > 0.6 * fast.sum() and slow[between].sum() < 0.3 * slow.sum()


@pytest.mark.filterwarnings("ignore::jaxnmr.errors.JaxnmrWarning")
def test_narrower_tensors_narrow_the_line():
    """D beside B: tensors that motion has averaged to four fifths give a narrower, higher line at the same rate."""
    ppm, b = line(K)
    _, d = line(K, 0.8)
    assert spread(ppm, d) < 0.9 * spread(ppm, b) and d.max() > 1.1 * b.max()


def conditions(folder):
    """Of `line`, as a run's file has them."""
    return RunConfig.from_tables(
        {
            "structure": {"file": folder / "none.extxyz"},
            "tensors": {"reference_ppm": 290.0},
            "experiment": {
                "isotope": "17O",
                "fields_t": [23.5],
                "rate_hz": 20e3,
                "temperatures_k": [KELVIN],
                "linewidth_hz": 300.0,
            },
            "axis": {"ppm": [330.0, 0.0], "points": AXIS.points},
            "resolution": {"orientations": 300},
            "uncertainty": {"draws": 0},
            "output": {"folder": folder},
        }
    )


def through_the_chain(folder, k, bench):
    """A and B at one rate, from records as the stages before the exchange hand them on."""
    sites, reference, config = pair(), 290.0, conditions(folder)
    # In the first minimum the first oxygen is the carbonyl's, in the other one the hydroxyl's.
    swapped = [[0, 1], [1, 0]]
    shielding = np.asarray(shift_to_shielding(sites.shift, reference))[swapped]
    efg = np.asarray(sites.quadrupole)[swapped] / float(np.asarray(efg_to_coupling(np.eye(3), "17O"))[0, 0])
    none = np.full((2, 2), np.nan)
    tensors = TensorsOfStates((0, 1), ("O_1", "O_2"), shielding, efg, none, none, np.ones(3))
    first = np.array([[0.0, 0, 0], [2.2, 0, 0], [1.0, 0, 0]])
    end = first + np.array([[0.0, 0, 0], [0, 0, 0], [0.2, 0, 0]])
    ends = Ends(("hop",), end[None], np.zeros(1), np.ones(1, bool), np.zeros(1, int), (0,), ((0, 1, 2),))
    row, rate = np.array([BARRIER]), np.array([[k]])
    attempt = k * np.exp(row / (BOLTZMANN_IN_EV * KELVIN))
    half = np.full((1, 1, 2), 0.5)
    rates = RatesOfEvents(np.array([KELVIN]), rate, rate, rate, half, row, row, row, 0 * row, attempt, -1e3 * row, ())
    exchange = exchange_of((0, 1), first, ends, [0], rates, "htst")
    return exchange, spectra_at(23.5, tensors, (), exchange, np.array([0, 1]), config, bench)


@pytest.mark.filterwarnings("ignore::jaxnmr.errors.JaxnmrWarning")
def test_the_chain_makes_the_same_lines(tmp_path):
    """The rate of a record goes both ways between equal wells; B is the line of the exchange alone, A has two."""
    bench = Bench(23.5, conditions(tmp_path))
    exchange, found = through_the_chain(tmp_path, K, bench)
    np.testing.assert_allclose(exchange.rates[0, 0], [[0, K], [K, 0]])
    ppm, fast = line(K)
    # Each oxygen sees the same two tensors. A rate that is 5 % off changes the line by 7e-3.
    assert np.linalg.norm(found.moving[0] - fast) < 1e-6 * np.linalg.norm(fast)
    np.testing.assert_allclose(found.ppm, ppm)
    _, slow = through_the_chain(tmp_path, 1e3, bench)
    assert len(tops(ppm, found.moving[0])) == 1 and min(len(tops(ppm, b)) for b in (found.still, slow.moving[0])) >= 2
