"""An empty cache for every test, a data directory with a little of everything, a publisher on this machine."""

import gzip
import hashlib

import pytest
from deepdynamics.data import datasets
from deepdynamics.data.registry import PUBLISHED, RemoteFile
from made_data import DIGITS, LABELS, RECORDS, halves, idx, jpeg, tar, write_idx


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
