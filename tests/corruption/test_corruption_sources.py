"""The seeds of the published runs give the published corrupt sources."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lapwing.corruption.base import Sources
from lapwing.corruption.seeds import seed_chain
from lapwing.corruption.sources import assign_sources

PUBLISHED = Path(__file__).parents[2] / "published" / "corrupt_sources.csv"
ORDER = [  # the loop of the published scripts over corruptions
    "Original Data",
    "Chunk Shuffle",
    "Random Label",
    "Batch Label Flip",
    "Added Noise",
    "Batch Label Shuffle",
    "Replace With Noise",
]
Row = dict[str, str]


@pytest.mark.parametrize(
    ("seed", "four", "two", "six"),
    [
        (2, [1, 4, 5, 0], [1, 7], [3, 7, 8, 4, 9, 0]),
        (4, [6, 2, 7, 9], [3, 2], [6, 1, 8, 7, 9, 5]),
        (8, [8, 0, 3, 1], [0, 2], [6, 9, 4, 1, 3, 0]),
        (16, [7, 1, 4, 8], [2, 8], [5, 4, 8, 3, 1, 6]),
        (32, [9, 5, 3, 4], [6, 4], [6, 2, 4, 0, 3, 7]),
    ],
)
def test_corrupt_sources_of_table_1(seed: int, four: list[int], two: list[int], six: list[int]) -> None:
    for expected, size in ((four, 128), (two, 128), (six, 200)):
        sources = Sources(number=10, corrupt=len(expected), size=size)
        assert assign_sources(sources, 1000, seed).corrupt == expected


def seed_of_multi_source(row: Row) -> int:
    """Three data sets of seven corruptions in each run; only the first data set's runs are kept."""
    return seed_chain(42, 110)[21 * int(row["run"]) + ORDER.index(row["corruption"])]


def seed_of_presnet(row: Row) -> int:
    """Two files of five runs."""
    file, run = divmod(int(row["run"]), 5)
    return seed_chain([42, 2][file], 35)[7 * run + ORDER.index(row["corruption"])]


def seed_of_noise_level(row: Row) -> int:
    """Per level two files of three runs, each with 2, 4, 6, 8 corrupt sources."""
    file, run = divmod(int(row["run"]) - 1, 3)
    base = round(100 * float(row["corruption_level"])) + file
    return seed_chain(base, 12)[4 * run + int(row["n_corrupt"]) // 2 - 1]


def seed_of_california_housing(row: Row) -> int:
    """Original data ran alone, random label as the first of two settings."""
    run = int(row["run"]) - 1
    return seed_chain(12345, 10)[run if row["corruption"] == "Original Data" else 2 * run]


def seed_of_imagenet64(row: Row) -> int:
    return seed_chain(12345, 5)[int(row["run"]) - 1]


def seed_of_low_capacity(row: Row) -> int:
    """Runs 1 to 3 and 4 to 5 in two files, each with 6, 5, 4, 3, 2 corrupt sources."""
    run = int(row["run"])
    base, before = (123, run - 1) if run <= 3 else (45, run - 4)
    return seed_chain(base, 15)[5 * before + 6 - int(row["n_corrupt"])]


def seed_in_loop(order: list[str], base: int) -> Callable[[Row], int]:
    """Runs from 1, each with all corruptions."""

    def seed_of(row: Row) -> int:
        place = len(order) * (int(row["run"]) - 1) + order.index(row["corruption"])
        return seed_chain(base, place + 1)[place]

    return seed_of


@pytest.mark.parametrize(
    ("study", "rows", "sources", "count", "seed_of"),
    [
        (
            "imdb",
            20,
            {"number": 10, "corrupt": 4, "assignment": "random_in_turn"},
            25_000,
            seed_in_loop(["Random Label", "Random Permute", "Original Data"], 12345),
        ),
        (
            "tiny_imagenet",
            10,
            {"number": 100, "corrupt": 40, "assignment": "random_in_turn"},
            100_000,
            seed_in_loop(["Random Label", "Original Data"], 12345),
        ),
    ],
)
def test_corrupt_sources_that_are_drawn_in_turn_are_the_published_ones(
    study: str, rows: int, sources: dict[str, Any], count: int, seed_of: Callable[[Row], int]
) -> None:
    with PUBLISHED.open(newline="") as file:
        published = [row for row in csv.DictReader(file) if row["study"] == study and row["corrupt_sources"]]
    assert len(published) == rows
    for row in published:
        seed_first = row["corruption"] == "Random Permute"
        found = assign_sources(Sources(**sources), count, seed_of(row), seed_first=seed_first)
        assert found.corrupt == [int(source) for source in row["corrupt_sources"].split()], row
        assert np.bincount(found.source, minlength=sources["number"]).min() > 0.8 * count / sources["number"]


@pytest.mark.parametrize(
    ("study", "rows", "size", "seed_of"),
    [
        ("multi_source", 60, 128, seed_of_multi_source),
        ("presnet", 60, 128, seed_of_presnet),
        ("cifar10_noise_level", 192, 128, seed_of_noise_level),
        ("california_housing", 20, None, seed_of_california_housing),
        ("imagenet64", 10, None, seed_of_imagenet64),
        ("cifar10n_low_capacity", 50, None, seed_of_low_capacity),
    ],
)
def test_corrupt_sources_are_the_published_ones(
    study: str, rows: int, size: int | None, seed_of: Callable[[Row], int]
) -> None:
    with PUBLISHED.open(newline="") as file:
        published = [row for row in csv.DictReader(file) if row["study"] == study and row["corrupt_sources"]]
    assert len(published) == rows
    for row in published:
        expected = [int(source) for source in row["corrupt_sources"].split()]
        sources = Sources(
            number=10, corrupt=len(expected), size=size, assignment="blocks" if size else "random"
        )
        assert assign_sources(sources, 300, seed_of(row)).corrupt == expected, row


def test_seed_chain_follows_from_its_base() -> None:
    chain = seed_chain(12345, 6)
    assert seed_chain(12345, 0) == []
    assert seed_chain(chain[1], 4) == chain[2:]


def test_blocks_deal_cifar_10_as_published() -> None:
    assignment = assign_sources(Sources(number=10, corrupt=4, size=128), 37_500, seed=2)
    blocks = assignment.source[::128]
    assert np.bincount(blocks).tolist() == [30] * 3 + [29] * 7
    assert np.bincount(assignment.source)[2] == 29 * 128 + 124
    assert sorted(assignment.order.tolist()) == list(range(37_500))


def test_more_sources_than_blocks_leave_sources_without_samples() -> None:
    assignment = assign_sources(Sources(number=1250, corrupt=500, size=128), 37_500, seed=2)
    assert len(np.unique(assignment.source)) == 293
    assert len(set(assignment.corrupt)) == 500


def test_random_sources_are_those_of_the_published_california_housing() -> None:
    assignment = assign_sources(Sources(number=10, corrupt=4, assignment="random"), 16_512, seed=7)
    np.testing.assert_array_equal(assignment.source, np.random.default_rng(7).choice(10, 16_512))
    assert assignment.order.tolist() == list(range(16_512))
