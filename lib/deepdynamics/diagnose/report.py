"""What a diagnosis says: numbers by layer and for the whole network, findings in words, notes on what is not known."""

from __future__ import annotations

import html
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from typing import Any

import pandas as pd

__all__ = ["Block", "Finding", "Layer", "MeanFieldFit", "Rates", "Report", "Spectrum", "Trend", "Trial"]


@dataclass(frozen=True)
class Layer:
    """One operation of the network, in the order in which they run; nan for what does not apply or is not known.

    ``role``: "weights", "activation", "normalisation", "sum" (of a residual branch and what went past it), "product"
    (of a gate and what it acts on) or "other". ``branch``: "" outside, "branch k" or "skip k", "gate k" or "factor k"
    on the two sides of the k-th sum or product; the side with more weights is the branch, or the gate. ``on_main``:
    whether it belongs to the main way, the signal outside branches after each layer.

    ``q``: mean square of its output over units and inputs; ``correlation``: mean of ⟨h_a, h_b⟩/(‖h_a‖‖h_b‖) over pairs
    of inputs; ``gradient``: root mean square over inputs of ‖∂E/∂h‖. Errors are standard errors over inputs.

    Of activations: ``saturation``, the share of slopes below a tenth of the one at 0, where both ends are flat, and
    ``dead``, the share of units with one value at all inputs and positions. Of weights: ``weight_var`` = n_in · mean W²
    and ``bias_var`` = mean b²; where they act on an activation (or on the input), what mean field theory expects of
    ``q`` and ``correlation``, and ``chi``, the gain of a squared gradient on its way back through both, measured and as
    it expects.

    >>> Layer("0", "linear", "weights").branch
    ''
    """

    name: str
    kind: str
    role: str
    branch: str = ""
    units: int = 0
    q: float = math.nan
    q_error: float = math.nan
    correlation: float = math.nan
    correlation_error: float = math.nan
    gradient: float = math.nan
    gradient_error: float = math.nan
    saturation: float = math.nan
    dead: float = math.nan
    weight_var: float = math.nan
    bias_var: float = math.nan
    q_theory: float = math.nan
    correlation_theory: float = math.nan
    chi: float = math.nan
    chi_theory: float = math.nan
    on_main: bool = False


@dataclass(frozen=True)
class Trend:
    """A logarithm's change from the first to the last hidden layer of the main way, its standard error over inputs,
    and over how many layers; ``scale``: the layers in which it changes by 1.

    >>> Trend(-4.0, 0.1, 8).scale
    2.0
    """

    change: float
    error: float
    layers: int

    @property
    def scale(self) -> float:
        """-layers/change: positive where it falls, negative where it grows, inf where it stays.

        >>> Trend(0.0, 0.1, 8).scale
        inf
        """
        return -self.layers / self.change if self.change else math.inf


@dataclass(frozen=True)
class Block:
    """A module that kept the shape of its input, and how many residual sums it made.

    >>> Block("layer1.0", "BasicBlock", 1).sums
    1
    """

    name: str
    kind: str
    sums: int


@dataclass(frozen=True)
class MeanFieldFit:
    """The random network of mean field theory nearest to the layers that it knows: their activation, mean variances of
    weights and biases, and what these imply.

    >>> MeanFieldFit("relu", 2.0, 0.0, "critical", 1.0, math.inf, math.inf, 5).phase
    'critical'
    """

    activation: str
    weight_var: float
    bias_var: float
    phase: str
    chi_1: float
    xi_c: float
    xi_grad: float
    layers: int


@dataclass(frozen=True)
class Spectrum:
    """Of the Jacobian from the first input to the outputs: leading singular values, their largest residual, the
    participation (Σ s²)²/Σ s⁴ of the whole spectrum, how much of an image's known tangents lies in the span of the
    leading right singular vectors (None: not an image), and the share expected of random directions.

    >>> Spectrum((2.0, 1.0), 1e-8, 1.5, None, 0.5, "compiled").values[0]
    2.0
    """

    values: tuple[float, ...]
    residual: float
    participation: float
    tangent_shares: dict[str, float] | None
    random_share: float
    path: str


@dataclass(frozen=True)
class Rates:
    """Largest eigenvalues of the Fisher information of the first input (``one``) and of all (``batch``), with their
    residuals, and the learning rates 2/λ_max that they allow; loss: ½‖f − y‖², or cross entropy where targets are
    classes, in the mean over inputs.

    >>> Rates("mse", 4.0, 0.0, 2.0, 0.0, 16).rate_batch
    1.0
    """

    loss: str
    one: float
    one_residual: float
    batch: float
    batch_residual: float
    inputs: int

    @property
    def rate_one(self) -> float:
        """2/λ_max of one input.

        >>> Rates("mse", 4.0, 0.0, 2.0, 0.0, 16).rate_one
        0.5
        """
        return 2 / self.one if self.one > 0 else math.inf

    @property
    def rate_batch(self) -> float:
        """2/λ_max of the batch.

        >>> Rates("mse", 4.0, 0.0, 0.0, 0.0, 16).rate_batch
        inf
        """
        return 2 / self.batch if self.batch > 0 else math.inf


@dataclass(frozen=True)
class Trial:
    """Full-batch descent on a copy at the learning rate that was asked about: whether the loss exceeded its start or
    was no number any more (``grew``), and after how many steps; where it did not, the steps that were made.

    >>> Trial(3, True).grew
    True
    """

    steps: int
    grew: bool


@dataclass(frozen=True)
class Finding:
    """What is odd: ``value`` ± ``error`` lies beyond ``threshold``; the chapter of the book and its section that
    explain it.

    >>> Finding("dead units", "half of them", "3", 0.5, 0.0, 0.4, "order-and-chaos", "oc-back").chapter
    'order-and-chaos'
    """

    kind: str
    text: str
    layer: str
    value: float
    error: float
    threshold: float
    chapter: str
    section: str


@dataclass(frozen=True)
class Report:
    """A diagnosis, as :func:`deepdynamics.diagnose.diagnose` makes it.

    ``q_input``, ``correlation_input``: of the inputs themselves; ``repeated``: how many inputs equal an earlier one.
    Trends: ``signal`` of log q, ``gradient`` of log ‖∂E/∂h‖² from the last hidden layer back to the first, ``merging``
    of log(1 − correlation) from the inputs on. ``spectrum``, ``rates``, ``mean_field``: None where they are not known,
    and ``notes`` says why. ``trial``: of ``learning_rate``, where that is above the bound of the batch and a target is
    given; else None.

    >>> from torch import nn, randn
    >>> from deepdynamics.diagnose import diagnose
    >>> report = diagnose(nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2)), randn(6, 4))
    >>> list(report.to_frame().index)
    ['0', '1', '2']
    """

    model: str
    inputs: int
    shape: tuple[int, ...]
    q_input: float
    correlation_input: float
    repeated: int
    layers: tuple[Layer, ...]
    blocks: tuple[Block, ...]
    signal: Trend | None
    gradient: Trend | None
    merging: Trend | None
    mean_field: MeanFieldFit | None
    spectrum: Spectrum | None
    rates: Rates | None
    learning_rate: float | None
    trial: Trial | None
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]

    def __iter__(self) -> Iterator[Any]:
        return (getattr(self, field.name) for field in fields(self))

    def to_frame(self) -> pd.DataFrame:
        """One row a layer, by name; columns as in :class:`Layer`."""
        rows = [asdict(layer) for layer in self.layers]
        columns = [field.name for field in fields(Layer)]
        return pd.DataFrame(rows, columns=columns).set_index("name")

    def to_dict(self) -> dict[str, Any]:
        """All of it as numbers, text, lists and dictionaries that JSON can hold; None for nan and infinite numbers.

        >>> from torch import nn, ones
        >>> from deepdynamics.diagnose import diagnose
        >>> diagnose(nn.Linear(2, 1), ones(1, 2)).to_dict()["layers"][0]["correlation"] is None
        True
        """
        found = asdict(self)
        if self.rates is not None:
            found["rates"] |= {"rate_one": self.rates.rate_one, "rate_batch": self.rates.rate_batch}
        for name in ("signal", "gradient", "merging"):
            trend: Trend | None = getattr(self, name)
            if trend is not None:
                found[name]["scale"] = trend.scale
        plain: dict[str, Any] = _finite(found)
        return plain

    def __str__(self) -> str:
        lines = [f"{self.model}: {self.inputs} inputs of shape {self.shape}, {len(self.layers)} layers"]
        lines += [f"- {name}: {text}" for name, text in self._summary()]
        lines += [f"! {found.kind}: {found.text} [{found.chapter}#{found.section}]" for found in self.findings]
        lines += [] if self.findings else ["Nothing odd was found."]
        return "\n".join([*lines, *(f"({note})" for note in self.notes)])

    def _summary(self) -> list[tuple[str, str]]:
        rows = []
        for name, trend, text in (
            ("signal", self.signal, "log q"),
            ("gradient", self.gradient, "log ‖∂E/∂h‖², back to the first layer,"),
            ("two inputs", self.merging, "log (1 − correlation)"),
        ):
            if trend is not None:
                change = f"{trend.change:.2g} ± {trend.error:.1g}"
                rows.append((name, f"{text} changes by {change} over {trend.layers} layers"))
        if (near := self.mean_field) is not None:
            rows.append(
                (
                    "mean field",
                    f"{near.activation}, σ_w² = {near.weight_var:.3g}, σ_b² = {near.bias_var:.2g}: {near.phase}, "
                    f"χ₁ = {near.chi_1:.3g}, ξ_c = {near.xi_c:.3g} layers",
                )
            )
        if (seen := self.spectrum) is not None:
            rows.append(
                ("Jacobian", f"largest singular value {seen.values[0]:.3g}, participation {seen.participation:.3g}")
            )
        if (rates := self.rates) is not None:
            rows.append(
                (
                    "learning rate",
                    f"at most {rates.rate_batch:.3g} for this batch, {rates.rate_one:.3g} for its first input "
                    f"({rates.loss.replace('_', ' ')})",
                )
            )
        if (trial := self.trial) is not None:
            what = f"exceeds its start at step {trial.steps}" if trial.grew else f"does not grow in {trial.steps} steps"
            rows.append(("trial", f"descent at the rate {self.learning_rate:.3g}: the loss {what}"))
        return rows

    def _repr_html_(self) -> str:
        rows = "".join(f"<tr><th>{html.escape(a)}</th><td>{html.escape(b)}</td></tr>" for a, b in self._summary())
        found = "".join(
            f"<li><strong>{html.escape(each.kind)}</strong>: {html.escape(each.text)} "
            f"(<em>{html.escape(each.chapter)}</em>)</li>"
            for each in self.findings
        )
        notes = "".join(f"<p><small>{html.escape(note)}</small></p>" for note in self.notes)
        head = f"{html.escape(self.model)}, {self.inputs} inputs of shape {self.shape}"
        shown = ["kind", "branch", "q", "correlation", "gradient", "saturation", "dead", "q_theory"]
        table = self.to_frame()[shown].to_html(float_format=lambda value: f"{value:.3g}", na_rep="", max_rows=40)
        verdict = f"<ul>{found}</ul>" if found else "<p>Nothing odd was found.</p>"
        return f"<div><p>{head}</p><table>{rows}</table>{verdict}{notes}{table}</div>"


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
