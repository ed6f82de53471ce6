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
from lapwing.training.data import Replica
from lapwing.training.job import (
    Progress,
    Trainee,
    builder,
    finished_run,
    prepare,
    stack_width,
    train_one_epoch,
)
from lapwing.training.resident import Rows
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
    vocabulary: int | None = None,
    device: str = "cpu",
) -> list[TrainedRun]:
    """Train one run per seed on the same samples.

    Args:
        settings: model, method, layout, batch size, epochs, optimiser.
        train: training samples; uint8 inputs are taken to be images and scaled to [0, 1].
        test: test samples.
        seeds: of initialisation, order and dropout.
        classes: None: regression.
        vocabulary: how many words there are, where inputs [N, L] are numbers of words; None: they are not.
        device: of torch.

    Raises:
        UserError: the samples do not fit each other or the method.
    """
    rows, test_rows = (_rows(samples, vocabulary) for samples in (train, test))
    everything = np.arange(len(train.inputs))
    trainee = Trainee(
        settings=settings,
        rows=rows,
        test_rows=test_rows,
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
    while not training.ended:
        train_one_epoch(training, held_out, progress, trainee.settings.method.name)
    runs = []
    for row, seed in enumerate(seeds):
        run = finished_run(training, progress, row, None, {})
        network = training.networks[0].replica(builder(trainee), row)
        runs.append(TrainedRun(seed, run.metrics, run.sources, network, training.diverged[row]))
    return runs


def _rows(samples: Samples, vocabulary: int | None) -> Rows:
    """The inputs of samples that fit together."""
    _check(samples)
    inputs = samples.inputs
    if vocabulary is None:
        return Rows(inputs, 1 / 255 if inputs.dtype == np.uint8 else 1.0)
    if not np.issubdtype(inputs.dtype, np.integer) or inputs.min() < 0 or inputs.max() >= vocabulary:
        raise UserError(f"inputs must be numbers of words, integers from 0 to {vocabulary - 1}.")
    return Rows(inputs.astype(np.int32), vocabulary=vocabulary)


def _check(samples: Samples) -> None:
    number = len(samples.inputs)
    if not number:
        raise UserError("there are no samples; at least one is needed.")
    for name, array in (("targets", samples.targets), ("source", samples.source)):
        if array is not None and array.shape != (number,):
            raise UserError(
                f"{name} must have one value for each of the {number} inputs (its shape is {array.shape})."
            )
    if samples.source is not None and samples.source.min() < 0:
        raise UserError("sources must be numbered from 0 (there is a negative one).")
