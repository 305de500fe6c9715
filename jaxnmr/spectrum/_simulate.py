"""The front desk of the solvers: from sites and an experiment to a spectrum."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import ArrayLike

from jaxnmr.errors import is_concrete, kept
from jaxnmr.exchange import ExchangeModel, exchange_populations
from jaxnmr.spectrum._assemble import Decay, Experiment, Problem, decay_of, spectrum_of
from jaxnmr.spectrum._axis import Axis
from jaxnmr.spectrum._echoes import check_spin
from jaxnmr.spectrum._experiments import MAS, Static
from jaxnmr.spectrum._resolution import Resolution
from jaxnmr.spectrum._sizes import sizes_of
from jaxnmr.spectrum._spectrum import Spectrum
from jaxnmr.spins import Sites, transitions

__all__ = ["Convergence", "convergence", "decay", "resolve", "simulate"]


class Convergence(NamedTuple):
    """Relative L2 change of a spectrum when one size is refined, and with it the resolution examined."""

    orientations: float
    phases: float
    samples: float
    resolution: Resolution


def simulate(
    sites: Sites,
    experiment: Experiment,
    axis: Axis,
    *,
    exchange: ExchangeModel | None = None,
    linewidth: ArrayLike | Sequence[float],
    gaussian: ArrayLike = 0.0,
    resolution: Resolution | None = None,
) -> Spectrum:
    r"""The spectrum of a powder whose nuclei sit in, or jump between, sites.

    $$S(\nu) = 2\,\mathrm{Re}\int_0^\infty dt\;e^{-2\pi i\nu t}\,\Big\langle \mathbf 1^\top\,\mathrm T\exp\Big[\int_0^t
      \big(\mathbf K + 2\pi i\,\mathrm{diag}\,\boldsymbol\nu(t') - \pi\,\mathrm{diag}\,\boldsymbol\Delta +
      \mathbf M(t')\big)dt'\Big]\mathbf p\Big\rangle$$

    with M the second-order quadrupolar term of moving sites (`jaxnmr.spins.coupling_irreps`), right for any k against the
    Larmor frequency. Differentiable in every array of every argument, forward and reverse, k = 0 included.

    With `echo` in the experiment the record starts at the top of an ideal echo (`SolidEcho`, `HahnEcho`), before which the
    sites jump too; `linewidth` acts from the top on.

    Dipolar coupling, other pulses and relaxation other than by the jumps are not simulated.

    Args:
        sites: tensors in one crystal frame.
        experiment: `Static(field)` or `MAS(field, rate)`.
        axis: where to evaluate; a window smaller than the line does not fold.
        exchange: jumps among the sites; without it each site is its own line.
        linewidth: Lorentzian FWHM, Hz, one for all sites or one each (inside the generator).
        gaussian: Gaussian FWHM, Hz.
        resolution: static sizes. None picks them from axis, experiment and concrete values, for a relative L2 error of
            about 1e-3 where the widest pattern is below 100 linewidths; see `convergence`. Where values are traced (under
            `jit`, `grad` of the tensors) the line's extent is unknown: sizes then come from axis, rate and whatever is
            concrete, taking the line to lie within the axis. Sizes do not depend on exchange rates.

    Returns:
        Density per Hz at the points of the axis; its integral over all frequencies is one, or what jumps leave of an echo.

    Raises:
        ValueError: arguments that do not fit each other; each message names the argument and a remedy.

    Warns:
        PerturbationWarning: nu_Q / nu_0 > 0.1. AxisWarning: the axis misses the line. ResolutionWarning: the resolution
            or the axis is too coarse for the linewidth.
    """
    problem = _stated(sites, experiment, axis, exchange, linewidth, gaussian)
    return spectrum_of(problem, sizes_of(problem, resolution))


def decay(
    sites: Sites,
    experiment: Experiment,
    axis: Axis,
    *,
    exchange: ExchangeModel | None = None,
    linewidth: ArrayLike | Sequence[float] = 0.0,
    resolution: Resolution | None = None,
) -> Decay:
    """The free-induction decay behind `simulate`, before the Gaussian and any linewidth common to all sites.

    Arguments as `simulate`; a single `linewidth` only helps to choose the record's length and may be zero where
    `resolution.samples` is given.

    Raises:
        ValueError: as `simulate`.
    """
    allow_zero = resolution is not None and bool(resolution.samples)
    problem = _stated(sites, experiment, axis, exchange, linewidth, 0.0, allow_zero)
    return decay_of(problem, sizes_of(problem, resolution))


def resolve(
    sites: Sites,
    experiment: Experiment,
    axis: Axis,
    *,
    exchange: ExchangeModel | None = None,
    linewidth: ArrayLike | Sequence[float],
    gaussian: ArrayLike = 0.0,
    resolution: Resolution | None = None,
) -> Resolution:
    """The sizes that `simulate` would use; warns where the given ones, or the axis, are too coarse.

    Arguments as `simulate`.
    """
    return sizes_of(_stated(sites, experiment, axis, exchange, linewidth, gaussian, allow_zero=True), resolution)


def convergence(
    sites: Sites,
    experiment: Experiment,
    axis: Axis,
    *,
    exchange: ExchangeModel | None = None,
    linewidth: ArrayLike | Sequence[float],
    gaussian: ArrayLike = 0.0,
    resolution: Resolution | None = None,
) -> Convergence:
    """Measure the error of a resolution: refine one size at a time and compare spectra.

    Orientations are quadrupled; phases doubled, and with them the steps of a rotor period; samples doubled. Arguments as
    `simulate`, with concrete values.

    Returns:
        Relative L2 changes over the axis; phases is 0 where there are none.
    """
    problem = _stated(sites, experiment, axis, exchange, linewidth, gaussian)
    base = sizes_of(problem, resolution)
    assert base.orientations is not None and base.samples is not None

    def run(resolution: Resolution) -> np.ndarray:
        return np.asarray(spectrum_of(problem, resolution).intensity, dtype=np.float64)

    start = run(base)

    def change(**sizes: int) -> float:
        finer = run(dataclasses.replace(base, **sizes))
        return float(np.linalg.norm(finer - start) / np.linalg.norm(finer))

    phases = 0.0
    if base.phases is not None:
        phases = change(phases=2 * base.phases, samples=2 * base.samples)
    return Convergence(
        orientations=change(orientations=4 * base.orientations),
        phases=phases,
        samples=change(samples=2 * base.samples),
        resolution=base,
    )


def _stated(
    sites: Sites,
    experiment: Experiment,
    axis: Axis,
    exchange: ExchangeModel | None,
    linewidth: ArrayLike | Sequence[float],
    gaussian: ArrayLike,
    allow_zero: bool = False,
) -> Problem:
    """The arguments, checked, as one problem."""
    _check(sites, experiment, axis, exchange)
    return Problem(sites, experiment, axis, exchange, *_widths(sites, linewidth, gaussian, allow_zero))


def _widths(
    sites: Sites, linewidth: ArrayLike | Sequence[float], gaussian: ArrayLike, allow_zero: bool = False
) -> tuple[Any, Any]:
    dtype = sites.shift.dtype
    width, spread = kept(linewidth, dtype), kept(gaussian, dtype)
    if width.ndim and width.shape != (len(sites),):
        raise ValueError(f"linewidth: got shape {width.shape}; give one number or one per site, ({len(sites)},).")
    if spread.ndim:
        raise ValueError(f"gaussian: got shape {spread.shape}; give one number.")
    for name, value in (("linewidth", width), ("gaussian", spread)):
        if is_concrete(value) and not (np.isfinite(value).all() and (np.asarray(value) >= 0).all()):
            raise ValueError(f"{name}: got {np.asarray(value).tolist()} Hz; a full width is finite and >= 0.")
    if not allow_zero and is_concrete(width, spread):
        narrowest = float(np.min(np.asarray(width))) + float(np.asarray(spread))
        if narrowest == 0:
            raise ValueError("linewidth: got 0 Hz with gaussian 0; a sampled spectrum needs some width, such as 50 Hz.")
    return width, spread


def _check(sites: Sites, experiment: Experiment, axis: Axis, exchange: ExchangeModel | None) -> None:
    for name, value, kinds in (
        ("sites", sites, Sites),
        ("experiment", experiment, (Static, MAS)),
        ("axis", axis, Axis),
        ("exchange", exchange, (ExchangeModel, type(None))),
    ):
        if not isinstance(value, kinds):
            wanted = " or ".join(k.__name__ for k in (kinds if isinstance(kinds, tuple) else (kinds,)))
            raise ValueError(f"{name}: got {type(value).__name__}; give {wanted}.")
    transitions(sites.nucleus, experiment.transition)
    check_spin(experiment.echo, sites.nucleus)
    if exchange is not None:
        exchange_populations(sites, exchange)
