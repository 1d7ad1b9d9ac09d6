"""What the two experiments on great depth share: starts, seeds, rates, steps, and the arrays of a training."""

__all__ = ["CLASSES", "EVERY", "LEARNING_RATES", "RATES", "SEEDS", "STEP", "STEPS", "TESTED", "TRAINED", "WEIGHTS"]

WEIGHTS, CLASSES = ("orthogonal", "gaussian"), 10
STEPS, EVERY, TESTED = 200, 10, 1000
SEEDS, STEP = tuple(range(11, 19)), tuple(range(EVERY, STEPS + 1, EVERY))
RATES = {"orthogonal": tuple(2.0**k for k in range(-13, -8)), "gaussian": tuple(8.0**k for k in range(-2, 3))}
LEARNING_RATES = tuple(sorted({*RATES["orthogonal"], *RATES["gaussian"]}))
TRAINED = {
    "tuning": ("weights", "learning_rate"),
    "rate": ("weights",),
    "loss": ("weights", "seed", "step"),
    "online": ("weights", "seed", "step"),
    "accuracy": ("weights", "seed"),
}
