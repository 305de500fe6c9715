"""Training of potentials and tensor models on one's own data, anew or from another model."""

from jaxnmr.potential.training._batches import FeatureBatch
from jaxnmr.potential.training._calibrate import uncalibrated
from jaxnmr.potential.training._compare import Comparison, compare
from jaxnmr.potential.training._course import METRICS, Progress, Score
from jaxnmr.potential.training._frozen import features
from jaxnmr.potential.training._loop import CHECKPOINT
from jaxnmr.potential.training._plausible import check_plausible
from jaxnmr.potential.training._samples import LabelNames, Sample, as_sample, read_samples
from jaxnmr.potential.training._settings import Settings
from jaxnmr.potential.training._start import (
    average_neighbors,
    check_atoms,
    elements_of,
    keeps_heads,
    new_potential,
    new_tensor_model,
    shifted_potential,
)
from jaxnmr.potential.training._train import Trained, calibrated, check_settings, train

__all__ = [
    "CHECKPOINT",
    "METRICS",
    "Comparison",
    "FeatureBatch",
    "LabelNames",
    "Progress",
    "Sample",
    "Score",
    "Settings",
    "Trained",
    "as_sample",
    "average_neighbors",
    "calibrated",
    "check_atoms",
    "check_plausible",
    "check_settings",
    "compare",
    "elements_of",
    "features",
    "keeps_heads",
    "new_potential",
    "new_tensor_model",
    "read_samples",
    "shifted_potential",
    "train",
    "uncalibrated",
]
