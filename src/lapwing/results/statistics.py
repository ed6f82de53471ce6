"""Readings of runs, their summaries, and the comparison of ours with the published; pure functions.

Nothing here knows files, layouts or names of methods. Values are in the unit in which they are shown.
"""

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
import scipy.stats

Verdict = Literal["reproduced", "differs", "not decided", "not comparable"]
CONFIDENCE = 0.95
TEST_LEVEL = 0.05


# -- one number per run ----------------------------------------------------------------------------


def read_run(epochs: pd.DataFrame, reading: str, better: str) -> float:
    """Read one number from a run.

    Args:
        epochs: columns split, epoch and value, of one metric on the test split and, where data are left
            aside, on the validation split.
        reading: `last`, `best` or `worst` (over the epochs, so chosen on the test split), `validation` (the
            test value of the epoch that is best on the validation split, the first of equals),
            `mean_last_<k>` or `pooled_last_<k>`, which of one run are the same.
        better: `higher` or `lower`.
    """
    values = _by_epoch(epochs, "test")
    if reading == "last":
        return float(values.iloc[-1])
    if reading in ("best", "worst"):
        return float(values.max() if (reading == "best") == (better == "higher") else values.min())
    if reading == "validation":
        chosen = _by_epoch(epochs, "validation")
        order = chosen if better == "higher" else -chosen
        return float(values.loc[chosen.index[int(np.argmax(order.to_numpy()))]])
    return float(values.tail(int(reading.rpartition("_")[2])).mean())


def last_epochs(epochs: pd.DataFrame, reading: str) -> list[float]:
    """The test values of a run that `pooled_last_<k>` pools; columns as for `read_run`."""
    return _by_epoch(epochs, "test").tail(int(reading.rpartition("_")[2])).tolist()


def _by_epoch(epochs: pd.DataFrame, split: str) -> "pd.Series[float]":
    return epochs[epochs["split"] == split].set_index("epoch")["value"].sort_index()


def ranking_auc(scores: Sequence[float], is_corrupt: Sequence[bool]) -> float:
    """How well a ranking of the sources finds the corrupt ones.

    Args:
        scores: [S] of each source, the higher the more suspect; NaN where a source has none.
        is_corrupt: [S].

    Returns:
        The probability that a corrupt source ranks above a clean one, ties counting half; NaN where
        there is no corrupt or no clean source with a score.
    """
    score, corrupt = np.asarray(scores, dtype=float), np.asarray(is_corrupt, dtype=bool)
    known = ~np.isnan(score)
    score, corrupt = score[known], corrupt[known]
    bad, good = int(corrupt.sum()), int((~corrupt).sum())
    if not bad or not good:
        return math.nan
    above = float(scipy.stats.rankdata(score)[corrupt].sum()) - bad * (bad + 1) / 2
    return above / (bad * good)


# -- a cell ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Summary:
    """A sample of runs: mean, sample standard deviation (n - 1; NaN for one run), and how many."""

    mean: float
    std: float
    n: int

    @property
    def standard_error(self) -> float:
        """The standard error of the mean."""
        return self.std / math.sqrt(self.n) if self.n else math.nan


def summarise(values: Iterable[float]) -> Summary:
    """Summarise one value per run."""
    sample = np.array(list(values), dtype=float)
    mean = float(sample.mean()) if sample.size else math.nan
    std = float(sample.std(ddof=1)) if sample.size > 1 else math.nan
    return Summary(mean, std, sample.size)


# -- ours against the published ---------------------------------------------------------------------


@dataclass(frozen=True)
class Comparison:
    """Ours minus the published: a 95 % interval, and what it says."""

    difference: float
    low: float
    high: float
    margin: float
    verdict: Verdict


def compare(ours: Summary, published: Summary, smallest_margin: float) -> Comparison:
    """Compare two samples (design section 7).

    The margin is one published standard deviation, but at least `smallest_margin`. Two one-sided
    Welch tests at 5 % within it: reproduced. The whole 95 % interval beyond it: differs.
    Otherwise, and always when one of the samples has fewer than two runs: not decided.
    """
    difference = ours.mean - published.mean
    margin = max(published.std, smallest_margin) if published.std == published.std else smallest_margin
    if ours.n < 2 or published.n < 2:
        return Comparison(difference, math.nan, math.nan, margin, "not decided")
    low, high = welch_interval(ours, published, CONFIDENCE)
    return Comparison(difference, low, high, margin, _verdict(ours, published, low, high, margin))


def _verdict(ours: Summary, published: Summary, low: float, high: float, margin: float) -> Verdict:
    inner_low, inner_high = welch_interval(ours, published, 1 - 2 * TEST_LEVEL)
    if -margin <= inner_low and inner_high <= margin:
        return "reproduced"
    if low > margin or high < -margin:
        return "differs"
    return "not decided"


def welch_interval(ours: Summary, published: Summary, confidence: float) -> tuple[float, float]:
    """The interval of the difference of two means whose variances may differ.

    Two one-sided tests at level a pass exactly when the interval of confidence 1 - 2a lies
    within the margin.
    """
    difference = ours.mean - published.mean
    a, b = ours.standard_error**2, published.standard_error**2
    if a + b == 0:
        return difference, difference
    freedom = (a + b) ** 2 / (a**2 / (ours.n - 1) + b**2 / (published.n - 1))
    half = float(scipy.stats.t.ppf((1 + confidence) / 2, freedom)) * math.sqrt(a + b)
    return difference - half, difference + half


# -- differences within a seed -----------------------------------------------------------------------


def paired_differences(values: Mapping[int, float], against: Mapping[int, float]) -> Summary:
    """Summarise `values` minus `against` over the seeds that both have.

    The two methods of a seed share initialisation, sources and corruption, so that the
    difference within a seed is sharper than that of the means.
    """
    return summarise(values[seed] - against[seed] for seed in sorted(set(values) & set(against)))


def in_standard_errors(ours: Summary, published: Summary) -> float:
    """Ours minus the published, in combined standard errors; NaN where one is unknown."""
    difference = ours.mean - published.mean
    combined = math.hypot(ours.standard_error, published.standard_error)
    if combined == 0:
        return 0.0 if difference == 0 else math.copysign(math.inf, difference)
    return difference / combined


# -- the order of methods ----------------------------------------------------------------------------


def same_ordering(ours: Mapping[str, float], published: Mapping[str, float], decimals: int) -> bool | None:
    """Whether no two methods stand the other way round; None with fewer than two to compare.

    Means are compared as they are shown, with `decimals`; a tie on one side contradicts nothing.
    """
    shared = sorted(set(ours) & set(published))
    if len(shared) < 2:
        return None
    pairs = itertools.combinations(shared, 2)
    return all(_sign(ours, a, b, decimals) * _sign(published, a, b, decimals) >= 0 for a, b in pairs)


def _sign(means: Mapping[str, float], a: str, b: str, decimals: int) -> float:
    return float(np.sign(round(means[a], decimals) - round(means[b], decimals)))


# -- ranks of several methods ------------------------------------------------------------------------


def mean_ranks(means: pd.DataFrame, better: str) -> "pd.Series[float]":
    """The mean rank of each column over the rows, 1 the best; equals share the mean of their ranks."""
    return means.rank(axis=1, ascending=better == "lower").mean()


def critical_difference(methods: int, blocks: int) -> float:
    """How far two mean ranks must be apart to differ at 5 %, of all pairs (Nemenyi; Demšar 2006, 3.2.2).

    Args:
        methods: how many are ranked, at least two.
        blocks: over how many rows the ranks are means.
    """
    quantile = float(scipy.stats.studentized_range.ppf(1 - TEST_LEVEL, methods, math.inf)) / math.sqrt(2)
    return quantile * math.sqrt(methods * (methods + 1) / (6 * blocks))


def friedman(means: pd.DataFrame) -> float:
    """The p value of equal ranks of all columns; NaN where there is too little to tell."""
    blocks, methods = means.shape
    if methods < 3 or blocks < 2 or (means.nunique(axis=1) == 1).all():
        return math.nan
    return float(scipy.stats.friedmanchisquare(*(means[method] for method in means)).pvalue)


def cliques(ranks: "pd.Series[float]", difference: float) -> list[list[str]]:
    """The largest groups of neighbours in rank that do not differ, two or more each, best first."""
    ordered = ranks.sort_values(kind="stable")
    names, values = list(ordered.index), ordered.to_numpy()
    found: list[list[str]] = []
    reached = 0
    for first, rank in enumerate(values):
        last = int(np.searchsorted(values, rank + difference, side="right"))
        if last > max(reached, first + 1):
            found.append(names[first:last])
            reached = last
    return found
