"""The trainer as a library: train on arrays, without studies, files or Snakemake."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import nn

from lapwing.errors import UserError
from lapwing.files import Array
from lapwing.training.data import Replica, Rows
from lapwing.training.job import (
    Progress,
    Trainee,
    builder,
    finished_run,
    prepare,
    stack_width,
    train_one_epoch,
)
from lapwing.training.settings import TrainingSettings


@dataclass(frozen=True)
class Samples:
    """Inputs [N, …], targets [N], and the source of each sample [N] (0 … S − 1) where it is known."""

    inputs: Array
    targets: Array
    source: Array | None = None


@dataclass(frozen=True)
class TrainedRun:
    """What a seed's run measured, and the network that it trained."""

    seed: int
    metrics: pd.DataFrame
    """Columns epoch, split, metric, value."""
    sources: pd.DataFrame
    """Columns epoch, source, mean_loss, unreliability, multiplier, …"""
    network: nn.Module
    diverged: tuple[int, int] | None
    """Epoch and step whose loss was not finite."""


def train_arrays(
    settings: TrainingSettings,
    train: Samples,
    test: Samples,
    seeds: Sequence[int],
    *,
    classes: int | None = None,
    device: str = "cpu",
) -> list[TrainedRun]:
    """Train one run per seed on the same samples.

    Args:
        settings: model, method, layout, batch size, epochs, optimiser.
        train: training samples; uint8 inputs are taken to be images and scaled to [0, 1].
        test: test samples.
        seeds: of initialisation, order and dropout.
        classes: None: regression.
        device: of torch.

    Raises:
        UserError: the samples do not fit each other or the method.
    """
    _check(train)
    _check(test)
    scale = 1 / 255 if train.inputs.dtype == np.uint8 else 1.0
    everything = np.arange(len(train.inputs))
    trainee = Trainee(
        settings=settings,
        rows=Rows(train.inputs, scale),
        test_rows=Rows(test.inputs, scale),
        test_targets=test.targets,
        replicas={seed: Replica(seed, everything, train.targets, train.source) for seed in seeds},
        classes=classes,
    )
    width = stack_width(trainee, torch.device(device))
    stacks = [seeds[start : start + width] for start in range(0, len(seeds), width)]
    return [run for stack in stacks for run in _train_stack(trainee, stack, torch.device(device))]


def _train_stack(trainee: Trainee, seeds: Sequence[int], device: torch.device) -> list[TrainedRun]:
    training, held_out = prepare(trainee, seeds, device)
    progress = Progress()
    while training.epoch < trainee.settings.epochs and bool(training.alive.any()):
        train_one_epoch(training, held_out, progress, trainee.settings.method.name)
    runs = []
    for row, seed in enumerate(seeds):
        run = finished_run(training, progress, row, None, {})
        network = training.networks[0].replica(builder(trainee), row)
        runs.append(TrainedRun(seed, run.metrics, run.sources, network, training.diverged[row]))
    return runs


def _check(samples: Samples) -> None:
    number = len(samples.inputs)
    for name, array in (("targets", samples.targets), ("source", samples.source)):
        if array is not None and array.shape != (number,):
            raise UserError(
                f"{name} must have one value for each of the {number} inputs (its shape is {array.shape})."
            )
    if samples.source is not None and samples.source.min() < 0:
        raise UserError("sources must be numbered from 0 (there is a negative one).")
