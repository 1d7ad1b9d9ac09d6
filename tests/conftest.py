"""Tests run as chapters do: offline, on one thread, without a display."""

import os

from hypothesis import settings

os.environ["DEEPDYNAMICS_OFFLINE"] = "1"
os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported
os.environ["MPLBACKEND"] = "agg"

# The examples of property tests are the same at every run; a long run looks for new ones: HYPOTHESIS_PROFILE=new. How
# long an example takes says how busy the machine is.
settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("new", max_examples=1000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))

FIRST = ("test_without_data.py", "test_site.py", "test_alarm.py", "test_build.py", "test_determinism.py")


def pytest_collection_modifyitems(items):
    """The long modules first, so that workers that share the tests end together."""
    items.sort(key=lambda item: FIRST.index(item.path.name) if item.path.name in FIRST else len(FIRST))
