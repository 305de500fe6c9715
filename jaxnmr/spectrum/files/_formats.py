"""Which module reads and writes which format."""

from __future__ import annotations

from pathlib import Path

from jaxnmr.errors import near
from jaxnmr.spectrum.files._bruker import find_bruker, read_bruker
from jaxnmr.spectrum.files._csdm import read_csdm, write_csdm
from jaxnmr.spectrum.files._csv import is_csv, read_csv, write_csv
from jaxnmr.spectrum.files._jcamp import read_jcamp
from jaxnmr.spectrum.files._record import FIDRecord, SpectrumRecord
from jaxnmr.spectrum.files._simpson import read_simpson, write_simpson_fid, write_simpson_spectrum
from jaxnmr.spectrum.files._text import read_text

__all__ = ["read_file", "write_fid", "write_spectrum"]

_READERS = {"csv": read_csv, "csdm": read_csdm, "simpson": read_simpson, "jcamp": read_jcamp}
_NAMES = ("bruker", "jcamp", "csdm", "simpson", "text", "csv")
_SUFFIXES = {
    ".csdf": "csdm",
    ".csdfe": "csdm",
    ".csdm": "csdm",
    ".spe": "simpson",
    ".fid": "simpson",
    ".dx": "jcamp",
    ".jdx": "jcamp",
    ".jcamp": "jcamp",
    **dict.fromkeys((".txt", ".csv", ".dat", ".asc", ".ascii", ".tsv", ".xy", ".spc"), "text"),
}
_WRITERS = {
    ".csv": write_csv,
    ".csdf": write_csdm,
    ".csdm": write_csdm,
    ".spe": write_simpson_spectrum,
}


def read_file(
    path: Path,
    format: str | None = None,
    *,
    unit: str | None = None,
    column: int | str | None = None,
    own: bool = False,
    raw: bool = False,
) -> SpectrumRecord | FIDRecord:
    """What a file says.

    Args:
        path: file or folder.
        format: one of `_NAMES`; from suffix and content by default.
        unit: of a text file's axis.
        column: of a text file's intensities.
        own: whether only what `Spectrum.save` writes is looked for.
        raw: whether the decay is wanted of a folder that holds spectra too.

    Raises:
        FileNotFoundError: no such file.
        ValueError: unknown or wrong format; see `Spectrum.read`.
        ImportError: a package is missing that the format needs.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file.")
    if own:
        if path.suffix.lower() not in (*_WRITERS, ".fid"):
            raise ValueError(
                f"path: got {path.name!r}; `save` and `load` know .csv, .csdf, .csdm, .spe and .fid. For measured data use "
                "Spectrum.read."
            )
        format = "csv" if path.suffix.lower() == ".csv" else _SUFFIXES[path.suffix.lower()]
    format = _guess(path) if format is None else format
    if format not in _NAMES:
        raise ValueError(f"format: got {format!r}{near(str(format), _NAMES)}; use one of {', '.join(_NAMES)}.")
    if format != "text" and (unit is not None or column is not None):
        given = "unit" if unit is not None else "column"
        raise ValueError(f"{given}: only text files need it; {path} is read as {format!r}.")
    if format == "bruker":
        return read_bruker(path, raw)
    if path.is_dir():
        raise ValueError(f"{path}: a folder; {format!r} is a file.")
    if format == "text":
        return read_text(path, unit, column)
    return _READERS[format](path)


def write_spectrum(path: Path, record: SpectrumRecord) -> None:
    """Write a spectrum by its suffix.

    Raises:
        ValueError: unknown suffix, or an axis that the format cannot hold.
        ImportError: csdmpy is missing.
    """
    writer = _WRITERS.get(path.suffix.lower())
    if writer is None:
        raise ValueError(
            f"path: got {path.name!r}; spectra are saved as {', '.join(_WRITERS)} or .fid{near(path.suffix, _WRITERS)}."
        )
    writer(path, record)


def write_fid(path: Path, record: FIDRecord) -> None:
    """Write a decay.

    Raises:
        ValueError: the suffix is not .fid.
    """
    if path.suffix.lower() != ".fid":
        raise ValueError(f"path: got {path.name!r}; decays are saved as .fid.")
    write_simpson_fid(path, record)


def _guess(path: Path) -> str:
    if find_bruker(path) is not None:
        return "bruker"
    if path.is_dir():
        raise ValueError(
            f"{path}: a folder without Bruker data (acqus and fid, or procs and 1r); name the experiment's folder or a file."
        )
    with path.open("rb") as file:
        start = file.read(2000).lstrip(b"\xef\xbb\xbf \t\r\n")
    if start.startswith(b"SIMP"):
        return "simpson"
    if start.upper().startswith(b"##TITLE"):
        return "jcamp"
    if start.startswith(b"{") and b'"csdm"' in start:
        return "csdm"
    found = _SUFFIXES.get(path.suffix.lower())
    if found is None:
        raise ValueError(
            f"path: got {path.name!r}, of unknown suffix{near(path.suffix, _SUFFIXES)}; known are {', '.join(_SUFFIXES)} "
            f"and Bruker's folders. Or give format, one of {', '.join(_NAMES)}."
        )
    return "csv" if found == "text" and is_csv(start) else found
