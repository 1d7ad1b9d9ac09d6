"""Learning in deep linear networks: exact curves, and gradient descent beside them."""

from deepdynamics.lineardynamics.descent import (
    Descent,
    decoupled_weights,
    descend,
    excess_loss,
    orthogonality_defect,
    pretrained_weights,
    product,
    random_weights,
    steps_to_learn,
    strengths,
    unpassed_share,
)
from deepdynamics.lineardynamics.exact import learning_time, mode_strength

__all__ = [
    "Descent",
    "decoupled_weights",
    "descend",
    "excess_loss",
    "learning_time",
    "mode_strength",
    "orthogonality_defect",
    "pretrained_weights",
    "product",
    "random_weights",
    "steps_to_learn",
    "strengths",
    "unpassed_share",
]
