"""A measured or simulated free-induction decay."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Complex, Float

from jaxnmr.spectrum._metadata import check_label, checked_scalar, isotope_name
from jaxnmr.spectrum.files import Told

if TYPE_CHECKING:
    from jaxnmr.spectrum._spectrum import Spectrum

__all__ = ["FID"]


class FID(eqx.Module):
    r"""A free-induction decay, sampled at equal intervals.

    A line at ν precesses as $e^{2\pi i(\nu - \mathrm{carrier})t}$.

    Attributes:
        signal: complex, in the file's units, (times,).
        dt: s between points.
        carrier: Hz from the reference.
        larmor_frequency: $|\nu_0|$ of the reference, Hz.
        start: time of the first point, s. A digital filter shows the decay late: then it is minus the group delay, and
            the points before t = 0 hold the filter's rise.
        label: what it is.
        isotope: name of the observed nucleus, or None.
        field: tesla, or None.
        rate: rotor frequency, Hz, or None.

    Raises:
        ValueError: a real or two-dimensional signal, fewer than two points, dt or larmor_frequency not > 0, metadata
            as in `Spectrum`.
    """

    signal: Complex[Array, " times"]
    dt: Any
    carrier: Any
    larmor_frequency: Any
    start: Any
    label: str = eqx.field(static=True)
    isotope: str | None = eqx.field(static=True)
    field: Any
    rate: Any

    def __init__(
        self,
        signal: ArrayLike,
        dt: ArrayLike,
        *,
        carrier: ArrayLike = 0.0,
        larmor_frequency: ArrayLike,
        start: ArrayLike = 0.0,
        label: str = "",
        isotope: str | None = None,
        field: ArrayLike | None = None,
        rate: ArrayLike | None = None,
    ):
        array = jnp.asarray(signal)
        if not jnp.issubdtype(array.dtype, jnp.complexfloating):
            raise ValueError("signal: got real numbers; a decay in quadrature is complex.")
        if array.ndim != 1 or len(array) < 2:
            raise ValueError(f"signal: got shape {array.shape}; give one decay of at least two points, (times,).")
        self.signal = array
        self.dt = checked_scalar("dt", dt)
        self.carrier = checked_scalar("carrier", carrier)
        self.larmor_frequency = checked_scalar("larmor_frequency", larmor_frequency)
        self.start = checked_scalar("start", start)
        self.label = label
        self.isotope = isotope_name(isotope)
        self.field = checked_scalar("field", field)
        self.rate = checked_scalar("rate", rate)

    def __check_init__(self):
        check_label(self.label)

    @property
    def times(self) -> Float[Array, " times"]:
        """Of the points, s."""
        dtype = self.signal.real.dtype
        count = jnp.arange(len(self.signal), dtype=dtype)
        return self.start.astype(dtype) + self.dt.astype(dtype) * count

    def spectrum(self, points: int | None = None) -> Spectrum:
        r"""Fourier transform, without apodisation.

        $$S(\nu) + i S'(\nu) = 2\,dt\sum_n w_n\,s_n\,e^{-2\pi i(\nu - \mathrm{carrier})t_n}$$

        with $w_0 = 1/2$ where the record starts at t = 0, half way up the decay's step (a digital filter's rise has that
        step already), $1/2 + t_0/dt$ where it starts within dt after zero, and 1 elsewhere. So the integral over the
        band is the signal at t = 0. Differentiable.

        Args:
            points: of the spectrum, more than those of the decay for zero filling; as many by default.

        Returns:
            Absorption and dispersion over the band 1/dt, ppm descending.

        Raises:
            ValueError: fewer points than the decay has.
        """
        from jaxnmr.spectrum._spectrum import Spectrum

        count = len(self.signal)
        points = count if points is None else int(points)
        if points < count:
            raise ValueError(f"points: got {points} for a decay of {count} points; give {count} or more.")
        real = self.signal.real.dtype
        dt, start = self.dt.astype(real), self.start.astype(real)
        late = start / dt
        # A first point that stands a part of dt after zero also stands for that part.
        first = jnp.where(late < 0, 1.0, 0.5 + jnp.where(late < 1, late, 0.0)).astype(real)
        weight = jnp.ones(count, real).at[0].set(first) * (2 * dt)
        signal = jnp.pad(self.signal * weight.astype(self.signal.dtype), (0, points - count))
        values = jnp.fft.fftshift(jnp.fft.fft(signal))
        # In cycles over the band, so that nothing large meets in float32.
        fraction = jnp.asarray(np.fft.fftshift(np.fft.fftfreq(points)), real)
        turn = -2 * jnp.pi * fraction * (start / dt)
        values = (values * jax.lax.complex(jnp.cos(turn), jnp.sin(turn)))[::-1]
        hz = (fraction / dt + self.carrier.astype(real))[::-1]
        ppm = hz / (1e-6 * self.larmor_frequency.astype(real))
        return Spectrum(
            ppm,
            hz,
            values.real,
            self.label,
            imaginary=values.imag,
            isotope=self.isotope,
            field=self.field,
            rate=self.rate,
        )

    def save(self, path: str | Path) -> None:
        """Write SIMPSON's text format; written aside and renamed, an existing file replaced.

        Args:
            path: a name that ends in .fid.

        Raises:
            ValueError: another suffix, or a record that does not start at t = 0.
        """
        from jaxnmr.spectrum._saving import save_fid

        save_fid(self, Path(path))

    @classmethod
    def load(cls, path: str | Path) -> FID:
        """Read what `save` wrote.

        Raises:
            FileNotFoundError: no such file.
            ValueError: not such a file, or cut short; see `read` for files of other programs.
        """
        from jaxnmr.spectrum._saving import load_fid

        return load_fid(Path(path))

    @classmethod
    def read(
        cls,
        path: str | Path,
        format: str | None = None,
        *,
        isotope: str | None = None,
        field: float | None = None,
        rate: float | None = None,
        larmor_frequency: float | None = None,
        zero: float | None = None,
        label: str | None = None,
    ) -> FID:
        """Read raw Bruker data (the experiment's folder, or its file fid) or SIMPSON's .fid.

        Arguments, errors and conventions are those of `Spectrum.read`; a folder gives its raw data. Bruker's integers
        are scaled by 2**NC, and the group delay of the digital filter becomes `start`.

        Returns:
            The decay.
        """
        from jaxnmr.spectrum._saving import read_fid

        return read_fid(Path(path), format, Told(isotope, field, rate, larmor_frequency, zero, label))
