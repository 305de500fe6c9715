"""The potential as ASE sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from jaxnmr.errors import missing_extra
from jaxnmr.structure import as_structure

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator

    from jaxnmr.potential._potential import Potential

__all__ = ["calculator"]


def calculator(potential: Potential) -> Calculator:
    """A calculator of ASE: energy (eV), energies of atoms, forces (eV/Å) and stress (eV/Å³, Voigt's order).

    Rows of the neighbour list keep the length that they once needed as long as the number of atoms stays, so that
    a trajectory does not compile again when the number of neighbours goes up and down.

    Args:
        potential: the potential.

    Raises:
        ImportError: ASE is not installed.
    """
    try:
        from ase.calculators.calculator import Calculator, all_changes
        from ase.stress import full_3x3_to_voigt_6_stress
    except ImportError:
        raise missing_extra("ase", "atoms") from None

    class NetworkCalculator(Calculator):
        """Energies, forces and stresses of a `jaxnmr.potential.Potential`."""

        implemented_properties = ["energy", "free_energy", "energies", "forces", "stress"]  # noqa: RUF012

        def __init__(self):
            super().__init__()
            self.potential = potential
            self._room: tuple[int, int] = 0, 0  # atoms and length of a row at last

        def calculate(self, atoms: Any = None, properties: Any = None, system_changes: Any = all_changes) -> None:
            """Compute everything; ASE calls this when atoms have changed."""
            super().calculate(atoms, properties, system_changes)
            held: Any = self.atoms
            structure = as_structure(held)
            batch = potential.prepare([structure])
            n, width = batch.graph.n_atoms, batch.graph.n_neighbors
            if n == self._room[0] and width < self._room[1]:
                width = self._room[1]
                batch = potential.prepare([structure], n_neighbors=width)
            self._room = n, width
            result = potential.evaluate(batch)[0]
            self.results = {
                "energy": result.energy,
                "free_energy": result.energy,
                "energies": result.energies,
                "forces": result.forces,
            }
            if result.stress is not None:
                self.results["stress"] = np.asarray(full_3x3_to_voigt_6_stress(result.stress))

    return NetworkCalculator()
