"""Autoencoders against autograd, finite differences, their own special cases and principal components."""

import math

import pytest
import torch
from deepdynamics.autoencoders import Autoencoders, tied
from deepdynamics.autoencoders.corruption import CORRUPTIONS, corrupted_batches
from deepdynamics.jacobian import jacobian
from deepdynamics.networks import generator, haar
from hypothesis import given, settings
from hypothesis import strategies as st

F64 = torch.float64


def samples(n=40, visible=9, seed=0, dtype=F64):
    return torch.rand(n, visible, generator=generator(seed), dtype=dtype)


def nets(runs=3, visible=9, hidden=5, **options):
    return Autoencoders(runs, visible, hidden, **({"seed": 1, "weight_var": 4.0, "dtype": F64} | options))


def encoder(ae, run):
    phi = torch.sigmoid if ae.units == "sigmoid" else (lambda a: a)
    return lambda x: phi(ae.weights[run] @ x + ae.biases[run])


def loss_by_hand(ae, run, W, b, c, x, seen, contraction, decay):
    """The loss of one run in one line each, for autograd."""
    phi = torch.sigmoid if ae.units == "sigmoid" else (lambda a: a)
    h = phi(seen @ W.T + b)
    z = h @ W + c
    if ae.loss == "cross-entropy":
        r = torch.sigmoid(z)
        loss = -(x * r.log() + (1 - x) * (1 - r).log()).sum(1).mean()
    else:
        loss = 0.5 * (z - x).square().sum(1).mean()
    slope = h * (1 - h) if ae.units == "sigmoid" else torch.ones_like(h)
    J = slope[:, :, None] * W
    return loss + contraction * J.square().sum((1, 2)).mean() + decay * W.square().sum()


# -------------------------------------------------------------------------------------------------- closed forms


@pytest.mark.parametrize("units", tied.UNITS)
def test_jacobian_singular_values_and_penalty_are_those_of_autograd(units):
    ae, X = nets(units=units), samples()
    ae.biases += 0.3
    penalty, s = ae.contraction(X), ae.singular_values(X)
    for run in range(ae.runs):
        J = torch.stack([jacobian(encoder(ae, run), x) for x in X])
        torch.testing.assert_close(ae.jacobians(X, run), J, rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(penalty[run], J.square().sum((1, 2)), rtol=1e-12, atol=0)
        # eigenvalues of the Gram matrix: errors of 1e-16 s_1² in s², relative 1e-13 in s at this condition (< 100)
        torch.testing.assert_close(s[run], torch.linalg.svdvals(J), rtol=1e-10, atol=0)
    torch.testing.assert_close(s.square().sum(2), penalty, rtol=1e-12, atol=0)


@given(hidden=st.integers(1, 12), visible=st.integers(1, 12), seed=st.integers(0, 10**6))
@settings(max_examples=30)
def test_the_penalty_is_the_sum_of_squares_in_every_shape(hidden, visible, seed):
    ae, X = nets(2, visible, hidden, seed=seed), samples(6, visible, seed)
    s = ae.singular_values(X)
    assert s.shape == (2, 6, min(hidden, visible)) and bool((s.diff(dim=2) <= 0).all())
    torch.testing.assert_close(s.square().sum(2), ae.contraction(X), rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("hidden", [5, 12])
def test_triplets_are_those_of_a_dense_svd(hidden):
    ae, X = nets(hidden=hidden), samples(7)
    U, s, V = ae.triplets(X, 4)
    for run in range(ae.runs):
        J = ae.jacobians(X, run)
        _, sv, vt = torch.linalg.svd(J, full_matrices=False)
        torch.testing.assert_close(s[run], sv[:, :4], rtol=1e-9, atol=0)
        overlap = (V[run].mT @ vt[:, :4].mT).abs().diagonal(dim1=1, dim2=2)
        torch.testing.assert_close(overlap, torch.ones_like(overlap), rtol=0, atol=1e-6)
        torch.testing.assert_close(J @ V[run], U[run] * s[run][:, None], rtol=0, atol=1e-9)
    last = ae.triplets(X, 2, trailing=True)
    torch.testing.assert_close(last.s, ae.singular_values(X)[:, :, -2:])
    gram = last.V.mT @ last.V
    torch.testing.assert_close(gram, torch.eye(2, dtype=F64).expand_as(gram), rtol=0, atol=1e-6)


def test_vectors_that_the_gram_matrix_does_not_determine_are_zero():
    ae = nets(1)
    ae.weights[0, -1] = ae.weights[0, 0]  # two equal units: rank 4 of 5
    ae.biases[0, -1] = ae.biases[0, 0]
    found = ae.triplets(samples(3), 5)
    lengths = found.V.norm(dim=2)
    torch.testing.assert_close(lengths[..., :4], torch.ones_like(lengths[..., :4]), rtol=0, atol=1e-6)
    assert not found.V[..., 4].any()


# ------------------------------------------------------------------------------------------------------- gradients


CASES = [("sigmoid", "cross-entropy"), ("sigmoid", "squared"), ("linear", "squared"), ("linear", "cross-entropy")]


@pytest.mark.parametrize(("units", "loss"), CASES)
def test_gradients_are_those_of_autograd_and_of_finite_differences(units, loss):
    ae, x = nets(2, units=units, loss=loss, weight_var=1.0), samples(8)
    seen = (x * (samples(8, seed=5) > 0.3)).expand(2, 8, 9)
    contraction, decay = [0.7, 0.0], [0.05, 0.2]
    gradients, values = ae._gradients(
        x.expand(2, 8, 9), seen, torch.tensor(contraction, dtype=F64)[:, None], torch.tensor(decay, dtype=F64)[:, None]
    )
    for run in range(2):
        parameters = [p[run].clone().requires_grad_() for p in (ae.weights, ae.biases, ae.visible_biases)]
        fixed = (x, seen[run], contraction[run], decay[run])
        loss_by_hand(ae, run, *parameters, *fixed).backward()
        for ours, theirs in zip(gradients, parameters, strict=True):
            torch.testing.assert_close(ours[run], theirs.grad, rtol=1e-10, atol=1e-12)
        step, plain = 1e-6, [p.detach() for p in parameters]
        direction = [torch.randn(p.shape, generator=generator(9), dtype=F64) for p in plain]
        up, down = (
            loss_by_hand(ae, run, *[p + sign * step * d for p, d in zip(plain, direction, strict=True)], *fixed)
            for sign in (1, -1)
        )
        slope = sum(float((g[run] * d).sum()) for g, d in zip(gradients, direction, strict=True))
        # Central differences: step² times third derivatives, and rounding 1e-15/step.
        assert float(up - down) / (2 * step) == pytest.approx(slope, rel=1e-6)
        penalty = float(loss_by_hand(ae, run, *plain, x, seen[run], 1.0, 0.0))
        penalty -= float(loss_by_hand(ae, run, *plain, x, seen[run], 0.0, 0.0))
        if run == 0:
            assert float(values[1, 0]) == pytest.approx(penalty, rel=1e-10)
        else:
            assert math.isnan(values[1, 1])


@pytest.mark.parametrize("optimiser", tied.OPTIMISERS)
def test_training_is_that_of_torchs_optimisers(optimiser):
    ae, X = nets(1), samples(30)
    order = torch.cat([torch.randperm(30, generator=draw) for draw in [generator(4)] for _ in range(6)]).view(-1, 10)
    parameters = [p[0].clone().requires_grad_() for p in (ae.weights, ae.biases, ae.visible_biases)]
    kind = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}[optimiser]
    descent = kind(parameters, lr=0.02)
    losses = []
    for batch in order:
        descent.zero_grad()
        loss = loss_by_hand(ae, 0, *parameters, X[batch], X[batch], 0.4, 0.0)
        plain = loss_by_hand(ae, 0, *parameters, X[batch], X[batch], 0.0, 0.0)
        losses.append(plain.item())
        loss.backward()
        descent.step()
    history = ae.fit(X, learning_rate=0.02, epochs=6, batch=10, contraction=0.4, optimiser=optimiser, seed=4)
    torch.testing.assert_close(history.reconstruction[:, 0], torch.tensor(losses, dtype=F64), rtol=1e-9, atol=0)
    for ours, theirs in zip((ae.weights, ae.biases, ae.visible_biases), parameters, strict=True):
        torch.testing.assert_close(ours[0], theirs.detach(), rtol=1e-8, atol=1e-10)


# ---------------------------------------------------------------------------------------------------- special cases


def trained(runs, seeds, dtype=F64, **options):
    ae = Autoencoders(runs, 9, 5, seed=seeds, weight_var=4.0, dtype=dtype)
    ae.fit(samples(dtype=dtype), **({"learning_rate": 0.02, "epochs": 4, "batch": 8, "seed": 2} | options))
    return ae


def test_many_together_are_each_alone():
    lists = {
        "learning_rate": [0.02, 0.01, 0.03, 0.02],
        "contraction": [0.0, 1.0, 0.0, 0.3],
        "weight_decay": [0.0, 0.0, 0.02, 0.1],
        "noise": [0.0, 0.4, 0.2, 0.0],
        "seed": [2, 2, 3, 4],
    }
    for corruption in CORRUPTIONS:
        together = trained(4, [5, 6, 5, 8], corruption=corruption, **lists)
        for run, seed in enumerate(together.seeds):
            alone = trained(1, [seed], corruption=corruption, **{name: value[run] for name, value in lists.items()})
            # Only the order of summation inside a matrix product can differ.
            torch.testing.assert_close(alone.weights[0], together.weights[run], rtol=1e-9, atol=1e-11)
            torch.testing.assert_close(alone.visible_biases[0], together.visible_biases[run], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_without_penalty_and_noise_all_are_plain(corruption):
    plain = trained(1, [5])
    beside = trained(
        4, [5] * 4, contraction=[0, 1, 0, 0], noise=[0, 0, 0.3, 0], weight_decay=[0, 0, 0, 1], corruption=corruption
    )
    torch.testing.assert_close(beside.weights[0], plain.weights[0], rtol=1e-9, atol=1e-11)
    for run in (1, 2, 3):
        assert (beside.weights[run] - plain.weights[0]).abs().max() > 1e-3


def test_corruption_has_the_share_and_the_variance_it_says():
    X = torch.ones(500, 40)
    level = torch.tensor([[0.25], [0.0]])
    (_, masked), *_ = corrupted_batches(X, 500, 1, [1, 1], level, "masking")
    assert bool((masked[1] == 1).all()) and set(masked[0].unique().tolist()) == {0.0, 1.0}
    # 20,000 Bernoulli draws: standard error 0.003.
    assert float((masked[0] == 0).float().mean()) == pytest.approx(0.25, abs=0.012)
    (clean, noisy), *_ = corrupted_batches(X, 500, 1, [1, 1], level, "gaussian")
    assert bool((clean == 1).all()) and float((noisy[0] - 1).square().mean()) == pytest.approx(0.25, rel=0.04)


def test_penalties_shrink_what_they_penalise():
    X = samples(200, seed=3)
    ae = nets(3, seed=[1, 1, 1])
    ae.fit(X, learning_rate=0.02, epochs=30, batch=20, contraction=[0, 2, 0], weight_decay=[0, 0, 0.2])
    norms, squares = ae.weights.square().sum((1, 2)), ae.contraction(X).mean(1)
    assert squares[1] < 0.5 * squares[0] and norms[2] < 0.5 * norms[0]


def test_the_linear_autoencoder_finds_the_principal_subspace():
    # Squared loss, linear units, shared weights: at the minimum the rows of W span the leading principal components and
    # W Wᵀ = I (Baldi and Hornik 1989), with the visible bias (I - WᵀW) mean - Wᵀb.
    basis = haar(8, 8, seed=0)
    scales = torch.tensor([2.0, 1.5, 1.2, 0.3, 0.2, 0.1, 0.1, 0.05], dtype=F64)
    X = torch.randn(400, 8, generator=generator(1), dtype=F64) * scales @ basis.T + 0.5
    ae = Autoencoders(2, 8, 3, units="linear", loss="squared", seed=0, dtype=F64)
    ae.fit(X, learning_rate=0.1, epochs=1500, batch=400, optimiser="sgd")
    centred = X - X.mean(0)
    squares, vectors = torch.linalg.eigh(centred.T @ centred / 400)
    V = vectors[:, -3:]
    for run in range(2):
        W = ae.weights[run]
        torch.testing.assert_close(W @ W.T, torch.eye(3, dtype=F64), rtol=0, atol=1e-6)
        torch.testing.assert_close(W.T @ W, V @ V.T, rtol=0, atol=1e-6)
    torch.testing.assert_close(ae.reconstruction_loss(X), (0.5 * squares[:5].sum()).expand(2), rtol=1e-8, atol=0)
    assert ae.singular_values(X[:2]).sub(1).abs().max() < 1e-6  # the encoder is an isometry on that subspace


def test_loss_reconstruction_and_their_pieces():
    ae, X = nets(2), samples(1500)
    r = ae.reconstruct(X)
    by_hand = -(X * r.log() + (1 - X) * (1 - r).log()).sum(2).mean(1)
    torch.testing.assert_close(ae.reconstruction_loss(X), by_hand, rtol=1e-10, atol=0)
    assert ae.encode(X).shape == (2, 1500, 5)


@pytest.mark.parametrize("loss", tied.LOSSES)
def test_a_start_at_the_mean_gives_back_the_mean(loss):
    ae, X = nets(2, loss=loss), samples()
    X[:, 0] = 0.0  # a pixel that is never lit
    ae.start_at_mean(X)
    ae.weights.zero_()
    mean = X.mean(0).clamp(min=1e-3) if loss == "cross-entropy" else X.mean(0)
    torch.testing.assert_close(ae.reconstruct(X), mean.expand(2, 40, 9), rtol=1e-12, atol=1e-15)


def test_draws_repeat_and_types_stay():
    one, other = Autoencoders(2, 6, 3, seed=4), Autoencoders(2, 6, 3, seed=4)
    assert one.weights.equal(other.weights) and one.weights.dtype == torch.float32
    assert not one.weights[0].equal(one.weights[1])
    before = torch.get_rng_state()
    one.fit(samples(20, 6, dtype=torch.float32), learning_rate=0.01, epochs=1, batch=5, noise=0.2)
    assert one.weights.dtype == torch.float32 and before.equal(torch.get_rng_state())
    history = one.fit(samples(20, 6, dtype=torch.float32), learning_rate=0.01, epochs=0, batch=5)
    assert history.reconstruction.shape == (0, 2)


# -------------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"runs": 0}, "runs = 0"),
        ({"hidden": 2.5}, "hidden = 2.5"),
        ({"visible": True}, "visible = True"),
        ({"units": "tanh"}, "units = 'tanh': one of sigmoid, linear"),
        ({"loss": "absolute"}, "loss = 'absolute'"),
        ({"weight_var": -1.0}, "weight_var = -1.0"),
        ({"seed": [1, 2]}, "seed has 2 values: one value, or one for each of the 3 runs"),
    ],
)
def test_bad_networks(arguments, message):
    with pytest.raises(ValueError, match=message):
        Autoencoders(**({"runs": 3, "visible": 4, "hidden": 2} | arguments))


@pytest.mark.parametrize(
    ("X", "options", "message"),
    [
        (samples(5, 8), {}, r"X of shape \(5, 8\)"),
        (samples(5).float(), {}, "type torch.float32"),
        (samples(5) * math.nan, {}, "X has entries that are not finite"),
        (samples(5) * 3, {}, "X from .* 0 to 1 is allowed with the cross-entropy"),
        (samples(5), {"learning_rate": -0.1}, "learning_rate = -0.1"),
        (samples(5), {"contraction": [0.0, 1.0]}, "contraction has 2 values"),
        (samples(5), {"contraction": math.inf}, "contraction = inf"),
        (samples(5), {"weight_decay": -1}, "weight_decay = -1"),
        (samples(5), {"noise": 1.0}, "noise = 1.0: a share below 1"),
        (samples(5), {"corruption": "salt"}, "corruption = 'salt'"),
        (samples(5), {"optimiser": "lbfgs"}, "optimiser = 'lbfgs'"),
        (samples(5), {"batch": 6}, "batch = 6: 1 to 5"),
        (samples(5), {"epochs": -1}, "epochs = -1"),
    ],
)
def test_bad_training(X, options, message):
    with pytest.raises(ValueError, match=message):
        nets().fit(X, **({"learning_rate": 0.1, "epochs": 1, "batch": 5} | options))


def test_bad_questions():
    ae, X = nets(), samples(5)
    with pytest.raises(ValueError, match=r"k = 6: 1 to 5"):
        ae.triplets(X, 6)
    with pytest.raises(ValueError, match="run = 3: 0 to 2"):
        ae.jacobians(X, 3)
    with pytest.raises(ValueError, match="X of shape"):
        ae.encode(X[0])
