"""RBMs against enumeration: conditionals, free energy, the expected update, the law of the samples."""

import itertools
import math

import numpy as np
import pytest
import torch
from deepdynamics.jacobian import layer_jacobians
from deepdynamics.networks import generator
from deepdynamics.rbm import RBM, pretrain
from deepdynamics.rbm.divergence import BinaryNoise
from sklearn.neural_network import BernoulliRBM

F64 = torch.float64


def states(n):
    """All 2^n states, as rows."""
    return torch.tensor(list(itertools.product((0.0, 1.0), repeat=n)), dtype=F64)


def machine(visible=4, hidden=3, units="binary", gain=1.0, scale=1.0, seed=0):
    """An RBM in float64 whose parameters are all of order ``scale``."""
    draw = generator(seed)
    rbm = RBM(visible, hidden, units, gain, dtype=F64)
    rbm.weights = scale * torch.randn(visible, hidden, generator=draw, dtype=F64)
    rbm.visible_bias = scale * torch.randn(visible, generator=draw, dtype=F64)
    rbm.hidden_bias = scale * torch.randn(hidden, generator=draw, dtype=F64)
    return rbm


def joint(rbm):
    """p(v, h) as a table (2^visible, 2^hidden), straight from the energy."""
    v, h = states(rbm.visible), states(rbm.hidden)
    energy = -(v @ rbm.visible_bias)[:, None] - (h @ rbm.hidden_bias)[None] - v @ rbm.weights @ h.T
    table = torch.exp(-rbm.gain * energy)
    return table / table.sum()


def parameters(rbm):
    return [p.clone() for p in (rbm.weights, rbm.visible_bias, rbm.hidden_bias)]


def flat(tensors):
    return torch.cat([t.flatten() for t in tensors])


def update(rbm, X, **options):
    """What one fit adds to the parameters, as one vector."""
    before = flat(parameters(rbm))
    rbm.fit(X, **{"epochs": 1, "learning_rate": 1.0, "batch_size": len(X), "seed": 0} | options)
    return flat(parameters(rbm)) - before


def gray_data(rows, visible=4, seed=5):
    return torch.rand(rows, visible, generator=generator(seed), dtype=F64)


SMALL = [(4, 3, 1.0), (3, 5, 1.05), (5, 2, 4.0)]


# ------------------------------------------------------------------------------------------------------------ the law


@pytest.mark.parametrize(("visible", "hidden", "gain"), SMALL)
def test_conditionals_and_free_energy_are_those_of_the_energy(visible, hidden, gain):
    rbm = machine(visible, hidden, gain=gain)
    table, v, h = joint(rbm), states(visible), states(hidden)
    torch.testing.assert_close(rbm.hidden_probability(v), table @ h / table.sum(1, keepdim=True))
    torch.testing.assert_close(rbm.visible_probability(h), table.T @ v / table.sum(0)[:, None])
    free = torch.exp(-rbm.free_energy(v))
    torch.testing.assert_close(free / free.sum(), table.sum(1))
    torch.testing.assert_close(rbm.log_likelihood(v), table.sum(1).log())
    torch.testing.assert_close(rbm.reconstruct(v), rbm.visible_probability(rbm.hidden_probability(v)))


@pytest.mark.parametrize(("visible", "hidden", "gain"), SMALL)
def test_pseudo_likelihood_is_that_of_the_table(visible, hidden, gain):
    rbm = machine(visible, hidden, gain=gain)
    p, v = joint(rbm).sum(1), states(visible)
    index = {tuple(row.tolist()): i for i, row in enumerate(v)}
    expected = torch.zeros(len(v), dtype=F64)
    for i, unit in itertools.product(range(len(v)), range(visible)):
        other = v[i].clone()
        other[unit] = 1 - other[unit]
        expected[i] += torch.log(p[i] / (p[i] + p[index[tuple(other.tolist())]]))
    torch.testing.assert_close(rbm.pseudo_likelihood(v), expected)
    torch.testing.assert_close(rbm.pseudo_likelihood(v[3]), expected[3])


def test_against_scikit_learn():
    rbm, X = machine(6, 4), states(6)
    peer = BernoulliRBM(4)
    peer.components_, peer._n_features_out = rbm.weights.T.numpy(), 4
    peer.intercept_hidden_, peer.intercept_visible_ = rbm.hidden_bias.numpy(), rbm.visible_bias.numpy()
    np.testing.assert_allclose(rbm.hidden_probability(X), peer.transform(X.numpy()), rtol=1e-12)
    np.testing.assert_allclose(rbm.free_energy(X), peer._free_energy(X.numpy()), rtol=1e-12, atol=1e-12)


def test_gain_scales_the_parameters():
    rbm, v = machine(gain=1.7), gray_data(5)
    twin = machine(gain=1.0)
    twin.weights, twin.visible_bias, twin.hidden_bias = (1.7 * p for p in parameters(rbm))
    torch.testing.assert_close(rbm.free_energy(v), twin.free_energy(v))
    torch.testing.assert_close(rbm.hidden_probability(v), twin.hidden_probability(v))
    torch.testing.assert_close(rbm.sample(7, 3, 1), twin.sample(7, 3, 1))


@pytest.mark.parametrize("algorithm", ["cd", "pcd"])
@pytest.mark.parametrize("units", ["binary", "continuous"])
def test_gain_scales_training(algorithm, units):
    # The update is the gradient with respect to θ, so g θ moves g² times as far as at gain 1: the same path.
    g, X = 1.7, gray_data(50)
    rbm, twin = machine(units=units, gain=g), machine(units=units)
    twin.weights, twin.visible_bias, twin.hidden_bias = (g * p for p in parameters(rbm))
    common = {"algorithm": algorithm, "epochs": 3, "batch_size": 20, "momentum": 0.5, "seed": 2}
    rbm.fit(X, learning_rate=0.1, weight_decay=0.2, **common)
    twin.fit(X, learning_rate=0.1 * g**2, weight_decay=0.2 / g**2, **common)
    torch.testing.assert_close(g * flat(parameters(rbm)), flat(parameters(twin)), rtol=1e-9, atol=1e-9)


def test_layers_of_a_stack_have_their_jacobians():
    stack = pretrain((6, 5, 4), gray_data(30, 6), gain=1.05, epochs=1, learning_rate=0.1, seed=0)
    x = gray_data(1, 6)[0]
    for rbm, J in zip(stack, layer_jacobians([rbm.hidden_probability for rbm in stack], x), strict=True):
        x = rbm.hidden_probability(x)
        torch.testing.assert_close(J, (1.05 * x * (1 - x))[:, None] * rbm.weights.T)


def test_dtype_follows_the_input():
    rbm = RBM(4, 3)
    assert rbm.weights.dtype == torch.float32 and rbm.hidden_probability(gray_data(2)).dtype == F64
    assert rbm.weights.std() == pytest.approx(0.01, rel=0.6)  # 12 numbers: 3 standard errors
    assert torch.equal(rbm.weights, RBM(4, 3, dtype=F64).weights.float())
    for dtype in (torch.float32, F64):
        rbm.fit(gray_data(10).to(dtype), epochs=1, learning_rate=0.1, seed=0)
        assert {p.dtype for p in parameters(rbm)} == {dtype} and rbm.sample(2, 1, 0).dtype == dtype
        assert rbm.free_energy(gray_data(2).to(dtype)).dtype == dtype


# -------------------------------------------------------------------------------------------------------- the sampling


def test_sixteen_bits_round_to_the_nearest():
    # A table of all 2^16 numbers in place of random bits: the share of ones is p to within half of 2^-16.
    class Table:
        def random_raw(self, count):
            assert count == 2**14
            return np.arange(2**16, dtype=np.uint16).view(np.uint64)

    noise = BinaryNoise(generator(0), 2**16, torch.device("cpu"))
    noise.bits = Table()
    for p in (0.0, 1.0, 0.5, 0.123456, 1e-5, 0.999999, 2**-17 * 1.01, 2**-17 * 0.99):
        for dtype in (torch.float32, F64):
            share = noise.sample(torch.full((2**16,), p, dtype=dtype), torch.empty(2**16, dtype=dtype)).mean(dtype=F64)
            assert abs(share - p) <= 2**-17 * 1.001 and share * 2**16 == round(p * 2**16)


def test_noise_is_independent():
    noise = BinaryNoise(generator(0), 4 * 10**5, torch.device("cpu"))
    p = torch.tensor([0.1, 0.5, 0.9, 0.02])
    x = noise.sample(p.expand(10**5, 4), torch.empty(10**5, 4))
    assert set(x.unique().tolist()) == {0.0, 1.0}
    # Four standard errors of a mean, and of a correlation of 1e5 pairs; the four numbers of 64 bits are one row.
    assert ((x.mean(0) - p).abs() < 4 * (p * (1 - p) / 1e5).sqrt()).all()
    for lag in range(1, 9):
        a, b = x[:-1].flatten()[:-lag] - p.repeat(len(x) - 1)[:-lag], x[:-1].flatten()[lag:]
        assert abs((a * (b - p.repeat(len(x) - 1)[lag:])).mean()) < 4 * 0.25 / math.sqrt(len(a))


def test_samples_have_the_law():
    rbm = machine(scale=0.7, gain=1.3)
    n = 40_000
    v = rbm.sample(n, 60, seed=1)
    counts = torch.bincount((v @ torch.tensor([8.0, 4, 2, 1], dtype=F64)).long(), minlength=16)
    p = joint(rbm).sum(1)
    chi2 = float(((counts - n * p) ** 2 / (n * p)).sum())
    assert chi2 < 15 + 4 * math.sqrt(30)  # mean 15, variance 30
    one = rbm.sample(3, 1, seed=1, start=torch.ones(3, 4, dtype=F64))
    assert one.shape == (3, 4) and set(one.unique().tolist()) <= {0.0, 1.0}
    grey = machine(units="continuous").sample(50, 2, seed=1)
    assert ((grey > 0) & (grey < 1)).all() and len(grey.unique()) > 10


# -------------------------------------------------------------------------------------------------------- the updates


def statistics(rbm, v):
    """v p(h|v), v and p(h|v) for each row of v, in one row each."""
    h = rbm.hidden_probability(v)
    return torch.cat(((v[:, :, None] * h[:, None]).flatten(1), v, h), 1)


def expected_model_statistics(rbm, k, law_of_h):
    """E [v p(h|v), v, p(h|v)] after k steps h → v from the law of h (2^hidden,), by enumeration."""
    table, h = joint(rbm), states(rbm.hidden)
    to_v, to_h = (table / table.sum(0)).T, table / table.sum(1, keepdim=True)
    if rbm.units == "continuous":  # v is a function of h
        v = rbm.visible_probability(h)
        q = rbm.hidden_probability(v)
        step = (q[:, None] * h + (1 - q)[:, None] * (1 - h)).prod(-1)
        return law_of_h @ torch.linalg.matrix_power(step, k - 1) @ statistics(rbm, v)
    law_of_v = law_of_h @ torch.linalg.matrix_power(to_v @ to_h, k - 1) @ to_v
    return law_of_v @ statistics(rbm, states(rbm.visible))


@pytest.mark.parametrize("units", ["binary", "continuous"])
@pytest.mark.parametrize(("algorithm", "k"), [("cd", 1), ("cd", 3), ("pcd", 1), ("pcd", 2)])
def test_expected_update_is_the_enumerated_one(units, algorithm, k):
    rbm, n = machine(units=units, gain=1.5, scale=0.8), 100_000
    X = gray_data(20).repeat(n // 20, 1)
    q, h = rbm.hidden_probability(X[:20]), states(3)
    law = (q[:, None] * h + (1 - q)[:, None] * (1 - h)).prod(-1).mean(0)
    if algorithm == "pcd":
        law = torch.eye(8, dtype=F64)[0]  # the chains begin at h = 0
    expected = rbm.gain * (statistics(rbm, X[:20]).mean(0) - expected_model_statistics(rbm, k, law))
    found = update(rbm, X, algorithm=algorithm, k=k)
    # Each statistic is in [0, 1]: a standard error of at most 1.5/2/√n = 0.0024; four of them.
    assert (found - expected).abs().max() < 4 * 1.5 / 2 / math.sqrt(n)


def exact_gradient(rbm, X):
    """Of the mean log-likelihood, by automatic differentiation of the enumerated one."""
    leaves = [p.requires_grad_() for p in parameters(rbm)]
    twin = RBM(rbm.visible, rbm.hidden, gain=rbm.gain)
    twin.weights, twin.visible_bias, twin.hidden_bias = leaves
    return flat(torch.autograd.grad(twin.log_likelihood(X).mean(), leaves))


@pytest.mark.parametrize("gain", [1.0, 1.5])
@pytest.mark.parametrize("algorithm", ["cd", "pcd"])
def test_long_chains_give_the_gradient(algorithm, gain):
    rbm, n = machine(gain=gain, scale=1.2), 50_000
    X = states(4)[[1, 2, 7, 12, 15]].repeat(n // 5, 1)
    exact = exact_gradient(rbm, X)
    bound = 4 * gain / 2 / math.sqrt(n)  # four standard errors of a mean of numbers in [0, 1]
    short = update(machine(gain=gain, scale=1.2), X, algorithm=algorithm, k=1)
    assert (short - exact).abs().max() > 3 * bound  # the bias that long chains remove
    assert (update(rbm, X, algorithm=algorithm, k=60) - exact).abs().max() < bound


def test_persistent_chains_go_on():
    # 40 epochs at rate 0 move the chains only; then one step has the gradient of long chains, at k = 1.
    rbm, n = machine(scale=0.8), 50_000
    X = states(4)[[1, 2, 7, 12, 15]].repeat(n // 5, 1)
    exact = exact_gradient(rbm, X)
    found = update(rbm, X, algorithm="pcd", epochs=41, learning_rate=[0.0] * 40 + [1.0])
    assert (found - exact).abs().max() < 4 / 2 / math.sqrt(n)


def certain(units="continuous", seed=0):
    """Every hidden unit is 1, whatever is drawn: training is deterministic."""
    rbm = machine(units=units, seed=seed)
    rbm.hidden_bias = torch.full((3,), 60.0, dtype=F64)
    return rbm


def test_momentum_decay_and_rates_follow_the_formula():
    X, rbm, twin = gray_data(10), certain(), certain()
    rates, momenta, decay = [0.3, 0.2, 0.1, 0.1], [0.0, 0.5, 0.5, 0.9], 0.2
    rbm.fit(X, epochs=4, learning_rate=rates, momentum=momenta, weight_decay=decay, batch_size=10, seed=0)
    W, b, _ = parameters(twin)
    dW, db = torch.zeros_like(W), torch.zeros_like(b)
    for rate, momentum in zip(rates, momenta, strict=True):
        v = torch.sigmoid(W.sum(1) + b)
        dW = rate * ((X.mean(0) - v)[:, None].expand(4, 3) - decay * W) + momentum * dW
        db = rate * (X.mean(0) - v) + momentum * db
        W, b = W + dW, b + db
    torch.testing.assert_close(rbm.weights, W, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(rbm.visible_bias, b, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("algorithm", ["cd", "pcd"])
@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_updates_are_means_over_the_batch(algorithm, momentum):
    # Equal rows and nothing random (but the first step of PCD, from h = 0): the size of a batch does not matter, and
    # neither does a last batch that is smaller.
    row = gray_data(1)
    common = {"learning_rate": 0.2, "momentum": momentum, "weight_decay": 0.1, "algorithm": algorithm, "seed": 0}
    found = [
        flat(parameters(certain().fit(row.repeat(n, 1), epochs=epochs, batch_size=batch, **common)))
        for n, batch, epochs in ((1, 1, 6), (30, 30, 6), (30, 10, 2), (25, 10, 2), (5, 100, 6))
    ]
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], rtol=1e-9, atol=1e-12)


def test_bias_from_data():
    X = gray_data(40)
    X[:, 0], X[:, 1] = 0, 1
    rbm = RBM(4, 3, gain=1.05).fit(X, epochs=1, learning_rate=0.0, bias_from_data=True, seed=0)
    means = X.mean(0).clamp(0.01, 0.99)
    torch.testing.assert_close(torch.sigmoid(1.05 * rbm.visible_bias), means)


# ------------------------------------------------------------------------------------------------------------ training


def bars():
    """Bars or stripes on 3 x 3 pixels: 14 patterns."""
    masks = states(3)
    upright = masks[:, :, None].expand(8, 3, 3).reshape(8, 9)
    lying = masks[:, None, :].expand(8, 3, 3).reshape(8, 9)
    return torch.cat((upright, lying)).unique(dim=0)


@pytest.mark.parametrize(("algorithm", "units"), [("cd", "binary"), ("pcd", "binary"), ("cd", "continuous")])
def test_log_likelihood_rises(algorithm, units):
    X = bars()
    data = X.repeat(10, 1)
    for seed in range(3):
        rbm = RBM(9, 10, units, weight_var=0.01, seed=seed, dtype=F64)
        curve = [rbm.log_likelihood(X).mean().item()]
        for part in range(4):
            rbm.fit(data, algorithm=algorithm, epochs=200, learning_rate=0.2, batch_size=140, seed=part)
            curve.append(rbm.log_likelihood(X).mean().item())
        # From nearly independent pixels, -9 log 2 = -6.2, towards the best, -log 14 = -2.64.
        assert curve[0] == pytest.approx(-9 * math.log(2), abs=0.1)
        assert np.all(np.diff(curve) > 0) and -2.64 > curve[-1] > -4.2


def test_seed_decides_and_global_state_stays():
    X = gray_data(50)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002

    def run(seed, algorithm="cd"):
        stack = pretrain((4, 3, 2), X, epochs=2, learning_rate=0.1, batch_size=20, algorithm=algorithm, seed=seed)
        return torch.cat([flat(parameters(rbm)) for rbm in stack] + [stack[0].sample(5, 2, seed).flatten()])

    for algorithm in ("cd", "pcd"):
        assert torch.equal(run(1, algorithm), run(1, algorithm))
        assert not torch.equal(run(1, algorithm), run(2, algorithm))
    assert torch.equal(run(np.random.default_rng(3)), run(np.random.default_rng(3)))
    assert torch.equal(before[0], torch.get_rng_state()) and (before[1] == np.random.get_state()[1]).all()  # noqa: NPY002


def test_fit_continues_and_leaves_what_was_handed_in():
    X, W = gray_data(20), torch.zeros(4, 3, dtype=F64)
    data, rbm = X.clone(), RBM(4, 3, dtype=F64)
    rbm.weights = W
    assert rbm.fit(X, epochs=1, learning_rate=0.1, seed=0) is rbm
    assert torch.equal(X, data) and not W.any() and rbm.weights.any()
    first = rbm.weights.clone()
    rbm.fit(X, epochs=1, learning_rate=0.0, weight_decay=0.3, seed=1)
    assert torch.equal(rbm.weights, first)


def test_means_feed_the_next_layer():
    X, draw = gray_data(60), generator(4)
    options = {"epochs": 2, "learning_rate": 0.1, "batch_size": 20, "momentum": [0.5, 0.9], "weight_decay": 2e-4}
    stack = pretrain((4, 3, 2), X, units="continuous", gain=1.05, weight_var=0.01, seed=4, **options)
    for (visible, hidden), rbm in zip(((4, 3), (3, 2)), stack, strict=True):
        alone = RBM(visible, hidden, "continuous", 1.05, weight_var=0.01, seed=draw, dtype=F64)
        alone.fit(X, **options, seed=draw)
        assert torch.equal(alone.weights, rbm.weights) and rbm.units == "continuous" and rbm.gain == 1.05
        X = alone.hidden_probability(X)


# ----------------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"units": "gaussian"}, "units = 'gaussian': one of binary, continuous"),
        ({"gain": 0.0}, "gain = 0.0: finite positive"),
        ({"gain": math.nan}, "gain = nan"),
        ({"visible": 0}, "visible = 0"),
        ({"hidden": 2.5}, "hidden = 2.5"),
        ({"weight_var": -1.0}, r"weight_var = -1.0"),
        ({"seed": -1}, "seed = -1"),
    ],
)
def test_rbm_rejects(arguments, message):
    with pytest.raises(ValueError, match=message):
        RBM(**{"visible": 4, "hidden": 3} | arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"X": torch.full((3, 4), 1.5)}, r"X has entries from 1.5 to 1.5: data in \[0, 1\]"),
        ({"X": torch.full((3, 4), -1e-3)}, "X has entries from -0.001"),
        ({"X": torch.tensor([[0.0, 0, math.nan, 1]])}, "X has entries from nan"),
        ({"X": torch.zeros(3, 5)}, r"X of shape \(3, 5\) .* \(samples, 4\) is allowed"),
        ({"X": torch.zeros(4)}, "X of shape"),
        ({"X": torch.zeros(0, 4)}, "X of shape"),
        ({"X": torch.zeros(3, 4, dtype=torch.int64)}, "torch.int64"),
        ({"algorithm": "gibbs"}, "algorithm = 'gibbs': one of cd, pcd"),
        ({"k": 0}, "k = 0: a positive integer"),
        ({"epochs": 0}, "epochs = 0"),
        ({"batch_size": 0}, "batch_size = 0"),
        ({"learning_rate": math.inf}, "learning_rate = inf"),
        ({"learning_rate": [0.1, 0.1]}, "learning_rate has 2 values for epochs = 1"),
        ({"momentum": 1.0}, r"momentum = 1.0: numbers in \[0, 1\)"),
        ({"weight_decay": -0.1}, "weight_decay = -0.1"),
        ({"seed": 0.5}, "seed = 0.5"),
    ],
)
def test_fit_rejects(arguments, message):
    options = {"X": torch.zeros(3, 4), "epochs": 1, "learning_rate": 0.1, "seed": 0} | arguments
    rbm = RBM(4, 3)
    before = flat(parameters(rbm))
    with pytest.raises(ValueError, match=message):
        rbm.fit(options.pop("X"), **options)
    assert torch.equal(before, flat(parameters(rbm)))


def test_other_bad_input():
    rbm = RBM(4, 3)
    with pytest.raises(ValueError, match=r"v of shape \(2, 3\) .* \(…, 4\) is allowed"):
        rbm.hidden_probability(torch.zeros(2, 3))
    with pytest.raises(ValueError, match=r"h of shape \(2, 4\)"):
        rbm.visible_probability(torch.zeros(2, 4))
    with pytest.raises(ValueError, match=r"v of shape \(3,\)"):
        rbm.free_energy(torch.zeros(3))
    with pytest.raises(ValueError, match=r"v has entries from 0 to 0\.5: zeros and ones"):
        rbm.pseudo_likelihood(torch.tensor([0.0, 0.5, 0.0, 0.0]))
    with pytest.raises(ValueError, match="zeros and ones"):
        rbm.log_likelihood(torch.full((4,), 0.5))
    with pytest.raises(ValueError, match="layers of 30 and 21 units: enumeration allows 20"):
        RBM(30, 21).log_likelihood(torch.zeros(30))
    with pytest.raises(ValueError, match="steps = 0"):
        rbm.sample(2, 0, 0)
    with pytest.raises(ValueError, match=r"start of shape \(3, 4\): \(2, 4\) is allowed"):
        rbm.sample(2, 1, 0, start=torch.zeros(3, 4))
    with pytest.raises(ValueError, match=r"widths = \(4,\)"):
        pretrain((4,), torch.zeros(3, 4), epochs=1, learning_rate=0.1, seed=0)
    with pytest.raises(ValueError, match=r"weights of shape \(3, 4\) .* floating point \(4, 3\) is allowed"):
        rbm.weights = torch.zeros(3, 4)
    with pytest.raises(ValueError, match=r"hidden_bias of shape \(3,\) and type torch.int64"):
        rbm.hidden_bias = torch.zeros(3, dtype=torch.int64)
    with pytest.raises(ValueError, match="v of type complex128: real numbers"):
        rbm.free_energy(np.zeros(4) + 1j)
    with pytest.raises(ValueError, match=r"dtype = torch.int64: a floating point type"):
        rbm.to(torch.int64)
    assert rbm.weights.dtype == torch.float32


# -------------------------------------------------------------------------------------------- arrays, files, devices


FORMS = [lambda t: t.numpy(), lambda t: t.numpy()[::-1][::-1], lambda t: t.tolist(), lambda t: list(t)]


@pytest.mark.parametrize("form", FORMS)
def test_arrays_and_lists_are_taken_as_tensors_are(form):
    rbm, v, h = machine(), states(4)[3:9], states(3)[2:5]
    for method, x in (
        (rbm.hidden_probability, v),
        (rbm.visible_probability, h),
        (rbm.reconstruct, v),
        (rbm.free_energy, v),
        (rbm.log_likelihood, v),
        (rbm.pseudo_likelihood, v),
        (lambda start: rbm.sample(6, 3, 0, start=start), v),
    ):
        torch.testing.assert_close(method(form(x)).double(), method(x), rtol=1e-5, atol=1e-6)  # lists are float32
    X = gray_data(20)
    fitted = machine().fit(form(X), epochs=2, learning_rate=[0.1, 0.05], seed=0)
    expected = machine().fit(X.to(fitted.weights), epochs=2, learning_rate=np.array([0.1, 0.05]), seed=0)
    assert torch.equal(flat(parameters(fitted)), flat(parameters(expected)))
    stack = pretrain((4, 3, 2), form(X), epochs=1, learning_rate=0.1, seed=0)
    assert [tuple(rbm.weights.shape) for rbm in stack] == [(4, 3), (3, 2)]
    rbm.weights, rbm.visible_bias = form(torch.ones(4, 3)), form(torch.ones(4))
    assert isinstance(rbm.weights, torch.Tensor) and float(rbm.weights.sum() + rbm.visible_bias.sum()) == 16


def test_lists_of_integers_are_numbers():
    assert RBM(3, 2).fit([[1, 1, 0], [0, 0, 1]], epochs=1, learning_rate=0.1, seed=0).weights.dtype == torch.float32
    assert RBM(3, 2).hidden_probability(np.array([True, False, True])).shape == (2,)


def test_start_leaves_the_random_numbers_as_they_were():
    """A given start draws no coins: its chains are those of the same noise from another start."""
    rbm = certain()
    start = states(4)[:2]
    assert torch.equal(rbm.sample(2, 3, 0, start=start), rbm.sample(2, 3, 0, start=start.clone()))
    assert torch.equal(start, states(4)[:2])


def test_repr_says_all_that_a_new_machine_needs():
    rbm = RBM(5, 2, "continuous", 1.05, dtype=F64)
    assert repr(rbm) == "RBM(5, 2, units='continuous', gain=1.05, dtype=torch.float64, device='cpu')"
    assert repr(eval(repr(rbm))) == repr(rbm)


@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_saved_machines_come_back(tmp_path, dtype):
    rbm = machine(units="continuous", gain=1.05).to(dtype)
    rbm.save(tmp_path / "machine.pt")
    again = RBM.load(str(tmp_path / "machine.pt"))
    assert repr(again) == repr(rbm) and torch.equal(flat(parameters(again)), flat(parameters(rbm)))
    again.fit(gray_data(20), epochs=1, learning_rate=0.1, seed=0)  # and can be trained further
    with pytest.raises(FileNotFoundError):
        RBM.load(tmp_path / "other.pt")


def test_files_that_are_no_machine(tmp_path):
    for number, content in enumerate(({"weights": torch.zeros(2, 2)}, torch.zeros(3), [1], {"units": "binary"})):
        path = tmp_path / f"{number}.pt"
        torch.save(content, path)
        with pytest.raises(ValueError, match=r"a file that RBM.save wrote is allowed"):
            RBM.load(path)
    machine().save(path)
    saved = torch.load(path)
    torch.save(saved | {"hidden_bias": torch.zeros(7)}, path)
    with pytest.raises(ValueError, match=r"RBM.save wrote is allowed \(hidden_bias of shape \(7,\)"):
        RBM.load(path)
    for content in (b"", b"not a machine"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"a file that RBM.save wrote is allowed"):
            RBM.load(path)


def test_to_moves_all_parameters_and_changes_nothing_else():
    rbm = machine()
    before = parameters(rbm)
    assert rbm.to(torch.float32) is rbm
    assert all(torch.equal(p, b.float()) for p, b in zip(parameters(rbm), before, strict=True))
    assert {p.dtype for p in parameters(rbm.to(torch.zeros(1, dtype=F64)))} == {F64}
    assert {p.device.type for p in parameters(rbm.to("meta"))} == {"meta"}
