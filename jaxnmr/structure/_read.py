"""Which reader a file needs."""

from __future__ import annotations

import os
import re

from jaxnmr.structure._cif import is_cif, read_cif
from jaxnmr.structure._extxyz import is_extxyz, read_extxyz
from jaxnmr.structure._magres import is_magres, read_magres
from jaxnmr.structure._magres_old import is_old_magres, read_old_magres
from jaxnmr.structure._outcar import is_outcar, read_outcar
from jaxnmr.structure._poscar import is_poscar, read_poscar
from jaxnmr.structure._structure import Structure
from jaxnmr.structure._text import Text, load

__all__ = ["read", "read_all"]

_KNOWN = "magres 1.0, CASTEP's .magres before 1.0, extxyz, VASP's OUTCAR and POSCAR, and CIF"


def read(path: str | os.PathLike[str], *, frame: int | None = None) -> Structure:
    r"""Atoms and their shielding and field-gradient tensors from a file, recognised by what is in it.

    - magres 1.0 of CASTEP, QE-GIPAW and others, blocks in [square] or <pointed> brackets, labels and indices run
      together where they fill their places ("O100"), couplings and the like passed over;
    - the text that CASTEP wrote before version 1.0 (no lattice, three decimals of a position);
    - extxyz, tensors in nine columns named `ms`, `shielding`, `shielding_ppm`, `magnetic_shielding`, `nmr_shielding` or
      `sigma` (ppm), and `efg`, `efg_au` or `electric_field_gradient` (atomic units); nine zeros of a shielding, or NaN,
      mean none. Other columns are passed over;
    - VASP's OUTCAR with LCHIMAG and LEFG: minus the sum of symmetrised, G = 0 and core contributions, so that values
      compare with other codes'; field gradients from V/Å²;
    - CIF in any setting, and VASP's POSCAR: crystals without tensors. Sites that are partly occupied are refused, atoms that
      the formula has and the cell lacks are warned of, deuterium is H with the isotope 2H.

    Matrices are as printed: a row of shielding for each direction of the applied field, with the components of the
    induced field along it, in CASTEP, VASP and Quantum ESPRESSO, though their manuals define sigma_ij the other way
    round. For ethanol the antisymmetric parts of CASTEP's file, so read, agree in sign with a GIAO calculation, and those
    of AlPO-14 from CASTEP and from VASP with each other; QE-GIPAW writes a Fortran array sigma(induced, field) in storage
    order. Nothing but the antisymmetric part tells the difference.

    Args:
        path: the file.
        frame: which frame of several, from 0, or from the end if negative; needed only where there are several.

    Raises:
        ValueError: no such file, a format that is not known, a file cut short or faulty (with the number of the line
            and what would do), several frames without `frame`, or none of that number.

    References:
        S. Sturniolo, T. F. G. Green, R. M. Hanson, M. Zilka, K. Refson, P. Hodgkinson, S. P. Brown and J. R. Yates,
        Solid State Nucl. Magn. Reson. 78, 64 (2016).
    """
    frames = read_all(path)
    if frame is None:
        if frames[1:]:
            raise ValueError(
                f"frame: {os.fspath(path)} holds {len(frames)} frames; give frame=0 to frame={len(frames) - 1}, or use "
                "read_all."
            )
        return frames[0]
    if not -len(frames) <= frame < len(frames):
        raise ValueError(f"frame: got {frame}, but {os.fspath(path)} holds {len(frames)}; give 0 to {len(frames) - 1}.")
    return frames[frame]


def read_all(path: str | os.PathLike[str]) -> tuple[Structure, ...]:
    """All frames of an extxyz file; the one structure of another.

    Args:
        path: as in `read`.

    Raises:
        ValueError: as `read`.
    """
    text = load(path)
    if is_magres(text):
        return (read_magres(text),)
    if is_outcar(text):
        return (read_outcar(text),)
    if is_extxyz(text):
        return read_extxyz(text)
    if is_old_magres(text):
        return (read_old_magres(text),)
    if is_cif(text):
        return (read_cif(text),)
    if is_poscar(text):
        return (read_poscar(text),)
    raise _unknown(text)


def _unknown(text: Text) -> ValueError:
    if not any(line.strip() for line in text.lines):
        return ValueError(f"path: {text.path} is empty; copy or compute it again.")
    for number, line in text:
        if re.match(r"\s*spinsys\s*\{", line):
            return text.error(
                number,
                "the input of a SIMPSON simulation, which has no atoms; enter its shift and quadrupole lines with "
                "jn.shift_tensor and jn.quadrupole_tensor, or give the magres file that they were made from.",
            )
    return ValueError(f"path: {text.path} is in no known format; give {_KNOWN}.")
