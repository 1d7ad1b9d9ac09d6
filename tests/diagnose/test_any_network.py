"""Every architecture of the zoo is diagnosed, with a sentence for what is not seen."""

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
