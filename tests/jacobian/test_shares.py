"""How many singular values share the norm, and how much of a vector lies in a subspace."""

import pytest
import torch
from deepdynamics.jacobian import cumulative_shares, participation_ratio, share_inside
from deepdynamics.networks import generator, haar
from hypothesis import given
from hypothesis import strategies as st

F64 = torch.float64


@given(st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=20), st.floats(1e-6, 1e6))
def test_participation_lies_between_one_and_the_number_whatever_the_scale(values, scale):
    s = torch.tensor(values, dtype=F64)
    found = float(participation_ratio(s))
    assert 1 - 1e-12 <= found <= len(values) * (1 + 1e-12)
    assert float(participation_ratio(scale * s)) == pytest.approx(found, rel=1e-12)
    by_hand = sum(v**2 for v in values) ** 2 / sum(v**4 for v in values)
    assert found == pytest.approx(by_hand, rel=1e-12)


def test_share_of_a_random_subspace_is_its_dimension():
    t = torch.randn(50, 3, generator=generator(0), dtype=F64)
    found = torch.stack([share_inside(haar(50, 10, seed=i), t) for i in range(200)])
    # Beta(5, 20) each: deviation 0.08, mean of 200: 0.0056.
    assert (found.mean(0) - 0.2).abs().max() < 4 * 0.0056
    whole = haar(50, 50, seed=1)
    torch.testing.assert_close(share_inside(whole, t), torch.ones(3, dtype=F64))


def test_shares_add_up_and_leave_zero_columns_out():
    V, t = haar(9, 4, seed=0), torch.randn(9, 3, generator=generator(1), dtype=F64)
    found = cumulative_shares(V, t)
    torch.testing.assert_close(found[:, -1], share_inside(V, t), rtol=0, atol=0)
    torch.testing.assert_close(found[:, 0], (V[:, 0] @ t).square() / t.square().sum(0), rtol=1e-12, atol=0)
    padded = torch.cat((V, torch.zeros(9, 2, dtype=F64)), dim=1)
    assert torch.equal(share_inside(padded, t), share_inside(V, t))


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: participation_ratio(torch.zeros(3)), "s: finite singular values"),
        (lambda: participation_ratio(torch.tensor([1.0, -1.0])), "s: finite singular values"),
        (lambda: share_inside(torch.eye(3), torch.ones(2, 1)), "columns of one length"),
        (lambda: share_inside(torch.eye(3), torch.zeros(3, 1)), "1 of them are zero"),
        (lambda: share_inside(torch.ones(3, 2), torch.ones(3, 1)), "not orthonormal"),
    ],
)
def test_bad_spectra_and_subspaces(call, message):
    with pytest.raises(ValueError, match=message):
        call()
