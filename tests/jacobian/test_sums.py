"""Sums over a spectrum by random probes, against the dense Jacobian."""

import math

import pytest
import torch
from deepdynamics.jacobian import SpectralSums, singular_values, spectral_sums, sums
from deepdynamics.networks import CNN, MLP, generator

F64 = torch.float64


@pytest.mark.parametrize(
    ("net", "shape"),
    [
        (MLP((6, 40, 30), "tanh", weight_var=2.0, seed=0, dtype=F64), (6,)),
        (
            CNN((1, 6, 6), (3, 4), 3, "relu", pool_after=(1,), weight_var=2.0, bias_var=0.1, seed=3, dtype=F64),
            (1, 6, 6),
        ),
    ],
)
def test_sums_are_those_of_the_singular_values(net, shape):
    x = torch.randn(shape, generator=generator(1), dtype=F64)
    s = singular_values(net, x)
    found = spectral_sums(net, x, probes=600, seed=2)
    # The probes' own standard errors, at 4.5 of them.
    assert found.squares == pytest.approx(float((s**2).sum()), abs=4.5 * found.squares_error)
    assert found.fourths == pytest.approx(float((s**4).sum()), abs=4.5 * found.fourths_error)
    assert found.squares_error < 0.1 * found.squares


def test_a_diagonal_jacobian_needs_no_average():
    """Signs have squares of one."""
    scales = torch.tensor([3.0, 2.0, 0.0, 1.0], dtype=F64)
    found = spectral_sums(lambda x: scales * x, torch.zeros(4, dtype=F64), probes=2)
    assert tuple(found) == (14.0, 98.0, 0.0, 0.0)
    assert found.participation == 2.0


@pytest.mark.parametrize("at_once", [1, 3, 8, 24, 100])
@pytest.mark.parametrize("dtype", [F64, torch.float32])
def test_the_number_of_probes_taken_at_once_changes_nothing(monkeypatch, at_once, dtype):
    """The same signs are drawn, and only the order of sums in a product of matrices may depend on it."""
    net, x = MLP((5, 9, 4), "tanh", weight_var=2.0, seed=0, dtype=dtype), torch.ones(5, dtype=dtype)
    expected = spectral_sums(net, x, probes=24, seed=1)
    monkeypatch.setattr(sums, "_AT_ONCE", at_once)
    found = spectral_sums(net, x, probes=24, seed=1)
    assert tuple(found) == pytest.approx(tuple(expected), rel=50 * torch.finfo(dtype).eps)


def test_more_probes_are_the_first_ones_and_others():
    """Errors fall like one over the root of their number."""
    net, x = MLP((5, 9, 4), "tanh", weight_var=2.0, seed=0, dtype=F64), torch.ones(5, dtype=F64)
    few, many = spectral_sums(net, x, probes=100, seed=1), spectral_sums(net, x, probes=900, seed=1)
    assert few.squares_error / many.squares_error == pytest.approx(3, rel=0.3)
    assert few.fourths_error / many.fourths_error == pytest.approx(3, rel=0.3)


def test_a_zero_jacobian():
    found = spectral_sums(lambda x: torch.relu(x - 5), torch.zeros(3), probes=2)
    assert found.squares == 0 and math.isnan(found.participation)
    assert math.isnan(SpectralSums(0, 0, 0, 0).participation)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"probes": 1}, "probes = 1"),
        ({"x": torch.tensor([math.nan])}, "finite"),
        ({"x": torch.tensor([1])}, "floating"),
        ({"f": lambda x: (x, x)}, "returns tuple"),
    ],
)
def test_bad_input(arguments, message):
    given = {"f": torch.sin, "x": torch.zeros(2)} | arguments
    with pytest.raises(ValueError, match=message):
        spectral_sums(given.pop("f"), given.pop("x"), **given)
