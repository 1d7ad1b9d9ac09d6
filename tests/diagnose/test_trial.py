"""The trial of a learning rate: when it is made, what it decides, and what it leaves alone."""

import copy
import json
import math

import pytest
import torch
from deepdynamics.diagnose import THRESHOLDS, Trial, diagnose, rates
from deepdynamics.diagnose.findings import statistics
from deepdynamics.diagnose.rates import trial_at
from deepdynamics.experiments.every_lens import faults
from deepdynamics.experiments.every_lens.networks import network
from torch import nn
from torch.nn import functional

X, WANTED = faults.images()


def line(dtype=torch.float32):
    """A linear model whose error lies along the leading eigenvector: λ_max = 9, and the bound is 2/9."""
    net = nn.Linear(2, 1, bias=False, dtype=dtype)
    with torch.no_grad():
        net.weight.copy_(torch.tensor([[1.0, 0.0]]))
    return net, torch.tensor([[3.0, 0.0]], dtype=dtype), torch.zeros(1, 1, dtype=dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_quadratic_loss_grows_exactly_above_the_bound(dtype):
    net, x, wanted = line(dtype)
    # The error is multiplied by 1 − rate · 9 a step: by −0.98 and by −1.02.
    below, above = (trial_at(net, x, "mse", wanted, factor * 2 / 9, 1e9)[0] for factor in (0.99, 1.01))
    assert below == Trial(30, False) and above == Trial(1, True)
    report = diagnose(net, x, target=wanted, learning_rate=1.01 * 2 / 9)
    assert report.trial == above and report.findings == ()  # above the bound, and below the finding's threshold
    report = diagnose(net, x, target=wanted, learning_rate=2.02 * 2 / 9)
    (found,) = report.findings
    assert found.kind == "learning rate" and found.value == pytest.approx(2.02, rel=1e-4)
    assert (
        "exceeds its start at step 1" in found.text
        and "at step 1" in str(report)
        and "at step 1" in report._repr_html_()
    )


def test_below_the_bound_nothing_is_tried(monkeypatch):
    monkeypatch.setattr("deepdynamics.diagnose.examination.trial_at", lambda *_: pytest.fail("tried"))
    net, x, wanted = line()
    report = diagnose(net, x, target=wanted, learning_rate=0.99 * 2 / 9)
    assert report.trial is None and statistics(report)["learning rate"] == pytest.approx(0.99, rel=1e-4)
    assert diagnose(net, x, target=wanted).trial is None


def test_a_loud_network_catches_itself_and_is_no_finding():
    net = network("perceptron, GELU", 0)
    bound = diagnose(net, X, target=WANTED).rates.rate_batch
    calm = diagnose(net, X, target=WANTED, learning_rate=4 * bound)
    assert calm.trial == Trial(30, False) and calm.findings == () and statistics(calm)["learning rate"] == 0
    assert "does not grow in 30 steps" in str(calm)
    wild = diagnose(net, X, target=WANTED, learning_rate=64 * bound)
    assert wild.trial.grew and statistics(wild)["learning rate"] == pytest.approx(64)
    found = json.loads(json.dumps(wild.to_dict(), allow_nan=False))
    assert found["trial"] == {"steps": wild.trial.steps, "grew": True}


def test_it_is_the_descent_of_the_growth_rates():
    net = network("perceptron, tanh", 3)
    bound = diagnose(net, X, target=WANTED).rates.rate_batch
    grown = faults.growth_rate(net, X, WANTED, bound)
    either = [trial_at(net, X, "mse", WANTED, grown * 2**half, 1e9)[0].grew for half in (-0.25, 0.25)]
    assert either == [False, True]


def test_cross_entropy_is_that_of_classes():
    net, classes = network("perceptron, ReLU", 0), WANTED.argmax(1)
    bound = diagnose(net, X, target=classes).rates.rate_batch
    report = diagnose(net, X, target=classes, learning_rate=3 * bound)
    moving = copy.deepcopy(net)
    descent, losses = torch.optim.SGD(moving.parameters(), lr=3 * bound), []
    for _ in range(31):
        loss = functional.cross_entropy(moving(X), classes)
        descent.zero_grad()
        loss.backward()
        descent.step()
        losses.append(float(loss.detach()))
    grown = [step for step, loss in enumerate(losses) if loss > losses[0]]
    assert report.trial == (Trial(grown[0], True) if grown else Trial(30, False))


def test_without_a_target_the_bound_alone_decides_and_the_report_says_so():
    net, x, _ = line()
    report = diagnose(net, x, learning_rate=3 * 2 / 9)
    (found,) = report.findings
    assert report.trial is None and found.value == pytest.approx(3, rel=1e-4) and found.text.endswith("not tried")
    assert any("needs a target" in note for note in report.notes)
    assert report.to_dict()["trial"] is None


def test_a_loss_that_is_no_number_has_grown_and_one_that_begins_so_is_not_tried():
    net, x, wanted = line()
    assert trial_at(net, x, "mse", wanted, 1e38, 1e9)[0] == Trial(1, True)  # the square overflows
    net.weight.data.fill_(math.nan)
    tried, why = trial_at(net, x, "mse", wanted, 0.1, 1e9)
    assert tried is None and "not finite" in why


class Tied(nn.Module):
    """One matrix, used twice."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(6, 6), nn.Linear(6, 6)
        self.second.weight = self.first.weight
        self.norm, self.drop, self.still = nn.BatchNorm1d(6), nn.Dropout(0.5), nn.Parameter(torch.ones(6))
        self.still.requires_grad_(False)

    def forward(self, x):
        return self.second(torch.tanh(self.drop(self.norm(self.first(x))))) * self.still


def test_the_model_is_left_as_it_was_and_shared_parameters_stay_one():
    torch.manual_seed(0)
    net, x, wanted = Tied().eval(), torch.randn(8, 6), torch.randn(8, 6)
    before = copy.deepcopy(net.state_dict())
    tried, _ = trial_at(net, x, "mse", wanted, 0.3, 1e9)
    assert tried == trial_at(net, x, "mse", wanted, 0.3, 1.0)[0]  # one sample at a time
    after = net.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before) and not net.training
    assert not net.still.requires_grad and all(p.grad is None for p in net.parameters())
    # The same descent by torch's own optimiser, which knows a shared parameter once.
    moving = copy.deepcopy(net)
    moving.still.requires_grad_()
    descent, losses = torch.optim.SGD(moving.parameters(), lr=0.3), []
    for _ in range(31):
        loss = (moving(x) - wanted).square().sum(1).mean() / 2
        descent.zero_grad()
        loss.backward()
        descent.step()
        losses.append(float(loss.detach()))
    grown = [step for step, loss in enumerate(losses) if loss > losses[0]]
    assert tried == (Trial(grown[0], True) if grown else Trial(30, False))


def test_memory_bounds_the_block(monkeypatch):
    sizes = []
    step = rates.functional.cross_entropy

    def seen(outputs, *rest, **options):
        sizes.append(len(outputs))
        return step(outputs, *rest, **options)

    monkeypatch.setattr(rates.functional, "cross_entropy", seen)
    trial_at(network("perceptron, tanh", 0), X, "cross_entropy", WANTED.argmax(1), 1e-3, 20_000.0)
    assert max(sizes) < len(X)


def test_a_model_that_cannot_be_copied_is_not_tried():
    class Whole(nn.Linear):
        def __deepcopy__(self, memo):
            raise RuntimeError("no copy of this")

    net = Whole(2, 1, bias=False)
    report = diagnose(net, torch.tensor([[3.0, 0.0]]), target=torch.ones(1, 1), learning_rate=1.0)
    assert report.trial is None and any("no copy of this" in note for note in report.notes)
    assert report.findings[0].value > THRESHOLDS["learning rate"] and "not tried" in report.findings[0].text
