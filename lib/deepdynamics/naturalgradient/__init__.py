"""Natural gradient descent in function space, with the exact Fisher metric and its usual approximations.

The rooms, from below: ``blocks`` (a network's parameters in blocks), ``metrics`` (directions from Gram matrices),
``steps`` (a step of training), ``isotropy`` (how fast errors fall).
"""

from deepdynamics.naturalgradient.isotropy import isotropy, isotropy_defect
from deepdynamics.naturalgradient.steps import NaturalGradient

__all__ = ["NaturalGradient", "isotropy", "isotropy_defect"]
