"""Networks as maps in sequence: multilayer perceptrons and convolutional networks.

Every network here has ``.layers``, the list of maps ``x^{l-1} -> x^l`` with the first layer first. They act on one
input or on a batch of inputs (first axis), and their composition is the network. With fan-in n (n = k² times the input
channels for a k x k convolution),

    h = W x + b,   x' = φ(gain · h),   E W_ij² = weight_var / n,   E b_i² = bias_var .

Parameters are drawn in float64 and rounded to ``dtype``, so that a float32 network is its float64 twin up to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn
from torch.nn import functional

from deepdynamics import activations
from deepdynamics._checks import count, finite, not_negative, number, one_of, sizes, tensor
from deepdynamics.activations import ActivationLike
from deepdynamics.networks.draws import INITS, PARAMETRISATIONS, Seed, generator, layer_parameters

__all__ = ["CNN", "MLP", "Composition", "Layer"]


READOUTS = ("linear", "activated")
PADDINGS = ("zeros", "circular")


class Layer(nn.Module):
    """One map x -> φ(gain · (W x + b)) of an MLP or a CNN, with W a matrix (out, in) or a convolution kernel (out, in,
    k, k).

    A convolution has stride 1, keeps the size of the image (``padding``: "zeros" or "circular") and is followed by 2 x
    2 maximum pooling where ``pool``; ``flatten`` turns an image (C, H, W) into a vector before a matrix acts on it.

    >>> layer = Layer(torch.eye(2), torch.zeros(2), torch.tanh, gain=2.0)
    >>> layer(torch.tensor([0.0, 1.0])).detach()
    tensor([0.0000, 0.9640])
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor,
        activation: Callable[[Tensor], Tensor] | None,
        *,
        gain: float = 1.0,
        scales: tuple[float, float] = (1.0, 1.0),
        padding: str = "zeros",
        pool: bool = False,
        flatten: bool = False,
    ):
        super().__init__()
        self.weight, self.bias = nn.Parameter(weight), nn.Parameter(bias)
        self.activation, self.gain, self.scales = activation, gain, scales
        self.padding, self.pool, self.flatten = padding, pool, flatten

    def preactivation(self, x: Tensor | ArrayLike) -> Tensor:
        """h = W x + b, with the factors of the NTK parametrisation where it is used.

        >>> Layer(torch.eye(2), torch.ones(2), None).preactivation([1.0, 2.0]).tolist()
        [2.0, 3.0]
        """
        x = tensor("x", x, like=self.weight)
        weight_scale, bias_scale = self.scales
        # A factor of exactly 1 is skipped: it would cost a copy of W at each pass.
        weight = self.weight if weight_scale == 1 else self.weight * weight_scale
        bias = self.bias if bias_scale == 1 else self.bias * bias_scale
        if weight.ndim == 2:
            return functional.linear(x.flatten(-3) if self.flatten else x, weight, bias)
        margin = weight.shape[-1] // 2
        mode = "constant" if self.padding == "zeros" else self.padding
        return functional.conv2d(functional.pad(x, (margin,) * 4, mode=mode), weight, bias)

    def forward(self, x: Tensor | ArrayLike) -> Tensor:
        """x' = φ(gain · h); without an activation x' = h.

        >>> Layer(torch.eye(2), torch.zeros(2), torch.relu, gain=2.0)([1.0, -1.0]).tolist()
        [2.0, 0.0]
        """
        h = self.preactivation(x)
        if self.activation is not None:
            h = self.activation(h if self.gain == 1 else self.gain * h)
        return functional.max_pool2d(h, 2) if self.pool else h


class Composition(nn.Module):
    """The composition of the maps in ``.layers``, which it takes first layer first.

    >>> Composition([torch.nn.Flatten(0), torch.nn.ReLU()])(torch.tensor([[-1.0, 2.0]])).tolist()
    [0.0, 2.0]
    """

    def __init__(self, maps: Sequence[nn.Module]):
        super().__init__()
        self.stack = nn.Sequential(*maps)

    @property
    def layers(self) -> list[nn.Module]:
        """The maps x^{l-1} -> x^l, first layer first.

        >>> len(MLP((3, 5, 2), "tanh", seed=0).layers)
        2
        """
        return list(self.stack)

    def forward(self, x: Tensor | ArrayLike) -> Tensor:
        """x^L of x^0 = x; numbers and numpy arrays take the dtype of the weights.

        >>> MLP((3, 5, 2), "tanh", seed=0)([0.0, 0.0, 0.0]).tolist()
        [0.0, 0.0]
        """
        return self.stack(x)

    @torch.no_grad()
    def states(self, x: Tensor | ArrayLike) -> list[Tensor]:
        """x^0, x^1, ..., x^L: the input and what each layer makes of it, without an autograd graph.

        >>> [tuple(state.shape) for state in MLP((3, 5, 2), "tanh", seed=0).states(torch.zeros(7, 3))]
        [(7, 3), (7, 5), (7, 2)]
        """
        found = [tensor("x", x, like=next(self.parameters()))]
        for layer in self.stack:
            found.append(layer(found[-1]))
        return found


class MLP(Composition):
    """Multilayer perceptron with ``widths`` = (input, hidden, ..., output): L = len(widths) - 1 layers h = W x + b, x'
    = φ(gain · h).

    ``init``: W_ij ~ N(0, weight_var / n_in) ("gaussian"); √weight_var times a Haar matrix with orthonormal columns, or
    rows where n_out < n_in ("orthogonal"); √weight_var times the identity, cut to the shape ("identity"). b_i ~ N(0,
    bias_var) always. ``parametrisation``: the parameters are W and b ("standard"), or their multiples with unit
    variance, h = √(weight_var/n) W x + √bias_var b ("ntk"): the same function at initialisation, with other gradients.
    ``readout``: whether φ acts in the last layer ("activated") or not ("linear", and no gain).

    Raises ``ValueError`` for fewer than two widths, a width below 1, a negative or infinite variance, or an unknown
    name.

    >>> net = MLP((3, 50, 50, 2), "tanh", weight_var=1.5, bias_var=0.05, init="orthogonal", seed=0)
    >>> [tuple(layer.weight.shape) for layer in net.layers], net(torch.ones(7, 3)).shape
    ([(50, 3), (50, 50), (2, 50)], torch.Size([7, 2]))
    """

    def __init__(
        self,
        widths: Sequence[int],
        activation: ActivationLike,
        *,
        weight_var: float = 1.0,
        bias_var: float = 0.0,
        gain: float = 1.0,
        init: str = "gaussian",
        parametrisation: str = "standard",
        readout: str = "linear",
        seed: Seed,
        dtype: torch.dtype | None = None,
    ):
        widths = sizes("widths", widths, fewest=2)
        _check_parameters(init, parametrisation, weight_var, bias_var, gain)
        one_of("readout", readout, READOUTS)
        phi, draw = activations.get(activation), generator(seed)
        maps = []
        for depth, (n_in, n_out) in enumerate(pairwise(widths), start=1):
            weight, bias, scales = layer_parameters(
                (n_out, n_in), init, parametrisation, weight_var, bias_var, seed=draw, dtype=dtype
            )
            linear = depth == len(widths) - 1 and readout == "linear"
            maps.append(Layer(weight, bias, None if linear else phi, gain=gain, scales=scales))
        super().__init__(maps)
        self.widths = widths


class CNN(Composition):
    """Convolutional network: k x k convolutions with ``channels``, then dense layers with ``hidden`` units, then a
    linear readout of ``classes``.

    ``image_shape`` = (C, H, W). All convolutions have stride 1 and keep the image size; those whose number (from 1) is
    in ``pool_after`` are followed by 2 x 2 maximum pooling. ``init`` as in :class:`MLP`, with the orthogonal or
    identity matrix in the middle of an otherwise empty kernel: a delta-orthogonal convolution
    (:func:`delta_orthogonal_`), which needs channels that do not decrease.

    Raises ``ValueError`` for an even kernel size, an image that is pooled away, decreasing channels with
    ``init="orthogonal"``, and as :class:`MLP` does.

    >>> net = CNN((1, 28, 28), (16, 32), 10, "relu", weight_var=2.0, pool_after=(1, 2), hidden=(64,), seed=0)
    >>> net(torch.zeros(5, 1, 28, 28)).shape, net(torch.zeros(1, 28, 28)).shape, len(net.layers)
    (torch.Size([5, 10]), torch.Size([10]), 4)
    """

    def __init__(
        self,
        image_shape: Sequence[int],
        channels: Sequence[int],
        classes: int,
        activation: ActivationLike,
        *,
        kernel_size: int = 3,
        pool_after: Sequence[int] = (),
        hidden: Sequence[int] = (),
        padding: str = "zeros",
        weight_var: float = 1.0,
        bias_var: float = 0.0,
        gain: float = 1.0,
        init: str = "gaussian",
        parametrisation: str = "standard",
        seed: Seed,
        dtype: torch.dtype | None = None,
    ):
        image_shape, channels = sizes("image_shape", image_shape), sizes("channels", channels, fewest=1)
        hidden, pool_after = sizes("hidden", hidden), sizes("pool_after", pool_after)
        classes = count("classes", classes)
        if len(image_shape) != 3:
            raise ValueError(f"image_shape = {image_shape}: (channels, height, width) is allowed")
        _check_parameters(init, parametrisation, weight_var, bias_var, gain)
        if count("kernel_size", kernel_size) % 2 == 0:
            raise ValueError(f"kernel_size = {kernel_size}: an odd number is allowed")
        one_of("padding", padding, PADDINGS)
        size = tuple(side // 2 ** len(set(pool_after)) for side in image_shape[1:])
        if min(size) < 1 or not set(pool_after) <= set(range(1, len(channels) + 1)):
            raise ValueError(
                f"pool_after = {tuple(pool_after)}: numbers from 1 to {len(channels)}, the convolutions, are allowed, "
                f"as long as they leave something of an image of shape {image_shape}"
            )
        phi, draw = activations.get(activation), generator(seed)

        def layer(shape: tuple[int, ...], phi: Callable[[Tensor], Tensor] | None, **options: bool) -> Layer:
            weight, bias, scales = layer_parameters(
                shape, init, parametrisation, weight_var, bias_var, seed=draw, dtype=dtype
            )
            return Layer(weight, bias, phi, gain=gain, scales=scales, padding=padding, **options)

        steps = zip((image_shape[0], *channels), channels, strict=False)
        maps = [
            layer((c, b, kernel_size, kernel_size), phi, pool=i in pool_after)
            for i, (b, c) in enumerate(steps, start=1)
        ]
        widths = (channels[-1] * size[0] * size[1], *hidden, classes)
        for i, (n_in, n_out) in enumerate(pairwise(widths)):
            maps.append(layer((n_out, n_in), None if i == len(hidden) else phi, flatten=i == 0))
        super().__init__(maps)
        self.image_shape = tuple(image_shape)


def _check_parameters(init: str, parametrisation: str, weight_var: float, bias_var: float, gain: float) -> None:
    one_of("init", init, INITS)
    one_of("parametrisation", parametrisation, PARAMETRISATIONS)
    number("weight_var", weight_var, not_negative)
    number("bias_var", bias_var, not_negative)
    number("gain", gain, finite)
