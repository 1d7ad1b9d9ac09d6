"""Two convolutional networks that were trained on ImageNet, under torchvision's parameter names, and cut into
layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from deepdynamics._checks import tensor

__all__ = ["Fire", "ImageNetNetwork", "alexnet", "squeezenet1_0"]


class Fire(nn.Module):
    """SqueezeNet's module: 1 x 1 convolution to few channels, then 1 x 1 and 3 x 3 convolutions side by side (Iandola
    et al. 2016, figure 1).

    >>> sum(p.numel() for p in Fire(4, 2, 3).parameters())
    76
    """

    def __init__(self, channels: int, squeeze: int, expand: int):
        super().__init__()
        self.squeeze = nn.Conv2d(channels, squeeze, 1)
        self.expand1x1 = nn.Conv2d(squeeze, expand, 1)
        self.expand3x3 = nn.Conv2d(squeeze, expand, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(C, H, W), with or without a batch axis, to (2 expand, H, W).

        >>> Fire(4, 2, 3)(torch.zeros(4, 5, 5)).shape
        torch.Size([6, 5, 5])
        """
        x = torch.relu(self.squeeze(x))
        return torch.relu(torch.cat((self.expand1x1(x), self.expand3x3(x)), dim=-3))


class ImageNetNetwork(nn.Module):
    """``features``, ``avgpool`` and ``classifier`` under torchvision's names.

    ``.layers`` cuts the sequence into one map per convolution or module with weights, from its input to the point
    before the next one (activation, pooling and flattening go with the map that they follow).

    >>> len(alexnet().layers), len(alexnet().classifier)
    (8, 7)
    """

    def __init__(self, features: Sequence[nn.Module], avgpool: Sequence[nn.Module], classifier: Sequence[nn.Module]):
        super().__init__()
        self.features = nn.Sequential(*features)
        self.avgpool = nn.Sequential(*avgpool)
        self.classifier = nn.Sequential(*classifier)

    @property
    def layers(self) -> list[nn.Module]:
        """The maps x^{l-1} -> x^l, first layer first; dropout counts as the identity in evaluation mode.

        >>> len(squeezenet1_0().layers)
        10
        """
        groups: list[list[nn.Module]] = []
        for module in (*self.features, *self.avgpool, *self.classifier):
            if not groups or isinstance(module, (nn.Conv2d, nn.Linear, Fire)):
                groups.append([])
            groups[-1].append(module)
        return [nn.Sequential(*group) for group in groups]

    def forward(self, x: Tensor | ArrayLike) -> Tensor:
        """Logits (1000,) of an image (3, H, W), or (n, 1000) of a batch (n, 3, H, W).

        >>> squeezenet1_0()(torch.zeros(3, 64, 64)).shape
        torch.Size([1000])
        """
        x = tensor("x", x, like=next(self.parameters()))
        return self.classifier(self.avgpool(self.features(x)))


def squeezenet1_0(*, seed: int = 0) -> ImageNetNetwork:
    """SqueezeNet 1.0 (Iandola et al. 2016), untrained, in evaluation mode, with the parameter names of torchvision's
    ``squeezenet1_0``.

    >>> sum(p.numel() for p in squeezenet1_0().parameters())
    1248424
    """

    def build() -> ImageNetNetwork:
        fire, pool = Fire, nn.MaxPool2d(3, 2, ceil_mode=True)
        features = (
            *(
                nn.Conv2d(3, 96, 7, stride=2),
                nn.ReLU(),
                pool,
                fire(96, 16, 64),
                fire(128, 16, 64),
                fire(128, 32, 128),
                pool,
            ),
            *(fire(256, 32, 128), fire(256, 48, 192), fire(384, 48, 192), fire(384, 64, 256), pool, fire(512, 64, 256)),
        )
        return ImageNetNetwork(
            features, (), (nn.Dropout(), nn.Conv2d(512, 1000, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(-3))
        )

    return _quietly(build, seed)


def alexnet(*, seed: int = 0) -> ImageNetNetwork:
    """AlexNet (Krizhevsky et al. 2012) in the variant and with the parameter names of torchvision's ``alexnet``,
    untrained, in evaluation mode.

    >>> sum(p.numel() for p in alexnet().parameters())
    61100840
    """

    def build() -> ImageNetNetwork:
        relu, pool = nn.ReLU(), nn.MaxPool2d(3, 2)
        features = (
            *(nn.Conv2d(3, 64, 11, stride=4, padding=2), relu, pool, nn.Conv2d(64, 192, 5, padding=2), relu, pool),
            *(
                nn.Conv2d(192, 384, 3, padding=1),
                relu,
                nn.Conv2d(384, 256, 3, padding=1),
                relu,
                nn.Conv2d(256, 256, 3, padding=1),
                relu,
                pool,
            ),
        )
        dense = (
            nn.Dropout(),
            nn.Linear(9216, 4096),
            relu,
            nn.Dropout(),
            nn.Linear(4096, 4096),
            relu,
            nn.Linear(4096, 1000),
        )
        return ImageNetNetwork(features, (nn.AdaptiveAvgPool2d(6), nn.Flatten(-3)), dense)

    return _quietly(build, seed)


def _quietly(build: Callable[[], ImageNetNetwork], seed: int) -> ImageNetNetwork:
    """torch's own initialisation, which knows only the global random state: seeded, and the state put back."""
    state = torch.random.get_rng_state()
    try:
        torch.default_generator.manual_seed(seed)
        return build().eval()
    finally:
        torch.random.set_rng_state(state)
