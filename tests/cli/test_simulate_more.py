"""`jaxnmr simulate`: echoes, motions, disorder, and stacks over field and temperature."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import jaxnmr as jn
from jaxnmr.cli import _main, _problem, _run, _stack
from jaxnmr.cli._config import checked
from jaxnmr.cli._say import Failure
from jaxnmr.cli._stack import Stack

runner = CliRunner()

CARBON = ["--isotope", "13C", "--shift-ppm", "110,160", "--linewidth-hz", "300", "--axis", "ppm:185:85"]
DEUTERON = ["--isotope", "2H", "--field-t", "9.4", "--shift-ppm", "0", "--cq-hz", "170e3", "--euler-q-deg", "0,60,0"]
DEUTERON += ["--linewidth-hz", "5e3", "--axis", "hz:200e3:-200e3", "--points", "256"]
SODIUM = ["--isotope", "23Na", "--field-t", "9.4", "--shift-ppm", "5", "--linewidth-hz", "500", "--axis", "ppm:100:-150"]
SMALL = ["--orientations", "256", "--samples", "1024"]


def run(*arguments):
    return runner.invoke(_main.app, ["simulate", *map(str, arguments)])


def report(*arguments):
    done = run(*arguments, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


@pytest.fixture
def jobs(monkeypatch):
    """What the library would be asked, without any work."""
    seen = []
    real = _problem.stated
    monkeypatch.setattr(_problem, "stated", lambda config: seen.append(real(config)) or seen[-1])
    monkeypatch.setattr(_run.Program, "compiled", lambda self: pytest.fail("compiled"))
    return seen


@pytest.fixture
def stated(monkeypatch, jobs):
    """What the library would be asked, without even tracing it."""

    def enough(job):
        raise Failure("enough")

    monkeypatch.setattr(_run, "prepared", enough)

    def ask(*arguments):
        done = run(*arguments)
        assert done.stderr == "jaxnmr simulate: enough\n"
        return jobs[-1]

    return ask


def test_stack_over_fields(tmp_path):
    """Lines at their shifts at every field, named by it; one program, whose sizes are those of the largest."""
    picture = tmp_path / "stack.png"
    asked = [*CARBON, "--fields-t", "4.7,9.4", "--points", "401", "--shift-deviation-ppm", "1", "-o", tmp_path / "a.csv"]
    found = report(*asked, *SMALL, "-o", picture)
    assert found["field_t"] == [4.7, 9.4]
    np.testing.assert_allclose(np.divide(*found["larmor_hz"]), 0.5)
    for row, field in zip(found["spectra"], (4.7, 9.4), strict=True):
        assert (row["field_t"], row["label"]) == (field, f"B0 = {field} T")
        np.testing.assert_allclose(sorted(row["peaks_ppm"]), [110, 160], atol=0.1)
    low, high = (jn.Spectrum.load(tmp_path / f"a-{field}T.csv") for field in (4.7, 9.4))
    assert float(high.field) == 9.4
    # Per ppm: 300 Hz and 2.355 ppm together are narrower at the higher field, whose lines stand higher.
    heights = [float(line.intensity.max() * line.larmor_frequency) for line in (low, high)]
    assert 1.1 < heights[1] / heights[0] < 2
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_an_echo_loses_what_jumps():
    """A ring that flips: exp(-2 k tau) at least of the slow one is left, and all of the one at rest; tau in microseconds."""
    asked = [*DEUTERON, "--motion", "flip:180", "--k-per-s", "0,1e3,3e5", "--echo-tau-us", "50", *SMALL]
    at_rest, slow, fast = (row["area"] for row in report(*asked)["spectra"])
    # The tails beyond the window hold 2 %.
    assert abs(at_rest - 1) < 0.03
    assert np.exp(-2 * 1e3 * 50e-6) < slow / at_rest < 0.97
    assert fast < 0.3


def test_kinds_of_echoes(stated):
    """The one that refocuses the spin at hand; another on request; counted in rotor periods."""
    for isotope, more, kind in (
        ("2H", ["--echo-tau-us", "20"], jn.SolidEcho),
        ("2H", ["--echo-tau-us", "20", "--echo", "hahn"], jn.HahnEcho),
        ("13C", ["--echo-periods", "2", "--rate-hz", "1e4"], jn.HahnEcho),
    ):
        echo = stated(*CARBON, "--isotope", isotope, "--field-t", "9.4", "--exchange", "0-1:1", *more).experiments[0].echo
        assert isinstance(echo, kind)
        assert echo.periods == (2 if "--echo-periods" in more else None)
        assert echo.periods or float(echo.tau) == pytest.approx(20e-6)


def test_motions_in_both_languages(tmp_path, stated):
    """Flags and TOML say the same product of a flip and a methyl jump; the open rate is that of the list."""
    (tmp_path / "a.toml").write_text(
        '[[motion]]\nkind = "flip"\nangle_deg = 120\naxis = [1, 0, 0]\n'
        '[[motion]]\nkind = "jump"\nn = 3\nrate_per_s = 1e7\n[exchange]\nk_per_s = [1e4]\n'
    )
    flags = ["--motion", "flip:120", "--motion", "jump:3@1e7", "--motion-axis", "1,0,0", "--motion-axis", "0,0,1"]
    found = [stated(*DEUTERON, *flags, "--k-per-s", "1e4"), stated(tmp_path / "a.toml", *DEUTERON)]
    site = jn.Sites("2H", jn.shift_tensor(0.0), jn.quadrupole_tensor(170e3, 0.0, (0.0, np.pi / 3, 0.0)))
    outer = jn.exchange.flip((1.0, 0.0, 0.0), 1e4, angle=2 * np.pi / 3)
    sites, exchange = (outer @ jn.exchange.n_site_jump((0.0, 0.0, 1.0), 3, 1e7))(site)
    for job in found:
        np.testing.assert_allclose(np.asarray(job.sites.quadrupole), np.asarray(sites.quadrupole), atol=1e-6)
        np.testing.assert_allclose(np.asarray(job.models[0].rates), np.asarray(exchange.rates), rtol=1e-10)


def test_other_motions(stated):
    """Corners of a tetrahedron; a cone, whose rate is its diffusion."""
    for text, expected in (
        ("tetrahedral@1e6", jn.exchange.tetrahedral_jump(1e6)),
        ("cone:20@1e7", jn.exchange.cone((0.0, 0.0, 1.0), np.radians(20), 1e7)),
    ):
        rates = stated(*DEUTERON, "--motion", text).models[0].rates
        np.testing.assert_allclose(np.asarray(rates), np.asarray(expected.exchange.rates), rtol=1e-10)


def test_stack_over_temperatures(jobs):
    """Arrhenius by hand: 0.3 eV and 1e13 /s are 9.1e7 /s at 300 K; files are named by temperature."""
    asked = ["--temperatures-k", "250,300", "--prefactor-per-s", "1e13", "--barrier-ev", "0.3", "-o", "line.csv"]
    done = run(*CARBON, "--field-t", "9.4", "--exchange", "0-1", *asked, *SMALL, "--dry-run", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["would_write"] == ["line-250K.csv", "line-300K.csv"]
    (job,) = jobs
    np.testing.assert_allclose(job.rates, [1e13 * np.exp(-0.3 / (8.617333e-5 * t)) for t in (250, 300)], rtol=1e-5)
    np.testing.assert_allclose([model.rates[1, 0] for model in job.models], job.rates)
    assert job.stack.label(1) == "T = 300 K"


def test_disorder(jobs):
    """Czjzek's sites without a mean coupling, the extended ones about one, both in a list; a shift's spread is a width."""
    czjzek = ["--czjzek-sigma-hz", "1e6", "--shift-deviation-ppm", "3", "--gaussian-hz", "200"]
    assert run(*SODIUM, *czjzek, *SMALL, "--dry-run").exit_code == 0
    expected = jn.spins.czjzek("23Na", 1e6, 5.0)
    np.testing.assert_allclose(np.asarray(jobs[0].sites.quadrupole), np.asarray(expected.quadrupole), rtol=1e-10)
    np.testing.assert_allclose(jobs[0].gaussians, np.hypot(200, jn.spins.shift_fwhm("23Na", 3.0, 9.4)))
    both = ["--shift-ppm", "5,10", "--cq-hz", "0,2e6", "--czjzek-sigma-hz", "1e6,2e5", "--weights", "0.25,0.75"]
    assert run(*SODIUM, *both, *SMALL, "--dry-run").exit_code == 0
    sites = jobs[1].sites
    count = len(expected)
    np.testing.assert_allclose(float(sites.weights[:count].sum()), 0.25)
    mean = np.einsum("s,sab->ab", np.asarray(sites.weights[count:]) / 0.75, np.asarray(sites.quadrupole[count:]))
    np.testing.assert_allclose(mean, np.asarray(jn.quadrupole_tensor(2e6)), atol=1.0)


def test_a_flag_wins_over_the_other_spelling_in_the_file(tmp_path, jobs):
    """Several fields on the command line, one in the file; and the other way."""
    (tmp_path / "a.toml").write_text("[experiment]\nfield_t = 4.7\n")
    (tmp_path / "b.toml").write_text("[experiment]\nfields_t = [4.7, 9.4]\n")
    rest = [*CARBON, *SMALL, "--dry-run"]
    assert run(tmp_path / "a.toml", *rest, "--fields-t", "9.4,14.1").exit_code == 0
    assert run(tmp_path / "b.toml", *rest, "--field-t", "14.1").exit_code == 0
    assert [[float(e.field) for e in job.experiments] for job in jobs] == [[9.4, 14.1], [14.1]]


def test_largest_sizes_of_all_fields():
    """A stack is one program: the widest pattern, at the lowest field, asks for the most orientations."""
    tables = {
        "experiment": {"isotope": "23Na", "fields_t": [9.4, 18.8], "linewidth_hz": 200},
        "site": [{"shift_ppm": 0, "cq_hz": 2e6}],
        "axis": {"ppm": [100, -150]},
    }
    sizes = [
        _run.prepared(
            _problem.stated(checked(tables | {"experiment": tables["experiment"] | {"fields_t": f}}, ""))
        ).resolution
        for f in ([9.4], [18.8], [9.4, 18.8])
    ]
    for name in ("orientations", "samples"):
        low, high, both = (getattr(each, name) for each in sizes)
        assert both == max(low, high)
    assert sizes[0].orientations != sizes[1].orientations


def test_names_of_stacks():
    """One list at a time; single values stand beside it."""

    def stack(**tables):
        experiment = {"isotope": "13C", "field_t": 9.4, "linewidth_hz": 1} | tables.pop("experiment", {})
        return _stack.stack_of(
            checked({"experiment": experiment, "site": [{"shift_ppm": 0}], "axis": {"hz": [0, 1]}} | tables, "")
        )

    assert stack() == Stack()
    assert stack(exchange={"k_per_s": [1e4]}) == Stack("k_per_s", (1e4,))
    several = {"field_t": None, "fields_t": [4.7, 9.4]}
    assert stack(experiment=several, exchange={"k_per_s": [1e4]}) == Stack("field_t", (4.7, 9.4))


FIELD = ["--field-t", "9.4"]
REFUSED = {
    "no field": (CARBON, "give --field-t"),
    "two lists": ([*CARBON, "--fields-t", "4.7,9.4", "--exchange", "0-1", "--k-per-s", "1,2"], "one list"),
    "fields": ([*CARBON, "--fields-t", "4.7,x"], "--fields-t: got '4.7,x'"),
    "both fields": ([*CARBON, "--fields-t", "4.7", *FIELD], "came together with fields_t"),
    "echo alone": ([*CARBON, *FIELD, "--echo", "hahn"], "(--echo-tau-us)"),
    "echo twice": ([*CARBON, *FIELD, "--echo-tau-us", "5", "--echo-periods", "1"], "echo_periods"),
    "echo kind": ([*CARBON, *FIELD, "--echo", "spin", "--echo-tau-us", "5"], "experiment.echo: got 'spin'"),
    "echo spin": ([*CARBON, *FIELD, "--echo", "solid", "--echo-tau-us", "5"], "13C, of half-integer spin"),
    "unsynchronised": ([*CARBON, *FIELD, "--rate-hz", "1e4", "--echo-tau-us", "30"], "periods=1"),
    "motion": ([*DEUTERON, "--motion", "filp:180@1"], "did you mean 'flip'"),
    "motion number": ([*DEUTERON, "--motion", "flip:x@1"], "'x' is no number"),
    "motion extra": ([*DEUTERON, "--motion", "tetrahedral:4@1"], "takes no parameter"),
    "motion n": ([*DEUTERON, "--motion", "jump@1"], "motion[0].n: missing"),
    "motion n half": ([*DEUTERON, "--motion", "jump:2.5@1"], "motion[0].n: got 2.5"),
    "motion angle": ([*DEUTERON, "--motion", "cone@1"], "motion[0].angle_deg: missing"),
    "motion rate": ([*DEUTERON, "--motion", "flip:180"], "as --motion flip:180@1e5, or give --k-per-s"),
    "motion rates": ([*DEUTERON, "--motion", "flip:180@1", "--k-per-s", "1"], "every motion has a rate"),
    "motion axis": ([*DEUTERON, "--motion", "flip@1", "--motion-axis", "0,0"], "a direction of three numbers"),
    "motion axes": ([*DEUTERON, "--motion", "flip@1", "--motion-axis", "0,0,1", "--motion-axis", "0,0,1"], "got 2 for 1"),
    "axis alone": ([*DEUTERON, "--motion-axis", "0,0,1"], "without --motion"),
    "two sites": ([*CARBON, *FIELD, "--motion", "flip@1"], "motion: got 2 sites"),
    "both motions": ([*CARBON, *FIELD, "--motion", "flip@1", "--exchange", "0-1:1"], "give --motion or --exchange"),
    "temperatures": ([*CARBON, *FIELD, "--exchange", "0-1", "--temperatures-k", "300"], "prefactor_per_s: missing"),
    "prefactor": ([*CARBON, *FIELD, "--exchange", "0-1:1", "--prefactor-per-s", "1e13"], "add --temperatures-k"),
    "rates twice": (
        [*CARBON, *FIELD, "--exchange", "0-1", "--temperatures-k", "300", "--k-per-s", "1"],
        "came together with k_per_s",
    ),
    "glass that jumps": ([*SODIUM, "--czjzek-sigma-hz", "1e6", "--motion", "flip@1"], "leave the jumps or the motion out"),
    "glass of spin 1/2": ([*CARBON, *FIELD, "--czjzek-sigma-hz", "1e6"], "13C has spin 1/2"),
    "glass sigma": ([*SODIUM, "--czjzek-sigma-hz", "-1"], "czjzek_sigma_hz: got -1"),
    "glass sigmas": ([*SODIUM, "--czjzek-sigma-hz", "1e6,2e6"], "got 2 for 1 sites"),
    "glass anisotropy": ([*SODIUM, "--zeta-ppm", "50", "--czjzek-sigma-hz", "1e6"], "shift anisotropy"),
    "correlation": ([*SODIUM, "--correlated-shift-ppm", "2"], "add --czjzek-sigma-hz"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_flags_are_one_line(case, jobs):
    """Status 2, one line on stderr that names what is wrong, nothing on stdout."""
    arguments, advice = REFUSED[case]
    done = run(*arguments, *SMALL, "--dry-run")
    assert done.exit_code == 2, done.output
    assert done.stdout == ""
    assert advice in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_file_in_readme(tmp_path):
    """README's TOML is one that runs."""
    text = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    (tmp_path / "hops.toml").write_text(text.split("```toml\n")[1].split("```")[0], encoding="utf-8")
    found = runner.invoke(_main.app, ["simulate", str(tmp_path / "hops.toml"), "--dry-run", "--json"])
    assert found.exit_code == 0, found.output
    assert "lines-k1e+06.csv" in found.output


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--motion", "tetrahedral@1e5", "--motion-axis", "0,0,1"], "tetrahedral"),
        (["--angle-deg", "30", "--motion", "flip:120@1e5"], "angle_deg: came without a rotor"),
        (["--exchange", "0-1:1e4", "--populations", "0.9,0.9", "--shift-ppm", "0,50"], "populations: got"),
    ],
)
def test_what_would_be_ignored(flags, message):
    """What has no meaning is refused, and not left out in silence."""
    base = ["--isotope", "2H", "--field-t", "9.4", "--shift-ppm", "0", "--cq-hz", "1e5", "--linewidth-hz", "1e3"]
    found = runner.invoke(_main.app, ["simulate", *base, "--axis", "hz:-1e5:1e5", *flags])
    assert found.exit_code != 0
    assert message in found.output
