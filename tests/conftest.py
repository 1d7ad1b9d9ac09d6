"""Tests run as chapters do: offline, on one thread, without a display."""

import os

os.environ["DEEPDYNAMICS_OFFLINE"] = "1"
os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported
os.environ["MPLBACKEND"] = "agg"

FIRST = ("test_without_data.py", "test_site.py", "test_alarm.py", "test_build.py", "test_determinism.py")


def pytest_collection_modifyitems(items):
    """The long modules first, so that workers that share the tests end together."""
    items.sort(key=lambda item: FIRST.index(item.path.name) if item.path.name in FIRST else len(FIRST))
