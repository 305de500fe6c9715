"""Spectra C and D of averaged tensors, the band about D, and sets of nuclei that share a line."""

import dataclasses
import json

import numpy as np
import pytest

import jaxnmr as jn
from jaxnmr.workflow._compare import compared
from jaxnmr.workflow._config import Measured, Uncertainty
from jaxnmr.workflow._counted import slowed_by
from jaxnmr.workflow._records import ExchangeOfNuclei, TensorsOfStates
from jaxnmr.workflow._sets import alike, mean_over, nearness
from jaxnmr.workflow._spectra import mean_over_squares, spectra_at

from . import toy

pytestmark = pytest.mark.filterwarnings("ignore::jaxnmr.errors.JaxnmrWarning")
BARRIER = 0.003  # eV: the band is linear in it to a few per cent


@pytest.fixture(scope="module")
def moved(tmp_path_factory):
    """A run with a short motion and an uncertain barrier."""
    folder = tmp_path_factory.mktemp("toy")
    config = toy.config(
        folder,
        sample__length_ps=4.0,
        sample__every=20,
        sample__friction_per_ps=20.0,
        uncertainty__barrier_ev=BARRIER,
        uncertainty__draws=64,
    )
    return jn.run(config, potential=toy.surface(), tensors=toy.Tensors())


def test_c_and_d_are_lines_of_the_averages(moved):
    """McConnell's two sites at the averaged shifts, which B is 2 % of the line away from."""
    (found,) = moved.sampled
    mean = np.trace(found.shielding[:, 0], axis1=-2, axis2=-1) / 3
    d = moved.both()
    expected = np.asarray(toy.line(d.ppm, mean))
    away = [np.linalg.norm(np.asarray(line) - expected) for line in (d.intensity, moved.spectra[0].moving[0])]
    assert away[0] < 0.2 * away[1] and away[1] > 0.01 * np.linalg.norm(expected)
    c = moved.averaged()
    assert float(c.ppm[np.argmax(c.intensity)]) == pytest.approx(toy.REFERENCE - mean[0], abs=0.4)
    assert float(c.intensity.max()) > 2 * float(d.intensity.max())


def test_band_is_that_of_the_barrier(moved):
    """Ends at 1.96 standard deviations of ln k: 64 draws know that to a fifth; the tensors' own errors are small here."""
    (found,), line = moved.sampled, moved.spectra[0]
    mean, sigma = np.trace(found.shielding[:, 0], axis1=-2, axis2=-1) / 3, BARRIER / (toy.BOLTZMANN_IN_EV * toy.KELVIN)
    ends = [np.asarray(toy.line(line.ppm, mean, toy.rate() * np.exp(s * 1.96 * sigma))) for s in (-1, 1)]
    wide, drawn = np.abs(ends[1] - ends[0]), line.high[0] - line.low[0]
    where = wide > 0.3 * wide.max()
    assert 0.6 < np.median(drawn[where] / wide[where]) < 1.5
    assert (line.low[0] <= line.both[0] + 1e-9).mean() > 0.95 and (line.high[0] >= line.both[0] - 1e-9).mean() > 0.95


def test_share_of_the_band():
    """Two of n + 1 places are outside of n draws: 39 make 95 %."""
    assert [Uncertainty(draws=n).share for n in (0, 16, 39, 64)] == [0.0, pytest.approx(15 / 17), 0.95, 0.95]


def test_report_of_a_motion(moved):
    """Numbers of motion, averages and band, with their units; pictures as PNG too; a line for what is left out."""
    numbers = json.loads((moved.folder / "report.json").read_text())
    (site,), (event,) = numbers["sites"], numbers["events"]
    averaged = site["basins"][0]["averaged"][0]
    mean = np.trace(moved.sampled[0].shielding[0, 0]) / 3
    assert averaged["shift_ppm"] == pytest.approx(toy.REFERENCE - mean)
    assert averaged["average_that_holds"] == "mean tensor" and averaged["omega_0_tau"] < 1e-2
    rate = event["rates"][0]
    assert rate["md_jumps"] == [0, 0] and "md_rate_per_s" not in rate
    assert rate["rate_taken"] == "htst" and rate["rate_taken_per_s"] == rate["rate_per_s"]
    assert numbers["motion"][0]["length_ps"] == pytest.approx(3.8, abs=0.05)
    differ = numbers["spectra"][0]["differ"]
    assert differ["A-D"] > 0.5 > differ["B-D"] > 0.005 and numbers["spectra"][0]["band_of"] == "D"
    for name in ("structure.png", "spectra-9.4T.png", "sites.png", "spectrum-D-9.4T-298K.csv", "band-D-9.4T-298K.csv"):
        assert (moved.folder / name).stat().st_size > 500
    assert "jump" in (moved.folder / "report.html").read_text()


@pytest.mark.slow
def test_a_run_takes_what_its_motion_counted(tmp_path):
    """At 2000 K the proton hops some hundred times: the report says whose rate was taken; D stands at counted shares."""
    how = {"length_ps": 30.0, "warmup_ps": 1.0, "replicas": 4, "every": 20, "friction_per_ps": 20.0}
    config = toy.config(
        tmp_path, experiment__temperatures_k=[2000.0], **{f"sample__{k}": v for k, v in how.items()}, uncertainty__draws=40
    )
    found = jn.run(config, potential=toy.surface(), tensors=toy.Tensors())
    numbers = json.loads((found.folder / "report.json").read_text())
    rate = numbers["events"][0]["rates"][0]
    assert rate["rate_taken"] == "counted" and rate["rate_taken_per_s"] == pytest.approx(rate["md_rate_per_s"], rel=0.02)
    # Anharmonic wells and recrossings take much of the harmonic rate: with the saddle's the exchange would be another.
    # Friction's part is 4 %, by which the rate counts as the less certain.
    (slowed,) = slowed_by(how["friction_per_ps"], found.rates.imaginary_per_cm)
    assert 0.03 < slowed < 0.05 < found.exchange.counted[0, 0, 0] < 0.2
    assert rate["rate_taken_per_s"] < 0.9 * rate["rate_per_s"]
    assert any("hops so often" in remark for remark in numbers["remarks"])
    assert "(counted)" in (found.folder / "report.html").read_text()
    shift = toy.REFERENCE - np.trace(found.sampled[0].shielding[:, 0], axis1=-2, axis2=-1) / 3
    d, p = found.both(), np.array(rate["populations_taken"])
    assert p.sum() == pytest.approx(1) and abs(shift[1] - shift[0]) > 50
    assert float(d.ppm[np.argmax(d.intensity)]) == pytest.approx(shift @ p, abs=0.5)
    # The counting is uncertain by some per cent: so is the place of the line, in the band.
    low, high = found.spectra[0].low[0], found.spectra[0].high[0]
    assert (high - low).max() > 0.05 * np.asarray(d.intensity).max()


def test_a_measured_line_is_scaled(moved, tmp_path):
    """Seven times D with an offset axis order: scale and residual, and the other spectra are farther."""
    d = moved.both()
    rows = np.column_stack([d.ppm, 7.0 * np.asarray(d.intensity)])[::-2]
    np.savetxt(tmp_path / "m.csv", rows, delimiter=",", header="ppm,intensity", comments="")
    asked = moved.config.model_copy(update={"measured": Measured(file=tmp_path / "m.csv")})
    _, found = compared(dataclasses.replace(moved, config=asked))
    rows = {each.name: each for each in found}
    assert rows["D"].scale == pytest.approx(7.0, rel=1e-3) and rows["D"].residual < 1e-3 < 0.005 < rows["B"].residual
    asked = asked.model_copy(update={"axis": asked.axis.model_copy(update={"ppm": (900.0, 800.0)})})
    far = dataclasses.replace(moved.spectra[0], ppm=moved.spectra[0].ppm + 900)
    with pytest.raises(ValueError, match="has no points between"):
        compared(dataclasses.replace(moved, config=asked, spectra=(far,)))


def test_equivalent_nuclei_share_a_line():
    """Tensors turned together are one set with its mean in the first's frame; another mutual orientation is another set."""
    rng = np.random.default_rng(0)
    base = rng.normal(size=(2, 2, 3, 3)) * 30  # (state, kind)
    base[:, 1] += np.swapaxes(base[:, 1], -1, -2)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]  # proper or not
    turned = np.einsum("ik,stkl,jl->stij", turn, base, turn)
    mixed = np.stack([turned[:, 0], base[:, 1]], axis=1)
    whole = np.stack([base, turned, mixed], axis=2)  # (state, kind, nucleus, 3, 3)
    none, nothing, link = np.full((2, 3), np.nan), np.full((1, 2, 2), np.nan), np.zeros((2, 2, 2), int)
    tensors = TensorsOfStates((0, 1, 2), ("a", "b", "c"), whole[:, 0], whole[:, 1] * 1e-2, none, none, np.ones(3))
    hops = ExchangeOfNuclei(
        np.zeros(3, int), np.array([[0, 1]]), np.array([[[0.6, 0.4]]]), np.array([[[[0.0, 1e5], [1e5, 0.0]]]]), link, nothing
    )
    sets = alike(tensors, hops)
    assert [each.members for each in sets] == [(0, 1), (2,)]
    np.testing.assert_allclose(mean_over(sets[0], tensors.shielding), base[:, 0], atol=1e-9)
    apart = ExchangeOfNuclei(
        np.array([0, 1, 0]), np.array([[0, 1], [0, 1]]), np.full((1, 2, 2), 0.5), np.zeros((1, 2, 2, 2)), link, nothing
    )
    apart.rates[0, :, 1, 0] = 1e5, 2e5
    assert [each.members for each in alike(tensors, apart)] == [(0,), (1,), (2,)]


def resting(isotropic, efg=None):
    """Tensors of nuclei that nothing moves, and their exchange."""
    count = len(isotropic)
    shielding = np.asarray(isotropic)[None, :, None, None] * np.eye(3)
    efg = np.zeros((1, count, 3, 3)) if efg is None else efg
    none = np.full((1, count), np.nan)
    names = tuple(f"n{k}" for k in range(count))
    tensors = TensorsOfStates(tuple(range(count)), names, shielding, efg, none, none, np.ones(3))
    no_pair, empty = np.zeros((0, 1, 1), int), np.zeros((1, 0, 2))
    hops = ExchangeOfNuclei(
        np.full(count, -1), np.zeros((0, 1), int), np.zeros((1, 0, 1)), np.zeros((1, 0, 1, 1)), no_pair, empty
    )
    return tensors, hops


def asked(folder, nucleus, width, *fields):
    """Conditions for a nucleus."""
    return toy.config(folder, experiment__isotope=nucleus, experiment__linewidth_hz=width, experiment__fields_t=list(fields))


def test_lines_that_can_be_told_apart_are_two(tmp_path):
    """1H 0.5 ppm apart are 500 Hz at 23.5 T: two lines of 50 Hz; a field that is not the highest does not blur them."""
    tensors, hops = resting([30.0, 30.5, 30.001])
    config = asked(tmp_path, "1H", 50.0, 23.5, 1.0)
    ppm, _ = nearness(tensors, config)
    assert ppm == pytest.approx(0.05 * 50.0 / 1000.0, rel=1e-2)
    assert [each.members for each in alike(tensors, hops, nearness(tensors, config))] == [(0, 2), (1,)]
    found = spectra_at(23.5, tensors, [], hops, np.zeros(1, int), config)
    assert not found.low.size
    # Wide lines keep the bound that the convergence of minima sets.
    assert nearness(tensors, asked(tmp_path, "1H", 1e5, 23.5))[0] == 1.0


def test_couplings_that_can_be_told_apart_are_two(tmp_path):
    """Largest shift of a line within the bound: 5 % of the width, by ν_Q for 2H and by the second order for 17O."""
    base = np.diag([-0.3, -0.7, 1.0])
    for nucleus, width, size in (("2H", 1000.0, 0.2), ("17O", 300.0, 1.2)):
        efg = size * np.broadcast_to(base, (1, 2, 3, 3)).copy()
        tensors, hops = resting([30.0, 30.0], efg)
        config = asked(tmp_path, nucleus, width, 14.1)
        _, au = nearness(tensors, config)
        assert 1e-6 < au < 4e-3
        for factor, sets in ((0.9, 1), (1.1, 2)):
            efg[0, 1] = efg[0, 0] + factor * au * base / np.linalg.norm(base)
            assert len(alike(tensors, hops, (1.0, au))) == sets
        c_q, q = np.array([efg[0, 0, 2, 2], efg[0, 1, 2, 2]]) * 234.965e6, jn.isotopes.isotope(nucleus)
        nu_q = 3 * np.abs(c_q * q.quadrupole_moment) / (2 * q.spin * (2 * q.spin - 1))
        shift = nu_q
        if nucleus == "17O":
            shift = nu_q**2 * (q.spin * (q.spin + 1) - 0.75) / (16 * abs(q.larmor_frequency(14.1)))
        # A change along the tensor itself, and 1.1 times the bound.
        assert abs(shift[1] - shift[0]) == pytest.approx(1.1 * 0.05 * width, rel=0.1)


def two_sites(rates, populations=(0.6, 0.4)):
    """The toy's carbon in both basins, with a rate at each temperature."""
    tensors, _ = resting([0.0])
    shielding = np.array([50.0, 130.0])[:, None, None, None] * np.eye(3)
    tensors = dataclasses.replace(
        tensors, shielding=shielding, efg=np.zeros((2, 1, 3, 3)), shielding_error=np.full((2, 1), np.nan),
        efg_error=np.full((2, 1), np.nan),
    )  # fmt: skip
    p = np.asarray(populations)
    out = np.zeros((len(rates), 1, 2, 2))
    out[:, 0, 1, 0], out[:, 0, 0, 1] = rates, np.asarray(rates) * p[0] / p[1]
    hops = ExchangeOfNuclei(
        np.zeros(1, int),
        np.array([[0, 1]]),
        np.tile(p, (len(rates), 1, 1)),
        out,
        np.array([[[-1, 0], [0, -1]]]),
        np.full((len(rates), 1, 2), np.nan),
    )
    return tensors, hops


def test_every_temperature_is_looked_at(tmp_path):
    """A doubt about the last temperature alone is a remark; lines are those of each temperature by itself."""
    changes = {"experiment__linewidth_hz": 0.1, "axis__points": 64, "resolution__samples": 64}
    tensors, _ = two_sites([1.0])
    rest = np.linspace(50.0, 130.0, 3)[:, None, None, None] * np.eye(3)
    nothing = np.full((3, 1), np.nan)
    tensors = dataclasses.replace(
        tensors, shielding=rest, efg=np.zeros((3, 1, 3, 3)), shielding_error=nothing, efg_error=nothing
    )
    lines, remarks = [], []
    for temperatures in ((200.0, 400.0), (200.0,), (400.0,)):
        out = np.zeros((len(temperatures), 1, 3, 3))
        for t, kelvin in enumerate(temperatures):
            # So fast beside the other motion that double precision itself is too coarse for the line.
            out[t, 0, 1, 0] = out[t, 0, 0, 1] = 9e14 if kelvin == 400.0 else 1e6
            out[t, 0, 2, 0] = out[t, 0, 0, 2] = 1e3
        shares, none = np.full((len(temperatures), 1, 3), 1 / 3), np.full((len(temperatures), 1, 2), np.nan)
        hops = ExchangeOfNuclei(np.zeros(1, int), np.array([[0, 1, 2]]), shares, out, np.zeros((1, 3, 3), int), none)
        config = toy.config(tmp_path, **changes, experiment__temperatures_k=list(temperatures))
        found = spectra_at(toy.FIELD, tensors, [], hops, np.arange(3), config)
        lines.append(found.moving)
        remarks.append(any("rounding broadens" in remark for remark in found.remarks))
    assert remarks == [True, False, True]
    np.testing.assert_allclose(lines[0][0], lines[1][0], rtol=1e-9, atol=1e-15)
    np.testing.assert_allclose(lines[0][1], lines[2][0], rtol=1e-9, atol=1e-15)


def test_a_member_that_was_never_there_leaves_the_mean_to_the_others():
    """One of two nuclei never was in the second basin: the other's average stands there, and with its own error."""
    rng = np.random.default_rng(1)
    shielding = np.tile(rng.normal(size=(2, 1, 3, 3)) * 30, (1, 2, 1, 1))
    none, nothing, link = np.full((2, 2), np.nan), np.full((1, 2, 2), np.nan), np.zeros((2, 2, 2), int)
    tensors = TensorsOfStates((0, 1), ("a", "b"), shielding, np.zeros_like(shielding), none, none, np.ones(3))
    hops = ExchangeOfNuclei(
        np.zeros(2, int), np.array([[0, 1]]), np.array([[[0.6, 0.4]]]), np.array([[[[0.0, 1e5], [1e5, 0.0]]]]), link, nothing
    )
    (one,) = alike(tensors, hops)
    moved = shielding + np.arange(1.0, 5.0).reshape(2, 2, 1, 1) * np.eye(3)
    moved[1, 1] = np.nan
    expected = shielding[:, 0] + np.array([1.5, 3.0])[:, None, None] * np.eye(3)
    np.testing.assert_allclose(mean_over(one, moved), expected, atol=1e-9)
    errors = np.full((2, 2, 3, 3), 0.2)
    errors[1, 1] = np.nan
    np.testing.assert_allclose(mean_over_squares(one, errors), [0.2 / np.sqrt(2), 0.2])
    moved[1] = errors[1] = np.nan
    assert np.isnan(mean_over(one, moved)[1]).all() and np.isnan(mean_over_squares(one, errors)[1])


def test_errors_of_harmonic_rates_and_of_recrossings_make_a_band(tmp_path):
    """As wide as that of a barrier's error of the same ln k; counted rates know nothing of them; none without."""
    changes = {"uncertainty__draws": 200, "axis__points": 64}
    sigma, widths = 0.2, []
    tensors, hops = two_sites([3e4])
    kt = toy.BOLTZMANN_IN_EV * toy.KELVIN
    for more, recrossing in (
        ({"uncertainty__barrier_ev": sigma * kt}, None),
        ({"uncertainty__rate_error": sigma}, None),
        ({}, np.array([[0.0, sigma]])),
        ({"uncertainty__rate_error": 0.6 * sigma}, np.array([[0.0, 0.8 * sigma]])),
    ):
        found = spectra_at(
            toy.FIELD, tensors, [], hops, np.array([0, 1]), toy.config(tmp_path, **changes, **more), recrossing=recrossing
        )
        widths.append(np.linalg.norm(found.high[0] - found.low[0]) / np.linalg.norm(found.moving[0]))
    # 200 draws know the ends of a band to some 10 %.
    assert widths[0] > 0.05 and widths[1:] == pytest.approx(3 * [widths[0]], rel=0.25)
    config = toy.config(tmp_path, **changes)
    assert not spectra_at(toy.FIELD, tensors, [], hops, np.array([0, 1]), config).low.size
    counted = dataclasses.replace(hops, counted=np.full((1, 1, 2), 1e-9))
    config = toy.config(tmp_path, **changes, uncertainty__rate_error=sigma)
    found = spectra_at(toy.FIELD, tensors, [], counted, np.array([0, 1]), config)
    assert np.linalg.norm(found.high - found.low) < 1e-6 * np.linalg.norm(found.moving)
