"""Training many networks as one program: updates beside torch's optimisers, values for each run, mini-batches."""

import numpy as np
import pytest
import torch
from deepdynamics._batched import SGD, Adam, distinct, mini_batches, per_run, run_seeds, threads
from deepdynamics.networks import generator
from hypothesis import given, settings
from hypothesis import strategies as st

F64 = torch.float64


@pytest.mark.parametrize(("ours", "theirs"), [(Adam, torch.optim.Adam), (SGD, torch.optim.SGD)])
@pytest.mark.parametrize("shape", [(3,), (3, 4), (3, 4, 5)])
# Both follow one formula; they differ in the order of its products, by some units in the last place a step.
@pytest.mark.parametrize(("dtype", "bound"), [(F64, 1e-13), (torch.float32, 5e-5)])
def test_updates_are_those_of_torch_run_by_run(ours, theirs, shape, dtype, bound):
    draw = generator(0)
    start = torch.randn(shape, generator=draw, dtype=F64).to(dtype)
    rates = [0.0, 0.01, 0.3]
    together = start.clone()
    update = ours(together, torch.tensor(rates, dtype=dtype))
    alone = [row.clone().requires_grad_() for row in start]
    descents = [theirs([row], lr=rate) for row, rate in zip(alone, rates, strict=True)]
    for step in range(60):
        # Gradients over many orders of magnitude: small ones are where ε matters.
        gradient = (torch.randn(shape, generator=draw, dtype=F64) * 10.0 ** (-(step % 12))).to(dtype)
        for row, own, descent in zip(alone, gradient, descents, strict=True):
            row.grad = own.clone()
            descent.step()
        update(gradient.clone())
    expected = torch.stack([row.detach() for row in alone])
    torch.testing.assert_close(together, expected, rtol=bound, atol=bound)
    assert torch.equal(together[0], start[0]) and not torch.equal(together[2], start[2])


def test_an_update_works_in_the_memory_of_its_parameter():
    """Also where that is a view in another order, as the first layer's of an ensemble."""
    memory = torch.zeros(5, 2, 3, dtype=F64)
    parameter, plain = memory.permute(1, 2, 0), torch.zeros(2, 3, 5, dtype=F64)
    gradient = torch.randn(2, 3, 5, generator=generator(1), dtype=F64)
    for each in (parameter, plain):
        Adam(each, torch.tensor([0.1, 0.2], dtype=F64))(gradient.clone())
    torch.testing.assert_close(parameter, plain, rtol=1e-14, atol=0)
    assert memory.abs().min() > 0


@pytest.mark.parametrize(
    "values", [[0.1, 0.2], (0.1, 0.2), np.array([0.1, 0.2]), torch.tensor([0.1, 0.2], dtype=F64), range(2)]
)
def test_a_value_for_each_run(values):
    found = per_run("rate", values, 2)
    assert found == list(values) and isinstance(found, list)
    with pytest.raises(ValueError, match="rate has 2 values: one value, or one for each of the 3 runs"):
        per_run("rate", values, 3)


@pytest.mark.parametrize("value", [0.1, np.float64(0.1), np.array(0.1), torch.tensor(0.1), "adam", None, torch.tanh])
def test_one_value_is_every_runs(value):
    found = per_run("rate", value, 3)
    assert len(found) == 3 and all(other == found[0] for other in found)


def test_one_seed_gives_independent_seeds_and_a_list_is_taken_as_it_is():
    assert run_seeds(3, 4) == run_seeds(np.int64(3), 4) == run_seeds(generator(3), 4)
    assert run_seeds(3, 4)[:2] == run_seeds(3, 2)
    assert len({*run_seeds(3, 50), *run_seeds(4, 50)}) == 100
    assert run_seeds([5, 5], 2) == run_seeds(np.array([5, 5]), 2) == [5, 5]
    numpys = np.random.default_rng(0)
    assert run_seeds(numpys, 2) != run_seeds(numpys, 2)
    with pytest.raises(ValueError, match="seed has 3 values"):
        run_seeds([1, 2, 3], 2)


@given(n=st.integers(1, 40), size=st.integers(1, 40), steps=st.integers(0, 30), seed=st.integers(0, 99))
@settings(max_examples=60)
def test_mini_batches_are_shuffled_epochs(n, size, steps, seed):
    size = min(n, size)
    batches = [*mini_batches(n, size, steps, [seed])]
    assert [len(batch) for batch in batches] == [size] * steps
    per_epoch = n // size
    for start in range(0, steps, per_epoch):
        used = torch.cat(batches[start : start + per_epoch]).tolist()
        assert len(set(used)) == len(used) and set(used) <= set(range(n))


def test_runs_with_equal_seeds_share_their_mini_batches():
    assert distinct([4, 9, 4]) == ([4, 9], [0, 1, 0])
    for both, one, other in zip(*(mini_batches(10, 3, 7, seeds) for seeds in ([4, 9, 4], [4], [9, 9])), strict=True):
        assert torch.equal(both, torch.stack((one, other, one)))
    used = torch.cat([*mini_batches(10, 5, 4, [0])])
    assert not torch.equal(used[:10], used[10:])  # another order in the second epoch


@pytest.mark.parametrize(("work", "used"), [(10**5, 1), (10**8, 2)])
def test_small_products_are_computed_on_one_thread_and_the_caller_keeps_his(work, used):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        with pytest.raises(RuntimeError), threads(work):
            assert torch.get_num_threads() == used
            raise RuntimeError
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
