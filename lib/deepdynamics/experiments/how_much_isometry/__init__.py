"""Experiments of the chapter on how much isometry."""
