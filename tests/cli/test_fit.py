"""`jaxnmr fit`: what it finds in files whose truth is known, what it writes, and how it refuses."""

import csv
import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from typer.testing import CliRunner

import jaxnmr as jn
from jaxnmr.cli import _fit, _main
from jaxnmr.fitting import arrhenius

runner = CliRunner()

AXIS = jn.Axis(ppm=(60.0, -60.0), points=96)
SIZES = jn.Resolution(64, samples=256)
TRUTH = {"delta": np.array([25.0, -15.0]), "p": 0.5, "linewidth": 400.0}
SIGMA = 0.01  # of a line whose highest point is 1

pytestmark = pytest.mark.filterwarnings("ignore::jaxnmr.errors.ResolutionWarning")

SERIES = """
experiment = { isotope = "13C", field_t = 9.4 }
model = { name = "two_site_exchange" }
start = { delta = [20, -20], linewidth = 600, log_a = 12.5 }
series = { law = "arrhenius" }
fit = { fixed = ["p"] }
resolution = { orientations = 64, samples = 256 }
uncertainty = { profile = ["e_a_ev"] }

[[data]]
file = "230.csv"
temperature_k = 230
[[data]]
file = "260.csv"
temperature_k = 260
[[data]]
file = "300.csv"
temperature_k = 300
"""


@pytest.fixture(scope="module")
def line():
    """Rate and seed -> a noisy spectrum, its highest point near 1."""
    model = jn.fitting.models.two_site_exchange(AXIS, jn.Static(9.4), "13C", start=TRUTH, resolution=SIZES)
    clean = jax.jit(lambda k: model(TRUTH | {"k": k}))

    def made(k, seed, sigma=SIGMA):
        found = clean(jnp.asarray(k))
        y = np.asarray(found.intensity / found.intensity.max())
        y = y + sigma * np.random.default_rng(seed).normal(size=y.shape)
        return jn.Spectrum(found.ppm, found.hz, y, isotope="13C", field=9.4)

    return made


@pytest.fixture
def series(tmp_path, line):
    """Three temperatures of one Arrhenius law, and the configuration beside them."""
    for seed, temperature in enumerate((230, 260, 300)):
        line(arrhenius(temperature, 13.0, 0.45), seed).save(tmp_path / f"{temperature}.csv")
    path = tmp_path / "series.toml"
    path.write_text(SERIES)
    return path


def fit(*arguments):
    return runner.invoke(_main.app, ["fit", *map(str, arguments)])


def row(report, name):
    (found,) = [each for each in report["parameters"] if each["name"] == name]
    return found


def test_series_gives_back_the_law(series):
    """Truth within the errors, E_a to a few per cent from a poor start; all files, and tables that agree with the JSON."""
    done = fit(series, "--json")
    assert done.exit_code == 0, done.output
    report, folder = json.loads(done.stdout), series.with_name("series-fit")
    for name, true in (("log_a", 13.0), ("e_a_ev", 0.45), ("delta[0]", 25.0), ("delta[1]", -15.0), ("linewidth", 400.0)):
        found = row(report, name)
        # One draw of noise: 4 standard errors are passed once in 15000.
        assert abs(found["value"] - true) < 4 * found["error"], name
        assert found["low"] < found["value"] < found["high"]
    assert row(report, "e_a_ev")["error"] < 0.02
    assert [row(report, name)["unit"] for name in ("e_a_ev", "delta[0]", "linewidth")] == ["eV", "ppm", "Hz"]
    assert row(report, "p")["fixed"] and row(report, "p")["value"] == 0.5
    for each, temperature in zip(report["rates"], (230, 260, 300), strict=True):
        off = np.log10(each["k_per_s"] / float(arrhenius(temperature, 13.0, 0.45)))
        assert abs(off) < 4 * each["lg_k_error"] < 0.4
    low, high = report["profiles"]["e_a_ev"]["interval"]
    assert low < row(report, "e_a_ev")["value"] < high
    assert report["status"]["converged"] and 0.7 < report["noise"]["sigma"] / SIGMA < 1.3
    assert json.loads((folder / "result.json").read_text()) == report
    names = {"result.json", "parameters.csv", "fit.png", "correlation.png", "profile-e_a_ev.png"}
    assert {path.name for path in folder.iterdir()} == names | {"01-230.csv", "02-260.csv", "03-300.csv"}
    assert (folder / "fit.png").read_bytes().startswith(b"\x89PNG")
    assert not list(series.parent.glob(".*"))
    with (folder / "parameters.csv").open() as file:
        table = {each["name"]: each for each in csv.DictReader(file)}
    assert float(table["e_a_ev"]["value"]) == row(report, "e_a_ev")["value"]
    columns = np.genfromtxt(folder / "02-260.csv", delimiter=",", names=True)
    measured = jn.Spectrum.load(series.with_name("260.csv"))
    np.testing.assert_allclose(columns["measured"], measured.intensity, atol=1e-9)
    np.testing.assert_allclose(columns["measured"] - columns["fit"], columns["residual"], atol=1e-9)
    assert columns["residual"].std() < 1.3 * SIGMA


ONE = """
experiment = { isotope = "13C", field_t = 9.4 }
model = { name = "two_site_exchange" }
start = { delta = [20, -20], k = 1e4, linewidth = 600 }
constraints = { k = [1e2, 1e7], p = [0.2, 0.8] }
prior = [{ parameter = "p", mean = 0.5, sigma = 0.01 }]
linear = { baseline = 1 }
fit = { regions_ppm = [[45, -40]], noise = 0.01 }
resolution = { orientations = 64, samples = 256 }
"""


def test_one_spectrum_named_on_the_command_line(tmp_path, line, monkeypatch):
    """Files in the place of tables; options reach the fit with their units; processing is done before it."""
    spectrum = line(4e3, 5)
    slope = np.linspace(0.3, -0.1, len(spectrum.ppm))
    jn.Spectrum(spectrum.ppm, spectrum.hz, spectrum.intensity + slope, isotope="13C", field=9.4).save(tmp_path / "a.csv")
    (tmp_path / "one.toml").write_text(ONE)
    seen = {}
    real = jn.fitting.fit

    def heard(*arguments, **named):
        seen.update(named)
        return real(*arguments, **named)

    monkeypatch.setattr(jn.fitting, "fit", heard)
    done = fit(tmp_path / "one.toml", tmp_path / "a.csv", "--json", "-o", tmp_path / "out")
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    found = row(report, "k")
    assert found["low"] < 4e3 < found["high"] and found["high"] / found["low"] < 2
    assert abs(row(report, "p")["value"] - 0.5) < 0.03
    (limits,) = [seen["constraints"]]
    assert (repr(limits["k"]), repr(limits["p"])) == ("LogRate(100, 1e+07)", "Interval(0.2, 0.8)")
    assert seen["noise"] == 0.01 and seen["regions"] == [(45.0, -40.0)] and len(seen["priors"]) == 1
    # A straight base under the middle of the axis, as Chebyshev's coefficients.
    np.testing.assert_allclose(report["spectra"][0]["baseline"], [0.1, -0.2], atol=0.02)
    columns = np.genfromtxt(tmp_path / "out" / "01-a.csv", delimiter=",", names=True)
    assert set(columns["ppm"][columns["used"] == 0]) == {x for x in columns["ppm"] if not -40 <= x <= 45}


@pytest.mark.slow
def test_samples_are_reported(tmp_path, line):
    """NUTS from the configuration: intervals beside those of the covariance, diagnostics, a corner plot; and repeatable."""
    pytest.importorskip("blackjax")
    line(4e3, 5).save(tmp_path / "a.csv")
    text = ONE.replace("linear = { baseline = 1 }\n", "").replace("prior = [{", "# ")
    text = text.replace("fit = { ", 'fit = { fixed = ["p"], ')
    text += "uncertainty = { nuts = true, draws = 400, warmup = 150, chains = 2, seed = 3 }\n"
    (tmp_path / "one.toml").write_text(text)
    reports = []
    for folder in ("out", "again"):
        done = fit(tmp_path / "one.toml", tmp_path / "a.csv", "--json", "--x64", "-o", tmp_path / folder)
        assert done.exit_code == 0, done.output
        reports.append(json.loads(done.stdout))
    found = reports[0]["samples"]
    assert set(found) == {"k", "delta[0]", "delta[1]", "linewidth", "divergences"} and found["divergences"] < 40
    for name in ("k", "delta[0]", "linewidth"):
        low, high = found[name]["interval"]
        parameter = row(reports[0], name)
        # Of 800 draws some 400 are independent: ends are known to a tenth of the width. Half of it is another posterior.
        assert (high - low) / (parameter["high"] - parameter["low"]) == pytest.approx(1.0, abs=0.3)
        assert low < found[name]["median"] < high and low < parameter["value"] < high
        assert found[name]["r_hat"] < 1.05 and found[name]["effective"] > 100
    assert reports[1]["samples"] == found
    assert (tmp_path / "out" / "corner.png").read_bytes().startswith(b"\x89PNG")


def test_each_spectrum_its_own(tmp_path, line):
    """`series.each`: one rate for each spectrum, the shifts common; two kinds of axis side by side."""
    for name, k in (("slow", 1e3), ("fast", 1e4)):
        line(k, 7).save(tmp_path / f"{name}.csv")
    text = ONE.replace("fit = { regions_ppm = [[45, -40]], noise = 0.01 }", 'fit = { fixed = ["p"] }')
    text = text.replace("k = 1e4", "k = [1e3, 2e4]").replace("prior = [{", "# ").replace("linear = ", "# ")
    (tmp_path / "each.toml").write_text('series = { each = ["k"] }\n' + text)
    done = fit(tmp_path / "each.toml", tmp_path / "slow.csv", tmp_path / "fast.csv", "--json")
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    for name, k in (("k[0]", 1e3), ("k[1]", 1e4)):
        assert abs(np.log10(row(report, name)["value"] / k)) < 0.1


def test_a_search_that_does_not_end_says_so(series):
    """Status 3, and the report all the same."""
    series.write_text(SERIES.replace('fixed = ["p"]', 'fixed = ["p"], max_steps = 2'))
    done = fit(series)
    assert done.exit_code == _fit.NOT_CONVERGED == 3, done.output
    report = json.loads((series.with_name("series-fit") / "result.json").read_text())
    assert report["status"]["code"] == "max steps" and not report["status"]["converged"] and not report["profiles"]
    assert "max_steps" in report["status"]["advice"]


@pytest.fixture
def no_work(monkeypatch):
    """Whoever searches has worked."""
    monkeypatch.setattr(_fit, "_searched", lambda *_: pytest.fail("fitted"))


def test_dry_run_reads_and_stops(series, no_work):
    """Start, limits and sizes, with nothing written."""
    done = fit(series, "--dry-run", "--json")
    assert done.exit_code == 0, done.output
    plan = json.loads(done.stdout)
    assert [each["points"] for each in plan["spectra"]] == [96] * 3
    # k of the model's start, 1e3, in the middle of the temperatures, 263.3 K: 8.617e-5 263.3 (12.5 - 3) ln 10.
    assert plan["start"]["e_a_ev"] == pytest.approx(0.4964, abs=2e-3)
    assert [(each["orientations"], each["samples"]) for each in plan["sizes"]] == [(64, 256)]
    assert not series.with_name("series-fit").exists() and "would write" in done.stderr


def test_reports_are_replaced_only_when_told(series, no_work, monkeypatch):
    """A report needs --force; a folder that is none is never touched."""
    folder = series.with_name("series-fit")
    folder.mkdir()
    (folder / "thesis.tex").write_text("x")
    done = fit(series, "--force")
    assert done.exit_code == 2 and "is no report" in done.stderr and (folder / "thesis.tex").exists()
    (folder / "result.json").write_text("{}")
    done = fit(series)
    assert done.exit_code == 2 and "add --force" in done.stderr
    assert fit(series, "--force", "--dry-run").exit_code == 0


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("log_a = 12.5", "loga = 12.5", r"no parameter 'loga'"),
        ("log_a = 12.5", "k = 1e4", r"start\.k: arrhenius gives it; start log_a, e_a_ev"),
        ('law = "arrhenius"', 'lawn = "arrhenius"', r"unknown key 'series\.lawn' \(did you mean 'law'"),
        ('law = "arrhenius"', 'law = "arrhenuis"', r"series\.law: got 'arrhenuis'"),
        ('law = "arrhenius"', 'law = "arrhenius", each = ["widths"]', r"series\.each: no parameter 'widths'"),
        ("temperature_k = 230\n", "", r"data\[0\]\.temperature_k: missing"),
        ("temperature_k = 230\n", "temperature = 230\n", r"unknown key 'data\[0\]\.temperature' \(did you mean"),
        ('name = "two_site_exchange"', 'name = "two_site"', r"model\.name: got 'two_site'"),
        ('name = "two_site_exchange"', 'name = "two_site_exchange", n = 3', r"model\.n: two_site_exchange has no such"),
        ('fixed = ["p"]', 'fixed = ["q"]', r"fixed: no parameter 'q'"),
        ('fixed = ["p"]', "noise = [0.1]", r"fit\.noise: got 1 for 3 spectra"),
        ('profile = ["e_a_ev"]', 'profile = ["e_a"]', r"uncertainty\.profile: no parameter 'e_a' \(did you mean 'e_a_ev'"),
        ('profile = ["e_a_ev"]', 'profile = ["p"]', r"uncertainty\.profile: 'p' is fixed"),
        (
            'uncertainty = { profile = ["e_a_ev"] }',
            'uncertainty = { profile = ["delta[0]"] }\nconstraints = { delta = "ordered" }',
            r"uncertainty\.profile: 'delta\[0\]' is tied to the other elements",
        ),
        ('file = "230.csv"', 'file = "231.csv"', r"231\.csv"),
        ("field_t = 9.4", "field_t = 14.1", r"field: got 14\.1"),
        ('isotope = "13C", ', "", r"experiment\.isotope: missing; give isotope"),
    ],
)
def test_bad_input(series, old, new, message):
    """One line on stderr that names the key and the cure, and status 2."""
    assert old in SERIES
    series.write_text(SERIES.replace(old, new))
    done = fit(series)
    assert done.exit_code == 2, done.output
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("jaxnmr fit: ") and re.search(message, last), last
    assert not series.with_name("series-fit").exists() and not done.stdout
