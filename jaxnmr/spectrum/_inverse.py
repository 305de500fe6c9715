"""From a spectrum back to the decay whose transform it is."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from jaxnmr.errors import is_concrete
from jaxnmr.spectrum._fid import FID
from jaxnmr.spectrum._spectrum import Spectrum
from jaxnmr.spectrum.files import is_uniform

__all__ = ["decay_of"]


def decay_of(spectrum: Spectrum) -> FID:
    """See `Spectrum.fid`."""
    hz = spectrum.hz
    if is_concrete(hz) and not is_uniform(np.asarray(hz)):
        raise ValueError("hz: points are not equally spaced; interpolate the spectrum to a `jn.Axis` first.")
    points = len(hz)
    up = hz[-1] > hz[0]
    step = jnp.abs(hz[-1] - hz[0]) / (points - 1)
    imaginary = jnp.zeros_like(spectrum.intensity) if spectrum.imaginary is None else spectrum.imaginary
    values = jax.lax.complex(spectrum.intensity, imaginary.astype(spectrum.intensity.dtype))
    record = jnp.fft.ifft(jnp.fft.ifftshift(jnp.where(up, values, values[::-1])))
    # FID.spectrum gives every point the weight 2 dt, and the first dt.
    weight = np.full(points, 0.5)
    weight[0] = 1.0
    if spectrum.imaginary is None:
        weight *= 2
        weight[0] = 1.0
        weight[points // 2 + 1 :] = 0.0
        if points % 2 == 0:
            weight[points // 2] = 0.5
        else:
            weight[points // 2] = 1.0
    signal = record * (jnp.asarray(weight, hz.dtype) * (points * step)).astype(record.dtype)
    middle = points // 2
    return FID(
        signal,
        1 / (points * step),
        carrier=jnp.where(up, hz[middle], hz[points - 1 - middle]),
        larmor_frequency=spectrum.larmor_frequency,
        label=spectrum.label,
        isotope=spectrum.isotope,
        field=spectrum.field,
        rate=spectrum.rate,
    )
