"""Noise that wraps around on the images of some corrupt sources, random labels of the others."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from lapwing.corruption import corruptions
from lapwing.corruption.base import CorruptionSettings, Sources, corrupt_rows, decide
from lapwing.errors import UserError

NAME = "wrapped_noise_and_random_label"
ABOUT = {"dataset": "toy", "version": 1, "task": "classification", "classes": 10}
ROWS = 2000


def settings(**changes: Any) -> CorruptionSettings:
    sources = {"number": 10, "corrupt": 5, "assignment": "random"}
    whole = {"dataset": "toy", "dataset_version": 1, "sources": sources, "name": NAME, "version": 1}
    return CorruptionSettings(**{**whole, **changes})


def decided(seed: int = 2, **changes: Any) -> tuple[dict[str, Any], dict[str, Any], np.ndarray]:
    """Arrays and about of an artefact, and the true labels of its positions."""
    labels = np.random.default_rng(0).integers(0, 10, ROWS)
    inputs = np.zeros((ROWS, 3, 2, 2), np.uint8)
    prepared = {"train/inputs": inputs, "train/targets": labels, "test/targets": labels}
    arrays, about = decide(settings(**changes), prepared, ABOUT, seed)
    return arrays, about, labels[arrays["index"]]


def altered(rows: torch.Tensor, index: list[int], seed: int = 7, **options: Any) -> torch.Tensor:
    result = corrupt_rows({"name": NAME, "seed": seed, **options}, rows, torch.tensor(index))
    assert isinstance(result, torch.Tensor)
    return result


@pytest.mark.parametrize("noisy", [0, 2, 5])
def test_first_drawn_sources_are_noisy_and_the_others_have_random_labels(noisy: int) -> None:
    arrays, about, true = decided(options={"noisy": noisy})
    drawn = about["corrupt_sources"]
    assert np.array_equal(arrays["is_altered"], np.isin(arrays["source"], drawn[:noisy]))
    assert np.array_equal(arrays["is_corrupted"], np.isin(arrays["source"], drawn))
    mislabelled = np.isin(arrays["source"], drawn[noisy:])
    same = arrays["targets"] == true
    assert same[~mislabelled].all()
    if mislabelled.any():
        assert same[mislabelled].mean() == pytest.approx(0.1, abs=0.04)
        assert np.bincount(arrays["targets"][mislabelled], minlength=10).min() > 0
    assert about["input_rule"]["overflow"] == "wrap"


def test_corrupt_sources_are_the_published_ones_in_their_order() -> None:
    _, about, _ = decided(seed=699215031)
    assert about["corrupt_sources"] == [6, 7, 0, 9, 5]


def test_noise_wraps_around_unless_it_is_clipped() -> None:
    rows = torch.tensor([0, 255], dtype=torch.uint8).repeat(6).expand(500, 12).reshape(500, 3, 2, 2)
    index = list(range(500))
    wrapped, clipped = altered(rows, index), altered(rows, index, overflow="clip")
    noise = (wrapped.int() - rows.int() + 128) % 256 - 128
    assert (int(noise.min()), int(noise.max())) == (-64, 63)
    assert torch.equal(clipped.int(), (rows.int() + noise).clamp(0, 255))
    assert wrapped.dtype == clipped.dtype == torch.uint8
    assert (wrapped != clipped).float().mean().item() == pytest.approx(0.5, abs=0.05)


def test_each_integer_from_minus_64_to_63_is_as_likely() -> None:
    rows = torch.full((400, 3, 16, 16), 100, dtype=torch.uint8)
    counts = torch.bincount(altered(rows, list(range(400))).flatten().int() - 36, minlength=128)
    assert len(counts) == 128
    expected = rows.numel() / 128
    chi_squared = float(((counts - expected) ** 2 / expected).sum())
    assert 127 - 5 * 16 < chi_squared < 127 + 5 * 16  # its deviation is 16


def test_values_of_an_image_and_images_are_not_alike() -> None:
    noise = altered(torch.full((300, 3, 4, 5), 64, dtype=torch.uint8), list(range(300))).flatten(1).double()
    between_values = torch.corrcoef(noise.T).fill_diagonal_(0)
    between_images = torch.corrcoef(noise).fill_diagonal_(0)
    assert between_values.abs().max() < 5 / 300**0.5
    assert between_images.abs().max() < 5 / 60**0.5


@given(
    index=st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=8),
    seed=st.integers(1, 10**9 - 1),
    overflow=st.sampled_from(["wrap", "clip"]),
    values=st.integers(1, 9),
)
@hypothesis_settings(deadline=None, max_examples=50)
def test_noise_of_a_row_depends_on_seed_and_number_alone(
    index: list[int], seed: int, overflow: str, values: int
) -> None:
    rows = torch.from_numpy(
        np.random.default_rng(seed).integers(0, 256, (len(index), 3, 1, values), np.uint8)
    )
    before = rows.clone()
    together = altered(rows, index, seed, overflow=overflow)
    alone = [altered(rows[i : i + 1], [number], seed, overflow=overflow) for i, number in enumerate(index)]
    assert torch.equal(together, torch.cat(alone))
    assert torch.equal(rows, before)


def test_seeds_give_other_noise_and_memory_order_does_not() -> None:
    rows = torch.full((50, 3, 4, 4), 128, dtype=torch.uint8)
    first, second = altered(rows, list(range(50)), seed=1), altered(rows, list(range(50)), seed=2)
    assert (first != second).float().mean() > 0.9
    last = rows.contiguous(memory_format=torch.channels_last)
    assert torch.equal(altered(last, list(range(50)), seed=1), first)


@pytest.mark.parametrize(("shape", "classes"), [((784,), 10), ((3, 8, 8), None)])
def test_other_data_than_images_of_classes_are_refused(shape: tuple[int, ...], classes: int | None) -> None:
    corruption = corruptions.get(NAME)
    with pytest.raises(UserError, match="needs images .* of classes"):
        corruption.check(corruption.Options(), shape, classes)


@pytest.mark.parametrize("overflow", ["wrap", "clip"])
def test_no_rows_stay_no_rows(overflow: str) -> None:
    found = altered(torch.empty((0, 3, 2, 2), dtype=torch.uint8), [], overflow=overflow)
    assert (found.shape, found.dtype) == ((0, 3, 2, 2), torch.uint8)


def test_images_that_are_no_bytes_are_refused() -> None:
    with pytest.raises(UserError, match="needs images of bytes, and these are torch.float32"):
        altered(torch.zeros(1, 3, 2, 2), [0])


def test_more_noisy_sources_than_corrupt_ones_are_refused() -> None:
    corruption = corruptions.get(NAME)
    sources = Sources(number=10, corrupt=1, assignment="random")
    with pytest.raises(UserError, match=r"no more than the 1 corrupt sources can be noisy \(it is 2\)"):
        corruption.check_sources(corruption.Options(), sources, {})
