"""Ensembles: the same as single networks trained by autograd; independent runs; divergence; bad input."""

import math

import numpy as np
import pytest
import torch
from deepdynamics._batched import mini_batches
from deepdynamics.ensembles import MLPEnsemble, mlp
from deepdynamics.networks import MLP, generator

F64 = torch.float64
TRAIN = mlp.train
INITS = ["gaussian", "orthogonal", "identity"]


def problem(n=120, inputs=7, classes=3, dtype=F64):
    draw = generator(0)
    X = torch.randn(n, inputs, generator=draw, dtype=F64)
    teacher = torch.randn(inputs, classes, generator=draw, dtype=F64)
    return X.to(dtype), (X @ teacher).argmax(1)


def train_alone(net, X, y, optimiser, batches):
    losses, accuracies = [], []
    for rows in batches:
        logits = net(X[rows])
        loss = torch.nn.functional.cross_entropy(logits, y[rows])
        losses.append(loss.detach())
        accuracies.append((logits.argmax(1) == y[rows]).double().mean())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return torch.stack(losses), torch.stack(accuracies)


OPTIMISERS = {
    "sgd": lambda p, lr: torch.optim.SGD(p, lr),
    "momentum": lambda p, lr: torch.optim.SGD(p, lr, momentum=0.9),
    "adam": lambda p, lr: torch.optim.Adam(p, lr),
}


# tanh, relu and sigmoid are overwritten in place, erf goes the general way.
@pytest.mark.parametrize("activation", ["tanh", "relu", "sigmoid", "erf"])
@pytest.mark.parametrize("optimiser", list(OPTIMISERS))
@pytest.mark.parametrize(("dtype", "bound"), [(F64, 1e-12), (torch.float32, 2e-4)])
def test_an_ensemble_is_its_networks_trained_alone(activation, optimiser, dtype, bound):
    X, y = problem(dtype=dtype)
    widths, rates, variances = (7, 11, 9, 3), [0.05, 0.1, 0.02], [1.0, 2.0, 1.5]
    ensemble = MLPEnsemble(
        3, widths, activation, weight_var=variances, bias_var=0.1, init=INITS, seed=[5, 6, 7], dtype=dtype
    )
    loss, accuracy, diverged = ensemble.fit(X, y, learning_rate=rates, steps=30, batch=50, optimiser=optimiser, seed=3)
    assert not diverged.any()
    for r in range(3):
        net = MLP(widths, activation, weight_var=variances[r], bias_var=0.1, init=INITS[r], seed=5 + r, dtype=dtype)
        alone = train_alone(
            net, X, y, OPTIMISERS[optimiser](net.parameters(), rates[r]), mini_batches(120, 50, 30, [3])
        )
        # The same arithmetic in another order. Training amplifies the rounding: 30 steps turn 1e-7 (float32) into 1e-5;
        # Adam divides by gradients that nearly vanish.
        torch.testing.assert_close(loss[:, r], alone[0], rtol=bound, atol=bound)
        if dtype == F64:
            assert torch.equal(accuracy[:, r], alone[1])
        for own, other in zip(ensemble.network(r).parameters(), net.parameters(), strict=True):
            torch.testing.assert_close(own, other, rtol=10 * bound, atol=10 * bound)


def test_loss_at_initialisation_and_evaluation_by_hand():
    X, y = problem()
    ensemble = MLPEnsemble(2, (7, 5, 3), "tanh", seed=1, dtype=F64)
    history = ensemble.fit(X, y, learning_rate=0.0, steps=1, batch=120)
    logits = np.stack([ensemble.network(r)(X).detach().numpy() for r in range(2)])
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    np.testing.assert_allclose(history.loss[0], -log_p[:, np.arange(120), y.numpy()].mean(-1), rtol=1e-13)
    np.testing.assert_allclose(ensemble.outputs(X), logits, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(ensemble.evaluate(X, y), (logits.argmax(-1) == y.numpy()).mean(-1), rtol=1e-6)


def test_it_learns():
    X, y = problem(600)
    ensemble = MLPEnsemble(4, (7, 32, 3), "relu", weight_var=2.0, seed=0, dtype=F64)
    history = ensemble.fit(X, y, learning_rate=0.1, steps=300, batch=50, optimiser="momentum")
    assert (history.loss[-1] < 0.2 * history.loss[0]).all() and (ensemble.evaluate(X, y) > 0.95).all()


def test_one_seed_gives_independent_networks_and_equal_seeds_equal_draws():
    ensemble = MLPEnsemble(3, (7, 5, 3), "tanh", seed=1)
    again = MLPEnsemble(3, (7, 5, 3), "tanh", seed=1)
    assert ensemble.seeds == again.seeds and len(set(ensemble.seeds)) == 3
    assert not set(ensemble.seeds) & set(MLPEnsemble(3, (7, 5, 3), "tanh", seed=2).seeds)
    pair = MLPEnsemble(2, (7, 5, 3), "tanh", weight_var=[1.0, 4.0], seed=[9, 9])
    torch.testing.assert_close(2 * pair.network(0).layers[0].weight, pair.network(1).layers[0].weight)


def test_everything_may_differ_between_runs():
    X, y = problem()
    shapes, kinds = [(7, 5, 3), (7, 6, 6, 3), (7, 5, 3), (7, 5, 3)], ["sgd", "adam", "momentum", "sgd"]
    activations, steps, batches = ["tanh", "relu", "erf", "tanh"], [20, 10, 15, 20], [30, 120, 60, 40]
    together = MLPEnsemble(4, shapes, activations, weight_var=[1, 2, 1, 1.5], seed=[1, 2, 3, 4], dtype=F64)
    history = together.fit(X, y, learning_rate=[0.1, 0.01, 0.05, 0.2], steps=steps, batch=batches, optimiser=kinds)
    assert history.loss.shape == (20, 4)
    for r in range(4):
        alone = MLPEnsemble(1, shapes[r], activations[r], weight_var=[1, 2, 1, 1.5][r], seed=[r + 1], dtype=F64)
        single = alone.fit(
            X, y, learning_rate=[0.1, 0.01, 0.05, 0.2][r], steps=steps[r], batch=batches[r], optimiser=kinds[r]
        )
        torch.testing.assert_close(history.loss[: steps[r], r], single.loss[:, 0], rtol=1e-12, atol=0)
        assert torch.isnan(history.loss[steps[r] :, r]).all()
        torch.testing.assert_close(together.outputs(X)[r], alone.outputs(X)[0], rtol=1e-11, atol=1e-12)
        assert together.evaluate(X, y)[r] == alone.evaluate(X, y)[0]


@pytest.mark.parametrize("optimiser", list(OPTIMISERS))
def test_a_diverging_run_leaves_the_others_as_they_are(optimiser):
    X, y = problem()
    # The linear network doubles its weights at each step: an overflow in float64 within 200 steps at this rate.
    make = {"widths": (7, 20, 20, 20, 3), "activation": "linear", "dtype": F64}
    runs = MLPEnsemble(2, **make, seed=[1, 2])
    rates = [0.01, 1e200]
    loss, accuracy, diverged = runs.fit(X, y, learning_rate=rates, steps=20, batch=40, optimiser=optimiser)
    alone = MLPEnsemble(1, **make, seed=[1]).fit(X, y, learning_rate=0.01, steps=20, batch=40, optimiser=optimiser)
    torch.testing.assert_close(loss[:, 0], alone.loss[:, 0], rtol=1e-13, atol=0)
    assert diverged.tolist() == [False, True]
    failed = torch.isinf(loss[:, 1])
    assert failed[-1] and not failed[0] and (failed.int().diff() >= 0).all()
    assert (accuracy[failed, 1] == 0).all() and not torch.isnan(loss).any()
    accuracies = runs.evaluate(X, y)
    assert accuracies[1] == 0 and accuracies[0] > 0.3


def test_training_in_two_calls_is_training_in_one_for_sgd():
    X, y = problem()
    make = {"runs": 2, "widths": (7, 9, 3), "activation": "tanh", "seed": 1, "dtype": F64}
    whole, parts = MLPEnsemble(**make), MLPEnsemble(**make)
    # Full batches: the order of the samples changes only the order of a sum.
    whole.fit(X, y, learning_rate=0.1, steps=10, batch=120)
    for seed in range(2):
        parts.fit(X, y, learning_rate=0.1, steps=5, batch=120, seed=seed)
    torch.testing.assert_close(whole.outputs(X), parts.outputs(X), rtol=1e-12, atol=1e-13)


def test_runs_with_batches_of_their_own_are_trained_together_and_as_alone(monkeypatch):
    """Small networks as one group, large ones seed by seed: the same to rounding."""
    X, y = problem()
    groups = []
    monkeypatch.setattr(mlp, "train", lambda part, *rest: groups.append(part) or TRAIN(part, *rest))
    results = []
    for gathered in (mlp._GATHERED, 0):
        monkeypatch.setattr(mlp, "_GATHERED", gathered)
        together = MLPEnsemble(4, (7, 9, 3), "tanh", seed=[1, 2, 3, 4], dtype=F64)
        results.append(together.fit(X, y, learning_rate=0.1, steps=10, batch=50, seed=[5, 6, 5, 7]))
    assert [len(part.members) for part in groups] == [4, 2, 1, 1]
    torch.testing.assert_close(results[0].loss, results[1].loss, rtol=1e-12, atol=0)
    for r, order in enumerate([5, 6, 5, 7]):
        alone = MLPEnsemble(1, (7, 9, 3), "tanh", seed=[r + 1], dtype=F64)
        single = alone.fit(X, y, learning_rate=0.1, steps=10, batch=50, seed=order)
        torch.testing.assert_close(results[0].loss[:, r], single.loss[:, 0], rtol=1e-12, atol=0)


@pytest.mark.parametrize(("width", "threads"), [(16, 1), (300, 2)])
def test_small_networks_are_trained_on_one_thread_and_the_caller_keeps_his(monkeypatch, width, threads):
    before, used = torch.get_num_threads(), []
    monkeypatch.setattr(mlp, "train", lambda *a: used.append(torch.get_num_threads()) or TRAIN(*a))
    try:
        torch.set_num_threads(2)
        X, y = problem(dtype=torch.float32)
        MLPEnsemble(2, (7, width, width, 3), "tanh").fit(X, y, learning_rate=0.1, steps=1, batch=60)
        assert used == [threads] and torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_arrays_and_lists_at_every_door():
    X, y = problem(dtype=torch.float32)
    results = []
    for inputs, labels in ((X, y), (X.numpy(), y.numpy().astype(np.uint8)), (X.tolist(), y.tolist())):
        ensemble = MLPEnsemble(2, np.array([7, 5, 3]), "tanh", weight_var=np.array([1.0, 2.0]), seed=1)
        history = ensemble.fit(inputs, labels, learning_rate=np.array([0.1, 0.2]), steps=3, batch=50)
        results.append((history.loss, ensemble.outputs(inputs), ensemble.evaluate(inputs, labels)))
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))
    with pytest.raises(ValueError, match=r"y of shape \(120,\) and type torch.float64"):
        ensemble.evaluate(X, np.zeros(120))


def test_a_tie_counts_for_the_first_class_only():
    """Networks without weights answer class 0 whatever they see."""
    X, y = problem()
    ensemble = MLPEnsemble(2, (7, 5, 3), "tanh", weight_var=0.0, dtype=F64)
    expected = (y == 0).double().mean()
    assert ensemble.fit(X, y, learning_rate=0.0, steps=1, batch=120).accuracy.tolist() == [[expected] * 2]
    np.testing.assert_allclose(ensemble.evaluate(X, y), expected, rtol=1e-6)


def test_no_steps_change_nothing():
    X, y = problem()
    ensemble = MLPEnsemble(2, (7, 9, 3), "tanh", seed=1, dtype=F64)
    before = ensemble.outputs(X).clone()
    history = ensemble.fit(X, y, learning_rate=0.1, steps=0, batch=10)
    assert history.loss.shape == (0, 2) and torch.equal(before, ensemble.outputs(X))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"runs": 0}, "runs = 0"),
        ({"runs": 2.0}, "runs = 2.0"),
        ({"weight_var": [1.0]}, "weight_var has 1 values"),
        ({"weight_var": [1.0, -1.0]}, "weight_var = -1.0"),
        ({"activation": "swish"}, "swish"),
        ({"init": ["gaussian", "other"]}, "init = 'other'"),
        ({"seed": [1, 2, 3]}, "seed has 3 values"),
        ({"widths": [(7, 3), (7, 4)]}, "same input and output width"),
        ({"widths": (7,)}, r"widths = \(7,\)"),
    ],
)
def test_ensemble_rejects(change, message):
    arguments = {"runs": 2, "widths": (7, 5, 3), "activation": "tanh"} | change
    with pytest.raises(ValueError, match=message):
        MLPEnsemble(**arguments)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"learning_rate": -0.1}, "learning_rate = -0.1"),
        ({"learning_rate": [0.1, math.nan]}, "learning_rate = nan"),
        ({"steps": -1}, "steps = -1"),
        ({"steps": 1.5}, "steps = 1.5"),
        ({"batch": 0}, "batch = 0"),
        ({"batch": 121}, "batch = 121"),
        ({"optimiser": "lbfgs"}, "optimiser = 'lbfgs'"),
        ({"X": torch.zeros(120, 6, dtype=F64)}, "X of shape"),
        ({"X": torch.zeros(120, 7)}, "torch.float32"),
        ({"X": torch.full((120, 7), math.nan, dtype=F64)}, "finite inputs"),
        ({"y": torch.zeros(119, dtype=torch.int64)}, "y of shape"),
        ({"y": torch.zeros(120)}, "torch.float32"),
        ({"y": torch.full((120,), 3)}, "from 0 to 2"),
    ],
)
def test_fit_rejects(change, message):
    X, y = problem()
    arguments = {"X": X, "y": y, "learning_rate": 0.1, "steps": 2, "batch": 10} | change
    with pytest.raises(ValueError, match=message):
        MLPEnsemble(2, (7, 5, 3), "tanh", dtype=F64).fit(**arguments)


def test_network_of_a_run_that_is_not_there():
    with pytest.raises(ValueError, match="run = 2"):
        MLPEnsemble(2, (7, 5, 3), "tanh").network(2)


@pytest.mark.parametrize("activation", ["hardtanh", "erf"])
@pytest.mark.parametrize("fixed", [False, True])
def test_the_squared_loss_is_that_of_networks_trained_alone(activation, fixed):
    X, y = problem()
    make = {"bias_var": 0.1, "weight_var": 1.5, "init": "orthogonal", "dtype": F64}
    ensemble = MLPEnsemble(2, (7, 8, 8, 3), activation, seed=[5, 6], **make)
    loss, accuracy, _ = ensemble.fit(
        X, y, learning_rate=[0.05, 0.02], steps=40, batch=2, loss="squared", fixed_biases=fixed, seed=[1, 2]
    )
    targets = torch.nn.functional.one_hot(y, 3).to(F64)
    for r in range(2):
        net = MLP((7, 8, 8, 3), activation, seed=5 + r, **make)
        weights = [p for p in net.parameters() if p.ndim == 2 or not fixed]
        biases = [layer.bias.clone() for layer in net.layers]
        for step, rows in enumerate(mini_batches(120, 2, 40, [1 + r])):
            outputs = net(X[rows])
            error = (outputs - targets[rows]).square().sum(1).mean() / 2
            torch.testing.assert_close(loss[step, r], error.detach(), rtol=1e-11, atol=1e-13)
            assert accuracy[step, r] == (outputs.argmax(1) == y[rows]).double().mean()
            with torch.no_grad():
                for p, gradient in zip(weights, torch.autograd.grad(error, weights), strict=True):
                    p -= [0.05, 0.02][r] * gradient
        for own, other, before in zip(ensemble.network(r).layers, net.layers, biases, strict=True):
            torch.testing.assert_close(own.weight, other.weight, rtol=1e-11, atol=1e-13)
            assert torch.equal(own.bias, before) == fixed


def test_an_unknown_loss_is_refused():
    with pytest.raises(ValueError, match="loss = 'hinge'"):
        MLPEnsemble(1, (7, 3), "tanh").fit(
            *problem(dtype=torch.float32), learning_rate=0.1, steps=1, batch=1, loss="hinge"
        )
