"""What the chapter on layers as time measures."""

import numpy as np
import pytest
import torch
from deepdynamics import jacobian
from deepdynamics.experiments.layers_as_time import differences as diff
from deepdynamics.experiments.layers_as_time import rates
from deepdynamics.meanfield import MeanField
from deepdynamics.networks import MLP

WIDTHS = (12, 30, 30, 4)


@pytest.fixture(scope="module")
def pictures():
    draw = torch.Generator().manual_seed(0)
    return torch.rand(200, 12, generator=draw), torch.randint(4, (200,), generator=draw)


@pytest.fixture(scope="module")
def pairs(pictures):
    return [diff.differences(*pictures, part=part, parts=2, count=50, near=(1, 3)) for part in range(2)]


@pytest.fixture(scope="module")
def nets():
    return [MLP(WIDTHS, "tanh", weight_var=1.5, bias_var=0.1, seed=seed) for seed in range(2)]


def labels_of(pictures, some):
    images, labels = pictures
    return labels[(some[:, None] == images).all(-1).int().argmax(1)]


def test_pairs_are_of_their_kind(pictures, pairs):
    for part, own in enumerate(pairs):
        for kind, (a, b) in own.items():
            assert a.shape == b.shape and bool(((a - b).norm(dim=1) > 0).all())
            assert bool(torch.isin(a, pictures[0][part::2]).all()), kind
        assert bool((labels_of(pictures, own["same digit"][0]) == labels_of(pictures, own["same digit"][1])).all())
        assert bool(
            (labels_of(pictures, own["different digits"][0]) != labels_of(pictures, own["different digits"][1])).all()
        )
        a, b = own["same digit"]
        start, end = own["noise"]
        assert torch.allclose((end - start).norm(dim=1), (b - a).norm(dim=1)) and torch.equal(start, a)


def test_like_ones_are_nearest(pictures, pairs):
    a, b = pairs[1]["like ones"]
    ones = pictures[0][pictures[1] == 1]
    assert len(a) == int((pictures[1][1::2] == 1).sum())
    assert torch.allclose((a - b).norm(dim=1), torch.cdist(a, ones).topk(2, largest=False).values[:, 1], atol=1e-5)
    a, b = pairs[1]["nearest seven"]
    threes = pictures[0][pictures[1] == 3]
    assert torch.equal(a, pairs[1]["like ones"][0])
    assert torch.allclose((a - b).norm(dim=1), torch.cdist(a, threes).amin(1), atol=1e-5)


def relative_gains(nets, pairs):
    return diff.relative(diff.growth(nets, pairs))


def test_growth_is_in_plain_distance(nets, pairs):
    grown = diff.growth(nets, pairs)["noise"]
    a, b = pairs[1]["noise"]
    d = [
        float((s - t).square().sum(1).mean().sqrt()) for s, t in zip(nets[1].states(a), nets[1].states(b), strict=True)
    ]
    assert np.allclose(grown[1], np.array(d) / d[0], rtol=1e-5)


def test_gains_do_not_see_the_scale_of_a_layer(nets, pairs):
    gains = relative_gains(nets, pairs)
    assert all(found.shape == (2, 4) and np.allclose(found[:, 0], 1) for found in gains.values())
    assert np.allclose(gains["any two images"], 1)
    with torch.no_grad():
        nets[0].layers[-1].weight.mul_(7.0)
    assert np.allclose(relative_gains(nets, pairs)["noise"], gains["noise"], rtol=1e-5)


def test_tangent_of_a_linear_network_is_exact(pairs):
    nets = [MLP(WIDTHS, "linear", seed=seed) for seed in range(2)]
    actual, linear = relative_gains(nets, pairs), diff.tangent_gains(nets, pairs)
    assert all(np.allclose(linear[kind], actual[kind], rtol=1e-4) for kind in actual)


def test_gains_of_wide_networks_are_expected(pairs):
    wide = (12, 3000, 3000, 3000)
    nets = [MLP(wide, "tanh", weight_var=1.5, bias_var=0.1, seed=seed) for seed in range(2)]
    found, expected = (
        relative_gains(nets, pairs),
        diff.expected_gains(pairs, wide, "tanh", weight_var=1.5, bias_var=0.1),
    )
    assert all(np.allclose(found[kind], expected[kind], rtol=0.03) for kind in found)
    assert abs(expected["noise"][0, -1] - 1) > 0.02


def test_stretches_are_singular_values_in_their_unit(nets, pairs):
    found = diff.stretches(nets, pairs, images=3)
    assert [layer.shape for layer in found] == [(2, 3, 12), (2, 3, 12), (2, 3, 4)]
    a, b = pairs[1]["any two images"]
    D = [
        float((s - t).square().sum(1).mean().sqrt()) for s, t in zip(nets[1].states(a), nets[1].states(b), strict=True)
    ]
    assert np.allclose(found[2][1, 2], jacobian.singular_values(nets[1], a[2]) * D[0] / D[3], rtol=1e-4)


def test_stretches_of_later_layers(nets, pairs):
    found = diff.stretches(nets, pairs, images=3, start=1)
    assert [layer.shape for layer in found] == [(2, 3, 30), (2, 3, 4)]
    a, b = pairs[1]["any two images"]
    D = [
        float((s - t).square().sum(1).mean().sqrt()) for s, t in zip(nets[1].states(a), nets[1].states(b), strict=True)
    ]
    s = jacobian.singular_values(torch.nn.Sequential(*nets[1].layers[1:]), nets[1].states(a)[1][2])
    assert np.allclose(found[1][1, 2], s * D[1] / D[3], rtol=1e-4)


def test_plane_has_the_two_largest_variances(pictures):
    images, _ = pictures
    shown = diff.in_plane(lambda x: x, images)(images)
    largest = torch.linalg.eigvalsh(torch.cov(images.T))[-2:]
    assert torch.allclose(torch.cov(shown.T), torch.diag(largest), atol=1e-5)


def test_shuffled_weights_are_the_same_numbers(nets):
    double = diff.shuffled(nets[0], seed=0)
    for old, new in zip(nets[0].parameters(), double.parameters(), strict=True):
        assert torch.equal(old.flatten().sort().values, new.flatten().sort().values) and not torch.equal(old, new)


def test_reach_is_where_the_linear_prediction_fails(pairs):
    pair = pairs[0]["different digits"]
    flat, bent = (MLP(WIDTHS, "tanh", weight_var=v, bias_var=0.1, seed=0) for v in (0.5, 4.0))
    assert diff.reach(bent, pair) < diff.reach(flat, pair)
    fraction = diff.reach(bent, pair)
    a, b = pair
    moved = bent.states(a + fraction * (b - a))[-1] - bent.states(a)[-1]
    linear = fraction * jacobian.pushforward(bent.layers, a, b - a)[-1]
    assert float(((moved - linear).norm(dim=1) / moved.norm(dim=1)).median()) == pytest.approx(0.1, rel=0.05)


def test_reader_finds_what_is_there(pictures):
    images, labels = pictures
    told = torch.cat([labels[:, None].float(), images[:, :2]], 1)
    codes = [lambda x: x, lambda x: x[:, 1:]]
    errors = diff.reading_errors(codes, (told, labels), (told, labels), digits=(1, 3))
    assert errors[0] == 0 and 0.2 < errors[1] < 0.8


@pytest.mark.parametrize("weight_var", [1.0, 4.0])
def test_exponents_have_their_mean_rates(weight_var):
    field = MeanField("tanh", weight_var, 0.05)
    found = np.stack([rates.random_exponents(field, width=60, depth=6, seed=seed) for seed in range(4)])
    assert found.shape == (4, 6, 60) and (np.diff(found, axis=2) <= 0).all()
    assert found[:, -1].mean() == pytest.approx(rates.mean_rate(field, 60), abs=0.15)
    assert np.log(np.exp(12 * found[:, -1]).mean(1)).mean() / 12 == pytest.approx(rates.rms_rate(field), abs=0.1)


@pytest.mark.parametrize("weight_var", [1.0, 4.0])
def test_random_displacements_grow_as_the_mean_square(weight_var):
    field = MeanField("tanh", weight_var, 0.05)
    found = np.stack([rates.displacement_rates(field, width=60, depth=6, seed=seed) for seed in range(12)])
    assert found.shape == (12, 6, 50)
    assert found[:, -1].mean() == pytest.approx(rates.rms_rate(field), abs=0.06)
    squares = np.exp(12 * rates.random_exponents(field, width=60, depth=6, seed=3)[-1]).mean()
    assert np.exp(12 * found[3, -1]).mean() == pytest.approx(squares, rel=0.25)
