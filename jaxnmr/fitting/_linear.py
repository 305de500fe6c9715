"""Scale, phase and baseline: what enters a spectrum linearly is solved exactly inside each evaluation."""

from __future__ import annotations

from typing import Any, Literal

import equinox as eqx
import jax.numpy as jnp
import numpy as np

__all__ = ["Coefficients", "Linear", "project"]


class Linear(eqx.Module):
    r"""What is fitted linearly beside the parameters (variable projection).

    With the columns $\mathbf B(\theta)$ = (model, its dispersion, polynomials) the coefficients are
    $\mathbf c(\theta) = \mathbf B^+\mathbf y$ and the search sees the residual $\mathbf y - \mathbf B\mathbf c$, whose
    derivative runs through the small solve.

    Args:
        scale: "each": one intensity for each spectrum; "shared": one for all spectra of a series, whose relative
            intensities then count; None: the model's own.
        offset: a constant below each spectrum.
        baseline: degree of a polynomial below each spectrum, offset included; 0 is none beside the offset.
        phase: a zero-order phase for each spectrum. The dispersion is the model's `imaginary`, or else the Hilbert
            transform of its intensity, right where the line ends within the axis.

    Raises:
        ValueError: another scale, a degree outside 0..20, a phase without a scale of its own.

    References:
        Golub and Pereyra, SIAM J. Numer. Anal. 10, 413 (1973).
    """

    scale: Literal["each", "shared"] | None = eqx.field(static=True, default="each")
    offset: bool = eqx.field(static=True, default=False)
    baseline: int = eqx.field(static=True, default=0)
    phase: bool = eqx.field(static=True, default=False)

    def __check_init__(self):
        if self.scale not in ("each", "shared", None):
            raise ValueError(f"scale: got {self.scale!r}; give 'each', 'shared' or None.")
        if not 0 <= self.baseline <= 20:
            raise ValueError(f"baseline: got {self.baseline}; give the polynomial's degree, 0 to 20.")
        if self.phase and self.scale != "each":
            raise ValueError(f"phase: fitted with scale={self.scale!r}; a phase needs scale='each'.")

    @property
    def terms(self) -> int:
        """Polynomials for each spectrum."""
        return self.baseline + 1 if self.offset or self.baseline else 0

    def count(self, spectra: int) -> int:
        """Number of coefficients altogether."""
        scales = {"each": spectra, "shared": 1, None: 0}[self.scale]
        return scales + spectra * (self.terms + self.phase)


class Coefficients(eqx.Module):
    """The linear part of a fit.

    Attributes:
        scale: (spectrum,), what the model is multiplied by.
        phase: (spectrum,), radians: measured = scale (cos φ absorption + sin φ dispersion).
        baseline: (spectrum, term), of the Chebyshev polynomials on the axis mapped to -1 ... 1, first point to last.
    """

    scale: Any
    phase: Any
    baseline: Any


def project(
    linear: Linear, models: list[Any], dispersions: list[Any], measured: tuple[Any, ...], weights: tuple[Any, ...]
) -> tuple[list[Any], Coefficients]:
    """The best fit of each spectrum, and its coefficients.

    Args:
        linear: which columns.
        models: intensities of the model.
        dispersions: their dispersions, or None each.
        measured: intensities.
        weights: square roots of the weights.
    """
    fits, scales, phases, baselines = [], [], [], []
    shared = _shared_scale(linear, models, measured, weights) if linear.scale == "shared" else None
    for model, dispersion, data, weight in zip(models, dispersions, measured, weights, strict=True):
        given = model if linear.scale is None else None if shared is None else shared * model
        columns = [model] if given is None else []
        columns += [dispersion] if linear.phase else []
        columns += list(_polynomials(linear.terms, model))
        target = data if given is None else data - given
        if columns:
            basis = jnp.stack(columns)
            c = _solve(basis * weight[None, :], target * weight)
            fit = c @ basis
        else:
            c, fit = jnp.zeros((0,), model.dtype), jnp.zeros_like(model)
        one = jnp.ones((), model.dtype)
        amplitude = c[0] if given is None else one if shared is None else shared
        phase = jnp.zeros_like(one)
        if linear.phase:
            amplitude, phase = jnp.hypot(c[0], c[1]), jnp.arctan2(c[1], c[0])
        scales.append(amplitude)
        phases.append(phase)
        baselines.append(c[len(c) - linear.terms :])
        fits.append(fit if given is None else fit + given)
    return fits, Coefficients(jnp.stack(scales), jnp.stack(phases), jnp.stack(baselines))


def _shared_scale(linear: Linear, models: list[Any], measured: tuple[Any, ...], weights: tuple[Any, ...]) -> Any:
    """One scale for all, after each spectrum's baseline is taken from both sides."""
    over = under = jnp.zeros((), models[0].dtype)
    for model, data, weight in zip(models, measured, weights, strict=True):
        left, right = model * weight, data * weight
        if linear.terms:
            basis = jnp.stack(list(_polynomials(linear.terms, model))) * weight[None, :]
            left, right = left - _solve(basis, left) @ basis, right - _solve(basis, right) @ basis
        over, under = over + left @ right, under + left @ left
    return over / jnp.where(under > 0, under, jnp.ones_like(under))


def _solve(basis: Any, target: Any) -> Any:
    """Least squares by normal equations of unit columns; a faint ridge keeps a column that vanishes harmless."""
    size = jnp.sqrt(jnp.sum(basis**2, axis=1))
    # A line that has left the axis leaves an empty column, and sqrt has no derivative there.
    empty = size <= 0
    norm = jnp.sqrt(jnp.where(empty, 1.0, jnp.sum(basis**2, axis=1)))
    unit = basis / norm[:, None]
    ridge = 10 * jnp.finfo(basis.dtype).eps * jnp.eye(len(basis), dtype=basis.dtype)
    return jnp.linalg.solve(unit @ unit.T + ridge, unit @ target) / norm


def _polynomials(terms: int, like: Any) -> tuple[Any, ...]:
    """Chebyshev polynomials on the points, -1 at the first and 1 at the last."""
    x = np.linspace(-1.0, 1.0, like.shape[0])
    return tuple(jnp.asarray(np.cos(n * np.arccos(x)), like.dtype) for n in range(terms))


def dispersion_of(intensity: Any, ascending: Any) -> Any:
    """Hilbert transform along the axis, zero outside it: the dispersion that belongs to an absorption."""
    points = intensity.shape[0]
    padded = 1 << (2 * points - 1).bit_length()
    signal = jnp.fft.fft(intensity, padded)
    # Positive "times" only, as a free-induction decay has.
    sign = np.zeros(padded)
    sign[1 : padded // 2], sign[padded // 2 + 1 :] = 1.0, -1.0
    turned = jnp.fft.ifft(signal * jnp.asarray(-1j * sign, signal.dtype))[:points].real.astype(intensity.dtype)
    return jnp.where(ascending, -turned, turned)
