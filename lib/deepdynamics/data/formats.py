"""The file formats of the data sets: IDX (MNIST), CIFAR-100's binary version, JPEG pictures beside a table of labels.

Readers take the files of a split and how many images are wanted, and return bytes, channels first, and labels. Every
file is read to its end and checked, so that a truncated one is noticed whatever part of it is wanted: `CorruptData`
names the file and what is wrong with it.
"""

import csv
import gzip
import struct
import tarfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

__all__ = [
    "READERS",
    "CorruptData",
    "read_cifar",
    "read_idx",
    "read_idx_pair",
    "read_jpeg",
    "read_labels",
    "read_samples",
    "take",
]

CIFAR_RECORD = 2 + 3 * 32 * 32  # coarse label, fine label, planes R, G, B


class CorruptData(ValueError):
    """A file that is there and is not what it should be. The file stays as it is.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "labels.csv"
    >>> _ = file.write_text("nothing")
    >>> try:
    ...     _ = read_labels(file)
    ... except CorruptData as error:
    ...     print(str(error).split("labels.csv ")[1])
    needs rows with a file beside it and a class index from 0 to 999
    """


def take(n: int | None, there: int, what: str) -> int:
    """How many of the images that are there to return: n, or all of them; ValueError where n is beyond.

    >>> take(None, 10, "mnist"), take(3, 10, "mnist")
    (10, 3)
    """
    if n is not None and n > there:
        raise ValueError(f"n = {n}: only {there} images are available in {what}")
    return there if n is None else n


def read_idx(file: Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """An IDX file of unsigned bytes whose entries have the shape given: (count, *shape).

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "labels.gz"
    >>> _ = file.write_bytes(gzip.compress(bytes((0, 0, 8, 1)) + struct.pack(">I", 3) + bytes((7, 2, 1))))
    >>> read_idx(file, ()).tolist()
    [7, 2, 1]
    """
    try:
        content = gzip.decompress(file.read_bytes())
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise CorruptData(f"{file} is not a whole gzip file: {error}") from error
    dimensions = 1 + len(shape)
    header = 4 + 4 * dimensions
    if len(content) < header or content[:4] != bytes((0, 0, 8, dimensions)):
        raise CorruptData(
            f"{file} is not an IDX file of unsigned bytes in {dimensions} dimensions: starts {content[:4]!r}"
        )
    count, *entry = struct.unpack(f">{dimensions}I", content[4:header])
    if tuple(entry) != shape:
        raise CorruptData(f"{file} holds entries of shape {tuple(entry)}; {shape} is needed")
    if len(content) - header != count * int(np.prod(shape)):
        raise CorruptData(f"{file} announces {count} entries of shape {shape} and holds {len(content) - header} bytes")
    return np.frombuffer(content, np.uint8, offset=header).reshape(count, *shape)


def read_idx_pair(files: Sequence[Path], split: str, n: int | None) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The first n images (n, 1, 28, 28) and labels of an MNIST-like pair of files.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> images = bytes((0, 0, 8, 3)) + struct.pack(">III", 2, 28, 28) + bytes(2 * 784)
    >>> labels = bytes((0, 0, 8, 1)) + struct.pack(">I", 2) + bytes((7, 2))
    >>> for name, content in (("images.gz", images), ("labels.gz", labels)):
    ...     _ = (folder / name).write_bytes(gzip.compress(content))
    >>> pictures, digits = read_idx_pair([folder / "images.gz", folder / "labels.gz"], "train", None)
    >>> pictures.shape, digits.tolist()
    ((2, 1, 28, 28), [7, 2])
    """
    images, labels = read_idx(files[0], (28, 28)), read_idx(files[1], ())
    if len(images) != len(labels):
        raise CorruptData(f"{files[0]} holds {len(images)} images and {files[1].name} {len(labels)} labels")
    if labels.size and labels.max() > 9:
        raise CorruptData(f"{files[1]} holds the label {labels.max()}; labels run from 0 to 9")
    n = take(n, len(labels), f"{files[0].parent.name} ({split})")
    return images[:n, None].copy(), labels[:n]


def read_cifar(files: Sequence[Path], split: str, n: int | None) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The first n images (n, 3, 32, 32) and fine labels of CIFAR-100's binary version.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "cifar.tar.gz"
    >>> _ = file.with_name("test.bin").write_bytes(bytes((3, 42)) + bytes(3072))
    >>> with tarfile.open(file, "w:gz") as archive:
    ...     archive.add(file.with_name("test.bin"), "cifar-100-binary/test.bin")
    >>> images, labels = read_cifar([file], "test", 1)
    >>> images.shape, labels.tolist()
    ((1, 3, 32, 32), [42])
    """
    file, content = files[0], None
    try:
        with gzip.open(file) as unpacked, tarfile.open(fileobj=unpacked, mode="r:") as archive:
            for member in archive:
                if member.name.rsplit("/", 1)[-1] == f"{split}.bin" and (stream := archive.extractfile(member)):
                    content = stream.read()
            while unpacked.read(1 << 20):  # to the end, where gzip's own checksum is
                pass
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise CorruptData(f"{file} is not a whole gzipped tar archive: {error}") from error
    if content is None:
        raise CorruptData(f"{file} holds no {split}.bin: not the binary version of CIFAR-100")
    if not content or len(content) % CIFAR_RECORD:
        raise CorruptData(
            f"{file}: {split}.bin has {len(content)} bytes, no multiple of {CIFAR_RECORD} (two labels, 3 × 32 × 32)"
        )
    records = np.frombuffer(content, np.uint8).reshape(-1, CIFAR_RECORD)
    if records[:, 0].max() > 19 or records[:, 1].max() > 99:
        raise CorruptData(f"{file}: {split}.bin holds labels beyond 20 coarse and 100 fine classes")
    n = take(n, len(records), f"cifar-100 ({split})")
    return records[:n, 2:].reshape(n, 3, 32, 32).copy(), records[:n, 1]


def read_labels(table: Path) -> list[tuple[str, int]]:
    """The rows (file, class index) of an imagenet-samples folder.

    >>> import tempfile
    >>> table = Path(tempfile.mkdtemp()) / "labels.csv"
    >>> _ = table.write_text("file,class_index,class_name\\nzebra.JPEG,340,zebra\\n")
    >>> read_labels(table)
    [('zebra.JPEG', 340)]
    """
    try:
        rows = [(row["file"], int(row["class_index"])) for row in csv.DictReader(table.read_text("utf-8").splitlines())]
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptData(f"{table} is not a table with columns file, class_index, class_name: {error!r}") from error
    if not rows or any(not 0 <= index < 1000 or Path(name).name != name for name, index in rows):
        raise CorruptData(f"{table} needs rows with a file beside it and a class index from 0 to 999")
    return rows


def read_samples(files: Sequence[Path], split: str, n: int | None) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The first n pictures (n, 3, 224, 224) of a folder with labels.csv, and their class indices.

    >>> import tempfile
    >>> table = Path(tempfile.mkdtemp()) / "labels.csv"
    >>> _ = table.write_text("file,class_index,class_name\\nzebra.JPEG,340,zebra\\n")
    >>> Image.new("RGB", (300, 400), "white").save(table.with_name("zebra.JPEG"))
    >>> images, labels = read_samples([table, table.with_name("zebra.JPEG")], "test", None)
    >>> images.shape, labels.tolist()
    ((1, 3, 224, 224), [340])
    """
    rows = read_labels(files[0])
    rows = rows[: take(n, len(rows), "imagenet-samples")]
    images = np.stack([read_jpeg(files[0].parent / name) for name, _ in rows])
    return images, np.array([index for _, index in rows], dtype=np.int64)


def read_jpeg(file: Path) -> NDArray[np.uint8]:
    """A picture with its shorter side at 256 pixels, the centre 224 × 224 of it: (3, 224, 224).

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "white.JPEG"
    >>> Image.new("RGB", (300, 400), "white").save(file)
    >>> read_jpeg(file).shape, int(read_jpeg(file).min())
    ((3, 224, 224), 255)
    """
    try:
        with Image.open(file, formats=["JPEG"]) as picture:
            rgb = picture.convert("RGB")
    except FileNotFoundError as error:
        raise CorruptData(f"{file} is missing, and labels.csv beside it names it") from error
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise CorruptData(f"{file} is not a whole JPEG picture: {error}") from error
    scale = 256 / min(rgb.size)
    width, height = (round(side * scale) for side in rgb.size)
    left, top = (width - 224) // 2, (height - 224) // 2
    small = rgb.resize((width, height), Image.Resampling.BILINEAR).crop((left, top, left + 224, top + 224))
    return np.ascontiguousarray(np.asarray(small).transpose(2, 0, 1))


_Reader = Callable[[Sequence[Path], str, int | None], tuple[NDArray[np.uint8], NDArray[np.integer]]]
READERS: dict[str, _Reader] = {
    "mnist": read_idx_pair,
    "fashion-mnist": read_idx_pair,
    "cifar-100": read_cifar,
    "imagenet-samples": read_samples,
}
