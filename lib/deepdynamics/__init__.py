"""The numerical routines of the book *The Dynamics of Deep Networks*."""
