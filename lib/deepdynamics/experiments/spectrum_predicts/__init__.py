"""Experiments of the chapter on what a spectrum predicts."""
