"""The numerical routines of the book *The Dynamics of Deep Networks*. Each subject is a module or a package, imported
when it is first used; `help("deepdynamics.jacobian")` shows what it has, with examples.

Theory (numpy, float64)
    activations       nonlinearities: value, slope, Gaussian moments
    meanfield         lengths, correlations and gradients through wide random layers; the phase diagram
    freeprobability   the law of a Jacobian's singular values at infinite width
    lineardynamics    how deep linear networks learn: exact curves, gradient descent beside them
    transport         optimal transport of Gaussians, mixtures, flows, entropy; denoisers, exact and trained (torch)
    powerlaw          power laws in data: fit, and three tests that doubt it
    ridgelet          shallow networks as integrals: the ridgelet transform, its inverse, the optimum of training

Networks (torch; the input's device and dtype)
    networks          perceptrons, convolutional networks, SqueezeNet and AlexNet, as maps in sequence
    ensembles         many perceptrons trained as one program
    autoencoders      autoencoders with one hidden layer, many at once
    rbm               restricted Boltzmann machines, and stacks of them

What a network does
    fisher            the Fisher information: universal statistics, spectra through its dual, learning rates
    ntk               neural tangent kernels: of any network, of infinitely wide ones, and what they predict
    naturalgradient   steps with the Fisher metric and its approximations, in function space
    diagnose          what is odd in any network before it is trained, in numbers and words; also as a command
    jacobian          Jacobians of any network, their spectra, leading singular triplets, products, Lyapunov exponents
    directions        noise with a given shape; shifts, rotation, dilation of a picture
    margins           the shortest way to another answer
    ranks             does one number predict another: rank correlations, partial ones, the jackknife
    rankbound         how many singular values of a network can differ from zero
    linearprobe       what a linear classifier reads from a code
    interpretation    reading a network layer by layer: likelihoods and contributions, in the frame of its start
    landscapes        random fields, the ends of a Hessian's spectrum, measures of generalisation

Tools
    data              the data sets and two pretrained networks; `python -m deepdynamics.data fetch` downloads them
    sweeps            a function over a grid of parameters, in parallel, resumed where it was interrupted
    results           stored results of large runs, with their provenance
    claims            an expectation against its rival, with a verdict that is computed
    figures           the book's style, its recurring pictures, and explorers with sliders
    experiments       the large runs of the chapters

>>> import deepdynamics
>>> net = deepdynamics.meanfield.MeanField("tanh", weight_var=1.69, bias_var=0.09)
>>> net.phase
'ordered'
"""

import importlib
import importlib.metadata
import pkgutil
from types import ModuleType

try:
    __version__ = importlib.metadata.version(__name__)
except importlib.metadata.PackageNotFoundError:  # on the path without being installed
    __version__ = "unknown"


def __getattr__(name: str) -> ModuleType:
    if name not in _subjects():
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return importlib.import_module(f"{__name__}.{name}")


def __dir__() -> list[str]:
    return ["__version__", *_subjects()]


def _subjects() -> list[str]:
    """The doors: what begins with an underscore is the library's own."""
    return [module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_")]
