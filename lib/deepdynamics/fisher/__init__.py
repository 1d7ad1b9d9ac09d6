"""The Fisher information of networks: its spectrum at finite width through its dual, its universal statistics at
infinite width, and the learning rates that it allows.

One scale throughout. With f (C outputs) at T samples and J = ∂f/∂θ over all parameters,

    F = (1/T) Σ_t Σ_kk' Q_kk'(t) ∇f_k(t) ∇f_k'(t)ᵀ,

a mean over samples and a sum over outputs: Q = I for the loss E = (1/2T) Σ_t ‖f - y‖² ("mse"), Q = diag(g) - g gᵀ with
g = softmax(f) for the mean cross entropy. F is the Hessian of that loss up to the residuals' part, so that gradient
descent on it is stable up to a learning rate of 2/λ_max(F). :func:`dual` has the non-zero eigenvalues of F, and its
trace is that of F.
"""

from deepdynamics.fisher.conditional import conditional_dual, online_learning_rate_bound
from deepdynamics.fisher.duals import dual
from deepdynamics.fisher.isometry import IsometricMaximum, ThreeLayerLaw, isometric_lambda_max, three_layer_law
from deepdynamics.fisher.kernel import gradient_kernel
from deepdynamics.fisher.lanczos import LambdaMax, lambda_max
from deepdynamics.fisher.threelayers import ThreeLayerSample, three_layer_sample
from deepdynamics.fisher.universal import UniversalStatistics, universal_statistics

__all__ = [
    "IsometricMaximum",
    "LambdaMax",
    "ThreeLayerLaw",
    "ThreeLayerSample",
    "UniversalStatistics",
    "conditional_dual",
    "dual",
    "gradient_kernel",
    "isometric_lambda_max",
    "lambda_max",
    "online_learning_rate_bound",
    "three_layer_law",
    "three_layer_sample",
    "universal_statistics",
]
