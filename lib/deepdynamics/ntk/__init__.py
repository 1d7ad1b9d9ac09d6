"""Neural tangent kernels: of networks as they are and of infinitely wide ones, what they predict, and their spectra.

The rooms, from below: ``pairs`` (Gaussian moments of pairs of points), ``infinite`` (kernels at infinite width),
``empirical`` (of any network), ``prediction`` (outputs over time and at new points), ``descent`` (step by step, of
networks and of linear models), ``spectra`` (Stieltjes transforms of kernel matrices on as many samples as units).
"""

from deepdynamics.ntk.descent import descend, ensemble_variance, linear_descent
from deepdynamics.ntk.empirical import empirical, ways
from deepdynamics.ntk.infinite import infinite_width, infinite_width_ntk
from deepdynamics.ntk.prediction import kernel_prediction, linearised_outputs
from deepdynamics.ntk.spectra import conjugate_kernel_stieltjes, deep_ntk_stieltjes

__all__ = [
    "conjugate_kernel_stieltjes",
    "deep_ntk_stieltjes",
    "descend",
    "empirical",
    "ensemble_variance",
    "infinite_width",
    "infinite_width_ntk",
    "kernel_prediction",
    "linear_descent",
    "linearised_outputs",
    "ways",
]
