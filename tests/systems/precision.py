"""Lines in the working precision; run as a program it writes them, in float32, to the files named."""

import sys

import jax
import jax.numpy as jnp
import numpy as np

import jaxnmr as jn
from tests.reference import brute
from tests.systems import given

RATES = (1e2, 1e4, 1e6, 1e8, 1e10, 1e12)
REACH = 2e5  # Hz
STATIC_SAMPLES = 1960  # half of it is no round part of the transform


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
        spinning = isinstance(experiment, jn.MAS)
        resolution = jn.Resolution(64, 24 if spinning else None, 24 * 64 if spinning else 1024)
        how = {"linewidth": width, "resolution": resolution}

        @jax.jit
        def line(k, sites=sites, experiment=experiment, axis=axis, how=how):
            model = jn.ExchangeModel.from_rates({(0, 1): k})
            return jn.simulate(sites, experiment, axis, exchange=model, **how).intensity

        for k in RATES:
            out[f"{name}, k = {k:g}"] = np.asarray(line(k))
        rest = jn.simulate(sites, experiment, axis, linewidth=width)
        out[f"{name}, at rest"] = np.asarray(rest.intensity)
    return out


def moments() -> dict[str, np.ndarray]:
    """Area, and first moment in units of its value, of a linear interaction at every rate: one and one.

    Two 13C sites with shift anisotropy, 2 kHz apart, populations 0.7 and 0.3. The line is summed over a window of 400 kHz,
    of which its own wings leave 2e-6 outside at worst (k = 1e6); the moment is taken about the middle of the window.
    """
    larmor = float(jn.isotope("13C").larmor_frequency(9.4))
    iso, populations = np.array([90.0, 110.0]), np.array([0.7, 0.3])
    sites = jn.Sites("13C", jn.shift_tensor(iso, 8.0, np.array([0.2, 0.9]), (0.0, np.array([0.0, 1.2]), 0.0)))
    middle, mean = 1e-4 * larmor, float(populations @ iso) * 1e-6 * larmor
    axis = jn.Axis(hz=(middle - REACH, middle + REACH), points=801)
    offset, step = np.linspace(-REACH, REACH, 801, retstep=True)
    grid = given(*brute.sphere(4, 9))  # ranks 2 and 4 average out exactly
    experiments = {
        "static": (jn.Static(9.4), jn.Resolution(36, None, STATIC_SAMPLES, grid=grid)),
        "MAS": (jn.MAS(9.4, 20e3), jn.Resolution(36, 24, 24 * 70, grid=grid)),
    }
    out = {}
    for name, (experiment, resolution) in experiments.items():
        for k in (0.0, 1.0, 1e2, 1e4, 1e6, 1e8, 1e10):
            line = jn.simulate(
                sites,
                experiment,
                axis,
                exchange=jn.ExchangeModel.from_rates({(0, 1): k}, populations=populations),
                linewidth=0.0,
                gaussian=1000.0,  # sums over points 500 Hz apart are integrals to 1e-6
                resolution=resolution,
            )
            density = np.asarray(line.intensity, dtype=np.float64)
            area = density.sum() * step
            moment = density @ offset * step + middle * area
            out[f"{name}, k = {k:g}"] = np.array([area, moment / mean])
    return out


if __name__ == "__main__":
    np.savez(sys.argv[1], **lines())
    np.savez(sys.argv[2], **moments())
