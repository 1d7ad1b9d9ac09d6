"""Progress bars: on standard output, where somebody looks, or as the switch says."""

import sys

import pytest
from deepdynamics import _progress


def shown(capsys) -> str:
    with _progress.bar(3, "cells") as progress:
        progress.update(3)
    printed = capsys.readouterr()
    assert printed.err == ""
    return printed.out


@pytest.mark.parametrize("looks", [False, True])
def test_a_bar_is_shown_where_somebody_looks(monkeypatch, capsys, looks):
    monkeypatch.delenv("DEEPDYNAMICS_PROGRESS", raising=False)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: looks)
    assert ("cells: 100%" in shown(capsys)) is looks


@pytest.mark.parametrize("looks", [False, True])
@pytest.mark.parametrize("switch", ["0", "1"])
def test_the_switch_has_the_last_word(monkeypatch, capsys, looks, switch):
    monkeypatch.setenv("DEEPDYNAMICS_PROGRESS", switch)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: looks)
    assert ("cells: 100%" in shown(capsys)) is (switch == "1")


def test_whoever_asks_for_no_bar_gets_none(monkeypatch, capsys):
    monkeypatch.setenv("DEEPDYNAMICS_PROGRESS", "1")
    with _progress.bar(3, "cells", show=False) as progress:
        progress.update(3)
    assert capsys.readouterr() == ("", "")


def test_a_switch_that_says_neither(monkeypatch):
    monkeypatch.setenv("DEEPDYNAMICS_PROGRESS", "yes")
    with pytest.raises(ValueError, match=r"DEEPDYNAMICS_PROGRESS = 'yes': 0 .* or 1"):
        _progress.somebody_looks()
