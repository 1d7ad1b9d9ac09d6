"""Residual networks as flows: paths against a plain loop, thinning, the field between the layers, training."""

import numpy as np
import pytest
import torch
from deepdynamics.transport import at_length, euler_flow, residual_flows, train_residual

POINTS = torch.randn(3, 200, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def nets(runs=3, depth=6, **options):
    kind = dict(dimension=4, classes=3, units=5, steps=[1 / depth] * runs, seed=0, like=POINTS) | options
    return residual_flows(runs, depth=depth, **kind)


def test_the_path_is_that_of_a_loop_over_points():
    net = nets()
    path = net.path(POINTS)
    for run in range(3):
        x = POINTS[run, 7]
        for k in range(6):
            x = x + net.h[run] * net.B[run, k] @ torch.tanh(net.A[run, k] @ x + net.b[run, k])
        torch.testing.assert_close(path[-1, run, 7], x)


def test_one_cloud_for_all_runs():
    net = nets()
    torch.testing.assert_close(net.path(POINTS[0])[:, 1], net.path(POINTS[0].repeat(3, 1, 1))[:, 1])


def test_the_field_gives_the_network_back_in_as_many_steps():
    net = nets()
    torch.testing.assert_close(euler_flow(net.field(1), POINTS[1], 6), net.path(POINTS)[:, 1])


def test_thinning_is_of_order_one_for_equal_layers_and_not_for_independent_ones():
    def moved(depth, alike):
        net = nets(depth=depth, alike=alike)
        return float((net.path(POINTS)[-1] - net.thinned().path(POINTS)[-1]).square().mean().sqrt())

    equal = [moved(depth, True) for depth in (16, 64)]
    assert 3.7 < equal[0] / equal[1] < 4.3
    assert moved(64, False) > 5 * equal[1]


def test_some_of_the_networks():
    net = nets()
    torch.testing.assert_close(net[1:].path(POINTS[1:]), net.path(POINTS)[:, 1:])


def test_the_length_that_was_asked_for_and_the_same_fields():
    net, wanted = nets(), [0.3, 1.0, 2.0]
    found = at_length(net, POINTS, wanted)
    moved = (found.path(POINTS)[-1] - POINTS).square().sum(-1).mean(-1)
    torch.testing.assert_close(moved, torch.tensor(wanted, dtype=torch.float64), rtol=1e-3, atol=0)
    torch.testing.assert_close(found.velocity(2, POINTS), net.velocity(2, POINTS))
    torch.testing.assert_close(at_length(net, POINTS, moved.tolist()).h, found.h, rtol=1e-3, atol=0)


def test_a_length_out_of_reach():
    with pytest.raises(ValueError, match="lead so far"):
        at_length(nets(), POINTS, 1e9)


def test_an_odd_depth_is_not_thinned():
    with pytest.raises(ValueError, match="depth 5"):
        nets(depth=5).thinned()


def test_a_run_does_not_depend_on_the_others():
    x, y = POINTS[:2], torch.randint(3, (2, 200), generator=torch.Generator().manual_seed(1))
    both = train_residual(nets(2, seed=[1, 2]), x, y, steps=20, seed=[3, 4])
    alone = train_residual(nets(1, seed=[2]), x[1:], y[1:], steps=20, seed=[4])
    torch.testing.assert_close(both.A[1:], alone.A, rtol=1e-6, atol=1e-8)


def test_a_price_shortens_the_way():
    x, y = POINTS[:1], (POINTS[:1, :, 0] > 0).long()
    ways = []
    for action in (0.0, 0.5):
        path = train_residual(nets(1), x, y, steps=100, seed=0, action=action).path(x)
        ways.append(float(path.diff(dim=0).square().sum()))
    assert ways[1] < 0.6 * ways[0]


@pytest.mark.parametrize(
    ("x", "y", "match"),
    [
        (POINTS[:, :, :2], torch.zeros(3, 200).long(), r"\(3, n, 4\)"),
        (POINTS, torch.zeros(3, 100).long(), r"\(3, n\)"),
        (POINTS[:, :50], torch.zeros(3, 50).long(), "50 points"),
        (POINTS, torch.full((3, 200), 3), "classes from 0 to 2"),
        (POINTS * torch.nan, torch.zeros(3, 200).long(), "finite points"),
    ],
)
def test_what_does_not_fit(x, y, match):
    with pytest.raises(ValueError, match=match):
        train_residual(nets(), x, y, steps=1, seed=0)


def test_points_that_do_not_fit():
    with pytest.raises(ValueError, match="x of shape"):
        nets().path(np.ones((5, 3)))
