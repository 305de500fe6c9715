"""Bruker's processed and raw data, by nmrglue."""

from __future__ import annotations

import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from jaxnmr.errors import missing_extra
from jaxnmr.spectrum.files._record import FIDRecord, Meta, SpectrumRecord

__all__ = ["find_bruker", "read_bruker"]

_TWO_DIMENSIONS = ("ser", "2rr", "3rrr")


def find_bruker(path: Path) -> Path | None:
    """The folder of `1r` or `fid` that a path means, or None if it is none of Bruker's."""
    if path.is_file():
        beside = {"1r": "procs", "fid": "acqus", "1i": "procs", "ser": "acqus", "2rr": "procs"}.get(path.name)
        return path.parent if beside and (path.parent / beside).is_file() else None
    if (path / "procs").is_file() or (path / "acqus").is_file():
        return path
    return None


def read_bruker(path: Path, raw: bool = False) -> SpectrumRecord | FIDRecord:
    """Read `pdata/1/1r` of an experiment's folder, the `1r` of a folder of processed data, or `fid`.

    Args:
        path: folder, or one of those files.
        raw: take the decay where both are there.

    Raises:
        ValueError: none of them, two dimensions, cut short, parameters missing, not in quadrature.
        ImportError: nmrglue is missing.
    """
    folder = find_bruker(path)
    if folder is None:
        raise ValueError(f"{path}: no Bruker data (acqus and fid, or procs and 1r); name the experiment's folder.")
    names = (path.name,) if path.is_file() else _TWO_DIMENSIONS
    if any(name in _TWO_DIMENSIONS and (folder / name).is_file() for name in names):
        raise ValueError(f"{path}: two-dimensional data (ser, 2rr); save one row as its own experiment.")
    raw = raw or path.name == "fid"
    processed = [folder, *([folder / "pdata" / "1"] if (folder / "pdata" / "1").is_dir() else [])]
    spectrum = next((place for place in processed if (place / "1r").is_file()), None)
    if spectrum is not None and not raw:
        return _processed(spectrum)
    experiment = folder if (folder / "fid").is_file() else folder.parents[1] if folder.parent.name == "pdata" else folder
    if not (experiment / "fid").is_file():
        raise ValueError(f"{path}: neither 1r nor fid beside the parameters; copy the whole experiment.")
    return _raw(experiment)


def _nmrglue() -> ModuleType:
    try:
        from nmrglue.fileio import bruker
    except ImportError:
        raise missing_extra("nmrglue", "io") from None
    return bruker


def _parameters(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of lines that are not needed; those that are get checked
        return _nmrglue().read_jcamp(str(file), encoding="utf-8")


def _number(file: Path, parameters: dict[str, Any], name: str) -> float:
    value = parameters.get(name)
    if not isinstance(value, int | float):
        raise ValueError(f"{file}: {name} is missing or no number; the file may be cut short.")
    return float(value)


def _meta(processed: Path, acqus: dict[str, Any], axis_nucleus: Any = None) -> Meta:
    """Metadata of an experiment, by its folder of processed data, there or not."""
    nucleus = acqus.get("NUC1") or axis_nucleus
    rate = acqus.get("MASR")
    title = processed / "title"
    label = title.read_text(encoding="utf-8", errors="replace").strip() if title.is_file() else ""
    return Meta(
        isotope=None if not isinstance(nucleus, str) or nucleus in ("", "off") else nucleus,
        rate=float(rate) if isinstance(rate, int | float) and rate > 0 else None,
        label=label.splitlines()[0].strip() if label else "",
    )


def _processed(folder: Path) -> SpectrumRecord:
    """Point i is at OFFSET - i SW_p / (SI SF) ppm; integers times 2**NC_proc."""
    file = folder / "procs"
    procs = _parameters(file)
    if not procs:
        raise ValueError(f"{folder}: 1r without procs, its parameters; copy the whole experiment.")
    offset, width, frequency, size = (_number(file, procs, name) for name in ("OFFSET", "SW_p", "SF", "SI"))
    points = int(size)

    def part(name: str) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _, data = _nmrglue().read_pdata_binary(
                str(folder / name), big=procs.get("BYTORDP") == 1, isfloat=procs.get("DTYPP") == 2
            )
        if len(data) != points:
            raise ValueError(f"{folder / name}: {len(data)} points of SI={points}; the file was cut short.")
        return np.asarray(data, np.float64) * 2.0 ** _number(file, procs, "NC_proc")

    real = part("1r")
    imaginary = part("1i") if (folder / "1i").is_file() else None
    ppm = offset - np.arange(points, dtype=np.float64) * (width / (points * frequency))
    acqus = _parameters(folder.parents[1] / "acqus") if folder.parent.name == "pdata" else {}
    return SpectrumRecord(real, imaginary, ppm, None, frequency * 1e6, _meta(folder, acqus, procs.get("AXNUC")))


def _raw(folder: Path) -> FIDRecord:
    """TD/2 points in quadrature about SFO1; the digital filter delays them by GRPDLY points."""
    file = folder / "acqus"
    acqus = _parameters(file)
    width, observed, count = (_number(file, acqus, name) for name in ("SW_h", "SFO1", "TD"))
    if acqus.get("AQ_mod", 3) not in (1, 3):
        raise ValueError(f"{folder}: AQ_mod={acqus['AQ_mod']}, not simultaneous quadrature; process it and read the 1r.")
    # The reference is set when data are processed; the carrier's nominal frequency has to do before.
    procs = _parameters(folder / "pdata" / "1" / "procs")
    reference = procs.get("SF") or acqus.get("BF1")
    if not isinstance(reference, int | float) or not reference > 0:
        raise ValueError(f"{file}: neither SF in pdata/1/procs nor BF1; the file may be cut short.")
    with warnings.catch_warnings(), (folder / "fid").open("rb") as binary:
        warnings.simplefilter("ignore")
        numbers = np.asarray(
            _nmrglue().get_data(binary, big=acqus.get("BYTORDA") == 1, isfloat=acqus.get("DTYPA") == 2), np.float64
        )
    if len(numbers) < count:
        raise ValueError(f"{folder / 'fid'}: {len(numbers)} numbers of TD={int(count)}; the file was cut short.")
    # Files are filled up to blocks of 1024 bytes.
    numbers = numbers[: 2 * (int(count) // 2)] * 2.0 ** float(acqus.get("NC", 0) or 0)
    delay = _group_delay(file, acqus)
    dt = 1 / width
    return FIDRecord(
        signal=numbers[::2] + 1j * numbers[1::2],
        dt=dt,
        carrier=(observed - float(reference)) * 1e6,
        start=-delay * dt,
        larmor=float(reference) * 1e6,
        meta=_meta(folder / "pdata" / "1", acqus),
    )


def _group_delay(file: Path, acqus: dict[str, Any]) -> float:
    """Of the digital filter, points: GRPDLY, or on older consoles a table by firmware and decimation."""
    delay = acqus.get("GRPDLY", -1)
    if isinstance(delay, int | float) and delay >= 0:
        return float(delay)
    firmware, decimation = acqus.get("DSPFVS", 0), acqus.get("DECIM", 1)
    if not decimation or decimation == 1 or not firmware:
        return 0.0  # analogue, or not filtered
    try:
        return float(_nmrglue().bruker_dsp_table[firmware][decimation])
    except KeyError:
        raise ValueError(
            f"{file}: the digital filter's delay is not known (GRPDLY, or DSPFVS={firmware} with DECIM={decimation}); add "
            "##$GRPDLY to the file, or process the data and read the 1r."
        ) from None
