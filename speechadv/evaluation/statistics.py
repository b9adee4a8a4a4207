"""Intervals and paired tests on counts."""
from math import comb, sqrt

Z = 1.959964  # two-sided 95 %


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
