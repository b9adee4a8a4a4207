"""How often our 95 % intervals hold the truth, over the rates and numbers of clips that we report.

    python -m benchmarks.coverage_of_intervals     # a minute; writes results/interval_coverage.csv

Wilson's interval and the bound of certificates: exactly, summed over the binomial distribution, and Wilson's by simulated runs as well. The paired
bootstrap of `speechadv compare`: by simulated runs. `expected` is the number of clips of the rarer kind that the rate lets expect: Wilson's coverage dips
where it is small. The last lines tell the worst and the mean over a grid of 1,999 rates.
"""
from pathlib import Path

import click
import numpy as np
from scipy.stats import binom

from speechadv.evaluation.smoothing import lower_bound
from speechadv.evaluation.statistics import paired_bootstrap, wilson

from .rows import keep

TRIALS = (6, 48, 100, 200, 400, 960)
RATES = (0.005, 0.01, 0.03, 0.1, 0.3, 0.5, 0.9, 0.97, 0.99)
DRAWS = ((1000, 0.001), (10_000, 0.001), (100_000, 0.001))  # n and alpha of certificates
VOTES = (0.5, 0.7, 0.9, 0.99, 0.999)
PAIRS = ((0.02, 0.02), (0.05, 0.01), (0.1, 0.1), (0.2, 0.05), (0.5, 0.02), (0.9, 0.0))  # chances that one network, or the other, is right alone
ENOUGH = 10  # clips of either kind, from which on Wilson's coverage lies within 93 and 97 %
GRID = np.linspace(0, 1, 2001)[1:-1]


@click.command()
@click.option("--runs", default=20_000, show_default=True, type=click.IntRange(100), help="Simulated runs of Wilson's interval; a twentieth of it of the bootstrap.")
@click.option("--seed", default=0, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path("results/interval_coverage.csv"), show_default=True)
def main(runs, seed, out):
    """Count how often intervals hold the rate that the clips were drawn with."""
    rows = [line("wilson", n, f"{rate:g}", min(rate, 1 - rate) * n, exact_coverage(n, np.array([rate]))[0], simulated_coverage(n, rate, runs, seed))
            for n in TRIALS for rate in RATES]
    rows += [line("clopper-pearson", n, f"{rate:g}", min(rate, 1 - rate) * n, bound_coverage(n, alpha, np.array([rate]))[0], None, 1 - alpha)
             for n, alpha in DRAWS for rate in VOTES]
    rows += [line("paired bootstrap", n, f"+{better:g} -{worse:g}", (better + worse) * n, None, paired_coverage(n, better, worse, runs // 20, seed))
             for n in TRIALS[1:] for better, worse in PAIRS]
    for n in TRIALS:
        rows += over_all_rates(n)
    keep(rows, out)


def line(interval: str, trials: int, rate: str, expected: float, exact: float | None, simulated: float | None, nominal: float = 0.95) -> dict:
    """A row of the file."""
    return {"interval": interval, "clips": trials, "rate": rate, "expected": round(expected, 2), "nominal": nominal,
            "exact": None if exact is None else round(float(exact), 4), "simulated": None if simulated is None else round(simulated, 4)}


def over_all_rates(trials: int) -> list[dict]:
    """Mean and worst of Wilson's coverage over the grid, and the least and most where at least `ENOUGH` clips of either kind are expected."""
    coverage, expected = exact_coverage(trials, GRID), np.minimum(GRID, 1 - GRID) * trials
    inner = expected >= ENOUGH
    figures = [("mean over all rates", 0.0, coverage.mean()), ("worst of all rates", expected[coverage.argmin()], coverage.min())]
    figures += [(f"least from {ENOUGH} expected", ENOUGH, coverage[inner].min()), (f"most from {ENOUGH} expected", ENOUGH, coverage[inner].max())] if inner.any() else []
    return [line("wilson", trials, name, least, value, None) for name, least, value in figures]


def exact_coverage(trials: int, rates: np.ndarray) -> np.ndarray:
    """The chance that Wilson's interval holds each rate."""
    low, high = np.array([wilson(count, trials) for count in range(trials + 1)]).T
    chances = binom.pmf(np.arange(trials + 1), trials, rates[:, None])
    return (chances * ((low <= rates[:, None]) & (rates[:, None] <= high))).sum(1)


def bound_coverage(trials: int, alpha: float, rates: np.ndarray) -> np.ndarray:
    """The chance that each rate is at least the one-sided bound of Clopper and Pearson."""
    # The bound rises with the count: it holds up to the last count whose bound is not above the rate.
    counts = np.arange(trials + 1)
    bounds = np.array([lower_bound(int(count), trials, alpha) for count in counts]) if trials <= 1000 else _bounds(counts, trials, alpha)
    last = np.searchsorted(bounds, rates, side="right") - 1
    return binom.cdf(last, trials, rates)


def _bounds(counts: np.ndarray, trials: int, alpha: float) -> np.ndarray:
    """`lower_bound` of many counts at once."""
    from scipy.stats import beta

    return np.where(counts > 0, beta.ppf(alpha, np.maximum(counts, 1), trials - counts + 1), 0.0)


def simulated_coverage(trials: int, rate: float, runs: int, seed: int) -> float:
    """The share of simulated runs whose Wilson interval holds the rate."""
    counts = np.random.default_rng(seed).binomial(trials, rate, size=runs)
    held = {int(count): (ends := wilson(int(count), trials))[0] <= rate <= ends[1] for count in np.unique(counts)}
    return float(np.mean([held[count] for count in counts.tolist()]))


def paired_coverage(clips: int, better: float, worse: float, runs: int, seed: int) -> float:
    """The share of simulated comparisons whose bootstrap interval holds the difference of the two rates."""
    draws = np.random.default_rng(seed).multinomial(clips, [better, worse, 1 - better - worse], size=runs)
    ends = np.array([paired_bootstrap(*map(int, counts), draws=2000) for counts in draws])
    truth = better - worse
    return float(((ends[:, 0] <= truth + 1e-12) & (truth <= ends[:, 1] + 1e-12)).mean())


if __name__ == "__main__":
    main()
