"""What is odd: each finding a function of a report's numbers, with one threshold.

The thresholds were fixed on networks that are not those of the confusion table
(:mod:`deepdynamics.experiments.every_lens.faults`): beyond everything that healthy networks of other architectures
showed, with room.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable

from deepdynamics.diagnose.report import Block, Finding, Layer, Report, Trend

__all__ = ["KINDS", "THRESHOLDS", "findings"]

# The changes are natural logarithms, from end to end: exp(-6) of a mean square is what Schoenholz et al. (2017) see
# networks learn through.
THRESHOLDS = {
    "signal": 5.0,
    "gradient": 5.0,
    "merging": 5.0,
    "dead units": 0.9,
    "saturation": 0.5,
    "input scale": 100.0,
    "repeated inputs": 0.0,
    "missing skip": 0.0,
    "learning rate": 1.0,
}


def findings(report: Report) -> tuple[Finding, ...]:
    """The findings of a report, whose own are not looked at, in the order of :data:`KINDS`."""
    return tuple(found for kind in KINDS.values() if (found := kind(report)) is not None)


def _signal(report: Report) -> Finding | None:
    def text(change: float) -> str:
        way = "grows" if change > 0 else "fades"
        return f"the mean square of the signal {way} by a factor of {_factor(change)} from the first to the last layer"

    return _trend("signal", report.signal, text, "order-and-chaos", "oc-maps")


def _gradient(report: Report) -> Finding | None:
    def text(change: float) -> str:
        way = "explodes" if change > 0 else "vanishes"
        return f"the squared gradient {way} by a factor of {_factor(change)} on its way back to the first layer"

    return _trend("gradient", report.gradient, text, "order-and-chaos", "oc-back")


def _merging(report: Report) -> Finding | None:
    trend = report.merging
    if trend is None or trend.change > 0:
        return None
    return _trend(
        "merging",
        trend,
        lambda change: f"the inputs' mean distance 1 − c shrinks by a factor of {_factor(change)}: they look alike",
        "order-and-chaos",
        "oc-trainability",
    )


def _trend(
    kind: str, trend: Trend | None, text: Callable[[float], str], chapter: str, section: str
) -> Finding | None:
    bound = THRESHOLDS[kind]
    if trend is None or not abs(trend.change) > bound:
        return None
    return Finding(kind, text(trend.change), "", trend.change, trend.error, bound, chapter, section)


def _dead(report: Report) -> Finding | None:
    worst = _largest(report, "dead")
    if worst is None or worst.dead <= THRESHOLDS["dead units"]:
        return None
    error = math.sqrt(worst.dead * (1 - worst.dead) / max(worst.units, 1))
    text = f"{worst.dead:.0%} of the {worst.units} units of {worst.name} have one value at all {report.inputs} inputs"
    return Finding(
        "dead units", text, worst.name, worst.dead, error, THRESHOLDS["dead units"], "order-and-chaos", "oc-back"
    )


def _saturated(report: Report) -> Finding | None:
    worst = _largest(report, "saturation")
    if worst is None or worst.saturation <= THRESHOLDS["saturation"]:
        return None
    error = math.sqrt(worst.saturation * (1 - worst.saturation) / max(worst.units, 1))
    text = f"{worst.saturation:.0%} of the slopes of {worst.name} ({worst.kind}) are nearly flat"
    return Finding(
        "saturation",
        text,
        worst.name,
        worst.saturation,
        error,
        THRESHOLDS["saturation"],
        "edge-of-chaos",
        "edge-logistic",
    )


def _input_scale(report: Report) -> Finding | None:
    q, bound = report.q_input, THRESHOLDS["input scale"]
    if not math.isfinite(q) or 1 / bound**2 <= q <= bound:
        return None
    text = f"the inputs' mean square is {q:.2g}: learning rates and initial weights expect something near 1"
    return Finding("input scale", text, "", q, math.nan, bound, "fisher-isometry", "fisher-isometry-online")


def _repeated(report: Report) -> Finding | None:
    if report.repeated <= THRESHOLDS["repeated inputs"]:
        return None
    text = f"{report.repeated} of {report.inputs} inputs equal an earlier one"
    return Finding("repeated inputs", text, "", float(report.repeated), 0.0, 0.0, "order-and-chaos", "oc-maps")


def _missing_skip(report: Report) -> Finding | None:
    families: dict[str, list[Block]] = defaultdict(list)
    for block in report.blocks:
        families[block.kind].append(block)
    for kind, blocks in families.items():
        most = max(block.sums for block in blocks)
        fewer = [block for block in blocks if block.sums < most]
        if fewer:
            names = ", ".join(block.name for block in fewer)
            text = f"of {len(blocks)} blocks {kind} that keep their shape, {names} lacks a residual sum of the others"
            return Finding(
                "missing skip", text, fewer[0].name, float(len(fewer)), 0.0, 0.0, "other-architectures", "oa-residual"
            )
    return None


def _learning_rate(report: Report) -> Finding | None:
    if report.rates is None or report.learning_rate is None:
        return None
    ratio = report.learning_rate / report.rates.rate_batch
    if ratio <= THRESHOLDS["learning rate"]:
        return None
    text = f"the learning rate is {ratio:.3g} times 2/λ_max = {report.rates.rate_batch:.3g} of this batch"
    error = ratio * report.rates.batch_residual
    return Finding("learning rate", text, "", ratio, error, 1.0, "fisher-wide", "fisher-wide-rate")


KINDS: dict[str, Callable[[Report], Finding | None]] = {
    "signal": _signal,
    "gradient": _gradient,
    "merging": _merging,
    "dead units": _dead,
    "saturation": _saturated,
    "input scale": _input_scale,
    "repeated inputs": _repeated,
    "missing skip": _missing_skip,
    "learning rate": _learning_rate,
}


def _largest(report: Report, field: str) -> Layer | None:
    known = [layer for layer in report.layers if math.isfinite(getattr(layer, field))]
    return max(known, key=lambda layer: float(getattr(layer, field)), default=None)


def _factor(change: float) -> str:
    return f"{math.exp(min(abs(change), 700)):.2g}"
