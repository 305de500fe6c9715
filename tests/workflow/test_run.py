"""The whole chain on a toy with a closed form; taking it up again; what refuses to start."""

import dataclasses
import json

import jax.numpy as jnp
import numpy as np
import pytest

import jaxnmr as jn
from jaxnmr.workflow import RunConfig, Step, plan, prepared
from jaxnmr.workflow._atoms import check_joined
from jaxnmr.workflow._folder import locked
from jaxnmr.workflow._remarks import remarks_of

from . import toy

pytestmark = pytest.mark.filterwarnings("ignore::jaxnmr.errors.JaxnmrWarning")


def made(config, **how):
    """A run of the toy, and what it told."""
    told: list[Step] = []
    result = jn.run(config, potential=toy.surface(), tensors=toy.Tensors(), progress=told.append, **how)
    return result, told


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """One run from an empty folder."""
    folder = tmp_path_factory.mktemp("toy")
    return made(toy.config(folder))[0]


def test_numbers_of_the_toy_come_back(whole):
    """Barrier, asymmetry, rate, populations and tensors in closed form; 1 % is far above what 5e-4 eV/Å leaves."""
    rates = whole.rates
    assert rates.barrier_ev[0] == pytest.approx(toy.barrier(), abs=1e-5)
    assert rates.energy_ev[0] == pytest.approx(toy.along(toy.X1) - toy.along(toy.X0), abs=1e-5)
    # Without the frequencies across the path the rate would be 20 % off.
    assert rates.htst[0, 0] == pytest.approx(toy.rate(), rel=1e-3)
    np.testing.assert_allclose(rates.populations[0, 0], toy.populations(), rtol=1e-3)
    assert whole.bands[0].n_negative == 1 and whole.bands[0].joins
    iso = np.trace(whole.tensors.shielding, axis1=-2, axis2=-1)[:, 0] / 3
    np.testing.assert_allclose(iso, toy.SIGMA + toy.SLOPE * np.array([toy.X0, toy.X1]), atol=5e-3)


def test_spectrum_of_the_toy_comes_back(whole):
    """McConnell's two sites: 1 % of the line; the static spectrum is half of it away."""
    b = whole.moving()
    expected = np.asarray(toy.line(b.ppm))
    size = np.linalg.norm(expected)
    assert np.linalg.norm(np.asarray(b.intensity) - expected) < 0.01 * size
    assert np.linalg.norm(np.asarray(whole.still().intensity) - expected) > 0.3 * size


def test_crossings_that_turn_back_are_taken_off(tmp_path, whole):
    """Short trajectories over a parabola stay across; followed until the well has thrown them back, fewer do."""
    config = toy.config(tmp_path, rates__recrossing_pairs=200, rates__recrossing_fs=8.0, sample__dt_fs=0.2)
    result, _ = made(config, until="exchange")
    (found,) = result.recrossed
    # The proton's way through the first well and back takes 20 fs and more.
    assert found.value[0] == pytest.approx(1.0, abs=0.03) and 100 < found.effective[0] <= 200
    taken = result.exchange.rates[0, 0, 1, 0]
    assert taken == pytest.approx(found.value[0] * result.rates.htst[0, 0], rel=1e-12)
    np.testing.assert_array_equal(result.exchange.populations, whole.exchange.populations)

    longer = toy.config(tmp_path, rates__recrossing_pairs=200, rates__recrossing_fs=25.0, sample__dt_fs=0.2)
    again, told = made(longer)
    assert [s.name for s in told if s.state == "done"] == ["recrossing-0", "exchange", "spectra-0", "report"]
    assert 0.5 < again.recrossed[0].value[0] < 0.97
    assert any("no plateau" in remark for remark in again.remarks)
    numbers = json.loads((again.folder / "report.json").read_text())
    row = numbers["events"][0]["rates"][0]
    assert row["transmission"] == again.recrossed[0].value[0]
    assert row["rate_taken_per_s"] == pytest.approx(row["transmission"] * row["rate_per_s"], rel=1e-12)
    assert row["starts_that_count"] > 100 and row["saddle_anharmonicity"] == pytest.approx(1.0, abs=0.2)
    few = dataclasses.replace(again.recrossed[0], effective=np.array([5.0]), anharmonic=np.array([0.2]))
    said = remarks_of(dataclasses.replace(again, recrossed=(few,)))
    assert any("5 of the starts" in r for r in said) and any("0.2 times the states" in r for r in said)
    # Few trajectories know the share to some per cent: that alone makes a band, and the report says what is in none.
    assert len(again.spectra[0].low) and not len(whole.spectra[0].low)
    left_out = [line for line in numbers["not_known"] if "band was drawn without" in line]
    for key in ("barrier_ev", "energy_ev", "rate_error", "reference_ppm", "model's error of shielding"):
        assert sum(key in line for line in left_out) == 1

    over = toy.config(tmp_path, rates__recrossing_pairs=200, rates__recrossing_fs=40.0, sample__dt_fs=0.2)
    with pytest.raises(ValueError, match=r"recrossing_fs: after 40 fs at 298 K .* shorter"):
        made(over, until="recrossing")


def test_report_holds_every_number(whole):
    """JSON has the rate with its unit in the key; the page holds its pictures and needs no other file."""
    numbers = json.loads((whole.folder / "report.json").read_text())
    event = numbers["events"][0]
    assert event["barrier_ev"] == whole.bands[0].barrier_ev
    assert event["rates"][0]["rate_per_s"] == whole.rates.htst[0, 0]
    averaged = numbers["sites"][0]["averaged"][0]
    p = toy.populations()
    mean = toy.REFERENCE - toy.SIGMA - toy.SLOPE * (p[0] * toy.X0 + p[1] * toy.X1)
    assert averaged["shift_ppm"] == pytest.approx(mean, abs=0.01)
    page = (whole.folder / "report.html").read_text()
    assert page.count("<svg") == 4 and "http-equiv" not in page and 'src="' not in page
    kept = jn.Spectrum.read(whole.folder / "spectrum-B-9.4T-298K.csv")
    np.testing.assert_allclose(kept.intensity, whole.spectra[0].moving[0], rtol=1e-5, atol=1e-12)


def test_a_second_run_keeps_everything(whole):
    """Nothing is computed again, and the result is the same to the last bit."""
    again, told = made(whole.config)
    assert {step.state for step in told if step.name != "report"} == {"kept"}
    assert np.array_equal(again.spectra[0].moving, whole.spectra[0].moving)


@pytest.mark.parametrize("seed", range(4))
def test_a_run_that_was_killed_goes_on(whole, tmp_path, seed):
    """Killed at random boundaries until it is through: the same bits as the run that was not."""
    rng, config = np.random.default_rng(seed), toy.config(tmp_path)
    result, kills = None, 0
    while result is None:
        left = int(rng.integers(1, 8))

        def tell(step, left=left, seen=[0]):  # noqa: B006 - one list for each try
            if step.state != "kept":
                seen[0] += 1
            if seen[0] >= left:
                raise KeyboardInterrupt

        try:
            result = jn.run(config, potential=toy.surface(), tensors=toy.Tensors(), progress=tell)
        except KeyboardInterrupt:
            kills += 1
    assert kills > 0 and result.rates is not None
    assert np.array_equal(result.spectra[0].moving, whole.spectra[0].moving)
    assert np.array_equal(result.rates.htst, whole.rates.htst)


def test_a_cut_file_is_made_again(whole, tmp_path):
    """Half a file, as after a crash of the machine, is no result."""
    config = toy.config(tmp_path)
    made(config)
    victim = tmp_path / "run" / "stages" / "rates.npz"
    victim.write_bytes(victim.read_bytes()[: victim.stat().st_size // 2])
    again, told = made(config)
    assert again.rates is not None
    assert [step.name for step in told if step.state == "done"] == ["rates", "report"]
    assert np.array_equal(again.rates.htst, whole.rates.htst)


@pytest.mark.parametrize(
    ("changes", "anew"),
    [
        ({"experiment__linewidth_hz": 200.0}, {"spectra-0", "report"}),
        ({"experiment__temperatures_k": [310.0]}, {"rates", "exchange", "spectra-0", "report"}),
        ({"tensors__reference_ppm": (-1.0, 171.0)}, {"spectra-0", "report"}),
    ],
)
def test_a_change_reruns_what_depends_on_it(tmp_path, changes, anew):
    """And nothing else."""
    made(toy.config(tmp_path), until="exchange")
    made(toy.config(tmp_path))
    _, told = made(toy.config(tmp_path, **changes))
    assert {step.name for step in told if step.state == "done"} == anew


def test_without_hops_both_spectra_are_one(tmp_path):
    """No event: no saddle, no rate, and B is A."""
    result, told = made(toy.config(tmp_path, motion__ends=[]))
    assert result.rates is None and not [step for step in told if step.name.startswith("saddles")]
    assert np.array_equal(result.moving().intensity, result.still().intensity)
    assert "No event leads to another minimum" in (result.folder / "report.html").read_text()


def test_a_search_finds_the_other_minimum(tmp_path):
    """With nothing given but the start: the same barrier and line as from the end that was given."""
    changes = {"motion__ends": [], "motion__hops": "explore", "motion__explore_hops": 25, "motion__explore_walkers": 1}
    result, told = made(toy.config(tmp_path, **changes))
    assert result.explored is not None and len(result.explored.energies) == 1
    assert result.explored.energies[0] == pytest.approx(toy.along(toy.X1) - toy.along(toy.X0), abs=1e-3)
    assert result.rates is not None and result.rates.htst[0, 0] == pytest.approx(toy.rate(), rel=1e-3)
    assert "explore" in {step.name for step in told}
    assert any("of 25 hops" in step.state for step in told if step.name == "explore")
    numbers = json.loads((result.folder / "report.json").read_text())
    assert numbers["explored"]["energies_ev"] == result.explored.energies.tolist()
    assert "found 1 other minima" in (result.folder / "report.html").read_text()
    assert any(
        "search did not find" in line for line in json.loads((result.folder / "report.json").read_text())["not_known"]
    )


def test_another_potential_reruns_the_chain(tmp_path):
    """A surface given in Python is known by its numbers."""
    made(toy.config(tmp_path), until="relax")
    told: list[Step] = []
    stiffer = jn.dynamics.Surface(lambda r: 1.1 * toy.energy(r), species=("C", "H"), fixed=(True, False))
    jn.run(toy.config(tmp_path), potential=stiffer, tensors=toy.Tensors(), until="relax", progress=told.append)
    assert told[-1] == Step("relax", "done")


def test_two_runs_in_one_folder_refuse_each_other(tmp_path):
    """The second names the process that has it."""
    config = toy.config(tmp_path)
    with locked(config.output.folder), pytest.raises(ValueError, match=r"in use by process \d+"):
        made(config)
    made(config, until="relax")  # free again


def test_a_folder_of_another_material_is_refused(tmp_path):
    """Also where its stages would not be taken."""
    config = toy.config(tmp_path)
    made(config, until="relax")
    (tmp_path / "run" / "material.txt").write_text("Si O O\n")
    with pytest.raises(ValueError, match="other atoms"):
        made(config, until="relax")
    made(config, until="relax", force=True)


def test_stops_where_asked_and_plans(tmp_path):
    """`until` makes no later stage; the plan counts what is there."""
    config = toy.config(tmp_path)
    result, _ = made(config, until="saddles")
    assert result.bands and result.rates is None
    with pytest.raises(ValueError, match="stopped before"):
        result.still()
    costs = {cost.stage: cost for cost in plan(config, prepared(config, toy.surface(), toy.Tensors()))}
    assert costs["saddles"].kept and not costs["rates"].kept and costs["vibrations"].evaluations > 0
    with pytest.raises(ValueError, match="did you mean 'saddles'"):
        made(config, until="sadles")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[experiment]\nisotop = "17O"\n', "unknown key 'experiment.isotop'.*did you mean 'isotope'"),
        ("[sructure]\n", "unknown key 'sructure'.*did you mean 'structure'"),
        ("[axis]\nppm = [1, 2]\npoints = 1\n", "axis.points.*greater than or equal to 2"),
        ("[axis\n", "not TOML"),
        ("[axis]\nppm = [1, 2]\n", "structure: missing"),
        ('[motion]\nhops = "protons"\nends = ["a.xyz"]\n', "missing"),
    ],
)
def test_config_errors(tmp_path, text, words):
    """One line, with the key and the nearest known one."""
    path = tmp_path / "run.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=words) as error:
        RunConfig.read(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"motion__hops": "protons"}, "hops and ends both came"),
        ({"sample__length_ps": 0.1}, "length_ps is not above warmup_ps"),
        ({"sample__length_ps": 0.6, "sample__every": 120}, "every 120 leave 6 samples after warmup_ps 0.2"),
        ({"measured__field": 1}, "no such field or temperature"),
    ],
)
def test_tables_that_contradict(tmp_path, changes, words):
    """What no single key shows."""
    with pytest.raises(ValueError, match=words):
        toy.config(tmp_path, **changes)


def test_names_of_shipped_models_stay_names(tmp_path):
    """Other paths count from the file's folder."""
    path = tmp_path / "run.toml"
    path.write_text(
        'structure = { file = "a.cif" }\npotential = { file = "khco3" }\n'
        'tensors = { file = "own.safetensors", reference_ppm = 255 }\naxis = { ppm = [1, 0] }\n'
        'experiment = { isotope = "17O", fields_t = [9.4], linewidth_hz = 100 }\noutput = { folder = "out" }\n'
    )
    config = RunConfig.read(path)
    assert str(config.potential.file) == "khco3"
    assert config.tensors.file == tmp_path / "own.safetensors" and config.output.folder == tmp_path / "out"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"experiment__isotope": "17O"}, "has no O; it has C, H"),
        ({"motion__ends": ["start.extxyz"]}, "no atom is 0.3"),
        ({"motion__hops": "protons", "motion__ends": []}, "no hydrogen has a second"),
    ],
)
def test_bad_input(tmp_path, changes, words):
    """Said before any work."""
    if "motion__ends" in changes:
        changes = changes | {"motion__ends": [tmp_path / name for name in changes["motion__ends"]]}
    with pytest.raises(ValueError, match=words):
        made(toy.config(tmp_path, **changes))


def three_wells():
    """Minima at the toy's ends and one between, eV: the saddle on the way is that of half of it."""
    return jn.dynamics.Surface(
        lambda r: 0.15 * (1 - jnp.cos(4 * jnp.pi * r[1, 0])) + 5.0 * ((r[1, 1] - 1) ** 2 + r[1, 2] ** 2),
        species=("C", "H"),
        fixed=(True, False),
    )


def test_a_saddle_of_another_jump_stops_the_run(tmp_path):
    """Said with the minima that it joins and what to do, with all that was made kept; taken as it is where that is asked."""
    words = r"event 0 \(.*\(0\.300 eV\) end in minima at 0\.000 and 0\.000 eV.*motion\.images.*motion\.ends"
    for _ in range(2):
        told: list[Step] = []
        with pytest.raises(jn.dynamics.SearchError, match=words):
            jn.run(toy.config(tmp_path), potential=three_wells(), tensors=toy.Tensors(), progress=told.append)
    assert told[-1] == Step("saddles-0", "kept")
    kept = toy.config(tmp_path, motion__unjoined="keep")
    found = jn.run(kept, potential=three_wells(), tensors=toy.Tensors(), until="rates", progress=told.append)
    assert [s.name for s in told if s.state == "done" and s.name.startswith("saddles")] == []
    assert not found.bands[0].joins and found.rates.barrier_ev[0] == pytest.approx(0.3, abs=1e-4)
    assert any("end elsewhere" in remark for remark in remarks_of(found))
    # Where nobody looked nothing is refused.
    band = dataclasses.replace(found.bands[0], sides_ev=())
    check_joined(found.ends, {0: band})
    with pytest.raises(jn.dynamics.SearchError):
        check_joined(found.ends, {0: found.bands[0]})
