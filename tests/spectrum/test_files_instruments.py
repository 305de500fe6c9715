"""Bruker and JCAMP-DX, on small files written here by their definitions, with invented numbers."""

import numpy as np
import pytest

import jaxnmr as jn
from jaxnmr.spectrum._fid import FID

pytest.importorskip("nmrglue", reason="nmrglue is not installed (jaxnmr[io])")

# 13C: the spectrum's reference SF, and a carrier 5 kHz above it.
SF, O1 = 100.6, 5000.0
SFO1 = SF + O1 * 1e-6
WIDTH = 40e3


def parameters(path, **values):
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ["##TITLE= Parameter file", "##JCAMPDX= 5.0", *(f"##${name}= {value}" for name, value in values.items())]
    path.write_text("\n".join([*lines, "##END="]) + "\n")


def processed(folder, values, other=None, order="<", **change):
    """1r in an experiment's folder: int32, divided by 2**NC_proc."""
    place = folder / "pdata" / "1"
    procs = {"SF": SF, "SW_p": WIDTH, "OFFSET": 250.0, "SI": len(values), "NC_proc": 3, "BYTORDP": int(order == ">")}
    kept = {name: value for name, value in (procs | change).items() if value is not None}
    parameters(place / "procs", DTYPP=0, AXNUC="<13C>", **kept)
    parameters(folder / "acqus", NUC1="<13C>", MASR=12000, SFO1=SFO1)
    for name, data in (("1r", values), ("1i", other)):
        if data is not None:
            np.asarray(np.asarray(data) / 8, order + "i4").tofile(place / name)
    return folder


VALUES = np.array([8, 16, -24, 800, 80, 0, 8, 40])


@pytest.mark.parametrize("order", ["<", ">"])
def test_bruker_processed(tmp_path, order):
    """Point i at OFFSET - i SW_p / (SI SF); integers times 2**NC_proc; either byte order; folder, pdata or file."""
    folder = processed(tmp_path / "7", VALUES, VALUES[::-1], order)
    (folder / "pdata" / "1" / "title").write_text("a powder\nsecond line\n")
    ppm = 250.0 - np.arange(8) * 40e3 / 8 / 100.6
    for path in (folder, folder / "pdata" / "1", folder / "pdata" / "1" / "1r"):
        line = jn.Spectrum.read(path)
        np.testing.assert_allclose(line.ppm, ppm, rtol=1e-12)
        np.testing.assert_allclose(line.hz, ppm * 100.6, rtol=1e-12)
        np.testing.assert_array_equal(line.intensity, VALUES)
        np.testing.assert_array_equal(line.imaginary, VALUES[::-1])
        assert (line.isotope, float(line.rate), line.label) == ("13C", 12e3, "a powder")
        np.testing.assert_allclose(jn.isotope("13C").larmor_frequency(float(line.field)), 100.6e6)
    moved = jn.Spectrum.read(folder, zero=-1.5, rate=10e3)
    np.testing.assert_allclose(moved.ppm, ppm - 1.5)
    assert float(moved.rate) == 10e3


def raw(folder, signal, order="<", kind="i4", **change):
    """fid: real and imaginary in turn, divided by 2**NC, filled up with zeros."""
    folder.mkdir(parents=True, exist_ok=True)
    acqus = {"SW_h": WIDTH, "SFO1": SFO1, "BF1": SF, "O1": O1, "TD": 2 * len(signal), "AQ_mod": 3, "GRPDLY": 0.0}
    acqus |= {"NUC1": "<13C>", "MASR": 0, "NC": 2, "DTYPA": 2 if kind == "f8" else 0, "BYTORDA": int(order == ">")}
    parameters(folder / "acqus", **{name: value for name, value in (acqus | change).items() if value is not None})
    numbers = np.zeros(2 * len(signal) + 12)
    numbers[: 2 * len(signal) : 2], numbers[1 : 2 * len(signal) : 2] = signal.real / 4, signal.imag / 4
    numbers.astype(order + kind).tofile(folder / "fid")
    return folder


TIMES = np.arange(256) / WIDTH
# Ten kHz above the carrier: 15 kHz from the reference.
DECAY = 1e6 * np.exp((2j * np.pi * 10e3 - 800) * TIMES)


@pytest.mark.parametrize(("order", "kind"), [("<", "i4"), (">", "i4"), ("<", "f8")])
def test_bruker_raw(tmp_path, order, kind):
    """A precession with positive sense lies above the carrier, at SFO1 - SF from the reference."""
    path = raw(tmp_path / "7", DECAY, order, kind)
    fid = FID.read(path)
    np.testing.assert_allclose(fid.signal, DECAY, atol=6)  # rounded to integers, times four
    np.testing.assert_allclose([fid.dt, fid.carrier, fid.start], [1 / WIDTH, O1, 0.0], atol=1e-6)
    line = jn.Spectrum.read(path / "fid")
    top = int(np.argmax(line.intensity))
    assert abs(float(line.hz[top]) - 15e3) < WIDTH / 256 / 2 + 1
    assert abs(float(line.ppm[top]) - 15e3 / SF) < 1
    assert line.rate is None and line.isotope == "13C"
    # Processing has set another reference: it is obeyed.
    parameters(path / "pdata" / "1" / "procs", SF=SF - 1e-3)
    np.testing.assert_allclose(FID.read(path).carrier, O1 + 1e3, atol=1e-6)


def filtered(delay, fine=8):
    """A decay that an oversampling receiver records: a symmetric low-pass filter, then every eighth point.

    Returns:
        The record at intervals 1/WIDTH, late by `delay` points, and the same line's exact spectrum.
    """
    points, rate = 1024, 800.0
    times = np.arange(points * fine) / (WIDTH * fine)
    signal = np.exp((2j * np.pi * 6e3 - rate) * times)
    signal[0] /= 2  # the middle of the step
    taps = round(2 * delay * fine) + 1
    t = (np.arange(taps) - (taps - 1) / 2) / fine
    response = np.sinc(0.9 * t) * np.kaiser(taps, 8.0)
    out = np.convolve(signal, response / response.sum())[: points * fine : fine]
    return out, lambda hz: 2 / (rate + 2j * np.pi * (hz - O1 - 6e3))


@pytest.mark.parametrize("delay", [20.0, 19.625])
def test_digital_filter(tmp_path, delay):
    """Its group delay, whole or not, leaves no phase; neither absorption nor dispersion is bent."""
    record, exact = filtered(delay)
    path = raw(tmp_path / "7", record, kind="f8", GRPDLY=delay)
    fid = FID.read(path)
    np.testing.assert_allclose(fid.start, -delay / WIDTH)
    line = jn.Spectrum.read(path)
    hz = np.asarray(line.hz)
    near = np.abs(hz - O1) < 0.35 * WIDTH  # the filter's flat part
    found = (np.asarray(line.intensity) + 1j * np.asarray(line.imaginary))[near]
    error = np.linalg.norm(found - exact(hz[near])) / np.linalg.norm(exact(hz[near]))
    # The filter's ripple and the wings that it lets fold are 3.5e-4; a delay wrong by 0.4 points costs 0.35.
    assert error < 2e-3


def test_digital_filter_of_an_old_console(tmp_path):
    """No GRPDLY: by firmware and decimation, 71.625 points for DSPFVS 12 and DECIM 16 by Bruker's table."""
    path = raw(tmp_path / "7", DECAY, GRPDLY=None, DSPFVS=12, DECIM=16)
    np.testing.assert_allclose(-FID.read(path).start * WIDTH, 71.625, rtol=1e-9)
    path = raw(tmp_path / "8", DECAY, GRPDLY=-1, DSPFVS=12, DECIM=17)
    with pytest.raises(ValueError, match=r"acqus.*DSPFVS=12 with DECIM=17.*GRPDLY"):
        FID.read(path)
    assert float(FID.read(raw(tmp_path / "9", DECAY, GRPDLY=-1, DSPFVS=0, DECIM=1)).start) == 0


def test_processed_before_raw(tmp_path):
    """A folder that holds both gives what was asked."""
    folder = processed(tmp_path / "7", VALUES)
    raw(folder, DECAY)
    assert len(jn.Spectrum.read(folder).ppm) == 8
    assert len(FID.read(folder).signal) == len(FID.read(folder / "pdata" / "1").signal) == 256
    with pytest.raises(ValueError, match=r"isotope: got '27Al'.*13C"):
        FID.read(folder, isotope="27Al")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: processed(p, VALUES, SI=16), r"1r: 8 points of SI=16; .*cut short"),
        (lambda p: processed(p, VALUES, SF=None), r"procs: SF is missing"),
        (lambda p: processed(p, VALUES, OFFSET="<x>"), r"procs: OFFSET is missing or no number"),
        (lambda p: raw(p, DECAY, TD=600), r"fid: 524 numbers of TD=600; .*cut short"),
        (lambda p: raw(p, DECAY, SW_h=None), r"acqus: SW_h is missing"),
        (lambda p: raw(p, DECAY, BF1=None), r"acqus: neither SF .* nor BF1"),
        (lambda p: raw(p, DECAY, AQ_mod=0), r"AQ_mod=0, not simultaneous quadrature"),
    ],
)
def test_bad_bruker(tmp_path, make, message):
    with pytest.raises(ValueError, match=message):
        jn.Spectrum.read(make(tmp_path / "7"))


def test_bruker_in_two_dimensions_or_missing(tmp_path):
    folder = processed(tmp_path / "7", VALUES)
    (folder / "ser").write_bytes(b"")
    with pytest.raises(ValueError, match=r"two-dimensional"):
        jn.Spectrum.read(folder)
    (folder / "ser").unlink()
    (folder / "pdata" / "1" / "1r").unlink()
    with pytest.raises(ValueError, match=r"neither 1r nor fid"):
        jn.Spectrum.read(folder)
    with pytest.raises(ValueError, match=r"no Bruker data"):
        jn.Spectrum.read(tmp_path, "bruker")


# JCAMP-DX

HEAD = {
    "TITLE": "a powder",
    "JCAMP-DX": "5.01",
    "DATA TYPE": "NMR SPECTRUM",
    ".OBSERVE FREQUENCY": f"{SF}",
    ".OBSERVE NUCLEUS": "^13C",
    ".SHIFT REFERENCE": "INTERNAL, TMS, 1, 250.0",
    "XUNITS": "HZ",
    "YFACTOR": "0.5",
    "FIRSTX": "35000",
    "LASTX": "0",
    "NPOINTS": "8",
}


def jcamp(path, data=VALUES, end=True, **change):
    """XYDATA, plain numbers, four to a line after their abscissa."""
    head = {name.replace("_", " "): value for name, value in change.items()}
    lines = [f"##{name}= {value}" for name, value in (HEAD | head).items() if value is not None]
    lines.append("##XYDATA= (X++(Y..Y))")
    lines += [f"{35000 - 5000 * i} " + " ".join(str(2 * y) for y in data[i : i + 4]) for i in range(0, len(data), 4)]
    path.write_text("\n".join([*lines, *(["##END="] if end else [])]) + "\n")
    return path


def test_jcamp(tmp_path):
    """Hz from anywhere, put in place by the reference: a point and its shift. YFACTOR scales."""
    line = jn.Spectrum.read(jcamp(tmp_path / "a.dx"))
    ppm = 250.0 - np.arange(8) * 5000 / SF
    np.testing.assert_allclose(line.ppm, ppm)
    np.testing.assert_allclose(line.hz, ppm * SF)
    np.testing.assert_array_equal(line.intensity, VALUES)
    assert (line.isotope, line.label, line.imaginary) == ("13C", "a powder", None)
    third = {".SHIFT_REFERENCE": "INTERNAL, TMS, 3, 0.0"}
    np.testing.assert_allclose(jn.Spectrum.read(jcamp(tmp_path / "b.jdx", **third)).hz, 5000.0 * (2 - np.arange(8)))
    bruker = {".SHIFT_REFERENCE": None, "$OFFSET": "250.0", "$SF": f"{SF}", ".OBSERVE_FREQUENCY": f"{SFO1}"}
    np.testing.assert_allclose(jn.Spectrum.read(jcamp(tmp_path / "c.dx", **bruker)).ppm, ppm)


def test_jcamp_directions(tmp_path):
    """Ascending, in Hz or ppm: the same spectrum."""
    down = jn.Spectrum.read(jcamp(tmp_path / "a.dx"))
    turned = {"FIRSTX": "0", "LASTX": "35000", ".SHIFT_REFERENCE": "INTERNAL, TMS, 8, 250.0"}
    ends = {"FIRSTX": f"{250 - 35000 / SF:.10g}", "LASTX": "250", "XUNITS": "PPM"}
    for change in (turned, ends):
        up = jn.Spectrum.read(jcamp(tmp_path / "b.dx", VALUES[::-1], **change))
        np.testing.assert_allclose(up.ppm, down.ppm, atol=1e-7)
        np.testing.assert_array_equal(up.intensity, down.intensity)


def ntuples(path, imaginary=VALUES[::-1]):
    kept = ("TITLE", "JCAMP-DX", "DATA TYPE", ".OBSERVE FREQUENCY", ".OBSERVE NUCLEUS", ".SHIFT REFERENCE")
    lines = [f"##{name}= {HEAD[name]}" for name in kept]
    lines += ["##DATA CLASS= NTUPLES", "##NTUPLES= NMR SPECTRUM", "##SYMBOL= X, R, I, N", "##VAR_DIM= 8, 8, 8, 2"]
    lines += ["##UNITS= HZ, ARBITRARY UNITS, ARBITRARY UNITS,", "##FACTOR= 5000, 0.5, 0.25, 1"]
    lines += ["##FIRST= 35000, 0, 0, 1", "##LAST= 0, 0, 0, 2"]
    for page, (symbol, data) in enumerate((("R", VALUES), ("I", 2 * imaginary)), 1):
        lines += [f"##PAGE= N={page}", f"##DATA TABLE= (X++({symbol}..{symbol})), XYDATA"]
        lines.append("35000 " + " ".join(str(2 * y) for y in data))
    path.write_text("\n".join([*lines, "##END NTUPLES= NMR SPECTRUM", "##END="]) + "\n")
    return path


def test_jcamp_with_imaginary_part(tmp_path):
    line = jn.Spectrum.read(ntuples(tmp_path / "a.dx"))
    np.testing.assert_array_equal(line.intensity, VALUES)
    np.testing.assert_array_equal(line.imaginary, VALUES[::-1])
    np.testing.assert_allclose(line.ppm, 250.0 - np.arange(8) * 5000 / SF)
    with pytest.raises(ValueError, match=r"not of one length.*cut short"):
        jn.Spectrum.read(ntuples(tmp_path / "b.dx", VALUES[:5]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": VALUES[:4]}, r"4 points of 8; .*cut short"),
        ({"NPOINTS": None}, r"number of points is missing"),
        ({"XUNITS": "1/CM"}, r"an axis in 1/CM; expected HZ or PPM"),
        ({".SHIFT_REFERENCE": None}, r"does not say where the reference is; add a line such as"),
        ({".SHIFT_REFERENCE": "INTERNAL, TMS, 99, 0"}, r"names no point of 8"),
        ({".OBSERVE_FREQUENCY": None}, r"without \.OBSERVE FREQUENCY"),
        ({"DATA_TYPE": "NMR FID"}, r"a decay \(NMR FID\)"),
        ({"DATA_TYPE": "nD NMR SPECTRUM"}, r"two-dimensional"),
        ({"DATA_TYPE": "INFRARED SPECTRUM"}, r"no NMR spectrum"),
    ],
)
def test_bad_jcamp(tmp_path, change, message):
    with pytest.raises(ValueError, match=rf"a\.dx: .*{message}"):
        jn.Spectrum.read(jcamp(tmp_path / "a.dx", **change))


def test_two_jcamp_spectra(tmp_path):
    path = jcamp(tmp_path / "a.dx")
    path.write_text(2 * path.read_text())
    with pytest.raises(ValueError, match=r"2 spectra in one file"):
        jn.Spectrum.read(path)
    path.write_text("##TITLE= cut\n##JCAMP-DX= 5\n")
    with pytest.raises(ValueError, match=r"a\.dx: "):
        jn.Spectrum.read(path)
