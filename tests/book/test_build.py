"""The build as people run it: interrupted, twice at once, without git, home or network, in a folder with an odd name.

One small book, in a folder whose name has spaces and accents, is built, broken and built again.
"""

import os
import shutil
import signal
import subprocess
import sys
import time

import house
import pytest
import records
from filelock import FileLock

FIRST, SECOND = "book/mini/layers-as-time", "book/mini/order-and-chaos"
SLOW = "import time\nprint('asleep')\ntime.sleep(600)"


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    """Built once, with a home that cannot be written, and without git."""
    root = house.make(tmp_path_factory.mktemp("build") / "Réseaux et leur théorie")
    tools = root.parent / "bin"
    tools.mkdir()
    (tools / "python3").symlink_to(sys.executable)
    environment = {"PATH": str(tools), "HOME": "/proc/nobody"}
    environment |= {name: os.environ[name] for name in ("DEEPDYNAMICS_OFFLINE", "MPLBACKEND") if name in os.environ}
    run = house.build(root, environment=environment)
    assert run.returncode == 0, run.stdout + run.stderr
    return root


def page(root, name=FIRST):
    return (root / "_build" / "html" / f"{name}.html").read_text("utf8")


def test_read_only_home_without_git_in_a_folder_with_an_odd_name(book):
    assert 'id="claim-mini-tanh"' in page(book)
    assert records.find(book, FIRST).data["deps"].keys() >= {"lib/deepdynamics/activations/named.py"}
    assert (book / "_build" / "html" / "notebooks" / f"{FIRST}.ipynb").is_file()


def test_nothing_has_changed_is_never_said_over_a_broken_page(book):
    house.edit(book / f"{FIRST}.md", "Prose.", "Prose. See {ref}`nowhere`.")  # found while the pages are written
    run = house.build(book)
    assert run.returncode != 0 and "nowhere" in run.stderr
    assert 'id="claim-mini-tanh"' in page(book)  # the pages of the last build are still there
    house.edit(book / f"{FIRST}.md", " See {ref}`nowhere`.", "")
    run = house.build(book)
    assert run.returncode == 0 and "Nothing has changed" not in run.stdout, run.stderr
    assert 'id="claim-mini-tanh"' in page(book)
    assert "Nothing has changed" in house.build(book).stdout


def test_missing_front_matter_is_said_before_anything_is_touched(book):
    source = (book / f"{FIRST}.md").read_text("utf8")
    (book / f"{FIRST}.md").write_text(source.removeprefix(house.HEAD), "utf8")
    run = house.build(book)
    assert run.returncode != 0 and "Executing" not in run.stdout and "jupytext" in run.stderr
    (book / f"{FIRST}.md").write_text(source, "utf8")
    assert "Nothing has changed" in house.build(book).stdout and 'id="claim-mini-tanh"' in page(book)


def test_two_builds_at_once(book):
    with FileLock(book / "_build" / "lock"):
        run = house.build(book)
    assert run.returncode == 1
    assert run.stderr == "Another build is at work in this folder: wait until it is done.\n"


def test_unknown_chapter(book):
    run = house.build(book, "--chapter", "layers-as-tiem")
    assert run.returncode == 1 and "Executing" not in run.stdout
    assert run.stderr == "There is no chapter 'layers-as-tiem' in _toc.yml; did you mean layers-as-time?\n"
    assert "there are layers-as-time, order-and-chaos." in house.build(book, "--chapter", "x").stderr


def test_interrupted_build_keeps_what_was_done_and_says_one_sentence(book):
    house.edit(
        book / f"{FIRST}.md", "from deepdynamics import activations", f"{SLOW}\nfrom deepdynamics import activations"
    )
    house.edit(book / f"{SECOND}.md", "the mean is one", "the average is one")
    process = subprocess.Popen(
        house.command(book), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    for line in process.stdout:
        if SECOND in line:
            break
    start = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    out, err = process.communicate(timeout=60)
    assert time.monotonic() - start < 15
    assert process.returncode == 130 and "Traceback" not in out + err
    assert err.strip() == "Interrupted. The chapters that were done are kept; make book goes on from there."
    assert records.find(book, SECOND) is not None and records.find(book, FIRST) is None
    house.edit(book / f"{FIRST}.md", f"{SLOW}\n", "")
    run = house.build(book)
    assert run.returncode == 0 and SECOND not in run.stdout, run.stdout + run.stderr


def test_builds_without_any_network_interface(book):
    isolated = ["unshare", "--map-root-user", "--net"]
    if shutil.which("unshare") is None or subprocess.run([*isolated, "true"], capture_output=True).returncode:
        pytest.skip("this system lets nobody take the network away")
    house.edit(book / f"{SECOND}.md", "one", "1")
    run = subprocess.run(
        [*isolated, *house.command(book, "--chapter", "order-and-chaos")], capture_output=True, text=True, timeout=120
    )
    assert run.returncode == 0 and SECOND in run.stdout, run.stdout + run.stderr
