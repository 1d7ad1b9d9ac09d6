"""Experiments of the chapter on the Jacobian of a trained CNN."""
