"""Measures of generalisation against their sums written out."""

import pytest
import torch
from deepdynamics.landscapes import generalisation_measures


def test_path_norm_is_the_sum_over_all_paths():
    draw = torch.Generator().manual_seed(0)
    A, B = torch.randn(3, 2, generator=draw), torch.randn(4, 3, generator=draw)
    paths = sum(float(A[j, i] * B[k, j]) ** 2 for i in range(2) for j in range(3) for k in range(4))
    assert generalisation_measures([A, B], [A, B], 2.0)["path"] == pytest.approx(paths**0.5 / 2, rel=1e-5)
