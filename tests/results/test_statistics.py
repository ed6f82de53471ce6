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
    compare,
    in_standard_errors,
    paired_differences,
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
        ("mean_last_2", "higher", 0.6),
    ],
)
def test_each_reading_takes_its_epochs(reading, better, expected):
    epochs = pd.DataFrame({"epoch": [4, 1, 2, 3], "value": [0.3, 0.1, 0.5, 0.9]})
    assert read_run(epochs, reading, better) == pytest.approx(expected)


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
