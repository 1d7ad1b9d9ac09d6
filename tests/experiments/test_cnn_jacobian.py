"""The experiments on convolutional networks: controls, changes of pictures, stored results against each other."""

import numpy as np
import pytest
import torch
from deepdynamics import data, results
from deepdynamics.directions import band_noise
from deepdynamics.experiments.cnn_jacobian import bands, imagenets, logits, smallbands
from deepdynamics.experiments.cnn_jacobian import gains as gain_runs
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
    for name in ("bands", "gains", "logits", "noise", "pictures", "smallbands", "spectra", "values"):
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


def test_noise_is_grey_or_coloured():
    for colour in bands.COLOURS:
        noise = bands.noise((3, 16, 16), colour, 2, 4, 3, seed=0)
        torch.testing.assert_close(noise.flatten(1).norm(dim=1), torch.ones(3))
        spread = noise.std(1) if colour == "grey" else noise.mean(1)
        assert spread.abs().max() < 1e-6
        frequencies = torch.fft.fft2(noise).abs()
        assert frequencies[..., 0, 0].max() < 1e-5 and frequencies[..., 0, 3].min() > 1e-5
    with pytest.raises(ValueError, match="colour = 'red'"):
        bands.noise((3, 16, 16), "red", 2, 4, 1, seed=0)


def test_the_bands_agree_with_noise_in_three_independent_colours():
    """Which is a third grey and two thirds coloured, in the mean square; a draw of each band is not exact."""
    found, other = stored("bands"), stored("gains").gains
    assert found.gains.sizes["image"] == 32 and np.isfinite(found.gains).all()
    assert np.isfinite(found.sums).all(("sum",)).sum() == 16
    squares = (found.gains.sel(colour="grey") ** 2 + 2 * found.gains.sel(colour="coloured") ** 2) / 3
    together = other.sel(direction="8 to 16 cycles") ** 2
    ratio = squares.sel(band="8 to 16", image=other.image) / together
    assert float(ratio.sel(layer=9).mean()) == pytest.approx(1, abs=0.05)
    brightness = other.sel(direction="brightness") / found.gains.sel(colour="grey", band="0 to 0.5", image=other.image)
    np.testing.assert_allclose(brightness, 1, rtol=1e-2)


@needs_data
def test_shuffled_weights_are_the_trained_ones_in_another_order():
    net, trained = bands.shuffled(0), imagenets.trained()
    for mine, theirs in zip(net.parameters(), trained.parameters(), strict=True):
        assert torch.equal(mine.flatten().sort().values, theirs.flatten().sort().values)
    assert not torch.equal(net.features[0].weight, trained.features[0].weight)


@needs_data
def test_a_noisy_cell_says_what_its_branch_computes():
    """Without noise a picture counts twice, among all and among the first; beyond those, noise is for accuracy."""
    assert set(noise_runs.cell(picture=3, level=0.0)) == {"accuracy", "clean", "sums"}
    assert set(noise_runs.cell(picture=40, level=0.4)) == {"accuracy"}
    assert set(noise_runs.cell(untrained_image=2, end=0.0)) == {"untrained"}


def test_gains_of_bands_are_those_of_noise():
    """Against ten thousand draws of the band itself; all bands together are white noise."""
    J = torch.randn(5, 16 * 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = smallbands.band_gains(J, (16, 16))
    noise = band_noise((1, 16, 16), 2, 4, 10_000, seed=1).flatten(1).double()
    measured = ((noise @ J.T).square().sum(1).mean() / (J.square().sum() / 256)).sqrt()
    assert found[2] == pytest.approx(float(measured), rel=0.02)
    brightness = J.sum(1).norm() / 16 / (J.norm() / 16)
    assert found[0] == pytest.approx(float(brightness), rel=1e-9)
    assert stored("smallbands").log_gains.shape == (2, 20, 2, len(smallbands.BANDS))


def test_values_at_most_and_their_sums():
    """A squeeze of fire9 has 64 channels on 13 x 13 places; what is lost on the way does not come back; the sums of the
    fresh photographs are of the size of the others."""
    found, other = stored("values"), stored("gains").sums
    most = found.most
    assert most.shape == (32, 3, 10) and (most.diff("layer") <= 0).all() and (most <= 150_528).all()
    assert (most.sel(layer=9) <= 64 * 13 * 13).all() and (most.sel(layer=10) <= 1000).all()
    sums = found.sums.dropna("image", how="all")
    assert sums.shape == (16, 3, 2, 4) and np.isfinite(sums).all()
    participation = sums.sel(sum="squares") ** 2 / sums.sel(sum="fourths")
    assert (participation <= most.sel(image=sums.image, layer=sums.summed)).all()
    before = np.log(
        other.sel(kind="untrained", layer=9, sum="squares") ** 2 / other.sel(kind="untrained", layer=9, sum="fourths")
    )
    assert float(np.log(participation.sel(kind="untrained", summed=9)).mean() - before.mean()) == pytest.approx(
        0, abs=0.2
    )
