"""Localisation of pictures against closed forms."""

import math

import pytest
import torch
from deepdynamics.jacobian import localisation
from deepdynamics.networks import generator

F64 = torch.float64


def gaussian(deviation, size=28):
    """Amplitude whose energy is a Gaussian of that standard deviation, in the middle of the picture."""
    place = torch.arange(size, dtype=F64) - (size - 1) / 2
    profile = torch.exp(-(place**2) / (4 * deviation**2))
    return (profile[:, None] * profile).reshape(-1, 1)


@pytest.mark.parametrize("shape", [(4, 6), (3, 4, 6)])
def test_a_pixel_and_a_constant(shape):
    n, rows = 24, math.prod(shape)
    V = torch.ones(rows, 2, dtype=F64)
    V[:, 0] = 0
    V[7, 0] = -3.0
    participation, radius, area = localisation(V, shape)
    spread = math.sqrt((4**2 + 6**2 - 2) / 12)
    torch.testing.assert_close(participation, torch.tensor([1 / n, 1.0], dtype=F64))
    torch.testing.assert_close(radius, torch.tensor([0.0, spread], dtype=F64))
    torch.testing.assert_close(area, torch.tensor([1.0, n], dtype=F64))


def test_a_gaussian():
    # Area 4πσ² and radius √2 σ for energy of standard deviation σ = 2; the edge of the picture is 7 σ away.
    found = localisation(gaussian(2.0), (28, 28))
    assert float(found.effective_area) == pytest.approx(16 * math.pi, rel=1e-9)
    assert float(found.inverse_participation) == pytest.approx(16 * math.pi / 784, rel=1e-9)
    assert float(found.inverse_participation) == pytest.approx(0.0641, abs=5e-5)
    assert float(found.radius) == pytest.approx(math.sqrt(8), rel=1e-9)


@pytest.mark.parametrize("channels", [1, 3])
def test_white_noise(channels):
    # E P² is (C + 2)/C / n²; 40 pictures of 784 pixels leave about 1 % of noise in the mean, five times of which:
    noise = torch.randn(channels * 784, 40, generator=generator(0), dtype=F64)
    participation = localisation(noise, (channels, 28, 28)).inverse_participation
    assert float(participation.mean()) == pytest.approx(channels / (channels + 2), rel=0.05)


def test_invariance():
    V = torch.randn(3 * 5 * 7, 4, generator=generator(1), dtype=F64)
    plain = localisation(V, (3, 5, 7))
    for changed in (-2e-200 * V, 1e200 * V, V.reshape(3, 5, 7, 4).flip(0, 1, 2).reshape(105, 4)):
        for a, b in zip(localisation(changed, (3, 5, 7)), plain, strict=True):
            torch.testing.assert_close(a, b)
    rolled = localisation(gaussian(2.0, 60).reshape(60, 60).roll((7, -5), (0, 1)).reshape(-1, 1), (60, 60))
    assert float(rolled.radius) == pytest.approx(math.sqrt(8), rel=1e-9)


def test_type_follows_the_input():
    assert {value.dtype for value in localisation(torch.ones(4, 1), (2, 2))} == {torch.float32}


@pytest.mark.parametrize(
    ("V", "shape", "message"),
    [
        (torch.ones(5, 1), (2, 2), r"V of shape \(5, 1\)"),
        (torch.ones(4), (2, 2), "V of shape"),
        (torch.ones(4, 1, dtype=torch.int64), (2, 2), "int64"),
        (["a"], (1, 1), "V of type <U1"),
        (torch.tensor([[1.0], [math.nan]]), (2, 1), "not finite"),
        (torch.tensor([[1.0, 0.0], [1.0, 0.0]]), (2, 1), "column 1 is zero"),
        (torch.ones(4, 1), (4,), "image_shape"),
        (torch.ones(4, 1), (-2, -2), "image_shape"),
    ],
)
def test_bad_input(V, shape, message):
    with pytest.raises(ValueError, match=message):
        localisation(V, shape)
