"""Training data resident on the device, as measured to be fastest; a batch is an index operation.

Two ways to hold the inputs (measured, Fashion-MNIST, one CPU thread; `benchmarks/epoch.py`):

- `Arranged`: the rows of each replica in training order, ready to be used, K × N rows. Batches of the
  layout `blocks` are then slices and cost nothing. Also holds what an input corruption makes.
- `Shared`: one copy of the prepared rows in their own type for all replicas (`resident.Resident`). Batches
  gather rows and scale them: from uint8 that takes half the time of a gather from float32, and a quarter of
  the memory. Corruptions that work on prepared rows (`Corruption.alter_rows`) are applied batch by batch.

The rule: `Arranged` for `blocks` as long as its rows fit into `ARRANGED_BYTES`, and always where inputs
are corrupted otherwise; else `Shared`. `widest_stack` says how many seeds may train together so that they
fit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from lapwing.corruption import corruptions
from lapwing.corruption.base import corrupt_inputs, corrupt_rows
from lapwing.errors import UserError
from lapwing.files import Array
from lapwing.training.resident import CHUNK, Finish, Rows, Shape
from lapwing.training.settings import Layout

ARRANGED_BYTES = 2 * 2**30
"""Most memory for arranged rows, all replicas together; one replica may always have what it needs."""

Alter = Callable[[Array, Array], Array]
"""(inputs [n, …] scaled, or tokens, positions [n]) → inputs [n, …]."""

AlterRows = Callable[[Tensor, Tensor], Tensor]
"""(prepared rows [n, …], their numbers [n]) → rows [n, …], on the device."""

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
    """What is done to their inputs, once, before training."""
    alter_rows: AlterRows | None = None
    """What is done to their prepared rows instead, batch by batch."""
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
            **_input_corruption(arrays, about, ""),
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
            **_input_corruption(arrays, about, "validation_"),
        )

    def problem(self, rows: int, classes: int | None) -> str | None:
        """The first number in it that cannot be, as the end of a sentence; None: there is none.

        Args:
            rows: of the prepared data.
            classes: None: targets are any finite numbers.
        """
        number = len(self.index)
        problem = _problem("row", self.index, number, rows)
        problem = problem or _problem("target", self.targets, number, classes)
        if self.source is not None and self.is_corrupt_source is not None:
            problem = problem or _problem("source", self.source, number, len(self.is_corrupt_source))
        if self.noise_variance is not None:
            problem = problem or _problem("noise variance", self.noise_variance, number, None)
        if self.meta_index is not None:
            problem = problem or index_problem("clean row", self.meta_index, rows)
        return problem

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


def _problem(name: str, values: Array, number: int, limit: int | None) -> str | None:
    """What is wrong with `number` values, which are 0 to `limit` − 1, or finite where there is no limit."""
    if values.shape != (number,):
        return f"{number} positions have {values.shape} as the shape of their {name}"
    if limit is None:
        return None if np.isfinite(values).all() else f"a {name} is not finite"
    if not np.issubdtype(values.dtype, np.integer):
        return f"a {name} is no whole number"
    wrong = values[(values < 0) | (values >= limit)]
    return f"there is a {name} {wrong[0]}, which must lie between 0 and {limit - 1}" if wrong.size else None


def target_problem(targets: Array, number: int, classes: int | None) -> str | None:
    """The first of `number` targets that cannot be, as the end of a sentence; None: there is none."""
    return _problem("target", targets, number, classes)


def index_problem(name: str, index: Array, rows: int) -> str | None:
    """The first number of a row that cannot be, as the end of a sentence; None: there is none."""
    return _problem(name, index, index.size, rows)


def flags_problem(arrays: Mapping[str, Array]) -> str | None:
    """Which flags of an artefact are not there for each position; None: none of them."""
    for part in ("", "validation_"):
        for name in (f"{part}is_corrupted", f"{part}is_altered"):
            if name in arrays:
                problem = _problem(name, arrays[name], arrays[f"{part}index"].size, None)
                if problem:
                    return problem
    return None


def _input_corruption(arrays: Mapping[str, Array], about: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """The arguments of a replica that say what is done to its inputs."""
    rule = about.get("input_rule")
    if not rule:
        return {}
    flags = arrays.get(f"{prefix}is_altered", arrays[f"{prefix}is_corrupted"])
    altered = {"altered": np.flatnonzero(flags)}
    if corruptions.get(rule["name"]).alter_rows is not None:
        return {**altered, "alter_rows": partial(corrupt_rows, rule)}
    return {**altered, "alter": partial(corrupt_inputs, rule)}


def widest_stack(
    rows: Rows, replica: Replica, layout: Layout, dtype: torch.dtype, left_aside: Replica | None = None
) -> int:
    """How many replicas like this one may train together within `ARRANGED_BYTES`, at least 1."""
    if replica.alter is None and (layout != "blocks" or replica.alter_rows is not None):
        return len(replica.index)  # rows are shared: no limit from here
    aside = left_aside if left_aside is not None and left_aside.alter is not None else None
    arranged = len(replica.index) + (len(aside.index) if aside else 0)
    return max(1, ARRANGED_BYTES // (arranged * rows.bytes_as(dtype)))


class Arranged:
    """Rows of each replica in training order, [K, N, …] in the network's type."""

    def __init__(
        self,
        rows: Rows,
        replicas: Sequence[Replica],
        dtype: torch.dtype,
        device: torch.device,
        *,
        channels_last: bool,
    ):
        number = len(replicas[0].index)
        self._shape = shape = Shape.of(rows, channels_last=channels_last)
        kept = (len(replicas), number, *shape.stored)
        self._stored = torch.empty(kept, dtype=rows.seen_as(dtype), device=device)
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

    def __init__(
        self,
        rows: Rows,
        replicas: Sequence[Replica],
        dtype: torch.dtype,
        device: torch.device,
        *,
        channels_last: bool,
    ):
        self._resident = rows.resident(device, channels_last=channels_last)
        self._finish = Finish(rows, dtype, device)
        self._index = stacked([replica.index for replica in replicas], self._resident.device).long()
        self._device = device
        self._alter = [replica.alter_rows for replica in replicas]
        self._is_altered = _flags(replicas, len(rows.inputs), device) if any(self._alter) else None

    def prepare(self, positions: Tensor) -> Tensor:
        """Where positions [K, n] lie, for `gather`; on the host if the rows are: then no batch waits."""
        return self._index.gather(1, positions.to(self._index.device))

    def gather(self, places: Tensor) -> Tensor:
        """Inputs [K, B, …] at prepared places [K, B]."""
        picked = self._resident.at(places.reshape(-1))
        if self._is_altered is not None:
            places = places.to(self._device, non_blocking=True)
            self._corrupt(_by_replica(picked, places), places, self._is_altered.gather(1, places))
        return _by_replica(self._finish(picked), places)

    def _corrupt(self, picked: Tensor, places: Tensor, flags: Tensor) -> None:
        """Corrupt prepared rows [K, B, …] in place where the flags [K, B] say so."""
        for alter, rows, index, flag in zip(self._alter, picked, places, flags, strict=True):
            if alter is not None:
                chosen = flag.reshape(-1, *[1] * (rows.ndim - 1))
                rows.copy_(torch.where(chosen, alter(rows, index), rows))


def _by_replica(rows: Tensor, places: Tensor) -> Tensor:
    """Rows [K · B, …] from places [K, B] as [K, B, …], a view."""
    return rows.view(*places.shape, *rows.shape[1:])


def _flags(replicas: Sequence[Replica], rows: int, device: torch.device) -> Tensor:
    """[K, M] bool: the prepared rows that each replica has altered."""
    flags = np.zeros((len(replicas), rows), dtype=bool)
    for row, replica in zip(flags, replicas, strict=True):
        if replica.altered is not None:
            row[replica.index[replica.altered]] = True
    return torch.from_numpy(flags).to(device)


def _inputs_at(rows: Rows, replica: Replica, positions: Array, dtype: torch.dtype) -> Tensor:
    """Inputs [n, …] at training positions, corrupted where the replica says so.

    Corruption itself is done in float32 whatever the network's type: it belongs to the data.
    """
    finish, of_data = (Finish(rows, kind, torch.device("cpu")) for kind in (dtype, torch.float32))
    inputs = finish.scaled(rows.at(replica.index[positions]))
    if replica.alter is not None and replica.altered is not None:
        chosen = np.flatnonzero(np.isin(positions, replica.altered))
        if len(chosen):
            clean = of_data.scaled(rows.at(replica.index[positions[chosen]])).numpy()
            altered = torch.from_numpy(replica.alter(clean, positions[chosen]))
            inputs[torch.from_numpy(chosen)] = altered.to(inputs.dtype)
    return finish.normalised(inputs)


class TrainingData:
    """What K replicas train on: inputs, and decisions [K, N] on the device.

    Attributes:
        samples: N, the same for all replicas.
        sources: S, 0 where samples have no source.
        targets: [K, N] int64 classes, or numbers of the network's type.
        source: [K, N] int64, or None.
        noise_variance: [K, N] of the network's type, or None.
        at_once: samples that are evaluated in one pass.
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
        self.layout, self.device, self.at_once = layout, device, rows.at_once
        self.samples = len(replicas[0].index)
        self.index = stacked([replica.index for replica in replicas], device).long()
        self.targets = stacked([replica.targets for replica in replicas], device)
        self.targets = self.targets.to(dtype) if self.targets.is_floating_point() else self.targets.long()
        self.source, self.sources = _sources(replicas, device)
        if layout == "balanced" and self.source is None:
            raise UserError("layout balanced needs the source of each sample, and these data have none.")
        variances = _known([replica.noise_variance for replica in replicas])
        self.noise_variance = stacked(variances, device).to(dtype) if variances else None
        redrawn = _known([replica.redrawn for replica in replicas])
        self._redrawn = stacked(redrawn, device) if redrawn else None
        self._redraw = replicas[0].redraw
        fits = len(replicas) * self.samples * rows.bytes_as(dtype) <= ARRANGED_BYTES
        altered = any(replica.alter is not None for replica in replicas)
        by_rows = any(replica.alter_rows is not None for replica in replicas)
        arranged = altered or (layout == "blocks" and fits and not by_rows)
        hold = Arranged if arranged else Shared
        self.inputs: Arranged | Shared = hold(rows, replicas, dtype, device, channels_last=channels_last)

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

    def drawn_evenly(self, members: Tensor, uniform: Tensor) -> Tensor:
        """Draw from positions [K, n] as many, with replacement, each of their sources being equally likely.

        Args:
            members: [K, n] positions.
            uniform: [K, 2, n] numbers of [0, 1) in float64: which source, and which of its positions.

        Returns:
            [K, n] positions.
        """
        if self.source is None:
            raise ValueError("these data have no sources")
        source = self.source.gather(1, members)
        by_source = source.argsort(dim=1, stable=True)
        sizes = source.new_zeros(len(source), self.sources).scatter_add(1, source, torch.ones_like(source))
        starts, present = sizes.cumsum(1) - sizes, (sizes > 0).long()
        present_first = present.argsort(dim=1, descending=True, stable=True)
        drawn = present_first.gather(1, _below(present.sum(1, keepdim=True), uniform[:, 0]))
        places = starts.gather(1, drawn) + _below(sizes.gather(1, drawn), uniform[:, 1])
        return members.gather(1, by_source.gather(1, places))

    # -- as what is evaluated on: samples that are left aside, corrupted as they are --------------------

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

    @property
    def at_once(self) -> int:
        """Samples that are evaluated in one pass."""
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


def _below(number: Tensor, uniform: Tensor) -> Tensor:
    """Integers from 0 below `number`, from numbers of [0, 1)."""
    return torch.minimum((uniform * number).long(), number - 1)  # a product may round up to `number`


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
        self.at_once = rows.at_once
        self._resident = rows.resident(device, channels_last=channels_last)
        self._finish = Finish(rows, dtype, device)
        self._index = None if index is None else stacked(index, self._resident.device).long()
        self.targets = stacked(targets, device)
        self.targets = self.targets.to(dtype) if self.targets.is_floating_point() else self.targets.long()
        self.samples = self.targets.shape[1]

    def take(self, replicas: int, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """Inputs [K, n, …] and targets [K, n] of a chunk; replicas share memory where they share rows."""
        if self._index is None:
            inputs = self._finish(self._resident.between(start, stop))
            inputs = inputs.expand(replicas, *inputs.shape)
        else:
            places = self._index[:, start:stop]
            inputs = _by_replica(self._finish(self._resident.at(places.reshape(-1))), places)
        return inputs, self.targets[:, start:stop].expand(replicas, -1)
