"""Tables of numbers: which column is what, which way the axis runs, and what is no spectrum."""

import os
from pathlib import Path

import numpy as np
import pytest

import jaxnmr as jn

DATA = Path(os.environ.get("JAXNMR_DATA", Path(__file__).parents[3] / "shared" / "data"))
shared = pytest.mark.skipif(not DATA.is_dir(), reason=f"third-party files are not at {DATA}; set JAXNMR_DATA")

LARMOR = 100e6
PPM = np.linspace(80.0, -40.0, 25)
LINE = np.exp(-(((PPM - 50) / 8) ** 2)) + 0.5 * np.exp(-(((PPM + 20) / 5) ** 2))


def table(path, *columns, header="", delimiter="\t"):
    np.savetxt(path, np.stack(columns, axis=1), delimiter=delimiter, header=header, comments="", fmt="%.9g")
    path.write_text(path.read_text().lstrip("\n"))
    return path


def check(line, imaginary=None):
    """The spectrum above, ppm descending."""
    np.testing.assert_allclose(line.ppm, PPM, atol=1e-6)
    np.testing.assert_allclose(line.hz, PPM * 100, atol=1e-4)
    np.testing.assert_allclose(line.intensity, LINE, atol=1e-8)
    if imaginary is None:
        assert line.imaginary is None
    else:
        np.testing.assert_allclose(line.imaginary, imaginary, atol=1e-8)


COUNT = np.arange(1.0, 26.0)
FLAT = np.zeros(25)


@pytest.mark.parametrize("turned", [slice(None), slice(None, None, -1)], ids=["descending", "ascending"])
@pytest.mark.parametrize(
    ("columns", "options", "given", "imaginary"),
    [
        ((PPM, LINE), {}, {"unit": "ppm"}, None),
        ((PPM * 100, LINE), {"delimiter": " "}, {"unit": "hz"}, None),
        ((PPM / 10, LINE), {"delimiter": ","}, {"unit": "khz"}, None),
        ((PPM * 100, LINE, LINE**2), {}, {"unit": "hz"}, LINE**2),
        ((PPM * 100, LINE, FLAT), {}, {"unit": "Hz"}, FLAT),
        ((COUNT, LINE, PPM * 100, PPM), {"delimiter": ", "}, {}, None),
        ((PPM * 100, PPM, LINE), {}, {}, None),
        ((PPM, LINE), {"header": "shift/ppm,signal", "delimiter": ","}, {}, None),
        ((LINE, PPM * 100), {"header": "# intensity  Frequency(Hz)", "delimiter": "  "}, {}, None),
        ((PPM, PPM / 10, LINE, -LINE), {"header": "ppm;kHz;real;imaginary", "delimiter": ";"}, {}, -LINE),
        ((PPM, FLAT, LINE), {"header": "ppm,-30,160", "delimiter": ","}, {"column": "160"}, None),
        ((PPM, FLAT, LINE), {"header": "ppm,-30,160", "delimiter": ","}, {"column": 2}, None),
    ],
)
def test_columns(tmp_path, columns, options, given, imaginary, turned):
    """Each layout, and each the other way up: the same spectrum, nothing mirrored."""
    columns = [c if c is COUNT else c[turned] for c in columns]
    check(jn.Spectrum.read(table(tmp_path / "line.txt", *columns, **options), larmor_frequency=LARMOR, **given), imaginary)


def test_sign_of_a_shift(tmp_path):
    """A line at +50 ppm stays there, in an ascending and in a descending file, with a simulated one beside it."""
    for rows in (slice(None), slice(None, None, -1)):
        line = jn.Spectrum.read(table(tmp_path / "line.txt", PPM[rows], LINE[rows]), isotope="13C", field=9.4, unit="ppm")
        assert float(line.ppm[np.argmax(line.intensity)]) == 50.0
        assert float(line.larmor_frequency) == pytest.approx(jn.isotope("13C").larmor_frequency(9.4))


def test_our_own_file(tmp_path):
    """`read` knows a file of `save`, and keeps what it says."""
    jn.Spectrum(PPM[::-1], PPM[::-1] * 100, LINE[::-1], "mine", isotope="13C", rate=5e3).save(tmp_path / "line.csv")
    line = jn.Spectrum.read(tmp_path / "line.csv")
    check(line)
    assert (line.label, line.isotope, float(line.rate)) == ("mine", "13C", 5e3)
    assert jn.Spectrum.read(tmp_path / "line.csv", label="other").label == "other"


@pytest.mark.parametrize(
    ("text", "given", "message"),
    [
        ("1 2\n2 3\n3 5\n", {}, r"unit: column 0.*unit='ppm', 'hz' or 'khz'"),
        ("1 2\n2 3\n3 5\n", {"unit": "MHz"}, r"unit: got 'MHz'.*ppm, hz, khz"),
        ("1 2\n2 3\n3\n", {"unit": "ppm"}, r"line 3 has 1 columns.*cut short"),
        ("1 2\n2 3\n3 5 x\n", {"unit": "ppm"}, r"line 3 is not numbers.*cut short"),
        ("1,5 2,5\n2,5 3,5\n", {"unit": "ppm"}, r"no table"),
        ("1 2\n2 nan\n3 5\n", {"unit": "ppm"}, r"intensity of point 2.*NaN"),
        ("1 2\n2 3\nnan 5\n", {"unit": "ppm"}, r"ppm of point 3.*NaN"),
        ("1 2\n2 3\n2 3.5\n3 5\n", {"unit": "ppm"}, r"not equally spaced: point 3 repeats"),
        (
            "1 2\n2 3\n3 4.5\n1 2\n2 3\n3 5\n",
            {"unit": "ppm"},
            r"not equally spaced: point 4 repeats or goes back \(3, then 1\)",
        ),
        ("1 2\n2 3\n3.1 5\n4.1 7\n", {"unit": "ppm"}, r"points 2 and 3 are 1\.1 apart, others 1"),
        ("ppm,a,b\n1,2,3\n2,3,5\n3,7,1\n", {}, r"2 spectra in one file; give column, one of a, b"),
        ("ppm,a,b\n1,2,3\n2,3,5\n3,7,1\n", {"column": "c"}, r"column: got 'c'.*a, b"),
        ("ppm,a\n1,2\n2,3\n3,7\n", {"unit": "hz"}, r"unit: got 'hz'.*in ppm"),
        ("ppm,a,ppm,b\n1,2,1,3\n2,3,2,5\n3,7,3,1\n", {}, r"two columns in ppm.*Split"),
        ("ppm,hz\n1,2\n2,4\n3,6\n", {}, r"an axis and no intensities"),
        ("2 -30 2\n3 -27 9\n4 -24 5\n5 -21 7\n", {}, r"columns \[0, 1\].*which is the axis.*names"),
        ("2 4 2\n3 6 9\n4 8 5\n5 10 7\n", {}, r"columns \[0, 1\].*which is the axis.*names"),
        ("hello\nworld\n", {}, r"no table of numbers.*is it a spectrum"),
        ("", {}, r"no table of numbers"),
    ],
)
def test_bad_tables(tmp_path, text, given, message):
    (tmp_path / "line.txt").write_text(text)
    with pytest.raises(ValueError, match=message):
        jn.Spectrum.read(tmp_path / "line.txt", larmor_frequency=LARMOR, **given)


def test_ppm_alone_needs_a_frequency(tmp_path):
    path = table(tmp_path / "line.txt", PPM, LINE)
    for given in ({}, {"isotope": "13C"}, {"field": 9.4}):
        with pytest.raises(ValueError, match=r"line\.txt.*give isotope and field, or larmor_frequency"):
            jn.Spectrum.read(path, unit="ppm", **given)


@shared
@pytest.mark.parametrize("rate", [2, 5, 10])
def test_kbr(rate):
    """Counter, intensity, Hz and ppm without names; values as in the file, in its units."""
    path = DATA / "spinach" / f"KBr_400MHz_{rate}kHz.txt"
    raw = np.loadtxt(path, delimiter=",")
    line = jn.Spectrum.read(path, isotope="79Br", rate=rate * 1e3)
    np.testing.assert_array_equal(line.ppm, raw[:, 3])
    np.testing.assert_array_equal(line.hz, raw[:, 2])
    np.testing.assert_array_equal(line.intensity, raw[:, 1])
    # 79Br at 400 MHz of protons is 100.2 MHz, 9.37 T.
    assert abs(float(line.larmor_frequency) / 100.2e6 - 1) < 1e-3
    assert abs(float(line.field) - 9.37) < 0.01


@shared
@pytest.mark.parametrize("name", ["v12_29_dec15.spc", "v12_33_dec15.spc"])
def test_vanadium(name):
    """Two columns, ascending ppm: turned, not mirrored."""
    raw = np.loadtxt(DATA / "spinach" / name)
    line = jn.Spectrum.read(DATA / "spinach" / name, isotope="51V", field=9.4, unit="ppm")
    np.testing.assert_array_equal(line.ppm, raw[::-1, 0])
    np.testing.assert_array_equal(line.intensity, raw[::-1, 1])


@shared
def test_diamantane():
    """Three temperatures beside ppm and kHz; one of them beside kHz alone: the same data on the same axis."""
    folder = DATA / "dipolar_averages"
    cold = jn.Spectrum.read(folder / "di_spectra_3.csv", isotope="1H", column="-30")
    assert abs(float(cold.larmor_frequency) / 400.14e6 - 1) < 1e-6
    alone = jn.Spectrum.read(folder / "di_m30.csv", isotope="1H", unit="khz", larmor_frequency=400.14e6)
    inside = np.isin(np.round(np.asarray(cold.hz), 1), np.round(np.asarray(alone.hz), 1))
    assert inside.sum() > 5000
    np.testing.assert_array_equal(cold.intensity[inside], alone.intensity)
    with pytest.raises(ValueError, match=r"3 spectra.*-30, 100, 160"):
        jn.Spectrum.read(folder / "di_spectra_3.csv", isotope="1H")
