"""Laws of Jacobian spectra: closed forms, moments, limits, atoms, and matrices."""

import itertools
import math

import numpy as np
import pytest
import torch
from deepdynamics import activations
from deepdynamics.freeprobability import (
    DerivativeLaw,
    JacobianSpectrum,
    freeness_defects,
    fuss_catalan_density,
    fuss_catalan_moment,
    marchenko_pastur,
    multiply_marchenko_pastur,
)
from deepdynamics.networks import generator
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.special import comb

HALF = DerivativeLaw.bernoulli(0.5)
LAWS = {
    "relu, orthogonal": JacobianSpectrum(3, HALF),
    "relu, gaussian": JacobianSpectrum(6, HALF, "gaussian"),
    "hard tanh, with an atom": JacobianSpectrum(10, DerivativeLaw.bernoulli(0.95)),
    "tanh, orthogonal": JacobianSpectrum(16, DerivativeLaw.of("tanh", 0.5)),
    "tanh, gaussian": JacobianSpectrum(4, DerivativeLaw.of("tanh", 0.5), "gaussian"),
    "linear, gaussian": JacobianSpectrum(4, DerivativeLaw.one(), "gaussian", 1.3),
    "two slopes": JacobianSpectrum(2, DerivativeLaw(np.array([0.25, 1.0]), np.array([0.5, 0.5]))),
}


def integral(spectrum, f, lowest):
    """∫ f ρ dλ over the bulk above ``lowest``, in an angle that removes the square roots at its edges, from the fourth
    power of an angle that resolves powers of λ at zero."""
    left, right = spectrum.bulk
    u, w = np.polynomial.legendre.leggauss(400)
    half = (1 - np.cos((u + 1) * math.pi / 2)) / 2
    lam = max(left, lowest) + (right - max(left, lowest)) * half**4
    weight = (right - max(left, lowest)) * 4 * half**3 * np.sin((u + 1) * math.pi / 2) / 2 * w * math.pi / 2
    good = lam > (1 + 1e-9) * max(left, lowest)
    return float((f(lam[good]) * spectrum.density(lam[good]) * weight[good]).sum())


@pytest.mark.parametrize("name", LAWS)
def test_mass_mean_and_variance_are_those_of_the_transforms(name):
    spectrum = LAWS[name]
    lowest = 1e-5 * spectrum.lambda_max
    atoms = [(place, mass) for place, mass in spectrum.atoms if place > 0]
    mass = integral(spectrum, np.ones_like, lowest) + sum(m for _, m in atoms) + float(spectrum.cdf(lowest))
    mean = integral(spectrum, lambda x: x, lowest) + sum(m * a for a, m in atoms)
    square = integral(spectrum, np.square, lowest) + sum(m * a**2 for a, m in atoms)
    assert mass == pytest.approx(1, abs=3e-5)
    assert mean == pytest.approx(spectrum.mean, rel=1e-5)
    assert square - mean**2 == pytest.approx(spectrum.variance, rel=3e-5)


@pytest.mark.parametrize("name", LAWS)
def test_distribution_is_the_integral_of_the_density(name):
    spectrum = LAWS[name]
    left, right = spectrum.bulk
    points = left + (right - left) * np.array([0.2, 0.5, 0.9])
    for a, b in itertools.pairwise(points):
        piece = quad(lambda x: float(spectrum.density(x)), a, b, epsrel=1e-9)[0]
        assert float(spectrum.cdf(b) - spectrum.cdf(a)) == pytest.approx(piece, abs=1e-8)
    assert float(spectrum.cdf(1.01 * spectrum.lambda_max)) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_linear_gaussian_layers_are_fuss_catalan(depth):
    spectrum = JacobianSpectrum(depth, DerivativeLaw.one(), "gaussian")
    edge = (depth + 1) ** (depth + 1) / depth**depth
    assert spectrum.lambda_max == pytest.approx(edge, rel=1e-9)
    lam = np.geomspace(1e-3, 1.2, 40) * edge
    np.testing.assert_allclose(spectrum.density(lam), fuss_catalan_density(lam, depth), rtol=1e-6, atol=1e-9)
    for k in range(5):
        assert fuss_catalan_moment(k, depth) == pytest.approx(comb((depth + 1) * k, k, exact=True) / (depth * k + 1))
    if depth == 1:
        np.testing.assert_allclose(fuss_catalan_density(lam, 1), marchenko_pastur(lam, 1.0), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("p", "depth", "weights", "edge"),
    [(0.5, 3, "orthogonal", 6.75), (0.5, 6, "orthogonal", 14.92992), (0.9, 20, "gaussian", None)],
)
def test_edges_of_relu_and_hard_tanh(p, depth, weights, edge):
    """m* = p/(L(1 - p) - 1), or the root of the quadratic, in z(m) = (1 + m)(m + p)^L/(m p^L) [over (1 + m)^L]."""
    L = depth
    if weights == "orthogonal":
        m = p / (L * (1 - p) - 1)
        by_hand = (m + p) ** L / (m * p**L * (1 + m) ** (L - 1))
    else:
        m = (-(L - 1) + math.sqrt((L - 1) ** 2 + 4 * L * p)) / (2 * L)
        by_hand = (1 + m) * (m + p) ** L / (m * p**L)
    spectrum = JacobianSpectrum(depth, DerivativeLaw.bernoulli(p), weights)
    assert spectrum.lambda_max == pytest.approx(by_hand, rel=1e-9)
    assert edge is None or by_hand == pytest.approx(edge)


def test_the_atom_of_nearly_linear_hard_tanh():
    spectrum = JacobianSpectrum(10, DerivativeLaw.bernoulli(0.95))
    (zero, at_zero), (top, at_top) = spectrum.atoms
    assert (zero, top) == (0, pytest.approx(0.95**-10)) and (at_zero, at_top) == (
        pytest.approx(0.05),
        pytest.approx(0.5),
    )
    m = 0.95 / (10 * 0.05 - 1)
    edge = (m + 0.95) ** 10 / (m * 0.95**10 * (1 + m) ** 9)
    assert spectrum.bulk == (0.0, pytest.approx(edge, rel=1e-9)) and spectrum.lambda_max == top
    np.testing.assert_allclose(spectrum.cdf([edge * 1.001, top * 0.999]), 0.5, atol=1e-9)
    np.testing.assert_allclose(spectrum.cdf([top, top * 1.001]), 1, atol=1e-9)
    assert (spectrum.density([edge * 1.0001, top * (1 - 1e-6), top, top * 1.001, 9.0]) == 0).all()


def test_inverse_matrices_have_the_inverse_law():
    """d -> 1/d turns J into an inverse of one like it, where the weights are orthogonal and critical for neither."""
    law = DerivativeLaw(np.array([0.25, 1.0]), np.array([0.3, 0.7]))
    inverse = DerivativeLaw(np.array([1.0, 4.0]), np.array([0.7, 0.3]))
    a, b = (JacobianSpectrum(3, each, weight_var=1.0) for each in (law, inverse))
    lam = np.linspace(0.05, 0.9, 12)
    np.testing.assert_allclose(a.cdf(lam), 1 - b.cdf(1 / lam), atol=1e-8)
    assert a.bulk[0] == pytest.approx(1 / b.bulk[1]) and a.bulk[1] == pytest.approx(1 / b.bulk[0])


def test_the_distribution_steps_at_an_inner_atom():
    spectrum = JacobianSpectrum(2, DerivativeLaw(np.array([0.25, 1.0, 4.0]), np.array([0.1, 0.8, 0.1])), weight_var=1.0)
    assert spectrum.atoms == [(pytest.approx(1.0), pytest.approx(0.6))]
    # the bulk is its own mirror image under inversion
    found = spectrum.cdf([1 - 1e-7, 1.0, 1 + 1e-7])
    np.testing.assert_allclose(found, [0.2, 0.8, 0.8], atol=1e-5)


def test_points_without_weight_and_equal_points_do_not_matter():
    plain = JacobianSpectrum(2, DerivativeLaw(np.array([0.25, 1.0]), np.array([0.5, 0.5])))
    more = DerivativeLaw(np.array([0.0, 100.0, 0.25, 1.0, 1.0 + 1e-15]), np.array([0.0, 0.0, 0.5, 0.2, 0.3]))
    assert JacobianSpectrum(2, more).bulk == pytest.approx(plain.bulk) and len(more.points) == 2


@pytest.mark.parametrize("activation", ["tanh", "erf", "softplus", "sigmoid", "gaussian"])
@pytest.mark.parametrize("q", [1e-4, 1.0, 1e2, 1e5])
def test_moments_of_the_slope_at_any_variance(activation, q):
    law = DerivativeLaw.of(activation, q)
    for k in (1, 2):
        assert law.moment(k) == pytest.approx(float(activations.get(activation).slope_moment(q, 2 * k)), rel=1e-8)


def test_very_deep_networks():
    spectrum = JacobianSpectrum(1030, HALF)
    m = 0.5 / (1030 * 0.5 - 1)
    log_edge = 1030 * math.log1p(m / 0.5) - math.log(m) - 1029 * math.log1p(m)
    assert spectrum.lambda_max == pytest.approx(math.exp(log_edge), rel=1e-9)
    assert 0.5 < float(spectrum.cdf(1.0)) < float(spectrum.cdf(100.0)) < 1
    assert 0 < float(JacobianSpectrum(3000, DerivativeLaw.of("tanh", 0.001)).cdf(1.0)) < 1


@given(st.floats(0.1, 0.9), st.integers(1, 30))
def test_variance_of_relu_like_layers(p, depth):
    law = DerivativeLaw.bernoulli(p)
    assert JacobianSpectrum(depth, law).variance == pytest.approx(depth * (1 / p - 1))
    assert JacobianSpectrum(depth, law, "gaussian").variance == pytest.approx(depth / p)


@pytest.mark.parametrize(
    ("activation", "q", "variance", "top"),
    [("tanh", 0.05, 0.2131, 1.97976), ("tanh", 0.5, 4.788, 14.02), ("erf", 0.05, 0.22696, 2.01345)],
)
def test_sixteen_smooth_layers(activation, q, variance, top):
    spectrum = JacobianSpectrum(16, DerivativeLaw.of(activation, q))
    assert spectrum.variance == pytest.approx(variance, rel=2e-4)
    assert spectrum.lambda_max == pytest.approx(top, rel=2e-4)


def test_smooth_limit_of_deep_networks():
    """S = e^{-σ₀² z} for L -> ∞ at fixed σ₀² = L(μ₂/μ₁² - 1): edges at m = (-1 ± √(1 + 4/σ₀²))/2."""
    target, edges = 0.25, []
    for depth in (4000, 16_000):  # which halves q
        q = 1e-3
        for _ in range(60):
            law = DerivativeLaw.of("tanh", q)
            q *= math.sqrt(target / (depth * (law.moment(2) / law.moment(1) ** 2 - 1)))
        edges.append(JacobianSpectrum(depth, law).lambda_max)
    m = (-1 + math.sqrt(1 + 4 / target)) / 2
    limit = (1 + m) / m * math.exp(target * m)
    # the distance is linear in q, 1.3 % and 0.7 % here; what is left after extrapolation is of order q²
    assert 2 * edges[1] - edges[0] == pytest.approx(limit, rel=5e-4)
    assert abs(edges[0] - limit) > 1.8 * abs(edges[1] - limit)


@pytest.mark.parametrize("name", ["relu, orthogonal", "tanh, orthogonal", "relu, gaussian"])
def test_matrices_follow_the_law(name):
    """Independent D and W of 500 units: the distribution at four points, to 0.01."""
    spectrum, n, draw = LAWS[name], 500, generator(1)
    # as many of each value as its weight says, in random places: without that the counts alone scatter by n^(-1/2)
    held = spectrum.law.points[np.searchsorted(np.cumsum(spectrum.law.weights), (np.arange(n) + 0.5) / n)]
    shuffle = np.random.default_rng(2)
    values = torch.as_tensor(np.stack([shuffle.permutation(held) for _ in range(spectrum.depth)]))
    J = torch.eye(n, dtype=torch.float64)
    for d in values:
        W = torch.randn(n, n, generator=draw, dtype=torch.float64) / math.sqrt(n)
        if spectrum.weights == "orthogonal":
            Q, R = torch.linalg.qr(W)
            W = Q * R.diagonal().sign()
        J = d.sqrt()[:, None] * (math.sqrt(spectrum.weight_var) * W @ J)
    lam = torch.linalg.svdvals(J).square().numpy()
    for point in (0.1, 0.5, 1.0, 2.0):
        # fluctuations of a linear statistic are of order 1/n
        assert np.mean(lam <= point) == pytest.approx(float(spectrum.cdf(point)), abs=0.01)


# Marchenko-Pastur


@pytest.mark.parametrize("ratio", [0.3, 1.0, 2.5])
def test_marchenko_pastur_has_its_moments(ratio):
    left, right = (1 - math.sqrt(ratio)) ** 2, (1 + math.sqrt(ratio)) ** 2
    moments = [
        quad(lambda x, k=k: x**k * float(marchenko_pastur(x, ratio)), left, right, limit=200)[0] for k in range(3)
    ]
    assert moments == [pytest.approx(min(1, 1 / ratio), abs=1e-6), pytest.approx(1), pytest.approx(1 + ratio)]


@pytest.mark.parametrize("ratio", [0.4, 1.7])
def test_multiplication_by_marchenko_pastur_solves_its_equation(ratio):
    points, weights = np.array([0.0, 1.0, 4.0]), np.array([0.2, 0.5, 0.3])
    z = np.linspace(-1, 12, 27) + 1e-3j
    m = multiply_marchenko_pastur(points, weights, ratio, z)
    again = (weights / (points * (1 - ratio - ratio * z * m)[:, None] - z[:, None])).sum(1)
    np.testing.assert_allclose(m, again, rtol=1e-9)
    assert (m.imag > 0).all()
    sample = np.random.default_rng(0).standard_normal((int(800 / ratio), 800))
    T = np.sqrt(np.repeat(points, (weights * 800).round().astype(int)))
    eigenvalues = np.linalg.eigvalsh(T[:, None] * (sample.T @ sample / len(sample)) * T)
    point = 2.0 + 0.5j
    # a linear statistic of 800 eigenvalues
    assert np.mean(1 / (eigenvalues - point)) == pytest.approx(
        complex(multiply_marchenko_pastur(points, weights, ratio, point)), abs=5e-3
    )


# Freeness


def rotated(n, seed):
    Q, R = torch.linalg.qr(torch.randn(n, n, generator=generator(seed), dtype=torch.float64))
    Q = Q * R.diagonal().sign()
    return Q @ torch.diag(torch.linspace(-1, 1, n, dtype=torch.float64)) @ Q.T


def test_rotated_matrices_are_free_and_equal_ones_are_not():
    X, Y = rotated(200, 0), rotated(200, 1)
    assert max(map(abs, freeness_defects([X, Y, rotated(200, 2)]).values())) < 0.02  # of order 1/n
    bound = freeness_defects([X, X])
    assert bound[0, 1] == pytest.approx(1 / 3, rel=0.02) and bound[0, 1, 0, 1] == pytest.approx(1 / 5, rel=0.03)


def test_shifts_do_not_matter():
    X, Y = rotated(20, 0), rotated(20, 1)
    a, b = freeness_defects([X, Y]), freeness_defects([X + 3 * torch.eye(20), Y - torch.eye(20)])
    assert all(b[word] == pytest.approx(a[word], abs=1e-12) for word in a)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: DerivativeLaw.bernoulli(0.0), "p = 0.0: a number above 0"),
        (lambda: DerivativeLaw.of("tanh", 0.0), "q = 0.0: finite positive numbers"),
        (lambda: DerivativeLaw.of("step", 1.0), "a slope that is not zero"),
        (lambda: JacobianSpectrum(400, HALF, weight_var=1e-3), "the mean of λ is out of range"),
        (lambda: marchenko_pastur(math.nan, 1.0), "x = nan: real numbers"),
        (lambda: freeness_defects([torch.eye(2) * 1j] * 2), "finite real entries"),
        (lambda: DerivativeLaw(np.array([-1.0]), np.ones(1)), "finite points, not negative"),
        (lambda: DerivativeLaw(np.ones(2), np.ones(2)), "weights sum to 2.0"),
        (lambda: JacobianSpectrum(0, HALF), "depth = 0: a positive integer"),
        (lambda: JacobianSpectrum(2, HALF, "uniform"), "weights = 'uniform'"),
        (lambda: JacobianSpectrum(2, HALF, weight_var=-1.0), "weight_var = -1.0"),
        (lambda: JacobianSpectrum(2, HALF).density([1.0, math.nan]), "lam = .*nan.*: real numbers"),
        (lambda: JacobianSpectrum(1, HALF).density(1.0), "depth = 1 with orthogonal weights"),
        (lambda: fuss_catalan_moment(-1, 2), "k = -1.0: finite numbers, not negative"),
        (lambda: fuss_catalan_density(1.0, 0), "depth = 0"),
        (lambda: marchenko_pastur(1.0, 0.0), "ratio = 0.0"),
        (lambda: multiply_marchenko_pastur([1.0], [1.0], 1.0, 1.0), "z = .*off the support"),
        (lambda: multiply_marchenko_pastur([1.0], [1.0], -1.0, 1j), "ratio = -1.0"),
        (lambda: freeness_defects([torch.eye(2)]), "two or more"),
        (lambda: freeness_defects([torch.eye(2), torch.eye(3)]), "two or more"),
        (lambda: freeness_defects([torch.eye(2), torch.full((2, 2), math.nan)]), "finite real entries"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# Every real number, and any activation


@pytest.mark.parametrize("name", LAWS)
def test_laws_take_every_real_number(name):
    spectrum = LAWS[name]
    at_zero = dict(spectrum.atoms).get(0.0, 0.0)
    lam = [-math.inf, -3.0, 0.0, 2 * spectrum.lambda_max, math.inf]
    assert spectrum.density(lam).tolist() == [0.0] * 5
    np.testing.assert_allclose(spectrum.cdf(lam), [0, 0, at_zero, 1, 1], atol=1e-9)
    assert spectrum.density(1.0).shape == spectrum.cdf(0).shape == ()
    assert np.array_equal(spectrum.cdf(torch.tensor([0.5, 1.0])), spectrum.cdf([0.5, 1.0]))
    assert fuss_catalan_density([-1.0, 0.0, 1e9], 3).tolist() == [0.0] * 3
    assert marchenko_pastur([-1.0, 0.0, math.inf], 0.5).tolist() == [0.0] * 3


@pytest.mark.parametrize("ratio", [0.3, 1.0, 2.5])
def test_multiplication_at_real_numbers_is_that_of_marchenko_pastur(ratio):
    """m(z) = [1 - ratio - z ± √((z - a)(z - b))]/(2 ratio z): minus the root below the support, plus above."""
    a, b = (1 - math.sqrt(ratio)) ** 2, (1 + math.sqrt(ratio)) ** 2
    z = np.array([-50.0, -1.0, -1e-3, b + 1e-3, b + 1, 1e3])
    root = np.sqrt((z - a) * (z - b)) * np.where(z < a, -1, 1)
    exact = (1 - ratio - z + root) / (2 * ratio * z) if ratio != 1 else (-z + root) / (2 * z)
    exact[:3] = ((1 - ratio - z - np.abs(root)) / (2 * ratio * z))[:3]
    exact[:3] = np.where(exact[:3] > 0, exact[:3], ((1 - ratio - z + np.abs(root)) / (2 * ratio * z))[:3])
    found = multiply_marchenko_pastur([1.0], [1.0], ratio, z)
    assert found.dtype == complex and (found.imag == 0).all()
    x = np.linspace(a, b, 400_001)[1:-1]
    for i in (0, 1, 4, 5):  # by integration of the density, which the step resolves away from the edges
        direct = float((marchenko_pastur(x, ratio) / (x - z[i])).sum() * (x[1] - x[0])) - max(0, 1 - 1 / ratio) / z[i]
        assert found.real[i] == pytest.approx(direct, rel=1e-2 if ratio == 1 else 1e-5)
    np.testing.assert_allclose(found.real, exact, rtol=1e-8)
    for inside in ((a + b) / 2, a + 1e-3, b - 1e-3, *([0.0] if ratio >= 1 else [])):
        with pytest.raises(ValueError, match="off the support"):
            multiply_marchenko_pastur([1.0], [1.0], ratio, inside)


def test_multiplication_at_real_numbers_of_two_bulks():
    """Two bulks, and the gap between them; below the axis the conjugate; lists and tensors as arrays."""
    points, weights, ratio = [1.0, 30.0], [0.5, 0.5], 0.1
    sample = np.random.default_rng(0).standard_normal((8000, 800))
    T = np.sqrt(np.repeat(points, 400))
    eigenvalues = np.linalg.eigvalsh(T[:, None] * (sample.T @ sample / len(sample)) * T)
    z = np.array([-2.0, 0.0, 6.0, 100.0])
    found = multiply_marchenko_pastur(points, weights, ratio, z)
    direct = np.mean(1 / (eigenvalues - z[:, None]), axis=1)
    np.testing.assert_allclose(found.real, direct, rtol=1e-2)
    np.testing.assert_allclose(multiply_marchenko_pastur(points, weights, ratio, z + 1e-6j), found, rtol=1e-5)
    above, below = multiply_marchenko_pastur(points, weights, ratio, [1 + 1j, 1 - 1j])
    assert below == above.conjugate()
    assert np.array_equal(multiply_marchenko_pastur(torch.tensor(points), torch.tensor(weights), ratio, z), found)


def test_slopes_that_are_constant_on_a_part_of_the_line():
    law = DerivativeLaw.of(torch.nn.ReLU6(), 9.0)  # slope 1 between 0 and 6, two standard deviations
    assert law.exact and law.points.tolist() == [0.0, 1.0]
    assert law.moment(1) == pytest.approx(math.erf(2 / math.sqrt(2)) / 2, rel=1e-12)
    swish = JacobianSpectrum(3, DerivativeLaw.of(torch.nn.Hardswish(), 4.0))  # slope 0 below -3, 1 above 3
    tail = math.erfc(1.5 / math.sqrt(2)) / 2
    assert swish.atoms == [(0.0, pytest.approx(tail, rel=1e-10))]
    assert float(swish.cdf(0.0)) == pytest.approx(tail, rel=1e-10)
    elu = JacobianSpectrum(1, DerivativeLaw.of("elu", 1.0), "gaussian")
    assert elu.mean == pytest.approx(1) and not elu.atoms
    leaky = DerivativeLaw.of(torch.nn.LeakyReLU(0.5), 2.0)
    assert leaky.points.tolist() == [0.25, 1.0]
    assert DerivativeLaw.of(torch.abs, 2.0).points.tolist() == [1.0]


@pytest.mark.parametrize("activation", ["elu", "selu", "gelu", "silu", "mish", "sin", torch.nn.Softsign()])
def test_any_activation_has_a_law(activation):
    phi = activations.get(activation)
    law = DerivativeLaw.of(activation, 1.5)
    for k in (1, 2):
        assert law.moment(k) == pytest.approx(float(phi.slope_moment(1.5, 2 * k)), rel=1e-8)
    spectrum = JacobianSpectrum(4, law, "gaussian")
    assert 0 < float(spectrum.cdf(0.3)) < float(spectrum.cdf(3.0)) < 1


def test_matrices_of_numpy_and_lists():
    X, Y = rotated(20, 0), rotated(20, 1)
    assert freeness_defects([X.numpy(), Y.tolist()]) == freeness_defects([X, Y])
