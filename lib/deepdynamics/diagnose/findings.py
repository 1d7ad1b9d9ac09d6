"""What is odd: each finding a function of a report's numbers, with one threshold.

The thresholds were fixed on networks that are not those of the confusion table
(:mod:`deepdynamics.experiments.every_lens.faults`): beyond everything that healthy networks of other architectures
showed, with room.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from typing import TypeVar

from deepdynamics.diagnose.report import Block, Finding, Layer, Report, Trend

__all__ = ["THRESHOLDS", "findings", "statistics"]

Known = TypeVar("Known")

# Changes are natural logarithms from end to end. From 2/λ_max to twice that a network can still catch itself, with its
# curvature falling (Lewkowycz et al. 2020, arXiv:2003.02218); above, a trial decides where one can be made. The last
# two are counts, of which one is enough.
THRESHOLDS = {
    "signal": 4.0,
    "gradient": 6.0,
    "merging": 4.0,
    "dead units": 0.6,
    "saturation": 0.45,
    "input scale": 7.0,
    "learning rate": 2.0,
    "repeated inputs": 0.0,
    "missing skip": 0.0,
}


def findings(report: Report) -> tuple[Finding, ...]:
    """The findings of a report, whose own are not looked at: outputs that are not finite, before all others, and the
    kinds whose statistic is above its threshold.

    >>> from torch import nn, ones
    >>> from deepdynamics.diagnose import diagnose
    >>> [found.kind for found in findings(diagnose(nn.Linear(2, 2), ones(2, 2)))]
    ['repeated inputs']
    """
    values = statistics(report)
    odd = tuple(_WORDS[kind](report) for kind, bound in THRESHOLDS.items() if values[kind] > bound)
    return _not_finite(report) + odd


def statistics(report: Report) -> dict[str, float]:
    """What each kind of finding looks at; nan where it is not known, which is no finding.

    "signal", "gradient": the absolute change of the logarithm along the depth, of more than one step; "merging": how
    far log(1 − correlation) falls; "dead units", "saturation": the largest share of a layer; "input scale": |log q| of
    the inputs; "learning rate": that rate over 2/λ_max of the batch, 0 where it was tried and the loss did not grow;
    "repeated inputs", "missing skip": how many. Units of gates count as none
    that are dead: a gate with one value still lets the signal pass.

    >>> from torch import nn, ones
    >>> from deepdynamics.diagnose import diagnose
    >>> statistics(diagnose(nn.Linear(2, 2), ones(2, 2)))["repeated inputs"]
    1.0
    """
    merging, q = report.merging, report.q_input
    dead, flat = _largest(report, "dead"), _largest(report, "saturation")
    rates, rate, trial = report.rates, report.learning_rate, report.trial
    ratio = rate / rates.rate_batch if rate and rates else math.nan
    return {
        "signal": abs(report.signal.change) if report.signal and report.signal.layers > 1 else math.nan,
        "gradient": abs(report.gradient.change) if report.gradient and report.gradient.layers > 1 else math.nan,
        "merging": max(-merging.change, 0.0) if merging else math.nan,
        "dead units": dead.dead if dead else math.nan,
        "saturation": flat.saturation if flat else math.nan,
        "input scale": abs(math.log(q)) if q > 0 else math.nan,
        "learning rate": 0.0 if trial and not trial.grew else ratio,
        "repeated inputs": float(report.repeated),
        "missing skip": float(len(_without_skip(report)[1])),
    }


def _found(kind: str, text: str, value: float, error: float, chapter: str, section: str, layer: str = "") -> Finding:
    return Finding(kind, text, layer, value, error, THRESHOLDS[kind], chapter, section)


def _not_finite(report: Report) -> tuple[Finding, ...]:
    names = [layer.name for layer in report.layers if layer.units and not math.isfinite(layer.q)]
    if not names:
        return ()
    text = f"the outputs of {len(names)} of {len(report.layers)} layers are not finite, those of {names[0]} first"
    return (Finding("not finite", text, names[0], float(len(names)), 0.0, 0.0, "order-and-chaos", "oc-maps"),)


def _signal(report: Report) -> Finding:
    trend = _known(report.signal)
    way = "grows" if trend.change > 0 else "fades"
    text = f"the mean square of the signal {way} by a factor of {_factor(trend)} from the first to the last layer"
    text += _by_layer(trend)
    return _found("signal", text, trend.change, trend.error, "order-and-chaos", "oc-maps")


def _gradient(report: Report) -> Finding:
    trend = _known(report.gradient)
    way = "explodes" if trend.change > 0 else "vanishes"
    text = f"the squared gradient {way} by a factor of {_factor(trend)} on its way back to the first layer"
    text += _by_layer(trend)
    return _found("gradient", text, trend.change, trend.error, "order-and-chaos", "oc-back")


def _merging(report: Report) -> Finding:
    trend = _known(report.merging)
    text = f"inputs merge: 1 − correlation shrinks by a factor of {_factor(trend)}"
    return _found("merging", text, trend.change, trend.error, "order-and-chaos", "oc-trainability")


def _dead(report: Report) -> Finding:
    layer = _known(_largest(report, "dead"))
    text = f"{layer.dead:.0%} of the {layer.units} units of {layer.name} have one value at all {report.inputs} inputs"
    return _found(
        "dead units", text, layer.dead, _share_error(layer.dead, layer), "order-and-chaos", "oc-back", layer.name
    )


def _saturated(report: Report) -> Finding:
    layer = _known(_largest(report, "saturation"))
    text = f"{layer.saturation:.0%} of the slopes of {layer.name} ({layer.kind}) are nearly flat"
    error = _share_error(layer.saturation, layer)
    return _found("saturation", text, layer.saturation, error, "edge-of-chaos", "edge-logistic", layer.name)


def _share_error(share: float, layer: Layer) -> float:
    return math.sqrt(share * (1 - share) / max(layer.units, 1))


def _input_scale(report: Report) -> Finding:
    text = f"the inputs' mean square is {report.q_input:.2g}: initial weights and learning rates expect one near 1"
    value = abs(math.log(report.q_input))
    return _found("input scale", text, value, math.nan, "fisher-isometry", "fisher-isometry-online")


def _repeated(report: Report) -> Finding:
    text = f"{report.repeated} of {report.inputs} inputs equal an earlier one"
    return _found("repeated inputs", text, float(report.repeated), 0.0, "order-and-chaos", "oc-maps")


def _without_skip(report: Report) -> tuple[list[Block], list[Block]]:
    """Of the first class of blocks that keep their shape in which some make fewer residual sums than others: all of
    its blocks, and those."""
    families: dict[str, list[Block]] = defaultdict(list)
    for block in report.blocks:
        families[block.kind].append(block)
    for blocks in families.values():
        most = max(block.sums for block in blocks)
        if fewer := [block for block in blocks if block.sums < most]:
            return blocks, fewer
    return [], []


def _missing_skip(report: Report) -> Finding:
    blocks, fewer = _without_skip(report)
    names = ", ".join(block.name for block in fewer)
    text = f"of {len(blocks)} blocks {blocks[0].kind} that keep their shape, {names} lacks a residual sum of the others"
    return _found("missing skip", text, float(len(fewer)), 0.0, "other-architectures", "oa-residual", fewer[0].name)


def _learning_rate(report: Report) -> Finding:
    rates, rate = _known(report.rates), _known(report.learning_rate)
    ratio = rate / rates.rate_batch
    bound = f"2/λ_max = {rates.rate_batch:.3g} of this batch ({rates.loss.replace('_', ' ')})"
    text = f"the learning rate is {ratio:.3g} times {bound}; "
    if trial := report.trial:
        text += f"tried on these inputs, the loss exceeds its start at step {trial.steps}"
    else:
        text += "not tried"
    return _found("learning rate", text, ratio, ratio * rates.batch_residual, "fisher-wide", "fisher-wide-rate")


_WORDS: dict[str, Callable[[Report], Finding]] = {
    "signal": _signal,
    "gradient": _gradient,
    "merging": _merging,
    "dead units": _dead,
    "saturation": _saturated,
    "input scale": _input_scale,
    "learning rate": _learning_rate,
    "repeated inputs": _repeated,
    "missing skip": _missing_skip,
}


def _known(value: Known | None) -> Known:
    assert value is not None  # its statistic is known
    return value


def _largest(report: Report, field: str) -> Layer | None:
    known = [layer for layer in report.layers if math.isfinite(getattr(layer, field))]
    if field == "dead":
        known = [layer for layer in known if not layer.branch.startswith("gate")]
    return max(known, key=lambda layer: float(getattr(layer, field)), default=None)


def _factor(trend: Trend) -> str:
    return f"{math.exp(abs(trend.change)):.2g}"


def _by_layer(trend: Trend) -> str:
    return f", {math.exp(abs(trend.change) / trend.layers):.2g} a layer"
