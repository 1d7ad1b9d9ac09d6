"""Many networks trained as one program: over seeds, variances, learning rates."""

from deepdynamics.ensembles.mlp import History, MLPEnsemble

__all__ = ["History", "MLPEnsemble"]
