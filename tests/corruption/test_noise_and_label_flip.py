"""Noisy signals and flipped labels at rising levels; the published seeds of PTB-XL."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lapwing.corruption import corruptions
from lapwing.corruption.base import CorruptionSettings, Sources, corrupt_inputs, decide
from lapwing.corruption.seeds import seed_chain
from lapwing.corruption.sources import assign_sources
from lapwing.errors import UserError
from lapwing.files import Array
from lapwing.schema import validate
from lapwing.study_files import read_studies

ROOT = Path(__file__).parents[2]
PUBLISHED = ROOT / "published" / "corrupt_sources.csv"
ABOUT = {"dataset": "toy", "version": 1, "task": "classification", "classes": 2}


def toy(count: int, sources: int) -> dict[str, Array]:
    random = np.random.default_rng(0)
    targets = random.integers(0, 2, count)
    return {
        "train/inputs": random.normal(size=(count, 2, 5)).astype(np.float32),
        "train/targets": targets,
        "train/source": np.arange(count) % sources,
        "test/targets": targets,
    }


def wanted(sources: int, corrupt: int, **more: Any) -> CorruptionSettings:
    return CorruptionSettings(
        dataset="toy",
        dataset_version=1,
        sources=Sources(number=sources, corrupt=corrupt, assignment="given"),
        name="noise_and_label_flip",
        version=1,
        **more,
    )


def test_levels_rise_in_the_order_in_which_the_sources_were_drawn() -> None:
    prepared = toy(40_000, 8)
    arrays, about = decide(wanted(8, 4), prepared, ABOUT, seed=3)
    flipped, noisy = arrays["targets"] != prepared["train/targets"], arrays["is_altered"]
    own = [arrays["source"] == source for source in about["corrupt_sources"]]
    for of, level in zip(own, [0.25, 0.5, 0.75, 1.0], strict=True):
        assert flipped[of].mean() == pytest.approx(level, abs=0.03)
        assert noisy[of].mean() == pytest.approx(level, abs=0.03)
        assert (flipped & noisy)[of].mean() == pytest.approx(level**2, abs=0.03)  # the coins are independent
    clean = ~np.any(own, axis=0)
    assert not (flipped | noisy)[clean].any()
    np.testing.assert_array_equal(arrays["is_corrupted"], flipped | noisy)


def test_noise_is_normal_and_belongs_to_the_position() -> None:
    arrays, about = decide(wanted(2, 2), toy(10, 2), ABOUT, seed=3)
    rule, inputs = about["input_rule"], np.ones((400, 2, 50), np.float32)
    noise = corrupt_inputs(rule, inputs, np.arange(400)) - inputs
    assert (noise.mean(), noise.std()) == (pytest.approx(0, abs=0.01), pytest.approx(0.2, abs=0.01))
    alone = corrupt_inputs(rule, inputs[:1], np.array([37])) - inputs[:1]
    np.testing.assert_array_equal(alone[0], noise[37])
    assert "is_altered" in arrays


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(1, 60),
    fewer=st.integers(1, 60),
    corrupt=st.integers(0, 4),
)
def test_what_falls_to_a_sample_does_not_depend_on_how_many_follow(
    seed: int, count: int, fewer: int, corrupt: int
) -> None:
    """A per-record draw, as spec lap-experiments 10 (quirk 12) advises."""
    fewer = min(fewer, count)
    whole, begun = (
        decide(wanted(4, corrupt), {name: values[:rows] for name, values in toy(60, 4).items()}, ABOUT, seed)[
            0
        ]
        for rows in (count, fewer)
    )
    for name in ("targets", "is_altered", "is_corrupted"):
        np.testing.assert_array_equal(whole[name][:fewer], begun[name])


@pytest.mark.parametrize(("classes", "task"), [(10, "classification"), (None, "regression")])
def test_only_two_classes_can_be_flipped(classes: int | None, task: str) -> None:
    prepared = toy(10, 2)
    if classes is None:
        prepared["train/targets"] = prepared["train/targets"].astype(np.float32)
    about = {**ABOUT, "classes": classes, "task": task}
    sentence = f"noise_and_label_flip flips labels of two classes, and the dataset has {classes or 'none'}."
    with pytest.raises(UserError, match=sentence):
        decide(wanted(2, 1), prepared, about, seed=0)


@pytest.mark.parametrize("name", ["noise_and_label_flip", "human_labels"])
def test_levels_that_fall_are_refused(name: str) -> None:
    sentence = r"options of \w+: lowest is above highest \(0.9 and 0.1\)"
    with pytest.raises(UserError, match=sentence):
        validate(corruptions.get(name).Options, {"lowest": 0.9, "highest": 0.1}, f"options of {name}")


def test_equal_levels_are_levels() -> None:
    arrays, about = decide(wanted(2, 2, options={"lowest": 1, "highest": 1}), toy(10, 2), ABOUT, seed=3)
    assert arrays["is_altered"].all()
    assert about["changed_labels"] == 1


def seed_of_ecg(run: int, corrupt: int) -> int:
    """Two files of three and two runs; even numbers went through 2, 4, …, 10, odd ones through 2, 3, …, 8."""
    base, before = (123, run - 1) if run <= 3 else (45, run - 4)
    place = 7 * before + corrupt - 2 if corrupt % 2 else 5 * before + corrupt // 2 - 1
    return seed_chain(base, place + 1)[place]


def test_corrupt_nurses_are_the_published_ones() -> None:
    with PUBLISHED.open(newline="") as file:
        published = [row for row in csv.DictReader(file) if row["study"] == "ecg"]
    assert len(published) == 80
    nurses = np.arange(24) % 12
    for row in published:
        expected = [int(source) for source in row["corrupt_sources"].split()]
        sources = Sources(number=12, corrupt=len(expected), assignment="given")
        seed = seed_of_ecg(int(row["run"]), len(expected))
        assert assign_sources(sources, 24, seed, nurses).corrupt == expected, row


def test_figure_3a_has_the_published_seeds() -> None:
    cells = read_studies(ROOT / "studies", "paper")["figure_3a"].cells
    assert {cell.axes["n_corrupt"] for cell in cells} == {2, 3, 4, 5, 6, 7, 8}
    for cell in cells:
        corrupt = cell.settings.corruption.sources.corrupt
        assert cell.seeds == [seed_of_ecg(run, corrupt) for run in (1, 2, 3, 4, 5)]
