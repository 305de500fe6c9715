"""What a report says of a run: which nucleus and rates it speaks of, what it was made with, and what is left out."""

import dataclasses
import json

import numpy as np
import pytest

from jaxnmr.isotopes import isotope
from jaxnmr.structure import Structure
from jaxnmr.tensors import efg_to_coupling, quadrupole_tensor, shielding_to_shift
from jaxnmr.workflow import Result, RunConfig
from jaxnmr.workflow._asked import models_of
from jaxnmr.workflow._beyond import nearest_image_of
from jaxnmr.workflow._changes import apart_hz, moved_hz
from jaxnmr.workflow._numbers import numbers_of
from jaxnmr.workflow._page import page_of
from jaxnmr.workflow._records import Band, Ends, ExchangeOfNuclei, RatesOfEvents, Relaxed, TensorsOfStates
from jaxnmr.workflow._remarks import remarks_of
from jaxnmr.workflow._report import _plain

TURN = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
CQ, FIELD = 7e6, 14.1


def made(folder, cell=20.0):
    """Five oxygens: 0, 1 and 2 hop among three minima, 3 and 4 between two.

    The first event moves the tensors of 1 by 40 ppm, turns those of 2 by a little, and moves 3, which is none of its own, by
    20 ppm; the others change nothing but the one that they move.
    """
    config = RunConfig.from_tables(
        {
            "structure": {"file": folder / "a.extxyz"},
            "potential": {"file": "khco3"},
            "tensors": {"file": folder / "model.safetensors", "reference_ppm": 255.0},
            "experiment": {"isotope": "17O", "fields_t": [FIELD], "rate_hz": 2e4, "linewidth_hz": 300.0},
            "axis": {"ppm": [300.0, -50.0]},
            "output": {"folder": folder / "run"},
        }
    )
    places = np.array([[1.0, 1, 1], [2.2, 1, 1], [3.4, 1, 1], [1, 9, 9], [2.2, 9, 9]])
    structure = Structure(("O",) * 5, places, cell * np.eye(3))
    efg = np.asarray(quadrupole_tensor(1.0, 0.3)) * CQ / float(np.asarray(efg_to_coupling(np.eye(3), "17O"))[0, 0])
    shielding, efgs = np.tile(np.diag([80.0, 100.0, 120.0]), (4, 5, 1, 1)), np.tile(efg, (4, 5, 1, 1))
    shielding[1, 1] -= 40 * np.eye(3)
    shielding[1, 3] -= 20 * np.eye(3)
    shielding[2, 2] -= 30 * np.eye(3)
    shielding[3, 4] -= 25 * np.eye(3)
    none = np.full((4, 5), np.nan)
    tensors = TensorsOfStates(tuple(range(5)), tuple(f"O_{k}" for k in range(5)), shielding, efgs, none, none, np.ones(3))
    ends = Ends(
        ("first", "second", "third"),
        np.tile(places, (3, 1, 1)),
        np.array([0.01, 0.02, 0.0]),
        np.ones(3, bool),
        np.arange(3),
        (0, 0, 1),
        ((0, 1, 2), (3, 4)),
    )
    row, one = np.full(3, 0.1), np.full((1, 3), 2e5)
    shares = np.tile([0.7, 0.3], (1, 3, 1))
    rates = RatesOfEvents(np.array([298.0]), one, 2 * one, 3 * one, shares, row, row, row, row, 1e13 * row, -1e3 * row, ())
    p, out = np.array([[[0.5, 0.3, 0.2], [0.7, 0.3, 0.0]]]), np.zeros((1, 2, 3, 3))
    for g, i, k in ((0, 1, 1e5), (0, 2, 1e4), (1, 1, 2e5)):
        out[0, g, i, 0], out[0, g, 0, i] = k, k * p[0, g, 0] / p[0, g, i]
    counted = np.array([[[0.1, 0.1], [np.nan, np.nan]]])
    exchange = ExchangeOfNuclei(
        np.array([0, 0, 0, 1, 1]), np.array([[0, 1, 2], [0, 3, -1]]), p, out, np.zeros((2, 3, 3), int), counted
    )
    path = np.zeros((3, 5, 3))
    line = np.arange(3.0)
    band = Band(path, line, line, places, 0.1, -1.0, 1, True, (0.0, 0.01), (0.01, 0.02), 10)
    first = Relaxed(places, 0.0, 0.0, 1)
    return Result(
        config, structure, first, ends, (0, 1, 2), (band,) * 3, rates, (), tensors, exchange, folder=folder / "run"
    )


def test_regimes_are_those_of_the_nucleus_that_changes_most(tmp_path):
    """The first of the group does not change at all: beside its splitting of nothing every hop would be fast."""
    first, second, third = numbers_of(made(tmp_path))["events"]
    assert [e["regimes_of"]["atom"] for e in (first, second, third)] == ["O_1", "O_2", "O_4"]
    larmor = abs(float(isotope("17O").larmor_frequency(FIELD)))
    assert first["regimes_of"]["apart_hz"] == pytest.approx(40e-6 * larmor, rel=5e-4)  # the reference is 255 ppm of it
    # k_ex of 2.7e5 /s beside 2π 3.3 kHz.
    assert first["regimes"]["isotropic"] == "fast" and second["regimes"]["isotropic"] == "intermediate"


def test_changes_of_lines_in_hertz(tmp_path):
    """A tensor that turns has another line with the same middle; second order by hand, -6/1000 C_Q²(1 + η²/3)/ν_0."""
    run = made(tmp_path)
    larmor = abs(float(isotope("17O").larmor_frequency(FIELD)))
    turned, larger = np.array(run.tensors.efg), np.array(run.tensors.efg)
    turned[1, 0] = TURN @ turned[1, 0] @ TURN.T
    larger[1, 0] *= 1.1
    at = lambda efg: dataclasses.replace(run, tensors=dataclasses.replace(run.tensors, efg=efg))  # noqa: E731
    assert apart_hz(at(turned), 0, FIELD)[0] > 1e3 and moved_hz(at(turned), 0, FIELD)[0] < 1e-6
    by_hand = 6e-3 * (1.1**2 - 1) * CQ**2 * (1 + 0.3**2 / 3) / larmor
    assert moved_hz(at(larger), 0, FIELD)[0] == pytest.approx(by_hand, rel=1e-6)
    np.testing.assert_allclose(moved_hz(run, 0, FIELD)[[1, 3]], [40e-6 * larmor, 20e-6 * larmor], rtol=5e-4)


def test_the_page_prints_what_was_taken(tmp_path):
    """Counted rate and shares of all three minima, and not the pair's that harmonic theory gives."""
    run = made(tmp_path)
    numbers = numbers_of(run)
    rate = numbers["events"][0]["rates"][0]
    assert rate["populations"] == [0.7, 0.3] and rate["populations_taken"] == [0.5, 0.3]
    assert rate["minima_of_group"] == [0, 1, 2] and rate["populations_of_group"] == [0.5, 0.3, 0.2]
    page = page_of(run, numbers, {}, {})
    assert "rate 1.00e+05 per second at 298 K (counted in the motion), populations 0.500 and 0.300" in page
    assert "<td>0: 0.500, 1: 0.300, 2: 0.200</td>" in page and "<td>0.700, 0.300</td>" in page
    assert "O_1: 3.3 kHz" in page and "exactly" not in page
    for words in ("14.1 T, spinning at 20000 Hz, linewidth 300 Hz, σ_ref 255 ppm, 298 K", "5 atoms"):
        assert words in page


def test_a_report_says_what_it_was_made_with(tmp_path):
    """All settings, whole tensors, names of models; paths count from the run's folder."""
    (tmp_path / "model.safetensors").write_bytes(b"model")
    run = made(tmp_path)
    whole = json.loads(json.dumps(_plain(numbers_of(run)), allow_nan=False))
    config = whole["config"]
    assert config["structure"]["file"] == "../a.extxyz" and config["output"]["folder"] == "."
    assert config["potential"]["file"] == "khco3" and config["tensors"]["reference_ppm"] == 255.0
    assert config["sample"]["friction_per_ps"] == 5.0 and config["experiment"]["linewidth_hz"] == 300.0
    assert RunConfig.from_tables(config).experiment == run.config.experiment
    assert whole["n_atoms"] == 5 and whole["spinning_rate_hz"] == whole["rate_hz"] == 2e4
    site = whole["sites"][1]
    shift = np.asarray(shielding_to_shift(run.tensors.shielding[1, 1], 255.0))
    np.testing.assert_allclose(site["basins"][1]["shift_tensor_ppm"], shift)
    np.testing.assert_allclose(site["basins"][0]["coupling_tensor_hz"], efg_to_coupling(run.tensors.efg[0, 1], "17O"))
    assert site["mean_of_basins"] == site["averaged"] and site["basins"][0]["motion_averages"] == []
    (mean,) = site["mean_of_basins"]
    np.testing.assert_allclose(np.trace(mean["shift_tensor_ppm"]) / 3, 155.0 + 0.3 * 40, rtol=5e-4)
    # By the slower of two ways out, between 1e4 and 5e4 /s, beside 2.6 kHz, the spread over the basins.
    assert 1e4 < mean["slowest_exchange_per_s"] < 5e4 and mean["average_that_holds"].startswith("none")
    digest = "9372c470eeadd5ecd9c3c74c2b3cb633f8e2f2fad799250a0f70d652b6b825e4"  # sha256sum of "model"
    models = models_of(run.config, {"potential_sha256": "0", "tensors_sha256": digest})
    assert models["tensors"] == {"file": "model.safetensors", "sha256": digest, "sha256_of": "the file"}
    assert models["potential"]["file"] == "khco3" and models["potential"]["sha256_of"].startswith("the arrays")


def test_fast_hops_leave_a_mean_tensor(tmp_path):
    """1e11 /s and more beside 2π 81 MHz; at 1e8 /s neither average holds."""
    run = made(tmp_path)
    for factor, rule in ((1e7, "mean tensor"), (1e4, "neither the mean tensor nor the mean second order")):
        exchange = dataclasses.replace(run.exchange, rates=factor * run.exchange.rates)
        (mean,) = numbers_of(dataclasses.replace(run, exchange=exchange))["sites"][1]["mean_of_basins"]
        assert mean["average_that_holds"] == rule


def test_nuclei_that_other_groups_move_are_a_remark(tmp_path):
    """One sentence, with the largest; a line as wide as the change hides it."""
    run = made(tmp_path)
    (remark,) = (r for r in remarks_of(run) if "do not belong to" in r)
    assert "1 of 5 nuclei" in remark and "that of O_3 by 1629 Hz (20.0 ppm at 14.1 T) with event 0 (first)" in remark
    wide = run.config.experiment.model_copy(update={"linewidth_hz": 2000.0})
    wide = dataclasses.replace(run, config=run.config.model_copy(update={"experiment": wide}))
    assert not any("do not belong to" in r for r in remarks_of(wide))


def test_protons_that_cross_together_are_a_remark(tmp_path):
    """On this path; a saddle of one negative mode does not rule out a way with one proton across."""
    run = made(tmp_path)
    assert numbers_of(run)["events"][0]["crossing"]["on_this_path"] == "concerted"
    remark = next(r for r in remarks_of(run) if "concerted on this path" in r)
    assert "one proton can be across alone was not looked for" in remark and "1 negative mode;" in remark
    for where, words in (
        (("first", "end"), "finds no minimum"),
        (("between", "first"), r"is a minimum (+0.150 eV from the first)"),
        (("nowhere", "first"), "not found in 1000 steps"),
    ):
        known = dataclasses.replace(run.bands[0], alone_at=where, alone_ev=(0.15, 0.0))
        assert any(words in r for r in remarks_of(dataclasses.replace(run, bands=(known,) * 3)))
    apart = dataclasses.replace(run.bands[0], crossing_a=(-0.6, 0.1))
    assert any("one after another on this path" in r for r in remarks_of(dataclasses.replace(run, bands=(apart,) * 3)))
    single = dataclasses.replace(run.bands[0], crossing_a=(0.1,))
    assert not any("on this path" in r for r in remarks_of(dataclasses.replace(run, bands=(single,) * 3)))


def test_a_group_beside_its_own_image_is_a_remark(tmp_path):
    """Three atoms of 2.4 Å in a cell of 7 Å: 4.6 Å between the ends, which the edge of the cell may cut."""
    small = made(tmp_path, cell=7.0)
    (remark,) = (r for r in remarks_of(small) if "own image" in r)
    assert remark.startswith("events 0, 1: the group lies 4.60 Å") and "structure.supercell_a" in remark
    assert not any("own image" in r for r in remarks_of(made(tmp_path)))
    moved = np.array(small.structure.positions) + np.array([4.5, 0, 0])
    cut = Structure(small.structure.species, moved - 7.0 * np.floor(moved / 7.0), 7.0 * np.eye(3))
    assert nearest_image_of(cut, (0, 1, 2)) == pytest.approx(4.6)
    assert nearest_image_of(cut, (3, 4)) is None


def test_what_is_not_known_is_true(tmp_path):
    """Images are added by symmetry unless that is off; other ways between two minima are not looked for."""
    run = made(tmp_path)
    assert any("degeneracy" in line for line in numbers_of(run)["not_known"])
    for on in (True, False):
        motion = run.config.motion.model_copy(update={"hops": "explore", "symmetry": on})
        found = numbers_of(dataclasses.replace(run, config=run.config.model_copy(update={"motion": motion})))["not_known"]
        assert any("search did not find" in line and ("symmetry" in line) is not on for line in found)
