"""Networks with given hidden units: the normal equations, exact recovery, units."""

import numpy as np
import pytest
from deepdynamics.ridgelet import fit_outputs

RNG = np.random.default_rng(0)
A, B, X = RNG.normal(size=(7, 2)), RNG.normal(size=7), RNG.normal(size=(200, 2))


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_a_network_of_these_units_is_found_again(activation):
    from deepdynamics import activations

    c, M = RNG.normal(size=(7, 3)), RNG.normal(size=(3, 3))
    y = activations.get(activation)(X @ A.T - B) @ c + np.c_[X, np.ones(200)] @ M
    network = fit_outputs(X, y, activation, A, B, penalty=1e-13)
    new = RNG.normal(size=(50, 2))
    exact = activations.get(activation)(new @ A.T - B) @ c + np.c_[new, np.ones(50)] @ M
    np.testing.assert_allclose(network(new), exact, atol=1e-5)


def test_least_squares():
    """Against numpy's, which has no penalty."""
    y = RNG.normal(size=(200, 2))
    design = np.c_[np.tanh(X @ A.T - B), X, np.ones(200)]
    best = design @ np.linalg.lstsq(design, y, rcond=None)[0]
    np.testing.assert_allclose(fit_outputs(X, y, "tanh", A, B, penalty=1e-14)(X), best, atol=1e-6)


def test_a_unit_that_is_off_everywhere():
    network = fit_outputs(X, X[:, 0], "relu", np.zeros((1, 2)), [1.0])
    np.testing.assert_allclose(network(X)[:, 0], X[:, 0], atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((X, X[:5], "relu", A, B), "y of shape"),
        ((X, X, "relu", A[:, :1], B), "a of shape"),
        ((X, X, "relu", A, B[:3]), "b of shape"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        fit_outputs(*arguments)
    with pytest.raises(ValueError, match="penalty = 0"):
        fit_outputs(X, X, "relu", A, B, penalty=0)
