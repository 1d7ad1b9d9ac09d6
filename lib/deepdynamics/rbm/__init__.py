"""Restricted Boltzmann machines, and stacks of them."""

from deepdynamics.rbm.machine import RBM
from deepdynamics.rbm.stack import Stack, fine_tuned_accuracy, pretrain, pretrain_stack

__all__ = ["RBM", "Stack", "fine_tuned_accuracy", "pretrain", "pretrain_stack"]
