"""What is learnt from: structures with energies, forces, stresses and values of properties."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, field_validator

from jaxnmr.potential._property import Property
from jaxnmr.structure import Structure, read_frames

__all__ = ["LabelNames", "Sample", "as_sample", "read_samples"]

# Parts that a property cannot have, against its size: more than files' rounding.
_STRAY = 1e-3


class Sample(NamedTuple):
    """One structure with its labels; NaN stands for what was not computed.

    Attributes:
        structure: the atoms.
        energy: eV.
        forces: eV/Å, (atom, 3).
        stress: dE/dstrain / V, eV/Å³, (3, 3).
        values: of each property, (atom, *shape) or (*shape), in its unit.
        source: where it comes from, for messages.
    """

    structure: Structure
    energy: float
    forces: np.ndarray
    stress: np.ndarray
    values: tuple[np.ndarray, ...]
    source: str


class LabelNames(BaseModel):
    """Names of the columns and entries of extxyz files; None for what is not to be used.

    Args:
        energy: eV.
        forces: eV/Å.
        stress: dE/dstrain / V, eV/Å³, nine numbers, or six in Voigt's order xx yy zz yz xz xy. A virial, -V times it, is
            refused by its name.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    energy: str | None = "energy"
    forces: str | None = "forces"
    stress: str | None = "stress"

    @field_validator("stress")
    @classmethod
    def _no_virial(cls, name: str | None) -> str | None:
        if name is not None and "virial" in name.lower():
            raise ValueError(
                f"{name!r} is a virial by its name, minus the volume times the stress; write stress = -virial / volume "
                "(eV/Å³) into the files, and name that"
            )
        return name


def as_sample(structure: Structure, properties: Sequence[Property] = (), *, source: str = "") -> Sample:
    """A structure with its own shielding and field-gradient tensors as labels.

    Of a shielding, the parts that the property's irreps name are taken: all of it for "0e+1e+2e", the symmetric tensor for
    "0e+2e", that without its trace for "2e", the isotropic value (a third of the trace, a number) for "0e". A field gradient
    has no other part than "2e": one of its labels with a trace, or that is not symmetric, is a mistake.

    Args:
        structure: the atoms.
        properties: what is to be learnt; others than "shielding" and "efg" have no values.
        source: for messages; the structure's own unless given.

    Raises:
        ValueError: tensors that the property cannot have, as a field gradient with a trace; irreps of "shielding" or "efg"
            that its tensors do not hold.
    """
    n = len(structure)
    own = {"shielding": np.asarray(structure.shielding), "efg": np.asarray(structure.efg)}
    values = []
    for prop in properties:
        shape = (n, *prop.shape) if prop.pooling == "none" else prop.shape
        there = prop.name in own and prop.pooling == "none"
        values.append(_part(prop, own[prop.name]) if there else np.full(shape, np.nan))
    none = np.full((n, 3), np.nan), np.full((3, 3), np.nan)
    sample = Sample(structure, float("nan"), *none, tuple(values), source or structure.source)
    _check(sample, properties)
    return sample


def read_samples(
    paths: Iterable[str | os.PathLike[str]],
    properties: Sequence[Property] = (),
    names: LabelNames | None = None,
    *,
    strict: bool = True,
) -> tuple[Sample, ...]:
    """All frames of some files with their labels.

    Args:
        paths: extxyz with energies and forces, and all that `jaxnmr.structure.read` reads with tensors.
        properties: what is to be learnt. "shielding" and "efg" are read as `jaxnmr.structure.read` does, another from the
            column of its name, or the entry of its name for a property of the structure.
        names: of energies, forces and stresses.
        strict: refuse names that were given, not left as they are by default, and that no frame has.

    Raises:
        ValueError: no frame has any label, or none has one of a name that was given; labels of a wrong shape, not finite, or
            that the property cannot have, with file and frame.
    """
    names = names or LabelNames()
    energies = [names.energy, names.forces, names.stress]
    others = [prop.name for prop in properties if prop.name not in ("shielding", "efg")]
    asked = [name for name in (*energies, *others) if name is not None]
    samples, files, met = [], [os.fspath(path) for path in paths], set()
    for path in files:
        for k, frame in enumerate(read_frames(path, asked)):
            source = f"{path}, frame {k}"
            given = dict(zip(asked, frame.numbers, strict=True))
            met |= {name for name, numbers in given.items() if numbers is not None}
            sample = as_sample(frame.structure, properties, source=source)
            n = len(sample.structure)
            energy = _shaped(given.get(names.energy or ""), (), "energy", source)
            forces = _shaped(given.get(names.forces or ""), (n, 3), "forces", source)
            stress = _stress(given.get(names.stress or ""), source)
            values = list(sample.values)
            for place, prop in enumerate(properties):
                if prop.name in others:
                    shape = (n, *prop.shape) if prop.pooling == "none" else prop.shape
                    values[place] = _shaped(given[prop.name], shape, prop.name, source)
            sample = sample._replace(energy=float(energy), forces=forces, stress=stress, values=tuple(values))
            _check(sample, properties)
            samples.append(sample)
    if not any(_labelled(sample) for sample in samples):
        what = ", ".join([*(name for name in energies if name), *(prop.name for prop in properties)])
        raise ValueError(f"paths: no frame of {', '.join(files)} has any label; looked for {what}.")
    for kind in sorted(names.model_fields_set) if strict else ():
        name = getattr(names, kind)
        if name is not None and name not in met:
            raise ValueError(
                f"names.{kind}: no frame of {', '.join(files)} has {name!r}; give the column or entry that holds the "
                f"{kind}, or leave the name out."
            )
    return tuple(samples)


def _part(prop: Property, tensors: np.ndarray) -> np.ndarray:
    """Of the tensors that files hold, what a property is of: (atom, *shape)."""
    if prop.shape == (3, 3):
        if prop.name != "shielding" or len(prop.kinds) == 3:
            return tensors
        turned, degrees = np.swapaxes(tensors, 1, 2), [irrep.degree for irrep in prop.kinds]
        isotropic = np.trace(tensors, axis1=1, axis2=2)[:, None, None] / 3 * np.eye(3)
        parts = isotropic, (tensors - turned) / 2, (tensors + turned) / 2 - isotropic
        return np.sum([parts[degree] for degree in degrees], axis=0)
    if prop.shape == () and prop.name == "shielding":
        return np.trace(tensors, axis1=1, axis2=2) / 3
    works = "0e+1e+2e, 0e+2e, 2e, or 0e for the isotropic value alone" if prop.name == "shielding" else "2e"
    raise ValueError(
        f"properties: {prop.name} came with the irreps {prop.irreps}, which its tensors (3, 3) do not hold; give {works}."
    )


def _labelled(sample: Sample) -> bool:
    arrays = (np.asarray(sample.energy), sample.forces, sample.stress, *sample.values)
    return any(not np.isnan(array).all() for array in arrays)


def _shaped(given: np.ndarray | None, shape: tuple[int, ...], name: str, source: str) -> np.ndarray:
    if given is None:
        return np.full(shape, np.nan)
    if given.size != int(np.prod(shape)):
        raise ValueError(f"{name}: {source} has {given.shape}; {shape} is needed.")
    return given.reshape(shape)


def _stress(given: np.ndarray | None, source: str) -> np.ndarray:
    if given is not None and given.size == 6:
        xx, yy, zz, yz, xz, xy = given
        return np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
    return _shaped(given, (3, 3), "stress", source)


def _check(sample: Sample, properties: Sequence[Property]) -> None:
    """Refuses labels that are partly missing, or that the property cannot have."""
    for name, array in (("forces", sample.forces), ("stress", sample.stress)):
        if np.isinf(array).any() or (np.isnan(array).any() and not np.isnan(array).all()):
            raise ValueError(f"{name}: {sample.source} has numbers that are not finite; compute it again, or drop it.")
    for prop, values in zip(properties, sample.values, strict=True):
        rows = values if prop.pooling == "none" else values[None]
        rows = rows.reshape(rows.shape[0], -1)
        missing = np.isnan(rows).sum(axis=1)
        if np.isinf(rows).any() or ((missing > 0) & (missing < rows.shape[1])).any():
            raise ValueError(f"{prop.name}: {sample.source} has numbers that are not finite; compute it again, or drop it.")
        if prop.shape == (3, 3):
            _check_tensors(prop, rows[missing == 0].reshape(-1, 3, 3), sample.source)


def _check_tensors(prop: Property, tensors: np.ndarray, source: str) -> None:
    size = np.sqrt((tensors**2).sum(axis=(1, 2)).max(initial=0.0))
    kinds = {irrep.degree for irrep in prop.kinds}
    trace = np.abs(np.trace(tensors, axis1=1, axis2=2)).max(initial=0.0)
    skew = np.abs(tensors - np.swapaxes(tensors, 1, 2)).max(initial=0.0)
    if 0 not in kinds and trace > _STRAY * size:
        raise ValueError(f"{prop.name}: a tensor of {source} has the trace {trace:.3g}; one of {prop.irreps} has none.")
    if 1 not in kinds and skew > _STRAY * size:
        raise ValueError(f"{prop.name}: a tensor of {source} is not symmetric by {skew:.3g}; one of {prop.irreps} is.")
