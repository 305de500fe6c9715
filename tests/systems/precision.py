"""Lines in the working precision; run as a program it writes them, in float32, to the file named."""

import sys

import jax
import jax.numpy as jnp
import numpy as np

import jaxnmr as jn
from tests.reference import brute
from tests.systems import given

RATES = (1e2, 1e4, 1e6, 1e8, 1e10, 1e12)


def lines() -> dict[str, np.ndarray]:
    """README's oxygen pair and a 13C pair, static and spinning, slow to fast."""
    zero, tilt = jnp.zeros(2), jnp.array([0.0, 1.9])
    oxygen = jn.Sites(
        "17O",
        jn.shift_tensor(jnp.array([110.0, 160.0]), -90.0, 0.4, (zero, tilt, zero)),
        jn.quadrupole_tensor(7.2e6, 0.3, (zero, tilt, zero)),
    )
    carbon = jn.Sites("13C", jn.shift_tensor(jnp.array([120.0, 130.0]), 80.0, 0.2, (zero, tilt, zero)))
    cases = {
        "17O MAS": (oxygen, jn.MAS(14.1, 20e3), jn.Axis(ppm=(300.0, -100.0), points=512), 300.0),
        "17O static": (oxygen, jn.Static(14.1), jn.Axis(ppm=(500.0, -400.0), points=512), 1000.0),
        "13C MAS": (carbon, jn.MAS(9.4, 5e3), jn.Axis(ppm=(300.0, -50.0), points=512), 100.0),
        "13C static": (carbon, jn.Static(9.4), jn.Axis(ppm=(300.0, -50.0), points=512), 200.0),
    }
    out = {}
    for name, (sites, experiment, axis, width) in cases.items():

        @jax.jit
        def line(k, sites=sites, experiment=experiment, axis=axis, width=width):
            model = jn.ExchangeModel.from_rates({(0, 1): k})
            spinning = isinstance(experiment, jn.MAS)
            resolution = jn.Resolution(200, 24 if spinning else None, 24 * 64 if spinning else 1024)
            return jn.simulate(sites, experiment, axis, exchange=model, linewidth=width, resolution=resolution).intensity

        for k in RATES:
            out[f"{name}, k = {k:g}"] = np.asarray(line(k))
        rest = jn.simulate(sites, experiment, axis, linewidth=width)
        out[f"{name}, at rest"] = np.asarray(rest.intensity)
    # Area and first moment of a linear interaction, about the middle of a wide window.
    exact = given(*brute.sphere(4, 9))
    larmor = float(jn.isotope("13C").larmor_frequency(9.4))
    mean = 100e-6 * larmor
    pair = jn.Sites("13C", jn.shift_tensor(jnp.array([98.0, 102.0]), 1.5, 0.2, (zero, tilt, zero)))
    axis = jn.Axis(hz=(mean - 4e4, mean + 4e4), points=401)
    for k in (0.0, 1e2, 1e8, 1e10):
        line = jn.simulate(
            pair,
            jn.Static(9.4),
            axis,
            exchange=jn.ExchangeModel.from_rates({(0, 1): k}),
            linewidth=0.0,
            gaussian=1000.0,
            resolution=jn.Resolution(36, samples=512, grid=exact),
        )
        density = np.asarray(line.intensity, dtype=np.float64)
        offset = np.linspace(-4e4, 4e4, 401)
        # At these rates nothing lies outside the Gaussian; far points would only add rounding.
        density = np.where(np.abs(offset) < 5e3, density, 0.0)
        out[f"moments, k = {k:g}"] = np.array([density.sum() * 200, 1 + density @ offset * 200 / mean])
    return out


if __name__ == "__main__":
    np.savez(sys.argv[1], **lines())
