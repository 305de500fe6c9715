"""Chemical-shift, shielding and quadrupole-coupling tensors: pure algebra on Cartesian tensors (..., 3, 3).

Building a tensor from parameters is smooth in all of them. The way back is an eigenvalue analysis, whose
derivatives fail where eigenvalues meet: fit and average whole tensors, and analyse the result.
"""

from jaxnmr.tensors._analysis import (
    Haeberlen,
    HerzfeldBerger,
    Iupac,
    Quadrupole,
    ShieldingHaeberlen,
    ShieldingHerzfeldBerger,
    ShieldingIupac,
    haeberlen,
    herzfeld_berger,
    iupac,
    quadrupole_parameters,
    shielding_haeberlen,
    shielding_herzfeld_berger,
    shielding_iupac,
)
from jaxnmr.tensors._build import (
    from_herzfeld_berger,
    from_iupac,
    quadrupole_tensor,
    shielding_from_herzfeld_berger,
    shielding_from_iupac,
    shielding_tensor,
    shift_tensor,
)
from jaxnmr.tensors._convert import (
    antisymmetric,
    average,
    efg_to_coupling,
    rotate,
    shielding_to_shift,
    shift_to_shielding,
    symmetric,
)
from jaxnmr.tensors._irreps import (
    Irreps,
    cartesian_to_irreps,
    irreps_to_cartesian,
    irreps_to_spherical,
    spherical_to_irreps,
)

__all__ = [
    "Haeberlen",
    "HerzfeldBerger",
    "Irreps",
    "Iupac",
    "Quadrupole",
    "ShieldingHaeberlen",
    "ShieldingHerzfeldBerger",
    "ShieldingIupac",
    "antisymmetric",
    "average",
    "cartesian_to_irreps",
    "efg_to_coupling",
    "from_herzfeld_berger",
    "from_iupac",
    "haeberlen",
    "herzfeld_berger",
    "irreps_to_cartesian",
    "irreps_to_spherical",
    "iupac",
    "quadrupole_parameters",
    "quadrupole_tensor",
    "rotate",
    "shielding_from_herzfeld_berger",
    "shielding_from_iupac",
    "shielding_haeberlen",
    "shielding_herzfeld_berger",
    "shielding_iupac",
    "shielding_tensor",
    "shielding_to_shift",
    "shift_tensor",
    "shift_to_shielding",
    "spherical_to_irreps",
    "symmetric",
]
