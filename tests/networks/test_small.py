"""Small CNNs: dense Jacobians against automatic differentiation and finite differences, homogeneity, training against
AdamW written out, the experiment's bookkeeping."""

import numpy as np
import pytest
import torch
from deepdynamics import data, jacobian, results
from deepdynamics.experiments.cnn_jacobian import small as experiment
from deepdynamics.networks import small

SIDE = 8  # images of 64 pixels, on which everything dense is instant


@pytest.fixture(scope="module")
def net():
    """A trained network with biases, in float64."""
    made = small.network(SIDE, weight_var=2.0, seed=1, dtype=torch.float64)
    draw = torch.Generator().manual_seed(2)
    X = torch.randn(60, 1, SIDE, SIDE, generator=draw, dtype=torch.float64)
    small.train(made, X, torch.arange(60) % 10, epochs=5, batch=20, seed=3)
    return made.requires_grad_(False)


@pytest.fixture(scope="module")
def x():
    return torch.randn(1, SIDE, SIDE, generator=torch.Generator().manual_seed(4), dtype=torch.float64)


# Jacobians


def test_cumulative_jacobians_are_those_of_automatic_differentiation(net, x):
    found = small.cumulative_jacobians(net.layers, x)
    for depth, J in enumerate(found, start=1):
        f = torch.nn.Sequential(*net.layers[:depth])
        assert torch.allclose(J, jacobian.jacobian(f, x), rtol=1e-12, atol=1e-13)
        assert torch.allclose(J, small.cumulative_jacobian(net.layers[:depth], x), rtol=1e-12, atol=1e-13)


def test_the_chain_rule_puts_the_last_layer_on_the_left(net, x):
    single = jacobian.layer_jacobians(net.layers, x)
    product = single[0]
    for J, cumulative in zip(single[1:], small.cumulative_jacobians(net.layers, x)[1:], strict=True):
        product = J @ product
        assert torch.allclose(product, cumulative, rtol=1e-12, atol=1e-13)


def test_inside_its_cell_the_network_is_linear(net, x):
    """Finite differences of a piecewise linear map have no error but rounding, whatever the step."""
    J = small.cumulative_jacobian(net.layers, x)
    step = 1e-7 * torch.randn(x.shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    # the output is of order one with rounding 1e-16, over a change of 1e-6
    assert torch.allclose(net(x + step) - net(x), J @ step.flatten(), atol=1e-14)


def test_jacobians_follow_the_type_of_the_input(x):
    single = small.network(SIDE, seed=1)
    twin = small.network(SIDE, seed=1, dtype=torch.float64)
    pairs = zip(
        small.cumulative_jacobians(single.layers, x.float()),
        small.cumulative_jacobians(twin.layers, x),
        strict=True,
    )
    for J, exact in pairs:
        assert J.dtype == torch.float32
        assert float((J - exact).abs().max()) < 1e-5 * float(exact.abs().max())


def test_untrained_networks_of_one_seed_have_proportional_jacobians(x):
    """Without biases ReLU is homogeneous in the weights too: l layers multiply by (standard deviation)^l."""
    small, large = (small.network(SIDE, weight_var=v, seed=1, dtype=torch.float64) for v in (0.5, 2.0))
    pairs = [small.cumulative_jacobians(net.layers, x) for net in (small, large)]
    for depth, (a, b) in enumerate(zip(*pairs, strict=True), start=1):
        assert torch.allclose(2.0**depth * a, b, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("shape", [(30, 12), (12, 30), (12, 12)])
def test_right_singular_vectors_are_those_of_a_dense_svd(shape):
    J = torch.randn(shape, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
    s, V = small.right_singular(J)
    _, exact, Vh = torch.linalg.svd(J, full_matrices=False)
    # through the squares: 1e-16 s_1²/s_k of the value, relative to s_1 some 1e-15 here
    assert torch.allclose(s, exact, rtol=1e-11)
    assert torch.allclose((V.T @ Vh.T).diagonal().abs(), torch.ones(12, dtype=torch.float64), atol=1e-10)
    assert torch.allclose(V.T @ V, torch.eye(12, dtype=torch.float64), atol=1e-12)


@pytest.mark.parametrize("shape", [(30, 12), (12, 30)])
def test_only_what_lies_above_the_cutoff_is_kept(shape):
    draw = torch.Generator().manual_seed(7)
    J = torch.randn(shape[0], 5, generator=draw, dtype=torch.float64)
    J = J @ torch.randn(5, shape[1], generator=draw, dtype=torch.float64)
    s, V = small.right_singular(J)
    assert s.shape == (5,) and V.shape == (shape[1], 5)
    assert len(small.right_singular(J, cutoff=float((s[2] / s[0] + s[3] / s[0]) / 2))[0]) == 3


# Homogeneity


def test_output_is_its_linear_part_plus_that_of_the_biases(net, x):
    linear, constant = small.homogeneous_parts(net, x)
    assert torch.allclose(linear, small.cumulative_jacobian(net.layers, x) @ x.flatten(), atol=1e-13)
    assert torch.allclose(linear + constant, net(x), atol=1e-13)
    assert float(constant.norm()) > 0.01 * float(linear.norm())  # training gave it biases


def test_without_biases_the_network_is_its_linear_part(x):
    bare = small.network(SIDE, weight_var=2.0, seed=1, dtype=torch.float64)
    linear, constant = small.homogeneous_parts(bare, x)
    assert torch.allclose(linear, bare(x), rtol=1e-12) and not constant.any()


# Training


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
        (lambda n: small.cumulative_jacobians([], IMAGES[0]), "layers is empty"),
        (lambda n: small.cumulative_jacobian([], IMAGES[0]), "layers is empty"),
        (lambda n: small.cumulative_jacobians(n.layers, IMAGES[0] + torch.inf), "one finite floating point input"),
        (lambda n: small.cumulative_jacobian(n.layers, LABELS), "type torch.int64"),
        (lambda n: small.homogeneous_parts(n, IMAGES[0] + torch.nan), "one finite floating point input"),
        (lambda n: small.right_singular(torch.zeros(3, 2)), r"J of shape \(3, 2\): a finite matrix that is not"),
        (lambda n: small.right_singular(torch.ones(3)), "a finite matrix"),
        (lambda n: small.right_singular(torch.ones(2, 2), cutoff=1e-9), "cutoff = 1e-09: a number between"),
        (lambda n: small.network(3, seed=0), "pool_after"),
        (lambda n: small.network(8, weight_var=-1.0, seed=0), "weight_var = -1.0"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call(small.network(SIDE, seed=0))


# The experiment


@pytest.fixture
def digits(monkeypatch):
    """The stand-in for MNIST, whatever data are there."""
    monkeypatch.setattr(data, "_find", lambda *_: None)
    monkeypatch.setattr(data, "available", lambda name: False)
    experiment.pictures.cache_clear()
    yield experiment.pictures("mnist")
    experiment.pictures.cache_clear()


def test_measured_images_have_no_ties(digits):
    """Equal neighbours, of which a maximum has no derivative, are what dequantising removes."""
    grey = digits.measured * digits.deviation + digits.mean
    assert not (grey[:, :, :, 1:] == grey[:, :, :, :-1]).any()
    assert float((grey - digits.test_X[:32] * digits.deviation - digits.mean).abs().max()) <= 0.5 / 255 + 1e-6
    assert float(digits.X.double().mean()) == pytest.approx(0, abs=1e-5)
    assert float(digits.X.double().std()) == pytest.approx(1, abs=1e-5)


def test_rows_and_columns_give_the_same_narrow_layers(digits):
    """Layers 5 and 6 from their rows, as the live part does, and from all columns. float32: 1e-4 of each."""
    net = experiment.network_of("mnist", 0, trained=False)
    x = digits.measured[:1]
    alone = experiment.layer_quantities(net, x, (5, 6))
    among = experiment.layer_quantities(net, x, (4, 5, 6))
    for few, all_ in zip(alone, among, strict=True):
        assert np.allclose(few, all_[1:], rtol=1e-4, atol=1e-6)


def test_a_cell_of_few_depths_is_labelled_by_them(monkeypatch):
    sizes = {**{dim: len(values) for dim, values in experiment.COORDINATES.items()}, "noisy": 2}
    shapes = {name: [sizes[dim] for dim in dims[3:]] for name, dims in experiment.DIMENSIONS.items()}
    shapes |= {"layers": [2, sizes["quantity"]], "spectrum": [2, sizes["share"]]}
    computed = {name: np.zeros(shapes[name]) for name in shapes if not name.startswith("control")}
    monkeypatch.setattr(experiment, "_measured", lambda *given: computed)
    found = experiment.cell("mnist", 0, "untrained", depths=(5, 6))
    assert found["layers"].layer.values.tolist() == found["active"].layer.values.tolist() == [5, 6]
    assert found["noise"].noisy.values.tolist() == [5, 6]
    assert all(array.dims == experiment.DIMENSIONS[name][3:] for name, array in found.items())


def test_description_of_a_known_spectrum():
    """Twenty pixels of a 5 × 5 image as singular vectors, with values 20, 19, …, 1."""
    s, V = torch.arange(20.0, 0, -1, dtype=torch.float64), torch.eye(25, dtype=torch.float64)[:, :20]
    named = dict(zip(experiment.QUANTITIES, experiment._describe(s, V, 5), strict=True))
    squares = np.arange(1, 21.0) ** 2
    assert named["largest"] == 20 and named["rank"] == 20 and named["frobenius"] == pytest.approx(squares.sum() ** 0.5)
    assert named["participation"] == pytest.approx(squares.sum() ** 2 / (squares**2).sum())
    assert named["at 10 %"] == 19 / 20 and named["at 50 %"] == 11 / 20
    assert named["spread, top"] == pytest.approx(1 / 25) and named["radius, bottom"] == pytest.approx(0, abs=1e-9)


def test_unknown_pictures():
    with pytest.raises(ValueError, match="name = 'dogs': one of mnist, cifar-100"):
        experiment.pictures("dogs")


def test_the_stored_result_is_whole():
    found = results.load(experiment.KEY)
    for name in found.data_vars:
        assert np.isfinite(found[name].values).all(), name
    assert (found["noise_accuracy"].sel(data="mnist", state="trained", level=0) > 0.9).all()
    assert float(found["homogeneity"].sel(identity="defect").max()) < 1e-12


def test_one_untrained_network_agrees_with_the_stored_one():
    """The same numbers but for the rounding of float32 in the Jacobian, 1e-4 of each."""
    found = results.load(experiment.KEY)
    if not data.available("mnist"):
        pytest.skip("no MNIST")
    net = experiment.network_of("mnist", 3, trained=False)
    live = experiment.layer_quantities(net, experiment.pictures("mnist").measured[:16], (5, 6))[0]
    kept = found["layers"].sel(data="mnist", network=3, state="untrained", layer=[5, 6]).values
    assert np.allclose(live, kept, rtol=1e-3)
