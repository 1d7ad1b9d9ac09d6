"""Experiments of the chapter on what depth can express."""
