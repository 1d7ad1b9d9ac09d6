"""The experiments whose results the book stores: one module each, the same calls at the scale "live" and "paper"."""
