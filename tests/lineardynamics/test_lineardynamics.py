"""Deep linear networks: exact mode dynamics against an ODE solver and against gradient descent on matrices."""

import numpy as np
import pytest
import torch
from deepdynamics.lineardynamics import descent as linear
from deepdynamics.lineardynamics import learning_time, mode_strength
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad, solve_ivp

DEPTHS = [1, 2, 3, 4, 10, 100, 1000, np.inf]


def factor(depth):
    return 1 if np.isinf(depth) else depth


def ode(t, s, u0, tau, depth):
    """Equation (15) by an explicit Runge-Kutta method of order 8."""

    def velocity(_, u):
        return factor(depth) * u ** (2 - 2 / depth) * (s - u) / tau

    return solve_ivp(velocity, (0, t[-1]), [u0], "DOP853", t, rtol=1e-11, atol=1e-13).y[0]


# The closed forms ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize(("s", "u0"), [(2.0, 0.05), (0.7, 0.01), (0.4, 1.0), (1.0, 30.0), (1.3, 1.3)])
def test_strength_solves_the_differential_equation(depth, s, u0):
    end = 20.0 if s == u0 else float(learning_time(s, u0, s + 1e-3 * (u0 - s), 1.7, depth))
    t = np.linspace(0, end, 40)
    # Local errors of 1e-11 add up over the sigmoid, where they grow by at most the ratio s/u0 = 70 of strengths.
    np.testing.assert_allclose(mode_strength(t, s, u0, 1.7, depth), ode(t, s, u0, 1.7, depth), rtol=5e-9)


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize(("s", "u0", "uf"), [(2.0, 0.05, 1.9), (0.6, 0.3, 0.5999), (0.4, 1.0, 0.41), (1.0, 30.0, 2.0)])
def test_time_is_the_integral_of_the_inverse_velocity(depth, s, u0, uf):
    found = quad(lambda u: 1 / (factor(depth) * u ** (2 - 2 / depth) * (s - u)), u0, uf, epsabs=0, epsrel=1e-12)[0]
    np.testing.assert_allclose(learning_time(s, u0, uf, 3.0, depth), 3.0 * found, rtol=1e-10)


def test_two_layers_are_the_closed_forms_of_the_paper():
    t, s, u0, tau = np.linspace(0, 5, 30), 1.4, 0.02, 0.8
    growth = np.exp(2 * s * t / tau)
    np.testing.assert_allclose(mode_strength(t, s, u0, tau), s * growth / (growth - 1 + s / u0), rtol=1e-13)
    uf = 1.3
    expected = tau / (2 * s) * np.log(uf * (s - u0) / (u0 * (s - uf)))
    np.testing.assert_allclose(learning_time(s, u0, uf, tau), expected, rtol=1e-13)


def test_infinite_depth_is_equation_17_and_the_limit_of_equation_15():
    s, u0, uf, tau = 1.4, 0.05, 1.3, 0.8
    limit = tau * (np.log(uf * (u0 - s) / (u0 * (uf - s))) / s**2 + 1 / (s * u0) - 1 / (s * uf))
    np.testing.assert_allclose(learning_time(s, u0, uf, tau, np.inf), limit, rtol=1e-13)
    units = np.array([101.0, 201.0, 10_001.0, 20_001.0])
    gap = 1 - units * learning_time(s, u0, uf, tau, units - 1) / limit
    # The gap is of first order in 1/N_l: it halves, up to a term of second order.
    np.testing.assert_allclose(gap[::2] / gap[1::2], 2, rtol=0.05)
    assert gap[-1] < 1e-3
    # The measured table of three depths at u0 = 0.05, uf = 0.95, s = 1.
    ratio = [
        n * learning_time(1.0, 0.05, 0.95, 1.0, n - 1) / learning_time(1.0, 0.05, 0.95, 1.0, np.inf) for n in (11, 101)
    ]
    np.testing.assert_allclose(ratio, [0.77, 0.973], atol=5e-3)


def test_very_long_and_very_small():
    assert mode_strength(1e9, 2.0, 0.1, 1.0, 7) == 2.0
    assert mode_strength(1e9, 2.0, 5.0, 1.0, 7) == 2.0
    assert mode_strength(1e-9, 2.0, 1e-200, 1.0, 50) == pytest.approx(1e-200, rel=1e-12)
    assert learning_time(2.0, 0.1, 2.0, 1.0, 5) == np.inf
    assert learning_time(2.0, 0.1, 0.1, 1.0, 5) == 0


depths = st.one_of(st.integers(1, 10**6), st.just(np.inf))


@given(
    depth=depths,
    log_s=st.floats(-2, 2),
    log_x0=st.floats(-6, 2).filter(lambda v: abs(v) > 1e-3),
    share=st.floats(1e-6, 1 - 1e-9),
    tau=st.floats(0.01, 100),
)
@settings(max_examples=150)
def test_strength_and_time_are_inverse(depth, log_s, log_x0, share, tau):
    s, u0 = 10.0**log_s, 10.0 ** (log_s + log_x0)
    uf = u0 + share * (s - u0)
    t = learning_time(s, u0, uf, tau, depth)
    # An error of 1e-14 in t moves log u by at most 1e-14 · t du/dt/u, and t du/dt / u is at most a few s/u0 <= 1e6.
    np.testing.assert_allclose(mode_strength(t, s, u0, tau, depth), uf, rtol=1e-7)


@given(depth=depths, x0=st.floats(1e-4, 0.9), scale=st.floats(0.01, 100))
@settings(max_examples=50)
def test_times_add_up_and_scale(depth, x0, scale):
    middle, end = 0.5 * (x0 + 0.95), 0.95
    whole = learning_time(1.0, x0, end, 1.0, depth)
    parts = learning_time(1.0, x0, middle, 1.0, depth) + learning_time(1.0, middle, end, 1.0, depth)
    np.testing.assert_allclose(parts, whole, rtol=1e-9)
    # u -> c u maps the equation to itself with time divided by c^{2 - 2/D}.
    scaled = learning_time(scale, scale * x0, scale * end, 1.0, depth) * scale ** (2 - 2 / depth)
    np.testing.assert_allclose(scaled, whole, rtol=1e-12)


def test_broadcasting_is_a_loop():
    t, s, u0, depth = (
        np.linspace(0, 4, 5)[:, None, None],
        np.array([0.5, 2.0]),
        0.7,
        np.array([[1], [2], [3], [np.inf]]),
    )
    table = mode_strength(t, s, u0, 1.0, depth)
    assert table.shape == (5, 4, 2)
    loop = [[[mode_strength(a, b, u0, 1.0, c) for b in s] for c in depth[:, 0]] for a in t[:, 0, 0]]
    np.testing.assert_allclose(table, loop, rtol=1e-12)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"t": -1.0}, "t = -1.0"),
        ({"t": np.nan}, "t = nan"),
        ({"singular_value": 0.0}, "singular_value = 0.0"),
        ({"initial": [0.1, -0.2]}, "initial = -0.2"),
        ({"tau": np.inf}, "tau = inf"),
        ({"weight_layers": 0}, "weight_layers = 0"),
        ({"weight_layers": 2.5}, "weight_layers = 2.5"),
        ({"weight_layers": np.nan}, "weight_layers = nan"),
    ],
)
def test_bad_arguments_of_the_strength_are_named(bad, message):
    with pytest.raises(ValueError, match=message):
        mode_strength(**{"t": 1.0, "singular_value": 1.0, "initial": 0.1, "tau": 1.0} | bad)


@pytest.mark.parametrize(("initial", "final"), [(0.1, 1.2), (0.1, 0.05), (2.0, 0.9), (2.0, 3.0), (0.1, -1.0)])
def test_strengths_that_are_never_reached_are_an_error(initial, final):
    with pytest.raises(ValueError, match="final"):
        learning_time(1.0, initial, final, 1.0)


# Gradient descent on matrices ----------------------------------------------------------------------------------------
def teacher(seed=0, out=4, n_in=6, values=(2.0, 1.2, 0.7, 0.4)):
    draw = np.random.default_rng(seed)
    U, V = (np.linalg.qr(draw.standard_normal((n, len(values))))[0] for n in (out, n_in))
    return torch.from_numpy(U * np.array(values) @ V.T)


def in_modes(products, S):
    U, _, Vh = torch.linalg.svd(S, full_matrices=False)
    return U.mT @ products @ Vh.mT


@pytest.mark.parametrize("depth", [1, 2, 3, 8])
def test_gradient_descent_follows_the_modes_and_halving_the_step_halves_the_error(depth):
    S, errors = teacher(), []
    weights = linear.decoupled_weights(S, 0.05, depth, width=5, seed=1)
    for rate in (0.02 / depth, 0.01 / depth, 0.005 / depth):
        found = linear.descend(weights, S, learning_rate=rate, steps=int(12 / rate), every=8)
        exact = mode_strength(found.steps.numpy()[:, None] * rate, [2.0, 1.2, 0.7, 0.4], 0.05, 1.0, depth)
        modes = in_modes(found.products, S)
        # Decoupled modes stay decoupled: what is off the diagonal is rounding.
        assert (modes - torch.diag_embed(modes.diagonal(dim1=-2, dim2=-1))).abs().max() < 1e-12
        torch.testing.assert_close(linear.strengths(found.products, S), modes.diagonal(dim1=-2, dim2=-1))
        errors.append(np.abs(modes.diagonal(dim1=-2, dim2=-1).numpy() - exact).max())
    assert errors[0] < 0.05
    np.testing.assert_allclose(np.array(errors[:-1]) / errors[1:], 2, rtol=0.08)


def test_gradient_flow_conserves_the_difference_of_the_layers():
    # WᵀW of a layer minus W Wᵀ of the one below is constant for gradient flow; a step of size η breaks it by O(η²).
    S, drifts = teacher(), []
    weights = linear.random_weights((6, 5, 4), "gaussian", runs=1, scale=0.3, seed=3)
    for rate in (0.02, 0.01):
        end = linear.descend(weights, S, learning_rate=rate, steps=int(6 / rate)).weights
        drift = [W[1].mT @ W[1] - W[0] @ W[0].mT for W in (weights, end)]
        drifts.append(float((drift[1] - drift[0]).norm()))
    assert drifts[0] < 0.05
    assert drifts[0] / drifts[1] == pytest.approx(2, rel=0.1)


def test_scalar_modes_conserve_the_difference_of_squares():
    a0, b0, s = 0.3, 0.1, 1.5
    S = torch.tensor([[s]], dtype=torch.float64)
    weights = [torch.full((1, 1), v, dtype=torch.float64) for v in (a0, b0)]
    a, b = (float(w) for w in linear.descend(weights, S, learning_rate=1e-4, steps=40_000).weights)
    assert a * b == pytest.approx(s, rel=1e-3)
    assert a * a - b * b == pytest.approx(a0 * a0 - b0 * b0, abs=1e-4)


@given(depth=st.integers(1, 5), width=st.integers(1, 5), seed=st.integers(0, 10**6), whitened=st.booleans())
@settings(max_examples=25)
def test_one_step_is_a_step_along_the_gradient_of_autograd(depth, width, seed, whitened):
    draw = torch.Generator().manual_seed(seed)
    widths = [4] + [width] * (depth - 1) + [3]
    x = torch.randn(4, 30, generator=draw, dtype=torch.float64)
    y = torch.randn(3, 30, generator=draw, dtype=torch.float64)
    if whitened:
        x = torch.linalg.solve(torch.linalg.cholesky(x @ x.T / 30), x)
    weights = [w.requires_grad_() for w in linear.random_weights(widths, "gaussian", runs=2, seed=draw)]
    loss = 0.5 * (y - linear.product(weights) @ x).square().sum((-2, -1)).sum() / 30
    gradients = torch.autograd.grad(loss, weights)
    start = [w.detach() for w in weights]
    covariance, rates = None if whitened else x @ x.T / 30, torch.tensor([0.1, 0.2], dtype=torch.float64)
    found = linear.descend(start, y @ x.T / 30, covariance, learning_rate=rates, steps=1)
    for w, before, gradient in zip(found.weights, start, gradients, strict=True):
        expected = before - rates[:, None, None] * gradient
        torch.testing.assert_close(w, expected, rtol=1e-10, atol=1e-10)
    with torch.no_grad():
        W, best = linear.product(start), torch.linalg.lstsq(x.T, y.T).solution.T
        gap = 0.5 * ((y - W @ x).square().sum((-2, -1)) - (y - best @ x).square().sum()) / 30
    torch.testing.assert_close(linear.excess_loss(W, y @ x.T / 30, x @ x.T / 30), gap, rtol=1e-8, atol=1e-10)


def test_steps_to_learn_is_a_loop_over_networks_and_rates():
    S, C = teacher(), torch.diag(torch.linspace(1.5, 0.5, 6, dtype=torch.float64))
    weights = linear.random_weights((6, 6, 6, 4), "gaussian", runs=3, seed=5)
    rates = [0.02, 0.1, 5.0]
    found = linear.steps_to_learn(weights, S, C, learning_rates=rates, share=0.1, limit=150)
    for n in range(3):
        for r, rate in enumerate(rates):
            W = linear.descend([w[n] for w in weights], S, C, learning_rate=rate, steps=150).products
            share = linear.excess_loss(W, S, C) / linear.excess_loss(torch.zeros_like(S), S, C)
            good = torch.nonzero(share <= 0.1)[:, 0]
            # With the largest rate the loss explodes; what happens after that is not learning.
            assert found[n, r] == (good[0] if len(good) and (share[: good[0]] < 1000).all() else torch.inf)
    assert torch.isinf(found[:, 2]).all() and torch.isfinite(found[:, 1]).all()


def test_one_layer_of_whitened_inputs_learns_in_one_step_of_rate_one():
    assert (
        linear.steps_to_learn([torch.zeros(2, 4, 6, dtype=torch.float64)], teacher(), learning_rates=[1.0], limit=3)
        .eq(1)
        .all()
    )


# Initialisations and measures ----------------------------------------------------------------------------------------
def test_decoupled_weights_start_where_they_should_and_take_batches():
    S = torch.stack([teacher(k) for k in range(3)])
    initial = torch.tensor([0.4, 0.3, 0.2, 0.1], dtype=torch.float64)
    weights = linear.decoupled_weights(S, initial, 4, width=7, seed=0)
    assert [tuple(w.shape) for w in weights] == [(3, 7, 6), (3, 7, 7), (3, 7, 7), (3, 4, 7)]
    for W, one in zip(linear.product(weights), S, strict=True):
        torch.testing.assert_close(in_modes(W, one), torch.diag(initial), atol=1e-12, rtol=0)


def test_gaussian_weights_have_the_variance_and_orthogonal_ones_the_frame():
    (W,) = linear.random_weights((200, 100), "gaussian", runs=20, scale=2.0, seed=0)
    # 400,000 entries: the variance is known to a relative 2/sqrt(4e5) = 0.3 %; four times that.
    assert float(W.var()) == pytest.approx(4 / 200, rel=0.0125)
    wide, narrow = linear.random_weights((3, 5, 2), "orthogonal", runs=4, scale=0.5, seed=0)
    torch.testing.assert_close(wide.mT @ wide, 0.25 * torch.eye(3, dtype=torch.float64).expand(4, 3, 3))
    torch.testing.assert_close(narrow @ narrow.mT, 0.25 * torch.eye(2, dtype=torch.float64).expand(4, 2, 2))


def test_pretrained_layers_are_isometries_of_the_principal_subspace():
    spectrum = torch.tensor([3.0, 2.0, 1.5, 0.2, 0.1], dtype=torch.float64)
    rotation = torch.linalg.qr(torch.randn(5, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64))[0]
    C = rotation * spectrum @ rotation.T
    stack = linear.pretrained_weights(C, 3, 4, runs=3, scale=1e-3, learning_rate=0.2, steps=400, seed=1)
    projector = rotation[:, :3] @ rotation[:, :3].T
    # Deviations are of the order of the initial weights, 1e-3.
    torch.testing.assert_close(stack[0].mT @ stack[0], projector.expand(3, 5, 5), atol=5e-3, rtol=0)
    for W in stack[1:]:
        torch.testing.assert_close(W.mT @ W, torch.eye(3, dtype=torch.float64).expand(3, 3, 3), atol=5e-3, rtol=0)


def test_a_diagonal_covariance_may_be_given_by_its_diagonal():
    options = dict(width=2, layers=2, runs=2, scale=0.01, learning_rate=0.1, steps=50, seed=4)
    spectrum = torch.tensor([3.0, 2.0, 0.5], dtype=torch.float64)
    for one, other in zip(
        linear.pretrained_weights(spectrum, **options),
        linear.pretrained_weights(torch.diag(spectrum), **options),
        strict=True,
    ):
        torch.testing.assert_close(one, other, atol=1e-12, rtol=1e-10)


def test_orthogonality_defect_of_gaussian_and_scaled_orthogonal_matrices():
    (W,) = linear.random_weights((400, 100), "gaussian", runs=20, seed=0)
    # Marchenko-Pastur: sd/mean of the eigenvalues is sqrt(k/n) up to O(1/k), with k = 100.
    assert float(linear.orthogonality_defect(W).mean()) == pytest.approx(0.5, rel=0.02)
    assert (
        linear.orthogonality_defect(linear.random_weights((9, 4), "orthogonal", runs=3, scale=7.0, seed=0)[0]).max()
        < 1e-13
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: linear.random_weights((2, 2), "uniform", runs=1, seed=0), "init = 'uniform'"),
        (lambda: linear.random_weights((2, 2), "gaussian", runs=0, seed=0), "runs = 0"),
        (lambda: linear.decoupled_weights(teacher(), -0.1, 2, width=5, seed=0), "initial = -0.1"),
        (lambda: linear.decoupled_weights(teacher(), 0.1, 2, width=3, seed=0), "width = 3"),
        (lambda: linear.descend([teacher()], teacher(), learning_rate=-1.0, steps=1), "learning_rate = -1.0"),
        (lambda: linear.descend([teacher()], teacher(), learning_rate=1.0, steps=-1), "steps = -1"),
        (
            lambda: linear.steps_to_learn([teacher()[None]], teacher(), learning_rates=[1.0], share=2, limit=1),
            "share = 2",
        ),
        (
            lambda: linear.pretrained_weights(
                torch.ones(3), 0, 1, runs=1, scale=0.1, learning_rate=0.1, steps=1, seed=0
            ),
            "width",
        ),
        (
            lambda: linear.pretrained_weights(
                torch.ones(3), 2, 1, runs=1, scale=0.1, learning_rate=90.0, steps=99, seed=0
            ),
            "learning_rate = 90.0",
        ),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_unpassed_share_is_the_loss_of_the_best_readout():
    """Beside gradient descent on the readout alone."""
    draw = torch.Generator().manual_seed(0)
    A, S31, B = (torch.randn(shape, generator=draw, dtype=torch.float64) for shape in ((3, 6), (2, 6), (6, 6)))
    S11 = B @ B.T + torch.eye(6, dtype=torch.float64)
    second, cross = A @ S11 @ A.T, S31 @ A.T
    rate, zeros = 1 / float(torch.linalg.eigvalsh(second)[-1]), torch.zeros(2, 3, dtype=torch.float64)
    (readout,) = linear.descend([zeros], cross, second, learning_rate=rate, steps=5000).weights
    zero = linear.excess_loss(torch.zeros_like(S31), S31, S11)
    share = linear.excess_loss(readout.reshape(2, 3) @ A, S31, S11) / zero
    torch.testing.assert_close(linear.unpassed_share(A, S31, S11), share, atol=1e-9, rtol=0)


def test_pretraining_takes_one_covariance_for_each_run():
    spectra = torch.tensor([[3.0, 1.0, 0.2], [2.0, 1.5, 0.1]])
    options = dict(width=2, layers=2, scale=0.003, learning_rate=0.2, steps=200, seed=0)
    both = linear.pretrained_weights(torch.diag_embed(spectra), runs=2, **options)
    assert [tuple(layer.shape) for layer in both] == [(2, 2, 3), (2, 2, 2)]
    assert float(linear.orthogonality_defect(both[1]).max()) < 0.01
    with pytest.raises(ValueError, match="one for each of 3 runs"):
        linear.pretrained_weights(torch.diag_embed(spectra), runs=3, **options)


def test_a_network_that_stops_at_its_first_rate_has_the_same_best_steps():
    task = torch.diag(torch.tensor([2.0, 1.0, 0.5]))
    weights = linear.random_weights((3, 3, 3), "orthogonal", runs=4, seed=0)
    rates = [0.05, 0.1, 0.2, 0.4]
    every = linear.steps_to_learn(weights, task, learning_rates=rates, limit=300)
    first = linear.steps_to_learn(weights, task, learning_rates=rates, limit=300, first_only=True)
    assert torch.equal(every.min(1).values, first.min(1).values)
    assert int(first.isinf().sum()) > int(every.isinf().sum())
