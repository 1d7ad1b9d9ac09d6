"""The chapters whose turn it is: the same for a commit, all of them over the commits, changed ones first."""

import shutil
import subprocess

import pytest
import rotation

CHAPTERS = [f"book/part/chapter-{letter}" for letter in "abcdefg"]


@pytest.fixture
def commit(tmp_path):
    if shutil.which("git") is None:
        pytest.skip("git is not installed")

    def git(*arguments):
        command = ["git", "-c", "user.name=t", "-c", "user.email=t@t", *arguments]
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)

    def write(name):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{name} {rotation.turn(tmp_path)}")
        git("add", "-A")
        git("commit", "-qm", name)
        rotation.turn.cache_clear()
        rotation.changed.cache_clear()

    git("init", "-q")
    return write


@pytest.mark.parametrize("places", [1, 3])
def test_every_chapter_has_its_turn(tmp_path, commit, places):
    seen = []
    for number in range(len(CHAPTERS)):
        commit(f"file-{number}")
        seen.append(rotation.todays(tmp_path, CHAPTERS, places))
    assert all(len(set(names)) == places for names in seen)
    assert {names[0] for names in seen} == set(CHAPTERS)


@pytest.mark.parametrize(
    "file",
    [
        "book/part/chapter-e.md",
        "lib/deepdynamics/experiments/chapter_e/training.py",
        "book/results/chapter-e.training.npz",
    ],
)
def test_chapter_that_changed_is_in_until_it_is_no_news(tmp_path, commit, file):
    for number in range(rotation.LAST):
        commit(f"file-{number}")
    commit(file)
    for number in range(rotation.LAST - 1):
        commit(f"file-{number}")
        assert rotation.todays(tmp_path, CHAPTERS, 2)[0] == "book/part/chapter-e"
    commit("file-0")
    assert rotation.changed(tmp_path) == tuple(f"file-{number}" for number in range(rotation.LAST - 1))


def test_chapters_that_changed_leave_one_place_to_those_whose_turn_it_is(tmp_path, commit):
    for number in range(rotation.LAST):
        commit(f"file-{number}")
    for name in CHAPTERS[:4]:
        commit(f"{name}.md")
    new, other = rotation.todays(tmp_path, CHAPTERS, 3)[:2], rotation.todays(tmp_path, CHAPTERS, 3)[2]
    assert set(new) < set(CHAPTERS[:4]) and other not in new


def test_archive_without_git_has_a_turn_that_its_files_make(tmp_path):
    (tmp_path / "file").write_text("one")
    one = rotation.turn(tmp_path)
    rotation.turn.cache_clear()
    assert rotation.turn(tmp_path) == one and len(rotation.todays(tmp_path, CHAPTERS, 3)) == 3
    (tmp_path / "file").write_text("two")
    rotation.turn.cache_clear()
    assert rotation.turn(tmp_path) != one and rotation.changed(tmp_path) == ()
