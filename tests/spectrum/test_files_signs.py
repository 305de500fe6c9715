"""The side of the reference that a line lies on, kept through each format; and files that contradict themselves."""

import numpy as np
import pytest

import jaxnmr as jn
from tests.spectrum.test_files_instruments import jcamp, processed, raw

FIELD = 9.4
LARMOR = abs(float(jn.isotope("13C").larmor_frequency(FIELD)))
# One sharp line at +50 ppm and a weaker one at -20: a mirror about any point would show.
PPM = np.linspace(100.0, -100.0, 201)
LINE = np.exp(-(((PPM - 50) / 2) ** 2)) + 0.5 * np.exp(-(((PPM + 20) / 2) ** 2))


def spectrum(ascending):
    turn = slice(None, None, -1 if ascending else 1)
    return jn.Spectrum(PPM[turn], PPM[turn] * 1e-6 * LARMOR, LINE[turn], isotope="13C", field=FIELD)


def check(line, atol=1e-6):
    """The lines stay where they were, and ppm descends."""
    ppm, y = np.asarray(line.ppm), np.asarray(line.intensity)
    assert ppm[0] > ppm[-1]
    np.testing.assert_allclose(y, np.interp(-ppm, -PPM, LINE), atol=atol)
    assert abs(ppm[y.argmax()] - 50) < 0.5


@pytest.mark.parametrize("ascending", [False, True], ids=["descending", "ascending"])
@pytest.mark.parametrize("suffix", ["csv", "spe", "csdf", "txt", "hz.txt"])
def test_saved_and_read(tmp_path, suffix, ascending):
    """Written in either direction, by this package or as plain columns."""
    line = spectrum(ascending)
    path = tmp_path / f"line.{suffix}"
    given = {}
    if suffix == "csdf":
        pytest.importorskip("csdmpy", reason="csdmpy is not installed (jaxnmr[io])")
    if path.suffix == ".txt":
        given = {"unit": "hz" if suffix == "hz.txt" else "ppm", "isotope": "13C", "field": FIELD}
        np.savetxt(path, np.stack([line.hz if suffix == "hz.txt" else line.ppm, line.intensity], 1))
    else:
        line.save(path)
    check(jn.Spectrum.read(path, **given))


@pytest.mark.parametrize("ascending", [False, True], ids=["descending", "ascending"])
def test_decay(tmp_path, ascending):
    """SIMPSON's decay of either spectrum: its lines at the same places."""
    spectrum(ascending).save(tmp_path / "line.fid")
    # The record holds half the points' resolution: its wiggles are 2e-3 of these broad lines.
    check(jn.Spectrum.read(tmp_path / "line.fid"), atol=1e-2)


@pytest.mark.parametrize("ascending", [False, True], ids=["descending", "ascending"])
def test_jcamp(tmp_path, ascending):
    pytest.importorskip("nmrglue", reason="nmrglue is not installed (jaxnmr[io])")
    values = np.array([0, 0, 9, 0, 0, 0, 4, 0])
    ends = {"FIRSTX": "70.0", "LASTX": "-70.0"} if not ascending else {"FIRSTX": "-70.0", "LASTX": "70.0"}
    path = jcamp(tmp_path / "a.dx", values[:: -1 if ascending else 1], XUNITS="PPM", **ends)
    line = jn.Spectrum.read(path)
    assert float(line.ppm[np.argmax(line.intensity)]) == pytest.approx(30.0)


def test_bruker(tmp_path):
    """Processed and raw: a line above the carrier is above it."""
    pytest.importorskip("nmrglue", reason="nmrglue is not installed (jaxnmr[io])")
    line = jn.Spectrum.read(processed(tmp_path / "1", np.array([0, 800, 0, 0, 0, 0, 80, 0])))
    assert float(line.ppm[np.argmax(line.intensity)]) > float(line.ppm.mean())
    times = np.arange(256) / 40e3
    line = jn.Spectrum.read(raw(tmp_path / "2", 1e6 * np.exp((2j * np.pi * 8e3 - 500) * times)))
    assert float(line.hz[np.argmax(line.intensity)]) == pytest.approx(13e3, abs=100)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"isotope": "13C", "field": 11.7}, r"field: got 11\.7 T, but .*line\.txt counts from 100\.6.* MHz.*9\.4"),
        ({"isotope": "17O", "field": 9.4}, r"field: got 9\.4 T, but .* for 17O is"),
        ({"larmor_frequency": 125e6}, r"larmor_frequency: got 1\.25e\+08, but .*line\.txt says"),
        ({"zero": np.nan}, r"zero: got nan"),
        ({"field": -9.4}, r"field: got -9\.4; give tesla, > 0"),
    ],
)
def test_wrong_field_for_the_carrier(tmp_path, given, message):
    """A file with both axes says its frequency: an isotope and field that do not go with it are refused."""
    np.savetxt(tmp_path / "line.txt", np.stack([PPM, PPM * 1e-6 * LARMOR, LINE], 1), header="ppm hz intensity", comments="")
    with pytest.raises(ValueError, match=message):
        jn.Spectrum.read(tmp_path / "line.txt", **given)


@pytest.mark.parametrize(
    ("ppm", "intensity", "message"),
    [
        (PPM, LINE + 1j * LINE, r"intensity: got complex numbers; give their real part, and the other as `imaginary`"),
        (np.r_[PPM[:5], PPM[4:-1]], LINE, r"hz: point 6 repeats .*average or drop"),
        (np.r_[PPM[100:], PPM[:100]], LINE, r"hz: point \d+ goes back .*np\.argsort"),
        (np.where(PPM == 50, np.nan, PPM), LINE, r"points that are not finite"),
    ],
)
def test_bad_columns(ppm, intensity, message):
    with pytest.raises(ValueError, match=message):
        jn.Spectrum(ppm, ppm * 100, intensity)


def test_axis():
    """The measured axis, for a simulation on the same points; refused where none fits."""
    for ascending in (False, True):
        line = spectrum(ascending)
        np.testing.assert_allclose(line.axis.values(), line.ppm, atol=1e-12)
        assert line.axis.points == len(PPM)
    with pytest.raises(ValueError, match=r"ppm: points are not equally spaced"):
        _ = jn.Spectrum(PPM**3, PPM**3 * 100, LINE).axis
