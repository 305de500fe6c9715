"""The demonstration: what it computes, what it writes, and how it refuses."""

import itertools
import json
import math
import os

import numpy as np
import pytest
from typer.testing import CliRunner

from jaxnmr.cli import _chain_demo, _demo, _figure, _main

runner = CliRunner()


def fake_series(field=14.1):
    """Two Gaussians that merge: enough to draw without computing a spectrum."""
    rates = np.logspace(2, 12, 11)
    ppm = np.linspace(*_demo.WINDOW, 128)
    centres = 80 + 30 / (1 + np.log10(rates))[:, None]
    return _demo.Series(
        field=field,
        larmor_frequency=81.3e6,
        rates=rates,
        ppm=ppm,
        hz=ppm * 81.3,
        intensity=np.exp(-(((ppm - centres) / 15) ** 2)),
        coalescence=1e4,
        second_transition=5e8,
    )


@pytest.fixture
def no_physics(monkeypatch):
    """The command with its spectra replaced by a drawing of some, and without its second part."""
    monkeypatch.setattr(_chain_demo, "khco3", lambda folder, tell: _chain_demo.Told(("A line.",), (folder,), 7.0, 3.0))
    monkeypatch.setattr(_demo, "compiled_spectrum", lambda field, points: None)
    monkeypatch.setattr(_demo, "series", lambda field, rates, spectrum, report: fake_series(field))


@pytest.mark.slow
def test_quick_demo_writes_figure_and_tables(tmp_path):
    """The real thing, small: a PNG, one CSV a field, and times apart."""
    picture = tmp_path / "demo.png"
    done = runner.invoke(_main.app, ["demo", "--quick", "--output", str(picture), "--csv", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "to compile" in done.output
    assert "to run" in done.output
    for field in ("14.1", "23.5"):
        table = np.loadtxt(tmp_path / f"jaxnmr-demo-{field}T.csv", delimiter=",", skiprows=1)
        assert table.shape == (512, 2 + 11)
        assert np.isfinite(table).all()
        # The window holds the centreband and at most loses sidebands: most of the unit area is in it.
        step = abs(table[1, 1] - table[0, 1])
        areas = table[:, 2:].sum(axis=0) * step
        assert (areas > 0.8).all()
        assert (areas < 1.05).all()


def test_splitting_against_the_formula_by_hand():
    """I = 5/2: the second-order shift is -(6/1000) (C_Q / nu_0)^2 (1 + eta^2 / 3)."""
    larmor = 14.1 * 5.774236e6  # Hz, 17O's |gamma| / 2 pi is 5.774 MHz/T
    shifts = [
        delta * 1e-6 - 6e-3 * (c_q / larmor) ** 2 * (1 + eta**2 / 3)
        for delta, c_q, eta in zip((110, 160), (7.4e6, 7.0e6), (0.3, 0.4), strict=True)
    ]
    assert math.isclose(_demo.splitting(14.1), larmor * (shifts[1] - shifts[0]), rel_tol=1e-3)


@pytest.mark.slow
def test_second_order_shift_moves_with_the_second_transition():
    """At infinite speed the centre goes from the mean of squares to the square of the mean."""
    larmor = abs(float(_demo.jn.isotope("17O").larmor_frequency(14.1)))
    coupling = np.asarray(_demo.oxygen_pair().quadrupole)
    squares = [(t**2).sum() for t in (coupling[0], coupling[1], coupling.mean(axis=0))]
    # C_Q^2 (1 + eta^2 / 3) is 2/3 of the sum of the squared elements.
    shift = [-6e-3 * (2 / 3) * square / larmor**2 * 1e6 for square in squares]
    slow, fast = np.mean(_demo.DELTA_ISO) + np.array([np.mean(shift[:2]), shift[2]])
    assert fast - slow > 20  # ppm: the effect that the figure is for
    spectrum = _demo.spectrum_at(14.1, 512)
    for k, centre in ((1e7, slow), (1e12, fast)):
        trace = spectrum(_demo.jnp.asarray(k))
        found = np.average(np.asarray(trace.ppm), weights=np.asarray(trace.intensity))
        # Sidebands and Lorentzian tails outside of the window move the mean by a few ppm.
        assert abs(found - centre) < 8


def test_the_chain_follows(tmp_path, no_physics, monkeypatch):
    """Unless told not to: its folder has the figure's name; times stand apart; it is left out where a package is missing."""
    picture = tmp_path / "a.png"
    done = runner.invoke(_main.app, ["demo", "--output", str(picture)])
    assert done.exit_code == 0, done.output
    assert "took 7 s, 3 s of these to compile" in done.output
    assert str(tmp_path / "a") in done.output.replace("\n", "") and "A line." in done.output
    for flag in ("--quick", "--no-chain"):
        assert "took 7 s" not in runner.invoke(_main.app, ["demo", flag, "--output", str(picture)]).output
    monkeypatch.setattr(_chain_demo, "missing", lambda: "vesin")
    done = runner.invoke(_main.app, ["demo", "--output", str(picture)])
    assert done.exit_code == 0 and "needs vesin: pip install 'jaxnmr[atoms]'" in done.output.replace("\n", " ")


@pytest.mark.slow
def test_the_chain_itself(tmp_path):
    """KHCO3 from its crystal: the protons' barrier, both kinds of carbonyl, and a page; minutes."""
    pytest.importorskip("vesin")
    told = _chain_demo.khco3(tmp_path / "run", lambda step: None)
    numbers = json.loads((tmp_path / "run" / "report.json").read_text())
    assert all(path.stat().st_size > 1000 for path in told.files) and told.compiling < told.seconds
    event = numbers["events"][0]
    # The teacher's surface: tens of meV, and a concerted crossing, both protons in the middle.
    assert 0.03 < event["barrier_ev"] < 0.15 and event["joins"] and 0 < event["energy_ev"] < 0.05
    assert max(abs(x) for x in event["crossing_a"]) < 0.1
    assert numbers["motion"][0]["length_ps"] > 0.15 and numbers["spectra"][0]["band_of"] == "D"
    # With the hop a hydroxyl's tensors become a bridged carbonyl's and back, within what the model errs; free C=O stays.
    names = []
    for group in (0, 1):
        sites = [site for site in numbers["sites"] if site["group"] == group]
        sites.sort(key=lambda site: site["basins"][0]["shift_ppm"])
        assert len(sites) == 6
        names += [site["atom"] for site in sites[:4]]
        wells = [site["basins"] for site in sites]
        for hydroxyl, bridged in itertools.product(wells[:2], wells[2:4]):
            assert hydroxyl[1]["shift_ppm"] - hydroxyl[0]["shift_ppm"] > 25
            for one, other in ((hydroxyl[0], bridged[1]), (hydroxyl[1], bridged[0])):
                assert one["shift_ppm"] == pytest.approx(other["shift_ppm"], abs=one["shielding_element_error_ppm"])
                assert abs(one["cq_hz"]) == pytest.approx(abs(other["cq_hz"]), abs=one["cq_error_hz"])
        for free in wells[4:]:
            assert free[1]["shift_ppm"] == pytest.approx(free[0]["shift_ppm"], abs=1.0)
    # The report speaks of one that exchanges, and of what one cell along the shortest axis does.
    assert event["regimes_of"]["atom"] in names and event["crossing"]["on_this_path"] == "concerted"
    assert any("from its own image" in remark for remark in numbers["remarks"])


@pytest.mark.parametrize("suffix", _main.FORMATS)
def test_figure_formats(tmp_path, no_physics, suffix):
    """Each format that the help names is written."""
    picture = tmp_path / f"demo{suffix}"
    done = runner.invoke(_main.app, ["demo", "--output", str(picture)])
    assert done.exit_code == 0, done.output
    assert picture.stat().st_size > 1000


def test_table_reads_back(tmp_path):
    """Columns are ppm, Hz and one a rate, named in the first line."""
    panel = fake_series()
    path = _figure.write_table(panel, tmp_path)
    with path.open(encoding="utf-8") as lines:
        names = next(lines).strip().split(",")
    assert names[:3] == ["ppm", "hz", "k=100"]
    table = np.loadtxt(path, delimiter=",", skiprows=1)
    np.testing.assert_allclose(table[:, 2:], panel.intensity.T, rtol=1e-6, atol=1e-30)


@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        (["--output", "nowhere/demo.png"], "does not exist"),
        (["--output", "demo.jpeg"], "does not end in"),
        (["--csv", "nowhere"], "does not exist"),
        (["--output", "folder.png"], "is a folder"),
    ],
)
def test_bad_paths_are_refused_before_any_work(tmp_path, monkeypatch, arguments, advice):
    """Status 2, and the message says which option and why."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.png").mkdir()
    monkeypatch.setattr(_demo, "compiled_spectrum", lambda *_: pytest.fail("worked first"))
    done = runner.invoke(_main.app, ["demo", *arguments])
    assert done.exit_code == 2
    text = " ".join(done.output.replace("│", " ").split())
    assert advice in text
    assert arguments[0] in text


def test_folder_that_cannot_be_written(tmp_path, monkeypatch):
    """A folder without the right to write is refused with status 2."""
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    done = runner.invoke(_main.app, ["demo", "--output", str(tmp_path / "demo.png")])
    assert done.exit_code == 2
    assert "cannot be written" in " ".join(done.output.replace("│", " ").split())


def test_write_that_fails_late(tmp_path, monkeypatch, no_physics):
    """A disc that fills up: status 2 and the reason, no traceback."""

    def full(panels, path):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(_figure, "draw", full)
    done = runner.invoke(_main.app, ["demo", "--output", str(tmp_path / "demo.png")])
    assert done.exit_code == 2
    assert "No space left" in done.output


def test_without_matplotlib(tmp_path, monkeypatch):
    """The advice names the extra, before any work is done."""
    import importlib.util

    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "matplotlib" else real(name, *rest))
    monkeypatch.setattr(_demo, "compiled_spectrum", lambda *_: pytest.fail("worked first"))
    done = runner.invoke(_main.app, ["demo", "--output", str(tmp_path / "demo.png")])
    assert done.exit_code == 1
    assert "pip install 'jaxnmr[plot]'" in done.output


def test_version():
    """`jaxnmr --version` prints the package's own."""
    import jaxnmr

    done = runner.invoke(_main.app, ["--version"])
    assert done.exit_code == 0
    assert done.output.strip() == f"jaxnmr {jaxnmr.__version__}"
