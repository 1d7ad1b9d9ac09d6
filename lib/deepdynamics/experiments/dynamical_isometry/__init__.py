"""Experiments of the chapter on dynamical isometry."""
