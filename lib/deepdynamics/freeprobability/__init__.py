"""Free probability for deep networks: the law of the squared singular values of a Jacobian at infinite width."""

from deepdynamics.freeprobability.freeness import freeness_defects
from deepdynamics.freeprobability.laws import (
    DerivativeLaw,
    fuss_catalan_density,
    fuss_catalan_moment,
    marchenko_pastur,
    multiply_marchenko_pastur,
)
from deepdynamics.freeprobability.spectrum import JacobianSpectrum

__all__ = [
    "DerivativeLaw",
    "JacobianSpectrum",
    "freeness_defects",
    "fuss_catalan_density",
    "fuss_catalan_moment",
    "marchenko_pastur",
    "multiply_marchenko_pastur",
]
