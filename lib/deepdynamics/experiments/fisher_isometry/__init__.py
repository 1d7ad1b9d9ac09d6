"""Experiments of the chapter on Fisher information under isometry."""
