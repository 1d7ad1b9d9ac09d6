"""Experiments of the chapter on order and chaos."""
