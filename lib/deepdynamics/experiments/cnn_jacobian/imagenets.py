"""What the experiments on ImageNet networks share: pictures, the trained network, the same architecture untrained, and
the depths that are looked at.

A *depth* is the map from the (normalised) picture to the point before the next convolution or module: activation and
pooling go with the map that they follow. Pictures are in units of the standard deviation of each colour over ImageNet.
"""

import functools
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from deepdynamics import data
from deepdynamics._checks import count
from deepdynamics.networks import gaussian, generator
from deepdynamics.networks import imagenet as architectures

__all__ = ["DEPTHS", "NEEDS", "NETWORK", "Pictures", "pictures", "prefix", "trained", "untrained"]

NETWORK = "squeezenet1_0"  # "alexnet" after `make data`
NEEDS = ("imagenet-samples", NETWORK)
DEPTHS = {
    "squeezenet1_0": {"conv1": 1, "fire4": 4, "fire8": 8, "fire9": 9, "logits": 10},
    "alexnet": {"conv1": 1, "conv2": 2, "conv5": 5, "fc7": 7, "logits": 8},
}


@dataclass(frozen=True)
class Pictures:
    """Normalised pictures (n, 3, 224, 224), their classes (n,), and where they come from."""

    x: Tensor
    labels: Tensor
    provenance: data.Provenance


@functools.lru_cache(maxsize=1)
def pictures(network: str = NETWORK) -> Pictures:
    """The ImageNet samples, all of them, as the network takes them."""
    images, labels, provenance = data.load("imagenet-samples", "test")
    return Pictures(data.load_pretrained(network).preprocessing(images), labels, provenance)


@functools.lru_cache(maxsize=1)
def trained(network: str = NETWORK) -> architectures.ImageNetNetwork:
    """The network with its published weights."""
    model = data.load_pretrained(network).model.requires_grad_(False)
    assert isinstance(model, architectures.ImageNetNetwork)
    return model


@functools.lru_cache(maxsize=4)
def untrained(seed: int, network: str = NETWORK) -> architectures.ImageNetNetwork:
    """The architecture as training would find it: Gaussian weights of variance 2 / fan-in (He et al. 2015), no biases.

    With biases drawn at random, as torch's own initialisation has them, every signal dies on the way and the biases
    decide which units are active; the picture would not matter.
    """
    draw = generator(seed)
    net: architectures.ImageNetNetwork = getattr(architectures, network)(seed=seed)
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            deviation = math.sqrt(2 / module.weight[0].numel())
            module.weight.data = deviation * gaussian(module.weight.shape, seed=draw, dtype=torch.float32)
            assert module.bias is not None
            module.bias.data.zero_()
    return net.requires_grad_(False)


def prefix(net: architectures.ImageNetNetwork, depth: int) -> nn.Sequential:
    """The first ``depth`` layers: picture -> x^depth."""
    return nn.Sequential(*net.layers[: count("depth", depth, most=len(net.layers))])
