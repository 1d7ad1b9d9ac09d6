"""The neural tangent kernel of a network as it is."""

from deepdynamics.ntk.empirical import empirical, ways

__all__ = ["empirical", "ways"]
