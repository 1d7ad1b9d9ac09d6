"""Pieces of ReLU networks against slopes on a dense grid, known counts and areas."""

import itertools

import numpy as np
import pytest
import torch
from deepdynamics.landscapes import linear_regions, montufar_bound, plane_regions, shallow_regions, tent
from deepdynamics.networks import MLP
from torch import nn
from torch.nn import functional


def perceptron(*widths, seed=0):
    torch.manual_seed(seed)
    layers = []
    for n_in, n_out in itertools.pairwise(widths):
        layers += [nn.Linear(n_in, n_out, dtype=torch.float64), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def kinks_on_a_grid(f, a, b, points=200_001):
    """Cells of a grid in which the second difference is not 0 up to rounding; neighbours count once."""
    t = torch.linspace(0, 1, points, dtype=torch.float64)
    with torch.no_grad():
        y = f(a + t.reshape(-1, *[1] * a.ndim) * (b - a)).flatten(1)
    bent = (y[2:] - 2 * y[1:-1] + y[:-2]).abs().amax(1) > 1e-12 * (1 + y.abs().max())
    at = torch.nonzero(bent).flatten() + 1
    starts = torch.cat((torch.tensor([True]), at.diff() > 1)) if len(at) else torch.zeros(0, dtype=torch.bool)
    return t[at[starts]].numpy()


@pytest.mark.parametrize("depth", [1, 3, 10, 14])
def test_the_tent_has_two_to_the_depth_pieces(depth):
    found = linear_regions(tent(depth), [0.0], [1.0])
    np.testing.assert_array_equal(found, np.arange(1, 2**depth) / 2**depth)


@pytest.mark.parametrize("widths", [(3, 20, 1), (5, 12, 12, 2), (4, 14, 14, 14, 14, 3)])
def test_kinks_are_those_of_a_dense_grid(widths):
    net = perceptron(*widths, seed=1)
    a, b = 4 * torch.randn(2, widths[0], dtype=torch.float64)
    found, grid = linear_regions(net, a, b), kinks_on_a_grid(net, a, b)
    assert len(found) == len(grid) > 3
    np.testing.assert_allclose(found, grid, atol=2e-5)


class Residual(nn.Module):
    """Convolutions, a batch normalisation, a shortcut, functional pooling and a leaky unit."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Conv2d(1, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)
        self.norm, self.out = nn.BatchNorm2d(3), nn.Linear(12, 2)

    def forward(self, x):
        x = functional.relu(self.norm(self.one(x)), inplace=True)
        x = functional.max_pool2d(x + torch.clamp(self.two(x), min=0), 3, stride=2, padding=1)
        return functional.leaky_relu(self.out(x.flatten(1)), 0.1)


def test_any_network_of_relu_and_pooling():
    torch.manual_seed(0)
    net = Residual().double().eval()
    a, b = 2 * torch.randn(2, 1, 4, 4, dtype=torch.float64)
    found, grid = linear_regions(net, a, b), kinks_on_a_grid(net, a, b)
    assert len(found) == len(grid) > 10
    np.testing.assert_allclose(found, grid, atol=2e-5)
    with pytest.raises(ValueError, match="eval"):
        linear_regions(net.train(), a, b)


def test_units_that_no_output_notices_do_not_count():
    net = perceptron(1, 2, 1)
    net[0].weight.data, net[0].bias.data = torch.ones(2, 1).double(), torch.tensor([-0.25, -0.5]).double()
    net[2].weight.data = torch.tensor([[1.0, 0.0]]).double()
    np.testing.assert_allclose(linear_regions(net, [0.0], [1.0]), [0.25], atol=1e-12)


def test_the_networks_of_the_book_and_hard_tanh():
    for kind in ("relu", "hardtanh"):
        net = MLP((3, 16, 16, 2), kind, weight_var=2.0, bias_var=0.1, seed=0)
        a, b = 3 * torch.randn(2, 3, generator=torch.Generator().manual_seed(1)).double()
        assert len(linear_regions(net, a, b)) == len(kinks_on_a_grid(net.double(), a, b)) > 5


def test_smooth_networks_are_refused():
    with pytest.raises(ValueError, match="piecewise affine"):
        linear_regions(nn.Sequential(nn.Linear(2, 4), nn.Tanh()), [0.0, 0.0], [1.0, 5.0])
    with pytest.raises(ValueError, match="one shape"):
        linear_regions(tent(1), [0.0], [1.0, 2.0])


def test_a_shallow_network_has_zaslavskys_number_of_regions():
    net = perceptron(2, 6, 1, seed=3)
    with torch.no_grad():  # all lines cross near the middle of the square
        net[0].bias.copy_(-net[0].weight.sum(1) / 2 + 0.01 * torch.randn(6).double())
    pieces = plane_regions(net, [-5000.0, -5000.0], [10001.0, 0.0], [0.0, 10001.0])
    assert len(pieces.polygons) == shallow_regions(6, 2) == 22


def test_polygons_fill_the_square_and_their_maps_are_the_network():
    net = perceptron(3, 8, 8, 2, seed=5)
    corner, u, v = np.random.default_rng(0).normal(size=(3, 3)) * 3
    pieces = plane_regions(net, corner, u, v)
    assert pieces.areas().sum() == pytest.approx(1, abs=1e-12)
    centres = np.array([p.mean(0) for p in pieces.polygons])
    x = torch.tensor(corner + centres[:, :1] * u + centres[:, 1:] * v)
    inside = np.einsum("kij,kj->ki", pieces.maps, np.c_[centres, np.ones(len(centres))])
    np.testing.assert_allclose(inside, net(x).detach(), atol=1e-10)


def test_activation_patterns_of_a_dense_grid_are_the_pieces():
    net = perceptron(2, 5, 5, 1, seed=2)
    pieces = plane_regions(net, [-2.0, -2.0], [4.0, 0.0], [0.0, 4.0])
    s = torch.linspace(-2, 2, 1501, dtype=torch.float64)[1:-1]
    x, patterns = torch.cartesian_prod(s, s), []
    with torch.no_grad():
        for layer in net:
            x = layer(x)
            if isinstance(layer, nn.ReLU):
                patterns.append(x > 0)
    seen = len(torch.unique(torch.cat(patterns, 1), dim=0))
    assert seen <= len(pieces.polygons) and seen >= (pieces.areas() > 2e-5).sum()


def test_a_cut_through_the_plane_has_the_kinks_of_the_line():
    net = perceptron(2, 9, 9, 1, seed=4)
    line = linear_regions(net, [-3.0, 0.3], [3.0, 0.3])
    pieces = plane_regions(net, [-3.0, -3.0], [6.0, 0.0], [0.0, 6.0])
    t = (0.3 + 3) / 6
    crossed = sum(p[:, 1].min() < t < p[:, 1].max() for p in pieces.polygons)
    assert crossed >= len(line) + 1


def test_montufars_bound():
    assert montufar_bound(2, (8, 8, 8)) == 9472 and montufar_bound(1, (2,) * 9 + (2,)) == 2**9 * 3
    with pytest.raises(ValueError, match="widths"):
        montufar_bound(3, (2, 8))
