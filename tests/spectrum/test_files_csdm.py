"""CSDM: csdmpy sees our ppm, and a file of mrsimulator has the axis that our simulation has."""

import json
import warnings

import numpy as np
import pytest

import jaxnmr as jn
from tests.peers.mrsim import broadened, relative_l2

cp = pytest.importorskip("csdmpy", reason="csdmpy is not installed (jaxnmr[io])")

LARMOR = 81.3e6


def dataset(*columns, increment="-100 Hz", offset="3000 Hz", origin=f"{LARMOR} Hz", dimensions=1, **options):
    values = [np.asarray(c) for c in (columns or (np.arange(8.0),))]
    extra = [cp.LinearDimension(count=3, increment="1 s")] * (dimensions - 1)
    shape = (3,) * (dimensions - 1) + (8,)
    axis = cp.LinearDimension(count=8, increment=increment, coordinates_offset=offset, origin_offset=origin, **options)
    variables = [cp.as_dependent_variable(np.broadcast_to(v, shape).copy()) for v in values]
    return cp.CSDM(dimensions=[axis, *extra], dependent_variables=variables)


@pytest.mark.parametrize("ends", [(5e3, -4e3), (-4e3, 5e3)])
def test_csdmpy_converts_to_our_ppm(tmp_path, ends):
    hz = np.linspace(*ends, 64)
    line = jn.Spectrum(hz / LARMOR * 1e6, hz, np.cos(hz), "a label", isotope="17O")
    line.save(tmp_path / "line.csdf")
    data = cp.load(str(tmp_path / "line.csdf"))
    axis = data.x[0]
    np.testing.assert_allclose(axis.coordinates.to("Hz").value, hz, rtol=1e-12)
    axis.to("ppm", "nmr_frequency_ratio")
    np.testing.assert_allclose(axis.coordinates.value, line.ppm, rtol=1e-9)
    np.testing.assert_array_equal(data.y[0].components[0], line.intensity)
    assert data.y[0].name == "a label"


@pytest.mark.parametrize("sign", [1, -1])
def test_directions(tmp_path, sign):
    """A negative increment and a positive one, complex_fft or not, a negative origin: the same axis."""
    values = np.arange(8.0)
    for options in ({"offset": f"{3000 * sign} Hz"}, {"offset": f"{2600 * sign} Hz", "complex_fft": True}):
        data = dataset(values, increment=f"{-100 * sign} Hz", origin=f"{sign * LARMOR} Hz", **options)
        data.x[0].to("ppm", "nmr_frequency_ratio")  # as mrsimulator leaves it for display
        data.save(str(tmp_path / "line.csdf"))
        line = jn.Spectrum.read(tmp_path / "line.csdf", isotope="17O")
        hz = sign * (3000 - 100 * values)
        order = np.argsort(-hz)
        np.testing.assert_allclose(line.hz, hz[order])
        np.testing.assert_allclose(line.ppm, hz[order] / LARMOR * 1e6)
        np.testing.assert_array_equal(line.intensity, values[order])
        assert abs(float(line.field) - 14.08) < 0.01


def test_an_axis_in_ppm(tmp_path):
    dataset(increment="2 ppm", offset="-4 ppm", origin="0 ppm").save(str(tmp_path / "line.csdf"))
    with pytest.raises(ValueError, match=r"larmor_frequency"):
        jn.Spectrum.read(tmp_path / "line.csdf")
    line = jn.Spectrum.read(tmp_path / "line.csdf", larmor_frequency=1e8)
    np.testing.assert_allclose(line.ppm, np.arange(10.0, -5.0, -2.0))
    np.testing.assert_allclose(line.hz, np.arange(1000.0, -500.0, -200.0))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (lambda: dataset(dimensions=2), r"2 dimensions"),
        (lambda: dataset(np.arange(8.0), np.ones(8)), r"2 spectra in one file"),
        (lambda: dataset(increment="1 s", offset="0 s", origin="0 s"), r"a dimension in s"),
        (lambda: dataset(np.where(np.arange(8) == 3, np.nan, 1.0)), r"intensity of point 4.*NaN"),
        (lambda: dataset(origin="0 Hz"), r"give isotope and field"),
        (
            lambda: cp.CSDM(
                dimensions=[cp.MonotonicDimension(coordinates=["1 Hz", "2 Hz", "4 Hz"])],
                dependent_variables=[cp.as_dependent_variable(np.ones(3))],
            ),
            r"not equally spaced|does not say",
        ),
    ],
    ids=["2D", "two", "time", "NaN", "reference", "uneven"],
)
def test_bad_data(tmp_path, data, message):
    data().save(str(tmp_path / "line.csdf"))
    with pytest.raises(ValueError, match=rf"line\.csdf.*{message}"):
        jn.Spectrum.read(tmp_path / "line.csdf")


def test_cut_short(tmp_path):
    dataset().save(str(tmp_path / "line.csdf"))
    text = (tmp_path / "line.csdf").read_text()
    for broken in (text[: len(text) // 2], json.dumps({"other": 1}), ""):
        (tmp_path / "line.csdf").write_text(broken)
        with pytest.raises(ValueError, match=r"line\.csdf: not a CSDM file, or cut short"):
            jn.Spectrum.read(tmp_path / "line.csdf")


@pytest.mark.peer
@pytest.mark.parametrize("isotope", ["13C", "29Si"])
def test_mrsimulator(tmp_path, isotope):
    """Its static pattern off the centre of its window, gamma of either sign, from its file onto our simulation."""
    mr = pytest.importorskip("mrsimulator")
    from mrsimulator.method.lib import BlochDecaySpectrum

    field, zeta, width = 9.4, 60.0, 400.0
    window = {"count": 1024, "spectral_width": 40e3, "reference_offset": 4e3}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tensor = {"zeta": -zeta, "eta": 0.3}  # of the shielding
        system = mr.SpinSystem(sites=[mr.Site(isotope=isotope, isotropic_chemical_shift=80.0, shielding_symmetric=tensor)])
        method = BlochDecaySpectrum(
            channels=[isotope], magnetic_flux_density=field, rotor_frequency=0, spectral_dimensions=[window]
        )
        sim = mr.Simulator(spin_systems=[system], methods=[method])
        sim.run()
        sim.methods[0].simulation.save(str(tmp_path / "line.csdf"))
    read = jn.Spectrum.read(tmp_path / "line.csdf", isotope=isotope)
    hz, raw = np.asarray(read.hz), np.asarray(read.intensity)
    theirs = broadened(hz, raw / raw.sum(), width, hz)
    sites = jn.Sites(isotope, jn.shift_tensor(np.array([80.0]), zeta, 0.3))
    axis = jn.Axis(ppm=(float(read.ppm[0]), float(read.ppm[-1])), points=1024)
    sizes = jn.Resolution(4000, samples=512)
    ours = jn.simulate(sites, jn.Static(float(read.field)), axis, linewidth=width, resolution=sizes)
    np.testing.assert_allclose(ours.hz, read.hz, atol=1e-3)
    # 3e-4 for 13C, 9e-4 for 29Si, whose anisotropy mrsimulator takes of another frequency; one point's shift costs 2e-2.
    assert relative_l2(theirs, np.asarray(ours.intensity)) < 3e-3
    assert relative_l2(theirs[::-1], np.asarray(ours.intensity)) > 0.5
    assert abs(float(read.field) / field - 1) < 1e-2
