"""Experiments of the chapter on loss landscapes."""
