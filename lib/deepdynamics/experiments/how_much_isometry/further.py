"""The sweep taken further: six times the steps, and networks of other depths. And a linear classifier as control.

Pairs of digits, networks with orthogonal weights and both signals kept, rates, seeds as in ``sweep``, and one question,
whether the sum is even. Two arms:

- *longer*: twelve layers, 3,000 steps in the place of 500, at the two smallest q and at 0.8, which was the best after
  500. Is a network of small q unable to learn, or slow?
- *other depths*: 3 and 36 layers, 500 steps. The spread is about L times a function of q, so that at one depth a best
  spread and a best q are the same finding. Which of them does one keep when the depth changes?

The learning rate is chosen for every setting as there, on one network and on pairs of its own, from the five rates
about those that won there. ``logistic`` is the test accuracy of multinomial logistic regression of the 20,000 pairs
(scikit-learn), its penalty chosen on the same 2,500 pairs, for both questions.

Fixed before the run, with one network of the seed 100 at each setting in view, at three rates:

- after 3,000 steps q = 0.8 against q = 0.003; q = 0.003 after 3,000 steps against itself after 500;
- at 36 layers, q = 0.3 (spread 6) against q = 0.8, which is the best at twelve layers and has spread 6 there;
- the lowest of the accuracies at 3, 12 and 36 layers of q = 0.3, against that of the q of spread 6 (5, 0.8 and 0.3).

    stored = results.load(further.KEY)
    stored.accuracy.sel(depth=36, steps=500).dropna("q")      # (q, seed)
"""

import functools
from collections.abc import Sequence

from sklearn.linear_model import LogisticRegression

from deepdynamics import data
from deepdynamics.experiments._experiment import Point, at_scale, points
from deepdynamics.experiments.how_much_isometry import sweep

__all__ = ["KEY", "cell", "checks", "grid", "logistic_accuracy"]

KEY = "how-much-isometry.further"
LONGER, DEPTHS = 3000, (3, 12, 36)
RATES, SEEDS = (2.0, 4.0, 8.0, 16.0, 32.0), sweep.SEEDS
PENALTIES = (1.0, 100.0, 10_000.0)  # the reciprocal of the weight of ‖w‖²/2 beside the summed losses
QS = (0.001, 0.003, 0.03, 0.1, 0.3, 0.8, 1.9, 5.0)
AT = {(12, LONGER): (0.001, 0.003, 0.8), (3, sweep.STEPS): QS[3:], (36, sweep.STEPS): QS[2:6]}
SETTING = ("depth", "steps", "q")
DIMENSIONS = {
    "accuracy": (*SETTING, "seed"),
    "loss": (*SETTING, "seed"),
    "tuning": (*SETTING, "learning_rate"),
    "rate": SETTING,
    "spread": SETTING,
    "logistic": ("task",),
}
COORDINATES = {
    "depth": DEPTHS,
    "steps": (sweep.STEPS, LONGER),
    "q": QS,
    "seed": SEEDS,
    "learning_rate": RATES,
    "task": sweep.TASKS,
}
PARAMETERS = {name: sweep.PARAMETERS[name] for name in ("activation", "width", "batch", "optimiser", "pairs", "tested")}
PARAMETERS |= {"weights": "orthogonal", "kept": "both"}
NEEDS = sweep.NEEDS
checks = (
    {"depth": 3, "steps": sweep.STEPS, "q": 0.3, "seeds": (0, 1)},
    {"depth": 36, "steps": sweep.STEPS, "q": 0.1, "seeds": (0,)},
)
tolerance = {
    "accuracy": (0.0, 0.06),
    "loss": (0.0, 0.2),
    "tuning": (0.0, 0.06),
    "rate": (1.0, 0.0),
    "spread": (1e-6, 0.0),
    "logistic": (0.0, 0.003),
}


def grid(scale: str) -> list[Point]:
    """Two shallow settings at one seed, or all."""
    live = points(depth=(3,), steps=(sweep.STEPS,), q=(0.3, 5.0), seeds=((0,),))
    paper = [point for (depth, steps), qs in AT.items() for point in points(depth=(depth,), steps=(steps,), q=qs)]
    return at_scale(scale, live=live, paper=paper)


def cell(depth: int, steps: int, q: float, seeds: Sequence[int] = SEEDS) -> dict[str, object]:
    """Accuracies and losses (seed,) of the networks of one setting, at the rate that ``tuning`` (learning_rate,) chose;
    this rate, the spread, and the accuracies of the linear classifier (task,)."""
    plan = sweep.schedule("both", q, depth=depth)
    found = sweep.at_best_rate("sum", plan, "orthogonal", seeds, RATES, steps)
    return found | {"spread": plan.spread, "logistic": [logistic_accuracy(task) for task in sweep.TASKS]}


@functools.lru_cache(maxsize=2)
def logistic_accuracy(task: str) -> float:
    """Test accuracy of logistic regression on a question, at the penalty that is best on the validation pairs."""
    (X, y), (V, v), (T, t) = ((Z.numpy(), sweep.labels(task, *digits).numpy()) for Z, *digits in sweep.pairs())
    fits = [LogisticRegression(C=C, max_iter=300).fit(X, y) for C in PENALTIES]
    return float(max(fits, key=lambda fit: fit.score(V, v)).score(T, t))


def sources() -> data.Provenance:
    """Where the images come from."""
    return sweep.sources()
