"""The experiments: the edge of a known profile, cells that are independent of others, labels, the command."""

import json
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray
import yaml
from deepdynamics import data, experiments, results
from deepdynamics.experiments import experiment_of
from deepdynamics.experiments.order_and_chaos import trainability
from deepdynamics.experiments.order_and_chaos.trainability import edge, edge_multiples, mean_over_columns, measured
from deepdynamics.meanfield import MeanField
from deepdynamics.results import __main__ as command
from deepdynamics.results import places, states
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

ROOT = Path(__file__).resolve().parents[2]
DEPTHS = np.array(trainability.DEPTHS, dtype=float)


# The edge


@given(st.floats(9.0, 90.0), st.floats(0.3, 3.0), st.floats(1.5, 10.0))
def test_the_edge_of_a_profile_linear_in_log_depth_is_exact(true_edge, slope, scale):
    accuracy = 0.5 - slope * np.log(DEPTHS / true_edge)
    assert edge(accuracy, DEPTHS) == pytest.approx(true_edge, rel=1e-12)
    assert edge(accuracy, scale * DEPTHS) == pytest.approx(scale * true_edge, rel=1e-12)


@given(st.floats(10.0, 80.0), st.floats(4.0, 12.0))
def test_the_edge_of_a_logistic_profile_is_found_within_the_grid(true_edge, steepness):
    """Depths are a factor √2 apart and the profile is odd about its edge: off by 5 % at most, seen by scanning."""
    accuracy = 0.1 + 0.8 / (1 + (DEPTHS / true_edge) ** steepness)
    assert edge(accuracy, DEPTHS) == pytest.approx(true_edge, rel=0.05)


@given(st.lists(st.floats(0, 1), min_size=8, max_size=8), st.lists(st.booleans(), min_size=8, max_size=8))
def test_an_edge_lies_where_the_profile_crosses_for_the_last_time(values, trained):
    accuracy = np.where(trained, values, np.nan)
    found = float(edge(accuracy, DEPTHS))
    kept = [(d, a) for d, a in zip(DEPTHS, accuracy, strict=True) if not np.isnan(a)]
    above = [d for d, a in kept if a >= 0.5]
    if not above:
        assert np.isnan(found)
    elif above[-1] == kept[-1][0]:
        assert found == np.inf
    else:
        assert above[-1] <= found * (1 + 1e-12) and found <= min(d for d, _ in kept if d > above[-1]) * (1 + 1e-12)
    lower = float(edge(accuracy, DEPTHS, threshold=0.25))
    assert np.isnan(found) or lower >= found * (1 - 1e-12)  # a lower threshold never brings the edge closer


def test_edges_of_many_profiles_are_those_of_each():
    accuracy = np.random.default_rng(1).uniform(size=(3, 4, 8))
    together = edge(accuracy, DEPTHS)
    assert together.shape == (3, 4)
    assert np.array_equal(together[2, 1], edge(accuracy[2, 1], DEPTHS), equal_nan=True)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (([0.9, 0.1], [2, 1]), r"depths = \[2, 1\]: positive numbers in ascending order"),
        (([0.9, 0.1], [0, 1]), r"depths = \[0, 1\]: positive"),
        (([0.9, 0.1, 0.1], [1, 2]), r"accuracy of shape \(3,\): \(…, 2\) is needed"),
        (([0.9, 0.1], [1, 2], float("nan")), "threshold = nan: a finite number"),
    ],
)
def test_bad_arguments_of_the_edge(arguments, message):
    with pytest.raises(ValueError, match=message):
        edge(*arguments)


def test_multiples_are_edges_over_the_mean_field_depth_scale():
    columns = [1.0, 1.76, 4.0]
    profile = np.stack([0.5 - np.log(DEPTHS / true) for true in (20.0, 1e6, 42.0)])
    table = xarray.DataArray(profile[None], dims=("seed", "weight_var", "depth"))
    table = table.assign_coords(weight_var=columns, depth=list(trainability.DEPTHS), seed=[0])
    multiples = edge_multiples(table)
    xi = [MeanField("tanh", value, 0.05).xi_c for value in columns]
    assert multiples.xi_c.values == pytest.approx(xi, rel=1e-12)
    assert multiples.sel(seed=0).values == pytest.approx([20 / xi[0], np.inf, 42 / xi[2]], rel=1e-9)


def test_a_column_with_an_edge_beyond_the_depths_is_left_out_as_a_whole():
    values = [[5.0, np.inf, 6.0, 7.0], [5.5, 8.0, np.nan, 7.5]]
    table = xarray.DataArray(values, dims=("seed", "weight_var"), coords={"weight_var": [1.0, 2.0, 3.0, 4.0]})
    kept = measured(table)
    assert kept.weight_var.values.tolist() == [1.0, 4.0]
    assert kept.transpose("seed", "weight_var").values.tolist() == [[5.0, 7.0], [5.5, 7.5]]


# The map


@pytest.fixture
def digits(monkeypatch):
    """The stand-in for MNIST, whatever data are there."""
    monkeypatch.delenv("DEEPDYNAMICS_DATA", raising=False)
    monkeypatch.setattr(data.datasets, "_find", lambda *_: None)
    trainability._digits.cache_clear()
    yield trainability._digits()
    trainability._digits.cache_clear()


def test_a_cell_is_the_same_whatever_else_is_trained_and_however_long(digits):
    short = trainability.train(1.0, 8, 0, (100,))
    long = trainability.train(1.0, 8, 0, (100, 130))
    assert np.array_equal(short[0], long[0], equal_nan=True)
    assert long.shape == (2, 7) and np.isnan(long[:, 5:]).all() and not np.isnan(long[:, :5]).any()
    other = trainability.train(1.0, 8, 1, (100,))
    assert not np.array_equal(short[0, :5], other[0, :5])


def test_a_cell_agrees_with_automatic_differentiation(digits):
    """One rate of one cell, trained by torch's own SGD on the same network and the same images."""
    from deepdynamics._batched import mini_batches
    from deepdynamics.networks import MLP

    images, labels, _ = digits
    weight_var, depth, seed, steps, place = 1.0, 8, 0, 100, 2
    draw = trainability.draw_of(weight_var, depth, seed)
    widths = (784, *(trainability.WIDTH,) * depth, 10)
    network = MLP(widths, "tanh", weight_var=weight_var, bias_var=trainability.BIAS_VAR, seed=draw)
    descent = torch.optim.SGD(network.parameters(), lr=trainability.RATES[place])
    right = []
    for batch in mini_batches(len(images), trainability.BATCH, steps, [draw]):
        logits = network(images[batch])
        right.append((logits.argmax(1) == labels[batch]).float().mean().item())
        descent.zero_grad()
        torch.nn.functional.cross_entropy(logits, labels[batch]).backward()
        descent.step()
    # rounding differs; of 3,200 answers some ten may
    found = trainability.train(weight_var, depth, seed, (steps,))[0, place]
    assert found == pytest.approx(np.mean(right), abs=0.003)
    assert found > 0.3  # it learns


def test_every_cell_has_its_own_draws():
    cells = [(w, d, s) for w in trainability.WEIGHT_VARS for d in trainability.DEPTHS for s in trainability.SEEDS]
    assert len({trainability.draw_of(*cell) for cell in cells}) == len(cells)


def test_the_cells_of_the_map_bracket_what_is_measured():
    """At least eight repetitions on each side of criticality, trained from 3 ξ_c or below to 7 ξ_c or beyond."""
    sides = []
    for weight_var in trainability.WEIGHT_VARS:
        field = MeanField("tanh", weight_var, trainability.BIAS_VAR)
        first = [d for d in trainability.DEPTHS if trainability.in_map(weight_var, d, 0)]
        assert first == list(trainability.DEPTHS[: len(first)])  # complete below
        for seed in trainability.SEEDS[1:]:
            if depths := [d for d in trainability.DEPTHS if trainability.in_map(weight_var, d, seed)]:
                assert depths[0] <= 3 * field.xi_c and depths[-1] >= 7 * field.xi_c and set(depths) <= set(first)
                sides.append(field.phase)
    assert len(sides) >= 16 and sides.count("ordered") >= 8 and sides.count("chaotic") >= 8


def stored() -> xarray.DataArray:
    return results.load("order-chaos.trainability").accuracy


def test_the_stored_map_is_whole():
    accuracy = stored()
    for weight_var in trainability.WEIGHT_VARS:
        tried = trainability.rates_tried(weight_var)
        for depth in trainability.DEPTHS:
            for seed in trainability.SEEDS:
                cell = accuracy.sel(seed=seed, weight_var=weight_var, depth=depth).values
                assert (~np.isnan(cell)).sum() == trainability.in_map(weight_var, depth, seed) * len(tried) * 4
    assert float(accuracy.min()) >= 0 and float(accuracy.max()) <= 1


def test_the_best_rate_is_inside_the_grid_of_rates():
    """Where something is learnt (half way or better), the largest and the smallest rate tried are rarely the best."""
    final = stored().sel(checkpoint=1000)
    learnt, outside = 0, 0
    for weight_var in trainability.WEIGHT_VARS:
        tried = trainability.rates_tried(weight_var)
        cells = final.sel(weight_var=weight_var).values.reshape(-1, len(trainability.RATES))[:, tried]
        cells = cells[~np.isnan(cells).any(axis=1)]
        cells = cells[cells.max(axis=1) >= 0.5]
        learnt += len(cells)
        outside += int(np.isin(cells.argmax(axis=1), (0, len(tried) - 1)).sum())
    assert learnt > 50 and outside <= 0.1 * learnt


# All experiments

KEYS = [key for found in experiments.EXPERIMENTS.values() for key in found]


@pytest.mark.parametrize("key", KEYS)
def test_an_experiment_labels_what_is_stored(key):
    """The stored arrays have the dimensions, and labels among those, that the experiment gives them now."""
    experiment, found = experiment_of(key), results.load(key)
    assert key == experiment.KEY and set(found.data_vars) == set(experiment.DIMENSIONS)
    for name, dims in experiment.DIMENSIONS.items():
        assert found[name].dims == tuple(dims)
    for dim in found.dims:
        assert set(found[dim].values.tolist()) <= set(experiment.COORDINATES[dim])


@pytest.mark.parametrize("key", KEYS)
def test_the_points_of_an_experiment_lie_in_what_is_stored(key):
    experiment, found = experiment_of(key), results.load(key)
    paper = experiment.grid("paper")
    assert len(paper) == len({str(point) for point in paper})
    for point in [*experiment.grid("live"), *experiment.checks, *paper]:
        assert all(
            point[dim] in found[dim] or point[dim] in ("control", "shuffled") for dim in point if dim in found.dims
        )
    with pytest.raises(ValueError, match="scale = 'huge': one of live, paper"):
        experiment.grid("huge")


@pytest.mark.parametrize("key", KEYS)
def test_the_checks_of_an_experiment_compare_every_array(key):
    """What has no tolerance is what no two runs share (seconds, numbers of products), or what only a whole training
    has, too long for a check."""
    experiment = experiment_of(key)
    entry = json.loads((places.folders()[0] / states.VERIFIED).read_text())[key]
    assert set(experiment.DIMENSIONS) - set(experiment.tolerance) <= {"run", *getattr(experiment, "only_whole", ())}
    assert entry["compared"] == sorted(experiment.tolerance)
    assert entry["cells"] == len(experiment.checks) and entry["of"] == len(experiment.grid("paper"))


@pytest.mark.skipif(not data.available("mnist"), reason="no MNIST")
def test_a_live_cell_is_labelled_as_the_stored_one():
    live = experiments.compute("edge-of-chaos.gain", "live")
    assert live.log_singular_values.dims == ("weights", "gain", "network", "rank")
    kept = results.load("edge-of-chaos.gain").sel({dim: live[dim] for dim in live.dims})
    # To 1e-4 in the logarithm: logarithms around -40 are kept in float32, and at this gain rounding hardly grows.
    xarray.testing.assert_allclose(live.log_singular_values, kept.log_singular_values, rtol=0, atol=1e-4)


# The command


def test_the_command_runs_the_results_of_a_chapter(tmp_path, monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(
        results, "store", lambda key, keep, workers, **_: asked.append((key, keep, workers)) or tmp_path / "a.npz"
    )
    assert command.main(["order-and-chaos", "--workers", "2", "--keep", str(tmp_path)]) == 0
    assert asked == [("order-chaos.trainability", tmp_path / "order-chaos.trainability", 2)]
    assert capsys.readouterr().out.startswith("order-chaos.trainability\na.npz: 0 s")
    assert command.main(["--keep", str(tmp_path)]) == 0
    assert [key for key, _, _ in asked[1:]] == KEYS


def test_chapters_are_called_as_in_the_map_of_the_book():
    parts = yaml.safe_load((ROOT / "book" / "chapters.yml").read_text("utf8"))
    assert set(experiments.EXPERIMENTS) <= {row["slug"] for part in parts for row in part["chapters"]}


def test_a_chapter_without_experiments(capsys):
    with pytest.raises(SystemExit):
        command.main(["flows"])
    known = ", ".join(experiments.EXPERIMENTS)
    assert f"the chapter 'flows' has no stored results: {known} have" in capsys.readouterr().err


def test_the_command_starts_again_in_a_process_of_one_thread(monkeypatch):
    """Libraries count their threads when they are loaded, which is before the command is."""
    calls = []
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "2")
    monkeypatch.setattr(sys, "argv", ["results", "verify"])
    monkeypatch.setattr(subprocess, "call", lambda command, env: calls.append((command, env)) or 3)
    with pytest.raises(SystemExit, match="3"):
        runpy.run_path(command.__file__, run_name="__main__")
    [(again, environment)] = calls
    assert again == [sys.executable, "-m", "deepdynamics.results", "verify"]
    assert {environment[name] for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")} == {"1"}


def test_the_command_verifies_what_is_behind_or_what_is_named(monkeypatch, capsys):
    states, verified = dict.fromkeys(KEYS, "verified") | {KEYS[1]: "unverified", KEYS[2]: "contradicted"}, []
    monkeypatch.setattr(results, "state", lambda key: results.State(states[key], ""))
    monkeypatch.setattr(results, "verify", lambda key: verified.append(key) or results.State("verified", "all well"))
    assert command.main(["verify"]) == 0
    assert verified == KEYS[1:3] and f"{KEYS[1]}: verified (all well), 0 s" in capsys.readouterr().out
    assert command.main(["verify", KEYS[0]]) == 0
    assert verified[2:] == [KEYS[0]]
    monkeypatch.setattr(results, "verify", lambda key: results.State("contradicted", "not at all"))
    assert command.main(["verify"]) == 1
    with pytest.raises(SystemExit):
        command.main(["verify", "no.such-result"])
    assert "no experiment computes 'no.such-result'" in capsys.readouterr().err


def test_mean_over_columns_knows_that_columns_differ_and_networks_are_drawn():
    """Coverage: with columns far apart, the interval of two standard errors holds the mean of the columns as often as
    Student's law with k(n − 1) degrees of freedom says. 2,000 tables; the tolerance is 4 binomial standard errors."""
    rng, truth = np.random.default_rng(0), np.array([3.0, 9.0, 5.0, 7.0])
    inside = 0
    for _ in range(2000):
        table = truth[:, None] + rng.standard_normal((4, 3))
        mean, error, dof = mean_over_columns(xarray.DataArray(table, dims=("weight_var", "seed")))
        inside += abs(mean - truth.mean()) < 2 * error
    expected = 1 - 2 * stats.t.sf(2, 8)
    assert dof == 8
    assert abs(inside / 2000 - expected) < 4 * np.sqrt(expected * (1 - expected) / 2000)


def test_mean_over_columns_needs_repetitions():
    with pytest.raises(ValueError, match="at least two"):
        mean_over_columns(xarray.DataArray([[1.0]], dims=("weight_var", "seed")))
