"""The magres format, version 1.0 and its relatives: blocks of records."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np

from jaxnmr.structure._elements import element
from jaxnmr.structure._structure import Structure
from jaxnmr.structure._text import Text
from jaxnmr.units import BOHR_IN_ANGSTROM

__all__ = ["is_magres", "read_magres"]

_HEADER = re.compile(r"#\$magres-abinitio(?:-v(\d+)\.(\d+))?")
_TAG = re.compile(r"\s*[\[<](/?)(\w+)[\]>]\s*$")
_LENGTHS = {"angstrom": 1.0, "angstroms": 1.0, "a": 1.0, "bohr": BOHR_IN_ANGSTROM, "au": BOHR_IN_ANGSTROM}
_UNITS = {"lattice": _LENGTHS, "atom": _LENGTHS, "ms": {"ppm": 1.0}, "efg": {"au": 1.0, "a.u.": 1.0}}

Record = tuple[int, list[str]]


def is_magres(text: Text) -> bool:
    """Whether the file has the header of the format, or a block of atoms."""
    first = next((line for line in text.lines if line.strip()), "")
    return _HEADER.match(first) is not None or any(
        (tag := _TAG.match(line)) is not None and tag[2] in ("atoms", "magres") for line in text.lines
    )


def read_magres(text: Text) -> Structure:
    """Atoms and tensors of the blocks "atoms" and "magres", brackets square or pointed.

    Tensors that this package has no use for (couplings, susceptibilities, local parts of field gradients) are passed over.
    """
    header = _HEADER.match(text.lines[0]) if text.lines else None
    if header is not None and header[1] not in (None, "1"):
        raise text.error(1, f"magres version {header[1]}.{header[2]}; write the file as version 1.0.")
    blocks = _blocks(text)
    if "atoms" not in blocks:
        raise text.error(len(text.lines), "no [atoms] block, so nothing says which atom is where; add it.")
    atoms, units = _records(text, blocks["atoms"])
    species, labels, indices, positions = _atoms(text, atoms.get("atom", []), units)
    cell = None
    if "lattice" in atoms:
        (line, words), scale = atoms["lattice"][-1], units.get("lattice", 1.0)
        if len(words) != 9:
            raise text.error(line, f"lattice has {len(words)} numbers; it needs nine.")
        cell = text.floats(line, words).reshape(3, 3) * scale
    found, _ = _records(text, blocks.get("magres", []))
    names = {name: atom for atom, name in enumerate(zip(labels, indices, strict=True))}
    return Structure(
        species,
        positions,
        cell,
        labels=labels,
        indices=indices,
        shielding=_tensors(text, "ms", found.get("ms", []), names),
        efg=_tensors(text, "efg", found.get("efg", []), names),
        source=text.path,
        code=_code(blocks.get("calculation", [])),
    )


def _blocks(text: Text) -> dict[str, list[tuple[int, str]]]:
    """The lines of each block with their numbers."""
    blocks: dict[str, list[tuple[int, str]]] = {}
    name, start = None, 0
    for number, line in text:
        tag = _TAG.match(line)
        if tag is not None and not tag[1]:
            if name is not None:
                raise text.error(number, f"[{tag[2]}] begins, but [{name}] of line {start} has no end; add [/{name}].")
            name, start = tag[2], number
            blocks.setdefault(name, [])
        elif tag is not None:
            if tag[2] != name:
                raise text.error(number, f"[/{tag[2]}] ends a block that did not begin; remove it, or add [{tag[2]}].")
            name = None
        elif name is not None:
            blocks[name].append((number, line))
    if name is not None:
        raise text.cut(f"inside the block [{name}], which began in line {start}")
    return blocks


def _records(text: Text, lines: Iterable[tuple[int, str]]) -> tuple[dict[str, list[Record]], dict[str, float]]:
    """Words of each kind of record, and the factors of the units."""
    records: dict[str, list[Record]] = {}
    units: dict[str, float] = {}
    for number, line in lines:
        words = line.partition("#")[0].split()
        if not words:
            continue
        kind, rest = words[0], words[1:]
        if kind == "units" and len(rest) == 2 and rest[0] in _UNITS:
            known = _UNITS[rest[0]]
            if rest[1].lower() not in known:
                raise text.error(number, f"unit {rest[1]!r} of {rest[0]}; give it in {' or '.join(known)}.")
            units[rest[0]] = known[rest[1].lower()]
        else:
            records.setdefault(kind, []).append((number, rest))
    return records, units


def _atoms(text: Text, records: list[Record], units: dict[str, float]):
    """Species, labels, indices and positions (Å) of the records "atom species label index x y z"."""
    if not records:
        raise text.error(len(text.lines), "the [atoms] block has no atom; compute the file again.")
    species, labels, indices, positions = [], [], [], []
    for line, words in records:
        if len(words) == 5:  # label and index have run together
            words = [words[0], *_parted(text, line, words[0], words[1]), *words[2:]]
        if len(words) != 6 or not words[2].isdigit():
            raise text.error(line, "expected atom, species, label, index and three coordinates; correct the line.")
        symbol = element(words[0])
        if symbol is None:
            raise text.error(line, f"{words[0]!r} is no element; give its symbol, as 'Si'.")
        species.append(symbol)
        labels.append(words[1])
        indices.append(int(words[2]))
        positions.append(text.floats(line, words[3:]) * units.get("atom", 1.0))
    if len(set(zip(labels, indices, strict=True))) != len(labels):
        seen = set()
        for (line, _), name in zip(records, zip(labels, indices, strict=True), strict=True):
            if name in seen:
                raise text.error(line, f"a second atom with label {name[0]} and index {name[1]}; number it anew.")
            seen.add(name)
    return species, labels, indices, np.array(positions)


def _parted(text: Text, line: int, species: str, word: str) -> tuple[str, str]:
    """Label and index of "O100" or "H1100": the index fills three places; more where the label is the species."""
    match = re.fullmatch(re.escape(species) + r"(\d+)", word) or re.fullmatch(r"(.*\D)(\d{3,})", word)
    if match is None:
        raise text.error(line, f"cannot part label and index in {word!r}; put a blank between them.")
    digits = match[match.lastindex or 1]
    places = len(digits) if word == species + digits and len(digits) <= 3 else 3
    return word[:-places], word[-places:]


def _tensors(text: Text, kind: str, records: list[Record], names: dict[tuple[str, int], int]) -> np.ndarray:
    """Tensors (atom, 3, 3) of the records "ms label index" or "efg label index" and nine numbers."""
    rows = np.full((len(names), 9), np.nan)
    for line, words in records:
        if len(words) == 11 and words[1].isdigit() and (words[0], int(words[1])) in names:
            atom = names[words[0], int(words[1])]
        elif len(words) == 10:
            atom = _atom_of(text, line, words[0], names)
        elif len(words) == 11:
            raise text.error(line, f"{kind} of {words[0]} {words[1]}, which [atoms] does not have; correct either.")
        else:
            raise text.error(line, f"{kind} has {len(words)} entries; expected label, index and nine numbers.")
        values = text.floats(line, words[-9:])
        if not np.isnan(rows[atom]).all() and not np.array_equal(rows[atom], values):
            raise text.error(line, f"a second, different {kind} of {' '.join(words[:-9])}; remove one of them.")
        rows[atom] = values
    return rows.reshape(-1, 3, 3)


def _atom_of(text: Text, line: int, word: str, names: dict[tuple[str, int], int]) -> int:
    """The atom that "H1100" means; the atoms that there are decide between H 1100, H1 100 and H11 00."""
    splits = [(word[:k], word[k:]) for k in range(1, len(word)) if word[k:].isdigit()]
    # Codes pad with blanks, not with zeros: an index that begins with a zero is the end of a longer one.
    found = {names[label, int(digits)] for label, digits in splits if digits[0] != "0" and (label, int(digits)) in names}
    if len(found) == 1:
        return found.pop()
    if not found:
        raise text.error(line, f"{word!r} is no label and index of [atoms]; correct either.")
    which = " or ".join(f"{a} {int(b)}" for a, b in splits if b[0] != "0" and (a, int(b)) in names)
    raise text.error(line, f"{word!r} may be {which}; put a blank between label and index.")


def _code(lines: Iterable[tuple[int, str]]) -> str:
    """Program and version, as the block "calculation" has them."""
    words = {parts[0]: " ".join(parts[1:]) for _, line in lines if len(parts := line.split()) > 1}
    return " ".join(filter(None, (words.get("calc_code"), words.get("calc_code_version"))))
