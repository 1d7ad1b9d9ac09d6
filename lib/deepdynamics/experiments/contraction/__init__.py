"""Experiments of the chapter on contraction and manifolds."""
