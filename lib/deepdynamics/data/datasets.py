"""The data of the book: MNIST, Fashion-MNIST, CIFAR-100, ImageNet samples, and two pretrained networks.

Where a file is found, in this order: the folder $DEEPDYNAMICS_DATA; the cache of earlier downloads; a download with
checksum, progress and time-outs, unless DEEPDYNAMICS_OFFLINE is set. A data directory may hold a subset of a data set:
its files are checked for format and counts. What was downloaded must also have the publisher's checksum.

Where MNIST or Fashion-MNIST cannot be had, scikit-learn's 8 × 8 digits stand in for it, enlarged to 28 × 28, and the
loader says so on standard output and in the provenance. The other data have no stand-in: `DataMissing`. A file that is
there and wrong is never replaced or removed: `CorruptData` names it and says what is wrong.

`python -m deepdynamics.data fetch` downloads what is missing and says what is there.
"""

import hashlib
import html
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from deepdynamics._checks import replace_file
from deepdynamics.data.fetch import cache_folder, cache_folders, checksum_matches, download, file_digest, offline
from deepdynamics.data.formats import READERS, CorruptData, read_labels, take
from deepdynamics.data.registry import PUBLISHED, SAMPLES

__all__ = [
    "CorruptData",
    "DataMissing",
    "Dataset",
    "Normalise",
    "Pretrained",
    "Provenance",
    "available",
    "fetch_missing",
    "inventory",
    "load",
    "load_pretrained",
]

DATASETS = ("mnist", "fashion-mnist", "cifar-100", "imagenet-samples")
PRETRAINED = ("squeezenet1_0", "alexnet")
FETCH = "python -m deepdynamics.data fetch"

_IDX_SPLITS = {"train": "train", "test": "t10k"}
_STAND_IN_TRAIN = 1400  # of scikit-learn's 1,797 digits


class DataMissing(FileNotFoundError):
    """Data that are not here and cannot be fetched, and that nothing can stand in for.

    >>> issubclass(DataMissing, FileNotFoundError)
    True
    """


@dataclass(frozen=True)
class Provenance:
    """Where data came from: name, split, count of images, source ("data directory", "cache" or "stand-in"),
    sha256 of the file (of the list of digests where there are several), note. Prints as one line.

    >>> print(Provenance("mnist", "test", 10_000, "cache", "8d422c7b0a1c1c79245a5bcf07fe86e3"))
    mnist (test): 10,000 from the cache, sha256 8d422c7b0a1c
    """

    name: str
    split: str
    count: int
    source: str
    sha256: str
    note: str = ""

    @property
    def real(self) -> bool:
        """Whether these are the data that were asked for, and not a stand-in.

        >>> Provenance("mnist", "test", 397, "stand-in", "00").real
        False
        """
        return self.source != "stand-in"

    def __str__(self) -> str:
        if not self.real:
            return f"STAND-IN for {self.name} ({self.split}): {self.note}"
        note = f", {self.note}" if self.note else ""
        return f"{self.name} ({self.split}): {self.count:,} from the {self.source}, sha256 {self.sha256[:12]}{note}"

    def _repr_html_(self) -> str:
        text = html.escape(str(self))
        return (
            f'<p class="provenance">{text}</p>' if self.real else f'<p class="provenance"><strong>{text}</strong></p>'
        )


@dataclass(frozen=True)
class Dataset:
    """images float32 in [0, 1], (n, channels, height, width) or (n, pixels); labels int64 (n,); provenance.

    >>> provenance = Provenance("mnist", "test", 1, "cache", "00")
    >>> images, labels, provenance = Dataset(torch.zeros(1, 784), torch.tensor([7]), provenance)
    """

    images: Tensor
    labels: Tensor
    provenance: Provenance

    def __iter__(self) -> Iterator[Any]:
        return iter((self.images, self.labels, self.provenance))


@dataclass(frozen=True)
class Normalise:
    """x -> (x − mean)/deviation, channel by channel, for images (…, channels, height, width) with values in [0, 1].

    >>> Normalise((0.5,), (0.25,))(torch.ones(1, 2, 2)).unique()
    tensor([2.])
    """

    mean: tuple[float, ...]
    deviation: tuple[float, ...]

    def __call__(self, images: Tensor | ArrayLike) -> Tensor:
        images = torch.as_tensor(images)
        if images.ndim < 3 or images.shape[-3] != len(self.mean):
            raise ValueError(f"images of shape {tuple(images.shape)}: (…, {len(self.mean)}, height, width) is needed")
        if not images.is_floating_point():
            raise ValueError(f"images of type {images.dtype}: floating-point values in [0, 1] are needed")
        mean, deviation = images.new_tensor(self.mean), images.new_tensor(self.deviation)
        return (images - mean[:, None, None]) / deviation[:, None, None]


@dataclass(frozen=True)
class Pretrained:
    """A network in evaluation mode and the preprocessing of its inputs; unpacks into these two. Also .provenance.

    >>> weights = Provenance("alexnet", "weights", 1, "cache", "00")
    >>> model, preprocessing = Pretrained(torch.nn.Identity(), Normalise((0.5,), (0.25,)), weights)
    """

    model: torch.nn.Module
    preprocessing: Normalise
    provenance: Provenance

    def __iter__(self) -> Iterator[Any]:
        return iter((self.model, self.preprocessing))


def load(name: str, split: str, *, n: int | None = None, flatten: bool = False) -> Dataset:
    """The first n images of a split, in the file's own order (all of them without n).

    name: "mnist" and "fashion-mnist", images (n, 1, 28, 28); "cifar-100", (n, 3, 32, 32), with the 100 fine labels;
    "imagenet-samples", (n, 3, 224, 224), the shorter side resized to 256 pixels and the centre cut out, with ImageNet's
    class indices; these have no splits, so "train" and "test" give the same images. split: "train" or "test".
    flatten: images (n, channels · height · width).

    Raises ValueError for an unknown name or split and for n beyond what is there, `DataMissing`, `CorruptData`.

    >>> images, labels, provenance = load("mnist", "test", n=3, flatten=True)  # doctest: +SKIP
    >>> images.shape, images.dtype, float(images.max()) <= 1  # doctest: +SKIP
    (torch.Size([3, 784]), torch.float32, True)
    """
    if name not in DATASETS:
        raise ValueError(f"name = {name!r}: one of {', '.join(DATASETS)} is needed")
    if split not in ("train", "test"):
        raise ValueError(f"split = {split!r}: 'train' or 'test' is needed")
    if n is not None and (not isinstance(n, int | np.integer) or isinstance(n, bool) or n < 1):
        raise ValueError(f"n = {n!r}: a whole number of images, at least 1, or None is needed")
    try:
        files, source = _files(name, split)
    except DataMissing:
        if name not in ("mnist", "fashion-mnist"):
            raise
        images, labels, provenance = _stand_in(name, split, n)
        print(provenance)
    else:
        images, labels = READERS[name](files, split, n)
        note = "resized to 256, centre 224 × 224" if name == "imagenet-samples" else ""
        provenance = Provenance(name, split, len(labels), source, _digest(files), note)
    tensor = torch.from_numpy(images).to(torch.float32).div_(255)
    return Dataset(tensor.flatten(1) if flatten else tensor, torch.from_numpy(labels.astype(np.int64)), provenance)


def load_pretrained(name: str) -> Pretrained:
    """An ImageNet network ("squeezenet1_0", "alexnet") with its published weights, in evaluation mode, and its input
    normalisation, which takes RGB images in [0, 1] of (…, 3, 224, 224) as `load("imagenet-samples", …)` gives them.

    The weights are a state dictionary with torchvision's key names, read with `weights_only=True`. Raises ValueError
    for an unknown name, `DataMissing`, and `CorruptData` for a file that does not hold this network's weights.

    >>> model, preprocessing = load_pretrained("squeezenet1_0")  # doctest: +SKIP
    >>> model(preprocessing(torch.rand(1, 3, 224, 224))).shape  # doctest: +SKIP
    torch.Size([1, 1000])
    """
    if name not in PRETRAINED:
        raise ValueError(f"name = {name!r}: one of {', '.join(PRETRAINED)} is needed")
    from deepdynamics import networks

    [file], source = _files(name, "weights")
    model: torch.nn.Module = getattr(networks, name)()
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
        model.load_state_dict(state)
    except Exception as error:  # torch reports a wrong file with whatever its parts happen to raise
        reason = " ".join(str(error).split())[:200]
        raise CorruptData(f"{file} does not hold the weights of {name}: {type(error).__name__}: {reason}") from error
    provenance = Provenance(name, "weights", 1, source, _digest([file]), file.name)
    return Pretrained(model.eval(), Normalise((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)), provenance)


def available(name: str) -> bool:
    """Whether the real data (not a stand-in) can be loaded, both splits, without a download.

    >>> available("mnist") in (True, False)
    True
    """
    _check_name(name)
    return all(_find(name, split) is not None for split in _splits(name))


def inventory() -> dict[str, str]:
    """What is here without a download: for each name "absent", or the source, the number of files and their size.

    Reads no file: two inventories agree when places and sizes agree.

    >>> sorted(inventory())
    ['alexnet', 'cifar-100', 'fashion-mnist', 'imagenet-samples', 'mnist', 'squeezenet1_0']
    """
    found = {}
    for name in (*DATASETS, *PRETRAINED):
        places = [_find(name, split) for split in _splits(name)]
        files = sorted({file for place in places if place for file in place[0] if file.exists()})
        sources = sorted({place[1] for place in places if place})
        size = sum(file.stat().st_size for file in files)
        noun = "file" if len(files) == 1 else "files"
        found[name] = f"{' and '.join(sources)}: {len(files)} {noun}, {size:,} bytes" if all(places) else "absent"
    return found


# Finding files -------------------------------------------------------------------------------------------------------


def _check_name(name: str) -> None:
    if name not in PUBLISHED:
        raise ValueError(f"name = {name!r}: one of {', '.join(PUBLISHED)} is needed")


def _splits(name: str) -> tuple[str, ...]:
    return ("train", "test") if name in DATASETS else ("weights",)


def _wanted(name: str, split: str, folder: Path) -> list[Path]:
    """The files of a split below a folder that holds data: which they are, or should be."""
    folder = folder / name
    if name in ("mnist", "fashion-mnist"):
        return [folder / f"{_IDX_SPLITS[split]}-{kind}-ubyte.gz" for kind in ("images-idx3", "labels-idx1")]
    if name == "cifar-100":
        return [folder / "cifar-100-binary.tar.gz"]
    if name == "imagenet-samples":
        table = folder / "labels.csv"
        try:
            return [table, *(folder / row[0] for row in read_labels(table))]
        except (OSError, CorruptData):  # absent, or said by the reader
            return [table]
    published = folder / Path(PUBLISHED[name][0].path).name
    others = sorted(folder.glob(f"{name}*.pth")) if folder.is_dir() else []
    return [published if published.exists() or not others else others[0]]


def _find(name: str, split: str) -> tuple[list[Path], str] | None:
    """The files of a split and their source, or None where they are not here."""
    places = [(folder, "cache") for folder in cache_folders()]
    if chosen := os.environ.get("DEEPDYNAMICS_DATA"):
        places.insert(0, (Path(chosen), "data directory"))
    for folder, source in places:
        files = _wanted(name, split, folder)
        if all(file.exists() for file in (files[:1] if name == "imagenet-samples" else files)):
            return files, source
    return None


def _files(name: str, split: str) -> tuple[list[Path], str]:
    """The files of a split, fetched if need be, and their source."""
    found, reason = _find(name, split), "DEEPDYNAMICS_OFFLINE is set"
    if found is None and not offline():
        failed = fetch_missing([name], 30.0)
        found, reason = _find(name, split), next(iter(failed.values()), "")
    if found is None:
        raise DataMissing(f"{name} needs data: {FETCH} {name} ({reason})")
    if found[1] == "cache":
        _check_sums(name, found[0])
    return found


def fetch_missing(names: Sequence[str], timeout: float) -> dict[str, str]:
    """Download what is missing of the data sets named into the cache: {path: reason} for the files that failed.

    timeout: seconds in which next to nothing arrived, after which the rest is given up.

    >>> fetch_missing([], 20.0)
    {}
    """
    folder = cache_folder()
    failed = download([file for name in names for file in PUBLISHED[name]], folder, timeout=timeout)
    complete = not any(path.startswith("imagenet-samples/") for path in failed)
    table = folder / "imagenet-samples" / "labels.csv"
    if "imagenet-samples" in names and complete and not table.exists():
        rows = [f"{file},{index},{file[10:].rsplit('.', 1)[0].replace('_', ' ')}" for file, index, _ in SAMPLES]
        replace_file(table, "\n".join(["file,class_index,class_name", *rows, ""]).encode())
    return failed


def _check_sums(name: str, files: Sequence[Path]) -> None:
    """Compare downloaded files with their published checksums."""
    sums = {Path(file.path).name: file.checksum for file in PUBLISHED[name]}
    for file in files:
        if file.name in sums and file.exists() and not checksum_matches(file, sums[file.name]):
            algorithm, digits = sums[file.name].split(":")
            raise CorruptData(
                f"{file} is not the published file: its {algorithm} is not {digits}…; remove it, then: {FETCH} {name}"
            )


def _digest(files: Sequence[Path]) -> str:
    """sha256 of a file, or of the list of sha256 sums of several."""
    sums = [file_digest(file) for file in files]
    return sums[0] if len(sums) == 1 else hashlib.sha256("\n".join(sums).encode()).hexdigest()


def _stand_in(name: str, split: str, n: int | None) -> tuple[NDArray[np.uint8], NDArray[np.integer], Provenance]:
    """scikit-learn's digits, 8 × 8 in 17 grey levels, enlarged bilinearly to 28 × 28, as bytes."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    chosen = slice(None, _STAND_IN_TRAIN) if split == "train" else slice(_STAND_IN_TRAIN, None)
    small, labels = digits.images[chosen], digits.target[chosen]
    count = take(n, len(labels), f"the stand-in for {name} ({split})")
    pictures = torch.from_numpy(small[:count, None]).to(torch.float32) * (255 / 16)
    large = torch.nn.functional.interpolate(pictures, size=(28, 28), mode="bilinear", align_corners=False)
    images = large.round().clamp(0, 255).to(torch.uint8).numpy()
    sha256 = hashlib.sha256(small.tobytes() + labels.astype(np.int64).tobytes()).hexdigest()
    note = f"{count:,} of scikit-learn's 8 × 8 digits enlarged to 28 × 28; the real data: {FETCH} {name}"
    return images, labels[:count], Provenance(name, split, count, "stand-in", sha256, note)
