"""Corruptions of words, and the sources of the studies on texts."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from lapwing.corruption import corruptions
from lapwing.corruption.base import CorruptionSettings, corrupt_inputs, decide
from lapwing.corruption.sources import assign_sources
from lapwing.errors import UserError
from lapwing.study_files import read_studies

ROOT = Path(__file__).parents[2]
WORDS, LENGTH = 50, 12
ABOUT = {"dataset": "toy", "version": 1, "task": "classification", "classes": 2, "vocabulary": WORDS}


def toy(count: int) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    inputs = generator.integers(0, WORDS, (count, LENGTH), dtype=np.int32)
    targets = generator.integers(0, 2, count)
    return {"train/inputs": inputs, "train/targets": targets, "test/targets": targets}


def settings(name: str, **changes: Any) -> CorruptionSettings:
    sources = {"number": 5, "corrupt": 2, "assignment": "random_in_turn"}
    whole = {"dataset": "toy", "dataset_version": 1, "sources": sources, "name": name, "version": 1}
    return CorruptionSettings.model_validate({**whole, **changes})


def rule_of(name: str, about: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    return decide(settings(name, **changes), toy(200), about or ABOUT, 2)[1]["input_rule"]


@pytest.mark.parametrize("name", ["random_permute", "random_token"])
def test_labels_stay_and_the_seed_is_drawn_in_front_of_the_sources(name: str) -> None:
    arrays, about = decide(settings(name), toy(200), ABOUT, 2)
    assert np.array_equal(arrays["targets"], toy(200)["train/targets"])
    generator = np.random.default_rng(2)
    generator.integers(1_000_000_000)
    assert np.array_equal(arrays["source"], generator.choice(5, 200))
    assert about["corrupt_sources"] == generator.choice(5, 2, replace=False).tolist()
    assert np.array_equal(arrays["is_corrupted"], np.isin(arrays["source"], about["corrupt_sources"]))


@pytest.mark.parametrize("name", ["random_permute", "random_token"])
@given(count=st.integers(1, 20), shift=st.integers(0, 1000))
@hypothesis_settings(deadline=None, max_examples=20)
def test_what_is_done_to_a_text_depends_on_its_position_alone(name: str, count: int, shift: int) -> None:
    rule, inputs = rule_of(name), toy(count)["train/inputs"]
    positions = np.arange(count) + shift
    altered = corrupt_inputs(rule, inputs, positions)
    assert altered.dtype == np.int32
    assert altered.shape == inputs.shape
    backwards = corrupt_inputs(rule, inputs[::-1], positions[::-1])[::-1]
    assert np.array_equal(altered, backwards)
    assert np.array_equal(inputs, toy(count)["train/inputs"])


def test_permuted_texts_keep_their_words_each_in_an_order_of_its_own() -> None:
    inputs = np.tile(np.arange(LENGTH, dtype=np.int32), (300, 1))
    altered = corrupt_inputs(rule_of("random_permute"), inputs, np.arange(300))
    assert np.array_equal(np.sort(altered, axis=1), inputs)
    assert len({tuple(text) for text in altered}) > 290
    assert altered.mean(axis=0) == pytest.approx(np.full(LENGTH, inputs.mean()), abs=1)


def test_permutation_is_drawn_by_seed_and_position() -> None:
    rule = rule_of("random_permute")
    inputs = toy(3)["train/inputs"]
    altered = corrupt_inputs(rule, inputs, np.array([0, 7, 100]))
    for place, position in enumerate((0, 7, 100)):
        expected = np.random.default_rng(rule["seed"] + position).permutation(inputs[place])
        assert np.array_equal(altered[place], expected)


@pytest.mark.parametrize(("probability", "share"), [(None, 0.5), (0.0, 0.0), (0.2, 0.2), (1.0, 1.0)])
def test_as_many_words_are_replaced_as_is_said(probability: float | None, share: float) -> None:
    options = {} if probability is None else {"probability": probability}
    inputs = np.full((500, LENGTH), WORDS, np.int32)  # no word of the vocabulary
    altered = corrupt_inputs(rule_of("random_token", options=options), inputs, np.arange(500))
    assert np.mean(altered != inputs) == pytest.approx(share, abs=0.03)


@pytest.mark.parametrize(("asked", "words"), [(None, WORDS), (7, 7), (1000, WORDS)])
def test_new_words_are_drawn_from_the_vocabulary(asked: int | None, words: int) -> None:
    rule = rule_of("random_token", options={"vocabulary": asked, "probability": 1.0})
    altered = corrupt_inputs(rule, toy(500)["train/inputs"], np.arange(500))
    assert set(np.unique(altered)) == set(range(words))
    assert np.bincount(altered.ravel()) == pytest.approx(np.full(words, 500 * LENGTH / words), rel=0.4)


@pytest.mark.parametrize("name", ["random_permute", "random_token"])
@pytest.mark.parametrize("shape", [(12,), (1, 8, 8)])
def test_inputs_that_are_no_texts_are_refused(name: str, shape: tuple[int, ...]) -> None:
    corruption = corruptions.get(name)
    with pytest.raises(UserError, match=f"^{corruption.title} alters words, and the inputs are numbers.$"):
        corruption.check(corruption.Options(), shape, 2)
    prepared = {**toy(200), "train/inputs": np.zeros((200, *shape), np.float32)}
    with pytest.raises(UserError, match="alters words, and the inputs are numbers"):
        decide(settings(name), prepared, {**ABOUT, "vocabulary": None}, 2)


@pytest.mark.parametrize("name", ["added_noise", "replaced_noise", "chunk_shuffle", "noise_and_label_flip"])
def test_texts_are_not_altered_as_numbers(name: str) -> None:
    with pytest.raises(UserError, match="alters numbers, and the inputs are words"):
        decide(settings(name), toy(200), ABOUT, 2)


def test_labels_of_texts_are_corrupted_as_any() -> None:
    arrays, _ = decide(settings("random_label"), toy(200), ABOUT, 2)
    assert arrays["is_corrupted"].any()


@pytest.mark.parametrize(("study", "raters", "rows"), [("table_3", None, 25_000), ("goemotions", 82, 500)])
def test_seeds_of_the_studies_draw_the_published_corrupt_sources(
    study: str, raters: int | None, rows: int
) -> None:
    with (ROOT / "published" / "corrupt_sources.csv").open(newline="") as file:
        key = {"table_3": "imdb"}.get(study, study)
        published = [row for row in csv.DictReader(file) if row["study"] == key and row["corrupt_sources"]]
    given_sources = None if raters is None else np.arange(rows) % raters
    compared = 0
    for cell in read_studies(ROOT / "studies", "paper")[study].cells:
        corruption = corruptions.get(cell.settings.corruption.name)
        for number, seed in enumerate(cell.seeds, start=1):
            sources = cell.settings.corruption.sources
            found = assign_sources(sources, rows, seed, given_sources, seed_first=corruption.seed_first)
            for row in published:
                names = (row["corruption"], row["run"], row["method"].lower())
                if names == (corruption.title, str(number), cell.settings.method.name):
                    assert found.corrupt == [int(source) for source in row["corrupt_sources"].split()]
                    compared += 1
    assert compared == len(published) > 0
