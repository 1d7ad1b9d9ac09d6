"""From records of operations to layers, trends along the main way, and what mean field theory expects of them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from deepdynamics import activations
from deepdynamics._checks import Array
from deepdynamics.activations import Activation
from deepdynamics.diagnose.report import Layer, MeanFieldFit, Trend
from deepdynamics.diagnose.signals import Record
from deepdynamics.meanfield import MeanField

__all__ = ["correlation", "layers", "main_way", "nearest_mean_field", "trends"]

_TINY = 1e-30
_NAMES = {"special_erf": "erf"}


def correlation(gram: Array) -> tuple[float, float]:
    """The mean correlation over pairs of samples of a Gram matrix (n, n), and its standard error over samples
    (jackknife); nan for one sample or a signal that is zero.

    >>> correlation(np.array([[1.0, 0.5], [0.5, 1.0]]))[0]
    0.5
    """
    return _jackknife(lambda kept: _mean_correlation(gram[np.ix_(kept, kept)]), len(gram))


def _mean_correlation(gram: Array) -> float:
    n = len(gram)
    lengths = np.sqrt(np.diagonal(gram))
    if n < 2 or not (lengths > 0).all():
        return math.nan
    c = gram / np.outer(lengths, lengths)
    return float(min((c.sum() - np.trace(c)) / (n * (n - 1)), 1.0))


def _jackknife(statistic: Callable[[NDArray[np.int_]], float], n: int) -> tuple[float, float]:
    everything: NDArray[np.int_] = np.arange(n)
    value = statistic(everything)
    if n < 3 or not math.isfinite(value):
        return value, math.nan
    without = np.array([statistic(np.delete(everything, k)) for k in range(n)])
    return value, float(math.sqrt((n - 1) * without.var()))


def layers(records: Sequence[Record], input_gram: Array, *, differ: bool) -> tuple[Layer, ...]:
    """One :class:`Layer` a record; ``differ``: whether two inputs do, without which no unit is known to be dead.

    >>> record = Record("0", "linear", "weights", gram=np.array([[2.0, 1.0], [1.0, 2.0]]), gradients=[4.0, 4.0])
    >>> (layer,) = layers([record], np.eye(2), differ=True)
    >>> layer.q, round(layer.correlation, 12), layer.gradient
    (2.0, 0.5, 2.0)
    """
    on_main = {id(record) for record in main_way(records)}
    found = (_layer(record, input_gram, id(record) in on_main) for record in records)
    return tuple(layer if differ else replace(layer, dead=math.nan) for layer in found)


def _layer(record: Record, input_gram: Array, on_main: bool) -> Layer:
    q, q_error = _mean(np.diagonal(record.gram))
    c, c_error = correlation(record.gram)
    squared, squared_error = _mean(np.array(record.gradients))
    gradient = math.sqrt(squared) if squared >= 0 else math.nan
    expected = _expected(record, input_gram) if record.role == "weights" else (math.nan,) * 4
    return Layer(
        name=record.name,
        kind=record.kind,
        role=record.role,
        branch=record.branch,
        units=record.units,
        q=q,
        q_error=q_error,
        correlation=c,
        correlation_error=c_error,
        gradient=gradient,
        gradient_error=squared_error / (2 * gradient) if gradient > 0 else math.nan,
        saturation=record.saturation,
        dead=record.dead,
        weight_var=record.variances[0],
        bias_var=record.variances[1],
        q_theory=expected[0],
        correlation_theory=expected[1],
        chi=expected[2],
        chi_theory=expected[3],
        on_main=on_main,
    )


def _mean(values: Array) -> tuple[float, float]:
    if len(values) == 0:
        return math.nan, math.nan
    error = float(values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else math.nan
    return float(values.mean()), error


def known_activation(record: Record) -> Activation | None:
    """The library's activation that a record computes, None where it has none."""
    name = _NAMES.get(record.kind, record.kind)
    z = torch.linspace(-3, 3, 13, dtype=torch.float64)
    try:
        value = record.function(z.clone()) if record.function is not None else z
        slope = float(-record.function(-torch.ones(1, dtype=torch.float64))) if name == "leaky_relu" else 0.0  # type: ignore[misc]
        found = activations.LeakyReLU(slope) if name == "leaky_relu" else activations.get(name)
        return found if torch.allclose(found(z), value) else None
    except (ValueError, RuntimeError, TypeError):
        return None


def _expected(record: Record, input_gram: Array) -> tuple[float, float, float, float]:
    """q and correlation of a layer by theory, its gain of squared gradients measured and by theory: of W φ(h) + b from
    the length and the correlation of h."""
    source = record.source
    weight_var, bias_var = record.variances
    if not np.isfinite(record.variances).all():
        return (math.nan,) * 4
    if record.from_input:
        q = float(np.diagonal(input_gram).mean())
        shared = q * correlation(input_gram)[0]
        length = weight_var * q + bias_var
        return length, (weight_var * shared + bias_var) / length if length > 0 else math.nan, math.nan, math.nan
    if source is None or source.role != "activation" or not source.q_before > 0:
        return (math.nan,) * 4
    phi = known_activation(source)
    if phi is None:
        return (math.nan,) * 4
    theory = MeanField(phi, weight_var, bias_var)
    q = source.q_before
    length = float(theory.length_map(q))
    out = math.nan
    if source.before_gram is not None and math.isfinite(c := correlation(source.before_gram)[0]):
        out = float(theory.next_correlation(q, min(max(c, -1.0), 1.0)))
    back, ahead = sum(source.gradients_before), sum(record.gradients)
    return length, out, back / ahead if ahead > 0 else math.nan, float(theory.gradient_factor(q))


def nearest_mean_field(records: Sequence[Record]) -> MeanFieldFit | None:
    """The random network whose activation is the commonest one before weights outside branches, with their mean
    variances; None where no layer is one that theory knows, nan for what needs a fixed point where lengths have none.

    >>> tanh = Record("1", "tanh", "activation", function=torch.tanh)
    >>> nearest_mean_field([Record("2", "linear", "weights", source=tanh, variances=(0.5, 0.0))]).phase
    'ordered'
    """
    found = []
    for record in records:
        source = record.source
        plain = record.role == "weights" and not record.branch and bool(np.isfinite(record.variances).all())
        if plain and source is not None and source.role == "activation":
            phi = known_activation(source)
            if phi is not None:
                found.append((phi.name, phi, record.variances))
    hidden = found[:-1] if len(found) > 1 else found  # the readout is another layer
    if not hidden:
        return None
    name = Counter(each[0] for each in hidden).most_common(1)[0][0]
    chosen = [each for each in hidden if each[0] == name]
    weight_var, bias_var = (float(np.mean([each[2][k] for each in chosen])) for k in (0, 1))
    theory = MeanField(chosen[0][1], weight_var, bias_var)
    values = {}
    for key in ("chi_1", "xi_c", "xi_grad"):
        try:
            values[key] = float(getattr(theory, key))
        except ValueError:  # a fixed point that does not exist
            values[key] = math.nan
    phase = "none" if math.isnan(values["chi_1"]) else theory.phase
    return MeanFieldFit(name, weight_var, bias_var, phase, **values, layers=len(chosen))


def main_way(records: Sequence[Record]) -> list[Record]:
    """The signal outside residual branches after each layer: outputs of weights, of the normalisation that follows
    them at once, and of residual sums and gates.

    >>> [record.name for record in main_way([Record("a", "linear", "weights"), Record("b", "tanh", "activation")])]
    ['a']
    """
    return [
        record
        for record in records
        if not record.branch
        and (
            (record.role == "weights" and (record.normaliser is None or record.normaliser.branch != ""))
            or (record.role == "normalisation" and record.source is not None and record.source.role == "weights")
            or record.role in ("sum", "product")
            or (record.role == "other" and record.units > 0)
        )
    ]


def trends(records: Sequence[Record], input_gram: Array) -> tuple[Trend | None, Trend | None, Trend | None]:
    """How log q changes from the first hidden layer of the main way to the last, log ‖∂E/∂h‖² from the last back to
    the first, and log(1 − correlation) from the inputs to the last; None where there are fewer than two such layers.

    The last layer of the main way is the readout and is left out: pooling and its own width set its scale.

    >>> made = [Record(str(k), "linear", "weights", gram=np.eye(2) / 2**k, gradients=[1.0, 1.0]) for k in range(4)]
    >>> signal, gradient, merging = trends(made, np.eye(2))
    >>> round(signal.change / math.log(2), 12), gradient.change, merging.change
    (-2.0, 0.0, 0.0)
    """
    hidden = main_way(records)[:-1]
    if len(hidden) < 2:
        return None, None, None
    first, last = hidden[0], hidden[-1]
    steps = len(hidden) - 1
    signal = _change(np.diagonal(first.gram), np.diagonal(last.gram), steps)
    gradient = _change(np.array(last.gradients), np.array(first.gradients), steps)
    start = input_gram if np.isfinite(input_gram).all() else first.gram

    def merging(kept: NDArray[np.int_]) -> float:
        before, after = (1 - _mean_correlation(gram[np.ix_(kept, kept)]) for gram in (start, last.gram))
        if not before > 1e-6 or not math.isfinite(after):
            return math.nan
        return math.log(max(after, 1e-7) / before)

    change = _jackknife(merging, len(last.gram))
    return signal, gradient, Trend(*change, steps + 1) if math.isfinite(change[0]) else None


def _change(before: Array, after: Array, steps: int) -> Trend | None:
    if len(before) == 0 or len(before) != len(after) or not (np.isfinite(before).all() and np.isfinite(after).all()):
        return None
    mean, error = _mean(np.log(np.maximum(after, _TINY)) - np.log(np.maximum(before, _TINY)))
    return Trend(mean, error, steps)
