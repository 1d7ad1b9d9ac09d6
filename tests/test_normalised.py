"""Networks with normalisation: outputs, spectra of both algorithms, training beside torch's own layers."""

import pytest
import torch
from deepdynamics import fisher
from deepdynamics.ensembles import NORMALISATIONS, NormalisedMLPs
from deepdynamics.networks import MLP

SHAPE = {"widths": (6, 20, 15, 3), "activation": "relu", "weight_var": 2.0, "bias_var": 0.1}


def inputs(n=30, seed=0):
    return torch.randn(n, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def nets(kind="none", runs=2, seed=0):
    return NormalisedMLPs(runs, **SHAPE, normalisation=kind, seed=seed, dtype=torch.float64)


def torch_twin(net, kind):
    """Run 0 as torch's modules, with batch statistics at evaluation."""
    normal = {"affine": False, "track_running_stats": False}
    layers = []
    parts = list(zip(net.parameters[::2], net.parameters[1::2], strict=True))
    for place, (weight, bias) in enumerate(parts):
        linear = torch.nn.Linear(weight.shape[2], weight.shape[1], dtype=torch.float64)
        linear.weight.data, linear.bias.data = weight[0].clone(), bias[0, :, 0].clone()
        layers.append(linear)
        last = place == len(parts) - 1
        if kind == ("batch, last" if last else "batch, hidden"):
            layers.append(torch.nn.BatchNorm1d(weight.shape[1], **normal))
        if kind == "layer, hidden" and not last:
            layers.append(torch.nn.LayerNorm(weight.shape[1], elementwise_affine=False))
        if not last:
            layers.append(torch.nn.ReLU())
    return torch.nn.Sequential(*layers)


def test_a_run_is_the_perceptron_of_its_seed():
    run = nets(seed=[3, 5])
    for place, seed in enumerate([3, 5]):
        net = MLP(**SHAPE, seed=seed, dtype=torch.float64)
        torch.testing.assert_close(run.outputs(inputs())[place], net(inputs()))


@pytest.mark.parametrize("kind", [k for k in NORMALISATIONS if k != "mean, last"])
def test_outputs_and_training_are_those_of_torch(kind):
    run, X = nets(kind), inputs()
    twin = torch_twin(run, kind)
    torch.testing.assert_close(run.outputs(X)[0], twin(X))
    Y, optimiser = inputs(30, 1)[:, :3], torch.optim.SGD(twin.parameters(), lr=0.01)
    found = run.fit(X, Y, learning_rate=0.01, steps=5, batch=30)[:, 0]
    for step in range(5):
        loss = (twin(X) - Y).square().sum(1).mean() / 2
        assert float(found[step]) == pytest.approx(loss.item(), rel=1e-9)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


def test_the_mean_over_samples_is_taken_away():
    X = inputs()
    plain, centred = nets().outputs(X), nets("mean, last").outputs(X)
    torch.testing.assert_close(centred, plain - plain.mean(1, keepdim=True))


@pytest.mark.parametrize("kind", NORMALISATIONS[:3])
def test_the_dual_and_products_have_the_same_eigenvalues(kind):
    run, X = nets(kind), inputs()
    products = run._by_products([p[1] for p in run.parameters], X, 4, 1e-7)
    torch.testing.assert_close(run.leading(X, 4)[1], products)
    torch.testing.assert_close(run.leading(X, 4, runs=[1])[0], products)


def test_the_spectrum_is_that_of_the_fisher_information():
    X = inputs()
    for kind, without in (("none", False), ("mean, last", True)):
        matrix = fisher.dual(MLP(**SHAPE, seed=7, dtype=torch.float64), X, mean_subtracted=without)
        torch.testing.assert_close(nets(kind, 1, [7]).leading(X, 5)[0], torch.linalg.eigvalsh(matrix).flip(0)[:5])


def test_a_run_that_explodes_does_not_disturb_the_others():
    X, Y = inputs(), inputs(30, 1)[:, :3]
    both = nets(seed=[3, 3]).fit(X, Y, learning_rate=[0.01, 1e3], steps=20, batch=30)
    alone = nets(runs=1, seed=[3]).fit(X, Y, learning_rate=[0.01], steps=20, batch=30)
    assert torch.isinf(both[-1, 1]) and torch.isfinite(both[:, 0]).all()
    torch.testing.assert_close(both[:, 0], alone[:, 0])


def test_arguments_are_checked():
    with pytest.raises(ValueError, match="normalisation"):
        nets("group")
    with pytest.raises(ValueError, match="X of shape"):
        nets().outputs(torch.ones(3, 5))
    with pytest.raises(ValueError, match="Y of shape"):
        nets().fit(inputs(), inputs()[:, :2], learning_rate=0.1, steps=1, batch=30)
    for wrong in ({"batch": 0}, {"batch": 31}, {"learning_rate": -0.1}, {"learning_rate": float("nan")}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            nets().fit(inputs(), inputs()[:, :3], **{"learning_rate": 0.1, "steps": 1, "batch": 30} | wrong)
    with pytest.raises(ValueError, match="learning_rate has 3"):
        nets().fit(inputs(), inputs()[:, :3], learning_rate=[0.1] * 3, steps=1, batch=30)
