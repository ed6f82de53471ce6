"""Which prepared rows are trained on, which are tested on and which are left aside."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import Field, ValidationInfo, field_validator

from lapwing.errors import UserError
from lapwing.files import Array
from lapwing.schema import Closed

DEFAULT_SHARE = 0.75


class Split(Closed):
    """How the rows of `train/` are divided."""

    kind: Literal["given", "fraction", "after_corruption", "random_rows"] = "given"
    """`given`: all are trained on; `fraction`: a share of them is, the rest is for validation, corrupted as a
    training set of its own; `after_corruption`: so too, but sources and corruption are decided for all rows
    together first; `random_rows`: a share of them is, the rest is the test set."""
    train: float = Field(default=DEFAULT_SHARE, gt=0, lt=1)
    """The share that is trained on; of all kinds but `given`."""

    @property
    def leaves_aside(self) -> bool:
        """Whether rows are left aside for validation."""
        return self.kind in ("fraction", "after_corruption")

    @field_validator("train")
    @classmethod
    def _only_where_it_acts(cls, train: float, info: ValidationInfo) -> float:
        if info.data.get("kind") == "given" and train != DEFAULT_SHARE:
            raise ValueError(
                "the kinds fraction, after_corruption and random_rows take a share, and the kind is given"
            )
        return train


@dataclass(frozen=True)
class Rows:
    """Row numbers of the prepared `train/`, int64 each; None where the split makes no such part."""

    train: Array
    validation: Array | None = None
    test: Array | None = None


def split_rows(split: Split, count: int, seed: int) -> Rows:
    """Divide `count` rows.

    Source: lap-core 4.1 (`fraction`, and lap-experiments 6.8 and 6.9 for `after_corruption`: PyTorch's
    `random_split`, sizes int(0.75 N) and the rest) and lap-experiments 6.10 (`random_rows`: scikit-learn's
    `train_test_split`).

    Raises:
        UserError: a part would be empty.
    """
    if split.kind == "given":
        return Rows(np.arange(count, dtype=np.int64))
    size = int(split.train * count)
    if not 0 < size < count:
        raise UserError(
            f"split.train: a share of {split.train} of {count} rows leaves one of the two parts empty."
        )
    if split.leaves_aside:
        shuffled = torch_permutation(count, seed)
        return Rows(train=shuffled[:size], validation=shuffled[size:])
    shuffled = np.random.RandomState(seed).permutation(count)
    return Rows(test=shuffled[: count - size], train=shuffled[count - size :])


def torch_permutation(count: int, seed: int) -> Array:
    """The numbers 0 … count − 1 in the order of `torch.randperm` with a CPU generator seeded by `seed`.

    Both libraries have the same Mersenne twister; position i changes places with a later one.
    """
    draws = np.random.RandomState(seed).randint(0, 2**32, size=count, dtype=np.uint32)
    jumps = (draws % np.arange(count, 0, -1, dtype=np.uint32)).tolist()
    order = list(range(count))
    for position, jump in enumerate(jumps):
        order[position], order[position + jump] = order[position + jump], order[position]
    return np.array(order, dtype=np.int64)
