"""Models ready to fit: short functions over `simulate`, to be used as they are or copied and changed.

    model = models.two_site_exchange(measured.axis, jn.MAS(9.4, 5e3), "13C")
    result = jn.fit(model, model.start, measured, constraints=model.constraints)

Each is called with a dict of parameters, whose names its docstring lists. Shifts are in ppm, couplings and widths in Hz,
rates in 1/s, angles in radians. Starts are rough: give those that matter. Sizes of the calculation are chosen once, for the
start: begin with lines no wider than the measured ones, or give `resolution`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike

from jaxnmr.errors import near
from jaxnmr.exchange import ExchangeModel, flip as flip_motion, n_site_jump as jump_motion
from jaxnmr.fitting._constraints import Constraint, Interval, LogRate, Positive, Simplex, Unit
from jaxnmr.isotopes import isotope as nucleus_of
from jaxnmr.spectrum import MAS, Axis, Resolution, Spectrum, Static, resolve, simulate
from jaxnmr.spins import Sites, czjzek, shift_fwhm
from jaxnmr.tensors import quadrupole_tensor, shift_tensor

__all__ = ["Model", "czjzek_glass", "n_site_jump", "quadrupolar_sites", "ring_flip", "two_site_exchange"]

Experiment = Static | MAS
Params = Mapping[str, Any]
# What `simulate` takes, from parameters: sites, exchange and broadening.
Parts = tuple[Sites, ExchangeModel | None, Any, Any]
_Z = (0.0, 0.0, 1.0)
# Of every parameter of every model; "" is a plain number.
_UNITS = {
    **dict.fromkeys(("delta", "zeta", "spread", "correlated"), "ppm"),
    **dict.fromkeys(("c_q", "sigma", "linewidth"), "Hz"),
    **dict.fromkeys(("alpha", "beta", "gamma", "tilt"), "rad"),
    **dict.fromkeys(("eta", "eta_q", "p", "weights"), ""),
    "k": "1/s",
}


@dataclasses.dataclass(frozen=True, eq=False)
class Model:
    """A function from parameters to a spectrum, with what a fit needs beside it.

    Attributes:
        function: parameters -> `Spectrum`.
        start: parameters to start from.
        constraints: what each may be.
        resolution: sizes of the calculation.
    """

    function: Callable[[Params], Spectrum]
    start: dict[str, Any]
    constraints: dict[str, Constraint]
    resolution: Resolution

    @property
    def units(self) -> dict[str, str]:
        """Unit of each parameter, by name; "" of a plain number."""
        return {name: _UNITS[name] for name in self.start}

    def __call__(self, params: Params) -> Spectrum:
        """The spectrum of these parameters; differentiable in each, both modes."""
        return self.function(params)


def two_site_exchange(
    axis: Axis,
    experiment: Experiment,
    isotope: str,
    *,
    csa: bool = False,
    start: Params | None = None,
    resolution: Resolution | None = None,
) -> Model:
    r"""Jumps between two sites that differ in shift: isotropic, or with their anisotropies.

    Parameters: `delta` (2,), isotropic shifts; `k`, rate of the jump 0 -> 1, with the way back $k p/(1 - p)$; `p`,
    population of site 0; `linewidth`, of both. With `csa` also `zeta` (2,), `eta` (2,), and `beta`, the angle between
    the z axes of the two tensors, whose y axes are common.

    Args:
        axis: the measured one, `measured.axis`.
        experiment: `Static` or `MAS`.
        isotope: name.
        csa: whether the sites have anisotropies.
        start: replaces parts of the start.
        resolution: sizes of the calculation; by default chosen for the start.

    Returns:
        The model, with start and constraints.

    Raises:
        ValueError: an unknown isotope or parameter; as `simulate`.
    """
    begin = {
        "delta": _spread(axis, experiment, isotope, 2),
        "k": 1e3,
        "p": 0.5,
        "linewidth": _width(axis, experiment, isotope),
    }
    limits = {"k": LogRate(), "p": Interval(1e-3, 1 - 1e-3), "linewidth": Positive()}
    if csa:
        begin |= {"zeta": np.full(2, 50.0), "eta": np.full(2, 0.3), "beta": 1.0}
        limits |= {"eta": Unit(), "beta": Interval(0.0, np.pi)}

    def parts(p: Params) -> Parts:
        delta = jnp.asarray(p["delta"])
        shift = delta[:, None, None] * jnp.eye(3, dtype=delta.dtype)[None]
        if csa:
            angles = jnp.stack([jnp.zeros_like(delta[0]), jnp.asarray(p["beta"], delta.dtype)])
            shift = shift_tensor(delta, p["zeta"], p["eta"], (0.0, angles, 0.0))
        share = jnp.asarray(p["p"], delta.dtype)
        hops = ExchangeModel.from_rates({(0, 1): p["k"]}, populations=jnp.stack([share, 1 - share]))
        return Sites(isotope, shift), hops, p["linewidth"], 0.0

    return _model(parts, axis, experiment, begin, limits, start, resolution)


def n_site_jump(
    axis: Axis,
    experiment: Experiment,
    isotope: str,
    n: int = 3,
    *,
    start: Params | None = None,
    resolution: Resolution | None = None,
) -> Model:
    r"""An axial tensor that jumps between n places about an axis, as of a methyl group (n = 3).

    Parameters: `delta`, isotropic shift; `c_q` of a quadrupolar nucleus, or `zeta` of a spin 1/2; `tilt`, between the
    tensor's z axis and the axis of the motion; `k`, rate of one jump to either neighbour; `linewidth`.

    Other arguments, returns and errors as `two_site_exchange`.

    Args:
        axis: the measured one.
        experiment: `Static` or `MAS`.
        isotope: name.
        n: number of places, >= 2.
        start: replaces parts of the start.
        resolution: sizes of the calculation.
    """
    quadrupolar = nucleus_of(isotope).is_quadrupolar
    size = {"c_q": 150e3} if quadrupolar else {"zeta": 50.0}
    width = _width(axis, experiment, isotope)
    begin = {"delta": _spread(axis, experiment, isotope, 1)[0], **size, "tilt": 1.911, "k": 1e5, "linewidth": width}
    limits = {"c_q": Positive(), "tilt": Interval(0.0, np.pi / 2 + 0.5), "k": LogRate(), "linewidth": Positive()}

    def parts(p: Params) -> Parts:
        euler = (0.0, p["tilt"], 0.0)
        if quadrupolar:
            site = Sites(isotope, shift_tensor(p["delta"]), quadrupole_tensor(p["c_q"], 0.0, euler))
        else:
            site = Sites(isotope, shift_tensor(p["delta"], p["zeta"], 0.0, euler))
        sites, hops = jump_motion(_Z, n, p["k"])(site)
        return sites, hops, p["linewidth"], 0.0

    return _model(parts, axis, experiment, begin, limits, start, resolution)


def ring_flip(
    axis: Axis,
    experiment: Experiment,
    isotope: str = "2H",
    *,
    start: Params | None = None,
    resolution: Resolution | None = None,
) -> Model:
    r"""Half turns of a ring, as of a phenyl's deuterons.

    Parameters: `delta`, isotropic shift; `c_q`, axial and along the bond; `tilt`, between bond and axis of the flip, near
    $\pi/3$; `k`, rate of the flip; `linewidth`.

    Other arguments, returns and errors as `two_site_exchange`.

    Args:
        axis: the measured one.
        experiment: `Static`, with a `SolidEcho` as measured, or `MAS`.
        isotope: name.
        start: replaces parts of the start.
        resolution: sizes of the calculation.
    """
    width = _width(axis, experiment, isotope)
    begin = {"delta": 7.0, "c_q": 180e3, "tilt": np.pi / 3, "k": 1e5, "linewidth": width}
    limits = {"c_q": Positive(), "tilt": Interval(0.0, np.pi / 2), "k": LogRate(), "linewidth": Positive()}

    def parts(p: Params) -> Parts:
        bond = Sites(isotope, shift_tensor(p["delta"]), quadrupole_tensor(p["c_q"], 0.0, (0.0, p["tilt"], 0.0)))
        sites, hops = flip_motion(_Z, p["k"])(bond)
        return sites, hops, p["linewidth"], 0.0

    return _model(parts, axis, experiment, begin, limits, start, resolution)


def quadrupolar_sites(
    axis: Axis,
    experiment: Experiment,
    isotope: str,
    sites: int = 1,
    *,
    csa: bool = False,
    gaussian: ArrayLike = 0.0,
    start: Params | None = None,
    resolution: Resolution | None = None,
) -> Model:
    r"""Rigid sites with quadrupole coupling to second order, static or spinning; `experiment.transition` says which lines.

    Parameters, each (sites,): `delta`, isotropic shift; `c_q`; `eta_q`; and of more sites than one `weights`, their
    shares. `linewidth` is common. With `csa` also, each (sites,), `zeta`, `eta` and the Euler angles `alpha`, `beta`,
    `gamma` of the shift tensor in the quadrupole's principal frame. The sign of `c_q` shows in no spectrum without
    `csa`: it is held positive.

    Other arguments, returns and errors as `two_site_exchange`.

    Args:
        axis: the measured one.
        experiment: `Static` or `MAS`.
        isotope: name of a quadrupolar nucleus.
        sites: how many.
        csa: whether shifts are anisotropic.
        gaussian: FWHM, Hz, of a further broadening that is not fitted.
        start: replaces parts of the start.
        resolution: sizes of the calculation.
    """
    if not nucleus_of(isotope).is_quadrupolar:
        raise ValueError(f"isotope: {nucleus_of(isotope).name} has spin 1/2; give a quadrupolar nucleus, such as '17O'.")
    if sites < 1:
        raise ValueError(f"sites: got {sites}; give one or more.")
    begin: dict[str, Any] = {"delta": _spread(axis, experiment, isotope, sites)}
    begin |= {"c_q": np.linspace(1.0, 0.6, sites) * 3e6, "eta_q": np.full(sites, 0.4)}
    begin["linewidth"] = _width(axis, experiment, isotope)
    limits: dict[str, Constraint] = {"c_q": Positive(), "eta_q": Unit(), "linewidth": Positive()}
    if sites > 1:
        begin["weights"], limits["weights"] = np.full(sites, 1 / sites), Simplex()
    if csa:
        begin |= {"zeta": np.full(sites, 50.0), "eta": np.full(sites, 0.3)}
        begin |= {angle: np.full(sites, 0.5) for angle in ("alpha", "beta", "gamma")}
        limits["eta"] = Unit()

    def parts(p: Params) -> Parts:
        delta = jnp.asarray(p["delta"])
        shift = delta[:, None, None] * jnp.eye(3, dtype=delta.dtype)[None]
        if csa:
            shift = shift_tensor(delta, p["zeta"], p["eta"], (p["alpha"], p["beta"], p["gamma"]))
        coupling = quadrupole_tensor(p["c_q"], p["eta_q"])
        return Sites(isotope, shift, coupling, p.get("weights")), None, p["linewidth"], gaussian

    return _model(parts, axis, experiment, begin, limits, start, resolution)


def czjzek_glass(
    axis: Axis,
    experiment: Experiment,
    isotope: str,
    *,
    nodes: tuple[int, int] = (16, 12),
    start: Params | None = None,
    resolution: Resolution | None = None,
) -> Model:
    r"""A glass: Czjzek's distribution of couplings, a normal one of shifts, and their correlation.

    Parameters: `delta`, mean isotropic shift; `sigma`, of `jaxnmr.spins.czjzek`, Hz (the most probable $|C_Q|$ is
    near 2 sigma); `spread`, standard deviation of the shift, ppm; `correlated`, ppm, the part of the shift that
    follows the coupling (`fixed=("correlated",)` leaves it at 0); `linewidth`.

    Other arguments, returns and errors as `two_site_exchange`.

    Args:
        axis: the measured one.
        experiment: `Static` or `MAS`.
        isotope: name of a quadrupolar nucleus.
        nodes: of the quadrature, see `jaxnmr.spins.czjzek`.
        start: replaces parts of the start.
        resolution: sizes of the calculation.
    """
    begin = {"delta": _spread(axis, experiment, isotope, 1)[0], "sigma": 2e6, "spread": 5.0, "correlated": 0.0}
    begin["linewidth"] = 3 * _width(axis, experiment, isotope)
    limits = {"sigma": Positive(), "spread": Interval(0.0, np.inf), "linewidth": Positive()}

    def parts(p: Params) -> Parts:
        sites = czjzek(isotope, p["sigma"], p["delta"], correlated_shift=p["correlated"], nodes=nodes)
        return sites, None, p["linewidth"], shift_fwhm(isotope, p["spread"], experiment.field)

    return _model(parts, axis, experiment, begin, limits, start, resolution)


def _model(
    parts: Callable[[Params], Parts],
    axis: Axis,
    experiment: Experiment,
    begin: dict[str, Any],
    limits: dict[str, Constraint],
    start: Params | None,
    resolution: Resolution | None,
) -> Model:
    """Start and sizes settled."""
    for name, value in (start or {}).items():
        if name not in begin:
            raise ValueError(f"start: no parameter {name!r}{near(name, begin)}; the model has {', '.join(begin)}.")
        if np.shape(value) != np.shape(begin[name]):
            raise ValueError(f"start: {name} has shape {np.shape(value)}; the model's is {np.shape(begin[name])}.")
    begin = begin | {
        name: np.asarray(value, np.float64) if np.ndim(value) else value for name, value in (start or {}).items()
    }
    sites, hops, linewidth, gaussian = parts(begin)
    sizes = resolve(sites, experiment, axis, exchange=hops, linewidth=linewidth, gaussian=gaussian, resolution=resolution)

    def model(p: Params) -> Spectrum:
        sites, hops, linewidth, gaussian = parts(p)
        return simulate(sites, experiment, axis, exchange=hops, linewidth=linewidth, gaussian=gaussian, resolution=sizes)

    return Model(model, begin, {name: limit for name, limit in limits.items() if name in begin}, sizes)


def _ends(axis: Axis, experiment: Experiment, isotope: str) -> tuple[float, float, float]:
    """Of the axis in ppm, and Hz per ppm."""
    scale = 1e-6 * abs(float(nucleus_of(isotope).larmor_frequency(experiment.field)))
    first, last = (float(x) / (1.0 if axis.unit == "ppm" else scale) for x in np.asarray(axis.ends))
    return first, last, scale


def _spread(axis: Axis, experiment: Experiment, isotope: str, count: int) -> np.ndarray:
    """Shifts at equal distances within the axis."""
    first, last, _ = _ends(axis, experiment, isotope)
    return first + (last - first) * np.arange(1, count + 1) / (count + 1)


def _width(axis: Axis, experiment: Experiment, isotope: str) -> float:
    """A line that four points draw."""
    first, last, scale = _ends(axis, experiment, isotope)
    return 4 * abs(last - first) * scale / (axis.points - 1)
