"""Experiments of the chapter that puts every lens on one network."""
