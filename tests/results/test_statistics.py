"""Readings, summaries and comparisons against cases known by hand or from another implementation."""

import math

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from hypothesis import assume, given
from hypothesis import strategies as st

from lapwing.results.statistics import (
    Summary,
    cliques,
    compare,
    critical_difference,
    friedman,
    in_standard_errors,
    mean_ranks,
    paired_differences,
    ranking_auc,
    read_run,
    same_ordering,
    summarise,
    welch_interval,
)

values = st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=12)


@pytest.mark.parametrize(
    ("reading", "better", "expected"),
    [
        ("last", "higher", 0.3),
        ("best", "higher", 0.9),
        ("best", "lower", 0.1),
        ("worst", "higher", 0.1),
        ("worst", "lower", 0.9),
        ("mean_last_2", "higher", 0.6),
        ("validation", "higher", 0.5),
        ("validation", "lower", 0.1),
    ],
)
def test_each_reading_takes_its_epochs(reading, better, expected):
    """On the validation split epochs 2 and 3 are equally good, 1 and 4 equally bad: the first counts."""
    test = pd.DataFrame({"epoch": [4, 1, 2, 3], "value": [0.3, 0.1, 0.5, 0.9], "split": "test"})
    validation = pd.DataFrame({"epoch": [4, 3, 2, 1], "value": [0.2, 0.7, 0.7, 0.2], "split": "validation"})
    assert read_run(pd.concat([test, validation]), reading, better) == pytest.approx(expected)


@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), max_size=12))
def test_ranking_of_sources_is_judged_by_all_pairs(sources):
    corrupt = [score for score, is_corrupt in sources if is_corrupt]
    clean = [score for score, is_corrupt in sources if not is_corrupt]
    pairs = [1.0 if bad > good else 0.5 if bad == good else 0.0 for bad in corrupt for good in clean]
    scores, flags = [score for score, _ in sources], [flag for _, flag in sources]
    auc = ranking_auc(scores, flags)
    assert auc == pytest.approx(np.mean(pairs)) if pairs else math.isnan(auc)


def test_sources_without_a_score_are_no_part_of_the_ranking():
    assert ranking_auc([3.0, math.nan, 1.0, math.nan], [True, True, False, False]) == 1.0
    assert math.isnan(ranking_auc([math.nan, 1.0], [True, False]))
    assert math.isnan(ranking_auc([], []))


def test_ranks_are_means_and_ties_share_theirs():
    """The example of Demsar 2006, table 6, in its first rows: the best has rank 1."""
    means = pd.DataFrame({"a": [0.763, 0.599, 0.954], "b": [0.768, 0.591, 0.971], "c": [0.771, 0.590, 0.971]})
    assert mean_ranks(means, "higher").tolist() == pytest.approx([7 / 3, 5.5 / 3, 5.5 / 3])
    assert mean_ranks(means, "lower").tolist() == pytest.approx([5 / 3, 6.5 / 3, 6.5 / 3])


@pytest.mark.parametrize(
    ("methods", "quantile"), [(2, 1.960), (3, 2.343), (4, 2.569), (5, 2.728), (10, 3.164)]
)
def test_critical_difference_has_the_printed_quantiles(methods, quantile):
    """Demsar 2006, table 5a; with 4 methods on 14 data sets the difference is 1.25 (section 3.2.2)."""
    blocks = 9
    scale = math.sqrt(methods * (methods + 1) / (6 * blocks))
    assert critical_difference(methods, blocks) / scale == pytest.approx(quantile, abs=1e-3)
    assert critical_difference(4, 14) == pytest.approx(1.25, abs=0.005)


def test_cliques_are_the_largest_groups_that_do_not_differ():
    ranks = pd.Series({"d": 4.0, "a": 1.0, "b": 1.5, "c": 2.4, "e": 9.0})
    assert cliques(ranks, 1.0) == [["a", "b"], ["b", "c"]]
    assert cliques(ranks, 1.6) == [["a", "b", "c"], ["c", "d"]]
    assert cliques(ranks, 0.4) == []
    assert cliques(ranks, 8.0) == [["a", "b", "c", "d", "e"]]


def test_friedman_needs_three_methods_and_some_difference():
    means = pd.DataFrame({"a": [3.0, 3, 3, 3], "b": [2.0, 2, 2, 2], "c": [1.0, 1, 1, 1]})
    assert friedman(means) == pytest.approx(math.exp(-8 / 2), rel=1e-6)  # chi squared of 8, two degrees
    assert math.isnan(friedman(means[["a", "b"]]))
    assert math.isnan(friedman(means.assign(b=3.0, c=3.0)))


def test_spread_is_the_sample_standard_deviation():
    assert summarise([1, 2, 3, 4]) == Summary(2.5, pytest.approx(np.std([1, 2, 3, 4], ddof=1)), 4)
    assert math.isnan(summarise([1.0]).std)


@given(values, values)
def test_interval_agrees_with_scipy(a, b):
    assume(min(np.std(a), np.std(b)) > 1e-3)
    expected = scipy.stats.ttest_ind(a, b, equal_var=False).confidence_interval(0.95)
    assert welch_interval(summarise(a), summarise(b), 0.95) == pytest.approx(tuple(expected), abs=1e-6)


@given(st.floats(-5, 5), st.floats(0.1, 3), st.floats(0.1, 3), st.integers(2, 30))
def test_reproduced_exactly_when_both_one_sided_tests_pass(difference, std, published_std, n):
    """The definition of two one-sided tests, written down with p-values."""
    ours, theirs = Summary(difference, std, n), Summary(0.0, published_std, 10)
    verdict = compare(ours, theirs, 1.0).verdict
    margin = max(published_std, 1.0)
    error = math.hypot(std / math.sqrt(n), published_std / math.sqrt(10))
    freedom = error**4 / ((std**2 / n) ** 2 / (n - 1) + (published_std**2 / 10) ** 2 / 9)
    p_above = scipy.stats.t.sf((difference + margin) / error, freedom)
    p_below = scipy.stats.t.cdf((difference - margin) / error, freedom)
    assert (verdict == "reproduced") == (max(p_above, p_below) < 0.05)


@pytest.mark.parametrize(
    ("ours", "verdict"),
    [
        (Summary(80.1, 1.0, 10), "reproduced"),
        (Summary(80.9, 1.0, 10), "not decided"),
        (Summary(83.0, 1.0, 10), "differs"),
        (Summary(77.0, 1.0, 10), "differs"),
        (Summary(80.0, 6.0, 10), "not decided"),
        (Summary(95.0, math.nan, 1), "not decided"),
    ],
)
def test_verdicts_of_known_cases(ours, verdict):
    assert compare(ours, Summary(80.0, 1.0, 10), 1.0).verdict == verdict


def test_margin_is_one_published_deviation_but_at_least_the_smallest():
    assert compare(Summary(1, 1, 5), Summary(1, 3.0, 5), 1.0).margin == 3.0
    assert compare(Summary(1, 1, 5), Summary(1, 0.2, 5), 1.0).margin == 1.0
    assert compare(Summary(1, 1, 5), Summary(1, 0.02, 5), 0.0).margin == 0.02


def test_equal_samples_without_spread_are_reproduced():
    assert compare(Summary(80.0, 0.0, 3), Summary(80.0, 0.0, 3), 1.0).verdict == "reproduced"


def test_equal_samples_are_reproduced_without_any_margin():
    assert compare(Summary(80.0, 0.0, 3), Summary(80.0, 0.0, 3), 0.0).verdict == "reproduced"
    assert compare(Summary(80.1, 0.0, 3), Summary(80.0, 0.0, 3), 0.0).verdict == "differs"


def test_differences_are_taken_within_a_seed():
    """Seeds that differ by ten points each leave no spread in the differences."""
    lap, standard = {2: 51.0, 4: 61.0, 8: 71.0, 9: 99.0}, {2: 50.0, 4: 60.0, 8: 70.0}
    assert paired_differences(lap, standard) == Summary(1.0, 0.0, 3)


def test_distance_is_in_combined_standard_errors():
    assert in_standard_errors(Summary(5.0, 3.0, 9), Summary(3.0, 0.0, 9)) == pytest.approx(2.0)
    assert in_standard_errors(Summary(0.0, 0.0, 3), Summary(0.0, 0.0, 10)) == 0.0
    assert in_standard_errors(Summary(0.1, 0.0, 3), Summary(0.0, 0.0, 10)) == math.inf


def test_ordering_is_judged_as_it_is_shown():
    published = {"standard": 82.86, "lap": 82.86}
    assert same_ordering({"standard": 82.0, "lap": 83.0}, published, 2)  # a tie contradicts nothing
    assert same_ordering({"standard": 70.001, "lap": 70.002}, {"standard": 72.0, "lap": 70.0}, 2)
    assert not same_ordering({"standard": 70.0, "lap": 71.0}, {"standard": 72.0, "lap": 70.0}, 2)
    assert same_ordering({"lap": 71.0}, published, 2) is None
