"""Many networks trained as one program: deep ones over seeds, variances and learning rates; shallow ones by the
thousand."""

from deepdynamics.ensembles.mlp import History, MLPEnsemble
from deepdynamics.ensembles.shallow import ShallowEnsemble, ShallowNets

__all__ = ["History", "MLPEnsemble", "ShallowEnsemble", "ShallowNets"]
