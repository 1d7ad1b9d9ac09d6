"""The command that fetches what is missing, and whole processes of it."""

import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from deepdynamics.data import available, datasets, load
from deepdynamics.data.__main__ import main
from deepdynamics.data.registry import PUBLISHED, SAMPLES, RemoteFile
from made_data import halves, jpeg, leftovers

pytest_plugins = ("loopback",)


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
