"""Two sites that exchange, without anisotropy: the line in closed form, cheap to compile."""

import jax
import jax.numpy as jnp
import numpy as np

import jaxnmr as jn

LARMOR = 100e6  # Hz
POINTS = 128
PPM = np.linspace(40.0, -40.0, POINTS)


def doublet(params):
    """McConnell's line of two sites, area one; `p` and `k` of the first site, `lw` the width, shifts in ppm."""
    nu = jnp.asarray(PPM * LARMOR * 1e-6)
    d1, d2, k, lw = (params[name] for name in ("d1", "d2", "k", "lw"))
    p = params.get("p", 0.5)
    p, k, lw = (jnp.broadcast_to(jnp.asarray(x, nu.dtype), nu.shape) for x in (p, k, lw))
    back = k * p / (1 - p)
    first = jax.lax.complex(jnp.pi * lw + k, 2 * jnp.pi * (nu - d1 * (LARMOR * 1e-6)))
    second = jax.lax.complex(jnp.pi * lw + back, 2 * jnp.pi * (nu - d2 * (LARMOR * 1e-6)))
    zero = jnp.zeros_like(nu)
    over = (second + jax.lax.complex(k, zero)) * jax.lax.complex(p, zero)
    over = over + (first + jax.lax.complex(back, zero)) * jax.lax.complex(1 - p, zero)
    line = 2 * over / (first * second - jax.lax.complex(k * back, zero))
    return jn.Spectrum(PPM, nu, line.real, isotope="13C")


TRUTH = {"d1": -10.0, "d2": 12.0, "k": 1500.0, "lw": 300.0}
START = {"d1": -14.0, "d2": 15.0, "k": 400.0, "lw": 500.0}


def clean(**changes):
    """The spectrum of TRUTH, changed, as measured data: intensities only, maximum about one."""
    line = doublet({name: jnp.asarray(value) for name, value in {**TRUTH, **changes}.items()})
    return measured(1e3 * np.asarray(line.intensity))


def measured(intensity):
    """Intensities as a measured spectrum on this axis."""
    return jn.Spectrum(PPM, PPM * LARMOR * 1e-6, intensity, isotope="13C")


def noisy(spectrum, sigma, seed):
    """Independent noise added."""
    noise = np.random.default_rng(seed).normal(size=POINTS)
    return measured(np.asarray(spectrum.intensity) + sigma * noise)
