"""Neural tangent kernels: of infinitely wide networks, what a kernel predicts, and spectra at linear width.

The rooms, from below: ``pairs`` (Gaussian moments of pairs of points), ``infinite`` (kernels at infinite width),
``prediction`` (outputs over time and at new points), ``spectra`` (Stieltjes transforms of kernel matrices).
"""

from deepdynamics.ntk.infinite import infinite_width, infinite_width_ntk
from deepdynamics.ntk.prediction import kernel_prediction, linearised_outputs
from deepdynamics.ntk.spectra import conjugate_kernel_stieltjes, deep_ntk_stieltjes

__all__ = [
    "conjugate_kernel_stieltjes",
    "deep_ntk_stieltjes",
    "infinite_width",
    "infinite_width_ntk",
    "kernel_prediction",
    "linearised_outputs",
]
