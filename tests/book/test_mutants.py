"""The table of deliberate faults keeps up with the library, its tests and the book; ``make mutants`` runs it."""

import re

import house
import mutants
import pytest

LIBRARY = mutants.ROOT / mutants.LIBRARY
NO_SUBJECTS = {"data", "experiments", "figures", "results"}


def test_every_fault_replaces_a_text_that_occurs_once():
    for mutant in mutants.MUTANTS:
        source = (LIBRARY / mutant.file).read_text("utf8")
        compile(mutant.applied(source), mutant.file, "exec")


def test_every_subject_has_a_fault_that_its_own_tests_look_for():
    packages = {path.parent.name for path in LIBRARY.glob("[a-z]*/__init__.py")} - NO_SUBJECTS
    assert packages <= {mutant.file.split("/")[0] for mutant in mutants.MUTANTS}
    for mutant in mutants.MUTANTS:
        subject = mutant.file.removesuffix(".py").split("/")[0]
        assert (mutants.ROOT / "tests" / mutant.tests).exists(), mutant.tests
        assert mutant.tests.startswith((subject, "test_")), f"{mutant.tests} are no tests of {subject} alone"


def test_claims_that_would_be_lost_are_in_the_book():
    text = "".join(path.read_text("utf8") for path in (mutants.ROOT / "book").glob("*/*.md"))
    made = set(re.findall(r'claim\(\s*"([^"]+)"', text))
    assert {mutant.claim for mutant in mutants.MUTANTS} - {None} <= made


@pytest.mark.long
def test_a_fault_of_the_library_loses_the_claim_that_rests_on_it(tmp_path):
    """One stands for all that name a claim: the build of the chapter stops there."""
    mutant = next(each for each in mutants.MUTANTS if each.claim == "edge-of-chaos.unit-gain")
    root = house.copy(tmp_path / "book")
    file = root / mutants.LIBRARY / mutant.file
    file.write_text(mutant.applied(file.read_text("utf8")), "utf8")
    run = house.build(root, "--chapter", "edge-of-chaos")
    assert run.returncode != 0 and mutant.claim in run.stderr, run.stdout + run.stderr


def test_text_that_is_gone_or_there_twice_is_refused():
    mutant = mutants.Mutant("x.py", "a", "b", "test_x.py", "a fault")
    assert mutant.applied("ca") == "cb"
    for source in ("c", "aa"):
        with pytest.raises(ValueError, match="not once"):
            mutant.applied(source)
