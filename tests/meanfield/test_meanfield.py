"""Mean field theory: the tables of the theory sheet, closed forms, limits, and networks of finite width."""

import math
import time
import tracemalloc

import numpy as np
import pytest
import torch
from deepdynamics import activations
from deepdynamics.meanfield import (
    MeanField,
    ResidualMeanField,
    convolutional_map,
    critical_weight_var,
    phase_diagram,
    recurrent_autocorrelation,
    simulation,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

# activation, weight_var, bias_var: q*, chi_1, c*, chi_c*, xi_c, xi_q, xi_grad, from 25-digit arithmetic
ORDER_PARAMETERS = """
tanh 1 .05 0.1935925202453 0.7590316471854 1 0.7590316471854 3.626975618053 1.747626242902 3.626975618
tanh 1.69 .09 0.6070467919093 0.9398074286822 1 0.9398074286822 16.10817274348 1.337667642539 16.108172743
tanh 2.25 .09 0.9608442797404 1.0609812641409 0.766753297254 0.951029557592 19.91629723 1.167499332748 -16.893546776
tanh 4 .05 2.1954939280345 1.3424024144452 0.165064962022 0.866527995597 6.980273533 0.873293371960 -3.396037137
tanh 4 .25 2.4797104610987 1.2722295538025 0.520946435466 0.856450292486 6.453319972 0.777026466559 -4.153325571
tanh 6.25 .09 4.0791238752824 1.5852247650060 0.122103747306 0.822229172724 5.108918989 0.688341457237 -2.170486483
tanh 9 .1 6.4285275909912 1.8428042462511 0.075356741643 0.794773905615 4.353550055 0.593516422119 -1.635888894
erf 1 .05 0.2884266917233 0.8675945841763 1 0.8675945841763 7.040729235 1.673746406991 7.040729235
erf 2.25 .09 1.2191689527617 1.1817531539780 0.497069522612 0.890340304193 8.609443564 0.936339119709 -5.988057672
erf 4 .25 2.8382546230332 1.4490506438516 0.396935943607 0.810360121071 4.755642346 0.654584490421 -2.696081901
"""
# bias_var: weight_var and q* of tanh, weight_var of erf and of hard tanh, on the critical line
CRITICAL_LINE = """
1e-4 1.0860262925 0.0457090787 0.8525876116 1.0012110972
0.01 1.4242052905 0.2733009135 1.1142800634 1.0520612094
0.05 1.7609546396067 0.5700478816408 1.3758390073 1.1655446896
0.09 1.9476546317 0.7634747669 1.5219478517 1.2457796603
0.25 2.4014892351 1.3179389990 1.8805472588 1.4717276992
0.5 2.8431674597 1.9710306134 2.2336596345 1.7171867206
"""
BOUNDED = ["tanh", "erf", "hardtanh", "sigmoid", "gaussian", "step"]
networks = st.tuples(st.sampled_from(BOUNDED), st.floats(0.1, 6.0), st.floats(0.0, 1.0))


def rows(table):
    return [line.split() for line in table.strip().splitlines()]


def within_standard_error(samples, expected, bias=0.0):
    """|mean - expected| <= bias + t · se at level 1e-4."""
    samples = np.asarray(samples)
    assert len(samples) >= 8
    se = samples.std(ddof=1) / math.sqrt(len(samples))
    return abs(samples.mean() - expected) <= bias + stats.t.isf(5e-5, len(samples) - 1) * se


@pytest.mark.parametrize("row", rows(ORDER_PARAMETERS), ids=lambda row: "-".join(row[:3]))
def test_table_of_order_parameters(row):
    net = MeanField(row[0], float(row[1]), float(row[2]))
    numbers = net.q_star, net.chi_1, net.c_star, net.chi_c_star, net.xi_c, net.xi_q, net.xi_grad
    assert numbers == pytest.approx([float(x) for x in row[3:]], rel=1e-9)
    assert net.phase == ("chaotic" if net.chi_1 > 1 else "ordered")


@pytest.mark.parametrize("row", rows(CRITICAL_LINE), ids=lambda row: row[0])
def test_table_of_the_critical_line(row):
    bias_var, tanh, q_star, erf, hardtanh = (float(x) for x in row)
    assert tuple(critical_weight_var("tanh", bias_var)) == pytest.approx((tanh, q_star), rel=1e-9)
    assert critical_weight_var("erf", bias_var).weight_var == pytest.approx(erf, rel=1e-9)
    assert critical_weight_var("hardtanh", bias_var).weight_var == pytest.approx(hardtanh, rel=1e-9)


def test_the_diagram_is_the_table_and_the_loop():
    weights, biases = np.array([1.0, 2.25, 4.0, 9.0]), np.array([0.0, 0.05, 0.25])
    for name in ("tanh", "erf", "hardtanh", "sigmoid"):
        diagram = phase_diagram(name, weights, biases)
        assert diagram.q_star.shape == diagram.phase.shape == (3, 4)
        for i, b in enumerate(biases):
            for j, w in enumerate(weights):
                net = MeanField(name, w, b)
                for field in ("q_star", "chi_1", "chi_c_star", "xi_q", "xi_c", "xi_grad"):
                    assert getattr(diagram, field)[i, j] == pytest.approx(getattr(net, field), rel=1e-11)
                assert diagram.c_star[i, j] == pytest.approx(net.c_star, rel=1e-11, abs=1e-12)
                assert diagram.phase[i, j] == net.phase
    q_star, *_, phase = diagram
    assert q_star is diagram.q_star and phase is diagram.phase


@settings(max_examples=60)
@given(networks)
def test_fixed_points_are_fixed_and_stable(network):
    net = MeanField(*network)
    assert net.length_map(net.q_star) == pytest.approx(net.q_star, rel=1e-12, abs=1e-300)
    assert net.correlation_map(1.0) == pytest.approx(1.0, abs=1e-9)
    assert 0 <= net.c_star <= 1
    assert net.correlation_map(net.c_star) == pytest.approx(net.c_star, abs=1e-9)
    assert net.chi_c_star <= 1 + 1e-9
    assert (net.c_star < 1) == (net.phase == "chaotic")


@settings(max_examples=40)
@given(networks, st.floats(0.0, 0.99), st.floats(1e-3, 0.01))
def test_the_correlation_map_rises_and_is_convex_on_positive_correlations(network, c, step):
    """It is a power series with coefficients that are not negative."""
    net = MeanField(*network)
    q = max(net.q_star, 1e-3)
    low, middle, high = net.correlation_map(np.array([c, c + step / 2, c + step]), q)
    assert low <= middle <= high
    assert middle <= (low + high) / 2 + 1e-12


@settings(max_examples=30)
@given(st.floats(0.1, 4.0), st.floats(0.0, 1.0), st.floats(0.2, 5.0), st.floats(0.1, 4.0), st.floats(-1, 1))
def test_relu_scales(weight_var, bias_var, k, q, c):
    """k φ(x) = φ(k x): lengths scale with the bias variance, and correlations do not see it."""
    net, scaled = MeanField("relu", weight_var, bias_var), MeanField("relu", weight_var, k * bias_var)
    assert scaled.length_map(k * q) == pytest.approx(k * net.length_map(q), rel=1e-12)
    assert scaled.correlation_map(c, k * q) == pytest.approx(net.correlation_map(c, q), rel=1e-9, abs=1e-12)
    if weight_var < 2:
        assert scaled.q_star == pytest.approx(k * net.q_star, rel=1e-12)


@settings(max_examples=30)
@given(st.floats(0.3, 5.0), st.floats(0.01, 1.0), st.floats(0.5, 2.0))
def test_rescaling_the_argument_rescales_the_variances(weight_var, bias_var, k):
    """φ(kx) with variances (σ_w², σ_b²) has the phases of φ with k² times these: Pennington's erf(√π x/2) is one."""

    class Scaled(activations.Erf):
        def _second_moment(self, q):
            return super()._second_moment(k**2 * q)

        def _slope_moment(self, q, n):
            return k**n * super()._slope_moment(k**2 * q, n)

    net, reference = MeanField(Scaled(), weight_var, bias_var), MeanField("erf", k**2 * weight_var, k**2 * bias_var)
    assert net.q_star * k**2 == pytest.approx(reference.q_star, rel=1e-10)
    assert net.chi_1 == pytest.approx(reference.chi_1, rel=1e-10)


def test_relu_in_closed_form():
    net = MeanField("relu", 1.5, 0.1)
    assert (net.q_star, net.chi_1, net.c_star, net.phase) == (pytest.approx(0.4), 0.75, 1.0, "ordered")
    assert net.xi_q == net.xi_c == net.xi_grad == pytest.approx(-1 / math.log(0.75))
    critical = MeanField("relu", 2.0, 0.0)
    assert (critical.chi_1, critical.c_star, critical.phase) == (1.0, 1.0, "critical")
    assert critical.xi_c == critical.xi_q == critical.xi_grad == math.inf
    # 1 - c falls like 9π²/(2 l²); the next order is a relative log(l)/l = 5e-4, times 4
    c = critical.trajectory(1.0, 0.0, 20000).c[-1]
    assert (1 - c) * 20000**2 == pytest.approx(9 * math.pi**2 / 2, rel=3e-3)


def test_critical_line_in_closed_form():
    assert tuple(critical_weight_var("relu", 0.0)) == (2.0, pytest.approx(math.nan, nan_ok=True))
    assert critical_weight_var("linear", 0.0).weight_var == 1.0
    assert tuple(critical_weight_var("tanh", 0.0)) == (1.0, 0.0)
    weight_var, q = critical_weight_var("erf", np.array([0.0, 0.1, 0.7]))
    np.testing.assert_allclose(weight_var, np.pi / 4 * np.sqrt(1 + 4 * q), rtol=1e-12)
    # small q*: σ_w² = 1 + 2q, σ_b² = 4q³/3, both up to a relative O(q)
    weight_var, q = critical_weight_var("tanh", 1e-10)
    assert q == pytest.approx((0.75e-10) ** (1 / 3), rel=3e-3)
    assert weight_var - 1 == pytest.approx(2 * q, rel=3e-3)


@pytest.mark.parametrize("name", ["tanh", "erf", "hardtanh", "gaussian", "sigmoid"])
def test_the_critical_line_is_critical(name):
    for bias_var in (0.02, 0.3):
        weight_var, q_star = critical_weight_var(name, bias_var)
        net = MeanField(name, weight_var, bias_var)
        assert (net.phase, net.c_star, net.xi_c, net.xi_grad) == ("critical", 1.0, math.inf, math.inf)
        assert net.q_star == pytest.approx(q_star, rel=1e-9)


def test_without_a_bias():
    dead = MeanField("tanh", 0.5, 0.0)
    assert (dead.q_star, dead.c_star, dead.chi_1, dead.phase) == (0.0, 1.0, 0.5, "ordered")
    assert dead.xi_q == dead.xi_c == pytest.approx(1 / math.log(2))
    critical = MeanField("tanh", 1.0, 0.0)
    assert (critical.q_star, critical.chi_1, critical.xi_c, critical.xi_q) == (0.0, 1.0, math.inf, math.inf)
    assert critical.correlation_map(0.3) == pytest.approx(0.3, rel=1e-9)
    alive = MeanField("tanh", 1.0001, 0.0)
    assert alive.q_star == pytest.approx(0.5e-4, rel=1e-3)
    # c* is a root of R(c) - c of slope 1e-9: float precision leaves 1e-7 of it
    assert alive.phase == "chaotic" and alive.c_star == pytest.approx(0.0, abs=1e-6)
    nothing = MeanField("tanh", 0.0, 0.0)
    assert (nothing.q_star, nothing.c_star, nothing.chi_1, nothing.xi_c) == (0.0, 1.0, 0.0, 0.0)


def test_a_step_has_no_order():
    net = MeanField("step", 1.0, 0.2)
    assert net.q_star == pytest.approx(0.7, rel=1e-12)
    assert (net.chi_1, net.phase, net.xi_q) == (math.inf, "chaotic", 0.0)
    assert net.c_star < 1


def test_depth_scales_are_the_decay_rates_of_the_maps():
    net = MeanField("tanh", 4.0, 0.25)
    q, c = net.trajectory(0.5, 0.9, 60)
    assert math.log((c[50] - net.c_star) / (c[51] - net.c_star)) == pytest.approx(1 / net.xi_c, rel=1e-3)
    assert math.log((q[10] - net.q_star) / (q[11] - net.q_star)) == pytest.approx(1 / net.xi_q, rel=1e-3)


def test_trajectories_broadcast_and_keep_the_diagonal():
    net = MeanField("tanh", 2.25, 0.09)
    q, c = net.trajectory(np.array([0.5, 2.0]), np.array([[1.0], [0.2]]), 6)
    assert q.shape == c.shape == (7, 2, 2)
    np.testing.assert_allclose(c[:, 0], 1.0, atol=1e-12)
    np.testing.assert_allclose(c[:, 1, 1], net.trajectory(2.0, 0.2, 6).c, rtol=1e-12)


def test_residual_maps_have_the_sheets_numbers():
    net = ResidualMeanField("tanh", 1.5, 0.1)
    q, c = net.trajectory(1.0, 0.6, 30)
    assert q[[5, 15, 30]] == pytest.approx([5.56571, 17.94492, 38.50843], abs=6e-6)
    assert c[[5, 15, 30]] == pytest.approx([0.60142, 0.53801, 0.48163], abs=6e-6)
    assert math.log(net.gradient_trajectory(1.0, 30)[0]) == pytest.approx(6.3707, abs=6e-5)


def test_gradient_trajectories_multiply_their_factors():
    net = MeanField("tanh", 4.0, 0.05)
    g = net.gradient_trajectory(net.q_star, 10)
    np.testing.assert_allclose(g, net.chi_1 ** np.arange(10, -1, -1.0), rtol=1e-10)


def test_convolutions_reduce_to_the_perceptron():
    """One position: no neighbours. Kernel 1: every pair of positions is a pair of inputs."""
    net, sigma = MeanField("erf", 2.0, 0.1), np.array([[1.3, 0.4], [0.4, 1.3]])
    following = convolutional_map("erf", 2.0, 0.1, sigma, 1)
    assert following[0, 0] == pytest.approx(net.length_map(1.3), rel=1e-13)
    assert following[0, 1] / following[0, 0] == pytest.approx(net.correlation_map(0.4 / 1.3, 1.3), rel=1e-12)
    # linear: the window averages along the diagonals, by hand
    sigma = np.array([[2.0, 0.1, 0.3], [0.1, 1.0, 0.2], [0.3, 0.2, 3.0]])
    following = convolutional_map("linear", 3.0, 0.0, sigma, 3)
    np.testing.assert_allclose(np.diag(following), 6.0)
    np.testing.assert_allclose(following[0, 1], 0.1 + 0.2 + 0.3)


def test_dynamic_mean_field_theory():
    """Δ(0) from a shooting-free check: the autocorrelation that it gives satisfies Δ'' = Δ - C(Δ)."""
    variance, lags, c = recurrent_autocorrelation("tanh", 2.25)
    assert 0 < variance < MeanField("tanh", 2.25, 0.0).q_star
    uniform = np.linspace(0.5, 5, 400)
    values = np.interp(uniform, lags, c)
    step = 25
    h = uniform[step] - uniform[0]
    second = (values[2 * step :] - 2 * values[step:-step] + values[: -2 * step]) / h**2
    middle = values[step:-step]
    force = middle - 2.25 * activations.get("tanh").covariance(variance, variance, variance * middle) / variance
    # second differences: h²/12 of the fourth derivative, with h = 0.28
    np.testing.assert_allclose(second, force, atol=2e-3)
    with pytest.raises(ValueError, match=r"weight_var = 0\.9"):
        recurrent_autocorrelation("tanh", 0.9)


@pytest.mark.parametrize(
    "name, weight_var, bias_var", [("tanh", 2.25, 0.09), ("relu", 2.0, 0.0), ("hardtanh", 1.3, 0.1)]
)
def test_wide_networks_follow_the_maps(name, weight_var, bias_var):
    net = MeanField(name, weight_var, bias_var)
    theory = net.trajectory(1.0, 0.8, 6)
    q, c = net.simulate(width=300, depth=6, q0=1.0, c0=0.8, seeds=24)
    assert q.shape == c.shape == (24, 7)
    np.testing.assert_allclose(q[:, 0], 1.0, rtol=1e-12)
    np.testing.assert_allclose(c[:, 0], 0.8, rtol=1e-12)
    # the mean of c over networks is off by O(depth/width) of itself
    assert within_standard_error(q[:, -1], theory.q[-1], bias=0.02 * theory.q[-1])
    assert within_standard_error(c[:, -1], theory.c[-1], bias=0.02)


def test_residual_networks_follow_their_maps():
    net = ResidualMeanField("tanh", 1.5, 0.1)
    theory = net.trajectory(1.0, 0.6, 10)
    q, c = net.simulate(width=300, depth=10, q0=1.0, c0=0.6, seeds=16)
    assert within_standard_error(q[:, -1], theory.q[-1], bias=0.01 * theory.q[-1])
    assert within_standard_error(c[:, -1], theory.c[-1], bias=0.02)


def test_convolutional_networks_follow_their_map():
    distance = np.minimum(np.arange(8), 8 - np.arange(8))
    sigma = 0.7 ** np.abs(distance[(np.arange(8)[:, None] - np.arange(8)) % 8])
    theory = convolutional_map("tanh", 2.25, 0.09, convolutional_map("tanh", 2.25, 0.09, sigma, 3), 3)
    grams = simulation.convolutional("tanh", 2.25, 0.09, sigma, kernel_size=3, channels=300, depth=2, networks=16)
    np.testing.assert_allclose(grams[:, 0], np.broadcast_to(sigma, (16, 8, 8)), atol=1e-12)
    for i, j in [(0, 0), (0, 1), (0, 4)]:
        assert within_standard_error(grams[:, 2, i, j], theory[i, j], bias=0.01)


@pytest.mark.parametrize("skip, kind", [(0.0, MeanField), (1.0, ResidualMeanField)])
def test_simulated_gradients_are_autograds(skip, kind):
    """The same random matrices through torch's own backward pass."""
    draw = simulation._Draw(12, 1.5, 0.2, seed=3)
    net, phi = range(1), activations.get("tanh")
    h = first = draw.start(net, np.array([[0.8]])).requires_grad_()
    for layer in range(3):
        h = skip * h + draw.weights(net, layer).clone() @ phi(h) + draw.bias(net, layer)
    (draw.vector(net) * phi(h)).sum().backward()
    squares = simulation.gradients("tanh", 1.5, 0.2, 0.8, width=12, depth=3, networks=1, skip=skip, seed=3)
    assert squares[0, 0] == pytest.approx(float((first.grad**2).mean()), rel=1e-12)


def test_gradient_independence_holds_for_a_random_readout_and_fails_for_ones():
    """One layer of ReLU back: 1 + 2/π times what an independent copy gives (theory sheet 1, section 2b)."""
    common = {"width": 400, "depth": 1, "networks": 32}
    for readout, ratio in (("ones", 1 + 2 / math.pi), ("gaussian", 1.0)):
        true, copy = (
            simulation.gradients("relu", 2.0, 0.0, 1.0, readout=readout, feedback=feedback, **common)
            for feedback in ("transposed", "independent")
        )
        assert within_standard_error(true[:, 0] / true[:, 1] / (copy[:, 0] / copy[:, 1]).mean(), ratio, bias=0.02)


def test_networks_do_not_depend_on_their_batch_or_on_the_seed_of_others():
    q, c = MeanField("tanh", 2.0, 0.1).simulate(width=1000, depth=2, q0=1.0, c0=0.5, seeds=4)
    alone = MeanField("tanh", 2.0, 0.1).simulate(width=1000, depth=2, q0=1.0, c0=0.5, seeds=1)
    # another batch may sum in another order
    np.testing.assert_allclose(q[:1], alone.q, rtol=1e-12)
    np.testing.assert_allclose(c[:1], alone.c, rtol=1e-12)
    assert len(np.unique(q[:, 1])) == 4
    before = torch.get_rng_state()
    again = MeanField("tanh", 2.0, 0.1).simulate(width=1000, depth=2, q0=1.0, c0=0.5, seeds=1, seed=0)
    assert np.array_equal(again.q, alone.q) and torch.equal(before, torch.get_rng_state())
    other = MeanField("tanh", 2.0, 0.1).simulate(
        width=1000, depth=2, q0=1.0, c0=0.5, seeds=1, seed=np.random.default_rng(5)
    )
    assert not np.array_equal(other.q, alone.q)


def test_shared_weights_repeat_the_layer():
    """A linear network of one matrix: h_t = W^t h_0."""
    grams = simulation.forward("linear", 1.2, 0.0, np.eye(1), width=20, depth=5, networks=2, shared=True)
    draw = simulation._Draw(20, 1.2, 0.0, seed=0)
    h, weights = draw.start(range(2), np.eye(1)), draw.weights(range(2), 0)
    expected = (torch.linalg.matrix_power(weights, 5) @ h).square().mean(dim=(1, 2))
    np.testing.assert_allclose(grams[:, 5, 0, 0], expected.numpy(), rtol=1e-12)


def test_discrete_time_is_a_network_of_one_layer_repeated():
    h = simulation._Draw(30, 1.2, 0.3, seed=0).start(range(2), np.eye(1))
    path = simulation.recurrent("tanh", 1.2, 0.3, h, times=4)
    grams = simulation.forward("tanh", 1.2, 0.3, np.eye(1), width=30, depth=4, networks=2, shared=True)
    np.testing.assert_allclose(path.square().mean(dim=(2, 3)).numpy(), grams[..., 0, 0], rtol=1e-12)


def test_recurrent_trajectories_converge_in_the_step():
    """Linear: h(t) = e^{(W - 1)t} h(0); Heun's method is of second order."""
    h = torch.ones(1, 10, 1, dtype=torch.float64)
    weights = simulation._Draw(10, 0.5, 0.0, seed=0).weights(range(1), 0).clone()
    exact = torch.linalg.matrix_exp(weights[0] - torch.eye(10)) @ h[0]
    errors = [
        float((simulation.recurrent("linear", 0.5, 0.0, h, times=n, step=1 / n)[0, -1] - exact).abs().max())
        for n in (20, 40)
    ]
    assert 3.5 < errors[0] / errors[1] < 4.5


@pytest.mark.parametrize(
    "call, names",
    [
        (lambda: MeanField("tanh", -1.0, 0.0), "weight_var = -1.0"),
        (lambda: MeanField("tanh", 1.0, math.nan), "bias_var = nan"),
        (lambda: MeanField("tanh", [1.0, 2.0], 0.0), "weight_var"),
        (lambda: MeanField("swish", 1.0, 0.0), "swish"),
        (lambda: MeanField("relu", 2.0, 0.1).q_star, "weight_var = 2: lengths grow without bound.* < 2"),
        (lambda: MeanField("relu", 2.0, 0.0).q_star, "every length is a fixed point"),
        (lambda: MeanField("relu", 3.0, 0.1).c_star, "weight_var = 3"),
        (lambda: MeanField("linear", 1.0, 0.1).q_star, "weight_var < 1"),
        (lambda: MeanField("softplus", 2.5, 0.1).chi_1, "weight_var < 2"),
        (lambda: MeanField("relu", 2.0, 0.0).correlation_map(0.5), "fixed point"),
        (lambda: MeanField("tanh", 2.0, 0.0).correlation_map(1.5), "c = 1.5"),
        (lambda: MeanField("tanh", 2.0, 0.0).length_map(-1.0), "q = -1.0"),
        (lambda: MeanField("tanh", 2.0, 0.0).trajectory(0.0, 0.5, 3), "q0 = 0"),
        (lambda: MeanField("tanh", 2.0, 0.0).trajectory(1.0, 0.5, -3), "depth = -3"),
        (lambda: MeanField("tanh", 2.0, 0.0).simulate(width=1, depth=3, q0=1.0, c0=0.5, seeds=2), "width = 1"),
        (lambda: MeanField("tanh", 2.0, 0.0).simulate(width=5, depth=3, q0=1.0, c0=0.5, seeds=0), "networks = 0"),
        (lambda: critical_weight_var("relu", 0.1), "bias_var = 0.1.*bias_var = 0 only"),
        (lambda: critical_weight_var("softplus", 0.1), "softplus has no critical point"),
        (lambda: critical_weight_var("step", 0.1), "step has no critical point"),
        (lambda: critical_weight_var("tanh", -0.1), "bias_var = -0.1"),
        (lambda: phase_diagram("tanh", [[1.0]], [0.1]), "weight_vars"),
        (lambda: phase_diagram("tanh", [1.0], [-0.1]), "bias_vars"),
        (lambda: convolutional_map("tanh", 1.0, 0.0, np.eye(3), 2), "kernel_size = 2"),
        (lambda: convolutional_map("tanh", 1.0, 0.0, [[1.0, 2.0], [2.0, 1.0]], 3), "negative eigenvalues"),
        (lambda: simulation.gradients("tanh", 1, 0, 1, width=4, depth=1, networks=1, readout="x"), "readout = 'x'"),
        (lambda: simulation.forward("tanh", -1, 0, np.eye(1), width=4, depth=1, networks=1), "weight_var = -1"),
        (lambda: simulation.recurrent("tanh", 1, 0, torch.ones(2, 2), times=1, step=0.1), "shape"),
        (lambda: simulation.recurrent("tanh", 1, 0, torch.ones(1, 2, 2), times=1, step=2.0), "step = 2"),
    ],
)
def test_bad_input(call, names):
    with pytest.raises(ValueError, match=names):
        call()


def test_diagrams_mark_what_does_not_exist():
    diagram = phase_diagram("relu", [1.0, 2.0, 3.0], [0.0, 0.1])
    assert np.isnan(diagram.q_star).tolist() == [[False, True, True], [False, True, True]]
    assert np.isnan(diagram.c_star).tolist() == [[False, False, True], [False, True, True]]
    assert diagram.phase.tolist() == [["ordered", "critical", "chaotic"]] * 2
    assert phase_diagram("softplus", [1.0, 3.0], [0.1]).phase.tolist() == [["ordered", "none"]]


# Any activation, and maps with several fixed points


def settles(net, q=1.0, layers=4000):
    for _ in range(layers):
        q = float(net.length_map(q))
        if q > 1e12:
            return math.inf
    return q


@pytest.mark.parametrize("weight_var, q_star", [(2.0, 0.341), (2.05, 0.387), (2.1, 0.470)])
def test_gelu_settles_beside_a_point_from_which_it_diverges(weight_var, q_star):
    net = MeanField("gelu", weight_var, 0.1)
    assert net.q_star == pytest.approx(q_star, abs=6e-4) and net.q_star == pytest.approx(settles(net), rel=1e-9)
    stable, unstable = net.fixed_points
    assert stable == pytest.approx(net.q_star, rel=1e-12)
    assert net.length_map(unstable) == pytest.approx(unstable, rel=1e-12)
    assert settles(net, 0.99 * unstable) == pytest.approx(stable, rel=1e-9)
    assert settles(net, 1.01 * unstable) > 5 * unstable


def test_lengths_that_diverge_say_so_and_name_what_is_not_reached():
    with pytest.raises(ValueError, match=r"weight_var = 2.5: lengths grow without bound.*weight_var < 2"):
        _ = MeanField(lambda x: x * torch.special.ndtr(x), 2.5, 0.1).q_star
    net = MeanField("gelu", 2.12, 0.1)  # both fixed points lie below 1
    assert settles(net) == math.inf
    with pytest.raises(ValueError, match=r"grow without bound from q = 1.*not reached from there: 0.541\d+, 0.949\d+"):
        _ = net.q_star
    with pytest.raises(ValueError, match="nothing is known of exp"):
        _ = MeanField(torch.exp, 1.0, 0.1).q_star
    assert len(MeanField("gelu", 2.2, 0.1).fixed_points) == 0
    assert np.isnan(phase_diagram("gelu", [2.12, 2.2], [0.1]).q_star).all()


FIXED = ["tanh", "erf", "sigmoid", "gaussian", "softplus", "gelu", "silu", "mish", "elu", "selu", "sin", "step"]


@settings(max_examples=60)
@given(st.sampled_from(FIXED), st.floats(0.2, 2.3), st.floats(0.0, 1.0))
def test_q_star_is_where_the_map_leads_from_one(name, weight_var, bias_var):
    net = MeanField(name, weight_var, bias_var)
    try:
        q_star = net.q_star
    except ValueError:
        assert settles(net, layers=3000) > 50 * (1 + bias_var)  # slowly, near the edge
        return
    end = settles(net, layers=300)
    if 1.1 * abs(net.length_map(end) - end) < 1e-6 * end:  # it has arrived
        assert end == pytest.approx(q_star, rel=1e-3, abs=1e-9)
    assert net.length_map(q_star) == pytest.approx(q_star, rel=1e-10, abs=1e-280)
    assert np.abs(net.fixed_points - q_star).min() <= 1e-9 * q_star


def test_pairs_of_fixed_points_between_the_lines_of_the_grid():
    """Near the weight variance at which the two fixed points of GELU meet, their distance falls like its root."""
    phi = activations.get("gelu")
    low, high = 2.12, 2.14
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if len(MeanField(phi, middle, 0.1).fixed_points) else (low, middle)
    gaps = [np.diff(MeanField(phi, low - d, 0.1).fixed_points)[0] for d in (4e-6, 1e-6)]
    assert gaps[0] / gaps[1] == pytest.approx(2, rel=1e-2) and gaps[1] < 4e-3
    # arrays look as closely: in units of k, so that the pair lies above 1, lengths of 1 stop at the first
    k = 2.0
    scaled = MeanField(lambda x: k * phi(x / k), low - 1e-6, 0.1 * k**2)
    assert scaled.fixed_points[0] > 1 and scaled.q_star == pytest.approx(scaled.fixed_points[0], rel=1e-9)
    assert np.isnan(phase_diagram(scaled.activation, [high + 1e-6], [0.1 * k**2]).q_star)


def test_selu_has_the_fixed_point_it_was_made_for():
    """Klambauer et al. 2017: mean 0 and variance 1 map to themselves, with E phi'² = 1.0716 there."""
    net = MeanField("selu", 1.0, 0.0)
    assert net.q_star == pytest.approx(1, abs=1e-12) and net.chi_1 == pytest.approx(1.0715749924557, rel=1e-10)
    assert float(net.activation.mean(1.0)) == pytest.approx(0, abs=1e-12)


def test_leaky_relu_however_it_is_written():
    class Mine(activations.SmoothActivation):
        name = "mine"

        def __call__(self, x):
            return np.where(x > 0, x, 0.1 * x)

        def slope(self, x):
            return np.where(x > 0, 1.0, 0.1)

    for phi in (Mine(), torch.nn.LeakyReLU(0.1), lambda x: torch.where(x > 0, x, 0.1 * x)):
        assert MeanField(phi, 1.5, 0.1).chi_1 == pytest.approx(0.7575, rel=1e-12)
    exact = 2 / 1.01
    for phi in (torch.nn.LeakyReLU(0.1), lambda x: torch.where(x > 0, x, 0.1 * x)):
        assert critical_weight_var(phi, 0.0).weight_var == pytest.approx(exact, rel=1e-12)
        assert MeanField(phi, exact, 0.0).phase == "critical"


def test_modules_and_callables_are_their_names():
    for other, name in (
        (lambda x: 1 - 2 / (1 + torch.exp(2 * x)), "tanh"),
        (lambda x: x.clamp(-1, 1), "hardtanh"),
        (torch.nn.SELU(), "selu"),
    ):
        ours, theirs = MeanField(other, 2.25, 0.09), MeanField(name, 2.25, 0.09)
        for field in ("q_star", "chi_1", "c_star", "chi_c_star", "xi_q", "xi_c", "xi_grad"):
            if name != "selu":
                assert getattr(ours, field) == pytest.approx(getattr(theirs, field), rel=1e-8)
        assert ours.trajectory(1.0, 0.3, 4).c == pytest.approx(theirs.trajectory(1.0, 0.3, 4).c, rel=1e-10)
        diagram, other_diagram = (phase_diagram(phi, [0.5, 0.9], [0.1]) for phi in (other, name))
        np.testing.assert_allclose(diagram.c_star, other_diagram.c_star, rtol=1e-8)


def test_a_sign_without_a_name():
    """phi = sign: C(c) = (2/π) arcsin c, chi_1 infinite, the slope at c the arcsine's."""
    net = MeanField(torch.sign, 1.5, 0.1)
    assert (net.q_star, net.chi_1, net.phase) == (pytest.approx(1.6, rel=1e-12), math.inf, "chaotic")
    c = net.c_star
    assert (1.5 * 2 / math.pi * math.asin(c) + 0.1) / 1.6 == pytest.approx(c, rel=1e-10)
    assert net.chi_c_star == pytest.approx(1.5 / 1.6 * 2 / math.pi / math.sqrt(1 - c**2), rel=1e-9)


def test_memory_and_time_do_not_grow_with_the_lengths():
    """Lengths that double at every layer; and a large weight variance, in milliseconds."""
    tracemalloc.start()
    q, c = MeanField("softplus", 4.0, 0.1).trajectory(1.0, 0.5, 19)
    assert tracemalloc.get_traced_memory()[1] < 100e6
    tracemalloc.stop()
    assert q[-1] / q[-2] == pytest.approx(2, rel=0.01) and c[-1] == pytest.approx(c[-2], abs=0.01)
    assert MeanField("tanh", 1e5, 0.0).chi_c_star < 1
    start = time.process_time()
    net = MeanField("tanh", 1e6, 0.0)
    numbers = net.q_star, net.c_star, net.chi_1
    # 25 ms; eight seconds by a series
    assert time.process_time() - start < 0.1
    # E tanh² -> 1 - √(2/(π q)), chi_1 -> σ_w² (4/3)/√(2π q)
    q = numbers[0]
    assert q == pytest.approx(1e6 * (1 - math.sqrt(2 / (math.pi * q))), rel=1e-6) and abs(numbers[1]) < 1e-9
    assert numbers[2] == pytest.approx(1e6 * 4 / 3 / math.sqrt(2 * math.pi * q), rel=1e-5)


def test_a_grid_of_an_activation_with_kinks_is_the_loop():
    weights, biases = np.linspace(0.95, 1.05, 20), np.linspace(0.001, 0.01, 20)
    diagram = phase_diagram("selu", weights, biases)
    for i, j in ((0, 0), (7, 13), (19, 19)):
        net = MeanField("selu", weights[j], biases[i])
        for field in ("q_star", "chi_1", "c_star", "chi_c_star", "xi_c"):
            assert getattr(diagram, field)[i, j] == pytest.approx(getattr(net, field), rel=1e-8)


@pytest.mark.parametrize("wrap", [list, torch.tensor, lambda x: torch.tensor(x, requires_grad=True)])
def test_lists_and_tensors(wrap):
    net, array = MeanField("tanh", torch.tensor(2.25, dtype=torch.float64), 0.09), [0.5, 0.25]
    assert np.array_equal(net.length_map(wrap(array)), net.length_map(array))
    assert np.array_equal(net.gradient_factor(wrap(array)), net.gradient_factor(array))
    assert np.array_equal(net.correlation_map(wrap(array)), net.correlation_map(array))
    assert np.array_equal(net.trajectory(wrap(array), wrap(array), 3).c, net.trajectory(array, array, 3).c)
    assert np.array_equal(
        net.simulate(20, 2, torch.tensor(1.0), torch.tensor(0.5), 2).c, net.simulate(20, 2, 1.0, 0.5, 2).c
    )
    assert np.array_equal(
        phase_diagram("tanh", wrap(array), wrap(array)).q_star, phase_diagram("tanh", array, array).q_star
    )
    assert np.array_equal(critical_weight_var("tanh", wrap(array)).q_star, critical_weight_var("tanh", array).q_star)
    sigma = [[1.0, 0.5], [0.5, 1.0]]
    assert np.array_equal(
        convolutional_map("tanh", 1.0, 0.1, wrap(sigma), 1), convolutional_map("tanh", 1.0, 0.1, sigma, 1)
    )
    run = simulation.recurrent("tanh", 1.0, 0.1, torch.ones(1, 3, 1, dtype=torch.float64), times=2)
    assert torch.equal(simulation.recurrent("tanh", 1.0, 0.1, np.ones((1, 3, 1)), times=2), run)
    grams = simulation.forward("tanh", 1.0, 0.1, wrap(sigma), width=5, depth=1, networks=1)
    assert np.array_equal(grams, simulation.forward("tanh", 1.0, 0.1, sigma, width=5, depth=1, networks=1))
