"""Experiments of the chapter on RBM pretraining."""
