"""Downloads from a server on this machine that is good, wrong, cut short, missing or slow; the cache."""

import contextlib
import gzip
import hashlib
import os
import socket
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from deepdynamics import data
from deepdynamics.data import CorruptData, datasets, fetch, load
from deepdynamics.data.fetch import download
from deepdynamics.data.registry import PUBLISHED, RemoteFile
from made_data import DIGITS, IMAGES, idx, leftovers, write_idx

pytest_plugins = ("loopback",)


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
