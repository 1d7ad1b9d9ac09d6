"""Restricted Boltzmann machines, and stacks of them."""

from deepdynamics.rbm.machine import RBM, pretrain
from deepdynamics.rbm.stack import Stack, fine_tune, log_determinants, train

__all__ = ["RBM", "Stack", "fine_tune", "log_determinants", "pretrain", "train"]
