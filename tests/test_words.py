"""Numbers as one reads them."""

import pytest

from lapwing.words import duration, many


@pytest.mark.parametrize(("number", "said"), [(0, "0 runs"), (1, "1 run"), (2, "2 runs")])
def test_one_is_no_plural(number: int, said: str) -> None:
    assert many(number, "run") == said


@pytest.mark.parametrize(
    ("hours", "said"),
    [
        (0.02, "72.0 s"),
        (1.45, "87.0 min"),
        (2.54, "2.5 h"),
        (26.3, "26 h"),
        (120.0, "5.0 days"),
        (26785.2, "1116 days"),
    ],
)
def test_time_is_said_as_exactly_as_one_wants_to_know_it(hours: float, said: str) -> None:
    assert duration(3600 * hours) == said
