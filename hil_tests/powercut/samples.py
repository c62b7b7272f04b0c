"""Two samples compared: the distance of their distributions, and how likely it is of one alone."""

import bisect
import math
from collections.abc import Sequence

__all__ = ["kolmogorov_smirnov"]

_TERMS = 100
_SMALLEST = 0.2
"""Below this the series does not converge, and the probability is 1 to ten places."""


def kolmogorov_smirnov(first: Sequence[float], second: Sequence[float]) -> tuple[float, float]:
    """Return the distance of two samples, and the probability of it or more if they are of one distribution.

    The probability is the asymptotic one with Stephens' correction (Numerical Recipes, 3rd edition, 14.3.3).
    """
    one, two = sorted(first), sorted(second)
    distance = max(
        abs(bisect.bisect_right(one, value) / len(one) - bisect.bisect_right(two, value) / len(two))
        for value in (*one, *two)
    )
    root = math.sqrt(len(one) * len(two) / (len(one) + len(two)))
    scaled = (root + 0.12 + 0.11 / root) * distance
    if scaled < _SMALLEST:
        return distance, 1.0
    terms = ((-1) ** (k - 1) * math.exp(-2 * (k * scaled) ** 2) for k in range(1, _TERMS))
    return distance, min(1.0, max(0.0, 2 * sum(terms)))
