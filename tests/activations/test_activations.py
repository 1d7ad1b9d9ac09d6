"""Activations: values against torch's autograd, moments against quadrature written straight from their definition."""

import itertools
import math
import pickle

import numpy as np
import pytest
import torch
from deepdynamics import activations
from deepdynamics.activations import (
    Homogeneous,
    PiecewiseActivation,
    SmoothActivation,
    get,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import multivariate_normal

SMOOTH = ["linear", "tanh", "erf", "sigmoid", "softplus", "gaussian", "gelu", "silu", "mish", "sin"]
KINKS = {"relu": [0.0], "hardtanh": [-1.0, 1.0], "step": [0.0], "elu": [0.0], "selu": [0.0], "leaky_relu": [0.0]}
NAMES = [*SMOOTH, *KINKS]
variances = st.floats(0.01, 9.0)
correlations = st.floats(-1.0, 1.0)


def gaussian_mean(f, q, kinks=()):
    """E f(√q z), by adaptive quadrature between the kinks."""
    points = [-12.0, *(np.array(kinks) / math.sqrt(q)), 12.0]
    density = lambda z: f(math.sqrt(q) * z) * math.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)  # noqa: E731
    return sum(quad(density, a, b, epsabs=1e-13, epsrel=1e-13)[0] for a, b in itertools.pairwise(points))


def two_point(f, qa, qb, qab, step):
    """E f(u) f(v) by the trapezoid rule in the plane."""
    z = np.arange(-9, 9 + step / 2, step)
    weights = step * np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    c = qab / math.sqrt(qa * qb)
    u = np.broadcast_to(math.sqrt(qa) * z[:, None], (len(z), len(z)))
    v = math.sqrt(qb) * (c * z[:, None] + math.sqrt(1 - c**2) * z)
    return weights @ (f(u) * f(v)) @ weights


@pytest.mark.parametrize("name", NAMES)
def test_torch_and_numpy_agree_and_the_slope_is_the_derivative(name):
    phi, x = get(name), torch.linspace(-3.1, 3.1, 41, dtype=torch.float64, requires_grad=True)
    y = phi(x)
    # torch's gelu and scipy's differ in the tail, to rounding of 1
    np.testing.assert_allclose(y.detach().numpy(), phi(x.detach().numpy()), rtol=1e-14, atol=1e-15)
    np.testing.assert_allclose(phi.slope(x).detach().numpy(), phi.slope(x.detach().numpy()), rtol=1e-12, atol=1e-16)
    if name != "step":
        (derivative,) = torch.autograd.grad(y.sum(), x)
        np.testing.assert_allclose(phi.slope(x).detach().numpy(), derivative.numpy(), rtol=1e-12, atol=1e-15)
    assert phi(x.detach().float()).dtype == phi.slope(x.detach().float()).dtype == torch.float32
    assert isinstance(phi(0.3), float) and isinstance(phi.slope(0.3), float)


@pytest.mark.parametrize("name", ["relu", "hardtanh", "leaky_relu"])
def test_the_slope_at_a_kink_is_autograds(name):
    x = torch.tensor([-1.0, 0.0, 1.0], requires_grad=True)
    get(name)(x).sum().backward()
    assert torch.equal(get(name).slope(x.detach()), x.grad)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("q", [0.03, 0.7, 5.0])
def test_one_point_moments_against_quadrature(name, q):
    phi, kinks = get(name), KINKS.get(name, ())
    # adaptive quadrature was asked for 1e-13 on each interval
    assert phi.mean(q) == pytest.approx(gaussian_mean(phi, q, kinks), abs=1e-11)
    assert phi.second_moment(q) == pytest.approx(gaussian_mean(lambda x: phi(x) ** 2, q, kinks), abs=1e-11)
    if name == "step":
        assert phi.slope_moment(q, 1) == pytest.approx(1 / math.sqrt(2 * math.pi * q), rel=1e-14)
        assert phi.slope_moment(q, 2) == math.inf
        return
    for k in (1, 2, 3, 4):
        expected = gaussian_mean(lambda x, k=k: phi.slope(x) ** k, q, kinks)
        assert phi.slope_moment(q, k) == pytest.approx(expected, abs=1e-11)


@pytest.mark.parametrize("name", SMOOTH)
@pytest.mark.parametrize("qa, qb, c", [(1.0, 1.0, 0.3), (2.0, 0.5, -0.7), (4.0, 4.0, 0.95), (0.3, 6.0, 0.5)])
def test_two_point_functions_against_the_plane(name, qa, qb, c):
    phi, qab = get(name), c * math.sqrt(qa * qb)
    # step 0.04: the poles of tanh at π/2 leave exp(-2π · (π/2)/(√6 · 0.04)) = e^(-100); 450² terms leave 1e-13
    assert phi.covariance(qa, qb, qab) == pytest.approx(two_point(phi, qa, qb, qab, 0.04), rel=1e-11, abs=1e-12)
    assert phi.slope_covariance(qa, qb, qab) == pytest.approx(two_point(phi.slope, qa, qb, qab, 0.04), rel=1e-11)


@pytest.mark.parametrize("name", KINKS)
@pytest.mark.parametrize("qa, qb, c", [(1.0, 1.0, 0.3), (2.0, 0.5, -0.7), (4.0, 4.0, 0.95), (0.3, 6.0, 0.5)])
def test_two_point_functions_with_kinks_against_the_conditional_mean(name, qa, qb, c):
    """E φ(u)φ(v) = E[φ(u) E(φ(v) | u)], both by adaptive quadrature that knows the kinks."""
    phi, qab = get(name), c * math.sqrt(qa * qb)

    def conditional(u):
        m, s = c * math.sqrt(qb / qa) * u, math.sqrt(qb * (1 - c**2))
        points = np.clip([m - 10 * s, *KINKS[name], m + 10 * s], m - 10 * s, m + 10 * s)
        density = lambda v: phi(v) * math.exp(-((v - m) ** 2) / (2 * s**2)) / (s * math.sqrt(2 * math.pi))  # noqa: E731
        return sum(quad(density, a, b, epsabs=1e-12)[0] for a, b in itertools.pairwise(points) if b > a)

    points = [-9 * math.sqrt(qa), *KINKS[name], 9 * math.sqrt(qa)]
    density = lambda u: phi(u) * conditional(u) * math.exp(-(u**2) / (2 * qa)) / math.sqrt(2 * math.pi * qa)  # noqa: E731
    expected = sum(quad(density, a, b, epsabs=1e-10)[0] for a, b in itertools.pairwise(points))
    assert phi.covariance(qa, qb, qab) == pytest.approx(expected, abs=1e-9)


def test_hardtanh_slope_covariance_is_a_rectangle_probability():
    phi = get("hardtanh")
    for qa, qb, c in [(1.0, 1.0, 0.3), (2.0, 0.5, -0.7), (4.0, 4.0, 0.95)]:
        law = multivariate_normal(cov=[[qa, c * math.sqrt(qa * qb)], [c * math.sqrt(qa * qb), qb]])
        expected = law.cdf([1, 1], lower_limit=[-1, -1])
        # scipy's bivariate normal integrates to about 1e-8
        assert phi.slope_covariance(qa, qb, c * math.sqrt(qa * qb)) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=25)
@given(qa=variances, qb=variances, c=st.floats(-0.99, 0.99))
def test_prices_theorem(name, qa, qb, c):
    """d/dqab E φ(u)φ(v) = E φ'(u)φ'(v)."""
    phi, scale = get(name), math.sqrt(qa * qb)
    step = 1e-4 * scale * (1 - abs(c))
    difference = phi.covariance(qa, qb, c * scale + step) - phi.covariance(qa, qb, c * scale - step)
    # central differences: third derivatives times step² (1e-8 relative) and rounding, 1e-15/step
    expected = phi.slope_covariance(qa, qb, c * scale)
    assert difference / (2 * step) == pytest.approx(expected, rel=1e-5, abs=1e-14 / step)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=25)
@given(q=variances, qb=variances, c=correlations)
def test_limits_and_symmetries(name, q, qb, c):
    phi, covariance = get(name), c * math.sqrt(q * qb)
    # the series of tanh stops where 1e-10 of the square sum of a slope is left (q = 9, c = 1)
    assert phi.covariance(q, q, q) == pytest.approx(phi.second_moment(q), rel=1e-10)
    assert phi.slope_covariance(q, q, q) == pytest.approx(phi.slope_moment(q, 2), rel=1e-9)
    assert phi.covariance(q, qb, 0.0) == pytest.approx(phi.mean(q) * phi.mean(qb), rel=1e-12, abs=1e-15)
    assert phi.covariance(q, qb, covariance) == pytest.approx(phi.covariance(qb, q, covariance), rel=1e-10, abs=1e-14)
    bound = math.sqrt(phi.second_moment(q) * phi.second_moment(qb))
    assert abs(phi.covariance(q, qb, covariance)) <= bound * (1 + 1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_a_variance_of_zero_is_the_value_at_zero(name):
    phi = get(name)
    if name == "step":  # discontinuous there: its moments are the limits
        assert phi.mean(0.0) == phi.second_moment(0.0) == 0.5
        return
    assert phi.mean(0.0) == pytest.approx(phi(0.0), abs=1e-15)
    assert phi.second_moment(0.0) == pytest.approx(phi(0.0) ** 2, abs=1e-15)
    assert phi.covariance(0.0, 2.0, 0.0) == pytest.approx(phi(0.0) * phi.mean(2.0), abs=1e-15)
    if name not in ("relu", "leaky_relu", "selu"):  # which have no derivative at 0
        assert phi.slope_moment(0.0, 2) == pytest.approx(phi.slope(0.0) ** 2, abs=1e-15)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("q", [0.02, 1.0, 6.0])
def test_the_slope_of_the_second_moment(name, q):
    phi, step = get(name), 1e-5 * q
    difference = (phi.second_moment(q + step) - phi.second_moment(q - step)) / (2 * step)
    assert phi.second_moment_slope(q) == pytest.approx(difference, abs=1e-9)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=20)
@given(q=variances, c=st.floats(0.0, 0.999))
def test_the_mean_slope(name, q, c):
    phi = get(name)
    direct = (phi.second_moment(q) - phi.covariance(q, q, c * q)) / (q * (1 - c))
    # the direct form cancels: 1e-15/(1 - c)
    assert phi.mean_slope([q])([c])[0] == pytest.approx(direct, rel=1e-9, abs=1e-14 / (q * (1 - c)))


@settings(max_examples=25)
@given(q=variances, k=st.floats(0.1, 3.0), c=correlations)
def test_relu_is_homogeneous(q, k, c):
    phi = get("relu")
    assert phi.covariance(k * q, k * q, c * k * q) == pytest.approx(k * phi.covariance(q, q, c * q), rel=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_batches_broadcast_and_equal_loops(name):
    phi, q, c = get(name), np.array([[0.1], [1.0], [40.0]]), np.linspace(-1, 1, 5)
    batch = phi.covariance(q, q, c * q)
    loop = [[phi.covariance(a, a, b * a) for b in c] for a in q[:, 0]]
    assert batch.shape == (3, 5)
    # batches take the number of terms of their largest variance
    np.testing.assert_allclose(batch, loop, rtol=1e-9, atol=1e-13)
    np.testing.assert_allclose(phi.second_moment(q)[:, 0], [phi.second_moment(a) for a in q[:, 0]], rtol=1e-13)


def test_hermite_coefficients_of_tanh_fall_as_the_sheet_says():
    a = get("tanh").hermite_coefficients(4.0)
    total = get("tanh").second_moment(4.0)
    tails = [1 - (a[: n + 1] ** 2).sum() / total for n in (100, 200, 400)]
    assert 1e-8 < tails[0] < 1e-6 and 1e-11 < tails[1] < 1e-9 and abs(tails[2]) < 1e-12
    assert np.abs(a[::2]).max() == 0


def test_large_variances_stay_accurate():
    # E tanh² -> 1 - E (1 - tanh²) = 1 - 2/√(2πq) + O(q^(-3/2)): the slope integrates to 2
    q = 1e4
    assert get("tanh").second_moment(q) == pytest.approx(1 - 2 / math.sqrt(2 * math.pi * q), abs=2 / q**1.5)


@pytest.mark.parametrize(
    "call, names",
    [
        (lambda: get("swish"), "activation.*swish.*linear, relu"),
        (lambda: get("tanh").mean(-0.1), "q = -0.1"),
        (lambda: get("relu").second_moment(math.nan), "q = nan"),
        (lambda: get("relu").slope_moment(1.0, 0), "k = 0"),
        (lambda: get("relu").slope_moment(1.0, 1.5), "k = 1.5"),
        (lambda: get("tanh").covariance(1.0, 1.0, 1.1), "qab = 1.1"),
        (lambda: get("erf").slope_covariance(1.0, -1.0, 0.0), "qb = -1.0"),
        (lambda: get("erf").covariance(1.0, 1.0, math.inf), "qab = inf"),
    ],
)
def test_bad_input(call, names):
    with pytest.raises(ValueError, match=names):
        call()


# Any function


PLANE = np.linspace(-9, 9, 6001)


def brute(f, q):
    """E f(√q z) by a fine midpoint rule: right to about 1e-6 where f has kinks or jumps."""
    weights = np.exp(-(PLANE**2) / 2) / math.sqrt(2 * math.pi) * (PLANE[1] - PLANE[0])
    return float(weights @ f(math.sqrt(q) * PLANE))


CLOSED = {  # a callable and the closed form that it is
    "relu": lambda x: (x + x.abs()) / 2 + 0 * torch.sin(x),
    "hardtanh": lambda x: x.clamp(-1, 1),
    "tanh": lambda x: 1 - 2 / (1 + torch.exp(2 * x)),
    "erf": lambda x: torch.special.erf(x) * 1.0,
    "sin": lambda x: torch.sin(x) * 1.0,
    "gaussian": lambda x: torch.exp(-x * x / 2),
    "step": lambda x: (x > 0).to(x.dtype),
}


@pytest.mark.parametrize("name", CLOSED)
@pytest.mark.parametrize("q", [1e-6, 0.7, 30.0])
def test_callables_have_the_moments_of_the_closed_forms(name, q):
    """One-point and two-point functions by pieces, against closed forms, near correlations of ±1 as well."""
    phi, exact = activations.Elementwise(CLOSED[name]), get(name)
    for k in (1, 2, 3):
        assert phi.slope_moment(q, k) == pytest.approx(exact.slope_moment(q, k), rel=1e-10, abs=1e-14)
    for method in ("mean", "second_moment", "second_moment_slope"):
        assert getattr(phi, method)(q) == pytest.approx(getattr(exact, method)(q), rel=1e-10, abs=1e-14)
    for c in (-1.0, -0.9999, -0.4, 0.0, 0.6, 0.999, 1 - 1e-8):
        for qb in (q, 2.5 * q):
            qab = c * math.sqrt(q * qb)
            scale = math.sqrt(exact.second_moment(q) * exact.second_moment(qb))
            assert phi.covariance(q, qb, qab) == pytest.approx(exact.covariance(q, qb, qab), abs=2e-10 * scale)
            if name == "step" and abs(c) > 0.9:  # delta against delta: 1/√(1 - c²)
                continue
            slopes = exact.slope_covariance(q, qb, qab)
            assert phi.slope_covariance(q, qb, qab) == pytest.approx(slopes, rel=2e-10, abs=1e-12)


def cube(x):
    return x**3


@pytest.mark.parametrize(
    "module",
    [
        *(torch.nn.Hardswish(), torch.nn.ReLU6(), torch.nn.Softsign(), torch.nn.Softshrink(0.3), torch.nn.CELU(0.5)),
        *(torch.nn.LogSigmoid(), torch.nn.Tanhshrink(), torch.nn.GELU("tanh"), torch.nn.Softplus(3.0)),
        *(torch.nn.Hardsigmoid(), torch.nn.Threshold(0.1, 20.0), cube, torch.round),
    ],
    ids=lambda function: getattr(function, "__name__", str(function)),
)
def test_modules_and_callables(module):
    phi = get(module)
    x = torch.linspace(-4, 4, 41)
    assert torch.equal(phi(x), module(x)) and phi.slope(x).dtype == torch.float32
    values = lambda x: module(torch.from_numpy(x)).numpy()  # noqa: E731
    for q in (0.5, 3.0):
        # the midpoint rule at a jump: half a step of 0.003 times the density
        jump = 2e-3 if phi.slope_moment(q, 2) == math.inf else 1e-5
        assert phi.second_moment(q) == pytest.approx(brute(lambda x: values(x) ** 2, q), rel=jump)
        if jump == 1e-5:
            assert phi.slope_moment(q, 2) == pytest.approx(brute(lambda x: phi.slope(x) ** 2, q), rel=2e-3)
            step = 1e-4 * q
            difference = phi.covariance(q, q, 0.3 * q + step) - phi.covariance(q, q, 0.3 * q - step)
            assert difference / (2 * step) == pytest.approx(phi.slope_covariance(q, q, 0.3 * q), rel=1e-5)
        assert phi.covariance(q, q, q) == pytest.approx(phi.second_moment(q), rel=1e-9)


def test_a_function_that_changes_what_it_closes_over_is_another_function():
    slope = 0.1
    leaky = lambda x: torch.where(x > 0, x, slope * x)  # noqa: E731
    for slope in (0.1, 0.5, 0.9):
        assert get(leaky).second_moment(1.0) == pytest.approx((1 + slope**2) / 2, rel=1e-12)


def test_what_is_steep_has_no_jump():
    for q in (1.0, 12.0):
        assert get(torch.exp).slope_moment(q, 2) == pytest.approx(math.exp(2 * q), rel=1e-9)
        assert get(torch.sinh).slope_moment(q, 2) == pytest.approx((math.exp(2 * q) + 1) / 2, rel=1e-9)
    with pytest.raises(ValueError, match="too steep at x = 0 to be told from a jump"):
        get(lambda x: torch.tanh(3e4 * x)).slope_moment(1.0, 2)
    assert get(torch.round).slope_moment(1.0, 2) == math.inf


class ShiftedSoftplus(torch.nn.Softplus):
    def forward(self, x):
        return super().forward(x) - math.log(2)


def test_subclasses_and_hooked_modules_are_what_they_compute():
    assert get(ShiftedSoftplus())(torch.zeros(1)).item() == pytest.approx(0, abs=1e-7)
    assert get(ShiftedSoftplus()).mean(1.0) == pytest.approx(get("softplus").mean(1.0) - math.log(2), rel=1e-9)
    inside = torch.nn.Sequential(torch.nn.ReLU(inplace=True))
    assert get(inside).slope(torch.tensor([-1.0, 2.0])).tolist() == [0.0, 1.0]
    hooked = torch.nn.Tanh()
    hooked.register_forward_hook(lambda module, args, output: 2 * output)
    assert get(hooked).second_moment(1.0) == pytest.approx(4 * get("tanh").second_moment(1.0), rel=1e-9)


def test_modules_of_torch_that_have_a_name_are_the_named_ones():
    for module, name in [
        *((torch.nn.ReLU(inplace=True), "relu"), (torch.nn.Tanh(), "tanh"), (torch.nn.Identity(), "linear")),
        *(
            (torch.nn.GELU(), "gelu"),
            (torch.nn.SELU(), "selu"),
            (torch.relu, "relu"),
            (torch.nn.Hardtanh(), "hardtanh"),
        ),
    ]:
        assert get(module) is get(name)
    assert get(torch.nn.ELU(0.5))(-1.0) == pytest.approx(0.5 * math.expm1(-1))
    x = torch.tensor([-2.0, 0.5])
    for name in ("gelu", "silu", "mish", "elu", "selu", "leaky_relu"):
        torch.testing.assert_close(get(name)(x), getattr(torch.nn.functional, name)(x))


def test_what_is_linear_on_both_sides_is_found_to_be():
    for function, below, above in [
        (lambda x: torch.relu(x) - 0.1 * torch.relu(-x), 0.1, 1.0),
        (torch.abs, -1.0, 1.0),
        (torch.nn.PReLU(), 0.25, 1.0),
        (torch.nn.RReLU(0.2, 0.2).eval(), 0.2, 1.0),
    ]:
        phi = get(function)
        assert isinstance(phi, Homogeneous) and (phi.below, phi.above) == (pytest.approx(below), above)
    assert not isinstance(get(lambda x: x + 1), Homogeneous)


def test_a_smooth_activation_that_is_not_smooth_is_integrated_over_its_pieces():
    class Leaky(SmoothActivation):
        name = "mine"

        def __call__(self, x):
            return np.where(x > 0, x, 0.1 * x)

        def slope(self, x):
            return np.where(x > 0, 1.0, 0.1)

    class Wrong(SmoothActivation):  # of no parity, which it denies
        name, parity = "shifted", -1

        def __call__(self, x):
            return np.tanh(x + 1)

        def slope(self, x):
            return 1 - np.tanh(x + 1) ** 2

    exact = get(torch.nn.LeakyReLU(0.1))
    assert Leaky().slope_moment(2.0, 2) == pytest.approx(0.505, rel=1e-12)
    assert Leaky().covariance(2.0, 2.0, 1.2) == pytest.approx(exact.covariance(2.0, 2.0, 1.2), rel=1e-12)
    assert Wrong().mean(1.0) == pytest.approx(gaussian_mean(lambda x: math.tanh(x + 1), 1.0), rel=1e-11)


@pytest.mark.parametrize("name", ["elu", "softplus", "hardtanh", "tanh", "gelu"])
def test_the_work_does_not_grow_with_the_variance(name):
    """Large variances: tanh is a sign, the others are ReLU; a sign has the covariance (2/π) arcsin c."""
    phi, q = get(name), np.array([1e8, 1e14])
    assert q.dtype == float
    if name in ("tanh", "hardtanh"):
        # 1 - E φφ falls like 1/√q
        np.testing.assert_allclose(phi.covariance(q, q, 0.6 * q), 2 / math.pi * math.asin(0.6), rtol=5e-4)
        np.testing.assert_allclose(phi.second_moment(q), 1, rtol=5e-4)
    else:
        np.testing.assert_allclose(phi.covariance(q, q, 0.6 * q), get("relu").covariance(q, q, 0.6 * q), rtol=5e-4)
        np.testing.assert_allclose(phi.second_moment(q) / q, 0.5, rtol=5e-4)


def test_many_pairs_are_the_pairs_one_by_one():
    phi, draw = get("selu"), np.random.default_rng(0)
    q = np.exp(draw.uniform(0.0, 0.999, 400))
    c = np.concatenate([draw.uniform(0, 1, 395), 1 - np.array([1e-3, 1e-6, 1e-9, 1e-12, 0])])
    few = np.r_[0:395:40, 395:400]
    for many, one in (
        (phi.covariance(q, q, c * q), [phi.covariance(a, a, b * a) for a, b in zip(q[few], c[few], strict=True)]),
        (phi.mean_slope(q)(c), [float(phi.mean_slope(q[i : i + 1])(c[i : i + 1])[0]) for i in few]),
    ):
        # the mean slope divides by 1 - c: at 1 - 1e-12 rounding leaves 1e-10
        np.testing.assert_allclose(many[few], one, rtol=1e-9)


def test_arrays_lists_and_tensors():
    phi = get("elu")
    expected = phi.covariance(np.array([1.0, 2.0]), 1.0, 0.5)
    for wrap in (list, torch.tensor, lambda x: torch.tensor(x, requires_grad=True), np.float32):
        assert np.array_equal(phi.covariance(wrap([1.0, 2.0]), 1.0, 0.5), expected)
    for name in NAMES:
        assert get(name)([0.5, -0.5]).shape == get(name).slope([0.5, -0.5]).shape == (2,)


@pytest.mark.parametrize(
    "function, says",
    [
        (torch.nn.Softmax(-1), "a number depends on the others"),
        (torch.nn.Dropout(), r"two calls differ.*\.eval\(\)"),
        (torch.log, "finite values"),
        (lambda x: x.sum(), r"shape \(\)"),
        (lambda x: 3, "makes int"),
        (lambda x: x.nonsense(), "raises AttributeError"),
        (3, "a name, a torch.nn.Module or a callable"),
        (None, "a name, a torch.nn.Module or a callable"),
    ],
)
def test_what_is_no_activation(function, says):
    with pytest.raises(ValueError, match=says):
        get(function)


@pytest.mark.parametrize(
    "function, q, says",
    [
        (torch.exp, 400.0, "not finite at x = 7"),
        (lambda x: torch.exp(x**2), 1.0, "not finite|grows too fast"),
        (lambda x: torch.sin(1e5 * x), 1.0, "not smooth in 2048 pieces"),
        (lambda x: torch.floor(20 * x), 1e4, "not smooth in 2048 pieces"),
        (lambda x: x.abs().sqrt(), 1.0, "slope is not finite at x = 0"),
    ],
)
def test_what_is_not_resolved_raises(function, q, says):
    with pytest.raises(ValueError, match=says):
        get(function).second_moment(q)


def test_tails_are_followed():
    """E e^{2x} = e^{2q}, whose mass lies 2√q standard deviations out; a dead zone of 8 has all of it in the tails."""
    assert get(torch.exp).second_moment(49.0) == pytest.approx(math.exp(98), rel=1e-10)
    assert get(torch.exp).covariance(9.0, 9.0, 4.5) == pytest.approx(math.exp(13.5), rel=1e-9)
    dead = get(torch.nn.Hardshrink(8.0))
    expected = 2 * (8 * math.exp(-32) / math.sqrt(2 * math.pi) + math.erfc(8 / math.sqrt(2)) / 2)
    assert dead.second_moment(1.0) == pytest.approx(expected, rel=1e-10)


def test_pieces_are_found_where_they_are():
    phi = get(lambda x: torch.where(x > math.pi, x - math.pi, 0 * x) - torch.where(x < -0.1234567, x * x, 0 * x))
    edges, kinks = phi.pieces.within(10.0)
    np.testing.assert_allclose(kinks, [-0.1234567, math.pi], rtol=1e-12)
    places, left, right = phi.pieces.jumps(10.0)
    assert places == pytest.approx([-0.1234567]) and right - left == pytest.approx([0.1234567**2])
    assert isinstance(phi, PiecewiseActivation) and len(edges) < 12


@pytest.mark.parametrize("name", ["tanh", "relu", "elu", "gelu", "hardtanh", "step", "sin"])
def test_an_activation_can_be_pickled_after_it_was_used(name):
    used = get(name)
    before = used.second_moment(1.3), used.covariance(1.0, 1.0, 0.4), used.slope_moment(1.3, 2)
    again = pickle.loads(pickle.dumps(used))
    assert (again.second_moment(1.3), again.covariance(1.0, 1.0, 0.4), again.slope_moment(1.3, 2)) == before
