"""A spectrum, simulated or measured."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from jaxnmr.errors import is_concrete
from jaxnmr.spectrum._axis import Axis
from jaxnmr.spectrum._metadata import check_label, checked_scalar, isotope_name
from jaxnmr.spectrum.files import Told, is_uniform

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from jaxnmr.spectrum._fid import FID

__all__ = ["Spectrum"]

# Columns of a file are rounded one by one; an axis from another reference is off by far more.
_PROPORTIONAL = 1e-4


class Spectrum(eqx.Module):
    r"""Spectral density at the points of an axis, with what is known of the experiment.

    A simulated spectrum is a density per Hz whose integral over all frequencies is one. A measured one keeps the
    units of its file: nothing is normalised.

    Attributes:
        ppm: chemical shift from the reference.
        hz: the same, $\mathrm{hz} = 10^{-6}\,|\nu_0|\,\mathrm{ppm}$.
        intensity: the absorption.
        label: what it is, for plots and files.
        imaginary: the dispersion, where it is known (measured data, free-induction decays).
        isotope: name of the observed nucleus, "17O", or None.
        field: tesla, or None.
        rate: rotor frequency, Hz; 0 for a rotor at rest, `inf` for the limit without sidebands; or None.

    Raises:
        ValueError: axes and intensities of different lengths, complex intensities, an axis that is not sorted or repeats
            a point, hz that is not a positive multiple of ppm, an unknown isotope, a field that is not > 0, a rate < 0, a
            label of several lines.
    """

    ppm: Float[Array, " points"]
    hz: Float[Array, " points"]
    intensity: Float[Array, " points"]
    label: str = eqx.field(static=True)
    imaginary: Float[Array, " points"] | None
    isotope: str | None = eqx.field(static=True)
    # A single number each, traced where the experiment's is.
    field: Any
    rate: Any

    def __init__(
        self,
        ppm: ArrayLike,
        hz: ArrayLike,
        intensity: ArrayLike,
        label: str = "",
        *,
        imaginary: ArrayLike | None = None,
        isotope: str | None = None,
        field: ArrayLike | None = None,
        rate: ArrayLike | None = None,
    ):
        self.ppm, self.hz, self.intensity = _real("ppm", ppm), _real("hz", hz), _real("intensity", intensity)
        self.label = label
        self.imaginary = None if imaginary is None else _real("imaginary", imaginary)
        for name in ("ppm", "hz", "imaginary"):
            column = getattr(self, name)
            if column is not None and (column.ndim != 1 or column.shape != self.intensity.shape):
                raise ValueError(
                    f"{name}: got shape {column.shape} beside intensities of shape {self.intensity.shape}; give one "
                    "number per point, (points,), and vmap over several spectra."
                )
        self.isotope = isotope_name(isotope)
        self.field = checked_scalar("field", field)
        self.rate = checked_scalar("rate", rate)

    def __check_init__(self):
        check_label(self.label)
        if is_concrete(self.ppm, self.hz) and len(self.ppm) > 1:
            ppm, hz = np.asarray(self.ppm, np.float64), np.asarray(self.hz, np.float64)
            if not (np.isfinite(ppm).all() and np.isfinite(hz).all()):
                raise ValueError("ppm, hz: the axis has points that are not finite numbers; leave them out.")
            _check_sorted(hz, exact=self.hz.dtype == np.float64)
            square = ppm @ ppm
            larmor = (hz @ ppm) / square if square else 0.0
            if larmor <= 0 or np.abs(hz - larmor * ppm).max() > _PROPORTIONAL * np.abs(hz).max():
                raise ValueError(
                    "hz: not a positive multiple of ppm; both count from the reference, hz = 1e-6 |nu_0| ppm, and run in "
                    "the same direction."
                )

    @property
    def larmor_frequency(self) -> Float[Array, ""]:
        r"""$|\nu_0|$, Hz, the frequency that 0 ppm stands for: the ratio of `hz` and `ppm`."""
        # By the far end, so that no sum of squares overflows or loses digits in float32.
        far = jnp.argmax(jnp.abs(self.ppm))
        return 1e6 * self.hz[far] / self.ppm[far]

    @property
    def axis(self) -> Axis:
        """The axis to simulate on for a comparison point by point: the same shifts, in the same order.

        Raises:
            ValueError: points that are not equally spaced.
        """
        if is_concrete(self.ppm) and not is_uniform(np.asarray(self.ppm)):
            raise ValueError("ppm: points are not equally spaced, and an Axis' are; interpolate the spectrum to one first.")
        return Axis(ppm=(self.ppm[0], self.ppm[-1]), points=len(self.ppm))

    def plot(self, ax: Axes | None = None, unit: str = "ppm", **line: object) -> Axes:
        """Draw the spectrum, frequencies descending as NMR does.

        Args:
            ax: matplotlib axes; a new figure's by default.
            unit: "ppm" or "hz".
            **line: passed on to `Axes.plot` (colour, width, label...).

        Returns:
            The axes.

        Raises:
            ImportError: matplotlib is missing.
            ValueError: another unit.
        """
        from jaxnmr.spectrum._plot import plot_spectrum

        return plot_spectrum(self, ax, unit, line)

    def fid(self) -> FID:
        r"""The decay whose transform this spectrum is: `spectrum.fid().spectrum()` has the same intensities.

        With an imaginary part it is the plain inverse transform. Without one, the decay is the causal one, which vanishes
        for the second half of the record: $s(t) = \int S(\nu)\,e^{2\pi i\nu t}\,d\nu$ for t >= 0. Differentiable.

        Raises:
            ValueError: an axis that is not equally spaced.
        """
        from jaxnmr.spectrum._inverse import decay_of

        return decay_of(self)

    def save(self, path: str | Path) -> None:
        """Write a file, its format by the suffix; written aside and renamed, so never half a file.

        An existing file is replaced. All formats keep label, isotope, field, rate and reference; SIMPSON's program
        passes over the lines that are not its own.

        - .csv: columns ppm, hz, intensity and, where known, imaginary, after comment lines.
        - .csdf, .csdm: the Core Scientific Dataset Model, a linear dimension in Hz whose `origin_offset` is the Larmor
          frequency, so that its conversion to ppm gives ours. Needs csdmpy.
        - .spe: SIMPSON, text, points ascending.
        - .fid: SIMPSON, text, the decay of `Spectrum.fid`.

        Args:
            path: where to.

        Raises:
            ValueError: another suffix; an axis that is not equally spaced in a format that has only its ends; a batch
                of spectra.
            ImportError: csdmpy is missing.
        """
        from jaxnmr.spectrum._saving import save_spectrum

        save_spectrum(self, Path(path))

    @classmethod
    def load(cls, path: str | Path) -> Spectrum:
        """Read what `save` wrote, with its points in the same order (a .spe ascends, a .fid's spectrum descends in ppm).

        For measured data, and files of other programs, use `read`.

        Args:
            path: a .csv, .csdf, .csdm, .spe or .fid.

        Raises:
            FileNotFoundError: no such file.
            ValueError: the file is of another kind, is cut short, has points that are not numbers, or does not say
                where its reference is.
            ImportError: csdmpy is missing.
        """
        from jaxnmr.spectrum._saving import load_spectrum

        return load_spectrum(Path(path))

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
        unit: str | None = None,
        column: int | str | None = None,
        label: str | None = None,
    ) -> Spectrum:
        r"""Read a measured spectrum, or one of another program.

        Points come in the order of descending ppm whatever the file's order, with the axis that belongs to them:
        ascending and descending files give the same spectrum. Intensities keep the file's units and phase.

        The formats:

        - "bruker": the folder of an experiment, `pdata/1`, or one of the files 1r and fid in them. A folder that holds
          processed data gives those. Raw data are transformed without apodisation or phase correction; the digital
          filter's group delay is removed exactly, as a first-order phase. Needs nmrglue.
        - "jcamp": JCAMP-DX spectra (.dx, .jdx, .jcamp), real or with imaginary part. Needs nmrglue.
        - "csdm": one-dimensional CSDM (.csdf, .csdfe, .csdm), as of mrsimulator. Needs csdmpy.
        - "simpson": text .spe and .fid; frequencies count from the reference unless REF or `zero` say otherwise.
        - "text": columns of numbers between spaces, tabs, commas or semicolons (.txt, .csv, .dat, .asc, .tsv, .xy,
          .spc), with or without a line of names. Columns named ppm, Hz or kHz are axes. Without names the equally
          spaced columns are: one needs `unit`; two that are proportional are ppm and Hz; one that counts points is
          passed over. Of the others the first is the intensity, a second the imaginary part.
        - "csv": what `save` wrote.

        ppm and Hz convert by $|\nu_0|$, which is the file's reference frequency (SF, origin_offset, ratio of the
        columns), or `larmor_frequency`, or $\gamma B_0/2\pi$ of `isotope` and `field`.

        Args:
            path: file or folder.
            format: one of the names above; by default from suffix and content.
            isotope: observed nucleus, "17O"; where the file names it, it must agree.
            field: tesla; where neither file nor argument say, from the isotope and $|\nu_0|$.
            rate: rotor frequency, Hz; the file's by default.
            larmor_frequency: frequency of the reference, Hz, for files that have none.
            zero: chemical shift at the file's zero, ppm, added to all shifts: re-references a file, or says where the
                carrier was in one whose frequencies count from it.
            unit: "ppm", "hz" or "khz", of a text file's single axis without a name.
            column: intensities of a text file with several, by name or by number from 0.
            label: by default the file's title, or its name.

        Returns:
            The spectrum.

        Raises:
            FileNotFoundError: no such file.
            ValueError: not a spectrum, unknown format, cut short, points that are not numbers, several spectra, two
                dimensions, unequal spacing, nothing to convert ppm and Hz by, arguments that contradict the file.
            ImportError: nmrglue or csdmpy is missing.
        """
        from jaxnmr.spectrum._saving import read_spectrum

        told = Told(isotope, field, rate, larmor_frequency, zero, label)
        return read_spectrum(Path(path), format, unit, column, told)


def _check_sorted(hz: np.ndarray, exact: bool) -> None:
    """Points in order; single precision may round neighbours to one value."""
    steps = np.diff(hz) * (1.0 if hz[-1] >= hz[0] else -1.0)
    wrong = np.flatnonzero(steps <= 0 if exact else steps < 0)
    if len(wrong):
        at = int(wrong[0])
        what = "repeats" if steps[at] == 0 else "goes back"
        raise ValueError(
            f"hz: point {at + 2} {what} ({hz[at]:g}, then {hz[at + 1]:g}); sort the points by np.argsort(hz), and average "
            "or drop those that repeat."
        )


def _real(name: str, values: ArrayLike) -> Array:
    array = jnp.asarray(values)
    if jnp.issubdtype(array.dtype, jnp.complexfloating):
        raise ValueError(f"{name}: got complex numbers; give their real part, and the other as `imaginary`.")
    return array if jnp.issubdtype(array.dtype, jnp.floating) else array.astype(jnp.result_type(float))
