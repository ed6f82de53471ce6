"""Prepared rows where batches are taken from: in their own type, on the device where they fit.

Prepared files are memory-mapped and may be larger than memory (ImageNet64: 15.7 GB of uint8). Nothing here
holds all rows on the host twice: a copy is made chunk by chunk, and only where it pays.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod

import numpy as np
import torch
from torch import Tensor

from lapwing.files import Array

log = logging.getLogger(__name__)

CHUNK = 4096
"""Rows that are brought into their final form at a time."""

DEVICE_SHARE = 0.5
"""Of an accelerator's free memory, for rows; networks, moments and activations need the rest."""

EVALUATED_ROWS = 500
"""Rows per pass in evaluation: the activations of a convolution on more of them leave the cache."""

EVALUATED_WORDS = 2**15
"""Words per pass in evaluation: to a network each is a row, and an LSTM keeps thousands of values of it."""

HOST_COPY_BYTES = 2 * 2**30
"""Largest copy on the host, where convolutions on a CPU want another order in memory than the file has."""


@dataclass(frozen=True)
class Rows:
    """Prepared inputs [M, …] in their own type, and what makes them the network's."""

    inputs: Array
    scale: float = 1.0
    normalisation: Sequence[Sequence[float]] | None = None
    """Mean and standard deviation [2, C] of each channel of the scaled inputs, taken out after corruption."""
    vocabulary: int | None = None
    """How many words there are, where the inputs [M, L] are numbers of words: they stay integers."""
    _residents: dict[tuple[torch.device, bool], Resident] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one sample."""
        return tuple(self.inputs.shape[1:])

    def at(self, index: Array) -> Tensor:
        """A copy of the rows at `index` [n] on the host."""
        return torch.from_numpy(self.inputs[index])

    def seen_as(self, dtype: torch.dtype) -> torch.dtype:
        """The type in which a network of type `dtype` sees them."""
        return dtype if self.vocabulary is None else torch.int32

    @property
    def at_once(self) -> int:
        """Rows that are evaluated in one pass."""
        return EVALUATED_ROWS if self.vocabulary is None else max(1, EVALUATED_WORDS // prod(self.shape))

    def bytes_as(self, dtype: torch.dtype) -> int:
        """Size of one sample in the network's type."""
        return prod(self.shape) * self.seen_as(dtype).itemsize

    def resident(self, device: torch.device, *, channels_last: bool) -> Resident:
        """The rows for a device, made once: training, validation and test may be of the same rows."""
        key = (device, channels_last)
        if key not in self._residents:
            self._residents[key] = Resident(self, device, channels_last=channels_last)
        return self._residents[key]


@dataclass(frozen=True)
class Shape:
    """How rows lie in memory; images lie channels last where convolutions want that."""

    sample: tuple[int, ...]
    channels_last: bool

    @classmethod
    def of(cls, rows: Rows, *, channels_last: bool) -> Shape:
        """Of rows; only images have channels that can come last."""
        return cls(rows.shape, channels_last and len(rows.shape) == 3)

    @property
    def stored(self) -> tuple[int, ...]:
        """Shape of a sample as it lies in memory."""
        return (*self.sample[1:], self.sample[0]) if self.channels_last else self.sample

    def store(self, inputs: Tensor) -> Tensor:
        """[n, …] inputs as they lie in memory."""
        return inputs.movedim(1, -1).contiguous() if self.channels_last else inputs.contiguous()

    def seen(self, stored: Tensor) -> Tensor:
        """[…, *stored] as the network sees it, a view."""
        return stored.movedim(-1, -3) if self.channels_last else stored


class Resident:
    """The prepared rows for a device: a copy on it, or the file itself, from which batches are sent.

    Attributes:
        device: where the rows are, and where what `at` is asked for must be.
    """

    def __init__(self, rows: Rows, device: torch.device, *, channels_last: bool) -> None:
        self._shape = Shape.of(rows, channels_last=channels_last)
        self._target = device
        if worth_a_copy(rows.inputs.nbytes, self._shape, device):
            self.device, self._lie = device, self._shape
            stored = _copied(rows.inputs, self._shape, device)
        else:
            self.device, self._lie = torch.device("cpu"), Shape(rows.shape, channels_last=False)
            stored = torch.from_numpy(np.ascontiguousarray(rows.inputs))
            if device.type != "cpu":
                size = f"{len(stored)} prepared rows ({rows.inputs.nbytes / 2**30:.1f} GiB)"
                log.info("%s stay in the host's memory: no room for them on %s", size, device)
        self._flat = stored.view(len(stored), -1)

    def at(self, index: Tensor) -> Tensor:
        """A copy of the rows at `index` [n] on the device of the training, shaped as a network sees them."""
        if self.device == self._target:
            return self._seen(self._flat.index_select(0, index))
        size = (len(index), self._flat.shape[1])
        pinned = torch.empty(size, dtype=self._flat.dtype, pin_memory=self._target.type == "cuda")
        torch.index_select(self._flat, 0, index, out=pinned)
        return self._seen(pinned.to(self._target, non_blocking=True))

    def between(self, start: int, stop: int) -> Tensor:
        """A copy of the rows from `start` below `stop`."""
        rows = self._flat[start:stop]
        return self._seen(rows.clone() if self.device == self._target else rows.to(self._target))

    def _seen(self, flat: Tensor) -> Tensor:
        seen = self._lie.seen(flat.view(len(flat), *self._lie.stored))
        return seen if self._lie == self._shape else self._shape.seen(self._shape.store(seen))


def worth_a_copy(size: int, shape: Shape, device: torch.device, free: int | None = None) -> bool:
    """Whether `size` bytes of rows are copied: to an accelerator that has room, or into another order.

    Args:
        size: of the rows.
        shape: how they are to lie in memory.
        device: of the training.
        free: memory of the accelerator; None: it is asked.
    """
    if device.type == "cpu":
        return shape.channels_last and size <= HOST_COPY_BYTES
    return size <= DEVICE_SHARE * (_free(device) if free is None else free)


def _free(device: torch.device) -> int:
    """Bytes that an accelerator can still give: what is free, and what torch keeps to give out again."""
    if device.type != "cuda":
        return 0
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return torch.cuda.mem_get_info(device)[0] + kept


def _copied(inputs: Array, shape: Shape, device: torch.device) -> Tensor:
    """The rows on a device as they are to lie there, filled chunk by chunk."""
    kind = torch.from_numpy(inputs[:0]).dtype
    stored = torch.empty((len(inputs), *shape.stored), dtype=kind, device=device)
    for start in range(0, len(inputs), CHUNK):
        stored[start : start + CHUNK] = shape.store(torch.from_numpy(inputs[start : start + CHUNK]))
    return stored


class Finish:
    """Makes prepared rows a network's inputs: its type, the scale, then the normalisation; in place."""

    def __init__(self, rows: Rows, dtype: torch.dtype, device: torch.device) -> None:
        self._dtype, self._scale = rows.seen_as(dtype), rows.scale
        self._constants: tuple[Tensor, ...] = ()
        if rows.normalisation is not None:
            constants = torch.tensor(rows.normalisation, dtype=dtype, device=device)
            self._constants = constants.reshape(2, -1, *[1] * (len(rows.shape) - 1)).unbind(0)

    def __call__(self, picked: Tensor) -> Tensor:
        """Inputs [n, …] of prepared rows [n, …], which are lost."""
        return self.normalised(self.scaled(picked))

    def scaled(self, picked: Tensor) -> Tensor:
        """In the network's type; scaled in that type, as everywhere."""
        typed = picked.to(self._dtype)
        return typed if self._scale == 1.0 else typed.mul_(self._scale)

    def normalised(self, scaled: Tensor) -> Tensor:
        """Each channel with its mean taken out and divided by its standard deviation."""
        if not self._constants:
            return scaled
        mean, deviation = self._constants
        return scaled.sub_(mean).div_(deviation)
