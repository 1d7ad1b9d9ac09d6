"""The Jacobian from one input to the outputs in a few numbers."""

from __future__ import annotations

from torch import Tensor, nn

from deepdynamics.diagnose.report import Spectrum
from deepdynamics.directions import KINDS, known_tangents
from deepdynamics.jacobian import NotConverged, share_inside, spectral_sums, top_singular
from deepdynamics.jacobian.inputs import at_input

__all__ = ["spectrum_at"]

_LEADING, _PROBES, _TOL = 3, 8, 0.03  # values are right to about the square of the residual


def spectrum_at(model: nn.Module, x: Tensor) -> tuple[Spectrum | None, str]:
    """The spectrum at one input x, without a batch axis; None and the reason where it is not known.

    >>> import torch
    >>> spectrum_at(nn.Linear(3, 2, bias=False), torch.ones(3))[0].random_share
    0.6666666666666666
    """
    if not x.is_floating_point():
        return None, "Inputs are integers: there is no Jacobian from input to output."
    try:
        sums = spectral_sums(model, x, probes=_PROBES)
        out = at_input(model, x).value.numel()
        found = top_singular(model, x, min(_LEADING, out, x.numel()), tol=_TOL)
    except (ValueError, NotConverged) as reason:
        return None, f"The Jacobian's spectrum is not known: {reason}"
    shares = _tangent_shares(found.V, x)
    return (
        Spectrum(
            tuple(float(s) for s in found.s),
            float(found.residuals.max()),
            sums.participation,
            shares,
            found.V.shape[1] / x.numel(),
            found.path,
        ),
        "",
    )


def _tangent_shares(V: Tensor, x: Tensor) -> dict[str, float] | None:
    """Of each known tangent that the picture has, the share inside the span of V; None where x is no picture."""
    if x.ndim != 3 or x.shape[0] not in (1, 3) or min(x.shape[1:]) < 2:
        return None
    tangents = known_tangents(x).flatten(1)
    kept = tangents.norm(dim=1) > 0
    names = [name for name, keep in zip(KINDS, kept.tolist(), strict=True) if keep]
    return dict(zip(names, share_inside(V, tangents[kept].T).tolist(), strict=True)) if names else None
