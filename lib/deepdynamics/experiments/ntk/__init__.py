"""Experiments of the chapter on the neural tangent kernel."""
