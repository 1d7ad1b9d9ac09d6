"""The experiments on pretrained stacks: what their images are, what a row holds, what is stored."""

import numpy as np
import pytest
import torch
from deepdynamics import results
from deepdynamics.experiments.rbm_pretraining import finetuning, gallery, parts, variations
from deepdynamics.rbm import pretrain_stack


def test_images_of_one_variance_have_one_norm_and_stay_in_range():
    X, T, _ = variations.pictures("one variance")
    for images in (X, T):
        norms = images.square().sum(1)
        # float32, 784 terms
        torch.testing.assert_close(norms, norms[0].expand_as(norms), rtol=1e-5, atol=0)
        assert images.min() >= 0 and images.max() <= 1


def test_shuffled_images_keep_each_pixel_and_lose_the_correlations():
    X, _, _ = variations.pictures("base")
    shuffled, _, _ = variations.pictures("shuffled pixels")
    assert torch.equal(X.sort(0).values, shuffled.sort(0).values)
    middle = [400, 401, 428, 429]
    before, after = (np.abs(np.corrcoef(images[:, middle].numpy().T)[0, 1:]).max() for images in (X, shuffled))
    # Independent pixels: 5 standard errors.
    assert before > 0.3 and after < 5 / len(X) ** 0.5


def test_the_images_of_all_kinds_of_digits_are_as_many_as_the_recipe_says():
    X, T, provenance = variations.pictures("base")
    if provenance.real:
        assert len(X) == variations.SAMPLES and len(T) == variations.JUDGED
    assert X.shape[1] == T.shape[1] == 784


def test_what_is_measured_of_a_stack():
    draw = torch.Generator().manual_seed(0)
    X = torch.rand(200, 30, generator=draw)
    stack = pretrain_stack((30, 20, 20, 20, 20), X, seed=0, epochs=3, learning_rate=0.3, gain=4.0, weight_var=0.5)
    found = variations.measure(stack, X)
    assert list(found) == ["table", "leading", "reconstruction", "defect"]
    spectra = np.array(
        [torch.linalg.svdvals(torch.linalg.multi_dot(stack.factors(x)[::-1])).log10().numpy() for x in X[:16]]
    )
    np.testing.assert_allclose(found["leading"][:20], spectra.mean(0), rtol=1e-8)
    assert np.isnan(found["leading"][20:]).all()
    np.testing.assert_allclose(found["table"][0], (spectra > -1).sum(1).mean())
    np.testing.assert_allclose(found["table"][2], spectra[:, 9].mean(), rtol=1e-8)
    assert found["reconstruction"].shape == found["defect"].shape == (4,)
    # Below ten orders of magnitude the plain SVD agrees with the exact one to 1e-6 of the smallest.
    exact = variations.exact(stack, X[:2])
    np.testing.assert_allclose(exact[:, :5], spectra[:2, :5], atol=1e-6)


def test_hyperparameters_are_those_of_their_stack():
    assert finetuning.hyperparameters(3) == finetuning.hyperparameters(3) != finetuning.hyperparameters(4)
    drawn = [finetuning.hyperparameters(stack) for stack in finetuning.STACKS]
    assert {row["epochs"] for row in drawn} == {1, 2, 4}
    assert all(0.005 < row["learning_rate"] < 0.2 for row in drawn)


def test_stored_results_name_what_they_hold():
    table = results.load("rbm-pretraining.finetuning").table
    assert table.shape == (len(finetuning.STACKS), len(finetuning.QUANTITIES))
    drawn = finetuning.hyperparameters(5)
    assert float(table.sel(stack=5, quantity="learning_rate")) == pytest.approx(drawn["learning_rate"])
    found = results.load("rbm-pretraining.variations")
    kinds = list(variations.KINDS)
    assert found.table.shape == (len(kinds), len(variations.SEEDS), len(variations.QUANTITIES))
    assert list(found.kind.values) == kinds and found.attrs["seeds"] == list(variations.SEEDS)
    # Columns of the table against the curves they were read from.
    first = found.leading.sel(rank=1).values
    np.testing.assert_allclose(found.table.sel(quantity="first").values, first, rtol=1e-5)
    exact = found.exact.sel(exact_rank=1, kind=list(variations.EXACT)).mean("image")
    assert np.abs(exact - found.table.sel(kind=list(variations.EXACT), quantity="first").values).max() < 0.5
    assert np.isnan(found.exact.drop_sel(kind=list(variations.EXACT))).all()


# Parts ----------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small():
    X = torch.rand(200, 36, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    widths = (36, 20, 20, 20)
    return pretrain_stack(widths, X, seed=0, epochs=3, learning_rate=0.3, gain=2.0, weight_var=0.5), X


def test_slopes_and_weights_add_up_to_the_mean_logarithm(small):
    stack, X = small
    total = parts.log_slopes(stack, X).sum(0) + parts.log_weights(stack).sum()
    np.testing.assert_allclose(total, stack.mean_log_singular_values(X).numpy() / np.log(10), atol=1e-10)


def test_slopes_of_units_that_are_saturated_to_rounding(small):
    stack = small[0]
    # log f(1 - f) = -|u| for a large |u|, where 1 - f is 0 in floating point.
    logs = parts.log_slopes(stack, 1e4 * torch.ones(1, 36, dtype=torch.float64))
    assert np.isfinite(logs).all() and logs[0, 0] < -1000


def test_levelled_images_have_one_brightness_or_one_contrast():
    images = (
        0.4 + 0.2 * torch.rand(50, 64, generator=torch.Generator().manual_seed(0)) * torch.linspace(0.5, 1, 50)[:, None]
    )
    same = parts.one_brightness(images, 0.5)
    torch.testing.assert_close(parts.brightness(same), torch.full((50,), 0.5))
    torch.testing.assert_close(parts.contrast(same), parts.contrast(images))
    same = parts.one_contrast(images, 0.1)
    torch.testing.assert_close(parts.contrast(same), torch.full((50,), 0.1))
    torch.testing.assert_close(parts.brightness(same), parts.brightness(images))
    assert parts.one_contrast(images, 10.0).max() <= 1 and parts.one_brightness(images, 2.0).max() <= 1


def test_evenness_of_a_partial_isometry_and_of_a_random_matrix():
    draw = torch.Generator().manual_seed(0)
    basis = torch.linalg.qr(torch.randn(256, 20, generator=draw, dtype=torch.float64))[0]
    used, defect = parts.evenness(3 * basis @ basis.T)
    assert abs(used - 20) < 1e-9 and defect < 1e-9
    # Rows r, columns n: k = r/(1 + r/n), and a defect a little below that of all r, √(r/n).
    used, defect = parts.evenness(torch.randn(40, 256, generator=draw, dtype=torch.float64))
    assert abs(used - 40 / (1 + 40 / 256)) < 1.5 and 0.25 < defect < (40 / 256) ** 0.5
    like = parts.random_like(3 * basis @ basis.T, draw)
    assert like.shape[1] == 256 and abs(parts.evenness(like)[0] - 20) < 1


def test_the_gain_is_turned_in_a_copy(small):
    stack, X = small
    spectra = parts.spectra_at_gains(stack, X[:2], (1.0, 2.0))
    assert {machine.gain for machine in stack.machines} == {2.0}
    np.testing.assert_allclose(spectra[1][:, :8], variations.leading(stack, X[:2])[:, :8], atol=1e-6)
    assert np.nanmax(np.abs(spectra[0] - spectra[1])) > 0.1


def test_everything_is_measured_of_one_stack(small):
    stack, X = small
    found = parts.measure(stack, X, seed=0)
    assert set(found) == set(parts.DIMENSIONS)
    assert found["slopes"].shape == found["defect"].shape == (3,)
    assert ((found["explained"] >= 0) & (found["explained"] <= 1)).all()
    assert (np.diff(found["above"]) >= 0).all() and found["order_one"].shape == (len(parts.GAINS),)


def test_a_gallery_has_a_row_each(small):
    stack, X = small
    tiles = gallery.gallery(stack, X[:4].float(), steps=2)
    assert tiles.shape == (6 * len(gallery.ROWS), 6 * 4)
    assert tiles.min() >= 0 and tiles.max() <= 1
