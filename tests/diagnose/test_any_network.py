"""Every architecture of the zoo is diagnosed, with a sentence for what is not seen; torchvision's where it is there."""

import math

import architecture_zoo as zoo
import pytest
import torch
from deepdynamics.diagnose import diagnose
from deepdynamics.jacobian import singular_values

F32 = torch.float32


@pytest.mark.parametrize("name", zoo.ZOO)
def test_the_zoo(name):
    net, x = zoo.network(name, F32)
    X = torch.randn(3, *x.shape, generator=torch.Generator().manual_seed(1))
    report = diagnose(net, X)
    assert report.inputs == 3 and report.shape == tuple(x.shape)
    if name.startswith("torch.jit"):
        assert report.layers == () and any("compiled or scripted" in note for note in report.notes)
    else:
        assert len(report.layers) > 0 and all(layer.q >= 0 for layer in report.layers)
        known = [layer for layer in report.layers if math.isfinite(layer.gradient)]
        assert known, "no gradient was seen"
    if report.spectrum is not None:
        s = singular_values(net, X[0])
        values = torch.tensor(report.spectrum.values)
        scale = float(s[0])
        torch.testing.assert_close(values, s[: len(values)], rtol=0, atol=0.01 * scale)
    assert report.spectrum is not None or any("Jacobian" in note for note in report.notes)
    assert report.rates is not None or any("Fisher" in note for note in report.notes)
    assert str(report) and report._repr_html_().startswith("<div>") and len(report.to_frame()) == len(report.layers)


VISION = (
    *("alexnet", "vgg11_bn", "resnet18", "squeezenet1_1", "densenet121", "googlenet", "shufflenet_v2_x0_5"),
    *("mobilenet_v2", "mobilenet_v3_small", "mnasnet0_5", "efficientnet_b0", "regnet_y_400mf", "convnext_tiny"),
)


@pytest.mark.long
@pytest.mark.parametrize("name", VISION)
def test_torchvision(name):
    torchvision = pytest.importorskip("torchvision")
    options = {"init_weights": True} if name == "googlenet" else {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = getattr(torchvision.models, name)(weights=None, num_classes=10, **options).eval()
    X = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    report = diagnose(net, X)
    assert len(report.layers) > 10 and report.spectrum is not None and report.rates is not None
    assert "missing skip" not in {found.kind for found in report.findings}
