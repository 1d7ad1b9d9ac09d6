"""The experiments whose results the book stores: one module each, the same calls at the scale "live" and "paper".

from deepdynamics import experiments
from deepdynamics.experiments import trainability

experiments.compute("trainability", "live")    # xarray.Dataset, labelled as the stored result is
"""

from deepdynamics.experiments._experiment import Point, compute, store

__all__ = ["EXPERIMENTS", "Point", "compute", "module_of", "store"]

# chapter -> result -> the module that computes it
EXPERIMENTS: dict[int, dict[str, str]] = {
    2: {"order-chaos.trainability": "trainability"},
    4: {"edge-of-chaos.gain": "gain"},
    5: {"rbm-pretraining.finetuning": "finetuning", "rbm-pretraining.variations": "pretraining"},
    6: {
        "cnn-jacobian.small": "smallcnns",
        "cnn-jacobian.gains": "cnngains",
        "cnn-jacobian.noise": "cnnnoise",
        "cnn-jacobian.spectra": "cnnspectra",
        "cnn-jacobian.pictures": "cnnpictures",
        "cnn-jacobian.logits": "cnnlogits",
    },
    7: {"contraction.autoencoders": "autoencoding", "contraction.prediction": "prediction"},
}


def module_of(key: str) -> str:
    """The full name of the module that computes a stored result.

    >>> module_of("edge-of-chaos.gain")
    'deepdynamics.experiments.gain'
    """
    modules = {name: module for results in EXPERIMENTS.values() for name, module in results.items()}
    if key not in modules:
        raise ValueError(f"key = {key!r}: no experiment computes it; {', '.join(sorted(modules))} are known")
    return f"{__name__}.{modules[key]}"
