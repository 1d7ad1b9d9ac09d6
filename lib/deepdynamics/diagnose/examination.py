"""The door: one call that looks at a model at some inputs and leaves it as it was."""

from __future__ import annotations

import copy
import math
from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from deepdynamics._checks import Array, Numbers, labels, number, positive, tensor
from deepdynamics._parametergram.model import Network, opened, samples
from deepdynamics._progress import bar
from deepdynamics.diagnose.findings import findings
from deepdynamics.diagnose.layers import correlation, layers, nearest_mean_field, trends
from deepdynamics.diagnose.rates import rates_at, trial_at
from deepdynamics.diagnose.report import Report
from deepdynamics.diagnose.signals import RECURRENT, Record, random_readout, watched
from deepdynamics.diagnose.spectrum import spectrum_at

__all__ = ["diagnose", "examined"]


def diagnose(
    model: nn.Module,
    x: Numbers,
    *,
    target: Numbers | None = None,
    learning_rate: float | None = None,
    memory: float = 1e9,
) -> Report:
    """What passes through ``model`` at inputs ``x`` (n, …), forwards and back; its Jacobian; the learning rates that
    its Fisher information allows; and what is odd about these.

    ``target``: classes (n,) as integers (mean cross entropy), or what the outputs should be (½‖f − y‖², in the mean
    over inputs); without it learning rates are those of the squared error, and the error that goes back is
    Σ ⟨u_n, f_n⟩ with a random unit vector for each input. ``learning_rate``: one to hold against the bound; where it is
    above, and there is a target, descent at this rate is tried on a copy, for at most 30 steps. Two dozen inputs say
    most; correlations need two. ``memory``: bytes for autograd's graphs; inputs beyond it are left out of the numbers
    by layer, and ``notes`` says so.

    Every ``torch.nn.Module`` in evaluation mode is taken; what cannot be seen in it is missing from the report, with a
    sentence in ``notes``. The model is left as it was. Raises ``ValueError`` for a model without parameters or in
    training mode with dropout or batch statistics, for inputs that it does not take or that are not finite, and for a
    target that does not fit.

    >>> net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))
    >>> report = diagnose(net, torch.randn(6, 4), target=[0, 1, 2, 0, 1, 2])
    >>> report.rates.loss, [layer.role for layer in report.layers]
    ('cross_entropy', ['weights', 'activation', 'weights'])
    """
    return examined(model, x, target=target, learning_rate=learning_rate, memory=memory)


@torch.inference_mode(False)
def examined(
    model: nn.Module,
    x: Numbers,
    *,
    target: Numbers | None = None,
    learning_rate: float | None = None,
    memory: float = 1e9,
    parts: Collection[str] = ("spectrum", "rates"),
) -> Report:
    """:func:`diagnose`, with those of the slower ``parts`` that are asked for.

    >>> examined(nn.Linear(4, 3), torch.randn(6, 4), parts=()).rates is None
    True
    """
    X = samples("x", x, model)
    rate = None if learning_rate is None else number("learning_rate", learning_rate, positive)
    number("memory", memory, positive)
    if any(t.is_inference() for t in (*model.parameters(), *model.buffers())):
        model = copy.deepcopy(model)
    network = opened(model, X)
    loss, wanted = _loss(target, X, network)
    notes: list[str] = []
    spectrum, rates = None, None
    with bar(1 + len(parts), "diagnose", leave=False) as shown:
        report = _signals(model, network, X, loss, wanted, memory, notes)
        shown.update()
        if "spectrum" in parts:
            spectrum, note = spectrum_at(model, X[0])
            notes.append(note)
            shown.update()
        if "rates" in parts:
            rates, note = rates_at(model, X, loss, memory)
            notes.append(note)
            shown.update()
    trial = None
    if rate and rates and rate > rates.rate_batch:  # the bound says when to worry, a trial decides
        trial, note = trial_at(model, X, loss, wanted, rate, memory)
        notes.append(note)
    kept = tuple(note for note in notes if note)
    report = replace(report, spectrum=spectrum, rates=rates, learning_rate=rate, trial=trial, notes=kept)
    return replace(report, findings=findings(report))


def _loss(target: Numbers | None, X: Tensor, network: Network) -> tuple[str, Tensor | None]:
    if target is None:
        return "mse", None
    wanted = tensor("target", target, None if isinstance(target, Tensor) else torch.zeros(1, dtype=torch.float64))
    if wanted.shape == X.shape[:1] and network.outputs > 1 and bool((wanted == wanted.round()).all()):
        classes = labels("target", target).to(X.device).long()
        if bool((classes < 0).any()) or bool((classes >= network.outputs).any()):
            raise ValueError(f"target: classes from 0 to {network.outputs - 1} are allowed")
        return "cross_entropy", classes
    if wanted.numel() != len(X) * network.outputs or not bool(torch.isfinite(wanted).all()):
        raise ValueError(
            f"target of shape {tuple(wanted.shape)}: classes ({len(X)},) as integers, or finite outputs "
            f"({len(X)}, {network.outputs}), are allowed"
        )
    return "mse", wanted.reshape(len(X), network.outputs).to(next(iter(network.parameters.values())))


def _signals(
    model: nn.Module, network: Network, X: Tensor, loss: str, wanted: Tensor | None, memory: float, notes: list[str]
) -> Report:
    at = 0

    def error(outputs: Tensor) -> Tensor:
        nonlocal at
        chosen = None if wanted is None else wanted[at : at + len(outputs)]
        at += len(outputs)
        if chosen is None:
            return random_readout(outputs, at - len(outputs))
        if loss == "cross_entropy":
            return functional.cross_entropy(outputs, chosen, reduction="sum")
        return (outputs - chosen).square().sum() / 2

    found = watched(model, network, X, error, memory)
    records, gram = found.records, _input_gram(X[: found.inputs])
    signal, gradient, merging = trends(records, gram)
    near = nearest_mean_field(records)
    notes.extend(_notes(X, found.inputs, records, signal is None, near is None))
    if any(_without_statistics(module) for module in model.modules()):
        notes.append("Batch normalisation has seen no batch: with means 0 and variances 1 it does nothing here.")
    if wanted is None:
        notes.append("No target: learning rates are those of the squared error, ½‖f − y‖².")
    return Report(
        model=type(model).__name__,
        inputs=len(X),
        shape=tuple(X.shape[1:]),
        q_input=float(np.diagonal(gram).mean()),
        correlation_input=correlation(gram)[0],
        repeated=_repeated(X),
        layers=layers(records, gram, differ=_repeated(X[: found.inputs]) < found.inputs - 1),
        blocks=tuple(found.blocks),
        signal=signal,
        gradient=gradient,
        merging=merging,
        mean_field=near,
        spectrum=None,
        rates=None,
        learning_rate=None,
        trial=None,
        findings=(),
        notes=(),
    )


def _notes(X: Tensor, watched: int, records: Sequence[Record], short: bool, unknown: bool) -> list[str]:
    notes = []
    if not records:
        notes.append("No operation could be seen: a compiled or scripted model shows its outputs alone.")
    elif short:
        notes.append("Fewer than two hidden layers on the main way whose numbers are finite: no trend along the depth.")
    if unknown:
        notes.append("No layer outside branches is one that mean field theory knows (weights behind an activation).")
    if opaque := sorted({record.kind for record in records if record.kind in RECURRENT}):
        notes.append(f"{', '.join(opaque)} is one operation here: what happens along its steps is not looked at.")
    if len(X) < 2:
        notes.append("One input: correlations need two, and there are no errors over inputs.")
    if watched < len(X):
        notes.append(f"The numbers by layer are those of the first {watched} inputs: the rest exceed the memory.")
    return notes


def _without_statistics(module: nn.Module) -> bool:
    if not isinstance(module, nn.modules.batchnorm._BatchNorm) or module.training:
        return False
    means, variances = module.running_mean, module.running_var
    return means is not None and variances is not None and bool((means == 0).all()) and bool((variances == 1).all())


def _input_gram(X: Tensor) -> Array:
    if not X.is_floating_point():
        return np.full((len(X), len(X)), math.nan)
    rows = X.reshape(len(X), -1).double()
    gram: Array = (rows @ rows.T / rows.shape[1]).cpu().numpy()
    return gram


def _repeated(X: Tensor) -> int:
    return len(X) - len(torch.unique(X.reshape(len(X), -1), dim=0))
