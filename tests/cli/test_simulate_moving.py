"""`jaxnmr simulate`: pulses, distributions of rates, several structures, windows, and units of what is told."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

import jaxnmr as jn
from jaxnmr.cli import _main
from jaxnmr.units import BOLTZMANN_IN_EV

runner = CliRunner()

CARBON = ["--isotope", "13C", "--field-t", "9.4", "--shift-ppm", "110,160", "--linewidth-hz", "300"]
SMALL = ["--orientations", "256", "--samples", "1024", "--points", "401"]
SODIUM = ["--isotope", "23Na", "--field-t", "9.4", "--shift-ppm", "0", "--cq-hz", "1e6", "--transition", "all"]


def run(*arguments):
    return runner.invoke(_main.app, ["simulate", *map(str, arguments)])


def report(*arguments):
    done = run(*arguments, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_a_spread_of_rates_adds_spectra(tmp_path):
    """Spectra of the rates add, and not the rates: as `RateDistribution.mean` does it."""
    asked = [*CARBON, "--axis", "ppm:185:85", *SMALL, "--exchange", "0-1", "--k-per-s", "2e4", "--x64"]
    report(*asked, "--spread-decades", "0.7", "-o", tmp_path / "a.csv")
    found = jn.Spectrum.load(tmp_path / "a.csv")
    sites = jn.Sites("13C", jn.shift_tensor(np.array([110.0, 160.0])))

    def one(k):
        return jn.simulate(
            sites,
            jn.Static(9.4),
            jn.Axis(ppm=(185.0, 85.0), points=401),
            exchange=jn.ExchangeModel.from_rates({(0, 1): k}),
            linewidth=300.0,
            resolution=jn.Resolution(orientations=256, samples=1024),
        )

    wanted = np.asarray(jn.spins.log_normal_rates(2e4, 0.7).mean(one).intensity)
    sharp = np.asarray(one(2e4).intensity)
    size = np.linalg.norm(wanted)
    assert np.linalg.norm(np.asarray(found.intensity) - wanted) < 1e-4 * size
    assert np.linalg.norm(sharp - wanted) > 0.1 * size


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--exchange", "0-1:1e4", "--spread-decades", "1"], "without rates to spread"),
        (["--exchange", "0-1", "--k-per-s", "0,1e4", "--spread-decades", "1"], "0 has no distribution"),
        (["--exchange", "0-1", "--k-per-s", "1e4", "--barrier-deviation-ev", "0.1"], "use --spread-decades"),
        (["--nutation-hz", "5e4"], "give --pulse-us too"),
        (["--pulse-us", "5"], "give --nutation-hz too"),
    ],
)
def test_half_of_a_statement(flags, message):
    """What lacks its other half is named with it."""
    done = run(*CARBON, "--axis", "ppm:185:85", *flags)
    assert done.exit_code == 2
    assert message in done.stderr


def test_barriers_spread(tmp_path):
    """Two temperatures: the distribution of rates narrows as the sample warms, by the ratio of temperatures."""
    from jaxnmr.cli._config import checked
    from jaxnmr.cli._problem import stated

    job = stated(
        checked(
            {
                "experiment": {"isotope": "13C", "field_t": 9.4, "linewidth_hz": 300.0},
                "site": [{"shift_ppm": 110.0}, {"shift_ppm": 160.0}],
                "axis": {"ppm": [185, 85]},
                "exchange": {
                    "jumps": ["0-1"],
                    "temperatures_k": [200.0, 400.0],
                    "prefactor_per_s": 1e12,
                    "barrier_ev": 0.4,
                    "barrier_deviation_ev": 0.02,
                },
            },
            "",
        )
    )
    shares = np.asarray(job.shares, np.float64)
    for model, temperature in zip(job.models, (200.0, 400.0), strict=True):
        log_k = np.log(np.asarray(model.rates, np.float64)[:, 1, 0])
        mean = shares @ log_k
        thermal = BOLTZMANN_IN_EV * temperature
        np.testing.assert_allclose(mean, np.log(1e12) - 0.4 / thermal, rtol=1e-4)
        np.testing.assert_allclose(np.sqrt(shares @ (log_k - mean) ** 2), 0.02 / thermal, rtol=1e-3)


def test_a_pulse_weighs_lines():
    """A selective pulse turns the central line I + 1/2 = 2 times as fast, for half the signal: sin(90)/2 and not sin(45)."""
    asked = [*SODIUM, "--transition", "central", "--axis", "ppm:100:-150", "--linewidth-hz", "400", *SMALL]
    short = report(*asked, "--nutation-hz", "2.5e4", "--pulse-us", "5")["spectra"][0]["area"]
    ideal = report(*asked)["spectra"][0]["area"]
    # Crystallites near the angle at which the coupling vanishes turn like the liquid.
    assert 0.48 < short / ideal < 0.56


def test_a_window_that_cuts_the_line():
    """What is left outside is said in words and in the report, and not where the window holds the line."""
    inside = report(*CARBON, "--axis", "ppm:185:85", *SMALL)
    cut = report(*CARBON, "--axis", "ppm:185:150", *SMALL)
    assert inside["warnings"] == []
    assert len(cut["warnings"]) == 1
    assert "holds 4" in cut["warnings"][0] or "holds 5" in cut["warnings"][0]  # half, less the tails


def test_units_of_the_axis_rule(tmp_path):
    """Peaks are told in the axis' unit; the report has both."""
    larmor = abs(float(jn.isotope("13C").larmor_frequency(9.4)))
    ends = f"hz:{185e-6 * larmor}:{85e-6 * larmor}"
    done = run(*CARBON, "--axis", ends, *SMALL, "--json", "-o", tmp_path / "a.png")
    (row,) = json.loads(done.stdout)["spectra"]
    np.testing.assert_allclose(row["peaks_hz"], np.multiply(row["peaks_ppm"], 1e-6 * larmor), rtol=1e-5)
    assert f"{row['peaks_hz'][0]:.2f}" in done.stderr
    assert " Hz; centre of gravity" in done.stderr


def structure(shift, cell):
    tensors = -np.array([shift, shift + 5.0])[:, None, None] * np.eye(3)
    return jn.Structure(["C", "C"], [[0, 0, 0], [1.5, 0, 0]], cell=cell, shielding=tensors)


def test_several_structures(tmp_path):
    """The basins of one crystal, one file each; another cell is refused, with both."""
    cell = np.diag([5.0, 6.0, 7.0])
    turned = cell[[1, 2, 0]]
    for name, shift, lattice in (("a", 110.0, cell), ("b", 160.0, 1.01 * cell), ("c", 130.0, turned)):
        structure(shift, lattice).write(tmp_path / f"{name}.magres")
    both = [tmp_path / "a.magres", tmp_path / "b.magres"]
    sites = jn.Sites.read(both, "13C", 0.0, atoms="C_1")
    np.testing.assert_allclose(np.trace(np.asarray(sites.shift), axis1=1, axis2=2) / 3, [110, 160], rtol=1e-5)
    with pytest.raises(ValueError, match=r"a\.magres and .*c\.magres differ"):
        jn.Sites.read([both[0], tmp_path / "c.magres"], "13C", 0.0)
    with pytest.raises(ValueError, match="path: got none"):
        jn.Sites.read([], "13C", 0.0)
    flags = [each for path in both for each in ("--structure", path)]
    asked = [*flags, "--atoms", "C_1", "--reference-ppm", "0", "--isotope", "13C", "--field-t", "9.4"]
    found = report(*asked, "--linewidth-hz", "300", "--exchange", "0-1:1e7", "--axis", "ppm:185:85", *SMALL)
    np.testing.assert_allclose(found["spectra"][0]["peaks_ppm"], [135], atol=0.2)
    assert "differ by 1 %" in found["warnings"][0]
    done = run(*asked, "--structure", tmp_path / "c.magres", "--linewidth-hz", "300", "--axis", "ppm:185:85")
    assert done.exit_code == 2
    assert "c.magres differ" in done.stderr


def test_several_structures_in_a_file(tmp_path, monkeypatch):
    """A list of paths, counted from the TOML's folder; without cells there is no telling, which is said."""
    for name, shift in (("a", 110.0), ("b", 160.0)):
        structure(shift, None).write(tmp_path / f"{name}.xyz")
    (tmp_path / "x.toml").write_text(
        'structure = { file = ["a.xyz", "b.xyz"], atoms = ["C_1"], reference_ppm = 0 }\naxis = { ppm = [185, 85] }\n'
        'experiment = { isotope = "13C", field_t = 9.4, linewidth_hz = 300 }\n'
    )
    found = report(tmp_path / "x.toml", *SMALL)
    np.testing.assert_allclose(sorted(found["spectra"][0]["peaks_ppm"]), [110, 160], atol=0.2)
    assert "have no cells to compare" in found["warnings"][0]


def test_populations_must_not_vary_over_a_spread():
    """One way fixed and the other spread: each nucleus would have populations of its own."""
    flags = ["--exchange", "0-1", "--exchange", "1-0:1e4", "--k-per-s", "1e4", "--spread-decades", "0.5"]
    done = run(*CARBON, "--axis", "ppm:185:85", *flags)
    assert done.exit_code == 2
    assert "populations would differ" in done.stderr
