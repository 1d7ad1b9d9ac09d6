"""Singular values and vectors through the Gram matrix, against a dense SVD in float64, up to where they end."""

import math

import pytest
import torch
from deepdynamics.autoencoders import Autoencoders
from deepdynamics.jacobian import gram_singular_values, leading_vectors, right_singular
from deepdynamics.jacobian.gram import DETERMINED, determined, eigenpairs, roots
from deepdynamics.networks import generator, haar

F64 = torch.float64
SHAPES = [(30, 12), (12, 30), (12, 12), (1, 7), (7, 1), (3, 2, 6, 15), (3, 2, 15, 6)]


def draw(shape, seed=0, dtype=F64):
    return torch.randn(shape, generator=generator(seed), dtype=F64).to(dtype)


def matrix(shape, s, seed=0):
    """A matrix with the singular values ``s``, and its right singular vectors."""
    U, V = haar(shape[0], len(s), seed=seed), haar(shape[1], len(s), seed=seed + 1)
    return U * torch.tensor(s, dtype=F64) @ V.T, V


@pytest.mark.parametrize("dtype", [F64, torch.float32])
@pytest.mark.parametrize("shape", SHAPES)
def test_values_and_vectors_are_those_of_a_dense_svd(shape, dtype):
    J = draw(shape, dtype=dtype)
    _, exact, Vh = torch.linalg.svd(J.double(), full_matrices=False)
    k = len(exact[(0,) * (exact.ndim - 1)])
    s, V = leading_vectors(J, k)
    assert s.dtype == V.dtype == F64
    # Through the squares: 1e-16 (s_1/s)², and s_1/s is below 100 here but for square matrices.
    torch.testing.assert_close(s, exact, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(gram_singular_values(J), exact, rtol=1e-10, atol=1e-12)
    overlap = (V.mT @ Vh.mT).diagonal(dim1=-2, dim2=-1).abs()
    torch.testing.assert_close(overlap, torch.ones_like(overlap), rtol=0, atol=1e-9)
    gram = V.mT @ V
    torch.testing.assert_close(gram, torch.eye(k, dtype=F64).expand_as(gram), rtol=0, atol=1e-9)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_batch_is_each_alone_and_few_are_the_first_of_all(shape):
    J = draw(shape)
    s, V = leading_vectors(J, 1)
    whole, vectors = leading_vectors(J, min(shape[-2:]))
    assert torch.equal(s, whole[..., :1])
    torch.testing.assert_close(V, vectors[..., :1], rtol=0, atol=1e-15)
    for place in torch.cartesian_prod(*(torch.arange(n) for n in shape[:-2])).tolist() if len(shape) > 2 else []:
        one, alone = leading_vectors(J[tuple(place)], 1)
        torch.testing.assert_close(s[tuple(place)], one, rtol=1e-13, atol=0)
        torch.testing.assert_close(V[tuple(place)].abs(), alone.abs(), rtol=0, atol=1e-11)


@pytest.mark.parametrize("shape", [(9, 5), (5, 9), (5, 5)])
def test_equal_values_have_vectors_of_their_common_space(shape):
    J, V = matrix(shape, [2.0, 2.0, 2.0, 1.0, 1.0])
    s, found = leading_vectors(J, 5)
    torch.testing.assert_close(s, torch.tensor([2.0, 2.0, 2.0, 1.0, 1.0], dtype=F64), rtol=1e-14, atol=0)
    for part in (slice(3), slice(3, 5)):
        torch.testing.assert_close(found[:, part] @ found[:, part].T, V[:, part] @ V[:, part].T, rtol=0, atol=1e-13)


@pytest.mark.parametrize("shape", [(30, 12), (12, 30), (12, 12)])
def test_vectors_end_at_the_rank_and_values_are_rounding_there(shape):
    J, V = matrix(shape, [3.0, 2.0, 1.0])
    s, found = leading_vectors(J, 12)
    assert not found[:, 3:].any() and float(s[3:].max()) < 3e-8 * 3
    torch.testing.assert_close(found[:, :3] @ found[:, :3].T, V @ V.T, rtol=0, atol=1e-12)
    values, vectors = right_singular(J)
    assert torch.equal(values, s[:3]) and torch.equal(vectors, found[:, :3])


@pytest.mark.parametrize("shape", [(30, 12), (12, 30), (12, 12)])
def test_the_rule_has_one_threshold_on_both_sides(shape):
    """Just above it a vector is right to about 1e-16 (s_1/s)² = 1e-2, just below there is none."""
    for small, kept in ((1.5 * DETERMINED, 3), (0.6 * DETERMINED, 2)):
        J, V = matrix(shape, [1.0, 0.1, small])
        s, found = leading_vectors(J, 3)
        assert int(found.any(0).sum()) == kept == len(right_singular(J)[0])
        assert float(s[2]) == pytest.approx(small, rel=0.02)
        overlap = (found[:, :kept] * V[:, :kept]).sum(0).abs()
        torch.testing.assert_close(overlap, torch.ones_like(overlap), rtol=0, atol=0.02)


@pytest.mark.parametrize("shape", [(30, 12), (12, 30)])
def test_only_what_lies_above_the_cutoff_is_kept(shape):
    J, _ = matrix(shape, [5.0, 4.0, 3.0, 2.0, 1.0])
    s, V = right_singular(J)
    assert s.shape == (5,) and V.shape == (shape[1], 5)
    assert len(right_singular(J, cutoff=0.5)[0]) == 3


def test_zero_matrices_have_no_vectors():
    s, V = leading_vectors(torch.zeros(2, 3, 4), 2)
    assert not s.any() and not V.any()


def test_scale_only_scales_the_values():
    J = draw((4, 9))
    for power in (-400, 400):  # of two: squares stay in the range of float64
        s, V = leading_vectors(math.ldexp(1.0, power) * J, 4)
        torch.testing.assert_close(s / math.ldexp(1.0, power), leading_vectors(J, 4)[0], rtol=1e-13, atol=0)
        torch.testing.assert_close(V.abs(), leading_vectors(J, 4)[1].abs(), rtol=0, atol=1e-13)


def test_a_given_gram_matrix_is_that_of_the_product():
    J = draw((3, 5, 8))
    s, U = eigenpairs(J @ J.mT)
    assert torch.equal(s, leading_vectors(J, 5)[0])
    torch.testing.assert_close(roots(J @ J.mT), s, rtol=1e-12, atol=0)
    V = determined(J.mT @ U / s[..., None, :], s, s[..., :1])
    assert torch.equal(V, leading_vectors(J, 5)[1])


def test_autoencoders_follow_the_rule():
    """Their Gram matrix is W Wᵀ between slopes; the decomposition is that of the Jacobian."""
    nets, X = Autoencoders(2, 9, 5, seed=1, weight_var=4.0, dtype=F64), draw((7, 9)).sigmoid()
    _, s, V = nets.triplets(X, 5)
    for run in range(2):
        values, vectors = leading_vectors(nets.jacobians(X, run), 5)
        torch.testing.assert_close(s[run], values, rtol=1e-9, atol=0)
        torch.testing.assert_close(V[run].abs(), vectors.abs(), rtol=0, atol=1e-7)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: gram_singular_values(torch.ones(3)), r"J of shape \(3,\): finite real matrices"),
        (lambda: gram_singular_values(torch.tensor([[math.nan]])), "J of shape"),
        (lambda: gram_singular_values(torch.eye(2) * 1j), "finite real matrices"),
        (lambda: leading_vectors(torch.ones(2, 3), 3), "k = 3: 1 to 2"),
        (lambda: leading_vectors(torch.ones(3, 2), 0), "k = 0: 1 to 2"),
        (lambda: right_singular(torch.zeros(3, 2)), r"J of shape \(3, 2\): a finite matrix that is not"),
        (lambda: right_singular(torch.ones(3)), "a finite matrix"),
        (lambda: right_singular(torch.eye(2) * 1j), "finite real matrices"),
        (lambda: right_singular(torch.ones(2, 2), cutoff=1e-9), "cutoff = 1e-09: a number from 1e-07"),
    ],
)
def test_bad_matrices(call, message):
    with pytest.raises(ValueError, match=message):
        call()
