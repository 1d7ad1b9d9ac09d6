"""J Jᵀ of any network over its parameters, layer by layer: what the Fisher information, the neural tangent kernel and
natural gradients share.

The rooms, from below: ``model`` (a network on samples), ``pieces`` and ``uses`` (where parameters enter, and what the
derivative is made of there), ``parts`` (a layer's Jacobian, as rows or in factors), ``blocks`` (all layers at some
samples, compared with autograd), ``gram``.
"""

from deepdynamics._parametergram.gram import LayerJacobian, ParameterGram, layer_jacobians, parameter_gram, ways
from deepdynamics._parametergram.parts import Factors, Rows

__all__ = ["Factors", "LayerJacobian", "ParameterGram", "Rows", "layer_jacobians", "parameter_gram", "ways"]
