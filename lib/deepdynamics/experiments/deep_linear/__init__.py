"""Experiments of the chapter on deep linear networks."""
