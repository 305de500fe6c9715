"""Two fits, each by jaxnmr and by what people use today, on the same data from the same start.

`oxygen`: three rigid 17O sites under MAS, 13 parameters, by mrsimulator with lmfit as its documentation shows. `exchange`:
two 13C sites that exchange under MAS, 4 parameters, by SLEEPY with scipy's least squares and finite differences. The
data come from the peer on a dense grid, with noise.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import _peers  # puts the repository on the path
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

import jaxnmr as jn
from jaxnmr.fitting import Interval, LogRate, Positive, Simplex, Unit

Real = NDArray[np.float64]
SCRATCH = Path(__file__).resolve().parent / "results" / "scratch"


@dataclass(frozen=True)
class FitCase:
    """One fit.

    Attributes:
        name: of the row.
        measured: data.
        sigma: standard deviation of its noise.
        model: parameters -> spectrum.
        start: where both programs begin.
        truth: what made the data.
        constraints: of jaxnmr.
    """

    name: str
    measured: jn.Spectrum
    sigma: float
    model: Callable[[Any], jn.Spectrum]
    start: dict[str, Any]
    truth: dict[str, Any]
    constraints: dict[str, Any]


@dataclass
class PeerFit:
    """What the other program came to, kept as it goes.

    Attributes:
        program: with version.
        evaluations: of its simulation.
        seconds: wall time.
        chi2: lowest so far.
        ended: "converged", or why it was stopped.
        path: (seconds, chi2) at each improvement by a thousandth.
    """

    program: str
    evaluations: int = 0
    seconds: float = 0.0
    chi2: float = float("inf")
    ended: str = ""
    path: list[tuple[float, float]] = field(default_factory=list)


class OutOfTime(Exception):
    """The cap."""


# Three-site 17O

OXYGEN_FIELD, OXYGEN_RATE, OXYGEN_POINTS, OXYGEN_WINDOW = 14.1, 20e3, 512, 60e3
OXYGEN_TRUTH = {
    "delta": np.array([60.0, 35.0, 10.0]),  # ppm
    "c_q": np.array([4.2e6, 5.4e6, 3.4e6]),
    "eta_q": np.array([0.2, 0.35, 0.6]),
    "weights": np.array([0.4, 0.35, 0.25]),
    "linewidth": 350.0,
}
OXYGEN_START = {
    "delta": np.array([63.0, 32.0, 14.0]),
    "c_q": np.array([4.5e6, 5.0e6, 3.7e6]),
    "eta_q": np.array([0.35, 0.5, 0.4]),
    "weights": np.array([1.0, 1.0, 1.0]) / 3,
    "linewidth": 500.0,
}


class Mrsimulator:
    """The three sites by mrsimulator, with the objects that its own fitting functions want."""

    def __init__(self, params: dict[str, Any], density: int):
        import mrsimulator as mr
        import mrsimulator.signal_processor as sp
        from mrsimulator.method.lib import BlochDecayCTSpectrum
        from mrsimulator.spin_system.isotope import Isotope

        nucleus = Isotope(symbol="17O")
        larmor = abs(float(jn.isotope("17O").larmor_frequency(OXYGEN_FIELD)))
        # Its field is that of our Larmor frequency; its isotropic ppm count from another reference.
        flux = larmor / (1e6 * abs(nucleus.gyromagnetic_ratio))
        self.scale = abs(larmor / nucleus.B0_to_ref_freq(flux))
        systems = [
            mr.SpinSystem(
                sites=[
                    mr.Site(
                        isotope="17O",
                        isotropic_chemical_shift=params["delta"][i] * self.scale,
                        quadrupolar={"Cq": params["c_q"][i], "eta": params["eta_q"][i]},
                    )
                ],
                abundance=100 * params["weights"][i],
            )
            for i in range(3)
        ]
        method = BlochDecayCTSpectrum(
            channels=["17O"],
            magnetic_flux_density=flux,
            rotor_frequency=OXYGEN_RATE,
            spectral_dimensions=[{"count": OXYGEN_POINTS, "spectral_width": OXYGEN_WINDOW, "reference_offset": 1000.0}],
        )
        self.sim = mr.Simulator(spin_systems=systems, methods=[method])
        self.sim.config.integration_volume = "octant"
        self.sim.config.integration_density = density
        self.sim.config.number_of_sidebands = 16  # 320 kHz, five windows
        self.processor = sp.SignalProcessor(
            operations=[
                sp.IFFT(),
                sp.apodization.Exponential(FWHM=f"{params['linewidth']} Hz"),
                sp.FFT(),
                sp.Scale(factor=1.0),
            ]
        )
        self.hz = np.asarray(method.spectral_dimensions[0].coordinates_Hz())

    def spectrum(self) -> Any:
        """Of the present values, as a CSDM object."""
        with quiet():
            self.sim.run()
            return self.processor.apply_operations(dataset=self.sim.methods[0].simulation).real

    def fit(self, data: Any, sigma: float, cap: float, peer: PeerFit) -> None:
        """Levenberg-Marquardt of lmfit with its finite differences."""
        import lmfit
        from mrsimulator.utils import spectral_fitting

        self.sim.methods[0].experiment = data
        params = spectral_fitting.make_LMFIT_params(self.sim, self.processor)
        params["SP_0_operation_1_Exponential_FWHM"].min = 1.0
        began = time.perf_counter()

        def watched(p: Any) -> Real:
            with quiet():
                residual = np.asarray(spectral_fitting.LMFIT_min_function(p, self.sim, self.processor, [sigma]), float)
            note(peer, began, float(residual @ residual), cap)
            return residual

        run(peer, began, lambda: lmfit.Minimizer(watched, params).minimize(method="leastsq"))


def oxygen(snr: float = 100.0) -> tuple[FitCase, Callable[[float], PeerFit]]:
    """The case, and its peer under a cap in seconds."""
    dense = Mrsimulator(OXYGEN_TRUTH, 200)
    clean = dense.spectrum()
    y = np.asarray(clean.y[0].components[0].real, np.float64)
    # One of highest point: no program should have to find 1e-5 by finite differences.
    size = y.max()
    y, sigma = y / size, 1 / snr
    y = y + sigma * np.random.default_rng(41).normal(size=y.shape)
    data = clean.copy()
    data.y[0].components[0][:] = y
    nucleus = jn.isotope("17O")
    larmor = abs(float(nucleus.larmor_frequency(OXYGEN_FIELD)))
    hz = dense.hz[::-1]
    measured = jn.Spectrum(hz / (1e-6 * larmor), hz, y[::-1], isotope="17O", field=OXYGEN_FIELD, rate=OXYGEN_RATE)
    experiment = jn.MAS(OXYGEN_FIELD, OXYGEN_RATE)
    start = OXYGEN_START
    sizes = jn.spectrum.resolve(oxygen_sites(start), experiment, measured.axis, linewidth=float(start["linewidth"]))

    def model(p: Any) -> jn.Spectrum:
        return jn.simulate(oxygen_sites(p), experiment, measured.axis, linewidth=p["linewidth"], resolution=sizes)

    constraints = {"c_q": Positive(), "eta_q": Unit(), "weights": Simplex(), "linewidth": Positive()}
    case = FitCase("three-site 17O MAS", measured, sigma, model, start, OXYGEN_TRUTH, constraints)

    def peer(cap: float) -> PeerFit:
        found = PeerFit(f"mrsimulator {_peers.mrsim.installed_version()} + lmfit, octant {_peers.DENSITY}")
        ours = Mrsimulator(OXYGEN_START, _peers.DENSITY)
        # Its start has a scale as well: that of the highest points.
        first = np.asarray(ours.spectrum().y[0].components[0].real)
        ours.processor.operations[3].factor = float(1 / first.max())
        ours.fit(data, sigma, cap, found)
        return found

    return case, peer


def oxygen_sites(p: Any) -> jn.Sites:
    """Quadrupole and isotropic shift."""
    delta = jnp.asarray(p["delta"])
    shift = delta[:, None, None] * jnp.eye(3, dtype=delta.dtype)[None]
    return jn.Sites("17O", shift, jn.quadrupole_tensor(p["c_q"], p["eta_q"]), p["weights"])


# Two-site 13C exchange

POINTS, SAMPLING, SPINNING, WINDOW = 1024, 80e3, 1e4, 30e3
EXCHANGE_TRUTH = {"k": 3e3, "zeta": 100.0, "angle": np.radians(70.5), "linewidth": 250.0}
EXCHANGE_START = {"k": 6e2, "zeta": 85.0, "angle": np.radians(60.0), "linewidth": 400.0}
COARSE = ("rep30", 16)


def sleepy_fid(k: float, zeta: float, angle: float, powder: str, gammas: int) -> NDArray[np.complex128]:
    """Two axial tensors at an angle, equally populated; as `tests.peers.sleepy`, with the tensors free."""
    sl = _peers.sleepy.load()
    systems = []
    for beta in (0.0, angle):
        system = sl.ExpSys(
            v0H=_peers.sleepy.PROTON_MHZ, Nucs="13C", vr=SPINNING, pwdavg=sl.PowderAvg(powder), n_gamma=gammas
        )
        system.set_inter("CSA", i=0, delta=zeta, eta=0.0, euler=[0, beta, 0])
        systems.append(system)
    liouvillian = sl.Liouvillian(*systems, kex=sl.Tools.twoSite_kex(tc=1 / (2 * k)))
    rho = sl.Rho("13Cx", "13Cp")
    rho.DetProp(liouvillian.Sequence(), n=POINTS, n_per_seq=round(SAMPLING / SPINNING))
    signal = np.asarray(rho.I[0])
    return signal / signal[0]


def kept_fid(*arguments: Any) -> NDArray[np.complex128]:
    """The signal on the dense grid, computed once: it makes the data, and is no part of what is timed."""
    key = hashlib.sha256(repr((arguments, POINTS, SAMPLING, SPINNING, _peers.sleepy.installed_version())).encode())
    path = SCRATCH / f"sleepy-{key.hexdigest()[:12]}.npy"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, sleepy_fid(*arguments))
    return np.load(path)


def exchange(snr: float = 50.0, dense: tuple[str, int] = ("rep100", 32)) -> tuple[FitCase, Callable[[float], PeerFit]]:
    """The case, and its peer under a cap in seconds."""
    hz = np.linspace(WINDOW / 2, -WINDOW / 2, 512)
    truth = EXCHANGE_TRUTH

    def drawn(signal: NDArray[np.complex128], linewidth: float) -> Real:
        return _peers.sleepy.spectrum(signal, linewidth, hz, sampling=SAMPLING)

    clean = drawn(kept_fid(truth["k"], truth["zeta"], truth["angle"], *dense), truth["linewidth"])
    sigma = 1 / snr
    y = clean / clean.max() + sigma * np.random.default_rng(43).normal(size=clean.shape)
    larmor = _peers.sleepy.LARMOR_HZ
    flux = larmor / abs(float(jn.isotope("13C").larmor_frequency(1.0)))
    measured = jn.Spectrum(hz / (1e-6 * larmor), hz, y, isotope="13C", field=flux, rate=SPINNING)
    experiment, start = jn.MAS(flux, SPINNING), EXCHANGE_START

    def parts(p: Any) -> tuple[jn.Sites, jn.ExchangeModel]:
        angle = jnp.asarray(p["angle"])
        shift = jn.shift_tensor(0.0, p["zeta"], 0.0, (0.0, jnp.stack([jnp.zeros_like(angle), angle]), 0.0))
        return jn.Sites("13C", shift), jn.ExchangeModel.from_rates({(0, 1): p["k"]})

    sites, hops = parts(start)
    sizes = jn.spectrum.resolve(sites, experiment, measured.axis, exchange=hops, linewidth=truth["linewidth"])

    def model(p: Any) -> jn.Spectrum:
        sites, hops = parts(p)
        return jn.simulate(sites, experiment, measured.axis, exchange=hops, linewidth=p["linewidth"], resolution=sizes)

    constraints = {"k": LogRate(), "linewidth": Positive(), "angle": Interval(0.0, np.pi / 2)}
    case = FitCase("two-site 13C exchange MAS", measured, sigma, model, start, truth, constraints)

    def peer(cap: float) -> PeerFit:
        from scipy.optimize import least_squares

        found = PeerFit(f"SLEEPY {_peers.sleepy.installed_version()} + scipy, {COARSE[0]} x {COARSE[1]}")
        began = time.perf_counter()
        kept: dict[tuple[float, ...], NDArray[np.complex128]] = {}

        def residual(x: Real) -> Real:
            # Width and scale need no propagation: a careful user keeps the signal, and solves the scale.
            key = tuple(float(v) for v in x[:3])
            if key not in kept:
                kept.clear()
                kept[key] = sleepy_fid(float(np.exp(key[0])), key[1] * 100.0, key[2], *COARSE)
                found.evaluations += 1
            line = drawn(kept[key], float(np.exp(x[3])))
            left = (y - (line @ y) / (line @ line) * line) / sigma
            note(found, began, float(left @ left), cap, counts=False)
            return left

        x0 = np.array([np.log(start["k"]), start["zeta"] / 100.0, start["angle"], np.log(start["linewidth"])])
        run(found, began, lambda: least_squares(residual, x0, method="lm", diff_step=1e-4, ftol=1e-5, xtol=1e-5))
        return found

    return case, peer


def note(peer: PeerFit, began: float, chi2: float, cap: float, counts: bool = True) -> None:
    """One more evaluation."""
    peer.seconds = time.perf_counter() - began
    peer.evaluations += counts
    if chi2 < peer.chi2:
        # Of the long tail each part in a thousand is enough.
        if not peer.path or chi2 < 0.999 * peer.path[-1][1]:
            peer.path.append((peer.seconds, chi2))
            print(
                f"    {peer.program}: {peer.seconds:7.1f} s, {peer.evaluations:4d} evaluations, chi2 {chi2:.2f}", flush=True
            )
        peer.chi2 = chi2
    if peer.seconds > cap:
        raise OutOfTime


def run(peer: PeerFit, began: float, search: Callable[[], Any]) -> None:
    """The search until it ends, or the cap."""
    try:
        search()
        peer.ended = "converged"
    except OutOfTime:
        peer.ended = "stopped at the cap"
    peer.seconds = time.perf_counter() - began


@contextlib.contextmanager
def quiet():
    """Without the peers' warnings and greetings."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
