"""The confidence of intervals that are looked at repeatedly while seeds are added, where any look may be the last.

Anyone who looks at 95 % intervals after each round of seeds until one is decisive is wrong in more than 5 % of cases.
Repeated confidence intervals (Jennison and Turnbull, Journal of the Royal Statistical Society B 51, 1989, p. 305) hold
at all looks together with 95 %, so they are valid no matter when and why one stops. All looks have the same, higher
confidence (Pocock, Biometrika 64, 1977, p. 191). It is computed for means of independent seeds. The images are the same
at every look, which can only make the looks agree more. Simulated coverage is in docs/methodology.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import numpy as np
from scipy.optimize import brentq
from scipy.stats import norm

CONFIDENCE = 0.95
FIRST_LOOK = 2
"""Number of seeds per point at the first look. With one seed, the variance between seeds is unknown."""

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(200)


def looks(most: int) -> range:
    """Return the number of seeds at each look, up to `most`."""
    return range(FIRST_LOOK, max(FIRST_LOOK, most) + 1)


def repeated_confidence(looks: Sequence[int], confidence: float = CONFIDENCE) -> float:
    """Return the confidence that the interval at each look needs for all of them to hold together with `confidence`.

    `looks` are increasing numbers of seeds.
    """
    return _repeated_confidence(tuple(looks), confidence)


@cache
def _repeated_confidence(looks: tuple[int, ...], confidence: float) -> float:
    if len(looks) == 1:
        return confidence
    critical = brentq(lambda value: _share_within(value, looks) - confidence, 0, 20)
    return float(1 - 2 * norm.sf(critical))


def _share_within(critical: float, looks: tuple[int, ...]) -> float:
    """Return how often the mean of standard normal seeds is within `critical` standard errors of 0 at every look.

    This integrates over the sum of the seeds from look to look (Armitage, McPherson and Rowe, Journal of the Royal
    Statistical Society A 132, 1969, p. 235).
    """
    sums, mass, before = np.zeros(1), np.ones(1), 0
    for seeds in looks:
        half = critical * math.sqrt(seeds)
        steps = _NODES[:, None] * half - sums
        mass = norm.pdf(steps, scale=math.sqrt(seeds - before)) @ mass * _WEIGHTS * half
        sums, before = _NODES * half, seeds
    return float(mass.sum())
