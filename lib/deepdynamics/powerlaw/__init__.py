"""Power laws in data: the fit, its uncertainty, and three tests that doubt it."""

from deepdynamics.powerlaw.fits import LEAST, PowerLaw, TruncatedPowerLaw, bootstrap_p, fit, truncated

__all__ = ["LEAST", "PowerLaw", "TruncatedPowerLaw", "bootstrap_p", "fit", "truncated"]
