"""How neural_tangents.npz was made: infinite-width kernels of neural-tangents 0.6.5, in float64.

It needs an environment of its own: pip install jax==0.4.25 jaxlib==0.4.25 numpy==1.26.4 "scipy<1.13" neural-tangents
python tests/ntk/neural_tangents_reference.py
"""

from pathlib import Path

import jax
import numpy as np
from neural_tangents import stax

jax.config.update("jax_enable_x64", True)

CASES = [
    ("relu", 2.0, 0.0, 3),
    ("relu", 1.5, 0.1, 1),
    ("erf", 1.0, 0.05, 2),
    ("erf", 2.5, 0.3, 4),
    ("linear", 1.2, 0.1, 2),
]
LAYERS = {"relu": stax.Relu, "erf": stax.Erf, "linear": stax.Identity}


def main() -> None:
    random = np.random.default_rng(0)
    x, y = random.normal(size=(7, 5)), random.normal(size=(4, 5))
    x[3] = 2 * y[1]  # two inputs on one ray
    arrays = {"x": x, "y": y, "cases": np.array(CASES, dtype=str)}
    for number, (name, weight_var, bias_var, depth) in enumerate(CASES):
        dense = stax.Dense(1, W_std=weight_var**0.5, b_std=bias_var**0.5, parameterization="ntk")
        _, _, kernel = stax.serial(*[dense, LAYERS[name]()] * depth, dense)
        both = kernel(x, y, ("nngp", "ntk"))
        arrays[f"K{number}"], arrays[f"Theta{number}"] = np.asarray(both.nngp), np.asarray(both.ntk)
    np.savez(Path(__file__).with_name("neural_tangents.npz"), **arrays)


if __name__ == "__main__":
    main()
