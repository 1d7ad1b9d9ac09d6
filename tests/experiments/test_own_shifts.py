"""The experiments on an image's own shifts beside another's: against autograd and a dense decomposition."""

import numpy as np
import pytest
import torch
from deepdynamics import data, jacobian, results
from deepdynamics.directions import known_tangents
from deepdynamics.experiments.cnn_jacobian import imagenets, small
from deepdynamics.experiments.contraction import photographs, smallnets


def test_gains_of_photographs_are_those_of_finite_differences(monkeypatch):
    draw = torch.Generator().manual_seed(0)
    x = torch.nn.functional.interpolate(torch.randn(64, 3, 16, 16, generator=draw), size=(64, 64), mode="bilinear")
    _, _, provenance = data.load("mnist", "test", n=1)
    some = imagenets.Pictures(x, torch.zeros(64, dtype=torch.long), provenance)
    monkeypatch.setattr(imagenets, "pictures", lambda network=imagenets.NETWORK: some)
    found = photographs.cell(image=40, kind="untrained")["gains"]
    placed = photographs.placed_gains(image=40, kind="untrained")
    assert found.shape == (2, 2, 4) and placed.shape == (2, 2)
    net = imagenets.untrained(40).double()
    try:
        for i, depth in enumerate((9, 10)):
            f = imagenets.prefix(net, depth)
            for j, of in enumerate((40, 8)):  # the photograph, and that 32 further on
                t = known_tangents(x[of])[1].double()
                t, h = t / t.norm(), 1e-7
                moved = (f(x[40].double() + h * t) - f(x[40].double() - h * t)).norm() / (2 * h)
                assert found[i, j, 1] == pytest.approx(float(moved), rel=1e-3)
            own, other = (known_tangents(x[[of]])[0, 1].double() for of in (40, 8))
            t, h = own.abs() * torch.where(other > 0, 1.0, -1.0), 1e-7
            moved = (f(x[40].double() + h * t) - f(x[40].double() - h * t)).norm() / (2 * h * own.norm())
            assert placed[i, 1] == pytest.approx(float(moved), rel=1e-3)
    finally:
        imagenets.untrained.cache_clear()  # the network is in double precision now


def test_small_networks_by_a_dense_decomposition(monkeypatch, tmp_path):
    monkeypatch.delenv("DEEPDYNAMICS_DATA", raising=False)
    monkeypatch.setenv("DEEPDYNAMICS_OFFLINE", "1")
    monkeypatch.setattr("pooch.os_cache", lambda name: tmp_path / name)
    small.pictures.cache_clear()
    try:
        images = small.pictures("mnist")
        found = smallnets.cell(data="mnist", network=1, state="untrained")["fit"]
        net, y = small.network_of("mnist", 1, trained=False), images.measured_y
        shares, logs = [], []
        for i, x in enumerate(images.measured):
            further = [(i + k) % len(y) for k in range(1, len(y))]
            other = next(j for j in further if y[j] != y[i])
            J = jacobian.jacobian(torch.nn.Sequential(*net.layers[:5]), x).double()
            V = torch.linalg.svd(J, full_matrices=False)[2][:10]
            t = known_tangents(images.measured[other].double())[2].flatten()  # an angle: no scale matters
            shares.append(float((V @ t).square().sum() / t.square().sum()))
            logs.append(float((J @ t).norm().log() - t.norm().log()))
        assert found.shape == (2, 2, 4)
        assert found[0, 1, 2] == pytest.approx(np.mean(shares), rel=1e-3)
        assert found[1, 1, 2] == pytest.approx(np.exp(np.mean(logs)), rel=1e-3)
    finally:
        small.pictures.cache_clear()


def test_what_is_stored_is_whole():
    gains, fit = results.load(photographs.KEY).gains, results.load(smallnets.KEY).fit
    assert gains.sizes["image"] == 64 and (gains > 0).all() and (fit > 0).all()
    assert (fit.sel(part="share") < 1).all()
