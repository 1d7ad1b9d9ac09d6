"""Experiments of the chapter on the edge of chaos in gain."""
