"""Monomials of the sum-product tree."""

import pytest
from deepdynamics.landscapes import sum_product


@pytest.mark.parametrize("depth", [2, 4, 6])
def test_monomials_are_two_to_the_root_of_the_inputs_less_one(depth):
    polynomial, units = sum_product(depth)
    assert units == 2**depth - 1 and len(polynomial) == 2 ** (2 ** (depth // 2) - 1)
    assert set(polynomial.values()) == {1} and {len(m) for m in polynomial} == {2 ** (depth // 2)}


def test_a_depth_that_is_odd_is_refused():
    with pytest.raises(ValueError, match="depth"):
        sum_product(3)
