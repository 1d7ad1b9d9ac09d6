"""Deliberate faults, one at a time, in a copy of the library: each must fail a test of its own module, and one for each
chapter must stop its build at a claim or a check.

python tools/mutants.py            all of them; ``make mutants`` calls this
python tools/mutants.py fisher/    those whose file begins with that

A fault counts as caught when a test fails on the copy and passes on the library as it is. The chapters need the data
sets: some checks are made on real data only.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from files import project_files

ROOT = Path(__file__).resolve().parents[1]
LIBRARY = Path("lib") / "deepdynamics"


@dataclass(frozen=True)
class Mutant:
    """``old`` occurs once in ``file``, which lies in the library; ``tests`` are of its module, in ``tests/``."""

    file: str
    old: str
    new: str
    tests: str
    what: str
    claim: str | None = None  # its key, or the statement of a check, at which a chapter stops

    @property
    def chapter(self) -> str:
        """The chapter that makes the claim; ValueError where none or several do."""
        made = [path.stem for path in ROOT.glob("book/*/*.md") if f'"{self.claim}"' in path.read_text("utf8")]
        if len(made) != 1:
            raise ValueError(f"{self.claim!r} is made in {made or 'no chapter'}")
        return made[0]

    def applied(self, source: str) -> str:
        if source.count(self.old) != 1:
            raise ValueError(f"{self.file}: {self.old!r} occurs {source.count(self.old)} times, not once")
        return source.replace(self.old, self.new)


MUTANTS = (
    # meanfield
    Mutant(
        "meanfield/randomlayer.py",
        "self.weight_var * self.activation.slope_moment(q, 2)",
        "self.weight_var * self.activation.slope_moment(q, 1)",
        "meanfield/test_meanfield.py",
        "gradients grow by E φ' instead of E φ'²",
    ),
    Mutant(
        "meanfield/simulation.py",
        "(self.weight_var / self.width) ** 0.5",
        "self.weight_var / self.width**0.5",
        "meanfield/test_meanfield.py",
        "weights drawn with the variance as their deviation",
    ),
    Mutant(
        "meanfield/simulation.py",
        "delta = skip * delta + phi.slope(hs[step]) * (weights.mT @ delta)",
        "delta = skip * delta + phi.slope(hs[step]) * (weights @ delta)",
        "meanfield/test_meanfield.py",
        "gradients go back through W instead of its transpose",
    ),
    Mutant(
        "meanfield/orderparameters.py",
        "scale = -1 / np.log(np.abs(slope))",
        "scale = -1 / np.log(slope**2)",
        "meanfield/test_meanfield.py",
        "depth scale of the square: a factor 2",
        claim="the slice trained for this page agrees with the stored map",
    ),
    Mutant(
        "meanfield/maps.py",
        "weight * windows / len(offsets) + bias",
        "weight * windows + bias",
        "meanfield/test_meanfield.py",
        "convolution without 1/(size of the kernel)",
        claim="other-architectures.convolution",
    ),
    Mutant(
        "meanfield/gain.py",
        "q = g**2 * second_moment[layer]",
        "q = g * second_moment[layer]",
        "meanfield/test_gain.py",
        "gain instead of its square before the slope",
        claim="edge-of-chaos.unit-gain",
    ),
    Mutant(
        "meanfield/gain.py",
        "found.append(layer_factor(gain * phi.slope(u), W))",
        "found.append(layer_factor(gain * phi.slope(phi(u)), W))",
        "meanfield/test_gain.py",
        "slope one step too late, at φ(u)",
    ),
    Mutant(
        "meanfield/simulation.py",
        "weights @ phi(ahead) + bias - ahead)",
        "weights @ phi(state) + bias - state)",
        "meanfield/test_meanfield.py",
        "Euler's step instead of Heun's",
    ),
    # freeprobability
    Mutant(
        "freeprobability/freeness.py",
        "float((AB * AB.T).sum())",
        "float((AB * AB).sum())",
        "freeprobability/test_freeprobability.py",
        "tr AB(AB)ᵀ instead of tr ABAB",
        claim="freeness.limit",
    ),
    Mutant(
        "freeprobability/laws.py",
        "m = (v + (1 - ratio) / above) / ratio",
        "m = (v - (1 - ratio) / above) / ratio",
        "freeprobability/test_freeprobability.py",
        "companion law: the sign of the atom at 0",
    ),
    Mutant(
        "freeprobability/spectrum.py",
        "rest = (1 - L) * log(more / m)",
        "rest = -L * log(more / m)",
        "freeprobability/test_freeprobability.py",
        "S-transform of orthogonal layers: one layer too many",
    ),
    Mutant(
        "freeprobability/spectrum.py",
        '- 1 + (self.weights == "gaussian")',
        "- 1",
        "freeprobability/test_freeprobability.py",
        "variance of λ without that of the Gaussian weights",
    ),
    Mutant(
        "freeprobability/spectrum.py",
        "masses = 1 - self.depth * (1 - self.law.weights)",
        "masses = 1 - (self.depth - 1) * (1 - self.law.weights)",
        "freeprobability/test_freeprobability.py",
        "atom of one layer too few",
    ),
    Mutant(
        "freeprobability/spectrum.py",
        "return self.mean**2 * self.depth * spread",
        "return self.mean**2 * 2 * self.depth * spread",
        "freeprobability/test_freeprobability.py",
        "twice the variance of λ",
        claim="the stored spreads are those of the law",
    ),
    Mutant(
        "freeprobability/spectrum.py",
        "rest = (L - 1) * np.log(more) if",
        "rest = L * np.log(more) if",
        "freeprobability/test_freeprobability.py",
        "distribution function with the potential of one layer more",
        claim="dynamical-isometry.law-tanh",
    ),
    # jacobian
    Mutant(
        "jacobian/chain.py",
        "lambda product, factor: factor @ product",
        "lambda product, factor: product @ factor",
        "jacobian/test_chain.py",
        "factors multiplied in the order of the input",
    ),
    Mutant(
        "jacobian/chain.py",
        "layer.activation.slope(layer.gain * layer.preactivation(states))",
        "layer.activation.slope(layer.gain * layer(states))",
        "jacobian/test_chain.py",
        "slope at the activity instead of the pre-activation",
    ),
    Mutant(
        "jacobian/dense.py",
        "found.append(carried.reshape(len(carried), -1).T)",
        "found.append(carried.reshape(len(carried), -1))",
        "jacobian/test_dense.py",
        "Jacobians transposed",
    ),
    Mutant(
        "jacobian/shares.py",
        "squares = (s / s.amax(-1, keepdim=True)).square()",
        "squares = s / s.amax(-1, keepdim=True)",
        "jacobian/test_shares.py",
        "participation of s instead of s²",
    ),
    Mutant(
        "jacobian/localised.py",
        "along = share.sum(dim=1 - axis)",
        "along = share.sum(dim=axis)",
        "jacobian/test_localised.py",
        "rows and columns exchanged",
    ),
    Mutant(
        "jacobian/sums.py",
        "float(values.std()) / math.sqrt(probes)",
        "float(values.std())",
        "jacobian/test_sums.py",
        "standard deviation for standard error",
    ),
    Mutant(
        "jacobian/products.py",
        "torch.as_tensor(values / depth)",
        "torch.as_tensor(1 * values)",
        "jacobian/test_products.py",
        "exponents that are sums over the layers",
        claim="layers-as-time.mean-exponent-chaotic",
    ),
    Mutant(
        "jacobian/dense.py",
        'name: p if name.endswith("bias")',
        'name: p if name.endswith("weight")',
        "jacobian/test_dense.py",
        "the part of the biases taken along the weights",
        claim="logits = Jx + the part of the biases, relative",
    ),
    # diagnose
    Mutant(
        "diagnose/findings.py",
        "max(-merging.change, 0.0) if merging",
        "abs(merging.change) if merging",
        "diagnose/test_findings.py",
        "inputs that part count as inputs that merge",
    ),
    Mutant(
        "diagnose/rates.py",
        "batch = lambda_max(model, X, loss",
        "batch = lambda_max(model, X[:1], loss",
        "diagnose/test_numbers.py",
        "the bound of one input for that of the batch",
    ),
    Mutant(
        "diagnose/rates.py",
        "not _step(network, X, loss, wanted, rate, block) <= start",
        "_step(network, X, loss, wanted, rate, block) < start",
        "diagnose/test_trial.py",
        "a trial that takes falling for growing",
    ),
    # fisher
    Mutant(
        "fisher/lanczos.py",
        "if rest * abs(s[-1]) <= tol * value",
        "if rest * s[-1] ** 2 <= tol * value",
        "fisher/test_duals.py",
        "steps that stop by another rule than the residual of the leading vector",
    ),
    Mutant(
        "fisher/recursion.py",
        "biases + weight_var * slopes * total",
        "biases + slopes * total",
        "fisher/test_kernel.py",
        "gradients go back without the variance of the weights",
        claim="fisher-wide.size",
    ),
    Mutant(
        "fisher/losses.py",
        "return root * (v - (self.g * v).sum(1, keepdim=True))",
        "return root * v - self.g * (root * v).sum(1, keepdim=True)",
        "fisher/test_duals.py",
        "root of the Fisher matrix of a softmax, not transposed",
    ),
    Mutant(
        "fisher/isometry.py",
        "missing = (L - 1) * (1 - law.weights[-1])",
        "missing = L * (1 - law.weights[-1])",
        "fisher/test_isometry.py",
        "one layer too many in the mass of the atom",
    ),
    Mutant(
        "fisher/universal.py",
        "top = alpha * ((T - 1) / T * k2 + k1 / T) * M",
        "top = alpha * (k2 + k1 / T) * M",
        "fisher/test_universal.py",
        "mean over T pairs where T - 1 differ",
    ),
    Mutant(
        "fisher/isometry.py",
        "** np.arange(L)",
        "** np.arange(1, L + 1)",
        "fisher/test_isometry.py",
        "the last layer counts as if one more followed",
        claim="fisher-isometry.growth",
    ),
    Mutant(
        "fisher/lanczos.py",
        "[..., None]).div_(T)",
        "[..., None])",
        "fisher/test_duals.py",
        "the largest eigenvalue without the mean over samples",
        claim="the kernel over 24 digits has the Fisher information's λ_max",
    ),
    # ntk
    Mutant(
        "ntk/infinite.py",
        "            theta *= slopes\n            theta *= self.weight_var",
        "            theta *= slopes",
        "ntk/test_infinite.py",
        "tangent kernel without the variance of the weights, off the diagonal",
        claim="Θ of 64 digits: six lines, and the library's",
    ),
    Mutant(
        "ntk/descent.py",
        "v[batch] += error[batch] / len(error[batch])",
        "v[batch] += error[batch] / n",
        "ntk/test_descent.py",
        "mini-batch averaged over all samples",
    ),
    Mutant(
        "ntk/descent.py",
        "- 2 * (A * k_test).sum(1)",
        "- (A * k_test).sum(1)",
        "ntk/test_descent.py",
        "cross term of the variance without its 2",
    ),
    Mutant(
        "ntk/spectra.py",
        "q = b ** (2 * powers)",
        "q = b**powers",
        "ntk/test_spectra.py",
        "weights of the conjugate kernels: b instead of b²",
    ),
    Mutant(
        "ntk/spectra.py",
        "r = float((a ** powers[:-1] - q[:-1]).sum())",
        "r = float((a ** powers[:-1]).sum())",
        "ntk/test_spectra.py",
        "the tangent kernel's floor without b^2k",
        claim="kernel-spectra.ntk-law",
    ),
    # naturalgradient
    Mutant(
        "naturalgradient/metrics.py",
        "a_values / samples**2 + damping",
        "a_values / samples + damping",
        "naturalgradient/test_isotropy.py",
        "K-FAC: one of the two factors without 1/N",
        claim="the largest deviation from α I, relative to α, of four metrics at width 64",
    ),
    Mutant(
        "naturalgradient/metrics.py",
        "(abs(i - j) <= 1)",
        "(abs(i - j) <= 2)",
        "naturalgradient/test_isotropy.py",
        "tridiagonal metric with five diagonals",
    ),
    Mutant(
        "naturalgradient/isotropy.py",
        "return float(-(-L // 3))",
        "return float(L // 3)",
        "naturalgradient/test_isotropy.py",
        "⌊L/3⌋ instead of ⌈L/3⌉",
    ),
    # ridgelet
    Mutant(
        "ridgelet/admissibility.py",
        "return 2 * (2 * math.pi) ** (m - 1) * _STEP * total",
        "return 2 * (2 * math.pi) ** m * _STEP * total",
        "ridgelet/test_pairs.py",
        "constant of a pair times 2π",
        claim="S[R[f]] = K f for three bumps, with reach 40",
    ),
    Mutant(
        "ridgelet/transforms.py",
        "v ** (-(rho.order + 1) / 2)",
        "v ** (-rho.order / 2)",
        "ridgelet/test_transforms.py",
        "transform of a Gaussian: the power of its width",
    ),
    Mutant(
        "ridgelet/sampling.py",
        "root = np.sqrt(len(points) * decay)",
        "root = np.sqrt(decay)",
        "ridgelet/test_sampling.py",
        "weight decay without n beside a sum over n points",
        claim="backpropagation.fit",
    ),
    Mutant(
        "ridgelet/sampling.py",
        "sampled_b = b[columns] + width * (uniform[2] - 0.5)",
        "sampled_b = b[columns] + width * uniform[2]",
        "ridgelet/test_sampling.py",
        "biases drawn from half a cell too high",
    ),
    Mutant(
        "ridgelet/operators.py",
        "self.x, values / len(self.x))",
        "self.x, values)",
        "ridgelet/test_operators.py",
        "adjoint without 1/n",
    ),
    # transport
    Mutant(
        "transport/entropy.py",
        "np.sqrt(sigma0**2 + _beside(2 * t, sigma0))",
        "np.sqrt(sigma0**2 + _beside(t, sigma0))",
        "transport/test_entropy.py",
        "e^{tΔ/2} instead of e^{tΔ}",
    ),
    Mutant(
        "transport/flows.py",
        "k4 = v(x + h * k3, t + h)",
        "k4 = v(x + h * k3, t + h / 2)",
        "transport/test_flows.py",
        "Runge-Kutta's last slope half a step too early",
    ),
    Mutant(
        "transport/gaussians.py",
        "U, _, Vh = np.linalg.svd(np.swapaxes(L1, -1, -2) @ L0)",
        "U, _, Vh = np.linalg.svd(np.swapaxes(L0, -1, -2) @ L1)",
        "transport/test_gaussians.py",
        "Procrustes rotation from the wrong side",
    ),
    Mutant(
        "transport/ways.py",
        "action = (len(states) - 1) * np.square",
        "action = np.square",
        "transport/test_ways.py",
        "action without the number of layers",
    ),
    Mutant(
        "transport/mixtures.py",
        "volume = copies * np.log",
        "volume = np.log",
        "transport/test_mixtures.py",
        "density of one axis in d dimensions",
    ),
    Mutant(
        "transport/residual.py",
        "B=self.B[:, ::2], h=2 * self.h)",
        "B=self.B[:, ::2], h=self.h)",
        "transport/test_residual.py",
        "half the layers with the same step",
        claim="flows.order-alike",
    ),
    Mutant(
        "transport/diffusion.py",
        "math.sqrt(following / now)",
        "following / now",
        "transport/test_diffusion.py",
        "noise variance instead of deviation",
    ),
    Mutant(
        "transport/jko.py",
        "4 * tau * (1 + tau)",
        "4 * tau",
        "transport/test_entropy.py",
        "Fokker-Planck step: entropy without the pull",
    ),
    Mutant(
        "transport/generators.py",
        "((back @ w[2].mT) * (1 - h1.square()))",
        "((back @ w[2].mT) * (1 - h1))",
        "transport/test_generators.py",
        "slope of tanh 1 - h for 1 - h²",
    ),
    Mutant(
        "transport/entropy.py",
        "(path[-1] ** 2 + variance)",
        "(path[-1] ** 2 + 2 * variance)",
        "transport/test_entropy.py",
        "a denoiser that takes its noise for twice as much",
        claim="denoising.finite-steps",
    ),
    # rbm
    Mutant(
        "rbm/machine.py",
        "return -self.gain * (v @ self.visible_bias.to(v))",
        "return -(v @ self.visible_bias.to(v))",
        "rbm/test_machine.py",
        "free energy: visible biases without the gain",
    ),
    Mutant(
        "rbm/divergence.py",
        "1 / n, -1 / (total - n)",
        "1 / n, -1 / n",
        "rbm/test_machine.py",
        "chains of a short last batch counted as its rows",
    ),
    Mutant(
        "rbm/divergence.py",
        "            if step > 0:\n                self._hidden(model)",
        "            if step > 1:\n                self._hidden(model)",
        "rbm/test_machine.py",
        "CD-k: the second step starts from the first's hidden units",
    ),
    Mutant(
        "rbm/machine.py",
        "- flipped - self.gain * change * bias",
        "- flipped + self.gain * change * bias",
        "rbm/test_machine.py",
        "pseudo-likelihood: the sign of the visible biases",
    ),
    Mutant(
        "rbm/stack.py",
        "return self.keep * machine.gain * torch.sigmoid(u) * torch.sigmoid(-u)",
        "return self.keep * machine.gain * torch.sigmoid(u)",
        "rbm/test_stack.py",
        "slopes h instead of h(1 - h)",
        claim="spectrum of a stored orthogonal start (log10), and computed again",
    ),
    Mutant(
        "rbm/stack.py",
        "*(J.cpu() for J in rest[1:])",
        "*(J.cpu() for J in rest[1:-1])",
        "rbm/test_stack.py",
        "singular values without the last layer",
        claim="mean of log₁₀ s at one image: from its parts, and from all singular values",
    ),
    # powerlaw
    Mutant(
        "powerlaw/fits.py",
        "return (self.exponent - 1) / math.sqrt(self.n_tail)",
        "return self.exponent / math.sqrt(self.n_tail)",
        "powerlaw/test_fits.py",
        "standard error of α instead of α - 1",
    ),
    Mutant(
        "powerlaw/zeta.py",
        "right = 1 - beyond - (self.below[at + 1] - before) / size",
        "right = 1 - beyond - (self.below[at] - before) / size",
        "powerlaw/test_zeta.py",
        "Kolmogorov's distance one rank too low",
    ),
    Mutant(
        "powerlaw/lognormal.py",
        "special.ndtr(ratio / (deviation * math.sqrt(len(y))))",
        "special.ndtr(ratio / deviation)",
        "powerlaw/test_fits.py",
        "Vuong's test without √n",
    ),
    Mutant(
        "powerlaw/cutoff.py",
        "math.exp(-a * log_edge - cut * edge_high - highest) / 24",
        "math.exp(-a * log_edge - cut * edge_high - highest) / 12",
        "powerlaw/test_zeta.py",
        "Euler and Maclaurin's correction with 1/12 for 1/24",
    ),
    # lineardynamics
    Mutant(
        "lineardynamics/exact.py",
        "np.exp(-2 * s * t / tau)",
        "np.exp(-s * t / tau)",
        "lineardynamics",
        "two layers at half their rate",
        claim="two layers of matrices on the exact curve (to first order in the step, ηs = 0.04)",
    ),
    Mutant(
        "lineardynamics/descent.py",
        "        delta = layers[depth].mT @ delta\n        layers[depth] -= change",
        "        layers[depth] -= change\n        delta = layers[depth].mT @ delta",
        "lineardynamics",
        "gradient through weights that have moved already",
    ),
    Mutant(
        "lineardynamics/descent.py",
        "seed=draw) / n_in**0.5)",
        "seed=draw) / n_out**0.5)",
        "lineardynamics",
        "fan-out instead of fan-in",
    ),
    Mutant(
        "lineardynamics/descent.py",
        "squares.std(-1, correction=0) / squares.mean(-1)",
        "squares.var(-1, correction=0) / squares.mean(-1)",
        "lineardynamics",
        "variance for standard deviation",
    ),
    Mutant(
        "lineardynamics/descent.py",
        "learned(A @ S11 @ A.mT, S31 @ A.mT)",
        "learned(A @ A.mT, S31 @ A.mT)",
        "lineardynamics",
        "unpassed share with white inputs",
    ),
    # ensembles
    Mutant(
        "ensembles/training.py",
        "delta.mul_(x.abs() < 1)",
        "delta.mul_(x.abs() <= 1)",
        "test_ensembles.py",
        "clipped units pass the gradient",
    ),
    Mutant(
        "ensembles/normalised.py",
        "centred.square().mean(axis, keepdim=True)",
        "h.var(axis, keepdim=True)",
        "test_normalised.py",
        "variance over n - 1 instead of n",
    ),
    Mutant(
        "ensembles/shallow.py",
        "torch.mul(rest, -2 / len(self.x), out=self.sums[:, 1])",
        "torch.mul(rest, -2, out=self.sums[:, 1])",
        "test_shallow.py",
        "gradient without 1/n",
    ),
    # autoencoders
    Mutant(
        "autoencoders/tied.py",
        "shrink = shrink + 2 * contract * squares.mean(1)",
        "shrink = shrink + contract * squares.mean(1)",
        "test_autoencoders.py",
        "gradient of the contraction without a 2",
        claim="their participation",
    ),
    Mutant(
        "autoencoders/corruption.py",
        "x + level.sqrt() * numbers",
        "x + level * numbers",
        "test_autoencoders.py",
        "noise variance as its deviation",
    ),
    Mutant(
        "autoencoders/tied.py",
        "norms)[:, None] * squares * (1 - 2 * h)",
        "norms)[:, None] * slope * (1 - 2 * h)",
        "test_autoencoders.py",
        "second derivative of the logistic function with f' for f'²",
    ),
    # directions
    Mutant(
        "directions.py",
        "r * by_column - c * by_row",
        "r * by_row - c * by_column",
        "directions/test_tangents.py",
        "rotation with its axes exchanged",
    ),
    Mutant(
        "directions.py",
        "/ (n + 2)) / n)",
        "/ n) / n)",
        "directions/test_tangents.py",
        "deviation of a random share without n + 2",
    ),
    Mutant(
        "directions.py",
        "(radius < high)",
        "(radius <= high)",
        "directions/test_noise.py",
        "bands that overlap at their edges",
    ),
    # margins
    Mutant(
        "margins.py",
        "U[label], U[other] = 1, -1",
        "U[label], U[other] = -1, 1",
        "test_margins.py",
        "step away from the other class",
        claim="perturbations.flip-small",
    ),
    Mutant(
        "margins.py",
        "step, label)) < 0:",
        "step, label)) <= 0:",
        "test_margins.py",
        "a tie counts as another answer",
    ),
    # networks
    Mutant(
        "networks/draws.py",
        "q = q * torch.where(r.diagonal() < 0, -1.0, 1.0)",
        "q = q + 0",
        "networks/test_networks.py",
        "QR without its signs: orthogonal, and not Haar",
    ),
    Mutant(
        "networks/draws.py",
        "gaussian(shape, seed=seed) / math.sqrt(math.prod(shape[1:]))",
        "gaussian(shape, seed=seed) / math.sqrt(shape[1])",
        "networks/test_networks.py",
        "fan-in of a convolution without its kernel",
    ),
    Mutant(
        "networks/draws.py",
        "seed=seed) * math.sqrt(weight_var))",
        "seed=seed) * weight_var)",
        "networks/test_networks.py",
        "variance for standard deviation",
    ),
    # activations
    Mutant(
        "activations/closedforms.py",
        "math.prod(range(1, k, 2))",
        "math.prod(range(1, k + 2, 2))",
        "activations",
        "double factorial (k + 1)!! for (k - 1)!!",
    ),
    Mutant(
        "activations/integrals.py",
        "return z, np.where(z > 0, 2 * w, w) if half else w",
        "return z, 2 * w if half else w",
        "activations",
        "trapezoid rule that counts z = 0 twice",
    ),
    # claims
    Mutant(
        "claims/measurement.py",
        "float(values.std(ddof=1) / math.sqrt(count))",
        "float(values.std(ddof=0) / math.sqrt(count))",
        "claims/test_claim_statistics.py",
        "standard error over n instead of n - 1",
    ),
    Mutant(
        "claims/measurement.py",
        "stats.norm.isf(LEVEL / 2) if dof is None else stats.t.isf(LEVEL / 2, dof)",
        "stats.norm.isf(LEVEL / 2) if dof is None else stats.t.isf(LEVEL, dof)",
        "claims/test_claim_statistics.py",
        "one-sided quantile for a two-sided interval",
    ),
    Mutant(
        "claims/measurement.py",
        "share**2 / side.dof",
        "share / side.dof",
        "claims/test_claim_statistics.py",
        "Welch's degrees of freedom without a square",
    ),
    Mutant(
        "claims/measurement.py",
        "return False if right < -half_width else None",
        "return False if right < 0 else None",
        "claims/test_claim_duels.py",
        "a bound that fails where it is undecided",
    ),
    Mutant(
        "claims/measurement.py",
        "    if not paired:\n        half = max(half, measured.half_width(tolerance))\n",
        "",
        "claims/test_claim_refusals.py",
        "Welch's interval alone, narrower than that of the mean",
    ),
    # modules of one file
    Mutant(
        "ranks.py",
        "(n - 1) * np.array(without)",
        "n * np.array(without)",
        "test_ranks.py",
        "jackknife with n for n - 1",
    ),
    Mutant(
        "linearprobe.py",
        "LinearProbe(weights, c.detach() - mean @ weights)",
        "LinearProbe(weights, c.detach() + mean @ weights)",
        "test_linearprobe.py",
        "offset with the wrong sign",
    ),
    Mutant(
        "interpretation.py",
        "rows.append(rows[-1] @ weight)",
        "rows.append(rows[-1] @ weight.T)",
        "test_interpretation.py",
        "readers carried back through the transposed weights",
    ),
    Mutant(
        "interpretation.py",
        "model.states(x)[layer - 1 : layer + 1]",
        "model.states(x)[layer : layer + 2]",
        "test_interpretation.py",
        "contributions undone one layer too high",
    ),
    Mutant(
        "interpretation.py",
        "return torch.stack(states).diff(dim=0)",
        "return torch.stack(states[1:]) - states[0]",
        "test_interpretation.py",
        "changes since the input instead of the layer before",
        claim="contributions add up",
    ),
    Mutant(
        "landscapes/fields.py",
        "np.sqrt(1 - u**2) + np.arcsin(u)) / np.pi",
        "np.sqrt(1 - u**2) + np.arcsin(u)) / (2 * np.pi)",
        "landscapes",
        "half of the index",
        claim="landscapes.index",
    ),
    Mutant(
        "landscapes/measures.py",
        "paths = W.square() @ paths",
        "paths = W.abs() @ paths",
        "landscapes",
        "path norm without the square",
    ),
    Mutant(
        "landscapes/regions.py",
        "for n in widths[:-1]",
        "for n in widths",
        "landscapes/test_regions.py",
        "a guarantee that folds in the last layer too",
    ),
    Mutant(
        "landscapes/regions.py",
        "for j in range(dimension + 1))",
        "for j in range(dimension))",
        "landscapes/test_regions.py",
        "Zaslavsky's sum ends one term early",
        claim="three layers of 8, and one of 24, in the plane",
    ),
    Mutant(
        "landscapes/regions.py",
        "return interval, unit, left / (left - right)",
        "return interval, unit, right / (right - left)",
        "landscapes/test_regions.py",
        "kinks mirrored in their interval",
    ),
    Mutant(
        "landscapes/regions.py",
        "todo += [(part, units[1:]) for part in _cut(corners, affine[units[0]])]",
        "todo += [(part, units[2:]) for part in _cut(corners, affine[units[0]])]",
        "landscapes/test_regions.py",
        "every second unit's line is not drawn",
    ),
    Mutant(
        "landscapes/polynomials.py",
        "join = _product if level % 2 == 0 else _sum",
        "join = _sum if level % 2 == 0 else _product",
        "landscapes/test_polynomials.py",
        "sums before products",
    ),
)


@contextmanager
def planted(mutant: Mutant) -> Iterator[Path]:
    """A folder with a copy of the library, ``deepdynamics``, that has the fault."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        copy = Path(folder) / "deepdynamics"
        shutil.copytree(ROOT / LIBRARY, copy, ignore=shutil.ignore_patterns("__pycache__"))
        file = copy / mutant.file
        file.write_text(mutant.applied(file.read_text("utf8")), "utf8")
        yield Path(folder)


def pytest(library: Path, *arguments: str) -> tuple[int, str]:
    """Exit status and output of tests of the checkout, with the package in ``library``."""
    environment = os.environ | {"PYTHONPATH": str(library), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--tb=no", "-rfE", *arguments]
    found = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    return found.returncode, found.stdout + found.stderr


def killer(mutant: Mutant) -> tuple[str | None, float]:
    """The first test that fails with the fault, None where all pass; and the seconds that it took to find out.

    Raises ``RuntimeError`` where the tests do not run at all.
    """
    start = time.monotonic()
    with planted(mutant) as library:
        status, output = pytest(library, "-x", f"tests/{mutant.tests}")
    failed = re.search(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", output, re.MULTILINE)
    if status not in (0, 1) or (status == 1) != bool(failed):
        raise RuntimeError(f"{mutant.file} ({mutant.what}): pytest ended with {status}\n{output[-2000:]}")
    return failed[1] if failed else None, time.monotonic() - start


def stopped(mutant: Mutant) -> tuple[bool, float]:
    """Whether the chapter of the mutant's claim, built with the fault, stops there; and the seconds that it took."""
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        for path in project_files(ROOT):
            copy = Path(folder) / path.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, copy)
        file = Path(folder) / LIBRARY / mutant.file
        file.write_text(mutant.applied(file.read_text("utf8")), "utf8")
        command = [sys.executable, f"{folder}/tools/build.py", "--root", folder, "--chapter", mutant.chapter]
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        found = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    said = found.stdout + found.stderr
    return found.returncode != 0 and f"{mutant.claim}: " in said, time.monotonic() - start


def main(begins: str = "") -> int | str:
    chosen = [mutant for mutant in MUTANTS if mutant.file.startswith(begins)]
    if not chosen:
        return f"No fault is in a file that begins with {begins!r}."
    killers = set()
    survivors = passed = 0
    told = [mutant for mutant in chosen if mutant.claim]
    with ThreadPoolExecutor(min(2, os.cpu_count() or 1)) as pool:
        for mutant, (test, seconds) in zip(chosen, pool.map(killer, chosen), strict=True):
            survivors += test is None
            killers |= {test} - {None}
            caught = test.removeprefix("tests/") if test else "SURVIVES"
            print(f"{mutant.file}: {mutant.what}\n    {seconds:3.0f} s  {caught}", flush=True)
        for mutant, (stops, seconds) in zip(told, pool.map(stopped, told), strict=True):
            passed += not stops
            place = f"{mutant.claim if stops else 'BUILDS'} ({mutant.chapter})"
            print(f"{mutant.file}: {mutant.what}\n    {seconds:3.0f} s  {place}", flush=True)
    status, output = pytest(ROOT / "lib", *sorted(killers)) if killers else (0, "")
    if status:
        print(f"Without any fault, too, these fail:\n{output}")
    print(f"{len(chosen)} faults, {survivors} of them not caught; {len(killers)} tests caught the others")
    print(f"{len(told)} of them planted under a chapter, {passed} of which built all the same")
    return 1 if survivors or passed or status else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
