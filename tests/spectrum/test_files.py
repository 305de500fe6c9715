"""Spectra and decays through files: round trips, SIMPSON's layout, what is kept and what is refused."""

import importlib.util
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnmr as jn
from jaxnmr.spectrum._fid import FID

LARMOR = 81.3e6
WIDTH = 500.0

needs_csdmpy = pytest.mark.skipif(importlib.util.find_spec("csdmpy") is None, reason="csdmpy is not installed (jaxnmr[io])")
CSDM = (pytest.param(".csdf", marks=needs_csdmpy), pytest.param(".csdm", marks=needs_csdmpy))
SUFFIXES = (".csv", ".spe", ".fid", *CSDM)


def spectrum(points=64, ends=(5e3, -4e3), dtype=np.float64, **known):
    """Two unequal Gaussians, so that a turned or shifted axis shows."""
    hz = np.linspace(*ends, points)
    line = np.exp(-(((hz - 1500) / WIDTH) ** 2)) + 0.4 * np.exp(-(((hz + 2200) / WIDTH) ** 2))
    return jn.Spectrum(*(np.asarray(x, dtype) for x in (hz / LARMOR * 1e6, hz, line)), **known)


def same(a, b, tolerance=1e-6):
    """The same points, in whatever order."""
    i, j = np.argsort(a.hz), np.argsort(b.hz)
    for name in ("ppm", "hz", "intensity"):
        x, y = np.asarray(getattr(a, name))[i], np.asarray(getattr(b, name))[j]
        np.testing.assert_allclose(x, y, rtol=0, atol=tolerance * np.abs(y).max(), err_msg=name)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("ends", [(5e3, -4e3), (-4e3, 5e3), (9e3, 1e3)])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_round_trip(tmp_path, suffix, ends, dtype):
    """Axes, intensities and metadata through each format, either direction, the reference inside the window or not."""
    known = {"label": "10 K, k = 1e3: °", "isotope": "17O", "field": 14.1, "rate": 20e3}
    line = spectrum(ends=ends, dtype=dtype, **known)
    path = tmp_path / f"line{suffix}"
    line.save(path)
    again = jn.Spectrum.load(path)
    # Six digits are asked for. float32 has seven; a float64 file would show a printed digit missing.
    same(again, line, 1e-6 if dtype is np.float32 else 1e-12)
    assert (again.label, again.isotope) == (known["label"], "17O")
    np.testing.assert_allclose([again.field, again.rate], [14.1, 20e3], rtol=1e-12)
    np.testing.assert_allclose(again.larmor_frequency, LARMOR, rtol=1e-6)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    if suffix not in (".spe", ".fid"):
        np.testing.assert_array_equal(np.argsort(again.hz), np.argsort(line.hz))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_round_trip_of_a_complex_spectrum(tmp_path, suffix):
    """Odd number of points, a dispersion that is no Hilbert transform, nothing else known, an infinite rate."""
    line = spectrum(points=63, rate=np.inf)
    line = jn.Spectrum(line.ppm, line.hz, line.intensity, imaginary=np.sin(np.arange(63)), rate=np.inf)
    path = tmp_path / f"line{suffix}"
    line.save(path)
    again = jn.Spectrum.load(path)
    same(again, line, 1e-12)
    order = slice(None) if (again.hz[0] > again.hz[1]) else slice(None, None, -1)
    np.testing.assert_allclose(again.imaginary[order], line.imaginary, atol=1e-12)
    assert (again.isotope, again.field, float(again.rate), again.label) == (None, None, np.inf, "")


def test_real_stays_real(tmp_path):
    """No format but .fid invents a dispersion."""
    for suffix in (".csv", ".spe"):
        spectrum().save(tmp_path / f"line{suffix}")
        assert jn.Spectrum.load(tmp_path / f"line{suffix}").imaginary is None


def test_an_existing_file_is_replaced_and_kept_on_failure(tmp_path):
    path = tmp_path / "line.spe"
    spectrum(label="first").save(path)
    spectrum(label="second").save(path)
    assert jn.Spectrum.load(path).label == "second"
    with pytest.raises(ValueError, match=r"label.*200"):
        spectrum(label="x" * 300).save(path)
    assert jn.Spectrum.load(path).label == "second"
    assert [p.name for p in tmp_path.iterdir()] == ["line.spe"]


def test_metadata_are_leaves():
    """Traced field and rate pass through jit, vmap and grad; the isotope is static; a spectrum without them stays one."""

    def line(field, rate):
        hz = jnp.linspace(-1e3, 1e3, 8)
        return jn.Spectrum(hz / (field * 5.77), hz, jnp.exp(-((hz / rate) ** 2)), isotope="17O", field=field, rate=rate)

    one = jax.jit(line)(14.1, 2e3)
    assert one.isotope == "17O"
    np.testing.assert_allclose([one.field, one.rate], [14.1, 2e3])
    many = jax.vmap(line)(jnp.array([9.4, 14.1]), jnp.array([1e3, 2e3]))
    np.testing.assert_allclose(many.field, [9.4, 14.1])
    assert many.intensity.shape == (2, 8)
    # d(rate of the spectrum)/d(rate) + d(area)/d(rate), the latter by hand.
    slope = jax.grad(lambda rate: line(14.1, rate).rate + line(14.1, rate).intensity.sum())(2e3)
    hz = np.linspace(-1e3, 1e3, 8)
    np.testing.assert_allclose(slope, 1 + (np.exp(-((hz / 2e3) ** 2)) * 2 * hz**2 / 2e3**3).sum())
    bare = spectrum()
    assert len(jax.tree.leaves(bare)) == 3
    doubled = jax.jit(lambda s: jax.tree.map(lambda x: 2 * x, s))(bare)
    np.testing.assert_array_equal(doubled.intensity, 2 * bare.intensity)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"field": 0.0}, r"field.*tesla, > 0"),
        ({"field": np.nan}, r"field: got nan"),
        ({"rate": -1.0}, r"rate.*-1"),
        ({"rate": np.ones(2)}, r"rate.*shape \(2,\).*vmap"),
        ({"isotope": "16O"}, r"16O.*spin 0.*17O"),
        ({"label": "two\nlines"}, r"label.*one line"),
        ({"imaginary": np.zeros(3)}, r"imaginary.*\(3,\).*\(64,\)"),
    ],
)
def test_bad_metadata(change, message):
    with pytest.raises(ValueError, match=message):
        spectrum(**change)


def test_bad_axes():
    line = spectrum()
    with pytest.raises(ValueError, match=r"intensity: got complex.*imaginary"):
        jn.Spectrum(line.ppm, line.hz, np.ones(64) + 1j)
    for hz in (-line.hz, line.hz + 50.0, line.hz[::-1]):
        with pytest.raises(ValueError, match=r"hz.*multiple of ppm"):
            jn.Spectrum(line.ppm, hz, line.intensity)
    with pytest.raises(ValueError, match=r"ppm, hz.*finite"):
        jn.Spectrum(line.ppm, line.hz.at[3].set(jnp.nan), line.intensity)
    with pytest.raises(ValueError, match=r"save: got a batch.*\(2, 64\)"):
        jax.tree.map(lambda x: jnp.stack([x, x]), line).save("line.csv")


def test_uneven_axis_is_saved_as_columns_only(tmp_path):
    hz = np.array([0.0, 1.0, 3.0, 4.0])
    line = jn.Spectrum(hz, hz, hz)
    line.save(tmp_path / "line.csv")
    same(jn.Spectrum.load(tmp_path / "line.csv"), line, 0)
    with pytest.raises(ValueError, match=r"not equally spaced: points 2 and 3 are 2 apart"):
        line.save(tmp_path / "line.spe")
    with pytest.raises(ValueError, match=r"hz.*equally spaced"):
        line.fid()


# The decay


def test_fid_of_one_line():
    """A damped precession at 700 Hz above a carrier of 2 kHz: a Lorentzian there, of the area of its first point."""
    dt, carrier, decay = 1 / 8e3, 2e3, 300.0
    times = np.arange(1024) * dt
    signal = 3.0 * np.exp((2j * np.pi * 700 - decay) * times)
    fid = FID(signal, dt, carrier=carrier, larmor_frequency=LARMOR)
    np.testing.assert_allclose(fid.times, times, rtol=1e-12)
    line = fid.spectrum(4096)
    hz = np.asarray(line.hz)
    assert hz[0] > hz[-1]
    exact = 3 * 2 / (decay + 2j * np.pi * (hz - 2700))
    near = np.abs(hz - 2700) < 500
    # Wings fold at 8 kHz, 1e-3 of the height; a point's shift of the axis costs 4e-2.
    np.testing.assert_allclose(line.intensity[near], exact.real[near], atol=2e-3 * exact.real.max())
    np.testing.assert_allclose(line.imaginary[near], exact.imag[near], atol=1e-2 * exact.real.max())
    np.testing.assert_allclose(np.sum(line.intensity) * abs(hz[1] - hz[0]), 3.0, rtol=1e-9)
    np.testing.assert_allclose(line.ppm, hz / LARMOR * 1e6, rtol=1e-12)
    back = line.fid()
    np.testing.assert_allclose(back.signal[:1024], signal, atol=1e-9)
    np.testing.assert_allclose([back.dt, back.carrier], [dt, carrier], rtol=1e-9)


def test_late_fid():
    """A digital filter's record: the point at t = 0 is in its middle, at full weight, and so is the first."""
    dt, at = 1e-3, 3
    for point in (0, at):
        signal = np.zeros(8, complex)
        signal[point] = 1.0
        line = FID(signal, dt, larmor_frequency=LARMOR, start=-at * dt).spectrum()
        late = np.exp(-2j * np.pi * np.asarray(line.hz) * (point - at) * dt)
        np.testing.assert_allclose(line.intensity, 2 * dt * late.real, atol=1e-15)
        np.testing.assert_allclose(line.imaginary, 2 * dt * late.imag, atol=1e-15)


@pytest.mark.parametrize("points", [64, 63])
def test_fid_of_a_real_spectrum(points):
    """Causal, its first point the area, back to the same intensities; by the plain integral for one time."""
    line = spectrum(points)
    fid = line.fid()
    step = 9e3 / (points - 1)
    np.testing.assert_allclose(fid.signal[0], np.sum(line.intensity) * step, rtol=1e-12)
    assert np.abs(fid.signal[points // 2 + 1 :]).max() < 1e-12 * abs(fid.signal[0])
    turn = np.exp(2j * np.pi * (np.asarray(line.hz) - float(fid.carrier)) * float(fid.times[3]))
    np.testing.assert_allclose(fid.signal[3], (np.asarray(line.intensity) * turn).sum() * step, rtol=1e-9)
    same(fid.spectrum(), line, 1e-12)


def test_fid_is_differentiable():
    """The first point's derivative in an intensity is the step."""
    line = spectrum()

    def first(intensity):
        return jn.Spectrum(line.ppm, line.hz, intensity).fid().signal[0].real

    np.testing.assert_allclose(jax.jit(jax.grad(first))(line.intensity), np.full(64, 9e3 / 63), rtol=1e-9)


def test_bad_decays(tmp_path):
    with pytest.raises(ValueError, match=r"signal: got real"):
        FID(np.ones(8), 1e-4, larmor_frequency=LARMOR)
    with pytest.raises(ValueError, match=r"signal.*\(1,\).*two points"):
        FID(np.ones(1) + 0j, 1e-4, larmor_frequency=LARMOR)
    with pytest.raises(ValueError, match=r"dt: got 0"):
        FID(np.ones(8) + 0j, 0.0, larmor_frequency=LARMOR)
    fid = FID(np.ones(8) + 0j, 1e-4, larmor_frequency=LARMOR, start=-2e-4)
    with pytest.raises(ValueError, match=r"points: got 4.*8 or more"):
        fid.spectrum(4)
    with pytest.raises(ValueError, match=r"start.*spectrum\(\)"):
        fid.save(tmp_path / "late.fid")
    with pytest.raises(ValueError, match=r"path.*x.csv.*\.fid"):
        FID(np.ones(8) + 0j, 1e-4, larmor_frequency=LARMOR).save(tmp_path / "x.csv")
    spectrum().save(tmp_path / "line.spe")
    with pytest.raises(ValueError, match=r"line.spe.*Spectrum\.read"):
        FID.load(tmp_path / "line.spe")


# SIMPSON


def simpson(path, *head, data=("1 0.5", "2 0", "4 0", "3 -1"), end=("END",)):
    path.write_text("\n".join(["SIMP", *head, "DATA", *data, *end]) + "\n")
    return path


SPE = ("NP=4", "SW=8000", "REF=100", "TYPE=SPE")


def test_simpson_spectrum_by_hand(tmp_path):
    """Point i of NP at SW (i/NP - 1/2) + REF, ascending in the file; descending when read; `zero` re-references."""
    path = simpson(tmp_path / "a.spe", *SPE)
    line = jn.Spectrum.read(path, isotope="17O", field=14.1)
    larmor = abs(jn.isotope("17O").larmor_frequency(14.1))
    np.testing.assert_allclose(line.hz, [2100, 100, -1900, -3900])
    np.testing.assert_allclose(line.intensity, [3, 4, 2, 1])
    np.testing.assert_allclose(line.imaginary, [-1, 0, 0, 0.5])
    np.testing.assert_allclose(line.ppm, np.array([2100, 100, -1900, -3900]) / larmor * 1e6)
    assert (line.isotope, float(line.field), line.label, line.rate) == ("17O", 14.1, "a", None)
    moved = jn.Spectrum.read(path, larmor_frequency=100e6, zero=30.0)
    np.testing.assert_allclose(moved.ppm, [51, 31, 11, -9])
    np.testing.assert_allclose(moved.hz, [5100, 3100, 1100, -900])


def test_simpson_decay_by_hand(tmp_path):
    """Precession by +90 degrees a point is at +SW/4 from REF."""
    path = simpson(tmp_path / "a.fid", "NP=4", "SW=8000", "REF=100", "TYPE=FID", data=("1 0", "0 1", "-1 0", "0 -1"))
    fid = FID.read(path, larmor_frequency=100e6)
    np.testing.assert_allclose(fid.times, np.arange(4) / 8000)
    line = jn.Spectrum.read(path, larmor_frequency=100e6)
    np.testing.assert_allclose(line.hz, [2100, 100, -1900, -3900])
    assert int(np.argmax(line.intensity)) == 0


def test_simpson_files_are_read_by_others(tmp_path):
    """nmrglue's reader finds our header and points, and passes over our metadata."""
    ng = pytest.importorskip("nmrglue")
    line = spectrum(isotope="17O", label="a = b")
    line.save(tmp_path / "a.spe")
    head, data = ng.simpson.read(str(tmp_path / "a.spe"))
    np.testing.assert_allclose([head["NP"], head["SW"]], [64, 9e3 * 64 / 63])
    np.testing.assert_allclose(data[0].real, np.asarray(line.intensity)[::-1], rtol=1e-6)


@pytest.mark.parametrize(
    ("head", "rest", "message"),
    [
        (SPE, {"end": ()}, r"4 points of NP=4, no END; cut short"),
        (SPE, {"data": ("1 0", "2 0")}, r"2 points of NP=4; cut short"),
        (SPE, {"data": ("1 0", "2")}, r"line 8 is not two numbers.*cut short"),
        (SPE, {"data": ("1 0", "2 0", "nan 0", "1 0")}, r"intensity of point 3.*NaN"),
        (SPE, {"end": ("END", "SIMP", *SPE)}, r"second data set"),
        ((*SPE, "FORMAT=BINARY"), {}, r"binary.*without -binary"),
        ((*SPE, "NI=8", "SW1=1000"), {}, r"two-dimensional.*NI=8"),
        ((*SPE, "NELEM=3"), {}, r"3 data sets"),
        (("NP=4", "TYPE=SPE"), {}, r"SW=None.*SW > 0"),
        (("NP=4", "SW=8000"), {}, r"TYPE=None; expected SPE or FID"),
    ],
)
def test_bad_simpson_files(tmp_path, head, rest, message):
    path = simpson(tmp_path / "a.spe", *head, **rest)
    with pytest.raises(ValueError, match=rf"(?s)a\.spe.*{message}"):
        jn.Spectrum.read(path, larmor_frequency=1e8)


def test_simpson_needs_a_reference(tmp_path):
    path = simpson(tmp_path / "a.spe", *SPE)
    with pytest.raises(ValueError, match=r"a\.spe.*give isotope and field, or larmor_frequency"):
        jn.Spectrum.read(path, isotope="17O")
    with pytest.raises(ValueError, match=r"a\.spe.*Spectrum\.read\(path, isotope"):
        jn.Spectrum.load(path)
    (tmp_path / "b.spe").write_text("no\n")
    with pytest.raises(ValueError, match=r"b\.spe.*first line is SIMP; found 'no'"):
        jn.Spectrum.load(tmp_path / "b.spe")


# Whatever the format


def test_unknown_files(tmp_path):
    (tmp_path / "line.xyz").write_text("1 2\n3 4\n")
    with pytest.raises(ValueError, match=r"line\.xyz.*known are .*\.csdf.*\.spe.*Bruker.*format, one of bruker, jcamp"):
        jn.Spectrum.read(tmp_path / "line.xyz")
    with pytest.raises(ValueError, match=r"format: got 'brucker' \(did you mean 'bruker'\?\)"):
        jn.Spectrum.read(tmp_path / "line.xyz", "brucker")
    with pytest.raises(ValueError, match=r"path.*line\.xyz.*\.csv, \.csdf, \.csdm, \.spe and \.fid"):
        jn.Spectrum.load(tmp_path / "line.xyz")
    with pytest.raises(ValueError, match=r"path.*line\.xyz.*saved as \.csv"):
        spectrum().save(tmp_path / "line.xyz")
    with pytest.raises(FileNotFoundError, match=r"none\.spe"):
        jn.Spectrum.read(tmp_path / "none.spe")
    with pytest.raises(ValueError, match=r"a folder without Bruker data"):
        jn.Spectrum.read(tmp_path)
    spectrum().save(tmp_path / "line.csv")
    with pytest.raises(ValueError, match=r"unit: only text files"):
        jn.Spectrum.read(tmp_path / "line.csv", unit="ppm")


def test_arguments_that_contradict_the_file(tmp_path):
    path = tmp_path / "line.csv"
    spectrum(isotope="17O", field=14.1).save(path)
    with pytest.raises(ValueError, match=r"isotope: got '27Al'.*'17O'"):
        jn.Spectrum.read(path, isotope="27Al")
    with pytest.raises(ValueError, match=r"field: got 9\.4.*14\.1"):
        jn.Spectrum.read(path, field=9.4)
    with pytest.raises(ValueError, match=r"larmor_frequency: got 4e\+08.*8\.13e\+07"):
        jn.Spectrum.read(path, larmor_frequency=400e6)
    spectrum().save(path)
    with pytest.raises(ValueError, match=r"field: got 9\.4 T.*81\.3 MHz.*17O is 14\.08 T"):
        jn.Spectrum.read(path, isotope="17O", field=9.4)
    # The field that gives the file's frequency, so that a simulation counts ppm alike; a plain load adds nothing.
    line = jn.Spectrum.read(path, isotope="17O")
    np.testing.assert_allclose(abs(jn.isotope("17O").larmor_frequency(float(line.field))), LARMOR, rtol=1e-9)
    assert jn.Spectrum.load(path).field is None


def test_missing_packages(tmp_path, monkeypatch):
    """The extra is named."""
    monkeypatch.setitem(sys.modules, "csdmpy", None)
    with pytest.raises(ImportError, match=r"needs csdmpy: pip install 'jaxnmr\[io\]'"):
        spectrum().save(tmp_path / "line.csdf")
    monkeypatch.setitem(sys.modules, "nmrglue.fileio", None)
    monkeypatch.setitem(sys.modules, "nmrglue", None)
    (tmp_path / "line.dx").write_text("##TITLE=\n")
    with pytest.raises(ImportError, match=r"needs nmrglue: pip install 'jaxnmr\[io\]'"):
        jn.Spectrum.read(tmp_path / "line.dx")
    assert not list(tmp_path.glob("*.csdf"))
