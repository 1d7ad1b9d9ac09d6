"""The experiments whose results the book stores: one module each, the same calls at the scale "live" and "paper".

from deepdynamics import experiments
from deepdynamics.experiments.order_and_chaos import trainability

experiments.compute("trainability", "live")    # xarray.Dataset, labelled as the stored result is
"""

from deepdynamics.experiments._experiment import Point, compute, store

__all__ = ["EXPERIMENTS", "Point", "compute", "module_of", "store"]

# chapter -> result -> the module that computes it
EXPERIMENTS: dict[int, dict[str, str]] = {
    2: {"order-chaos.trainability": "order_and_chaos.trainability"},
    4: {"edge-of-chaos.gain": "edge_of_chaos.gain"},
    5: {
        "rbm-pretraining.finetuning": "rbm_pretraining.finetuning",
        "rbm-pretraining.variations": "rbm_pretraining.variations",
    },
    6: {
        "cnn-jacobian.small": "cnn_jacobian.small",
        "cnn-jacobian.gains": "cnn_jacobian.gains",
        "cnn-jacobian.noise": "cnn_jacobian.noise",
        "cnn-jacobian.spectra": "cnn_jacobian.spectra",
        "cnn-jacobian.pictures": "cnn_jacobian.pictures",
        "cnn-jacobian.logits": "cnn_jacobian.logits",
    },
    7: {"contraction.autoencoders": "contraction.autoencoders", "contraction.prediction": "contraction.prediction"},
}


def module_of(key: str) -> str:
    """The full name of the module that computes a stored result.

    >>> module_of("edge-of-chaos.gain")
    'deepdynamics.experiments.edge_of_chaos.gain'
    """
    modules = {name: module for results in EXPERIMENTS.values() for name, module in results.items()}
    if key not in modules:
        raise ValueError(f"key = {key!r}: no experiment computes it; {', '.join(sorted(modules))} are known")
    return f"{__name__}.{modules[key]}"
