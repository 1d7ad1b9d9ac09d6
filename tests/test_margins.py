"""Margins of linear networks in closed form, and of others by finite differences."""

import math

import pytest
import torch
from deepdynamics.margins import class_steps, flip_multiple, margin, margin_step
from deepdynamics.networks import MLP, generator

F64 = torch.float64


def test_a_linear_network_flips_exactly_at_the_predicted_length():
    W = torch.randn(5, 8, generator=generator(0), dtype=F64)
    x = torch.randn(8, generator=generator(1), dtype=F64)
    f = lambda y: y @ W.T  # noqa: E731
    label = int(f(x).argmax())
    direction, m, length = margin_step(f, x, label)
    assert float(direction.norm()) == pytest.approx(1)
    assert length == pytest.approx(m / float((W[label] - W[int(f(x).topk(2).indices[1])]).norm()))
    # Another class may come first on the way: then earlier, never later.
    found = flip_multiple(f, x, label, length * direction, [0.01 * k for k in range(1, 200)])
    assert found <= 1.01
    assert flip_multiple(f, x, label, -length * direction, [0.5, 1.0]) == math.inf


def test_the_gradient_is_that_of_finite_differences():
    net = MLP((6, 20, 4), "tanh", weight_var=2.0, seed=0, dtype=F64)
    x = torch.randn(6, generator=generator(2), dtype=F64)
    label = int(net(x).argmax())
    direction, m, length = margin_step(net, x, label)
    h = 1e-6
    slope = float(margin(net, x + h * direction, label) - margin(net, x - h * direction, label)) / (2 * h)
    assert slope == pytest.approx(-m / length, rel=1e-6)


def test_batches_are_loops():
    logits = torch.randn(7, 3, generator=generator(3))
    together = margin(lambda y: y, logits, 1)
    assert together.tolist() == [float(margin(lambda y: y, one, 1)) for one in logits]


def test_bad_input():
    for label in (-1, 3):
        with pytest.raises(ValueError, match=f"label = {label}"):
            margin(lambda y: y, torch.zeros(3), label)
    with pytest.raises(ValueError, match="two classes"):
        margin(lambda y: y, torch.zeros(1), 0)
    with pytest.raises(ValueError, match="no gradient"):
        margin_step(lambda y: torch.stack((y.sum() * 0 + 1, y.sum() * 0)), torch.ones(2), 0)


def test_the_nearest_class_need_not_be_the_runner_up():
    W = torch.randn(6, 8, generator=generator(4), dtype=F64)
    x = torch.randn(8, generator=generator(5), dtype=F64)
    f = lambda y: y @ W.T  # noqa: E731
    label = int(f(x).argmax())
    steps = class_steps(f, x, label)
    lengths = {j: float((W[label] - W[j]) @ x / (W[label] - W[j]).norm()) for j in range(6) if j != label}
    for j, length in lengths.items():
        assert steps.of(j).length == pytest.approx(length)
    assert steps.nearest.length == pytest.approx(min(lengths.values()))
    # In a linear network that is where the answer changes, and not before.
    multiples = [0.005 + 0.01 * k for k in range(90, 120)]
    assert flip_multiple(f, x, label, steps.nearest.length * steps.nearest.direction, multiples) == pytest.approx(1.005)


def test_at_the_boundary_itself_the_answer_has_not_changed():
    """Of (x, 0) at x = 1, a step of -1 ends at a tie, and no step that is longer does."""
    f = lambda x: torch.stack((x[0], 0 * x[0]))  # noqa: E731
    assert float(margin(f, [0.0], 0)) == 0
    assert flip_multiple(f, [1.0], 0, [-1.0], (0.5, 1.0, 1.5)) == 1.5


def test_few_classes_are_those_of_the_largest_logits():
    logits = torch.randn(9, generator=generator(6), dtype=F64)
    label = int(logits.argmin())
    steps = class_steps(lambda y: y, logits, label, most=3)
    assert steps.classes == tuple(logits.topk(3).indices.tolist())
    with pytest.raises(ValueError, match="most = 0"):
        class_steps(lambda y: y, logits, label, most=0)
    with pytest.raises(ValueError, match="label = 0"):
        class_steps(lambda y: y, logits, 1, most=3).of(0)
    with pytest.raises(ValueError, match="label = 9"):
        class_steps(lambda y: y, logits, 9)
