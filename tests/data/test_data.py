"""The data: every format from small made files, every way a file can be wrong, downloads from a local server."""

import contextlib
import gzip
import hashlib
import io
import os
import socket
import struct
import subprocess
import sys
import tarfile
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from deepdynamics import data
from deepdynamics.data import (
    CorruptData,
    DataMissing,
    Normalise,
    available,
    datasets,
    fetch,
    inventory,
    load,
    load_pretrained,
)
from deepdynamics.data.__main__ import main
from deepdynamics.data.fetch import download
from deepdynamics.data.registry import PUBLISHED, SAMPLES, RemoteFile
from PIL import Image

pytest_plugins = ("loopback",)

REAL = os.environ.get("DEEPDYNAMICS_DATA")
RNG = np.random.default_rng(0)


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


DIGITS = RNG.integers(0, 256, (7, 28, 28), dtype=np.uint8)
LABELS = np.arange(7, dtype=np.uint8)
RECORDS = np.concatenate(
    [np.arange(4)[:, None] % 20, 90 + np.arange(4)[:, None], RNG.integers(0, 256, (4, 3072))], axis=1
).astype(np.uint8)


def tar(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def jpeg(picture: np.ndarray, mode: str = "RGB") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).convert(mode).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def halves(height: int, width: int) -> np.ndarray:
    """Left half black, right half white."""
    picture = np.zeros((height, width, 3), np.uint8)
    picture[:, width // 2 :] = 255
    return picture


def write_idx(folder: Path, prefix: str, images: bytes = idx(DIGITS), labels: bytes = idx(LABELS)) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{prefix}-images-idx3-ubyte.gz").write_bytes(gzip.compress(images))
    (folder / f"{prefix}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(labels))


@pytest.fixture(autouse=True)
def empty_cache(tmp_path_factory, monkeypatch):
    cache = tmp_path_factory.mktemp("cache")
    monkeypatch.setattr(datasets, "cache_folder", lambda: cache)
    monkeypatch.setattr(datasets, "cache_folders", lambda: [cache])
    return cache


@pytest.fixture
def nothing(monkeypatch):
    monkeypatch.delenv("DEEPDYNAMICS_DATA", raising=False)
    monkeypatch.setenv("DEEPDYNAMICS_OFFLINE", "1")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A data directory with a small subset of everything."""
    monkeypatch.setenv("DEEPDYNAMICS_DATA", str(tmp_path))
    for name in ("mnist", "fashion-mnist"):
        for prefix in ("train", "t10k"):
            write_idx(tmp_path / name, prefix)
    (tmp_path / "cifar-100").mkdir()
    members = {f"cifar-100-binary/{split}.bin": RECORDS.tobytes() for split in ("test", "train")}
    (tmp_path / "cifar-100" / "cifar-100-binary.tar.gz").write_bytes(tar(members))
    samples = tmp_path / "imagenet-samples"
    samples.mkdir()
    (samples / "wide.JPEG").write_bytes(jpeg(halves(300, 700)))
    (samples / "grey.JPEG").write_bytes(jpeg(halves(400, 300), "L"))
    (samples / "labels.csv").write_text("file,class_index,class_name\nwide.JPEG,12,wide\ngrey.JPEG,999,grey\n")
    return tmp_path


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


# Wrong files: named, described, and left where they are


def spoiled(file: Path, content: bytes, name: str, split: str, message: str) -> None:
    file.write_bytes(content)
    with pytest.raises(CorruptData) as caught:
        load(name, split)
    assert str(file) in str(caught.value) and message in str(caught.value), caught.value
    assert file.read_bytes() == content


IMAGES = "train-images-idx3-ubyte.gz"
WHOLE = gzip.compress(idx(DIGITS))


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "is not an IDX file"),
        (b"<html>not found</html>", "is not a whole gzip file"),
        (WHOLE[: len(WHOLE) // 2], "is not a whole gzip file"),
        (WHOLE[:-4], "is not a whole gzip file"),
        (WHOLE[:200] + bytes([WHOLE[200] ^ 255]) + WHOLE[201:], "is not a whole gzip file"),
        (gzip.compress(b"abc"), "is not an IDX file"),
        (gzip.compress(idx(LABELS)), "is not an IDX file of unsigned bytes in 3 dimensions"),
        (gzip.compress(idx(DIGITS[:, :14])), "holds entries of shape (14, 28); (28, 28) is needed"),
        (gzip.compress(idx(DIGITS)[:-1]), "announces 7 entries of shape (28, 28) and holds 5487 bytes"),
        (gzip.compress(idx(DIGITS) + b"x"), "announces 7 entries of shape (28, 28) and holds 5489 bytes"),
        (gzip.compress(idx(DIGITS[:6])), "holds 6 images and train-labels-idx1-ubyte.gz 7 labels"),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{len(value)} bytes",
)
def test_wrong_idx_images(folder, content, message):
    spoiled(folder / "mnist" / IMAGES, content, "mnist", "train", message)


def test_wrong_idx_labels(folder):
    file = folder / "mnist" / "train-labels-idx1-ubyte.gz"
    spoiled(file, gzip.compress(idx(LABELS + 5)), "mnist", "train", "holds the label 11; labels run from 0 to 9")


def test_a_truncated_file_is_noticed_even_where_only_its_beginning_is_wanted(folder):
    (folder / "mnist" / IMAGES).write_bytes(WHOLE[:-100])
    with pytest.raises(CorruptData, match="not a whole gzip file"):
        load("mnist", "train", n=1)


CIFAR = tar({"cifar-100-binary/train.bin": RECORDS.tobytes(), "cifar-100-binary/test.bin": RECORDS.tobytes()})


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "is not a whole gzipped tar archive"),
        (b"not an archive", "is not a whole gzipped tar archive"),
        (CIFAR[: len(CIFAR) // 2], "is not a whole gzipped tar archive"),
        (CIFAR[:-20], "is not a whole gzipped tar archive"),
        (tar({"cifar-100-python/train": b"pickled"}), "holds no train.bin: not the binary version"),
        (
            tar({"a/train.bin": RECORDS.tobytes()[:-1], "a/test.bin": b""}),
            "train.bin has 12295 bytes, no multiple of 3074",
        ),
        (tar({"a/train.bin": b"", "a/test.bin": b""}), "train.bin has 0 bytes"),
        (tar({"a/train.bin": b"\xff" * 3074, "a/test.bin": b""}), "labels beyond 20 coarse and 100 fine"),
    ],
)
def test_wrong_cifar(folder, content, message):
    spoiled(folder / "cifar-100" / "cifar-100-binary.tar.gz", content, "cifar-100", "train", message)


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "is not a whole JPEG picture"),
        (b"GIF89a", "is not a whole JPEG picture"),
        (jpeg(halves(300, 700))[:-2000], "is not a whole JPEG picture"),
    ],
)
def test_wrong_pictures(folder, content, message):
    spoiled(folder / "imagenet-samples" / "wide.JPEG", content, "imagenet-samples", "test", message)


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "needs rows"),
        (b"picture,label\na.JPEG,1\n", "is not a table with columns file, class_index, class_name"),
        (b"file,class_index\nwide.JPEG,twelve\n", "is not a table with columns"),
        (b"file,class_index\nwide.JPEG,1000\n", "a class index from 0 to 999"),
        (b"file,class_index\n../wide.JPEG,1\n", "a file beside it"),
    ],
)
def test_wrong_tables(folder, content, message):
    spoiled(folder / "imagenet-samples" / "labels.csv", content, "imagenet-samples", "test", message)
    assert inventory()["imagenet-samples"].startswith("data directory")  # says what is there and does not read it


def test_a_picture_that_the_table_names_and_is_missing(folder):
    (folder / "imagenet-samples" / "wide.JPEG").unlink()
    with pytest.raises(CorruptData, match=r"wide\.JPEG is missing, and labels\.csv beside it names it"):
        load("imagenet-samples", "test")


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


# Downloads


@pytest.fixture
def online(monkeypatch, loopback):
    """No data directory, the network allowed, and MNIST published on this machine under two addresses."""
    monkeypatch.delenv("DEEPDYNAMICS_DATA", raising=False)
    monkeypatch.delenv("DEEPDYNAMICS_OFFLINE", raising=False)
    files = []
    for prefix in ("train", "t10k"):
        for kind, content in (("images-idx3", idx(DIGITS)), ("labels-idx1", idx(LABELS))):
            name = f"{prefix}-{kind}-ubyte.gz"
            packed = gzip.compress(content)
            digest = hashlib.md5(packed).hexdigest()
            addresses = tuple(f"{loopback.address}/{place}/{name}" for place in ("main", "mirror"))
            files.append(RemoteFile(f"mnist/{name}", f"md5:{digest}", addresses))
            loopback.files[f"/main/{name}"] = loopback.files[f"/mirror/{name}"] = packed
    monkeypatch.setattr(datasets, "PUBLISHED", {**PUBLISHED, "mnist": tuple(files)})
    return loopback


def leftovers(folder: Path) -> list[str]:
    """Files that are none of the data."""
    return [file.name for file in folder.rglob("*") if file.is_file() and not file.name.endswith((".gz", ".csv"))]


def test_a_first_call_downloads_and_the_second_finds_the_cache(online, empty_cache, capsys, monkeypatch):
    images, _, provenance = load("mnist", "train")
    assert np.array_equal(images.numpy(), DIGITS[:, None].astype(np.float32) / 255)
    assert provenance.source == "cache" and len(online.requests) == 4 and not leftovers(empty_cache)
    monkeypatch.setenv("DEEPDYNAMICS_OFFLINE", "1")
    assert load("mnist", "test").provenance.source == "cache" and len(online.requests) == 4
    assert capsys.readouterr().err == ""


def test_the_data_directory_comes_before_the_cache(online, folder, monkeypatch):
    assert load("mnist", "train").provenance.source == "data directory" and online.requests == []


def breaks(content):
    from loopback import breaks_off

    return breaks_off(content)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda content: content[: len(content) // 2],
        lambda content: b"<html>some portal's page</html>",
        lambda content: content[:-1] + b"x",
        breaks,
        lambda content: None,
    ],
    ids=["truncated", "another file", "one byte off", "broken off", "not found"],
)
def test_what_the_first_address_spoils_the_mirror_mends(online, empty_cache, spoil):
    for path in [path for path in online.files if path.startswith("/main/")]:
        online.files[path] = spoil(online.files[path])
    assert load("mnist", "train").provenance.real and not leftovers(empty_cache)
    assert "/mirror/train-images-idx3-ubyte.gz" in online.requests


def test_nothing_wrong_ever_reaches_the_cache(online, empty_cache):
    for path in online.files:
        online.files[path] = b"<html>some portal's page</html>"
    assert load("mnist", "train").provenance.source == "stand-in"
    assert not [file for file in empty_cache.rglob("*") if file.is_file()]


def test_a_file_in_the_cache_that_changed_is_named_and_stays(online, empty_cache):
    load("mnist", "train")
    file = empty_cache / "mnist" / IMAGES
    content = gzip.compress(idx(255 - DIGITS))
    file.write_bytes(content)
    with pytest.raises(CorruptData, match=r"train-images-idx3-ubyte\.gz is not the published file: its md5"):
        load("mnist", "train")
    assert file.read_bytes() == content and len(online.requests) == 4


def published(loopback, *contents, address=None) -> list[RemoteFile]:
    for k, content in enumerate(contents):
        loopback.files[f"/{k}"] = content
    bodies = [content if isinstance(content, bytes) else b"" for content in contents]
    return [
        RemoteFile(
            f"set/{k}", f"sha256:{hashlib.sha256(body).hexdigest()[:8]}", (f"{address or loopback.address}/{k}",)
        )
        for k, body in enumerate(bodies)
    ]


def test_download_reports_each_failure_and_keeps_the_rest(loopback, tmp_path):
    first, second, third = published(loopback, b"one", b"two", b"three")
    loopback.files["/1"] = b"TWO"
    assert download([first, replace(second), third], tmp_path) == {
        "set/1": f"{loopback.host} sent 3 bytes whose sha256 is wrong"
    }
    assert (tmp_path / "set" / "0").read_bytes() == b"one" and (tmp_path / "set" / "2").read_bytes() == b"three"
    loopback.files["/1"] = b"two"
    assert download([first, second, third], tmp_path) == {} and loopback.requests.count("/0") == 1


@pytest.mark.parametrize("kind", ["silent", "stalls", "drips"])
def test_a_server_that_sends_nothing_cannot_hold_the_download(loopback, tmp_path, kind):
    answer = {
        "silent": loopback.silent,
        "stalls": loopback.stalls_after(b"x" * 20_000),
        "drips": loopback.drips(b"x" * 50_000, 0.01),
    }[kind]
    files = published(loopback, answer, answer, answer)
    start = time.monotonic()
    failed = download(files, tmp_path, timeout=1.0)
    assert set(failed) == {"set/0", "set/1", "set/2"}
    assert time.monotonic() - start < 4  # three windows at most, whatever the number of files
    time.sleep(0.1)
    assert not leftovers(tmp_path)


def test_a_slow_but_living_download_is_not_cut_off(loopback, tmp_path):
    """Two seconds at 20 kB/s, with a time-out of half a second."""
    content = bytes(40_000)

    def answer(handler):
        from loopback import head

        head(handler, len(content))
        for k in range(0, len(content), 2000):
            handler.wfile.write(content[k : k + 2000])
            handler.wfile.flush()
            time.sleep(0.1)

    [file] = published(loopback, content)
    loopback.files["/0"] = answer
    assert download([file], tmp_path, timeout=0.5) == {}


def test_a_host_that_refuses_is_asked_once(loopback, tmp_path):
    loopback_files = published(loopback, b"a", b"b", b"c", address="http://127.0.0.1:1")
    start = time.monotonic()
    assert download(loopback_files, tmp_path, timeout=5.0) == dict.fromkeys(
        ("set/0", "set/1", "set/2"), "127.0.0.1:1 cannot be reached"
    )
    assert time.monotonic() - start < 2


def test_a_host_that_swallows_connections_cannot_hold_the_download(tmp_path):
    """A listener whose queue is full drops further connections silently, as a black-holed address does."""
    with contextlib.ExitStack() as open_sockets:
        listener = open_sockets.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            filler = open_sockets.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        files = [RemoteFile(f"set/{k}", "md5:00", (f"{address}/{k}",)) for k in range(5)]
        start = time.monotonic()
        failed = download(files, tmp_path, timeout=2.0)
        assert time.monotonic() - start < 3
    assert len(failed) == 5 and set(failed.values()) == {f"{address.removeprefix('http://')} cannot be reached"}


def test_name_servers_that_never_answer_cannot_hold_the_download(tmp_path, monkeypatch):
    """What no socket time-out covers: the look-up of a name, here for ever."""
    released = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: released.wait(30) and [])
    start = time.monotonic()
    files = [RemoteFile("set/0", "md5:00", ("http://data.example/0", "http://mirror.example/0"))]
    assert download(files, tmp_path, timeout=0.5) == {"set/0": "gave up after 0.5 s in which next to nothing arrived"}
    assert time.monotonic() - start < 2
    released.set()


def test_a_bad_timeout(tmp_path):
    with pytest.raises(ValueError, match="timeout = 0: a positive number"):
        download([], tmp_path, timeout=0)


def test_the_published_sums_are_well_formed():
    for name, files in PUBLISHED.items():
        for file in files:
            algorithm, digits = file.checksum.split(":")
            assert file.path.startswith(f"{name}/") and int(digits, 16) >= 0
            assert len(digits) == {"md5": 32, "sha256": 8 if name in data.PRETRAINED else 64}[algorithm]
            assert all(address.startswith("http") for address in file.addresses)
    assert [len(PUBLISHED[name]) for name in data.DATASETS] == [4, 4, 1, 64]


# The command


def run_fetch(capsys, *arguments: str) -> tuple[int, str]:
    code = main(["fetch", *arguments])
    printed = capsys.readouterr()
    assert printed.err == ""
    return code, printed.out


def test_fetch_downloads_what_is_missing_and_says_what_is_there(online, capsys):
    code, out = run_fetch(capsys, "mnist")
    assert code == 0 and out.startswith("mnist             cache: 4 files") and len(online.requests) == 4
    assert run_fetch(capsys, "mnist", "--strict") == (0, out) and len(online.requests) == 4


def test_fetch_without_success_is_no_failure_unless_strict(online, capsys):
    online.files.clear()
    code, out = run_fetch(capsys, "mnist")
    assert code == 0 and out.startswith(
        f"mnist             absent ({online.host} answered 404; {online.host} answered 404)"
    )
    assert run_fetch(capsys, "mnist", "--strict")[0] == 1


def test_fetch_of_everything_offline(nothing, capsys):
    code, out = run_fetch(capsys)
    assert code == 0 and out.count("absent (DEEPDYNAMICS_OFFLINE is set)") == 6


def test_fetch_says_when_the_data_directory_is_not_there(nothing, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("DEEPDYNAMICS_DATA", str(tmp_path / "nowhere"))
    assert run_fetch(capsys, "mnist")[1].startswith("DEEPDYNAMICS_DATA names a folder that does not exist: ")


def test_fetched_pictures_get_their_table(online, empty_cache, monkeypatch, capsys):
    picture = jpeg(halves(256, 256))
    names = [name for name, _, _ in SAMPLES]
    digest = hashlib.sha256(picture).hexdigest()
    for name in names:
        online.files[f"/{name}"] = picture
    files = tuple(
        RemoteFile(f"imagenet-samples/{name}", f"sha256:{digest}", (f"{online.address}/{name}",)) for name in names
    )
    monkeypatch.setattr(datasets, "PUBLISHED", {**PUBLISHED, "imagenet-samples": files})
    online.files[f"/{names[5]}"] = b"not a picture"
    assert "absent" in run_fetch(capsys, "imagenet-samples")[1] and not available("imagenet-samples")
    online.files[f"/{names[5]}"] = picture
    assert run_fetch(capsys, "imagenet-samples", "--strict")[0] == 0
    images, labels, _ = load("imagenet-samples", "test", n=3)
    assert images.shape == (3, 3, 224, 224) and labels.tolist() == [index for _, index, _ in SAMPLES[:3]]
    table = (empty_cache / "imagenet-samples" / "labels.csv").read_text().splitlines()
    assert table[0] == "file,class_index,class_name" and len(table) == 65 and table[1].endswith(",145,king penguin")


@pytest.mark.parametrize("arguments", [["fetch", "emnist"], ["fetch", "--timeout", "0"], ["get"], []])
def test_bad_commands(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2 and "Traceback" not in capsys.readouterr().err


def test_the_command_ends_in_time_where_nothing_answers(loopback, tmp_path):
    """A whole process: a proxy that accepts and never answers is the nearest to a network that swallows everything."""
    for name in ("a", "b"):
        loopback.files[f"/{name}"] = loopback.silent
    script = (
        "import sys; from deepdynamics.data import __main__ as command, datasets, registry\n"
        f"files = {{name: (registry.RemoteFile(name + '/x', 'md5:00', ('{loopback.address}/a',)),) "
        "for name in registry.PUBLISHED}\n"
        "datasets.PUBLISHED = files\n"
        "sys.exit(command.main(['fetch', 'mnist', 'cifar-100', 'alexnet', '--timeout', '2']))"
    )
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path), "DEEPDYNAMICS_OFFLINE": "", "DEEPDYNAMICS_DATA": ""}
    start = time.monotonic()
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and done.stderr == "" and done.stdout.count("absent") == 3
    assert time.monotonic() - start < 15  # importing torch included
    assert not leftovers(tmp_path)


def test_a_home_that_cannot_be_written_is_no_obstacle(tmp_path):
    """A whole process whose home is not a folder: nothing on standard error, and downloads kept for the next one."""
    home = tmp_path / "home"
    home.write_text("")
    script = (
        "import sys; from deepdynamics.data import __main__ as command, fetch\n"
        "print(fetch.cache_folder()); sys.exit(command.main(['fetch', 'mnist']))"
    )
    environment = {k: v for k, v in os.environ.items() if not k.startswith("XDG_")} | {"DEEPDYNAMICS_DATA": ""}
    environment |= {"HOME": str(home), "TMPDIR": str(tmp_path), "DEEPDYNAMICS_OFFLINE": "1", "LOCALAPPDATA": str(home)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=60)
    folder, found = done.stdout.splitlines()
    assert done.returncode == 0 and done.stderr == "" and "absent" in found
    assert Path(folder).parent == tmp_path and Path(folder).name.startswith("deepdynamics-")


def test_a_cache_in_a_home_that_cannot_be_written_is_still_read(tmp_path, monkeypatch):
    monkeypatch.undo()  # the real search
    monkeypatch.setenv("DEEPDYNAMICS_OFFLINE", "1")
    monkeypatch.delenv("DEEPDYNAMICS_DATA", raising=False)
    monkeypatch.setattr(fetch.pooch, "os_cache", lambda name: tmp_path / "home" / name)
    write_idx(tmp_path / "home" / "deepdynamics" / "mnist", "train")
    monkeypatch.setattr(fetch.os, "access", lambda path, mode: not mode & os.W_OK)
    assert fetch.cache_folder() != tmp_path / "home" / "deepdynamics"
    assert datasets._find("mnist", "train")[1] == "cache"
    monkeypatch.setattr(fetch.os, "access", lambda path, mode: False)  # somebody else's home
    assert datasets._find("mnist", "train") is None
    monkeypatch.undo()
    monkeypatch.setattr(fetch.pooch, "os_cache", lambda name: tmp_path / "home" / name)
    assert fetch.cache_folder() == tmp_path / "home" / "deepdynamics"


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
