"""Shaped noise: where its energy is, and the mean gain that theory gives it."""

import numpy as np
import pytest
import torch
from deepdynamics.directions import band_noise, patch_noise, span_noise
from deepdynamics.networks import generator, haar

SHAPE = (2, 12, 10)


@pytest.mark.parametrize("noise", [band_noise(SHAPE, 2, 4, 5, seed=0), patch_noise(SHAPE, 3, 5, seed=0)])
def test_unit_norm_and_shape(noise):
    assert noise.shape == (5, *SHAPE)
    torch.testing.assert_close(noise.flatten(1).norm(dim=1), torch.ones(5))


def test_band_noise_has_no_other_frequency():
    spectrum = torch.fft.fft2(band_noise(SHAPE, 2, 4, 3, seed=1)).abs()
    rows, columns = np.fft.fftfreq(12) * 12, np.fft.fftfreq(10) * 10
    radius = torch.tensor(np.sqrt(rows[:, None] ** 2 + columns**2))
    outside = (radius < 2) | (radius >= 4)
    assert spectrum[..., outside].max() < 1e-5 and spectrum[..., ~outside].min() > 1e-4  # float32


def test_a_band_is_white_inside():
    """Every frequency of the band takes the same share of the energy."""
    power = torch.fft.fft2(band_noise(SHAPE, 2, 4, 4000, seed=2)).abs().square().mean((0, 1))
    rows, columns = np.fft.fftfreq(12) * 12, np.fft.fftfreq(10) * 10
    radius = torch.tensor(np.sqrt(rows[:, None] ** 2 + columns**2))
    inside = power[(radius >= 2) & (radius < 4)]
    # each is a mean of 8,000 draws whose standard deviation is at most √2 times their mean
    assert float((inside / inside.mean() - 1).abs().max()) < 5 * 2**0.5 / 8000**0.5


@pytest.mark.parametrize("size", [1, 3, 10])
def test_patches_of_every_size_have_the_same_mean_square_gain(size):
    J = torch.randn(6, 240, generator=generator(0)) * torch.linspace(0, 3, 240)
    gains = (patch_noise(SHAPE, size, 20_000, seed=3).flatten(1) @ J.T).square().sum(1)
    expected = float(J.square().sum()) / 240
    assert float(gains.mean()) == pytest.approx(expected, abs=4.5 * float(gains.std()) / 20_000**0.5)


def test_patches_lie_within_a_square():
    for noise in patch_noise((1, 9, 9), 4, 30, seed=4):
        rows, columns = (noise[0] != 0).any(1), (noise[0] != 0).any(0)
        assert rows.sum() == 4 and columns.sum() == 4


def test_span_noise_lies_in_the_span_and_has_the_mean_square_of_its_singular_values():
    V = haar(20, 4, seed=0).float()
    noise = span_noise(V, 5000, seed=1)
    torch.testing.assert_close(noise @ V @ V.T, noise)
    torch.testing.assert_close(noise.norm(dim=1), torch.ones(5000))
    s = torch.tensor([4.0, 2.0, 1.0, 0.5])
    gains = ((noise @ V) * s).square().sum(1)
    assert float(gains.mean()) == pytest.approx(float(s.square().mean()), abs=4.5 * float(gains.std()) / 5000**0.5)


def test_span_noise_is_uniform_on_the_sphere_of_the_span():
    V = haar(20, 4, seed=0)
    found = span_noise(V, 4000, seed=9) @ V
    # each squared coordinate has mean 1/4 and variance 2·3/(16·6) = 1/16: five standard errors
    assert float((found.square().mean(0) - 0.25).abs().max()) < 5 * 0.25 / 4000**0.5


def test_equal_seeds_give_equal_noise():
    assert band_noise(SHAPE, 0, 3, 2, seed=7).equal(band_noise(SHAPE, 0, 3, 2, seed=7))
    assert patch_noise(SHAPE, 3, 2, seed=7).equal(patch_noise(SHAPE, 3, 2, seed=7))
    assert not patch_noise(SHAPE, 3, 2, seed=7).equal(patch_noise(SHAPE, 3, 2, seed=8))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: band_noise(SHAPE, 3, 3, 1, seed=0), "no frequency"),
        (lambda: band_noise((4, 4), 0, 1, 1, seed=0), "shape ="),
        (lambda: band_noise(SHAPE, 0, 1, 0, seed=0), "count = 0"),
        (lambda: patch_noise(SHAPE, 11, 1, seed=0), "size = 11"),
        (lambda: patch_noise(SHAPE, 0, 1, seed=0), "size = 0"),
        (lambda: span_noise(torch.ones(3), 1, seed=0), "V of shape"),
        (lambda: span_noise(torch.eye(3), 0, seed=0), "count = 0"),
        (lambda: span_noise(2 * torch.eye(3), 1, seed=0), "not orthonormal"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
