"""Many networks trained as one program: deep ones over seeds, variances and learning rates; shallow ones by the
thousand."""

from deepdynamics.ensembles.mlp import History, MLPEnsemble
from deepdynamics.ensembles.normalised import NORMALISATIONS, NormalisedMLPs
from deepdynamics.ensembles.shallow import ShallowEnsemble, ShallowNets

__all__ = ["NORMALISATIONS", "History", "MLPEnsemble", "NormalisedMLPs", "ShallowEnsemble", "ShallowNets"]
