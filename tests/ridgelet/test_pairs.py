"""Admissible pairs: Fourier transforms, constants, what is not admissible, and the truncation law."""

import math
import pickle

import numpy as np
import pytest
import torch
from deepdynamics import activations
from deepdynamics.ridgelet import AdmissiblePair, GaussianDerivative, admissibility_constant, truncation
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.special import erfc

NAMES = ("relu", "softplus", "step", "tanh", "sigmoid", "gaussian")
ROOT = math.sqrt(2 * math.pi)
TABLE = {  # K for m = 1 and m = 2
    "relu": (-2 * ROOT, -4 * math.pi**2),
    "step": (2 * ROOT, 4 * math.pi**2),
    "tanh": (5.8601851373, 59.9392349),
    "sigmoid": (1.4010017699, 20.4467391),
    "softplus": (-1.4010017699, -20.4467391),
    "gaussian": (2 * math.pi, 4 * math.pi**2.5),
}


def bell(z):
    return ROOT * np.exp(-(z**2) / 2)


@pytest.mark.parametrize("name", NAMES)
def test_constants_are_those_of_the_table(name):
    for m, expected in enumerate(TABLE[name], 1):
        sigma, rho, constant = AdmissiblePair.get(name, dimension=m)
        assert sigma is activations.get(name)
        assert constant == pytest.approx(expected, rel=1e-14 if name in ("relu", "step", "gaussian") else 2e-9)
        assert (rho.order, rho.sign) == {"relu": (4, 1), "softplus": (4, 1), "gaussian": (2, -1)}.get(name, (3, 1))


def test_constants_without_closed_form_against_another_quadrature():
    def smooth(z):
        return math.pi * z**2 / math.sinh(math.pi * z / 2) * math.exp(-(z**2) / 2)

    assert AdmissiblePair.get("tanh").constant == pytest.approx(2 * ROOT * quad(smooth, 0, 20)[0], rel=1e-13)
    for m in (1, 2):
        sigmoid, softplus = (AdmissiblePair.get(name, m).constant for name in ("sigmoid", "softplus"))
        assert softplus == pytest.approx(-sigmoid, rel=1e-13)
        # logistic(t) = (1 + tanh(t/2))/2: the constants of sigmoid at scale 2 s are those of tanh at scale s
        wide = AdmissiblePair.get("sigmoid", m, scale=2.0).constant
        assert wide == pytest.approx(2**m * AdmissiblePair.get("tanh", m).constant, rel=1e-13)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("scale", [1.0, 1.7])
def test_transforms_are_those_of_the_functions(name, scale):
    """∫ σ(t) ρ(t - u) dt has the transform σ̂ ρ̂*: by quadrature in t against quadrature in ζ."""
    pair = AdmissiblePair.get(name, scale=scale)
    for u in (-2.3, 0.0, 0.4, 1.5):
        t = np.linspace(0, 25, 40_001) * scale  # beyond 0 on both sides: the kink of relu, the jump of step
        halves = []
        for side in (1, -1):
            y = pair.sigma(side * np.where(t == 0, 1e-300, t)) * pair.rho(side * t - u)
            halves.append((y.sum() - (y[0] + y[-1]) / 2) * t[1])
        z = np.linspace(0, 12 / scale, 20_001)[1:]
        integrand = np.real(pair.sigma_hat(z) * np.conj(pair.rho_hat(z)) * np.exp(1j * u * z))
        at_zero = np.real(pair.sigma_hat(1e-9) * np.conj(pair.rho_hat(1e-9)))
        by_frequency = (integrand.sum() + (at_zero - integrand[-1]) / 2) * z[0] / math.pi
        assert sum(halves) == pytest.approx(by_frequency, abs=3e-7)


@pytest.mark.parametrize("order", range(7))
def test_gaussian_derivatives_and_their_transforms(order):
    rho = GaussianDerivative(order, 1.3, -1)
    t = np.linspace(-14, 14, 4001)
    for zeta in (-1.1, 0.0, 2.0):
        found = (rho(t) * np.exp(-1j * zeta * t)).sum() * (t[1] - t[0])
        assert found == pytest.approx(complex(rho.hat(zeta)), abs=1e-10)
    h = 1e-4
    slope = (rho(t + h) - rho(t - h)) / (2 * h)
    assert slope == pytest.approx(GaussianDerivative(order + 1, 1.3, -1)(t) / 1.3, abs=1e-5)
    assert rho(torch.tensor([0.5, 1.0])) == pytest.approx(rho([0.5, 1.0]))
    assert rho.hat(1e30) == 0


@given(scale=st.floats(0.05, 20))
def test_the_constants_of_scales(scale):
    for name, power in (("relu", 3), ("step", 2)):
        narrow, wide = AdmissiblePair.get(name), AdmissiblePair.get(name, scale=scale)
        assert wide.constant == pytest.approx(scale**power * narrow.constant, rel=1e-13)
    expected = 4 * math.pi * scale**3 / (1 + scale**2)
    assert AdmissiblePair.get("gaussian", scale=scale).constant == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("m", [1, 2, 3, 4])
@pytest.mark.parametrize("k", [0, 1, 2])
def test_the_family_of_the_source_is_admissible_and_not_normalised(m, k):
    found = admissibility_constant(lambda z: -1 / z**2, lambda z: z ** (m + 2 + 2 * k) * np.exp(-(z**2) / 2), m)
    assert found == pytest.approx(-((2 * math.pi) ** (m - 1)) * ROOT * math.prod(range(1, 2 * k, 2)), rel=1e-13)


def test_pairs_with_the_hilbert_transform():
    relu, gauss = (AdmissiblePair.get(name).sigma_hat for name in ("relu", "gaussian"))
    assert admissibility_constant(relu, lambda z: z**3 * bell(z)) == pytest.approx(-2 * math.pi, rel=1e-14)
    assert admissibility_constant(gauss, lambda z: z * bell(z)) == pytest.approx(2 * math.pi**1.5, rel=1e-14)
    for sigma_hat, power in ((relu, 3), (gauss, 1)):
        with pytest.raises(ValueError, match=r"dimension 2: .*\|ζ\|\^-1 at 0, where its integral diverges"):
            admissibility_constant(sigma_hat, lambda z, power=power: z**power * bell(z), 2)


def test_ordinary_frequency_gives_the_same_constant_without_a_factor():
    for m in (1, 2):
        pair = AdmissiblePair.get("tanh", m)

        def ordinary(xi, pair=pair, m=m):
            z = 2 * math.pi * xi
            return float(np.real(pair.sigma_hat(z) * np.conj(pair.rho_hat(z)))) / xi**m

        assert 2 * quad(ordinary, 1e-12, 3)[0] == pytest.approx(pair.constant, rel=1e-10)


def test_a_pair_of_ones_own():
    erf_hat = lambda z: -2j / z * np.exp(-(z**2) / 4)  # noqa: E731
    rho = GaussianDerivative(3)
    sigma, found, constant = AdmissiblePair("erf", rho, erf_hat, rho.hat)
    assert sigma is activations.get("erf") and found is rho
    assert constant == pytest.approx(2 * ROOT * 2 / 1.5, rel=1e-13)  # ∫ 2 |z| e^{-3z²/4} dz


@pytest.mark.parametrize(
    ("name", "m", "order", "why"),
    [
        ("relu", 1, 2, r"\|ζ\|\^-1 at 0, where its integral diverges"),
        ("step", 1, 1, r"\|ζ\|\^-1 at 0, where its integral diverges"),
        ("tanh", 1, 1, r"\|ζ\|\^-1 at 0, where its integral diverges"),
        ("relu", 2, 2, r"\|ζ\|\^-2 at 0, where its integral diverges"),
        ("gaussian", 1, 0, r"\|ζ\|\^-1 at 0, where its integral diverges"),
        ("step", 3, 3, r"dimension 3: .*\|ζ\|\^-1 at 0"),
        ("relu", 1, 3, "one of σ and ρ is even and the other odd"),
        ("sigmoid", 2, 4, "one of σ and ρ is even and the other odd"),
        ("relu", 1, -1, "order = -1"),
        ("relu", 1, 2.5, "order = 2.5"),
        ("relu", 0, None, "dimension = 0"),
        ("relu", 1.0, None, "dimension = 1.0"),
        ("gelu", 1, None, "activation = gelu: the Fourier transforms of relu, softplus"),
        ("unknown", 1, None, "unknown"),
    ],
)
def test_what_is_not_admissible_says_why(name, m, order, why):
    with pytest.raises(ValueError, match=why):
        AdmissiblePair.get(name, m, order=order)


def test_other_integrals_that_do_not_converge():
    one = lambda z: np.ones_like(z)  # noqa: E731
    with pytest.raises(ValueError, match="at infinity, where its integral diverges"):
        admissibility_constant(lambda z: z / (1 + z), one)
    with pytest.raises(ValueError, match="at 0, where its integral converges too slowly"):
        admissibility_constant(lambda z: z**0.1 * np.exp(-z), one)
    with pytest.raises(ValueError, match="transforms that are finite there"):
        admissibility_constant(lambda z: np.where(z > 1, np.nan, 1.0), one)
    with pytest.raises(ValueError, match=r"scale = 0\.0"):
        AdmissiblePair.get("relu", scale=0.0)
    with pytest.raises(ValueError, match="sign = 2"):
        GaussianDerivative(1, sign=2)


def test_modules_and_functions_that_have_a_name():
    for thing, name in ((torch.nn.Tanh(), "tanh"), (torch.relu, "relu"), (torch.nn.Softplus(), "softplus")):
        assert tuple(AdmissiblePair.get(thing)) == tuple(AdmissiblePair.get(name))

    def tanh(x):  # another function of that name
        return 2 * torch.tanh(x)

    with pytest.raises(ValueError, match="tanh"):
        AdmissiblePair.get(tanh)


U = np.linspace(0, 7, 57)
LAWS = [
    ("relu", 1, None, 1.0, lambda u: np.exp(-(u**2) / 2)),
    ("step", 1, None, 1.0, lambda u: np.exp(-(u**2) / 2)),
    ("relu", 1, 6, 1.0, lambda u: np.exp(-(u**2) / 2) * (1 + u**2 / 2)),
    ("relu", 1, None, 2.0, lambda u: np.exp(-2 * u**2)),
    ("gaussian", 1, None, 1.0, lambda u: np.exp(-(u**2))),
    ("relu", 2, None, 1.0, lambda u: erfc(u / math.sqrt(2))),
    ("step", 2, None, 1.0, lambda u: erfc(u / math.sqrt(2))),
    ("gaussian", 2, None, 1.0, erfc),
]


@pytest.mark.parametrize(("name", "m", "order", "scale", "law"), LAWS)
def test_truncation_in_closed_form(name, m, order, scale, law):
    pair = AdmissiblePair.get(name, m, order=order, scale=scale)
    assert truncation(pair, U) == pytest.approx(law(U), abs=1e-14)
    assert truncation(pair, -U).tolist() == truncation(pair, U).tolist()


def test_truncation_of_tanh_by_another_quadrature():
    pair = AdmissiblePair.get("tanh")
    for u in (0.1, 1.0, 3.0):
        tail = quad(lambda z: math.pi * z**2 / math.sinh(math.pi * z / 2) * math.exp(-(z**2) / 2), u, 15)[0]
        assert truncation(pair, u) == pytest.approx(2 * ROOT * tail / pair.constant, rel=1e-11)
    assert truncation(pair, 2 * math.pi / 12) == pytest.approx(1 - 0.2077, abs=5e-5)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("m", [1, 2])
@pytest.mark.parametrize("more", [0, 2])
def test_order_of_convergence(name, m, more):
    default = AdmissiblePair.get(name, m)
    pair = AdmissiblePair.get(name, m, order=default.rho.order + more)
    u = np.array([0.02, 0.01])
    missing = 1 - truncation(pair, u)
    assert math.log2(missing[0] / missing[1]) == pytest.approx(2 + more + 1 - m, abs=0.02)
    assert np.asarray(truncation(pair, 0.0)).shape == () and truncation(pair, [[0.0]]).shape == (1, 1)
    with pytest.raises(ValueError, match="w_over_A"):
        truncation(pair, np.inf)
    assert truncation(pair, np.zeros(0)).shape == (0,)


def test_single_numbers_and_copies():
    rho = GaussianDerivative(3)
    assert rho(0.5) == pytest.approx(1.375 * math.exp(-0.125), rel=1e-14) and np.shape(rho(0.5)) == ()
    assert [float(GaussianDerivative(k)(0.0)) for k in range(5)] == [1, 0, -1, 0, 3]
    pair = pickle.loads(pickle.dumps(AdmissiblePair.get("tanh", scale=2.0)))
    assert pair.constant == AdmissiblePair.get("tanh", scale=2.0).constant and pair.sigma(0.5) == np.tanh(0.5)
