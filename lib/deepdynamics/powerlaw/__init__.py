"""Power laws in data: the fit, its uncertainty, and three tests that doubt it."""

from deepdynamics.powerlaw.fits import LEAST_TAIL, PowerLaw, TruncatedPowerLaw, bootstrap_p, fit, fit_truncated

__all__ = ["LEAST_TAIL", "PowerLaw", "TruncatedPowerLaw", "bootstrap_p", "fit", "fit_truncated"]
