"""The demonstration's physics: two oxygens of a bicarbonate-like group that trade places.

A proton that jumps across a hydrogen bond turns C-OH into C=O and back, so each oxygen alternates between
two shift tensors and two quadrupole couplings. As the rate grows the 17O spectrum passes two transitions:

- near the splitting of the two lines they coalesce, k = pi dnu / sqrt(2);
- near the Larmor frequency, k = omega_0 = 2 pi nu_0, the second-order quadrupole shift changes from the
  mean of the two sites' shifts (a mean of squares) to the shift of the mean coupling (a square of the mean).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

import jaxnmr as jn

ISOTOPE = "17O"
FIELDS = (14.1, 23.5)  # tesla
SPINNING = 20e3  # Hz
LINEWIDTH = 300.0  # Hz
WINDOW = (300.0, -100.0)  # ppm

# C-OH first, then C=O: values of the size that carboxylic acids and bicarbonates have.
DELTA_ISO = (110.0, 160.0)  # ppm
ZETA = (-80.0, -100.0)  # ppm
ETA = (0.5, 0.3)
C_Q = (7.4e6, 7.0e6)  # Hz
ETA_Q = (0.3, 0.4)
# The largest EFG component follows the C-O bond, and the bonds are a little under 120 degrees apart.
SHIFT_BETA = (90.0, 90.0)  # degrees: both shift tensors have zz across the plane of the group
SHIFT_GAMMA = (0.0, 60.0)
EFG_BETA = (0.0, 110.0)


@dataclass(frozen=True)
class Series:
    """The spectra of one field.

    Attributes:
        field: tesla.
        larmor_frequency: |nu_0|, Hz.
        rates: k of each direction, s^-1, (rate,).
        ppm: axis, (point,).
        hz: axis, (point,).
        intensity: density per Hz, (rate, point).
        coalescence: k = pi dnu / sqrt(2), s^-1.
        second_transition: k = omega_0, s^-1.
    """

    field: float
    larmor_frequency: float
    rates: np.ndarray
    ppm: np.ndarray
    hz: np.ndarray
    intensity: np.ndarray
    coalescence: float
    second_transition: float


def rates(quick: bool) -> np.ndarray:
    """The rates of the demonstration, s^-1: two a decade from 1e2 to 1e12, or one a decade."""
    return np.logspace(2.0, 12.0, 11 if quick else 21)


def oxygen_pair() -> jn.Sites:
    """C-OH and C=O of a bicarbonate-like group."""
    zero = jnp.zeros(2)
    return jn.Sites(
        ISOTOPE,
        shift=jn.shift_tensor(
            jnp.array(DELTA_ISO),
            jnp.array(ZETA),
            jnp.array(ETA),
            euler=(zero, jnp.radians(jnp.array(SHIFT_BETA)), jnp.radians(jnp.array(SHIFT_GAMMA))),
        ),
        quadrupole=jn.quadrupole_tensor(
            jnp.array(C_Q),
            jnp.array(ETA_Q),
            euler=(zero, jnp.radians(jnp.array(EFG_BETA)), zero),
        ),
    )


def spectrum_at(field: float, points: int) -> Callable[[Float[Array, ""]], jn.Spectrum]:
    """The MAS spectrum at one field as a function of the hopping rate k, s^-1."""
    sites = oxygen_pair()
    experiment = jn.MAS(field, SPINNING)
    axis = jn.Axis(ppm=WINDOW, points=points)

    def spectrum(k: Float[Array, ""]) -> jn.Spectrum:
        hops = jn.ExchangeModel.from_rates({(0, 1): k})
        return jn.simulate(sites, experiment, axis, exchange=hops, linewidth=LINEWIDTH)

    return spectrum


def compiled_spectrum(field: float, points: int) -> Callable[[Float[Array, ""]], jn.Spectrum]:
    """`spectrum_at`, compiled once for every k."""
    return jax.jit(spectrum_at(field, points)).lower(jnp.asarray(1.0)).compile()


def splitting(field: float) -> float:
    r"""Distance of the two lines' centres under MAS, Hz.

    Each line lies at its isotropic shift plus the isotropic second-order quadrupole shift of the central
    transition,

    $$\delta_Q = -\frac{3}{40}\,\frac{C_Q^2}{\nu_0^2}\,\Big(1 + \frac{\eta_Q^2}{3}\Big)
      \frac{I(I+1) - 3/4}{I^2 (2I-1)^2}$$

    References:
        Samoson, Chem. Phys. Lett. 119, 29 (1985).
    """
    oxygen = jn.isotope(ISOTOPE)
    spin, larmor = oxygen.spin, abs(float(oxygen.larmor_frequency(field)))
    factor = (spin * (spin + 1) - 0.75) / (spin**2 * (2 * spin - 1) ** 2)
    centres = [
        1e-6 * delta - 0.075 * (c_q / larmor) ** 2 * (1 + eta_q**2 / 3) * factor
        for delta, c_q, eta_q in zip(DELTA_ISO, C_Q, ETA_Q, strict=True)
    ]
    return larmor * abs(centres[1] - centres[0])


def series(
    field: float,
    hopping_rates: np.ndarray,
    spectrum: Callable[[Float[Array, ""]], jn.Spectrum],
    report: Callable[[], None],
) -> Series:
    """Runs one field through all rates.

    Args:
        field: tesla.
        hopping_rates: k of each direction, s^-1, (rate,).
        spectrum: what `compiled_spectrum` returned for this field.
        report: called after each spectrum.

    Returns:
        The spectra with the two transitions.
    """
    spectra = []
    for k in hopping_rates:
        spectra.append(jax.block_until_ready(spectrum(jnp.asarray(float(k)))))
        report()
    larmor = abs(float(jn.isotope(ISOTOPE).larmor_frequency(field)))
    return Series(
        field=field,
        larmor_frequency=larmor,
        rates=hopping_rates,
        ppm=np.asarray(spectra[0].ppm),
        hz=np.asarray(spectra[0].hz),
        intensity=np.stack([np.asarray(each.intensity) for each in spectra]),
        coalescence=math.pi * splitting(field) / math.sqrt(2.0),
        second_transition=2.0 * math.pi * larmor,
    )
