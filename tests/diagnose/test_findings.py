"""Each finding on a network with the fault planted, and silence where there is none."""

import dataclasses
import math

import pytest
import torch
from deepdynamics.diagnose import THRESHOLDS, diagnose
from deepdynamics.diagnose.examination import examined
from deepdynamics.diagnose.findings import findings, statistics
from deepdynamics.diagnose.report import Trend
from deepdynamics.experiments.every_lens import faults
from deepdynamics.experiments.every_lens.networks import CALIBRATION, FAULTS, TABLE, network, plant
from torch import nn

X, WANTED = faults.images()


def kinds(architecture, fault, **options):
    net = network(architecture, 0)
    inputs = plant(fault, net, X, 0)
    return {found.kind for found in examined(net, inputs, target=WANTED, parts=(), **options).findings}


@pytest.mark.parametrize("architecture", [*TABLE, *CALIBRATION])
def test_silence_on_healthy_networks(architecture):
    assert kinds(architecture, "none") == set()


@pytest.mark.parametrize(
    ("fault", "architecture", "expected"),
    [
        ("weights × 2", "perceptron, ReLU", {"signal", "gradient"}),
        ("weights / 2", "perceptron, tanh", {"signal", "gradient"}),
        ("weights / 2", "perceptron, logistic", {"gradient", "merging"}),
        ("dead layer", "perceptron, ReLU", {"dead units", "signal"}),
        ("dead layer", "transformer", {"dead units"}),
        ("missing skip", "residual, batch norm", {"missing skip"}),
        ("missing skip", "mixer", {"missing skip"}),
        ("saturated start", "perceptron, logistic", {"saturation", "gradient"}),
        ("large biases", "perceptron, tanh", {"saturation", "merging"}),
        ("no normalisation", "residual, batch norm", {"signal"}),
        ("unscaled inputs", "convolutions, ReLU", {"input scale"}),
        ("repeated inputs", "ConvNeXt", {"repeated inputs"}),
    ],
)
def test_planted_faults_are_found(fault, architecture, expected):
    assert kinds(architecture, fault) >= expected


def test_a_rate_is_held_against_the_bound():
    net = network("perceptron, tanh", 0)
    bound = diagnose(net, X, target=WANTED).rates.rate_batch
    low, high = (diagnose(net, X, target=WANTED, learning_rate=factor * bound) for factor in (1.9, 2.1))
    assert low.findings == () and [found.kind for found in high.findings] == ["learning rate"]
    assert high.findings[0].value == pytest.approx(2.1) and high.findings[0].error < 0.01
    assert high.trial.grew
    assert faults.growth_rate(net, X, WANTED, bound) > bound  # and there it does grow


def test_every_finding_has_words_a_number_and_a_chapter():
    report = diagnose(nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2)), torch.ones(3, 4))
    assert [found.kind for found in report.findings] == ["repeated inputs"]
    wide = dataclasses.replace(
        report, signal=Trend(9.0, 0.2, 5), gradient=Trend(-9.0, 0.2, 5), merging=Trend(-9.0, 0.1, 5)
    )
    found = {each.kind: each for each in findings(wide)}
    assert "grows by a factor of 8.1e+03" in found["signal"].text and "vanishes" in found["gradient"].text
    assert found["merging"].value == -9 and found["merging"].error == 0.1 and found["merging"].threshold == 4
    assert statistics(dataclasses.replace(wide, merging=Trend(9.0, 0.1, 5)))["merging"] == 0  # parting is no merging


def test_what_is_unknown_is_no_finding():
    report = diagnose(nn.Linear(3, 2), torch.eye(3))
    values = statistics(report)
    assert math.isnan(values["signal"]) and math.isnan(values["learning rate"]) and report.findings == ()
    assert set(values) == set(THRESHOLDS)


def test_chapters_and_sections_are_in_the_book():
    from pathlib import Path

    from deepdynamics.diagnose import findings as module

    book = Path(__file__).resolve().parents[2] / "book"
    source = Path(module.findings.__code__.co_filename).read_text("utf8")
    for chapter, section in (
        ("order-and-chaos", "oc-maps"),
        ("order-and-chaos", "oc-back"),
        ("order-and-chaos", "oc-trainability"),
        ("edge-of-chaos", "edge-logistic"),
        ("fisher-isometry", "fisher-isometry-online"),
        ("fisher-wide", "fisher-wide-rate"),
        ("other-architectures", "oa-residual"),
    ):
        (file,) = book.glob(f"*/{chapter}.md")
        assert f"({section})=" in file.read_text("utf8") and f'"{section}"' in source


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_planted_or_not_there(fault):
    for architecture in ("perceptron, ReLU", "residual, layer norm"):
        net = network(architecture, 1)
        before = [p.clone() for p in net.parameters()]
        inputs = plant(fault, net, X, 1)
        if inputs is None:
            assert (architecture, fault) in {
                ("perceptron, ReLU", "missing skip"),
                ("perceptron, ReLU", "no normalisation"),
                ("perceptron, ReLU", "saturated start"),
                ("residual, layer norm", "saturated start"),
            }
        elif fault in ("weights × 2", "weights / 2", "dead layer", "large biases"):
            assert any(not torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))


def test_a_weight_that_is_no_number_is_found_first_and_nothing_is_said_to_be_missing():
    torch.manual_seed(0)
    net = nn.Sequential(*[part for _ in range(4) for part in (nn.Linear(9, 9), nn.Tanh())], nn.Linear(9, 3))
    net[4].weight.data[0, 0] = math.nan
    report = diagnose(net, torch.randn(6, 9))
    first = report.findings[0]
    assert (first.kind, first.layer, first.value) == ("not finite", "4", 5.0)
    assert "5 of 9 layers" in first.text and "whose numbers are finite" in " ".join(report.notes)


class Reader(nn.Module):
    """Tokens, as torch starts it: its one step from embeddings of length 1 to a bounded state is no trend."""

    def __init__(self):
        super().__init__()
        self.embed, self.read, self.out = nn.Embedding(30, 16), nn.LSTM(16, 32, 2, batch_first=True), nn.Linear(32, 4)

    def forward(self, tokens):
        return self.out(self.read(self.embed(tokens))[0][:, -1])


def test_one_step_is_no_trend_and_steps_inside_an_operation_are_said_to_be_unseen():
    torch.manual_seed(0)
    report = diagnose(Reader(), torch.randint(30, (12, 7)))
    assert report.signal.layers == 1 and not report.findings
    assert any("lstm is one operation" in note for note in report.notes)


def test_mean_field_theory_is_asked_outside_branches_and_a_missing_target_is_said():
    torch.manual_seed(0)
    part = nn.TransformerEncoderLayer(16, 4, 32, dropout=0.0, norm_first=True, batch_first=True)
    net = nn.Sequential(nn.TransformerEncoder(part, 2, enable_nested_tensor=False), nn.Flatten(), nn.Linear(80, 4))
    report = diagnose(net.eval(), torch.randn(6, 5, 16))
    assert report.mean_field is None and any("outside branches" in note for note in report.notes)
    assert any("No target" in note for note in report.notes)
    assert not any(
        "No target" in note for note in diagnose(net, torch.randn(6, 5, 16), target=[0, 1, 2, 3, 0, 1]).notes
    )


class Excited(nn.Module):
    """Squeeze and excitation: a narrow ReLU layer of pooled means, of which most are dead, makes a gate."""

    def __init__(self):
        super().__init__()
        self.wide, self.squeeze, self.excite = nn.Conv2d(3, 16, 3, padding=1), nn.Linear(16, 8), nn.Linear(8, 16)
        with torch.no_grad():
            self.squeeze.bias.copy_(torch.tensor([-9.0] * 7 + [9.0]))

    def forward(self, x):
        y = torch.relu(self.wide(x))
        gate = torch.sigmoid(self.excite(torch.relu(self.squeeze(y.mean((2, 3))))))
        return (y * gate[:, :, None, None]).mean((2, 3))


def test_a_gate_with_one_value_is_no_dead_layer():
    torch.manual_seed(0)
    report = diagnose(Excited(), torch.randn(4, 3, 6, 6))
    (narrow,) = [layer for layer in report.layers if layer.role == "activation" and layer.units == 8]
    assert narrow.branch == "gate 1" and narrow.dead == 7 / 8 > THRESHOLDS["dead units"]
    assert "dead units" not in {found.kind for found in report.findings}


def test_batch_normalisation_that_has_seen_no_batch_is_said():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(288, 3)).eval()
    assert any("seen no batch" in note for note in diagnose(net, X).notes)
    with torch.no_grad():
        net.train()(X)
    assert not any("seen no batch" in note for note in diagnose(net.eval(), X).notes)
