"""Small CNNs: training against AdamW written out."""

import pytest
import torch
from deepdynamics.networks import small

SIDE = 8


def test_training_is_adamw_on_the_shuffled_batches():
    """Three steps on a matrix, the update written out (Loshchilov and Hutter 2019, algorithm 2)."""
    draw = torch.Generator().manual_seed(10)
    X, y = torch.randn(6, 3, generator=draw, dtype=torch.float64), torch.tensor([0, 1, 0, 1, 1, 0])
    layer = torch.nn.Linear(3, 2, bias=False, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(2, 3, generator=draw, dtype=torch.float64))
    W, m, v = layer.weight.detach().clone(), torch.zeros(2, 3), torch.zeros(2, 3)
    losses = small.train(layer, X, y, epochs=1, learning_rate=0.1, batch=2, weight_decay=0.2, seed=11)
    order = torch.randperm(6, generator=torch.Generator().manual_seed(11))
    for step, chosen in enumerate(order.split(2), start=1):
        p = torch.softmax(X[chosen] @ W.T, dim=1)
        hot = torch.nn.functional.one_hot(y[chosen], 2)
        assert float(losses[step - 1]) == pytest.approx(-float((hot * p.log()).sum(1).mean()), rel=1e-12)
        gradient = (p - hot).T @ X[chosen] / 2
        m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
        W = W - 0.1 * 0.2 * W
        W = W - 0.1 * (m / (1 - 0.9**step)) / ((v / (1 - 0.999**step)).sqrt() + 1e-8)
    assert torch.allclose(layer.weight, W, rtol=1e-12)


def test_training_repeats_itself_and_leaves_global_draws_alone():
    X, y = torch.rand(30, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(12)), torch.arange(30) % 10
    state = torch.get_rng_state()
    runs = []
    for _ in range(2):
        made = small.network(SIDE, seed=13)
        runs.append(small.train(made, X, y, epochs=2, batch=8, seed=14))
    assert torch.equal(runs[0], runs[1]) and runs[0].shape == (8,)  # 8, 8, 8 and 6 images, twice
    assert torch.equal(state, torch.get_rng_state())
    assert small.train(made, X, y, epochs=0, batch=8, seed=0).shape == (0,)


def test_accuracy_of_pieces_is_that_of_the_whole():
    X = torch.randn(1203, 5, generator=torch.Generator().manual_seed(15))
    y = torch.arange(1203) % 5
    assert small.accuracy(lambda z: z, X, y) == float((X.argmax(1) == y).double().mean())


# Bad input

IMAGES, LABELS = torch.zeros(4, 1, SIDE, SIDE), torch.zeros(4, dtype=torch.int64)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda n: small.train(n, IMAGES, LABELS[:3], epochs=1, seed=0), r"y of shape \(3,\)"),
        (lambda n: small.train(n, IMAGES, LABELS.float(), epochs=1, seed=0), "type torch.float32"),
        (lambda n: small.train(n, IMAGES + torch.nan, LABELS, epochs=1, seed=0), "finite images"),
        (lambda n: small.train(n, IMAGES, LABELS, epochs=-1, seed=0), "epochs = -1: an integer of at least 0"),
        (lambda n: small.train(n, IMAGES, LABELS, epochs=1.5, seed=0), "epochs = 1.5"),
        (lambda n: small.train(n, IMAGES, LABELS, epochs=1, batch=0, seed=0), "batch = 0"),
        (lambda n: small.train(n, IMAGES, LABELS, epochs=1, batch=5, seed=0), "batch = 5: 1 to 4"),
        (
            lambda n: small.train(n, IMAGES, LABELS, epochs=1, batch=2, learning_rate=-1, seed=0),
            "learning_rate = -1",
        ),
        (
            lambda n: small.train(n, IMAGES, LABELS, epochs=1, batch=2, weight_decay=float("inf"), seed=0),
            "weight_decay = inf",
        ),
        (lambda n: small.accuracy(n, IMAGES, LABELS[:2]), r"y of shape \(2,\): one label"),
        (lambda n: small.network(3, seed=0), "pool_after"),
        (lambda n: small.network(8, weight_var=-1.0, seed=0), "weight_var = -1.0"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call(small.network(SIDE, seed=0))
