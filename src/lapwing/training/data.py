"""Training data resident on the device, as measured to be fastest; a batch is an index operation.

Two ways to hold the inputs (measured, Fashion-MNIST, one CPU thread; `benchmarks/epoch.py`):

- `Arranged`: the rows of each replica in training order, ready to be used, K × N rows. Batches of the
  layout `blocks` are then slices and cost nothing. Also holds what an input corruption makes.
- `Shared`: one copy of the prepared rows in their own type for all replicas. Batches gather rows and
  scale them: from uint8 that takes half the time of a gather from float32, and a quarter of the memory.

The rule: `Arranged` for `blocks` as long as its rows fit into `ARRANGED_BYTES`, and always where inputs
are corrupted; else `Shared`. `widest_stack` says how many seeds may train together so that they fit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from lapwing.corruption import corruptions
from lapwing.corruption.base import corrupt_inputs
from lapwing.errors import UserError
from lapwing.files import Array
from lapwing.training.settings import Layout

ARRANGED_BYTES = 2 * 2**30
"""Most memory for arranged rows, all replicas together; one replica may always have what it needs."""

CHUNK = 4096
"""Rows that are brought into their final form at a time."""

Alter = Callable[[Array, Array], Array]
"""(inputs [n, …] scaled, positions [n]) → inputs [n, …]."""

Redraw = Callable[[Tensor, Tensor], Tensor]
"""(labels of a batch [K, B], uniform numbers [K, B]) → new labels [K, B]."""


@dataclass(frozen=True)
class Replica:
    """What one seed trains on: rows of the prepared inputs, and what is decided about each position.

    Who is corrupt is here for the trainer's diagnostics only; no method sees it.
    """

    seed: int
    index: Array
    """[N] the prepared row behind each training position."""
    targets: Array
    """[N]"""
    source: Array | None = None
    """[N] source ids, 0 … S − 1."""
    is_corrupt_source: Array | None = None
    """[S] bool."""
    altered: Array | None = None
    """[n] positions whose inputs are corrupted."""
    alter: Alter | None = None
    noise_variance: Array | None = None
    """[N] of each target, where it is known."""
    redrawn: Array | None = None
    """[N] bool: the samples whose labels are drawn anew in every step, by `redraw`."""
    redraw: Redraw | None = None
    meta_index: Array | None = None
    """[M] prepared rows that are set aside as clean samples, for methods that ask for them."""

    @classmethod
    def from_artefact(cls, arrays: Mapping[str, Array], about: Mapping[str, Any]) -> Replica:
        """A seed's decisions out of its corruption artefact."""
        rule = about.get("label_rule")
        return cls(
            seed=about["seed"],
            index=arrays["index"],
            targets=arrays["targets"],
            source=arrays["source"],
            is_corrupt_source=arrays["is_corrupt_source"].astype(bool),
            **_input_corruption(arrays["is_corrupted"], about),
            redrawn=arrays["is_corrupted"].astype(bool) if rule else None,
            redraw=corruptions.get(rule["name"]).redraw if rule else None,
            noise_variance=arrays.get("noise_variance"),
            meta_index=arrays.get("meta_index"),
        )

    @classmethod
    def left_aside(cls, arrays: Mapping[str, Array], about: Mapping[str, Any]) -> Replica | None:
        """What a corruption artefact leaves aside for validation, corrupted as it says; None: nothing."""
        if "validation_index" not in arrays:
            return None
        return cls(
            seed=about["seed"],
            index=arrays["validation_index"],
            targets=arrays["validation_targets"],
            **_input_corruption(arrays["validation_is_corrupted"], about),
        )

    def of_clean_sources(self, is_corrupted: Array) -> Replica:
        """The positions of sources of which no sample is corrupted; their inputs and labels are clean.

        Raises:
            UserError: every source is corrupt.
        """
        if self.source is None:
            raise ValueError("these data have no sources")
        kept = ~np.isin(self.source, np.unique(self.source[is_corrupted.astype(bool)]))
        if not kept.any():
            raise UserError("train_on: there are no clean sources to train on.")
        return Replica(
            seed=self.seed,
            index=self.index[kept],
            targets=self.targets[kept],
            source=self.source[kept],
            is_corrupt_source=self.is_corrupt_source,
            noise_variance=None if self.noise_variance is None else self.noise_variance[kept],
            meta_index=self.meta_index,
        )


def _input_corruption(is_corrupted: Array, about: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a replica that say what is done to its inputs."""
    rule = about.get("input_rule")
    if not rule:
        return {}

    def alter(inputs: Array, positions: Array) -> Array:
        return corrupt_inputs(rule, inputs, positions)

    return {"altered": np.flatnonzero(is_corrupted), "alter": alter}


@dataclass(frozen=True)
class Rows:
    """Prepared inputs [M, …] in their own type, and the factor that makes them the network's."""

    inputs: Array
    scale: float = 1.0

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one sample."""
        return tuple(self.inputs.shape[1:])

    def bytes_as(self, dtype: torch.dtype) -> int:
        """Size of one sample in the network's type."""
        return prod(self.shape) * dtype.itemsize

    def scaled(self, rows: Array, dtype: torch.dtype) -> Tensor:
        """[n] rows as [n, …] of the network's type; scaled in that type, as everywhere."""
        chosen = torch.from_numpy(self.inputs[rows]).to(dtype)
        return chosen if self.scale == 1.0 else chosen * self.scale


def widest_stack(
    rows: Rows, replica: Replica, layout: Layout, dtype: torch.dtype, left_aside: Replica | None = None
) -> int:
    """How many replicas like this one may train together within `ARRANGED_BYTES`, at least 1."""
    if replica.alter is None and layout == "mixed":
        return len(replica.index)  # rows are shared: no limit from here
    aside = left_aside if left_aside is not None and left_aside.alter is not None else None
    arranged = len(replica.index) + (len(aside.index) if aside else 0)
    return max(1, ARRANGED_BYTES // (arranged * rows.bytes_as(dtype)))


@dataclass(frozen=True)
class Shape:
    """How rows lie in memory; images lie channels last where convolutions on a CPU want that."""

    sample: tuple[int, ...]
    channels_last: bool

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


class Arranged:
    """Rows of each replica in training order, [K, N, …] in the network's type."""

    def __init__(
        self, rows: Rows, replicas: Sequence[Replica], shape: Shape, dtype: torch.dtype, device: torch.device
    ):
        number = len(replicas[0].index)
        self._shape = shape
        self._stored = torch.empty((len(replicas), number, *shape.stored), dtype=dtype, device=device)
        for stored, replica in zip(self._stored, replicas, strict=True):
            for start in range(0, number, CHUNK):
                positions = np.arange(start, min(start + CHUNK, number))
                inputs = _inputs_at(rows, replica, positions, dtype)
                stored[start : start + len(positions)] = shape.store(inputs).to(device)
        offsets = torch.arange(len(replicas), device=device)[:, None] * number
        self._offsets = offsets
        self._flat = self._stored.view(-1, prod(shape.stored))

    def slices(self, size: int) -> list[Tensor]:
        """All batches in training order, [K, B, …] each: views."""
        return [self._shape.seen(part) for part in cut(self._stored, size)]

    def prepare(self, positions: Tensor) -> Tensor:
        """Where positions [K, n] lie, for `gather`."""
        return positions + self._offsets

    def gather(self, places: Tensor) -> Tensor:
        """Inputs [K, B, …] at prepared places [K, B]."""
        picked = self._flat.index_select(0, places.reshape(-1))
        return self._shape.seen(picked.view(*places.shape, *self._shape.stored))


class Shared:
    """One copy of the prepared rows in their own type for all replicas."""

    def __init__(self, rows: Rows, index: Tensor, shape: Shape, dtype: torch.dtype, device: torch.device):
        stored = shape.store(torch.from_numpy(np.ascontiguousarray(rows.inputs)))
        self._flat = stored.view(len(stored), -1).to(device)
        self._index, self._scale, self._shape, self._dtype = index, rows.scale, shape, dtype

    def prepare(self, positions: Tensor) -> Tensor:
        """Where positions [K, n] lie, for `gather`."""
        return self._index.gather(1, positions)

    def gather(self, places: Tensor) -> Tensor:
        """Inputs [K, B, …] at prepared places [K, B]."""
        picked = self._flat.index_select(0, places.reshape(-1)).to(self._dtype)
        scaled = picked if self._scale == 1.0 else picked.mul_(self._scale)
        return self._shape.seen(scaled.view(*places.shape, *self._shape.stored))


def _inputs_at(rows: Rows, replica: Replica, positions: Array, dtype: torch.dtype) -> Tensor:
    """Inputs [n, …] at training positions, corrupted where the replica says so.

    Corruption itself is done in float32 whatever the network's type: it belongs to the data.
    """
    inputs = rows.scaled(replica.index[positions], dtype)
    if replica.alter is not None and replica.altered is not None:
        chosen = np.flatnonzero(np.isin(positions, replica.altered))
        if len(chosen):
            clean = rows.scaled(replica.index[positions[chosen]], torch.float32).numpy()
            altered = torch.from_numpy(replica.alter(clean, positions[chosen]))
            inputs[torch.from_numpy(chosen)] = altered.to(dtype)
    return inputs


class TrainingData:
    """What K replicas train on: inputs, and decisions [K, N] on the device.

    Attributes:
        samples: N, the same for all replicas.
        sources: S, 0 where samples have no source.
        targets: [K, N] int64 classes, or numbers of the network's type.
        source: [K, N] int64, or None.
        noise_variance: [K, N] of the network's type, or None.
    """

    def __init__(
        self,
        rows: Rows,
        replicas: Sequence[Replica],
        *,
        layout: Layout,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        channels_last: bool = False,
    ) -> None:
        device = torch.device(device)
        shape = Shape(rows.shape, channels_last and len(rows.shape) == 3)
        self.layout, self.device = layout, device
        self.samples = len(replicas[0].index)
        self.index = stacked([replica.index for replica in replicas], device).long()
        self.targets = stacked([replica.targets for replica in replicas], device)
        self.targets = self.targets.to(dtype) if self.targets.is_floating_point() else self.targets.long()
        self.source, self.sources = _sources(replicas, device)
        variances = _known([replica.noise_variance for replica in replicas])
        self.noise_variance = stacked(variances, device).to(dtype) if variances else None
        redrawn = _known([replica.redrawn for replica in replicas])
        self._redrawn = stacked(redrawn, device) if redrawn else None
        self._redraw = replicas[0].redraw
        fits = len(replicas) * self.samples * rows.bytes_as(dtype) <= ARRANGED_BYTES
        altered = any(replica.alter is not None for replica in replicas)
        self.inputs: Arranged | Shared
        if altered or (layout == "blocks" and fits):
            self.inputs = Arranged(rows, replicas, shape, dtype, device)
        else:
            self.inputs = Shared(rows, self.index, shape, dtype, device)

    @property
    def decisions(self) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Targets, sources and noise variances."""
        return self.targets, self.source, self.noise_variance

    @property
    def redraws(self) -> bool:
        """Whether the labels of some samples are drawn anew in every step."""
        return self._redrawn is not None

    def redrawn_targets(self, positions: Tensor, size: int, uniform: Tensor) -> Tensor:
        """The targets at positions [K, n], in batches of `size`, with those that are drawn anew drawn.

        Args:
            positions: [K, n] in the order of the batches.
            size: B.
            uniform: [K, n] random numbers of [0, 1): what is drawn is a function of them.
        """
        targets = self.targets.gather(1, positions)
        if self._redrawn is None or self._redraw is None:
            return targets
        drawn = [self._redraw(*pair) for pair in zip(cut(targets, size), cut(uniform, size), strict=True)]
        return torch.where(self._redrawn.gather(1, positions), torch.cat(drawn, 1), targets)

    # -- as what is evaluated on: samples that are left aside, corrupted as they are --------------------

    def chunks(self, size: int) -> list[tuple[int, int]]:
        """Bounds of chunks of `size` positions."""
        return bounds(self.samples, size)

    def take(self, replicas: int, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """Inputs [K, n, …] and targets [K, n] of a chunk."""
        positions = torch.arange(start, stop, device=self.device).expand(replicas, -1)
        return self.inputs.gather(self.inputs.prepare(positions)), self.targets[:, start:stop]

    def single_source_batches(self, size: int) -> bool:
        """Whether every batch of `size` samples comes from one source; waits for the device."""
        if self.source is None or self.layout != "blocks":
            return False
        return all(bool((part == part[:, :1]).all()) for part in cut(self.source, size))


class Evaluated(Protocol):
    """What a network is evaluated on."""

    @property
    def samples(self) -> int:
        """M, the same for all replicas."""
        ...

    @property
    def targets(self) -> Tensor:
        """[K, M], or [1, M] where all replicas share them."""
        ...

    def chunks(self, size: int) -> list[tuple[int, int]]:
        """Bounds of chunks of `size` samples."""
        ...

    def take(self, replicas: int, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """Inputs [K, n, …] and targets [K, n] of a chunk."""
        ...


def bounds(samples: int, size: int) -> list[tuple[int, int]]:
    """Begin and end of each `size` samples."""
    return [(start, min(start + size, samples)) for start in range(0, samples, size)]


def cut(tensor: Tensor, size: int) -> tuple[Tensor, ...]:
    """[K, N, …] as views [K, B, …] of at most `size` positions."""
    # torch annotates split in some of the versions that we support, and not in others
    return torch.split(tensor, size, 1)  # type: ignore[no-any-return,no-untyped-call,unused-ignore]


def stacked(arrays: Sequence[Array], device: torch.device) -> Tensor:
    """One array per replica as a tensor [K, …]."""
    return torch.from_numpy(np.stack(arrays)).to(device)


def _sources(replicas: Sequence[Replica], device: torch.device) -> tuple[Tensor | None, int]:
    known = _known([replica.source for replica in replicas])
    if not known:
        return None, 0
    flags = replicas[0].is_corrupt_source
    number = max(int(source.max()) for source in known) + 1 if flags is None else len(flags)
    return stacked(known, device).long(), number


def _known(arrays: Sequence[Array | None]) -> list[Array]:
    """One array per replica; none at all where one of them is missing."""
    known = [array for array in arrays if array is not None]
    return known if len(known) == len(arrays) else []


class TestData:
    """The test rows, never corrupted, in their own type; scaled as they are used."""

    __test__ = False

    def __init__(
        self,
        rows: Rows,
        targets: Sequence[Array],
        index: Sequence[Array] | None = None,
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        channels_last: bool = False,
    ) -> None:
        """Hold test rows.

        Args:
            rows: the prepared inputs.
            targets: [M] for each replica; one entry where all test on the same rows.
            index: the rows of each replica where the study splits them off; None: all rows, for all replicas.
            dtype: the network's.
            device: where they lie.
            channels_last: how images lie in memory.
        """
        device = torch.device(device)
        self._shape = Shape(rows.shape, channels_last and len(rows.shape) == 3)
        self._stored = self._shape.store(torch.from_numpy(np.ascontiguousarray(rows.inputs))).to(device)
        self._scale, self._dtype = rows.scale, dtype
        self._index = None if index is None else stacked(index, device).long()
        self.targets = stacked(targets, device)
        self.targets = self.targets.to(dtype) if self.targets.is_floating_point() else self.targets.long()
        self.samples = self.targets.shape[1]

    def chunks(self, size: int) -> list[tuple[int, int]]:
        """Bounds of chunks of `size` rows."""
        return bounds(self.samples, size)

    def take(self, replicas: int, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """Inputs [K, n, …] and targets [K, n] of a chunk; replicas share memory where they share rows."""
        rows = self._stored[start:stop] if self._index is None else self._stored[self._index[:, start:stop]]
        inputs = rows.to(self._dtype) * self._scale
        if self._index is None:
            inputs = inputs.expand(replicas, *inputs.shape)
        return self._shape.seen(inputs), self.targets[:, start:stop].expand(replicas, -1)
