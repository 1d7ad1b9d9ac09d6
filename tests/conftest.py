"""Tests run as chapters do: offline, on one thread, without a display."""

import os

os.environ["DEEPDYNAMICS_OFFLINE"] = "1"
os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported
os.environ["MPLBACKEND"] = "agg"
