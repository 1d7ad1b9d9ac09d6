"""A download of published files that can neither hang nor leave half a file, and the cache that it fills.

A file is verified before it gets a name, and appears in its place in one step. It may have mirrors, tried in order. The
download as a whole is given up when a time-out passes in which (almost) nothing arrived: sockets and name servers have
time-outs of their own that add up over hosts, so the clock that counts is kept outside the thread that downloads.

pooch names the cache folder and speaks HTTP. `pooch.Pooch.fetch` is not used: it has one address a file; it compares
whole digests only, and of torchvision's weights eight digits are published; what has arrived lies in the cache under a
name that stays where the process ends before the file is whole; and it writes to standard error.
"""

import functools
import hashlib
import io
import os
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import pooch
import requests

from deepdynamics import _progress as progress
from deepdynamics._checks import replace_file
from deepdynamics.data.registry import RemoteFile

__all__ = ["cache_folder", "cache_folders", "checksum_matches", "download", "file_digest", "offline"]

_SLOWEST = 1024  # bytes per second below which a download counts as dead
_CHUNK = 8192


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
    algorithm, digits = checksum.split(":")
    return file_digest(path, algorithm).startswith(digits)


def file_digest(path: Path, algorithm: str = "sha256") -> str:
    """Hexadecimal digest of a file; read once a process, as long as its size and its time of change stay the same.

    >>> path = Path(tempfile.mkdtemp()) / "empty"
    >>> _ = path.write_bytes(b"")
    >>> file_digest(path)[:8]
    'e3b0c442'
    """
    status = path.stat()
    return _digest_of(path.absolute(), algorithm, status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=1024)
def _digest_of(path: Path, algorithm: str, size: int, changed: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


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
                replace_file(folder / file.path, arrived)
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


def _matches(stream: io.BufferedRandom, checksum: str) -> bool:
    """Whether a stream, read from its beginning to its end, has the digest."""
    algorithm, digits = checksum.split(":")
    stream.seek(0)
    return hashlib.file_digest(stream, algorithm).hexdigest().startswith(digits)
