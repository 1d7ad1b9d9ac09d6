"""What a chapter that is held to all rules needs of its claims: in its code, and in what they left when executed."""

from __future__ import annotations

import itertools
import json
import sys
from types import SimpleNamespace

import chapter
import chapter_checks
import claim_checks
import house
import pytest
import records
import yaml
from deepdynamics.claims import claim

ONE = [0.9, 1.1, 1.05, 0.95, 1.02, 0.97, 1.01, 1.0]
NONE = ("no effect", 0.0)
SOURCE = {"source": "planck1900law, eq. (5)"}
NAME, MAP = "book/mini/my-chapter", "book/chapters.yml"
MARK = ", unrevised: true}"
NUMBERS = itertools.count()


def data(**arguments):
    """The JSON of a claim, as it comes back from a notebook."""
    key = arguments.pop("key", f"my-chapter.subject-{next(NUMBERS)}")
    made = claim(key, "a statement", **({"samples": ONE, "rival": NONE} | arguments))
    return json.loads(json.dumps(made.data()))


def holding(count):
    return [data(theory=1.0) for _ in range(count)]


def undecided(count):
    return [data(theory=1.0, rival=("near", 1.1)) for _ in range(count)]


# After everything has run ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [6, 15])
def test_six_to_fifteen_claims_are_right(count):
    assert claim_checks.lacking(NAME, holding(count) + undecided(2)) == []


@pytest.mark.parametrize(
    ("count", "words"), [(5, "5 claims that count:"), (1, "1 claim that counts:"), (16, "16 claims")]
)
def test_too_few_and_too_many(count, words):
    (found,) = claim_checks.lacking(NAME, holding(count))
    assert f"{NAME}.md has {words}" in found and "6 to 15" in found


def test_undecided_claims_do_not_count_and_are_at_most_two():
    (found,) = claim_checks.lacking(NAME, holding(5) + undecided(2))
    assert "5 claims that count" in found
    more = undecided(3)
    (found,) = claim_checks.lacking(NAME, holding(6) + more)
    assert "3 undecided claims" in found and all(claim["key"] in found for claim in more)


def test_skipped_claims_count_as_what_they_would_be(monkeypatch):
    monkeypatch.setattr("deepdynamics.claims.duel._available", lambda name: False)
    skipped = [data(theory=1.0, rival=("near", 1.1), requires="mnist") for _ in range(6)]
    assert {claim["verdict"] for claim in skipped} == {"skipped"}
    assert claim_checks.lacking(NAME, skipped) == []
    unnamed = data(theory=1.0, rival=None, requires="mnist")
    (found,) = claim_checks.lacking(NAME, [*skipped, unnamed])
    assert unnamed["key"] in found and "names no rival" in found


ONES = {
    "names no rival": dict(theory=1.0, rival=None),
    "judges its source and does not quote it": dict(theory=1.0, rival=None, source_says=2.0, **SOURCE),
    "gives a standard_error without its dof": dict(theory=1.0, samples=None, measured=1.0, standard_error=0.01),
    "is a hypothesis without a source": dict(theory=2.0, hypothesis=True),
    "agrees to rounding": dict(theory=2.0, samples=None, measured=2**0.5 * 2**0.5, tolerance=0.1),
}


@pytest.mark.parametrize("words", ONES)
def test_what_one_claim_lacks(words):
    wrong = data(**ONES[words])
    (found,) = claim_checks.lacking(NAME, [*holding(6), wrong])
    assert found.startswith(f"{NAME}.md: claim {wrong['key']!r} {words}") and found.endswith(".")


def test_quoted_and_cited_sources_are_right():
    quoted = data(theory=1.0, source_says=2.0, quote="it is two", **SOURCE)
    assert quoted["verdict"] == "corrected"
    assert claim_checks.lacking(NAME, [*holding(6), quoted, data(theory=1.0, **SOURCE)]) == []


@pytest.fixture
def small(tmp_path):
    """The small book with a new chapter in it."""
    root = house.make(tmp_path / "book")
    (root / "book/references.bib").write_text("@article{planck1900law, title={On a law}, year={1900}}\n", "utf8")
    house.edit(root / "_toc.yml", "chapters:\n", "parts:\n  - caption: Layers as time\n    chapters:\n")
    text = (root / "_toc.yml").read_text("utf8").replace("\n  - file", "\n      - file")
    (root / "_toc.yml").write_text(text, "utf8")
    chapter.begin(root, "my-chapter")
    return root


def remove_mark(root):
    rows = (root / MAP).read_text("utf8").splitlines()
    rows = [row.replace(MARK, "}") if "my-chapter" in row else row for row in rows]
    (root / MAP).write_text("\n".join(rows) + "\n", "utf8")


@pytest.fixture
def record(small, monkeypatch):
    """Let the new chapter have been executed, with these claims."""
    (small / "_build").mkdir()

    def left(*claims):
        found = SimpleNamespace(claims=list(claims))
        monkeypatch.setattr(records, "find", lambda root, name: found if name == NAME else None)

    return left


def test_only_chapters_without_the_mark_are_held_to_the_rules(small, record):
    record(*holding(1))
    assert claim_checks.executed(small, [NAME]) == []
    assert len(claim_checks.until_revised(small, [NAME])) == 1
    remove_mark(small)
    (found,) = claim_checks.executed(small, [NAME])
    assert "1 claim that counts" in found and claim_checks.until_revised(small, [NAME]) == []


def test_marked_chapters_are_held_to_their_sources_all_the_same(small, record):
    record(data(theory=1.0, source="nobody2099"))
    (found,) = claim_checks.executed(small, [NAME])
    assert "'nobody2099'" in found


def test_alias_that_belongs_to_another_claim(small, record):
    record(data(theory=1.0, key="a.one"), data(theory=1.0, key="b.one", aliases=["a.one"]))
    (found,) = claim_checks.executed(small, [NAME])
    assert all(word in found for word in ("claim-a-one", "a.one, b.one"))


def test_make_chapter_says_what_the_claims_lack(small, record, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["chapter.py", "my-chapter", "--root", str(small)])
    record(*holding(1))
    assert chapter.main() == 0
    assert "Before the mark 'unrevised'" in (told := capsys.readouterr().out) and "1 claim that counts" in told
    remove_mark(small)
    assert chapter.main() == 1
    assert "1 claim that counts" in (told := capsys.readouterr().out) and "mark" not in told
    record(*holding(6))
    assert chapter.main() == 0


# Before anything runs -------------------------------------------------------------------------------------------------

TYPED = {
    'rival=("a guess", 0.3)': "types its rival, 0.3",
    'rival=("a guess", -0.3)': "types its rival, -0.3",
    'rival=("a guess", -1)': "types its rival, -1",
    'rival=("a guess", 10**6)': "types its rival, 10 ** 6",
    'rival=("a guess", float(0.3))': "types its rival, float(0.3)",
    'rival=("a guess", np.array([0.3, 0.4]))': "types its rival, np.array([0.3, 0.4])",
    'rival=("a guess", [0.1, 0.2])': "types its rival, [0.1, 0.2]",
    'rival=("a guess", guess)': "types its rival, guess",
    "at_least=0.3": "types its bound, at_least=0.3",
    "at_most=1 / 3": "types its bound, at_most=1 / 3",
    "samples=[0.9, 1.1]": "types what it measured, samples=[0.9, 1.1]",
    "measured=1": "types what it measured, measured=1",
    'samples=[0.9, 1.1], source="planck1900law"': "types what it measured",
}
COMPUTED = [
    'rival=("no effect", 0.0)',
    'rival=("one", 1)',
    'rival=("the control", control)',
    'rival=("the control", control.mean() / 2)',
    'rival=("chance", 1 / classes)',
    'rival=("the formula", np.log(2))',
    'rival=("the other theory", 0.3), source="planck1900law"',
    'at_least=0.3, source="planck1900law, eq. (5)"',
    "at_least=0.3, source=PLANCK",
    "at_least=0",
    "at_most=bound(width)",
    "theory=0.5",
    'samples=s[:, 0], rival=("the second", s[:, 1])',
    "samples=found",
]


def told(root, arguments, *, before="guess = 0.3"):
    house.edit(root / f"{NAME}.md", "theory=1.0, samples=lengths, of=", f"{arguments}, of=")
    house.edit(root / f"{NAME}.md", ', rival=("entries of variance 1", unscaled)', "")
    house.edit(root / f"{NAME}.md", "unscaled = ", f"{before}\nunscaled = ")
    return chapter_checks.check(root, "my-chapter")


@pytest.mark.parametrize("before", ["guess = -0.3", "guess: float = 0.3", "guess, more = 0.3, 4", "guess = [0.3, 0.4]"])
def test_typed_numbers_with_a_name_are_reported(small, before):
    remove_mark(small)
    (found,) = told(small, 'rival=("a guess", guess)', before=before)
    assert "types its rival, guess" in found


@pytest.mark.parametrize("arguments", TYPED)
def test_typed_numbers_are_reported(small, arguments):
    remove_mark(small)
    (found,) = told(small, arguments)
    assert f"{NAME}.md: claim 'my-chapter.length' (line" in found and TYPED[arguments] in found
    assert found.endswith(".")


CIRCULAR = {
    "theory=lengths.mean(), samples=lengths": "theory",
    "theory=float(lengths.mean()), measured=float(lengths.mean())": "theory",
    "samples=lengths, at_least=0.5 * min(lengths)": "at_least",
    'theory=1.0, samples=lengths, rival=("half of it", lengths / 2)': "rival",
}


@pytest.mark.parametrize("arguments", CIRCULAR)
def test_expectation_made_from_the_measurement_is_reported(small, arguments):
    remove_mark(small)
    (found,) = told(small, arguments)
    assert f"takes its {CIRCULAR[arguments]} from what it measured" in found


THROUGH_NAMES = {
    "middle = lengths.mean()": 'theory=middle, samples=lengths, rival=("no effect", 0.0)',
    "middle: float = lengths.mean()": 'theory=middle, samples=lengths, rival=("no effect", 0.0)',
    "middle, most = lengths.mean(), 2": 'theory=1.0, samples=lengths, rival=("half", middle / most)',
    "halves = lengths / 2": 'theory=(lengths / 2).mean(), samples=halves, rival=("no effect", 0.0)',
    "copy = np.asarray(lengths)": 'theory=lengths.mean(), samples=copy, rival=("no effect", 0.0)',
    "off = abs(lengths.mean() - 1)": 'theory=1.0, samples=lengths, rival=("no effect", 0.0), tolerance=1.1 * off',
}


@pytest.mark.parametrize("before", THROUGH_NAMES)
def test_expectation_made_from_the_measurement_through_names_is_reported(small, before):
    remove_mark(small)
    (found,) = told(small, THROUGH_NAMES[before], before=before)
    assert "from what it measured" in found


HIDDEN = {
    'side="above" if lengths.mean() > 1 else "below", samples=lengths, rival=("one", 1)': "computes side",
    'theory=1.0, samples=lengths, rival=("one", 0), hypothesis=lengths.mean() > 2': "computes hypothesis",
    'theory=1.0, samples=lengths, rival=("one", 0) if len(lengths) else ("two", 0)': "its rival written as",
    'theory=1.0, samples=lengths, rival=("one", lengths[0] if width else 0)': "decides with an if",
    'theory=width and 1.0, samples=lengths, rival=("one", 0)': "decides with an if",
    "theory=1.0, samples=lengths, rival=pair": "its rival written as",
    'theory=1.0, **{"samples": lengths, "rival": ("one", 0)}': "behind **",
}


@pytest.mark.parametrize("arguments", HIDDEN)
def test_what_is_claimed_is_read_in_the_call(small, arguments):
    remove_mark(small)
    assert any(HIDDEN[arguments] in sentence for sentence in told(small, arguments))


CALL = 'claim("my-chapter.other", "s", theory=1.0, samples=unscaled, of="layers", rival=("none", 0))'
CELLS = {
    CALL + ";": "last expression",
    "display(" + CALL + ")": "",
    "if width > 3:\n    display(" + CALL + ")": "last expression",
    "try:\n    display(" + CALL + ")\nexcept AssertionError:\n    pass": "last expression",
    CALL + " if width > 3 else None": "last expression",
    ":tags: [raises-exception]\n" + CALL: "the tag raises-exception",
    ":tags: [remove_output]\n" + CALL: "the tag remove-output",
    ":tags: [hide-input]\n" + CALL: "",
    "%%time\n" + CALL: "under a cell magic",
    "duel = claim": "another name",
    "from deepdynamics.claims import claim as duel": "another name",
    "from deepdynamics import claims\nduel = claims.claim": "another name",
    "def claim(*all, **others):\n    pass": "another name",
    "from deepdynamics.claims import Claim\nClaim('a.b', 's', '=', expected=1.0, measured=1.0)": "by hand",
    CALL.replace('"my-chapter.other"', 'f"my-chapter.{width}"'): "key written out",
    CALL.replace("samples=unscaled", "samples=lengths").replace('("none", 0)', '("none", unscaled)'): "told twice",
    CALL.replace("1.0, samples=unscaled", "-1.0, samples=-lengths").replace("0)", "-unscaled)"): "told twice",
    CALL.replace("1.0, samples=unscaled", "2.0, samples=unscaled").replace("0)", "lengths)"): "",
}


@pytest.mark.parametrize("cell", CELLS)
def test_claims_are_shown_and_can_be_read(small, cell):
    remove_mark(small)
    file = small / f"{NAME}.md"
    text = file.read_text("utf8")
    end = text.index("```", text.index('claim("my-chapter.length"')) + 4
    file.write_text(f"{text[:end]}\n```{{code-cell}} ipython3\n{cell}\n```\n{text[end:]}", "utf8")
    found = chapter_checks.check(small, "my-chapter")
    if CELLS[cell]:
        assert len(found) == 1 and CELLS[cell] in found[0] and found[0].endswith(".")
    else:
        assert found == []


@pytest.mark.parametrize("arguments", COMPUTED)
def test_computed_numbers_are_not(small, arguments):
    remove_mark(small)
    assert told(small, arguments) == []


def test_name_that_is_computed_elsewhere_is_not_typed(small):
    remove_mark(small)
    assert told(small, 'rival=("a number", guess)', before="guess = 0.3\nguess = lengths.min()") == []


def test_typed_numbers_wait_for_the_revision(small):
    assert told(small, 'rival=("a guess", 0.3)') == []


def test_the_mark_is_left_to_the_chapters_that_are_older_than_the_rules():
    """A chapter that has just begun has the mark as well, and goes without it when it joins the book."""
    parts = yaml.safe_load((house.ROOT / MAP).read_text("utf8"))
    marked = claim_checks.unrevised([row for part in parts for row in part["chapters"]])
    older = {"layers-as-time", "order-and-chaos", "deep-linear", "edge-of-chaos", "rbm-pretraining"}
    assert marked <= older | {"cnn-jacobian", "contraction"}
