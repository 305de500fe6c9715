"""Axes, broadening, area, windows, files, plots."""

import numpy as np
import pytest

import jaxnmr as jn
from tests.systems import random_sites, relative_l2

FIELD = 9.4
STILL = jn.Sites("13C", np.zeros((1, 3, 3)))
RESOLUTION = jn.Resolution(64, samples=1024)


def _line(axis, sites=STILL, experiment=None, **options):
    defaults = {"linewidth": 100.0, "resolution": RESOLUTION}
    return jn.simulate(sites, experiment or jn.Static(FIELD), axis, **(defaults | options))


def test_lorentzian():
    """FWHM, height and area of an isotropic line."""
    line = _line(jn.Axis(hz=(-20e3, 20e3), points=2001), resolution=jn.Resolution(64, samples=2048))
    expected = 50 / np.pi / (np.asarray(line.hz) ** 2 + 50**2)
    # Wings folded at 46 kHz.
    assert relative_l2(line.intensity, expected) < 1e-3


def test_gaussian():
    """FWHM, height and area; no wings, so close to exact."""
    width = 500.0
    line = _line(jn.Axis(hz=(-10e3, 10e3), points=1001), linewidth=0.0, gaussian=width)
    sigma = width / np.sqrt(8 * np.log(2))
    hz = np.asarray(line.hz)
    expected = np.exp(-((hz / sigma) ** 2) / 2) / (sigma * np.sqrt(2 * np.pi))
    assert relative_l2(line.intensity, expected) < 1e-4
    np.testing.assert_allclose(np.asarray(line.intensity).sum() * (hz[1] - hz[0]), 1.0, atol=1e-4)


@pytest.mark.parametrize("which", ["central", "all", (1.5, 0.5)])
@pytest.mark.parametrize("spinning", [False, True])
def test_area(which, spinning):
    """One, for each choice of transitions."""
    sites = jn.Sites("23Na", np.zeros((3, 3)), jn.quadrupole_tensor(60e3, 0.3))
    axis = jn.Axis(hz=(-120e3, 120e3), points=2401)
    experiment = jn.MAS(FIELD, 2e4, transition=which) if spinning else jn.Static(FIELD, which)
    resolution = jn.Resolution(400, 16 if spinning else None, 512)
    line = _line(axis, sites, experiment, linewidth=0.0, gaussian=2000.0, resolution=resolution)
    assert abs(float(line.intensity.sum()) * 100.0 - 1) < 1e-4


def test_all_is_the_weighted_sum():
    """3/2: satellites 0.3 each, centre 0.4."""
    sites = jn.Sites("23Na", np.zeros((3, 3)), jn.quadrupole_tensor(60e3, 0.3))
    axis = jn.Axis(hz=(-60e3, 60e3), points=301)
    parts = [
        share * np.asarray(_line(axis, sites, jn.Static(FIELD, (m, m - 1)), linewidth=2000.0).intensity)
        for m, share in ((1.5, 0.3), (0.5, 0.4), (-0.5, 0.3))
    ]
    whole = _line(axis, sites, jn.Static(FIELD, "all"), linewidth=2000.0).intensity
    # The band follows the transition: wings fold at different places.
    assert relative_l2(sum(parts), whole) < 5e-3


def test_directions_and_units():
    """Either direction, ppm or Hz: the same density at the same place."""
    sites = random_sites("13C", 1, np.random.default_rng(1))
    larmor = abs(float(jn.isotope("13C").larmor_frequency(FIELD)))
    down = _line(jn.Axis(ppm=(150.0, -120.0), points=257), sites)
    up = _line(jn.Axis(ppm=(-120.0, 150.0), points=257), sites)
    hz = _line(jn.Axis(hz=(150e-6 * larmor, -120e-6 * larmor), points=257), sites)
    np.testing.assert_allclose(down.intensity, up.intensity[::-1], rtol=1e-8, atol=1e-14)
    np.testing.assert_allclose(down.intensity, hz.intensity, rtol=1e-8, atol=1e-14)
    np.testing.assert_allclose(down.hz, np.asarray(down.ppm) * 1e-6 * larmor, rtol=1e-12)
    np.testing.assert_allclose(hz.ppm, down.ppm, rtol=1e-9)
    assert (float(down.ppm[0]), float(down.ppm[-1])) == (150.0, -120.0)


@pytest.mark.parametrize("spinning", [False, True])
@pytest.mark.parametrize("exchange", [False, True])
def test_narrow_window(spinning, exchange):
    """A window smaller than the line shows its part of the line, nothing folded into it."""
    sites = jn.Sites("13C", jn.shift_tensor(np.array([0.0, 10.0]), 60.0, 0.3))
    model = jn.ExchangeModel.from_rates({(0, 1): 2e3}) if exchange else None
    experiment = jn.MAS(FIELD, 8e3) if spinning else jn.Static(FIELD)
    wide = _line(
        jn.Axis(hz=(-40e3, 40e3), points=801),
        sites,
        experiment,
        exchange=model,
        linewidth=200.0,
        resolution=None,
    )
    narrow = _line(
        jn.Axis(hz=(-1e3, 2e3), points=31),
        sites,
        experiment,
        exchange=model,
        linewidth=200.0,
        resolution=None,
    )
    np.testing.assert_allclose(np.asarray(wide.hz)[390:421], narrow.hz, atol=1e-6)
    # Wings folded, and another automatic resolution.
    assert relative_l2(narrow.intensity, np.asarray(wide.intensity)[390:421]) < 1e-2


def test_save_and_load(tmp_path):
    """Bit for bit, label included; nothing else is left in the folder."""
    line = _line(jn.Axis(ppm=(20.0, -20.0), points=64))
    line = jn.Spectrum(line.ppm, line.hz, line.intensity, "k = 1e3: two sites")
    path = tmp_path / "line.csv"
    line.save(path)
    again = jn.Spectrum.load(path)
    for name in ("ppm", "hz", "intensity"):
        np.testing.assert_array_equal(getattr(again, name), getattr(line, name))
    assert again.label == line.label
    assert [p.name for p in tmp_path.iterdir()] == ["line.csv"]


def test_bad_files(tmp_path):
    """Cut short, of another kind, missing, of another name."""
    line = _line(jn.Axis(ppm=(20.0, -20.0), points=64))
    path = tmp_path / "line.csv"
    line.save(path)
    text = path.read_text()
    rows = text.splitlines()
    path.write_text("\n".join(rows[:20]) + "\n" + rows[20].rpartition(",")[0])
    with pytest.raises(ValueError, match=r"(?s)line.csv.*line 21.*cut short"):
        jn.Spectrum.load(path)
    path.write_text("\n".join(rows[: rows.index("ppm,hz,intensity") + 1]))
    with pytest.raises(ValueError, match=r"0 points.*cut short"):
        jn.Spectrum.load(path)
    path.write_text("energy,force\n1,2\n")
    with pytest.raises(ValueError, match=r"(?s)ppm,hz,intensity.*energy"):
        jn.Spectrum.load(path)
    with pytest.raises(ValueError, match=r"path.*line.txt.*\.csv"):
        line.save(tmp_path / "line.txt")
    with pytest.raises(FileNotFoundError):
        jn.Spectrum.load(tmp_path / "none.csv")


def test_file_cut_at_the_end_of_a_line(tmp_path):
    """Whole rows are missing: no half row tells."""
    path = tmp_path / "line.csv"
    _line(jn.Axis(ppm=(20.0, -20.0), points=64)).save(path)
    path.write_text("\n".join(path.read_text().splitlines()[:30]) + "\n")
    with pytest.raises(ValueError, match=r"cut short"):
        jn.Spectrum.load(path)


def test_plot():
    """Frequencies descend; both units; a label reaches the legend."""
    pytest.importorskip("matplotlib")
    line = _line(jn.Axis(ppm=(-20.0, 20.0), points=64))
    for unit, word in (("ppm", "ppm"), ("hz", "kHz")):
        ax = line.plot(unit=unit, label="two sites")
        left, right = ax.get_xlim()
        assert left > right
        assert word in ax.get_xlabel()
        assert ax.get_lines()[0].get_label() == "two sites"
        assert line.plot(ax) is ax
    with pytest.raises(ValueError, match=r"unit.*'eV'.*ppm"):
        line.plot(unit="eV")
