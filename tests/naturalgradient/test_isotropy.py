"""The constants of Karakida and Osawa, against networks at finite width: they are exact there, but for single units."""

import pytest
import torch
from deepdynamics._parametergram import LayerJacobian
from deepdynamics.naturalgradient import blocks, isotropy, isotropy_defect
from deepdynamics.naturalgradient.steps import moves
from deepdynamics.networks import MLP
from torch import nn

SHARED = ("exact", "layerwise", "tridiagonal", "kfac")


def draw(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def network(depth, outputs=1, activation="relu", width=96):
    widths = (24, *[width] * (depth - 1), outputs)
    return MLP(widths, activation, weight_var=2.0, seed=0, dtype=torch.float64)


@pytest.mark.parametrize("kind", SHARED)
@pytest.mark.parametrize("depth", [3, 4, 6])
def test_isotropy_is_exact_at_finite_width(kind, depth):
    for outputs in (1, 3):
        assert isotropy_defect(network(depth, outputs), draw(8, 24), kind) < 1e-9


def test_constants():
    """L = 3, M = 96, N = 8; tridiagonal 2, 2, 3 at L = 4, 6, 7."""
    alpha = [isotropy(kind, 3, 96, 8, "tanh") for kind in (*SHARED, "unitwise")]
    assert alpha == [1, 3, 1, 17, 193]
    assert isotropy("unitwise", 3, 96, 8, "relu") == 97
    assert [isotropy("tridiagonal", depth, 96, 8, "relu") for depth in (1, 4, 6, 7)] == [1, 2, 2, 3]
    for depth in (2, 5, 8):
        with pytest.raises(ValueError, match="tridiagonal metric is singular"):
            isotropy("tridiagonal", depth, 96, 8, "relu")


def test_units():
    """tanh: 193 on the diagonal and nothing beside it, however saturated a unit is; ReLU: 97 up to the number of active
    units, within 4 standard deviations √(2M)/2; three outputs: not isotropic."""
    X, unit = draw(8, 24), torch.eye(8, dtype=torch.float64)
    response = sum(move.gain() for move in moves("unitwise", network(3, activation="tanh"), X, unit, 0.0))
    torch.testing.assert_close(response, 193 * unit, rtol=0, atol=1e-8)
    response = sum(move.gain() for move in moves("unitwise", network(3), X, unit, 0.0))
    assert (response - response.diag().diag()).abs().max() < 1e-8
    assert ((response.diag() - 97).abs() < 4 * (2 * 96) ** 0.5 / 2).all()
    assert isotropy_defect(network(3, activation="tanh"), X, "unitwise") < 1e-8
    assert isotropy_defect(network(3, 3, activation="tanh"), X, "unitwise") > 1


def test_active_units():
    assert isotropy("unitwise", 2, 10, 5, "leaky_relu") == isotropy("unitwise", 2, 10, 5, "gelu") == 11
    assert isotropy("unitwise", 2, 10, 5, nn.ReLU()) == 6
    for activation in ("tanh", "gaussian", "softplus", nn.CELU()):  # whose slopes underflow, at 19 to 750
        assert isotropy("unitwise", 2, 10, 5, activation) == 11
    for activation in ("hardtanh", "step", nn.ReLU6(), nn.Hardtanh(-100, 100), nn.Softshrink(3.5)):
        with pytest.raises(ValueError, match="depends on the variance"):
            isotropy("unitwise", 2, 10, 5, activation)


@pytest.mark.parametrize(("kind", "grams"), [("exact", 0), ("layerwise", 4), ("tridiagonal", 4), ("kfac", 0)])
def test_each_gram_matrix_is_made_once(kind, grams, monkeypatch):
    """And Jacobians not at all for "exact", once for the other kinds."""
    calls = {"layers": 0, "gram": 0}

    def counted(name, f):
        def count(*arguments):
            calls[name] += 1
            return f(*arguments)

        return count

    monkeypatch.setattr(blocks, "layer_jacobians", counted("layers", blocks.layer_jacobians))
    monkeypatch.setattr(LayerJacobian, "gram", counted("gram", LayerJacobian.gram))
    isotropy_defect(network(4), draw(8, 24), kind)
    assert calls == {"layers": int(kind != "exact"), "gram": grams}


def test_without_independent_rows_there_is_none():
    """More samples than units: the Gram matrix of a layer is singular."""
    assert isotropy_defect(network(3, width=4), draw(8, 24), "layerwise") > 0.5
    X = draw(4, 24)
    assert isotropy_defect(network(3), torch.cat([X, X]), "exact") == pytest.approx(0.5)  # half of a projection


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: isotropy("diagonal", 3, 96, 8, "relu"), "kind"),
        (lambda: isotropy("exact", 0, 96, 8, "relu"), "depth"),
        (lambda: isotropy("exact", 3, 0, 8, "relu"), "width"),
        (lambda: isotropy("exact", 3, 96, 0, "relu"), "samples"),
        (lambda: isotropy_defect(torch.tanh, draw(3, 24), "exact"), "model = "),
        (lambda: isotropy_defect(network(2), draw(3, 24), "tridiagonal"), "singular"),
        (lambda: isotropy_defect(nn.Conv2d(1, 1, 2), torch.ones(2, 1, 4, 4), "kfac"), "weight, bias are no weight"),
    ],
)
def test_what_is_refused(call, match):
    with pytest.raises(ValueError, match=match):
        call()
