"""Public files: where they are published, their checksums, and a download that can neither hang nor leave half a file.

A file is verified before it gets a name, and appears in its place in one step. It may have mirrors, tried in order. The
download as a whole is given up when a time-out passes in which (almost) nothing arrived: sockets and name servers have
time-outs of their own that add up over hosts, so the clock that counts is kept outside the thread that downloads.
"""

import hashlib
import os
import shutil
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO
from urllib.parse import urlsplit

import pooch
import requests

from deepdynamics import _progress as progress
from deepdynamics.data.registry import SAMPLES

__all__ = [
    "PUBLISHED",
    "RemoteFile",
    "cache_folder",
    "cache_folders",
    "checksum_matches",
    "download",
    "offline",
]

_SLOWEST = 1024  # bytes per second below which a download counts as dead
_CHUNK = 8192


@dataclass(frozen=True)
class RemoteFile:
    """A published file.

    `path` is folder/name below a data directory; `checksum` is "md5:…" or "sha256:…" (the latter may be a prefix of the
    digest, as torchvision's file names carry it); `addresses` are tried in order.

    >>> PUBLISHED["alexnet"][0].checksum
    'sha256:7be5be79'
    """

    path: str
    checksum: str
    addresses: tuple[str, ...]


def _idx_files(folder: str, sums: tuple[str, ...], addresses: tuple[str, ...]) -> tuple[RemoteFile, ...]:
    names = [f"{split}-{kind}-ubyte.gz" for split in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")]
    return tuple(
        RemoteFile(
            f"{folder}/{name}",
            f"md5:{digest}",
            tuple(address + name for address in addresses),
        )
        for name, digest in zip(names, sums, strict=True)
    )


_SAMPLES_ADDRESS = "https://raw.githubusercontent.com/EliSchwartz/imagenet-sample-images/master/"
_TORCHVISION = "https://download.pytorch.org/models/"

PUBLISHED: dict[str, tuple[RemoteFile, ...]] = {
    "mnist": _idx_files(
        "mnist",
        (
            "f68b3c2dcbeaaa9fbdd348bbdeb94873",
            "d53e105ee54ea40749a09fcbcd1e9432",
            "9fb629c4189551a2d022fa330f9573f3",
            "ec29112dd5afa0611ce80d1b7f02629c",
        ),
        (
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
        ),
    ),
    "fashion-mnist": _idx_files(
        "fashion-mnist",
        (
            "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "25c81989df183df01b3e8a0aad5dffbe",
            "bef4ecab320f06d8554ea6380940ec79",
            "bb300cfdad3c16e7a12a480ee83cd310",
        ),
        (
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        ),
    ),
    "cifar-100": (
        RemoteFile(
            "cifar-100/cifar-100-binary.tar.gz",
            "md5:03b5dce01913d631647c71ecec9e9cb8",
            ("https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",),
        ),
    ),
    "imagenet-samples": tuple(
        RemoteFile(f"imagenet-samples/{name}", f"sha256:{digest}", (_SAMPLES_ADDRESS + name,))
        for name, _, digest in SAMPLES
    ),
    "squeezenet1_0": (
        RemoteFile(
            "squeezenet1_0/squeezenet1_0-b66bff10.pth",
            "sha256:b66bff10",
            (_TORCHVISION + "squeezenet1_0-b66bff10.pth",),
        ),
    ),
    "alexnet": (
        RemoteFile(
            "alexnet/alexnet-owt-7be5be79.pth",
            "sha256:7be5be79",
            (_TORCHVISION + "alexnet-owt-7be5be79.pth",),
        ),
    ),
}


def offline() -> bool:
    """Whether DEEPDYNAMICS_OFFLINE forbids the network.

    >>> offline() in (True, False)
    True
    """
    return os.environ.get("DEEPDYNAMICS_OFFLINE", "") not in ("", "0")


def cache_folders() -> list[Path]:
    """Where downloaded files may lie: the user's cache folder and, where that cannot be written (a read-only home), one
    in the system's folder for temporary files.

    >>> [folder.name.startswith("deepdynamics") for folder in cache_folders()][-1]
    True
    """
    home = Path(pooch.os_cache("deepdynamics"))
    there = next(folder for folder in (home, *home.parents) if os.path.exists(folder))  # home itself, or what holds it
    if there.is_dir() and os.access(there, os.W_OK | os.X_OK):
        return [home]
    user = getattr(os, "getuid", lambda: "user")()
    temporary = Path(tempfile.gettempdir()) / f"deepdynamics-{user}"
    return [home, temporary] if there.is_dir() and os.access(there, os.R_OK | os.X_OK) else [temporary]


def cache_folder() -> Path:
    """The folder that downloaded files are written to, the last of `cache_folders`.

    >>> cache_folder() == cache_folders()[-1]
    True
    """
    return cache_folders()[-1]


def checksum_matches(path: Path, checksum: str) -> bool:
    """Whether a file has the digest "algorithm:hexadecimal digits" (a prefix of the digits is enough).

    >>> path = Path(tempfile.mkdtemp()) / "empty"
    >>> _ = path.write_bytes(b"")
    >>> checksum_matches(path, "sha256:e3b0c442"), checksum_matches(path, "md5:00")
    (True, False)
    """
    with path.open("rb") as file:
        return _matches(file, checksum)


class _Abandoned(Exception):
    """Raised inside the downloading thread when nobody waits for it any more."""


class _Meter:
    """Counts what arrives; shaped like the progress bar that pooch feeds. Stops the thread once it is abandoned."""

    def __init__(self) -> None:
        self.received = 0
        self.total = 0
        self.abandoned = threading.Event()
        self._shown = progress.bar(0, "", show=False)

    def start(self, label: str, show: bool) -> None:
        if self.abandoned.is_set():
            raise _Abandoned
        self._file, self._finished = 0, False
        self._shown = progress.bar(None, label, show=show, unit="B", unit_scale=True, leave=False)

    def update(self, count: int) -> None:
        if self.abandoned.is_set():
            raise _Abandoned
        if self._finished:  # after its last chunk pooch reports the whole file once more
            return
        self.received += count
        if self.total and self._shown.total != self.total:
            self._shown.reset(self.total)
        self._shown.update(count)

    def reset(self) -> None:
        self._finished = True

    def close(self) -> None:
        self._shown.close()


def download(
    files: Sequence[RemoteFile],
    folder: Path,
    *,
    timeout: float = 20.0,
    show: bool = True,
) -> dict[str, str]:
    """Fetch files into folder; what failed comes back as {path: reason}, empty when every file is there and verified.

    Each file is tried at its addresses in order, and taken only if its checksum is right; a host that could not be
    reached is not tried again. When less than one kilobyte a second arrived over `timeout` seconds the rest is given
    up, so without a network this returns within `timeout` seconds whatever the name servers do. Files that are there
    already are left alone. Progress goes to standard output.

    >>> download([], Path("nowhere"))
    {}
    """
    if not timeout > 0:
        raise ValueError(f"timeout = {timeout!r}: a positive number of seconds is needed")
    waiting = [file for file in files if not (folder / file.path).exists()]
    outcome: dict[str, str | None] = {}
    meter = _Meter()

    def work() -> None:
        unreachable: set[str] = set()
        for file in waiting:
            try:
                outcome[file.path] = _fetch_one(file, folder, timeout, meter, unreachable, show)
            except _Abandoned:
                return

    thread = threading.Thread(target=work, daemon=True, name="deepdynamics-download")
    thread.start()
    try:
        while thread.is_alive():
            before = meter.received
            thread.join(timeout)
            if thread.is_alive() and meter.received - before < _SLOWEST * timeout:
                break
    finally:
        meter.abandoned.set()
    for file in waiting:
        outcome.setdefault(file.path, f"gave up after {timeout:g} s in which next to nothing arrived")
    return {path: reason for path, reason in outcome.items() if reason is not None}


def _fetch_one(
    file: RemoteFile,
    folder: Path,
    timeout: float,
    meter: _Meter,
    unreachable: set[str],
    show: bool,
) -> str | None:
    """Try a file's addresses in order: None when it is in its place and verified, otherwise the reasons it is not."""
    reasons = []
    for address in file.addresses:
        host = urlsplit(address).netloc
        if host in unreachable:
            reasons.append(f"{host} cannot be reached")
            continue
        try:
            with (
                tempfile.TemporaryFile() as arrived
            ):  # it has no name: nothing is left, even where the process is killed
                meter.start(f"{file.path} from {host}", show)
                try:
                    timeouts = (min(5.0, timeout / 4), timeout / 2)
                    pooch.HTTPDownloader(meter, chunk_size=_CHUNK, timeout=timeouts)(address, arrived, None)
                finally:
                    meter.close()
                if not _matches(arrived, file.checksum):
                    raise ValueError(f"sent {arrived.tell()} bytes whose {file.checksum.split(':')[0]} is wrong")
                _place(arrived, folder / file.path)
            return None
        except requests.exceptions.ConnectionError:  # refused, unknown, or silent in the middle of a file
            reasons.append(f"{host} cannot be reached")
            unreachable.add(host)
        except requests.exceptions.Timeout:
            reasons.append(f"{host} did not answer in time")
        except requests.exceptions.HTTPError as error:
            reasons.append(f"{host} answered {'' if error.response is None else error.response.status_code}")
        except (requests.exceptions.RequestException, ValueError, OSError) as error:
            reasons.append(f"{host} {error}")
    return "; ".join(reasons)


def _matches(stream: BinaryIO, checksum: str) -> bool:
    """Whether a stream, read from its beginning to its end, has the digest."""
    algorithm, digits = checksum.split(":")
    digest = hashlib.new(algorithm)
    stream.seek(0)
    while piece := stream.read(1 << 20):
        digest.update(piece)
    return digest.hexdigest().startswith(digits)


def _place(content: IO[bytes], path: Path) -> None:
    """Write a whole stream to a file that appears in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    content.seek(0)
    try:
        with part.open("wb") as file:
            shutil.copyfileobj(content, file)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
