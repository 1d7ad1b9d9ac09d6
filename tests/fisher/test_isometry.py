"""The laws of orthogonal networks beside matrices of Haar orthogonal and diagonal factors."""

import numpy as np
import pytest
from deepdynamics.activations import get
from deepdynamics.fisher import isometric_lambda_max, three_layer_law
from deepdynamics.freeprobability import DerivativeLaw
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.special import ndtri
from scipy.stats import ortho_group

SHARE = st.floats(0, 1)


@given(SHARE, SHARE)
def test_total_mass_is_one(a, b):
    law = three_layer_law(a, b, (0.5, 1.5, 2.0), (1.2, 0.8))
    assert sum(mass for _, mass in law.atoms) + law.continuous_mass == pytest.approx(1, abs=1e-12)
    assert law.interval[0] <= law.interval[1]


@given(st.floats(0.01, 0.99), st.floats(0.01, 0.99))
def test_the_density_has_its_mass_and_mean(a, b):
    """The mean of H_3 is q̂2 + σ3² α2 (q̂1 + σ2² q̂0 α1)."""
    (q0, q1, q2), (s2, s3) = (0.5, 1.5, 2.0), (1.2, 0.8)
    law = three_layer_law(a, b, (q0, q1, q2), (s2, s3))
    atoms, (left, right), density = law

    def integral(f):  # λ = middle - half cos t: no singularity is left at the edges
        middle, half = (left + right) / 2, (right - left) / 2

        def integrand(t):
            lam = middle - half * np.cos(t)
            return f(lam) * float(density(lam)) * half * np.sin(t)

        return quad(integrand, 0, np.pi, limit=500)[0]

    assert integral(lambda lam: 1.0) == pytest.approx(law.continuous_mass, abs=1e-6)
    mean = sum(place * mass for place, mass in atoms) + integral(lambda lam: lam)
    assert mean == pytest.approx(q2 + s3 * b * (q1 + s2 * q0 * a), abs=1e-5)


@pytest.mark.parametrize(("a", "b"), [(0.3, 0.6), (0.8, 0.5), (0.9, 0.85)])
def test_three_layers_of_matrices(a, b):
    n = 400
    q0, q1, q2 = 0.5, 1.5, 2.0
    s2, s3 = 1.2, 0.8
    draws = np.random.default_rng(0)
    W2, W3 = ortho_group.rvs(n, size=2, random_state=draws)
    on = [np.arange(n) < share * n for share in (a, b)]
    H = q1 * np.eye(n) + s2 * q0 * (W2 * on[0]) @ W2.T
    H = q2 * np.eye(n) + s3 * (W3 * on[1]) @ H @ (W3 * on[1]).T
    values = np.linalg.eigvalsh(H)
    law = three_layer_law(a, b, (q0, q1, q2), (s2, s3))
    for place, mass in law.atoms:
        assert np.mean(np.abs(values - place) < 1e-9) == pytest.approx(mass, abs=2 / n)
    left, right = law.interval
    inside = [v for v in values if all(abs(v - place) > 1e-9 for place, _ in law.atoms)]
    assert min(inside) > left - 0.02 and max(inside) < right + 0.02  # edges fluctuate by n^(-2/3) = 0.018
    middle = (left + right) / 2
    share = quad(law.density, left, middle, limit=500)[0]
    assert np.sum(np.asarray(inside) < middle) / n == pytest.approx(share, abs=0.01)  # O(1/n) in each half


def simulated(activation, q, depth, seed, n=300):
    """The spectrum of H_L of matrices, with slopes at the quantiles of their law."""
    phi = get(activation)
    law = DerivativeLaw.of(phi, q)
    weight_var, q_hat = 1 / law.moment(1), float(phi.second_moment(q))
    slopes = np.asarray(phi.slope(np.sqrt(q) * ndtri((np.arange(n) + 0.5) / n)))
    draws = np.random.default_rng(seed)
    H = q_hat * np.eye(n)
    for _ in range(depth - 1):
        W = ortho_group.rvs(n, random_state=draws) * slopes
        H = q_hat * np.eye(n) + weight_var * W @ H @ W.T
    return np.linalg.eigvalsh(H)


@pytest.mark.parametrize(
    ("activation", "q", "depth"),
    [("hardtanh", 0.12, 8), ("hardtanh", 0.3, 8), ("hardtanh", 0.3, 24), ("tanh", 0.05, 4), ("tanh", 0.8, 6),
     ("relu", 1.0, 5)],
)  # fmt: skip
def test_top_of_the_spectrum(activation, q, depth):
    values = np.array([simulated(activation, q, depth, seed) for seed in range(3)])
    lambda_max, atom_mass = isometric_lambda_max(activation, q, depth)
    assert values[:, -1].mean() == pytest.approx(lambda_max, rel=0.03)  # an edge moves by n^(-2/3) = 0.022
    assert np.mean(values > lambda_max * (1 - 1e-9)) == pytest.approx(
        atom_mass, abs=2 * depth / 300
    )  # two units a layer, at most


def test_hard_tanh_in_closed_form():
    q, p = 0.12, DerivativeLaw.of("hardtanh", 0.12).weights[-1]
    for depth in (1, 2, 16):
        lambda_max, atom_mass = isometric_lambda_max("hardtanh", q, depth)
        growth = sum(p**-k for k in range(depth))
        assert lambda_max == pytest.approx(float(get("hardtanh").second_moment(q)) * growth, rel=1e-12)
        assert atom_mass == pytest.approx(1 - (depth - 1) * (1 - p), rel=1e-12)


def test_continuous_where_the_atom_disappears():
    """At (L - 1)(1 - p) = 1 the atom's place and the edge meet."""
    law = DerivativeLaw.bernoulli(0.75)
    q = float(1 / ndtri((1 + 0.75) / 2) ** 2)  # P(|h| < 1) = 3/4
    assert DerivativeLaw.of("hardtanh", q).weights[-1] == pytest.approx(law.weights[-1])
    places = [isometric_lambda_max("hardtanh", q * (1 + change), 5).lambda_max for change in (-1e-5, 1e-5)]
    assert places[0] == pytest.approx(places[1], rel=1e-3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: three_layer_law(1.2, 0.5), "alpha_1 = 1.2"),
        (lambda: three_layer_law(0.5, -0.1), "alpha_2 = -0.1"),
        (lambda: three_layer_law(0.5, 0.5, (1, 2)), "q_hat = "),
        (lambda: three_layer_law(0.5, 0.5, weight_vars=(1, 0)), "weight_vars = "),
        (lambda: isometric_lambda_max("tanh", 0, 3), "q = 0"),
        (lambda: isometric_lambda_max("tanh", 1, 0), "depth = 0"),
        (lambda: isometric_lambda_max("sigmoid", 0.1, 3), "bias variance of -"),
    ],
)
def test_what_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
