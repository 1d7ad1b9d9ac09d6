"""Autoencoders with one hidden layer, many trained as one program: plain, weight decay, denoising, contractive."""

from deepdynamics.autoencoders.spectra import Triplets
from deepdynamics.autoencoders.tied import Autoencoders, History

__all__ = ["Autoencoders", "History", "Triplets"]
