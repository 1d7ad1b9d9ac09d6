"""torchvision's classifiers as torch starts them: each is diagnosed, and every number is finite or said to be unknown.

torchvision is in no extra of this project; for torch's own build for processors,
`pip install torchvision --index-url https://download.pytorch.org/whl/cpu` brings the one that belongs to it.
"""

import math

import pytest
import torch
from deepdynamics.diagnose import diagnose

SIDES = {"inception_v3": 299, "vit_b_32": 224, "maxvit_t": 224}  # of the others 64
MODELS = (
    *("alexnet", "vgg11", "resnet18", "resnext50_32x4d", "densenet121", "googlenet", "inception_v3"),
    *("mobilenet_v3_small", "shufflenet_v2_x0_5", "mnasnet0_5", "squeezenet1_1", "efficientnet_b0", "regnet_y_400mf"),
    *("convnext_tiny", "swin_t", "vit_b_32", "maxvit_t"),
)


@pytest.mark.long
@pytest.mark.parametrize("name", MODELS)
def test_a_classifier(name):
    torchvision = pytest.importorskip("torchvision")
    options = {"init_weights": True} if name in ("googlenet", "inception_v3") else {}  # which have auxiliary outputs
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = torchvision.models.get_model(name, weights=None, **options).eval()
    side = SIDES.get(name, 64)
    X = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    report = diagnose(net, X, target=[0, 1])
    notes = " ".join(report.notes)
    assert len(report.layers) > 10 and "missing skip" not in {found.kind for found in report.findings}
    assert all(math.isfinite(layer.q) for layer in report.layers)
    assert report.spectrum is not None or "Jacobian" in notes
    assert report.rates is not None or "Fisher" in notes
    numbers = [report.spectrum and report.spectrum.values[0], report.rates and report.rates.rate_batch]
    assert all(number is None or math.isfinite(number) for number in numbers)
    assert str(report)
