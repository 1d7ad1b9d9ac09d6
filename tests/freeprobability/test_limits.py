"""Numbers and limits of the literature, moments for any (p, L), and what a law costs."""

import itertools
import math
import time

import numpy as np
import pytest
import torch
from deepdynamics.activations import get
from deepdynamics.freeprobability import (
    DerivativeLaw,
    JacobianSpectrum,
    freeness_defects,
    fuss_catalan_density,
    marchenko_pastur,
)
from deepdynamics.networks import generator
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import lambertw


@pytest.mark.parametrize(
    ("p", "depth", "weights", "edge"),
    [
        (0.5, 3, "orthogonal", 6.75),
        (0.5, 6, "orthogonal", 14.93),
        (0.9, 20, "orthogonal", 5.889),
        (0.5, 3, "gaussian", 16.46),
        (0.5, 6, "gaussian", 32.7),
        (0.9, 20, "gaussian", 61.6),
    ],
)
def test_edges_to_their_digits(p, depth, weights, edge):
    digits = len(str(edge).split(".")[1])
    assert round(JacobianSpectrum(depth, DerivativeLaw.bernoulli(p), weights).lambda_max, digits) == edge


@pytest.mark.parametrize(
    ("q", "variance"),
    [(1e-4, 1e-6), (1e-3, 1e-4), (0.01, 0.009), (0.05, 0.16), (0.15, 0.85), (0.4, 2.8), (1.0, 7.0), (2.5, 14.8)],
)
def test_spread_of_twelve_tanh_layers(q, variance):
    found = JacobianSpectrum(12, DerivativeLaw.of("tanh", q)).variance
    assert found == pytest.approx(variance, rel=0.06)  # one or two digits are known


def test_spread_of_sixteen_hard_tanh_layers():
    spectrum = JacobianSpectrum(16, DerivativeLaw.of("hardtanh", 0.3))
    assert spectrum.variance == pytest.approx(1.1653, abs=5e-5)


@settings(max_examples=30, deadline=None)
@given(p=st.floats(0.05, 0.99), depth=st.integers(1, 200), weights=st.sampled_from(["orthogonal", "gaussian"]))
def test_moments_from_the_distribution(p, depth, weights):
    """E λ = ∫ (1 - F) and E λ² = 2 ∫ λ (1 - F), for any share of units and depth."""
    if depth == 1 and weights == "orthogonal":
        return
    spectrum = JacobianSpectrum(depth, DerivativeLaw.bernoulli(p), weights)
    places = sorted({0.0, *(x for x in spectrum.bulk if x > 0), spectrum.lambda_max})
    u, w = np.polynomial.legendre.leggauss(300)
    mean = square = 0.0
    for low, high in itertools.pairwise(places):
        share = ((1 + u) / 2) ** 8 if low == 0 else (1 - np.cos((1 + u) * math.pi / 2)) / 2  # powers at 0, and a root
        by_u = 4 * ((1 + u) / 2) ** 7 if low == 0 else math.pi / 4 * np.sin((1 + u) * math.pi / 2)
        lam = low + (high - low) * share
        above = (1 - spectrum.cdf(lam)) * by_u * w * (high - low)
        mean, square = mean + above.sum(), square + 2 * (lam * above).sum()
    assert mean == pytest.approx(1, rel=2e-5)
    assert square == pytest.approx(1 + spectrum.variance, rel=2e-4)


def test_one_layer_is_marchenko_pastur():
    """D W with a share p of units on has p N rows: Marchenko-Pastur's law of ratio 1/p, beside its atom."""
    p = 0.4
    spectrum = JacobianSpectrum(1, DerivativeLaw.bernoulli(p), "gaussian")
    lam = np.linspace(0.01, 1.1, 40) * spectrum.lambda_max
    # J Jᵀ has the eigenvalues of p N rows of N numbers of variance 1/(p N): those of XᵀX/rows, an atom of 1 - p apart
    np.testing.assert_allclose(spectrum.density(lam), marchenko_pastur(lam, 1 / p), rtol=1e-7, atol=1e-9)


def test_all_units_on():
    """p -> 1: one atom for orthogonal weights, Fuss-Catalan's law for Gaussian ones, to order L (1 - p)."""
    depth, lam = 3, np.array([0.05, 0.5, 2.0, 6.0])
    for rest in (1e-3, 1e-6):
        law = DerivativeLaw.bernoulli(1 - rest)
        np.testing.assert_allclose(
            JacobianSpectrum(depth, law).cdf([1 - 0.01, 1 + 0.01]), [0, 1], atol=4 * depth * rest
        )
        found = JacobianSpectrum(depth, law, "gaussian").density(lam)
        np.testing.assert_allclose(found, fuss_catalan_density(lam, depth), rtol=10 * depth * rest)


@pytest.mark.parametrize("spread", [0.25, 2.0])
def test_limit_of_deep_hard_tanh_networks(spread):
    """L (1/p - 1) = σ₀² fixed, L -> ∞: G = σ₀²/(σ₀² + W(-σ₀²/z))/z, an edge of e σ₀², an atom of 1 - σ₀² at e^{σ₀²}
    (Pennington, Schoenholz and Ganguli 2018, eqs. 30, 34, 35)."""
    lam = np.linspace(0.1, 0.9, 9) * math.e * spread
    by_depth = []
    for depth in (1000, 2000):
        spectrum = JacobianSpectrum(depth, DerivativeLaw.bernoulli(1 / (1 + spread / depth)))
        by_depth.append(spectrum.density(lam))
        assert spectrum.bulk[1] == pytest.approx(math.e * spread, rel=5 / depth)
        if spread < 1:
            place, mass = spectrum.atoms[-1]
            assert place == pytest.approx(math.exp(spread), rel=1 / depth)
            assert mass == pytest.approx(1 - spread, abs=1 / depth)
    # G has a cut along the W function's own; from above the axis -σ₀²/z is just above it
    branches = [spread / (spread + lambertw(-spread / lam, k)) / lam for k in (0, -1)]
    exact = np.max([np.abs(G.imag) for G in branches], axis=0) / math.pi
    np.testing.assert_allclose(2 * by_depth[1] - by_depth[0], exact, rtol=1e-4)  # the next term is linear in 1/L


@pytest.mark.parametrize(("law", "limit"), [("bernoulli", 0.5), ("tanh", 3.0)])
@pytest.mark.parametrize("depth", [3, 1000])
def test_four_hundred_points_are_cheap(law, limit, depth):
    """CPU time; some 0.02 and 0.6 s where nothing else runs."""
    d = DerivativeLaw.bernoulli(0.5) if law == "bernoulli" else DerivativeLaw.of(law, 0.5)
    spectrum = JacobianSpectrum(depth, d)
    lam = np.geomspace(1e-5, 0.999, 400) * spectrum.lambda_max
    best = math.inf
    for _ in range(3):
        start = time.process_time()
        spectrum.density(lam)
        best = min(best, time.process_time() - start)
    assert best < limit


def test_identity_weights_are_not_free():
    """W = 1: D_2² and W D_1² Wᵀ move together; with Haar weights all defects are below 2e-3 at N = 512."""
    n, tanh = 512, get("tanh")
    x = math.sqrt(0.8) * torch.randn(n, generator=generator(0), dtype=torch.float64)
    Q, R = torch.linalg.qr(torch.randn(n, n, generator=generator(1), dtype=torch.float64))
    defects = []
    for W in (Q * R.diagonal().sign(), torch.eye(n, dtype=torch.float64)):
        h = x
        D1 = torch.diag(tanh.slope(h) ** 2)
        # the second layer has inputs of the same size
        h = W @ tanh(h) * math.sqrt(0.8 / float((W @ tanh(h)).square().mean()))
        defects.append(freeness_defects([torch.diag(tanh.slope(h) ** 2), W @ D1 @ W.T]))
    free, bound = defects
    assert max(map(abs, free.values())) < 2e-3
    assert bound[0, 1] > 0.04 and bound[0, 1, 0, 1] > 4e-3
