"""Jacobians of any network: dense, by products, their spectra and their leading singular vectors.

The rooms, from below: ``inputs`` (a map at one input), ``operations`` and ``program`` (its derivative as a program of
linear steps), ``linearise`` (products with J and Jᵀ that have been checked); ``dense``; ``chain`` (perceptrons in
closed form); ``products`` (singular values over any number of decades); ``bases``, ``golubkahan`` and ``lanczos``
(leading triplets without a matrix); ``gram`` (spectra of dense matrices); ``sums``, ``shares`` and ``localised`` (a
spectrum and its vectors in a few numbers).
"""

from deepdynamics.jacobian.chain import mlp_jacobians
from deepdynamics.jacobian.dense import (
    cumulative_jacobian,
    cumulative_jacobians,
    difference_gains,
    homogeneous_parts,
    jacobian,
    layer_jacobians,
    pushforward,
    singular_values,
)
from deepdynamics.jacobian.gram import gram_singular_values, leading_vectors, right_singular
from deepdynamics.jacobian.lanczos import (
    NotConverged,
    TopSingular,
    cumulative_spectra,
    cumulative_triplets,
    top_singular,
)
from deepdynamics.jacobian.linearise import Linearised, linearised
from deepdynamics.jacobian.localised import Localisation, localisation
from deepdynamics.jacobian.products import lyapunov_exponents, product_singular_values
from deepdynamics.jacobian.shares import cumulative_shares, participation_ratio, share_inside
from deepdynamics.jacobian.sums import SpectralSums, spectral_sums

__all__ = [
    "Linearised",
    "Localisation",
    "NotConverged",
    "SpectralSums",
    "TopSingular",
    "cumulative_jacobian",
    "cumulative_jacobians",
    "cumulative_shares",
    "cumulative_spectra",
    "cumulative_triplets",
    "difference_gains",
    "gram_singular_values",
    "homogeneous_parts",
    "jacobian",
    "layer_jacobians",
    "leading_vectors",
    "linearised",
    "localisation",
    "lyapunov_exponents",
    "mlp_jacobians",
    "participation_ratio",
    "product_singular_values",
    "pushforward",
    "right_singular",
    "share_inside",
    "singular_values",
    "spectral_sums",
    "top_singular",
]
