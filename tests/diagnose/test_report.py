"""A report as a table, as HTML, as JSON, as a picture; and the command."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from deepdynamics import figures
from deepdynamics.diagnose import Report, diagnose
from deepdynamics.diagnose.__main__ import main
from torch import nn

MODULE = """
import torch
from torch import nn

def make():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 9), nn.Tanh(), nn.Linear(9, 9), nn.Tanh(), nn.Linear(9, 3)), torch.randn(6, 4)

def repeated():
    model, x = make()
    return model, torch.ones(6, 4), [0, 1, 2, 0, 1, 2]
"""


@pytest.fixture
def report():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 9), nn.Tanh(), nn.Linear(9, 9), nn.Tanh(), nn.Linear(9, 3))
    return diagnose(net, torch.randn(6, 4))


def test_a_table(report):
    frame = report.to_frame()
    assert isinstance(frame, pd.DataFrame) and list(frame.index) == ["0", "1", "2", "3", "4"]
    assert frame.loc["2", "q"] == report.layers[2].q and frame.loc["1", "role"] == "activation"


def test_a_report_is_frozen_and_unpacks(report):
    with pytest.raises(AttributeError):
        report.model = "another"
    assert len(list(report)) == len(Report.__dataclass_fields__)


def test_text_and_html_escape_what_they_are_given(report):
    assert "Nothing odd was found." in str(report) and "learning rate" in str(report)
    html = report._repr_html_()
    assert html.count("<table") == 2 and html.count("<div>") == 1 and "Sequential" in html


def test_json_has_no_numbers_that_are_none(report):
    found = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert found["rates"]["rate_batch"] == report.rates.rate_batch
    assert found["signal"]["scale"] == report.signal.scale
    assert found["layers"][0]["saturation"] is None and found["layers"][1]["saturation"] is not None


def test_the_picture_shows_what_the_report_says(report):
    fig = figures.diagnosis(report)
    signal, pair, back, units = fig.axes
    (container,) = signal.containers
    np.testing.assert_allclose(container[0].get_ydata(), [layer.q for layer in report.layers if layer.on_main])
    assert signal.get_yscale() == back.get_yscale() == "log" and pair.get_yscale() == "linear"
    assert all(ax.get_ylabel() for ax in fig.axes) and back.get_xlabel() == units.get_xlabel() == "operation"


def test_the_picture_of_a_network_of_which_nothing_is_seen():
    net = torch.jit.script(nn.Sequential(nn.Linear(3, 3), nn.Tanh()))
    assert len(figures.diagnosis(diagnose(net, torch.randn(3, 3))).axes) == 4


def test_the_command(tmp_path, monkeypatch, capsys):
    (tmp_path / "made_here.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert main(["made_here:make"]) == 0 and "Nothing odd" in capsys.readouterr().out
    assert main(["made_here:repeated", "--json", "--learning-rate", "1e-6"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["findings"][0]["kind"] == "repeated inputs" and found["learning_rate"] == 1e-6
    with pytest.raises(SystemExit):
        main(["nothing"])


def test_the_command_writes_nothing_to_standard_error(tmp_path):
    (tmp_path / "made_there.py").write_text(MODULE)
    run = [sys.executable, "-m", "deepdynamics.diagnose", "made_there:make"]
    done = subprocess.run(run, capture_output=True, text=True, cwd=tmp_path, timeout=300)
    assert done.returncode == 0 and done.stderr == "" and "Jacobian" in done.stdout


def test_the_example_of_the_readme_says_what_stands_there(capsys):
    text = (Path(__file__).parents[2] / "README.md").read_text("utf8")
    program, printed = re.findall(r"```(?:python|text)\n(.*?)```", text, flags=re.S)[:2]
    exec(program, {})
    said = capsys.readouterr().out
    words = lambda report: re.sub(r"[-\d.e+]+", "", report).split()  # the digits may differ by the machine
    assert words(said) == words(printed)
