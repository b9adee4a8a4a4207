"""Intervals and paired tests on counts."""
from math import comb, sqrt

import numpy as np

Z = 1.959964  # two-sided 95 %
TAILS = (0.025, 0.975)  # the same for a bootstrap


def wilson(successes: int, trials: int, z: float = Z) -> tuple[float, float] | None:
    """The score interval of a rate (Wilson 1927, JASA 22, eq. 5); None without trials.

    Args:
        successes: 0 to trials.
        trials: how often it was tried.
        z: standard normal quantile.

    Returns:
        (low, high), fractions of 1 with 0 <= low <= successes / trials <= high <= 1.

    Example:
        >>> [round(end, 4) for end in wilson(8, 10)]
        [0.4902, 0.9433]
    """
    if not 0 <= successes <= trials:
        raise ValueError(f"expected 0 to {trials} successes, got {successes}")
    if trials == 0:
        return None
    rate, square = successes / trials, z * z / trials
    centre = (rate + square / 2) / (1 + square)
    half = z / (1 + square) * sqrt(rate * (1 - rate) / trials + square / (4 * trials))
    # At the ends the formula is exact, floating point is not.
    return (0.0 if successes == 0 else centre - half), (1.0 if successes == trials else centre + half)


def sign_test(more: int, fewer: int) -> float:
    """The chance of at least `more` heads in more + fewer throws of a fair coin: the exact one-sided paired test (McNemar 1947)."""
    trials = more + fewer
    return sum(comb(trials, k) for k in range(more, trials + 1)) / 2**trials


def mcnemar(one: int, other: int) -> float:
    """The exact two-sided paired test (McNemar 1947): the chance that clips on which two sides differ fall as unevenly as this, or more so, by
    tosses of a fair coin.

    Args:
        one: clips that only the one side has right.
        other: clips that only the other side has right. Clips on which both agree say nothing about which is better.

    Returns:
        p, 1 where there is no difference.

    Example:
        >>> mcnemar(1, 9)
        0.021484375
    """
    return min(1.0, 2 * sign_test(max(one, other), min(one, other)))


def paired_bootstrap(more: int, fewer: int, same: int, draws: int = 10_000, seed: int = 0) -> tuple[float, float] | None:
    """The 95 % percentile interval of a paired difference of rates (Efron 1979), over clips and two imagined ones, one in favour of each side.

    Without the two, clips that hardly ever differ give intervals that are too narrow, and of no width at all where they never do; so Bonett & Price
    2012 for the interval by the normal distribution.

    Args:
        more: clips that count for the difference, +1 each.
        fewer: clips that count against it, -1 each.
        same: clips on which both sides agree.
        draws: of as many clips, with replacement.
        seed: of the draws.

    Returns:
        (low, high), fractions of 1; None without clips.
    """
    if not more + fewer + same:
        return None
    counts = np.array([more + 1, fewer + 1, same])
    drawn = np.random.default_rng(seed).multinomial(counts.sum(), counts / counts.sum(), size=draws)
    low, high = np.quantile((drawn[:, 0] - drawn[:, 1]) / counts.sum(), TAILS)
    return float(low), float(high)
