"""Every way a file can be wrong: named, described, and left where it is."""

import gzip
from pathlib import Path

import pytest
from deepdynamics.data import CorruptData, inventory, load
from made_data import CIFAR, DIGITS, IMAGES, LABELS, RECORDS, WHOLE, halves, idx, jpeg, tar

# Wrong files: named, described, and left where they are


def spoiled(file: Path, content: bytes, name: str, split: str, message: str) -> None:
    file.write_bytes(content)
    with pytest.raises(CorruptData) as caught:
        load(name, split)
    assert str(file) in str(caught.value) and message in str(caught.value), caught.value
    assert file.read_bytes() == content


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
