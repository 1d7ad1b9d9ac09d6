"""What the chapter on wide networks reads off their spectra."""

import numpy as np
import pytest
import torch
from deepdynamics import fisher
from deepdynamics.experiments.fisher_wide.spectra import eigenvalues, exponent, gradients, inputs, lead, network


def test_gradients_have_the_dual_as_their_products():
    net, X = network(12, 3, seed=1), inputs(5, 12, seed=1)
    J = gradients(net, X)
    assert J.shape == (15, sum(p.numel() for p in net.parameters()))
    assert torch.allclose(J @ J.T / 5, fisher.dual(net, X), rtol=1e-4, atol=1e-5)


def test_largest_eigenvalues_are_the_first_of_all():
    matrix = fisher.dual(network(20, 2, seed=0), inputs(30, 20, seed=0))
    every = eigenvalues(matrix)
    assert len(every) == 60 and (np.diff(every) <= 0).all()
    assert np.allclose(eigenvalues(matrix, 3), every[:3], rtol=1e-10)


def test_exponents_of_powers():
    widths = np.array([50, 100, 400])
    assert exponent([3 * widths**0.5, widths**-1.0], widths) == pytest.approx([0.5, -1.0])


def test_lead_is_positive_only_after_the_widest_gap():
    spectrum = np.array([100.0, 90.0, 10.0, 9.0, 5.0])
    assert lead(spectrum, 2, among=4) == pytest.approx(np.log(9 / 1.8))
    assert lead(spectrum, 1, among=4) < 0 and lead(spectrum, 4, among=4) < 0
