"""The experiments on convolutional networks: controls, changes of pictures, stored results against each other."""

import numpy as np
import pytest
import torch
from deepdynamics import data, results
from deepdynamics.experiments.cnn_jacobian import gains as gain_runs
from deepdynamics.experiments.cnn_jacobian import imagenets, logits
from deepdynamics.experiments.cnn_jacobian import noise as noise_runs
from deepdynamics.experiments.cnn_jacobian import spectra as spectrum_runs

DATA = data.available("imagenet-samples") and data.available("squeezenet1_0")
needs_data = pytest.mark.skipif(not DATA, reason="no SqueezeNet or pictures")


def test_untrained_networks_keep_their_signals():
    """He's variance: the mean square of a state falls by less than a factor of ten on the whole way (fire modules have
    two kinds of convolution, so that it is not constant); other seeds are other networks.
    """
    net, other = imagenets.untrained(0), imagenets.untrained(1)
    x = torch.randn(3, 224, 224, generator=torch.Generator().manual_seed(0))
    before = imagenets.prefix(net, 1)(x).square().mean()
    after = imagenets.prefix(net, 9)(x).square().mean()
    assert 0.05 < after / before < 20
    assert not torch.equal(net.features[0].weight, other.features[0].weight)
    assert all(not p.any() for name, p in net.named_parameters() if name.endswith("bias"))
    torch.testing.assert_close(net(2 * x), 2 * net(x))  # homogeneous


def test_depths_are_layers():
    for name, depths in imagenets.DEPTHS.items():
        assert list(depths.values()) == sorted(depths.values()) and len(depths) == 5
        if name == imagenets.NETWORK:
            assert max(depths.values()) == len(imagenets.untrained(0).layers)
    with pytest.raises(ValueError, match="depth = 11"):
        imagenets.prefix(imagenets.untrained(0), 11)


def test_changes_of_a_picture():
    x = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(0))
    assert torch.equal(noise_runs.changed(x, "noise", 0.0, seed=1), x)
    one, two = (noise_runs.changed(x, "noise", level, seed=1) - x for level in (1.0, 2.0))
    torch.testing.assert_close(two, 2 * one)
    assert one.std().item() == pytest.approx(1, abs=0.1)
    pale = noise_runs.changed(x, "contrast", 1.0, seed=0)
    torch.testing.assert_close(pale.mean((1, 2)), x.mean((1, 2)))
    torch.testing.assert_close(pale.std((1, 2)), x.std((1, 2)) / 2)
    with pytest.raises(ValueError, match="change = 'blur'"):
        noise_runs.changed(x, "blur", 1.0, seed=0)


def stored(name):
    return results.load(f"cnn-jacobian.{name}")


def test_stored_results_are_complete():
    gains, noise, spectra = map(stored, ("gains", "noise", "spectra"))
    assert gains.gains.shape == (16, 2, 10, len(gain_runs.DIRECTIONS)) and np.isfinite(gains.gains).all()
    assert np.isfinite(gains.sums).all() and (gains.sums > 0).all()
    assert noise.accuracy.shape == (len(noise_runs.LEVELS), 64) and np.isfinite(noise.sums).all()
    assert set(spectra.depth.values) == set(imagenets.DEPTHS[imagenets.NETWORK]) and spectra.sizes["image"] >= 8
    s = np.nan_to_num(spectra.s.values)
    assert (np.diff(s, axis=-1) <= 1e-4 * s[..., :1]).all()
    assert spectra.run.sel(what="residual").max() <= spectrum_runs.TOLERANCE
    for name in ("gains", "logits", "noise", "pictures", "spectra"):
        assert {"machine", "date", "data"} <= set(results.load(f"cnn-jacobian.{name}").attrs)


def test_the_whole_spectra_of_the_logits_agree_with_the_triplets_and_with_the_sums():
    whole, spectra, gains = stored("logits").s, stored("spectra"), stored("gains")
    assert whole.shape == (16, len(logits.KINDS), 1000) and np.isfinite(whole).all()
    for kind in ("trained", "untrained"):
        triplets = spectra.s.sel(kind=kind, depth="logits").dropna("image", how="all")
        # residuals of 3e-4 s_1 bound the one, rounding of float32 (1e-7 s_1²/s_k) the other
        np.testing.assert_allclose(
            triplets, whole.sel(kind=kind, rank=spectra["rank"], image=triplets.image), rtol=1e-3
        )
        estimated = gains.sums.sel(kind=kind, layer=10, sum="squares")
        # four probes: √(2/(4 · participation)), some 15 % for one picture and 4 % for sixteen
        assert float((estimated / (whole.sel(kind=kind) ** 2).sum("rank")).mean()) == pytest.approx(1, abs=0.2)


def test_the_sums_agree_with_the_leading_values():
    """Σ_{i ≤ k} s_i⁴ is nearly all of Σ s⁴ at the logits, which four probes know to a factor of two for one picture."""
    gains, spectra = stored("gains"), stored("spectra")
    part = (spectra.s.sel(depth="logits") ** 4).sum("rank", min_count=1)
    whole = gains.sums.sel(layer=10, sum="fourths", image=spectra.image)
    ratio = (part / whole).median("image").values
    assert (ratio > 0.6).all() and (ratio < 1.5).all()


@needs_data
def test_a_noisy_cell_says_what_its_branch_computes():
    """Without noise a picture counts twice, among all and among the first; beyond those, noise is for accuracy."""
    assert set(noise_runs.cell(picture=3, level=0.0)) == {"accuracy", "clean", "sums"}
    assert set(noise_runs.cell(picture=40, level=0.4)) == {"accuracy"}
    assert set(noise_runs.cell(untrained_image=2, end=0.0)) == {"untrained"}
