"""Mixtures: autograd, quadrature and Monte Carlo as oracles of density, score, denoiser, entropy."""

import numpy as np
import pytest
import torch
from deepdynamics.transport import GaussianMixture, dae_map, gaussian_dae
from scipy.integrate import quad
from scipy.stats import multivariate_normal

WEIGHTS, MEANS, VARIANCES = [0.5, 0.3, 0.2], [[2.0, 0.0], [-1.0, 1.5], [-1.0, -1.5]], [0.25, 0.16, 0.36]
COVARIANCES = [[[0.5, 0.2], [0.2, 0.3]], [[1.0, 0.0], [0.0, 0.04]], [[0.1, -0.05], [-0.05, 0.2]]]
KINDS = {"isotropic": VARIANCES, "full": COVARIANCES}
POINTS = np.random.default_rng(0).normal(size=(20, 2)) * 2


def mixture(kind="isotropic"):
    return GaussianMixture(WEIGHTS, MEANS, KINDS[kind])


def covariances(kind):
    return np.array(COVARIANCES) if kind == "full" else np.array(VARIANCES)[:, None, None] * np.eye(2)


def torch_log_density(kind, variance):
    parts = torch.distributions.MultivariateNormal(
        torch.tensor(MEANS, dtype=torch.float64), torch.tensor(covariances(kind) + variance * np.eye(2))
    )
    chosen = torch.distributions.Categorical(torch.tensor(WEIGHTS, dtype=torch.float64))
    return torch.distributions.MixtureSameFamily(chosen, parts).log_prob


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("variance", [0.0, 0.05, 1.0])
def test_density_and_score_are_those_of_autograd(kind, variance):
    x = torch.tensor(POINTS, requires_grad=True)
    logs = torch_log_density(kind, variance)(x)
    logs.sum().backward()
    np.testing.assert_allclose(mixture(kind).log_density(x, variance), logs.detach(), rtol=1e-12)
    np.testing.assert_allclose(mixture(kind).score(x, variance), x.grad, rtol=1e-11, atol=1e-12)
    if variance:
        np.testing.assert_allclose(
            mixture(kind).dae(x, variance), (x + variance * x.grad).detach(), rtol=1e-11, atol=1e-12
        )
        np.testing.assert_allclose(
            dae_map(lambda x: mixture(kind).score(x, variance), POINTS, variance), mixture(kind).dae(POINTS, variance)
        )


def test_far_away_nothing_underflows():
    far = mixture().score([[1e4, 0.0]], 0.1)
    np.testing.assert_allclose(far, [[-(1e4 + 1) / 0.46, -1.5 / 0.46]], rtol=1e-12)  # the widest component's


@pytest.mark.parametrize("kind", KINDS)
def test_the_denoiser_is_the_posterior_mean(kind):
    variance, point = 0.25, np.array([0.5, 0.3])
    clean = mixture(kind).sample(200_000, seed=1)
    likelihood = np.exp(-((clean - point) ** 2).sum(1) / (2 * variance))
    # A ratio of means; its standard error by the delta method.
    found = (likelihood[:, None] * clean).mean(0) / likelihood.mean()
    influence = likelihood[:, None] * (clean - found) / likelihood.mean()
    error = influence.std(0, ddof=1) / np.sqrt(len(clean))
    assert (np.abs(found - mixture(kind).dae(point, variance)) < 4 * error).all()


@pytest.mark.parametrize("kind", KINDS)
def test_samples_have_the_moments_of_the_smoothed_mixture(kind):
    n, variance = 100_000, 0.3
    x, p = mixture(kind).sample(n, seed=3, variance=variance), np.array(WEIGHTS)
    mean = p @ MEANS
    centred = np.array(MEANS) - mean
    cov = np.einsum("k,kij->ij", p, covariances(kind) + variance * np.eye(2)) + np.einsum(
        "k,ki,kj->ij", p, centred, centred
    )
    for products, expected in ((x, mean), (np.einsum("ni,nj->nij", x - mean, x - mean), cov)):
        error = products.std(0, ddof=1) / np.sqrt(n)
        assert (np.abs(products.mean(0) - expected) < 4.5 * error).all()
    np.testing.assert_array_equal(x, mixture(kind).sample(n, seed=3, variance=variance))


def test_entropy_and_fisher_information_by_quadrature():
    line = GaussianMixture([1, 2], [[-1.0], [2.0]], [0.3, 1.0])

    def density(x):
        return np.exp(line.log_density([x], 0.2))

    entropy = quad(lambda x: -density(x) * line.log_density([x], 0.2), -10, 12, epsabs=1e-11)[0]
    fisher = quad(lambda x: density(x) * line.score([x], 0.2)[0] ** 2, -10, 12, epsabs=1e-11)[0]
    for (value, error), expected in (
        (line.entropy(40_000, seed=0, variance=0.2), entropy),
        (line.fisher_information(40_000, seed=0, variance=0.2), fisher),
    ):
        assert abs(value - expected) < 4 * error < 0.1 * expected


def test_heat_raises_the_entropy_at_the_rate_of_the_fisher_information():
    line, step = GaussianMixture([1, 2], [[-1.0], [2.0]], [0.3, 1.0]), 1e-3

    def entropy(time):  # ∂_t p = Δp for the time t is noise of variance 2t
        return quad(
            lambda x: -np.exp(line.log_density([x], 2 * time)) * line.log_density([x], 2 * time),
            -12,
            14,
            epsabs=1e-12,
            limit=200,
        )[0]

    fisher = quad(
        lambda x: np.exp(line.log_density([x], 0.2)) * line.score([x], 0.2)[0] ** 2, -12, 14, epsabs=1e-12, limit=200
    )[0]
    np.testing.assert_allclose((entropy(0.1 + step) - entropy(0.1 - step)) / (2 * step), fisher, rtol=1e-5)


def test_one_component_is_a_gaussian():
    S = np.array(COVARIANCES[0])
    one = GaussianMixture([3.0], [[1.0, 2.0]], [S])
    np.testing.assert_allclose(one.log_density(POINTS), multivariate_normal([1, 2], S).logpdf(POINTS), rtol=1e-12)
    np.testing.assert_allclose(one.dae(POINTS, 0.4), gaussian_dae([1, 2], S, 0.4)(POINTS), rtol=1e-12)


@pytest.mark.parametrize("variance", [0.1, 0.5, 1.0])
def test_the_constant_of_the_heat_kernel(variance):
    """N(0, 1): the slope is 1/(1 + t), not the 1 - t/(1 + 2t) of heat for the time t that the source prints."""
    draw = np.random.default_rng(0)
    clean = draw.normal(size=400_000)
    noisy = clean + np.sqrt(variance) * draw.normal(size=400_000)
    slope = (noisy @ clean) / (noisy @ noisy)
    error = (clean - slope * noisy).std() / np.sqrt(noisy @ noisy)
    exact = GaussianMixture([1], [[0]], 1).dae([1.0], variance)[0]
    assert exact == pytest.approx(1 / (1 + variance), rel=1e-14)
    assert abs(slope - exact) < 4 * error < abs(slope - (1 - variance / (1 + 2 * variance))) / 2


def test_the_denoiser_of_a_finite_sample_gives_it_back():
    sample = np.random.default_rng(0).normal(size=(50, 2))
    empirical = GaussianMixture(np.ones(50), sample, 0.0)
    np.testing.assert_allclose(empirical.dae(sample + 1e-3, 1e-6), sample, atol=1e-12)
    np.testing.assert_allclose(empirical.dae([0.0, 0.0], 1e12), sample.mean(0), atol=1e-9)
    with pytest.raises(ValueError, match="a component has no density"):
        empirical.score([0.0, 0.0])


@pytest.mark.parametrize("kind", KINDS)
def test_points_and_noise_broadcast_and_blocks_change_nothing(kind):
    levels = np.array([0.1, 0.2, 0.3])
    found = mixture(kind).dae(POINTS[:, None], levels)
    assert found.shape == (20, 3, 2) and mixture(kind).log_density(POINTS[:, None], levels).shape == (20, 3)
    for k, level in enumerate(levels):
        np.testing.assert_allclose(found[:, k], mixture(kind).dae(POINTS, level), rtol=1e-13)
    many = np.random.default_rng(1).normal(size=(400_000, 2))
    whole = mixture(kind).score(many)
    for rows in (slice(0, 5), slice(166_660, 166_670), slice(-5, None)):
        np.testing.assert_allclose(whole[rows], mixture(kind).score(many[rows]), rtol=1e-12, atol=1e-13)
    assert mixture(kind).score(np.zeros((0, 2))).shape == (0, 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights": [1, -1, 1]}, "weights = "),
        ({"weights": [0, 0, 0]}, "weights = "),
        ({"weights": [1, 1]}, r"weights of shape \(2,\)"),
        ({"means": [1, 2, 3]}, r"means of shape \(3,\)"),
        ({"means": np.zeros((0, 2))}, r"means of shape \(0, 2\)"),
        ({"variances": [1, 1]}, r"variances of shape \(2,\): \(3,\) or \(3, 2, 2\)"),
        ({"variances": [1, 1, -1]}, "variances = "),
        ({"variances": [-np.eye(2)] * 3}, "positive semidefinite"),
        ({"variances": [1, 1, np.nan]}, "finite"),
    ],
)
def test_bad_mixtures(change, message):
    with pytest.raises(ValueError, match=message):
        GaussianMixture(**({"weights": WEIGHTS, "means": MEANS, "variances": VARIANCES} | change))


def test_bad_points_noise_and_counts():
    p = mixture()
    for variance in (0.0, -1.0, np.nan):
        with pytest.raises(ValueError, match="variance = "):
            p.dae(POINTS, variance)
    with pytest.raises(ValueError, match="variance = "):
        p.score(POINTS, -0.1)
    with pytest.raises(ValueError, match=r"variance of shape \(3,\)"):
        p.score(POINTS, [0.1, 0.2, 0.3])
    with pytest.raises(ValueError, match=r"x of shape \(3,\)"):
        p.log_density([1, 2, 3])
    with pytest.raises(ValueError, match="count = 0"):
        p.sample(0, seed=0)
    with pytest.raises(ValueError, match="count = 1"):
        p.entropy(1, seed=0)
    with pytest.raises(ValueError, match="positive noise"):
        gaussian_dae([0, 0], np.eye(2), 0)
    with pytest.raises(ValueError, match="of shapes"):
        gaussian_dae([0, 0], np.eye(2), [0.1, 0.2])
    with pytest.raises(ValueError, match="that of x"):
        dae_map(lambda x: x[:1], POINTS, 0.1)


def test_a_score_in_torch_stays_in_torch():
    x = torch.ones(3, 2, requires_grad=True)
    dae_map(lambda x: -x, x, 0.5).sum().backward()
    torch.testing.assert_close(x.grad, torch.full((3, 2), 0.5))


@pytest.mark.parametrize("variances", [[0.3, 0.2], [np.diag([0.5, 0.3]), [[0.4, 0.1], [0.1, 0.4]]]])
def test_sharpened_solves_the_backward_heat_equation(variances):
    """∂_t p = -Δp, by central differences in time and in space; heat run forwards comes back."""
    mixture = GaussianMixture([0.6, 0.4], [[-1.0, 0.0], [1.0, 0.5]], variances)
    x, t, h = mixture.sample(20, 0), 0.04, 1e-3

    def p(time, x):
        return np.exp(mixture.sharpened(time).log_density(x))

    rate = (p(t + h, x) - p(t - h, x)) / (2 * h)
    laplacian = sum(p(t, x + h * e) - 2 * p(t, x) + p(t, x - h * e) for e in np.eye(2)) / h**2
    np.testing.assert_allclose(rate, -laplacian, rtol=1e-3, atol=1e-3)
    back = mixture.sharpened(-0.5).sharpened(0.5)
    np.testing.assert_allclose(back.score(x), mixture.score(x), rtol=1e-10)


def test_sharpened_ends_at_the_extinction():
    with pytest.raises(ValueError, match=r"t = 0.1: below 0.1"):
        GaussianMixture([1, 1], [[0], [1]], [0.2, 0.5]).sharpened(0.1)
