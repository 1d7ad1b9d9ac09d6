"""The table of deliberate faults keeps up with the library, its tests and the book; ``make mutants`` runs it."""

import mutants
import pytest
import records

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


def test_every_revised_chapter_has_a_fault_that_stops_it():
    """``Mutant.chapter`` raises where no chapter, or more than one, makes the claim."""
    rows = [row for part in records.read_yaml(mutants.ROOT / "book" / "chapters.yml") for row in part["chapters"]]
    written = {path.stem for path in mutants.ROOT.glob("book/*/*.md")}
    revised = {row["slug"] for row in rows if row["slug"] in written and not row.get("unrevised")}
    without = revised - {mutant.chapter for mutant in mutants.MUTANTS if mutant.claim}
    assert not without, f"no fault in tools/mutants.py names a claim of {', '.join(sorted(without))}"


@pytest.mark.long
def test_a_fault_of_the_library_loses_the_claim_that_rests_on_it():
    """One stands for all that name a claim: the build of the chapter stops there."""
    mutant = next(each for each in mutants.MUTANTS if each.claim == "edge-of-chaos.unit-gain")
    assert mutants.stopped(mutant)[0]


def test_text_that_is_gone_or_there_twice_is_refused():
    mutant = mutants.Mutant("x.py", "a", "b", "test_x.py", "a fault")
    assert mutant.applied("ca") == "cb"
    for source in ("c", "aa"):
        with pytest.raises(ValueError, match="not once"):
            mutant.applied(source)
