"""Runs on another device: the same random numbers, everything computed there, and nothing of the CPU's mistaken for it.

A GPU is asked where there is one; everywhere, `elsewhere`, a device that computes on the CPU and is as strict as one.
"""

import itertools

import elsewhere
import numpy as np
import pytest
import torch
from deepdynamics import data, experiments, networks, results
from deepdynamics.networks import draws
from deepdynamics.results.__main__ import main
from deepdynamics.results.devices import check_device, device_name, on_device
from torch import nn
from torch.nn import functional

KEY = "every-lens.healthy"
KEYS = [key for found in experiments.EXPERIMENTS.values() for key in found]
OF_NUMPY = {"expressivity.features"}  # its first check cell; its others train by fused Adam, for CPU and GPU only
PRODUCTS = {"mm", "addmm", "bmm", "baddbmm", "mv", "dot", "convolution", "_linalg_svd", "_linalg_eigh"}


@pytest.fixture
def there():
    with elsewhere.elsewhere() as machine:
        yield machine


def drawn():
    """Random numbers in every way in which the library draws them."""
    torch.manual_seed(0)
    draw = torch.Generator().manual_seed(3)
    yield torch.rand(5, generator=draw)
    yield torch.randn(3, 4, generator=draw).T
    yield torch.randperm(7, generator=draw)
    yield torch.randint(5, (3,), generator=draw)
    yield torch.bernoulli(torch.full((9,), 0.3), generator=draw)
    yield torch.multinomial(torch.ones(5), 3, generator=draw)
    yield torch.empty(4, 3).T.normal_(generator=draw)
    rows = torch.zeros(6, 5)
    rows[1:3].normal_(generator=draw)
    rows[:, ::2].uniform_(generator=draw)
    yield rows
    yield torch.rand_like(rows)
    yield functional.dropout(rows)
    yield draws.haar(4, 3, seed=draw)
    yield draws.gaussian((20,), seed=1, dtype=torch.float32)
    yield draws.delta_orthogonal_(torch.empty(4, 2, 3, 3), seed=2)
    yield from networks.MLP([3, 4, 2], "tanh", seed=draw).parameters()
    yield from nn.Conv2d(3, 4, 3).parameters()
    weight = nn.Linear(30, 4).weight
    weight.data = torch.randn(4, 30, generator=draw)
    yield weight


def test_random_numbers_are_those_of_the_cpu(there):
    """Bit for bit: they are drawn there; the CPU's generator has then gone as far."""
    expected, after = [each.detach() for each in drawn()], torch.rand(1)
    with on_device(elsewhere.NAME):
        found = list(drawn())
        last = torch.rand(1)
    assert all(isinstance(each, elsewhere.Elsewhere) for each in found)
    assert all(torch.equal(mine.detach().cpu(), own) for mine, own in zip(found, expected, strict=True))
    assert torch.equal(last.cpu(), after)


def trained():
    """Loss by step of a small network that learns from arrays of numpy, and its first weight afterwards."""
    rng = np.random.default_rng(0)
    X, y = torch.from_numpy(rng.normal(size=(64, 5))), torch.tensor(rng.normal(size=64))
    net = networks.MLP([5, 16, 1], "tanh", seed=1, dtype=torch.float64)
    descent, draw, losses = torch.optim.Adam(net.parameters(), lr=0.01), torch.Generator().manual_seed(2), []
    for rows in itertools.chain(*(torch.randperm(64, generator=draw).split(16) for _ in range(5))):
        loss = (net(X[rows])[:, 0] - y[rows]).square().mean()
        descent.zero_grad()
        loss.backward()
        descent.step()
        losses.append(loss.detach())
    return torch.stack(losses).numpy(), np.asarray(net.layers[0].weight.detach())


def test_training_is_computed_on_the_device(there):
    """With the CPU's numbers; on the CPU itself random numbers are drawn, data taken over, and nothing multiplied."""
    expected = trained()
    before = there.operations["cpu"].copy()
    with on_device(elsewhere.NAME):
        found = trained()
    for mine, own in zip(found, expected, strict=True):
        np.testing.assert_array_equal(mine, own)
    assert expected[0][-1] < expected[0][0]
    assert not PRODUCTS & set(there.operations["cpu"] - before)
    assert PRODUCTS & set(there.operations[elsewhere.NAME])


def test_attention_is_computed_on_the_device(there):
    """Though its fused kernels count as random operations, which are the CPU's."""
    queries = torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(0))
    expected, before = (
        functional.scaled_dot_product_attention(queries, queries, queries),
        there.operations["cpu"].copy(),
    )
    with on_device(elsewhere.NAME):
        at = queries.to(elsewhere.NAME)
        found = functional.scaled_dot_product_attention(at, at, at)
    assert not set(there.operations["cpu"] - before) - {"_to_copy", "copy_"}
    torch.testing.assert_close(found.cpu(), expected)


def test_operands_on_two_devices_meet_on_the_device(there):
    """And what an operation changes in place is changed where it is."""
    here = torch.arange(3.0)
    with on_device(elsewhere.NAME):
        both = torch.ones(3)
        assert torch.equal((here * both).cpu(), here) and (here * both).device.type == elsewhere.NAME
        here.add_(both)
        assert here.device.type == "cpu" and here.tolist() == [1, 2, 3]
        torch._foreach_add_([here, here.clone()], [both, both])
        assert here.tolist() == [2, 3, 4]
        torch.add(both, both.cpu(), out=here)
        assert here.tolist() == [2, 2, 2]
        here.add_(torch.tensor([0.0, 1, 2]))
        both.add_(here)
        assert both.tolist() == [3, 4, 5]


def test_without_it_the_device_is_as_strict_as_a_gpu(there):
    """So that the other tests could fail."""
    other = torch.ones(3, device=elsewhere.NAME)
    with pytest.raises(RuntimeError, match="same device"):
        other + torch.ones(3)
    with pytest.raises(RuntimeError, match="generator of the device"):
        other.normal_(generator=torch.Generator())
    with pytest.raises((RuntimeError, TypeError)):
        other.numpy()


def test_cpu_changes_nothing():
    with on_device("cpu"):
        assert not torch.overrides._get_current_function_mode_stack()
        assert not torch.utils._python_dispatch._get_current_dispatch_mode_stack()
    assert device_name("cpu") == "cpu"


@pytest.mark.parametrize("device", ["meta", "nonsense", "cuda:99"])
def test_absent_device_is_an_error(device, folder):
    """Before anything is computed."""
    with pytest.raises(ValueError, match=f"device = '{device}': torch cannot compute on it here"):
        check_device(device)
    with pytest.raises(ValueError, match=device):
        results.store(KEY, folder / "keep", device=device)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ntk", "--device", "nonsense"], "device = 'nonsense': torch cannot compute on it here"),
        (["verify", KEY, "--device", "cuda"], "verify takes no --device"),
    ],
)
def test_command_refuses_in_one_sentence(arguments, message, capsys):
    with pytest.raises(SystemExit):
        main(arguments)
    assert message in capsys.readouterr().err.splitlines()[-1]


@pytest.fixture
def stored_on(folder, monkeypatch):
    """The function that computes the check cells on a device as a run does, and loads what it stored."""
    experiment = experiments.experiment_of(KEY)
    monkeypatch.setattr(experiment, "grid", lambda scale: list(experiment.checks))

    def stored_on(device):
        results.store(KEY, folder / "keep", device=device)
        return results.load(KEY)

    return stored_on


def assert_agree(found, expected):
    tolerance = experiments.experiment_of(KEY).tolerance
    assert set(tolerance) <= set(found)
    for name, (relative, absolute) in tolerance.items():
        np.testing.assert_allclose(found[name], expected[name], relative, absolute)


def test_result_of_a_device_says_so_and_its_cells_are_kept_apart(there, folder, stored_on):
    own, found = stored_on("cpu"), stored_on(elsewhere.NAME)
    assert_agree(found, own)
    assert (own.attrs["device"], found.attrs["device"]) == ("cpu", elsewhere.NAME)
    assert [len(list(kept.iterdir())) for kept in (folder / "keep").iterdir()] == [2, 2]
    assert PRODUCTS & set(there.operations[elsewhere.NAME])


@pytest.mark.long
@pytest.mark.parametrize("key", KEYS)
def test_experiment_multiplies_on_the_device_first(key, there):
    """The first product of matrices of its first check cell is there, and before it the CPU has none."""
    experiment = experiments.experiment_of(key)
    if not all(data.available(name) for name in experiment.NEEDS):
        pytest.skip("its data are not here")
    there.last, reached = PRODUCTS, False
    try:
        with on_device(elsewhere.NAME):
            experiment.cell(**experiment.checks[0])
    except elsewhere.Reached:
        reached = True
    assert reached == (key not in OF_NUMPY)
    assert not PRODUCTS & set(there.operations["cpu"])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU of CUDA")
def test_gpu_stores_the_numbers_of_the_cpu(stored_on):
    own, found = stored_on("cpu"), stored_on("cuda")
    assert_agree(found, own)
    assert found.attrs["device"].startswith("cuda (")


@pytest.mark.long
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU of CUDA")
@pytest.mark.parametrize("key", KEYS)
def test_gpu_gives_the_stored_numbers(key):
    """Every check cell within its tolerance."""
    experiment = experiments.experiment_of(key)
    if not all(data.available(name) for name in experiment.NEEDS):
        pytest.skip("its data are not here")
    with on_device("cuda"):
        found = experiments.compared(experiment, results.load(key))
    assert found["of_tolerance"] <= 1, found["worst"]
