"""The weighted residual of a fit as a function of the inner variables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from jaxnmr.errors import is_concrete
from jaxnmr.fitting._data import Data, is_spectrum
from jaxnmr.fitting._linear import Coefficients, Linear, dispersion_of, project
from jaxnmr.fitting._space import Space
from jaxnmr.spectrum import Spectrum

__all__ = ["Evaluation", "Prior", "Problem"]


class Prior(eqx.Module):
    r"""What is known before: a Gaussian on any function of the parameters.

    It adds the residuals $(f(\theta) - \mu)/\sigma$, in units of the noise, to those of the spectra.

    Args:
        function: of the parameters, as the model takes them; a number or an array.
        mean: μ, finite.
        sigma: standard deviation, > 0.

    Raises:
        ValueError: sigma is not > 0, a mean that is not finite.
    """

    function: Callable[..., Any]
    mean: Any
    sigma: Any

    def __init__(self, function: Callable[..., Any], mean: Any, sigma: Any):
        dtype = jnp.result_type(float)
        self.function, self.mean, self.sigma = function, jnp.asarray(mean, dtype), jnp.asarray(sigma, dtype)

    def __check_init__(self):
        if eqx.is_array(self.mean) and is_concrete(self.mean) and not bool(jnp.isfinite(self.mean).all()):
            raise ValueError(f"mean: got {self.mean}; give finite numbers.")
        if eqx.is_array(self.sigma) and is_concrete(self.sigma) and not bool((self.sigma > 0).all()):
            raise ValueError(f"sigma: got {self.sigma}; a prior's standard deviation is > 0.")

    def rows(self, params: Any) -> Any:
        """The residuals, raveled."""
        value = jnp.asarray(self.function(params))
        shape = jnp.broadcast_shapes(value.shape, self.mean.shape, self.sigma.shape)
        value, mean, sigma = (jnp.broadcast_to(x.astype(self.mean.dtype), shape) for x in (value, self.mean, self.sigma))
        return jnp.ravel((value - mean) / sigma)


class Evaluation(eqx.Module):
    """What one evaluation of the model leaves beside the residual.

    Attributes:
        fits: each spectrum's best fit, in the units of the measured ones.
        coefficients: scale, phase, baseline.
        shift: (spectrum,), largest distance of the model's axis from the measured one, in points.
        larmor: (spectrum,), the model's Larmor frequency over the measured one.
        prior: sum of the squared residuals of the priors, in units of their sigma.
    """

    fits: tuple[Any, ...]
    coefficients: Coefficients
    shift: Any
    larmor: Any
    prior: Any


class Problem(eqx.Module):
    """Model, data and everything that stays the same during the search.

    `prior_weight` is the noise in units of the residuals: 1 where the noise is known.
    """

    model: Callable[..., Any]
    space: Space
    data: Data
    linear: Linear
    priors: tuple[Prior, ...]
    prior_weight: Any

    def __call__(self, y: Any) -> tuple[Any, Evaluation]:
        """Weighted residuals of all spectra and priors in one vector, and the rest."""
        params = self.space.params(y)
        spectra = self._checked(self.model(params))
        data = self.data
        models = [spectrum.intensity.astype(y.dtype) for spectrum in spectra]
        dispersions: list[Any] = [None] * len(models)
        if self.linear.phase:
            dispersions = [
                dispersion_of(m, s.ppm[-1] > s.ppm[0]) if s.imaginary is None else s.imaginary.astype(y.dtype)
                for m, s in zip(models, spectra, strict=True)
            ]
        fits, coefficients = project(self.linear, models, dispersions, data.intensity, data.weight)
        rows = [(d - f) * w for d, f, w in zip(data.intensity, fits, data.weight, strict=True)]
        known = [prior.rows(params).astype(y.dtype) for prior in self.priors]
        prior = sum((row @ row for row in known), jnp.zeros((), y.dtype))
        rows += [row * self.prior_weight for row in known]
        shift = jnp.stack([_shift(s.ppm.astype(y.dtype), ppm) for s, ppm in zip(spectra, data.ppm, strict=True)])
        larmor = jnp.stack([s.larmor_frequency.astype(y.dtype) / nu for s, nu in zip(spectra, data.larmor, strict=True)])
        return jnp.concatenate(rows), Evaluation(tuple(fits), coefficients, shift, larmor, prior)

    def _checked(self, made: Any) -> list[Spectrum]:
        leaves, treedef = jax.tree.flatten(made, is_leaf=is_spectrum)
        if treedef != self.data.treedef:
            raise ValueError(
                f"model: it returns {_structure(treedef, leaves)}, but `measured` is {_structure(self.data.treedef, None)}; "
                "return one Spectrum for each measured one, in the same structure."
            )
        for where, spectrum, data, isotope in zip(
            self.data.labels, leaves, self.data.intensity, self.data.isotopes, strict=True
        ):
            if not isinstance(spectrum, Spectrum):
                raise ValueError(
                    f"model: it returns {type(spectrum).__name__}{where}; return a jn.Spectrum, as jn.simulate does."
                )
            if spectrum.intensity.shape != data.shape:
                raise ValueError(
                    f"model: its spectrum{where} has {spectrum.intensity.shape[0]} points, the measured one "
                    f"{data.shape[0]}; simulate on `measured.axis`."
                )
            if None not in (spectrum.isotope, isotope) and spectrum.isotope != isotope:
                raise ValueError(f"model: its spectrum{where} is of {spectrum.isotope}, the measured one of {isotope}.")
        return leaves


def _shift(ppm: Any, measured: Any) -> Any:
    """In points; a window that lies elsewhere or runs the other way is off by many."""
    step = jnp.abs(measured[-1] - measured[0]) / (measured.shape[0] - 1)
    return jnp.max(jnp.abs(ppm - measured)) / step


def _structure(treedef: Any, leaves: list[Any] | None) -> str:
    if treedef == jax.tree.structure(0):
        return "one " + ("Spectrum" if leaves is None else type(leaves[0]).__name__)
    return str(treedef).removeprefix("PyTreeDef").replace("*", "Spectrum")
