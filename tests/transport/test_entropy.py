"""Flows of Gaussians that change the entropy: closed forms against rates, limits and direct minimisation."""

import numpy as np
import pytest
from deepdynamics.transport import (
    compose_daes,
    dae_flow_gaussian,
    entropy_flow_gaussian,
    extinction_time,
    gaussian_continuity_residual,
    gaussian_dae,
    gaussian_entropy,
    gaussian_fisher_information,
    gaussian_w2,
    heat_flow_gaussian,
    jko_denoising,
    jko_fokker_planck,
    jko_heat,
)
from scipy.optimize import minimize
from scipy.stats import multivariate_normal

SIGMA = np.array([2.0, 1.0])
COV = np.array([[2.0, 0.6], [0.6, 1.0]])


def diagonal(sigma):
    return sigma[..., None] ** 2 * np.eye(sigma.shape[-1])


# Entropy and its rate ------------------------------------------------------------------------------------------------
def test_entropy_is_that_of_scipy():
    np.testing.assert_allclose(gaussian_entropy(COV), multivariate_normal(np.zeros(2), COV).entropy(), rtol=1e-13)
    np.testing.assert_allclose(gaussian_fisher_information(COV), np.trace(np.linalg.inv(COV)), rtol=1e-13)
    assert gaussian_entropy(np.diag([1, 0])) == -np.inf and gaussian_fisher_information(np.diag([1, 0])) == np.inf


@pytest.mark.parametrize(("flow", "sign"), [(heat_flow_gaussian, 1), (entropy_flow_gaussian, -1)])
def test_the_rate_of_the_entropy_is_the_fisher_information(flow, sign):
    step = 1e-4
    below, above = (gaussian_entropy(diagonal(flow(SIGMA, 0.2 + h))) for h in (-step, step))
    fisher = gaussian_fisher_information(diagonal(flow(SIGMA, 0.2)))
    np.testing.assert_allclose((above - below) / (2 * step), sign * fisher, rtol=1e-6)


def test_the_flow_of_the_denoiser():
    t = np.linspace(0, 0.5, 6)
    sigma = entropy_flow_gaussian(SIGMA, t)
    np.testing.assert_allclose(sigma[:, 0] ** 2 - sigma[:, 1] ** 2, 3, rtol=1e-13)
    np.testing.assert_allclose(heat_flow_gaussian(sigma[:5], t[:5]), [SIGMA] * 5, rtol=1e-13)
    assert sigma[-1, 1] == 0 and extinction_time(SIGMA) == 0.5
    assert entropy_flow_gaussian(2.0, [0, 1.5]).tolist() == [2, 1] and extinction_time(2.0) == 2
    np.testing.assert_array_equal(extinction_time([[2, 1], [3, 0]]), [0.5, 0])
    assert entropy_flow_gaussian(np.ones((4, 1, 2)), t[:3]).shape == (4, 3, 2)
    with pytest.raises(ValueError, match=r"the flow from sigma0 ends at 0\.5"):
        entropy_flow_gaussian(SIGMA, [0.1, 0.51])


# The discrete denoiser -----------------------------------------------------------------------------------------------
def test_composed_denoisers_tend_to_the_flow_at_first_order():
    exact = np.sqrt(1 - 0.6)
    errors = [dae_flow_gaussian(1.0, 0.3 / K, K)[-1] - exact for K in (1, 2, 4, 8, 16, 32, 64, 128)]
    np.testing.assert_allclose(errors, [0.137, 0.093, 0.058, 0.034, 0.018, 0.0097, 0.0050, 0.0025], rtol=0.03)
    assert errors[-2] / errors[-1] == pytest.approx(2, abs=0.05) and min(errors) > 0  # it lags


@pytest.mark.parametrize(
    ("start", "end", "continuous"),
    [
        ((2, 1), (1.793, 0.536), (1.789, 0.447)),
        ((1.5, 1.5), (1.217, 1.217), (1.204, 1.204)),
        ((1.2, 0.6), (0.832, 7.6e-8), None),
    ],
)
def test_eight_denoisers(start, end, continuous):
    np.testing.assert_allclose(dae_flow_gaussian(start, 0.05, 8)[-1], end, rtol=1e-2 if end[1] < 1e-3 else 1e-3)
    if continuous:
        np.testing.assert_allclose(entropy_flow_gaussian(start, 0.4), continuous, rtol=1e-3)


def test_the_map_of_the_denoiser_carries_the_covariance():
    sigmas, maps, S = dae_flow_gaussian([1.3, 0.4], 0.2, 3), [], np.diag([1.3, 0.4]) ** 2
    for sigma in sigmas[1:]:
        maps.append(gaussian_dae([1, -1], S, 0.2))
        S = maps[-1].matrix @ S @ maps[-1].matrix.T
        np.testing.assert_allclose(np.sqrt(np.diag(S)), sigma, rtol=1e-13)
    x = np.array([[1.0, -1.0], [2.3, -0.6]])
    path = compose_daes(maps, x)
    np.testing.assert_allclose(path[:, 1] - path[:, 0], sigmas, rtol=1e-12)
    np.testing.assert_array_equal(path[:, 0], [x[0]] * 4)


# Implicit Euler steps ------------------------------------------------------------------------------------------------

FUNCTIONALS = {  # of a one-dimensional Gaussian, up to constants
    "heat": lambda m, s: -np.log(s),
    "denoising": lambda m, s: np.log(s),
    "fokker-planck": lambda m, s: -np.log(s) + (m**2 + s**2) / 2,
}


@pytest.mark.parametrize("functional", FUNCTIONALS)
def test_one_step_is_a_minimiser(functional):
    mean, sigma, tau = 0.7, 1.3, 0.1
    steps = {
        "heat": (mean, jko_heat(sigma, tau)),
        "denoising": (mean, jko_denoising(sigma, tau)),
        "fokker-planck": jko_fokker_planck(mean, sigma, tau),
    }

    def cost(q):
        distance = gaussian_w2([mean], [[sigma**2]], [q[0]], [[np.exp(2 * q[1])]])
        return distance**2 / (2 * tau) + FUNCTIONALS[functional](q[0], np.exp(q[1]))

    found = minimize(cost, [mean, np.log(sigma)], method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-15})
    np.testing.assert_allclose([found.x[0], np.exp(found.x[1])], steps[functional], atol=2e-7)


def test_a_step_by_hand():
    np.testing.assert_allclose(jko_heat(1.0, 0.1), 1.0916079783, atol=1e-10)


TAUS = (0.1, 0.05, 0.025, 0.0125)


@pytest.mark.parametrize(
    ("step", "start", "exact", "errors"),
    [
        (jko_heat, 1.0, np.sqrt(2.0), (-1.16e-2, -5.96e-3, -3.02e-3, -1.52e-3)),
        (jko_denoising, 1.5, np.sqrt(1.25), (-0.0143, -0.0068, -0.0034, -0.0017)),
        (
            lambda sigma, tau: jko_fokker_planck(0.0, sigma, tau)[1],
            2.0,
            np.sqrt(1 + 3 * np.exp(-1)),
            (0.0242, 0.0125, 0.0064, 0.0032),
        ),
    ],
)
def test_steps_are_of_first_order(step, start, exact, errors):
    found = []
    for tau in TAUS:
        sigma = start
        for _ in range(round(0.5 / tau)):
            sigma = step(sigma, tau)
        found.append(sigma - exact)
    np.testing.assert_allclose(found, errors, rtol=0.03)
    assert found[-2] / found[-1] == pytest.approx(2, abs=0.1)


def test_fokker_planck_moves_the_mean_and_rests_at_the_normal_law():
    mean, sigma = 3.0, 2.0
    for _ in range(1000):
        mean, sigma = jko_fokker_planck(mean, sigma, 0.001)
    np.testing.assert_allclose([mean, sigma], [3 * np.exp(-1), np.sqrt(1 + 3 * np.exp(-2))], rtol=2e-3)
    np.testing.assert_allclose(jko_fokker_planck(0.0, 1.0, 0.3), (0, 1), atol=1e-15)


def test_the_bound_of_the_denoising_step():
    assert jko_denoising(1.0, 0.25) == 0.5
    np.testing.assert_allclose(jko_denoising([2.0, 1.0], [[0.1], [0.2]]).shape, (2, 2))
    with pytest.raises(ValueError, match=r"at most sigma²/4 = 0\.25"):
        jko_denoising([2.0, 1.0], 0.26)


# The continuity equation ---------------------------------------------------------------------------------------------
def test_the_right_velocity_has_no_residual_and_another_has():
    x = np.random.default_rng(0).normal(size=(50, 2))
    inverse, mean = np.linalg.inv(COV), np.array([0.3, -0.2])
    heat, denoiser = ((0 * mean, s * 2 * np.eye(2)) for s in (1, -1))
    for rates, velocity in ((heat, (0 * mean, inverse)), (denoiser, (0 * mean, -inverse))):
        np.testing.assert_allclose(gaussian_continuity_residual(x, mean, COV, rates, velocity), 0, atol=1e-13)
    wrong = gaussian_continuity_residual(x, mean, COV, heat, (0 * mean, -inverse))
    assert np.abs(wrong).min() > 1e-3


def test_the_residual_by_finite_differences():
    m, dm, a = np.array([0.3, -0.2]), np.array([1.0, 0.5]), np.array([0.2, -0.4])
    dS, B = np.array([[0.3, 0.1], [0.1, -0.2]]), np.array([[0.5, -1.0], [0.3, 0.2]])
    x, h = np.array([[0.4, 1.0], [-1.0, 0.2]]), 1e-5

    def flux(x, i):  # p v_i
        return multivariate_normal(m, COV).pdf(x) * (a + (x - m) @ B.T)[:, i]

    change = (
        multivariate_normal(m + h * dm, COV + h * dS).pdf(x) - multivariate_normal(m - h * dm, COV - h * dS).pdf(x)
    ) / (2 * h)
    divergence = sum((flux(x + h * e, i) - flux(x - h * e, i)) / (2 * h) for i, e in enumerate(np.eye(2)))
    expected = (change + divergence) / multivariate_normal(m, COV).pdf(x)
    np.testing.assert_allclose(gaussian_continuity_residual(x, m, COV, (dm, dS), (a, B)), expected, rtol=1e-7)


# Bad input -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: heat_flow_gaussian(SIGMA, -1), "times from 0 on"),
        (lambda: entropy_flow_gaussian([-1, 1], 0), "standard deviations, not negative"),
        (lambda: dae_flow_gaussian(SIGMA, 0.0, 3), "positive noise"),
        (lambda: dae_flow_gaussian(SIGMA, 0.1, 2.5), "steps = 2.5"),
        (lambda: dae_flow_gaussian(SIGMA, 0.1, -1), "steps = -1"),
        (lambda: jko_heat(1.0, 0.0), "positive steps"),
        (lambda: jko_fokker_planck(0.0, -1.0, 0.1), "standard deviations, not negative"),
        (lambda: jko_fokker_planck(np.nan, 1.0, 0.1), "finite"),
        (lambda: gaussian_entropy(-np.eye(2)), "positive semidefinite"),
        (lambda: gaussian_fisher_information(np.ones(2)), r"cov of shape \(2,\)"),
        (
            lambda: gaussian_continuity_residual(
                [[0, 0]], [0, 0], np.diag([1, 0]), ([0, 0], np.eye(2)), ([0, 0], np.eye(2))
            ),
            "positive definite",
        ),
        (
            lambda: gaussian_continuity_residual([0, 0], [0, 0], COV, ([0, 0], np.eye(2)), ([0, 0], np.eye(2))),
            "of shapes",
        ),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
