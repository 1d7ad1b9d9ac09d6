"""Products of gradients at infinite width, beside those of networks and the statistics of independent inputs."""

import numpy as np
import pytest
import torch
from deepdynamics.fisher import dual, gradient_kernel, universal_statistics
from deepdynamics.networks import MLP


def test_independent_inputs_give_the_universal_statistics():
    X = np.sqrt(400) * np.eye(400)  # of mean square 1, and orthogonal
    kernel = gradient_kernel(X, (400, 400, 400, 2), "relu", 2.0, 0.1)
    law = universal_statistics("relu", 2.0, 0.1, 3, 400, 400, 2)
    assert kernel[0, 0] / 800 == pytest.approx(law.kappa_1, rel=0.01)  # up to the biases
    assert kernel[0, 1] / 800 == pytest.approx(law.kappa_2, rel=0.01)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_wide_networks_follow_it(activation):
    X = torch.randn(6, 20, generator=torch.Generator().manual_seed(0)) + 0.5
    widths = (20, 800, 800, 3)
    kernel = gradient_kernel(X, widths, activation, 1.5, 0.2)
    nets = [MLP(widths, activation, weight_var=1.5, bias_var=0.2, seed=seed) for seed in range(12)]
    found = np.mean([6 * dual(net, X)[k::3, k::3].numpy() for net in nets for k in range(3)], axis=0)
    assert np.linalg.norm(found - kernel) < 0.05 * np.linalg.norm(kernel)


def test_arguments_are_checked():
    with pytest.raises(ValueError, match="X of shape"):
        gradient_kernel(np.ones((3, 4)), (5, 6, 1), "relu", 2.0, 0.0)
    with pytest.raises(ValueError, match="widths"):
        gradient_kernel(np.ones((3, 4)), (4, 1), "relu", 2.0, 0.0)
