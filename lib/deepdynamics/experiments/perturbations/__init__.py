"""Experiments of the chapter on small perturbations."""
