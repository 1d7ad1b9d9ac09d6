"""Which module computes which stored result."""

__all__ = ["EXPERIMENTS", "module_of"]

# chapter -> key of a result -> the module that computes it
EXPERIMENTS: dict[str, dict[str, str]] = {
    "order-and-chaos": {"order-chaos.trainability": "order_and_chaos.trainability"},
    "deep-linear": {"deep-linear.starts": "deep_linear.starts"},
    "edge-of-chaos": {
        "edge-of-chaos.gain": "edge_of_chaos.gain",
        "edge-of-chaos.learning": "edge_of_chaos.learning",
    },
    "rbm-pretraining": {
        "rbm-pretraining.finetuning": "rbm_pretraining.finetuning",
        "rbm-pretraining.parts": "rbm_pretraining.parts",
        "rbm-pretraining.variations": "rbm_pretraining.variations",
    },
    "cnn-jacobian": {
        "cnn-jacobian.small": "cnn_jacobian.small",
        "cnn-jacobian.gains": "cnn_jacobian.gains",
        "cnn-jacobian.noise": "cnn_jacobian.noise",
        "cnn-jacobian.spectra": "cnn_jacobian.spectra",
        "cnn-jacobian.pictures": "cnn_jacobian.pictures",
        "cnn-jacobian.logits": "cnn_jacobian.logits",
        "cnn-jacobian.bands": "cnn_jacobian.bands",
        "cnn-jacobian.smallbands": "cnn_jacobian.smallbands",
        "cnn-jacobian.values": "cnn_jacobian.values",
    },
    "perturbations": {
        "perturbations.networks": "perturbations.networks",
        "perturbations.fresh": "perturbations.fresh",
    },
    "contraction": {
        "contraction.autoencoders": "contraction.autoencoders",
        "contraction.prediction": "contraction.prediction",
        "contraction.photographs": "contraction.photographs",
        "contraction.smallnets": "contraction.smallnets",
    },
    "spectrum-predicts": {
        "spectrum-predicts.starts": "spectrum_predicts.starts",
        "spectrum-predicts.stacks": "spectrum_predicts.stacks",
        "spectrum-predicts.controls": "spectrum_predicts.controls",
        "spectrum-predicts.classifiers": "spectrum_predicts.classifiers",
    },
    "dynamical-isometry": {
        "dynamical-isometry.training": "dynamical_isometry.training",
        "dynamical-isometry.convolution": "dynamical_isometry.convolution",
        "dynamical-isometry.thousands": "dynamical_isometry.thousands",
    },
    "how-much-isometry": {
        "how-much-isometry.sweep": "how_much_isometry.sweep",
        "how-much-isometry.further": "how_much_isometry.further",
        "how-much-isometry.search": "how_much_isometry.search",
    },
    "fisher-wide": {"fisher-wide.rates": "fisher_wide.rates"},
    "fisher-isometry": {
        "fisher-isometry.online": "fisher_isometry.online",
        "fisher-isometry.architectures": "fisher_isometry.architectures",
    },
    "landscapes": {
        "landscapes.saddles": "landscapes.saddles",
        "landscapes.training": "landscapes.training",
    },
    "ntk": {"ntk.training": "ntk.training", "ntk.scale": "ntk.scale", "ntk.widths": "ntk.widths"},
    "expressivity": {
        "expressivity.digits": "expressivity.digits",
        "expressivity.features": "expressivity.features",
        "expressivity.tents": "expressivity.tents",
    },
    "every-lens": {
        "every-lens.faults": "every_lens.faults",
        "every-lens.harm": "every_lens.harm",
        "every-lens.healthy": "every_lens.healthy",
        "every-lens.mended": "every_lens.mended",
        "every-lens.trial": "every_lens.trial",
    },
    "identity-initialisation": {
        "identity-initialisation.training": "identity_initialisation.training",
        "identity-initialisation.depth": "identity_initialisation.depth",
        "identity-initialisation.undone": "identity_initialisation.undone",
    },
}


def module_of(key: str) -> str:
    """The full name of the module that computes a stored result; ValueError where none does.

    >>> module_of("edge-of-chaos.gain")
    'deepdynamics.experiments.edge_of_chaos.gain'
    """
    modules = {name: module for found in EXPERIMENTS.values() for name, module in found.items()}
    if key not in modules:
        raise ValueError(f"key = {key!r}: no experiment computes it; {', '.join(sorted(modules))} are known")
    return f"{__package__}.{modules[key]}"
