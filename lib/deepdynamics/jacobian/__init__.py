"""Jacobians of any network: dense, by products, their spectra and their leading singular vectors."""

from deepdynamics.jacobian.dense import (
    cumulative_jacobian,
    cumulative_jacobians,
    difference_gains,
    homogeneous_parts,
    jacobian,
    layer_jacobians,
    mlp_jacobians,
    pushforward,
    singular_values,
)
from deepdynamics.jacobian.gram import leading_vectors, right_singular, wide_singular_values
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
    "wide_singular_values",
]
