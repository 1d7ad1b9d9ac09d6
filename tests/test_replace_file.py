"""Files that are written in one step: the old one or the new one, and nothing beside them."""

import io

import pytest
from deepdynamics import _checks
from deepdynamics._checks import replace_file


def test_bytes_and_streams_are_written_whole(tmp_path):
    replace_file(tmp_path / "deep" / "a", b"one")
    stream = io.BytesIO(b"two" * 100_000)
    stream.read(5)  # from its beginning, wherever it stands
    replace_file(tmp_path / "deep" / "a", stream)
    assert (tmp_path / "deep" / "a").read_bytes() == b"two" * 100_000
    assert [file.name for file in (tmp_path / "deep").iterdir()] == ["a"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_what_is_interrupted_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, step):
    (tmp_path / "a").write_bytes(b"old")

    def fails(*_):
        raise OSError("the disk is full")

    monkeypatch.setattr(_checks.os, step, fails)
    with pytest.raises(OSError, match="the disk is full"):
        replace_file(tmp_path / "a", b"new")
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {"a": b"old"}
