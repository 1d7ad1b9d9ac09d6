"""The data sets and pretrained networks: the right images in the right order, provenance, stand-ins."""

import hashlib
import os
from dataclasses import replace

import numpy as np
import pytest
import torch
from deepdynamics import data
from deepdynamics.data import CorruptData, DataMissing, Normalise, available, fetch, inventory, load, load_pretrained
from deepdynamics.data.registry import PUBLISHED
from made_data import DIGITS, LABELS, RECORDS, idx, tar, write_idx

REAL = os.environ.get("DEEPDYNAMICS_DATA")


# Formats


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
@pytest.mark.parametrize("split", ["train", "test"])
def test_idx_files(folder, name, split):
    images, labels, provenance = load(name, split)
    assert images.dtype == torch.float32 and labels.dtype == torch.int64
    assert np.array_equal(images.numpy(), DIGITS[:, None].astype(np.float32) / 255)
    assert labels.tolist() == list(range(7))
    assert (provenance.name, provenance.split, provenance.count) == (name, split, 7)
    assert provenance.source == "data directory" and provenance.real


def test_cifar_in_the_order_of_the_file_with_planes_red_green_blue(folder):
    images, labels, _ = load("cifar-100", "train")
    assert images.shape == (4, 3, 32, 32) and labels.tolist() == [90, 91, 92, 93]  # the fine labels
    for k in range(4):
        for channel in range(3):
            plane = RECORDS[k, 2 + 1024 * channel : 2 + 1024 * (channel + 1)].reshape(32, 32)
            assert np.array_equal(images[k, channel].numpy(), plane.astype(np.float32) / 255)


def test_pictures_are_resized_and_cut_to_the_centre(folder):
    images, labels, provenance = load("imagenet-samples", "test")
    assert images.shape == (2, 3, 224, 224) and labels.tolist() == [12, 999]
    assert images.min() >= 0 and images.max() <= 1
    # the edge between black and white is in the middle of each, whatever the picture's shape; JPEG and resizing blur it
    assert images[:, :, :, :105].max() < 0.05 and images[:, :, :, 119:].min() > 0.95
    assert "224" in provenance.note


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist", "cifar-100", "imagenet-samples"])
def test_the_first_n_and_flat(folder, name):
    every, first = load(name, "train"), load(name, "train", n=2, flatten=True)
    assert torch.equal(first.images, every.images[:2].flatten(1)) and torch.equal(first.labels, every.labels[:2])
    assert first.provenance == replace(every.provenance, count=2)
    with pytest.raises(ValueError, match=rf"n = 100: only {len(every.labels)} images are available"):
        load(name, "train", n=100)


def test_n_may_be_a_numpy_integer_and_the_images_are_the_callers_own(folder):
    images, _, _ = load("mnist", "train", n=np.int64(3))
    images += 1  # does not raise, and does not reach the next caller
    assert load("mnist", "train", n=3).images.max() <= 1


# Provenance


def test_the_hash_is_that_of_the_files(folder):
    file = folder / "cifar-100" / "cifar-100-binary.tar.gz"
    assert load("cifar-100", "test").provenance.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    before = load("mnist", "train").provenance.sha256
    write_idx(folder / "mnist", "train", labels=idx(LABELS[::-1]))
    assert load("mnist", "train").provenance.sha256 != before
    write_idx(folder / "mnist", "t10k", labels=idx(LABELS[::-1]))
    assert load("mnist", "train").provenance.sha256 == load("mnist", "test").provenance.sha256  # content, not names


def test_a_file_is_read_once_for_its_hash_as_long_as_it_stays(folder, monkeypatch):
    file = folder / "cifar-100" / "cifar-100-binary.tar.gz"
    read, original = [], hashlib.file_digest
    monkeypatch.setattr(fetch.hashlib, "file_digest", lambda stream, name: read.append(name) or original(stream, name))
    first = load("cifar-100", "train").provenance.sha256
    assert load("cifar-100", "test").provenance.sha256 == first and read == ["sha256"]
    file.write_bytes(tar({f"x/{split}.bin": RECORDS[:2].tobytes() for split in ("test", "train")}))
    assert load("cifar-100", "test").provenance.sha256 == hashlib.sha256(file.read_bytes()).hexdigest() != first
    assert read == ["sha256", "sha256"]


def test_provenance_is_one_line_names_no_place_and_shows_itself_in_a_notebook(folder):
    provenance = load("mnist", "train").provenance
    assert str(provenance) == f"mnist (train): 7 from the data directory, sha256 {provenance.sha256[:12]}"
    assert str(folder) not in repr(provenance) + provenance._repr_html_()
    assert str(provenance) in provenance._repr_html_()
    assert "&lt;b&gt;" in replace(provenance, note="<b>")._repr_html_()


# The stand-in, and what has none


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_digits_stand_in_visibly(nothing, name, capsys):
    images, labels, provenance = load(name, "train")
    printed = capsys.readouterr()
    assert printed.out.startswith(f"STAND-IN for {name} (train): 1,400 of scikit-learn's") and printed.err == ""
    assert provenance.source == "stand-in" and not provenance.real
    assert "STAND-IN" in provenance._repr_html_() and "STAND-IN" in str(provenance)
    assert images.shape == (1400, 1, 28, 28) and images.min() == 0 and images.max() == 1
    assert labels.unique().tolist() == list(range(10))
    test = load(name, "test", flatten=True)
    assert test.images.shape == (397, 784)
    with pytest.raises(ValueError, match=rf"n = 398: only 397 images are available in the stand-in for {name}"):
        load(name, "test", n=398)


def test_the_stand_in_keeps_the_mean_of_each_digit(nothing):
    """Bilinear enlargement by 3.5 keeps the mean up to the borders, where it weighs pixels differently."""
    from sklearn.datasets import load_digits

    small = load_digits().images[:50].mean(axis=(1, 2)) / 16
    assert np.corrcoef(small, load("mnist", "train", n=50).images.mean(dim=(1, 2, 3)))[0, 1] > 0.97


@pytest.mark.parametrize("name", ["cifar-100", "imagenet-samples"])
def test_the_others_need_data(nothing, name):
    with pytest.raises(
        FileNotFoundError, match=f"{name} needs data: python -m deepdynamics.data fetch {name} "
    ) as caught:
        load(name, "train")
    assert isinstance(caught.value, DataMissing)


@pytest.mark.parametrize("name", ["squeezenet1_0", "alexnet"])
def test_networks_need_data(nothing, name):
    with pytest.raises(DataMissing, match=f"{name} needs data: python -m deepdynamics.data fetch {name} "):
        load_pretrained(name)


def test_a_split_that_is_there_is_used_when_the_other_is_not(nothing, tmp_path, monkeypatch):
    monkeypatch.setenv("DEEPDYNAMICS_DATA", str(tmp_path))
    write_idx(tmp_path / "mnist", "train")
    assert load("mnist", "train").provenance.real and not load("mnist", "test").provenance.real
    assert not available("mnist") and inventory()["mnist"] == "absent"


def test_available_and_inventory(folder):
    assert [name for name in PUBLISHED if available(name)] == [
        "mnist",
        "fashion-mnist",
        "cifar-100",
        "imagenet-samples",
    ]
    found = inventory()
    assert found["squeezenet1_0"] == found["alexnet"] == "absent"
    size = sum(file.stat().st_size for file in (folder / "mnist").iterdir())
    assert found["mnist"] == f"data directory: 4 files, {size:,} bytes"
    assert found["imagenet-samples"].startswith("data directory: 3 files")
    write_idx(folder / "mnist", "train", images=idx(DIGITS[:3]), labels=idx(LABELS[:3]))
    assert inventory()["mnist"] != found["mnist"] and str(folder) not in str(found)


def test_a_folder_that_does_not_exist_is_an_empty_one(nothing, monkeypatch, tmp_path):
    monkeypatch.setenv("DEEPDYNAMICS_DATA", str(tmp_path / "nowhere"))
    assert not available("mnist") and not load("mnist", "train").provenance.real


# Bad arguments


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("emnist", "train"), "name = 'emnist': one of mnist, fashion-mnist, cifar-100, imagenet-samples"),
        (("mnist", "validation"), "split = 'validation': 'train' or 'test'"),
    ],
)
def test_bad_names(folder, arguments, message):
    with pytest.raises(ValueError, match=message):
        load(*arguments)


@pytest.mark.parametrize("n", [0, -1, 2.0, "3", True])
def test_bad_n(folder, n):
    with pytest.raises(ValueError, match=f"n = {n!r}: a whole number of images, at least 1"):
        load("mnist", "train", n=n)


def test_bad_names_elsewhere():
    with pytest.raises(ValueError, match="name = 'resnet': one of squeezenet1_0, alexnet"):
        load_pretrained("resnet")
    with pytest.raises(ValueError, match="name = 'emnist': one of mnist"):
        available("emnist")


# Pretrained networks


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """A data directory with a SqueezeNet of random weights, and the network they are from."""
    from deepdynamics import networks

    monkeypatch.setenv("DEEPDYNAMICS_DATA", str(tmp_path))
    torch_network = networks.squeezenet1_0()
    (tmp_path / "squeezenet1_0").mkdir()
    torch.save(torch_network.state_dict(), tmp_path / "squeezenet1_0" / "squeezenet1_0-other.pth")
    return tmp_path / "squeezenet1_0" / "squeezenet1_0-other.pth", torch_network


def test_pretrained_weights_normalisation_and_mode(weights):
    _, original = weights
    found = load_pretrained("squeezenet1_0")
    model, preprocessing = found
    assert not model.training
    for key, value in original.state_dict().items():
        assert torch.equal(model.state_dict()[key], value)
    x = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    by_hand = ((x.permute(0, 2, 3, 1) - mean) / deviation).permute(0, 3, 1, 2)
    assert torch.allclose(preprocessing(x), by_hand, atol=1e-6) and preprocessing(x[0]).shape == (3, 224, 224)
    assert preprocessing(x.double()).dtype == torch.float64
    assert "squeezenet1_0-other.pth" in str(found.provenance) and len(found.provenance.sha256) == 64


def test_preprocessing_wants_channels_first():
    with pytest.raises(ValueError, match=r"images of shape \(224, 224, 3\): \(…, 3, height, width\) is needed"):
        Normalise((0.5,) * 3, (0.5,) * 3)(torch.zeros(224, 224, 3))


class Code:
    """Unpickles by running code: what `weights_only` must not do."""

    def __reduce__(self):
        return (exec, ("raise SystemExit('code from a file of weights was run')",))


@pytest.mark.parametrize("kind", ["text", "truncated", "other network", "code", "missing key"])
def test_wrong_weights(weights, kind):
    file, original = weights
    state = original.state_dict()
    if kind == "text":
        file.write_bytes(b"<html>not found</html>")
    elif kind == "truncated":
        file.write_bytes(file.read_bytes()[:100_000])
    elif kind == "other network":
        torch.save({"features.0.weight": torch.zeros(64, 3, 11, 11)}, file)
    elif kind == "code":
        torch.save({"features.0.weight": Code()}, file)
    else:
        state.popitem()
        torch.save(state, file)
    before = file.read_bytes()
    with pytest.raises(CorruptData, match=r"squeezenet1_0-other\.pth does not hold the weights of squeezenet1_0"):
        load_pretrained("squeezenet1_0")
    assert file.read_bytes() == before


def test_normalise_takes_arrays_and_refuses_bytes():
    normalise = data.Normalise((0.5,), (0.25,))
    assert torch.equal(normalise(np.ones((1, 2, 2))), torch.full((1, 2, 2), 2.0, dtype=torch.float64))
    assert torch.equal(normalise([[[1.0, 0.5]]]), torch.tensor([[[2.0, 0.0]]]))
    for images in (np.ones((1, 2, 2), np.uint8), torch.ones(1, 2, 2, dtype=torch.int64)):
        with pytest.raises(ValueError, match=r"images of type torch\.\w+: floating-point values in \[0, 1\]"):
            normalise(images)


# Real data, where they are


@pytest.mark.skipif(not REAL, reason="DEEPDYNAMICS_DATA is not set")
@pytest.mark.parametrize(
    "name, counts, channels",
    [("mnist", (60_000, 10_000), 1), ("fashion-mnist", (60_000, 10_000), 1), ("cifar-100", (50_000, 10_000), 3)],
)
def test_real_data(name, counts, channels):
    if not available(name):
        pytest.skip(f"no {name} in DEEPDYNAMICS_DATA")
    for split, most in zip(("train", "test"), counts, strict=True):
        images, labels, provenance = load(name, split)
        assert 0 < len(images) == len(labels) == provenance.count <= most and images.shape[1] == channels
        assert images.min() == 0 and images.max() == 1
        classes = 100 if channels == 3 else 10
        counted = torch.bincount(labels, minlength=classes)
        assert len(counted) == classes and counted.min() > 0.5 * counted.float().mean()
        assert name != "mnist" or len(images) == most


@pytest.mark.skipif(not REAL or not available("mnist"), reason="no MNIST in DEEPDYNAMICS_DATA")
def test_real_mnist_is_the_original():
    """The md5 sums of the unpacked files, as published."""
    images, labels, _ = load("mnist", "test")
    content = idx((images[:, 0] * 255).round().to(torch.uint8).numpy()), idx(labels.numpy())
    assert [hashlib.md5(part).hexdigest() for part in content] == [
        "2646ac647ad5339dbf082846283269ea",
        "27ae3e4e09519cfbb04c329615203637",
    ]


@pytest.mark.skipif(
    not REAL or not available("squeezenet1_0") or not available("imagenet-samples"), reason="no SqueezeNet or pictures"
)
def test_the_real_network_recognises_the_pictures():
    """The first 16 are classified correctly by the weights in the data directory; other published weights get most."""
    images, labels, _ = load("imagenet-samples", "test", n=16)
    model, preprocessing = load_pretrained("squeezenet1_0")
    with torch.no_grad():
        right = (model(preprocessing(images)).argmax(1) == labels).sum()
    assert right >= 13
