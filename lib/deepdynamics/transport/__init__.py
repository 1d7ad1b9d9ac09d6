"""Optimal transport between Gaussians and clouds, flows of densities, and networks as maps that move mass: residual
networks, generators, denoising autoencoders."""

from deepdynamics.transport.clouds import pair_clouds, sample_w2
from deepdynamics.transport.continuity import gaussian_continuity_residual
from deepdynamics.transport.denoisers import Denoiser, train_composed_daes, train_dae, train_daes
from deepdynamics.transport.diffusion import probability_flow
from deepdynamics.transport.entropy import (
    dae_flow_gaussian,
    entropy_flow_gaussian,
    extinction_time,
    gaussian_entropy,
    gaussian_fisher_information,
    heat_flow_gaussian,
)
from deepdynamics.transport.flows import Coupling, compose_daes, euler_flow, midpoint_flow, rk4_flow
from deepdynamics.transport.gaussians import AffineMap, gaussian_geodesic, gaussian_map, gaussian_w2
from deepdynamics.transport.generators import Generators, train_generators
from deepdynamics.transport.jko import jko_denoising, jko_fokker_planck, jko_heat
from deepdynamics.transport.mixtures import Estimate, GaussianMixture
from deepdynamics.transport.residual import ResidualFlows, at_length, residual_flows, train_residual
from deepdynamics.transport.translation import ShallowStep, train_steps, translate
from deepdynamics.transport.tweedie import dae_map, gaussian_dae
from deepdynamics.transport.volumes import log_volume
from deepdynamics.transport.ways import antisymmetric_share, bend, random_pairing_cost, rotation_share

__all__ = [
    "AffineMap",
    "Coupling",
    "Denoiser",
    "Estimate",
    "GaussianMixture",
    "Generators",
    "ResidualFlows",
    "ShallowStep",
    "antisymmetric_share",
    "at_length",
    "bend",
    "compose_daes",
    "dae_flow_gaussian",
    "dae_map",
    "entropy_flow_gaussian",
    "euler_flow",
    "extinction_time",
    "gaussian_continuity_residual",
    "gaussian_dae",
    "gaussian_entropy",
    "gaussian_fisher_information",
    "gaussian_geodesic",
    "gaussian_map",
    "gaussian_w2",
    "heat_flow_gaussian",
    "jko_denoising",
    "jko_fokker_planck",
    "jko_heat",
    "log_volume",
    "midpoint_flow",
    "pair_clouds",
    "probability_flow",
    "random_pairing_cost",
    "residual_flows",
    "rk4_flow",
    "rotation_share",
    "sample_w2",
    "train_composed_daes",
    "train_dae",
    "train_daes",
    "train_generators",
    "train_residual",
    "train_steps",
    "translate",
]
