"""The build's own alarm: every planted fault makes it exit non-zero and name its place, the second time as well as
the first.
"""

import house
import pytest

CHAPTER = "book/mini/layers-as-time"
FAULTS = {
    "failing cell": ({"code": "1 / 0"}, [f"{CHAPTER}: code cell 1", "ZeroDivisionError"]),
    "warning": ({"code": "import warnings; warnings.warn('planted')"}, [f"{CHAPTER}: code cell 1", "planted"]),
    "failing claim": (
        {"code": "claim('mini.false', 'one is two', theory=2, measured=1, tolerance=.1)"},
        [CHAPTER, "mini.false"],
    ),
    "claim made twice": (
        {"code": "claim('mini.samples', 'again', theory=1, measured=1, tolerance=.1)"},
        ["mini.samples", "more than once"],
    ),
    "bad reference, link and citation": (
        {"prose": "See {ref}`no-reference`, [this](#no-link) and {cite:t}`nobody1900nothing`."},
        [CHAPTER, "no-reference", "no-link", "nobody1900nothing"],
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_planted_fault_fails_the_build_twice(tmp_path, fault):
    planted, names = FAULTS[fault]
    root = house.make(tmp_path / "book", **planted)
    for attempt in ("first", "second"):
        run = house.build(root)
        assert run.returncode != 0, f"{attempt} build passed:\n{run.stdout}"
        for name in names:
            assert name in run.stdout + run.stderr, f"{attempt} build does not name {name}:\n{run.stdout}{run.stderr}"


def test_broken_library_function_fails_the_build(tmp_path):
    """The chapter and the test of the library would both have to be wrong: a routine that is changed breaks the claim
    that uses it.
    """
    root = house.make(tmp_path / "book")
    house.edit(root / "lib" / "deepdynamics" / "activations" / "named.py", "xp.tanh(", "xp.cosh(")
    for _ in range(2):
        run = house.build(root)
        assert run.returncode != 0 and CHAPTER in run.stderr, run.stdout + run.stderr
