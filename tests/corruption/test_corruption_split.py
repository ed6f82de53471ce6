"""The splits are those of PyTorch and scikit-learn, row by row."""

import numpy as np
import pytest
import torch
from sklearn.model_selection import train_test_split

from lapwing.corruption.base import Split
from lapwing.corruption.split import split_rows, torch_permutation
from lapwing.errors import UserError

SEEDS = [0, 2, 1024, 999_999_999, 2**32 - 1]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("count", [1, 2, 17, 1000, 60_000])
def test_permutation_is_that_of_torch(count: int, seed: int) -> None:
    theirs = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    np.testing.assert_array_equal(torch_permutation(count, seed), theirs.numpy())


@pytest.mark.parametrize(("count", "size"), [(50_000, 37_500), (60_000, 45_000), (1797, 1347)])
@pytest.mark.parametrize("seed", [2, 32])
def test_fraction_is_the_published_random_split(count: int, size: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    train, validation = torch.utils.data.random_split(range(count), [size, count - size], generator=generator)
    rows = split_rows(Split(kind="fraction", train=0.75), count, seed)
    assert rows.test is None
    assert rows.validation is not None
    assert rows.train.tolist() == list(train.indices)
    assert rows.validation.tolist() == list(validation.indices)


@pytest.mark.parametrize("count", [10, 442, 20_640])
@pytest.mark.parametrize("seed", [0, 12345, 227_336_022])
def test_random_rows_are_those_of_scikit_learn(count: int, seed: int) -> None:
    train, test = train_test_split(np.arange(count), test_size=0.2, random_state=seed)
    rows = split_rows(Split(kind="random_rows", train=0.8), count, seed)
    assert rows.validation is None
    assert rows.test is not None
    np.testing.assert_array_equal(rows.train, train)
    np.testing.assert_array_equal(rows.test, test)


def test_given_split_trains_on_all_rows_in_order() -> None:
    rows = split_rows(Split(), 7, seed=3)
    assert rows.train.tolist() == list(range(7))
    assert rows.validation is None
    assert rows.test is None


@pytest.mark.parametrize("kind", ["fraction", "random_rows"])
def test_a_split_that_leaves_a_part_empty_is_refused(kind: str) -> None:
    with pytest.raises(UserError, match=r"split\.train: a share of 0\.75 of 1 rows leaves one"):
        split_rows(Split.model_validate({"kind": kind}), 1, seed=0)
