"""Spectra at linear width: closed laws, the recursion solved backwards, masses and moments, simulated kernels."""

import numpy as np
import pytest
import torch
from deepdynamics import activations
from deepdynamics.freeprobability import multiply_marchenko_pastur
from deepdynamics.freeprobability.laws import DerivativeLaw
from deepdynamics.ntk import conjugate_kernel_stieltjes, deep_ntk_stieltjes
from deepdynamics.ntk.spectra import _Equations, _stieltjes
from hypothesis import given
from hypothesis import strategies as st

LAW = (np.array([0.5, 1.0, 2.0]), np.array([0.3, 0.3, 0.4]))
BOTH = [conjugate_kernel_stieltjes, deep_ntk_stieltjes]


def tanh_moments():
    phi = activations.get("tanh")
    size = float(phi.second_moment(1.0))
    return size, float(phi.slope_moment(1.0, 2)) / size, float(phi.slope_moment(1.0, 1)) ** 2 / size


# Closed laws ---------------------------------------------------------------------------------------------------------
@given(
    st.floats(0.1, 3),
    st.floats(-3, 12),
    st.floats(-4, 1),
)
def test_one_layer_is_a_free_product_with_marchenko_pastur(ratio, real, height):
    z = real + 10**height * 1j
    b2 = tanh_moments()[2]
    expected = multiply_marchenko_pastur(1 - b2 + b2 * LAW[0], LAW[1], ratio, z)
    np.testing.assert_allclose(conjugate_kernel_stieltjes(z, [ratio], "tanh", LAW), expected, rtol=1e-8)


@given(st.lists(st.floats(0.1, 3), min_size=1, max_size=4), st.integers(0, 10**6))
def test_deeper_kernels_invert_an_explicit_map(ratios, seed):
    """With p = z/s of the first layer given, m_ν(p) is a sum, and z = p (1 - γ - γ p m_ν(p)) and m(z) = m_ν(p)/s follow
    layer by layer; p far from the support leads to z on the sheet of m."""
    draw = np.random.default_rng(seed)
    b2 = tanh_moments()[2]
    size = 2 * np.prod((1 + np.sqrt(ratios)) ** 2)
    p = 20 * size * np.exp(1j * draw.uniform(0.1, 3.0)) / b2 ** len(ratios)
    m = (LAW[1] / (1 - b2 + b2 * LAW[0] - p)).sum()
    for gamma in ratios:
        s = 1 - gamma - gamma * p * m
        z, m_z = p * s, m / s
        p, m = 1 - b2 + b2 * z, m_z / b2
    np.testing.assert_allclose(
        conjugate_kernel_stieltjes(z, ratios, "tanh", LAW), m_z, rtol=1e-7
    )  # m - (-1/z) is small


def test_linear_networks():
    """b = a = 1: the NTK of one layer on orthonormal inputs is X_1ᵀX_1 + 1, Marchenko and Pastur's law moved by 1."""
    z = np.array([-1.0, 0.0, 3.0 + 0.5j, 20.0])
    expected = multiply_marchenko_pastur([1.0], [1.0], 0.4, z - 1)
    np.testing.assert_allclose(deep_ntk_stieltjes(z, [0.4], "linear", ([1.0], [1.0])), expected, rtol=1e-9)


def test_without_a_linear_part_the_last_layer_sees_independent_inputs():
    even = lambda x: x**2 - 1  # noqa: E731    E φ'² / E φ² = 2, b = 0
    z = np.array([-1.0, 1.0 + 0.5j])
    one = multiply_marchenko_pastur([1.0], [1.0], 0.5, z)
    np.testing.assert_allclose(conjugate_kernel_stieltjes(z, [2.0, 0.5], even, LAW), one, rtol=1e-9)
    np.testing.assert_allclose(deep_ntk_stieltjes(z + 6, [2.0, 0.5], even, LAW), one, rtol=1e-9)  # r = 2 + 2²


def test_the_scale_of_the_activation_does_not_matter():
    for f in BOTH:
        one = f(-0.5, [0.5, 0.7], "erf", LAW)
        np.testing.assert_allclose(f(-0.5, [0.5, 0.7], lambda x: 3 * torch.special.erf(x), LAW), one, rtol=1e-8)


# Laws ----------------------------------------------------------------------------------------------------------------
@given(st.lists(st.floats(0.1, 3), min_size=1, max_size=3), st.floats(-3, 12), st.floats(-6, 1))
def test_transforms_of_laws(ratios, real, height):
    z = real + 10**height * 1j
    for f in BOTH:
        m = f(z, ratios, "tanh", LAW)
        assert m.imag > 0 and abs(m) <= 1 / z.imag
        np.testing.assert_allclose(f(np.conj(z), ratios, "tanh", LAW), np.conj(m), rtol=1e-12)


@pytest.mark.parametrize("ratios", [[0.5], [0.6, 1.5], [0.4, 0.8, 0.3]])
def test_moments(ratios):
    """From z = 1e3 e^{iφ} on a circle: -∮ z^k m dz/(2πi). m_1 = ∫x dμ_0 kept near 1 by b², and m_2 as in the recursion;
    of the NTK m_1 = r + Σ q_l m_1(X_lᵀX_l)."""
    _, a, b2 = tanh_moments()
    angle = (np.arange(64) + 0.5) * np.pi / 64  # the upper half; the lower is the conjugate
    z = 200 * np.exp(1j * angle)
    first, second = [LAW[0] @ LAW[1]], LAW[0] ** 2 @ LAW[1]
    for gamma in ratios:
        mean = 1 - b2 + b2 * first[-1]
        second = (1 - b2) ** 2 + 2 * (1 - b2) * b2 * first[-1] + b2**2 * second + gamma * mean**2
        first.append(mean)
    found = [-np.mean((z ** (k + 1) * conjugate_kernel_stieltjes(z, ratios, "tanh", LAW)).real) for k in (0, 1, 2)]
    np.testing.assert_allclose(found, [1, first[-1], second], rtol=1e-6)
    L = len(ratios)
    powers = np.arange(L, -1, -1)
    trace = (a ** powers[:-1] - b2 ** powers[:-1]).sum() + b2**powers @ first
    m = deep_ntk_stieltjes(z, ratios, "tanh", LAW)
    np.testing.assert_allclose([-np.mean((z ** (k + 1) * m).real) for k in (0, 1)], [1, trace], rtol=1e-6)


@pytest.mark.parametrize("f", BOTH)
def test_real_numbers_off_the_support(f):
    z = np.array([-3.0, -0.1, 60.0])
    np.testing.assert_allclose(f(z, [0.5, 0.3], "tanh", LAW), f(z + 1e-8j, [0.5, 0.3], "tanh", LAW), rtol=1e-6)
    assert f(-1.0, [0.5], "tanh", LAW).shape == () and f([[-1.0]], [0.5], "tanh", LAW).shape == (1, 1)
    with pytest.raises(ValueError, match="off the support"):
        f([-1.0, 1.6], [0.5, 0.3], "tanh", LAW)


def test_an_atom_is_on_the_support():
    with pytest.raises(ValueError, match="off the support"):
        conjugate_kernel_stieltjes(0.0, [2.0], "tanh", LAW)  # more samples than units: half of the spectrum is 0
    with pytest.raises(ValueError, match=r"z = \[1.\]"):
        deep_ntk_stieltjes(1.0, [2.0], "linear", ([1.0], [1.0]))
    density = conjugate_kernel_stieltjes(1e-6j, [2.0], "tanh", LAW) * -1e-6j
    assert density.real == pytest.approx(0.5, abs=1e-3)


def test_combinations_with_weights_of_ones_own():
    """q = (0, 1) is the conjugate kernel of one layer and q = (1, 0) the law of the input itself."""
    b2, law = tanh_moments()[2], DerivativeLaw(*LAW)
    z = np.array([1 + 0.5j, -0.3 + 0j])
    tiny = 1e-9  # of the layer that is left out
    found = _stieltjes(_Equations(np.array([0.5]), b2, np.array([1.0, tiny]), law), z)
    np.testing.assert_allclose(found, (LAW[1] / (LAW[0] - z[:, None])).sum(1), rtol=1e-6)


# Kernels of networks -------------------------------------------------------------------------------------------------
def spectra_of_a_network(n, d0, widths, seed):
    """Eigenvalues of X_0ᵀX_0, of the conjugate kernel and of the NTK, with tanh scaled to E φ² = 1."""
    draw = np.random.default_rng(seed)
    scale = tanh_moments()[0] ** -0.5
    X, weights, slopes = [draw.normal(size=(d0, n)) / d0**0.5], [], []
    for width in widths:
        weights.append(draw.normal(size=(width, len(X[-1]))))
        h = weights[-1] @ X[-1]
        slopes.append(scale / np.cosh(h) ** 2 / width**0.5)
        X.append(scale * np.tanh(h) / width**0.5)
    w = draw.normal(size=widths[-1])
    w *= widths[-1] ** 0.5 / np.linalg.norm(w)  # its fluctuation would move the whole spectrum
    ntk, back = X[-1].T @ X[-1], w[:, None]
    for W, slope, below in zip(weights[::-1], slopes[::-1], X[-2::-1], strict=True):
        signal = slope * back  # ∂f/∂h, (width, n)
        ntk = ntk + (signal.T @ signal) * (below.T @ below)
        back = W.T @ signal
    return [np.linalg.eigvalsh(K) for K in (X[0].T @ X[0], X[-1].T @ X[-1], ntk)]


@pytest.mark.parametrize("widths", [(600,), (600, 300)])
def test_eigenvalues_of_simulated_kernels(widths):
    """At points off the real axis: within 4 standard errors over 4 seeds and 2 % for the width."""
    n, z = 400, np.array([-1.0, -0.3, 2 + 1j])
    runs = [spectra_of_a_network(n, 500, widths, seed) for seed in range(4)]
    law = np.concatenate([run[0] for run in runs])
    law = law, np.full(law.shape, 1 / law.size)
    for f, place in ((conjugate_kernel_stieltjes, 1), (deep_ntk_stieltjes, 2)):
        samples = np.array([(1 / (run[place][:, None] - z)).mean(0) for run in runs])
        expected = f(z, [n / width for width in widths], "tanh", law)
        error = 4 * samples.std(0, ddof=1) / len(runs) ** 0.5 + 0.02 * np.abs(expected)
        assert (np.abs(samples.mean(0) - expected) < error).all()


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"activation": "relu"}, "E φ = 0.398942"),
        ({"ratios": [0.5, 0.0]}, "ratios"),
        ({"ratios": []}, "ratios"),
        ({"input_law": ([1.0], [0.5])}, "input_law: weights"),
        ({"input_law": ([-1.0], [1.0])}, "input_law: points"),
        ({"input_law": ([1.0], ["all"])}, "input_law: weights of type"),
        ({"input_law": 1.0}, "input_law = 1.0"),
        ({"input_law": ([1.0], [0.5], [0.5])}, "input_law = "),
        ({"z": np.nan}, "z = .nan"),
    ],
)
def test_what_is_refused(change, match):
    arguments = {"z": -1.0, "ratios": [0.5], "activation": "tanh", "input_law": LAW}
    for f in BOTH:
        with pytest.raises(ValueError, match=match):
            f(**(arguments | change))
