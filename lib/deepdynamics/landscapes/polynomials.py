"""Polynomials of sum-product networks."""

from __future__ import annotations

from collections import Counter

__all__ = ["sum_product"]

Polynomial = Counter[tuple[int, ...]]


def sum_product(depth: int) -> tuple[Polynomial, int]:
    """The polynomial of a sum-product tree with 2^``depth`` inputs, and the number of its units.

    Pairs of neighbours are multiplied and added in turn, products first; ``depth`` is even. A polynomial is a counter:
    the sorted tuple of the inputs of a monomial, and its coefficient. All monomials are different, and there are
    2^(√n − 1) of them with n inputs (Delalleau and Bengio, Shallow vs. deep sum-product networks, NIPS 2011).

    Raises ``ValueError`` for a depth that is not 2, 4, 6 or 8: at 10 there are two
    thousand million monomials.

    >>> sum_product(2)
    (Counter({(0, 1): 1, (2, 3): 1}), 3)
    """
    if depth not in (2, 4, 6, 8):
        raise ValueError(f"depth = {depth}: 2, 4, 6 or 8")
    layer: list[Polynomial] = [Counter({(i,): 1}) for i in range(2**depth)]
    units = 0
    for level in range(depth):
        join = _product if level % 2 == 0 else _sum
        layer = [join(p, q) for p, q in zip(layer[::2], layer[1::2], strict=True)]
        units += len(layer)
    return layer[0], units


def _sum(p: Polynomial, q: Polynomial) -> Polynomial:
    return p + q


def _product(p: Polynomial, q: Polynomial) -> Polynomial:
    result: Polynomial = Counter()
    for a, m in p.items():
        for b, n in q.items():
            result[tuple(sorted(a + b))] += m * n
    return result
