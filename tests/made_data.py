"""Small files in the formats of the data sets, made for the tests."""

import gzip
import io
import struct
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

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


IMAGES = "train-images-idx3-ubyte.gz"
WHOLE = gzip.compress(idx(DIGITS))
CIFAR = tar({"cifar-100-binary/train.bin": RECORDS.tobytes(), "cifar-100-binary/test.bin": RECORDS.tobytes()})


def leftovers(folder: Path) -> list[str]:
    """Files that are none of the data."""
    return [file.name for file in folder.rglob("*") if file.is_file() and not file.name.endswith((".gz", ".csv"))]
