"""What the large studies cost: samples per second, what LAP adds to a step, and hours from that.

    python -m benchmarks.resnet                 on a GPU
    python -m benchmarks.resnet --device cpu --width 4 --batch 8 --steps 1    a trial without one

The ResNet-50 of `table_7` and `imagenet64` and the LSTM of `table_3`, with the settings of the studies, in
float32, TF32 and bfloat16, each with and without LAP; with --compile the ResNets compiled by torch too.
Standard training and LAP take turns, so that what else the machine does falls on both alike; printed are
medians over the rounds, and the quartiles of their ratio in one round. Hours are those of the study's runs of
these two methods, one run after another; what its other methods cost, see `methods.py`. The data are random,
but are scaled, normalised, mirrored and made noisy as the study's are: time does not depend on their values.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lapwing.corruption import corruptions
from lapwing.corruption.base import corrupt_rows
from lapwing.datasets import datasets
from lapwing.study import Cell
from lapwing.study_files import read_studies
from lapwing.training.data import Replica
from lapwing.training.engine import Training
from lapwing.training.job import HeldOut, Trainee, prepare
from lapwing.training.precision import products_in
from lapwing.training.resident import Rows
from lapwing.training.settings import Precision, TrainingSettings

STUDIES = Path(__file__).parents[1] / "studies"
MEASURED = ("table_7", "imagenet64", "table_3")
METHODS = ("standard", "lap")
PRECISIONS: tuple[Precision, ...] = ("float32", "tf32", "bf16")
WORDS = 100_000
"""The size of a vocabulary; that of a real one depends on the texts."""


@dataclass(frozen=True)
class Size:
    """What a trial makes smaller; a round has `steps` steps."""

    width: int | None
    batch: int | None
    steps: int

    def of(self, settings: TrainingSettings, precision: Precision) -> TrainingSettings:
        """The settings of a study at this size and in a precision."""
        options = settings.model.options
        if self.width and settings.model.name == "resnet":
            options = options | {"width": self.width}
        elif self.width:
            options = options | {"embedding": 4 * self.width, "hidden": 8 * self.width}
        changes: dict[str, Any] = {"precision": precision, "batch_size": self.batch or settings.batch_size}
        changes["model"] = settings.model.model_copy(update={"options": options})
        return settings.model_copy(update=changes)


def make(cell: Cell, precision: Precision, size: Size, device: torch.device) -> tuple[Training, HeldOut]:
    """A training as a cell has it, on random data."""
    settings, corruption = size.of(cell.settings.training, precision), cell.settings.corruption
    dataset, draw = datasets.get(corruption.dataset), np.random.default_rng(0)
    samples, tokens = settings.batch_size * size.steps, dataset.inputs == "tokens"
    high, kind = (WORDS, np.int32) if tokens else (256, np.uint8)
    inputs = draw.integers(0, high, (samples, *dataset.input_shape), dtype=kind)
    targets = draw.integers(0, dataset.classes, samples)
    rows = Rows(inputs, dataset.scale, dataset.normalisation, WORDS if tokens else None)
    noise: dict[str, Any] = {}
    if corruptions.get(corruption.name).alter_rows is not None:
        rule = {"name": corruption.name, "seed": 0, **corruption.options}
        noise = {"altered": np.arange(samples), "alter_rows": partial(corrupt_rows, rule)}
    source = draw.integers(0, corruption.sources.number, samples)
    decided = {0: Replica(0, np.arange(samples), targets, source, **noise)}
    made = Trainee(settings, rows, rows, targets, decided, classes=dataset.classes)
    return prepare(made, [0], device)


def hours(cells: Sequence[Cell], trained_per_second: float, evaluated_per_second: float) -> float:
    """What all runs of cells take on one device, one after another: each epoch ends with an evaluation."""
    seconds = 0.0
    for cell in cells:
        rows, split = datasets.get(cell.settings.corruption.dataset).rows, cell.settings.corruption.split
        trained = rows["train"] * (split.train if split.kind == "after_corruption" else 1)
        evaluated = sum(rows.values()) - trained
        epoch = trained / trained_per_second + evaluated / evaluated_per_second
        seconds += len(cell.seeds) * cell.settings.epochs * epoch
    return seconds / 3600


class Contender:
    """One training to time."""

    def __init__(self, made: tuple[Training, HeldOut], size: Size, device: torch.device, compiled: bool):
        (self.training, self._held_out), self._steps, self._device = made, size.steps, device
        if compiled:
            for network in self.training.networks:
                network.compile()
        self.per_step: list[float] = []
        self._epoch()

    def time(self) -> None:
        """Time one epoch."""
        self.per_step.append(self._epoch() / self._steps)

    def trained_per_second(self) -> float:
        """Samples per second of training, in the median."""
        return self.training.settings.batch_size / statistics.median(self.per_step)

    def evaluated_per_second(self) -> float:
        """Samples per second of an evaluation."""
        self.training.evaluate(self._held_out.test)
        start = self._now()
        self.training.evaluate(self._held_out.test)
        return self._held_out.test.samples / (self._now() - start)

    def _epoch(self) -> float:
        start = self._now()
        with products_in(self.training.settings.precision):
            self.training.method.run_epoch(self.training)
        self.training.forget_measurements()
        return self._now() - start

    def _now(self) -> float:
        """Seconds, when the device has done all that it was given."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter()


def measure(both: dict[str, Contender], name: str, rounds: int) -> None:
    """Time standard training and LAP in turn, and print a line for each."""
    for _ in range(rounds):
        for contender in both.values():
            contender.time()
    plain = both["standard"].per_step
    for method, contender in both.items():
        middle = statistics.median(contender.per_step)
        line = f"  {f'{name}, {method}':32s}{middle * 1e3:10.2f} ms per step"
        line += f"{contender.trained_per_second():12.0f} per second"
        if method == "lap":
            ratios = [ours / theirs for ours, theirs in zip(contender.per_step, plain, strict=True)]
            low, ratio, high = statistics.quantiles(ratios, n=4, method="inclusive")
            line += f"   / standard {ratio:.3f} ({low:.3f} to {high:.3f})"
        print(line, flush=True)


def main(
    device: torch.device,
    size: Size,
    rounds: int,
    precisions: Sequence[Precision] = PRECISIONS,
    compilations: Sequence[bool] = (False,),
) -> None:
    """Print a table for each study, and on a GPU its hours."""
    torch.set_num_threads(1)
    trial = device.type == "cpu"
    print(f"{torch.cuda.get_device_name(device) if not trial else 'CPU'}, torch {torch.__version__}")
    if trial:
        print("A small trial that shows the benchmark works: it says nothing about the studies.")
    studies = read_studies(STUDIES, "paper")
    for study in MEASURED:
        cells = {m: [cell for cell in studies[study].cells if cell.axes["method"] == m] for m in METHODS}
        hardest = {method: of_method[-1] for method, of_method in cells.items()}  # the first may be clean
        chosen = hardest["lap"].settings
        data = f"{chosen.corruption.dataset}, {chosen.corruption.name}"
        print(f"{study}: {chosen.model.name}, {data}, batch {size.batch or chosen.batch_size}")
        recurrent = chosen.model.name == "lstm"  # one kernel already
        for precision in precisions:
            for compiled in (False,) if recurrent else compilations:
                made = {method: make(cell, precision, size, device) for method, cell in hardest.items()}
                both = {method: Contender(one, size, device, compiled) for method, one in made.items()}
                measure(both, f"{precision}{', compiled' if compiled else ''}", rounds)
                if not trial:
                    evaluated = both["standard"].evaluated_per_second()
                    total = sum(hours(cells[m], both[m].trained_per_second(), evaluated) for m in METHODS)
                    runs = sum(len(cell.seeds) for m in METHODS for cell in cells[m])
                    print(f"    {total:.1f} hours for the {runs} runs of standard training and LAP")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument(
        "--width", type=int, help="of the ResNets; the LSTM scales with it (the studies': 64)"
    )
    parser.add_argument("--batch", type=int, help="samples of a step; those of the studies without it")
    parser.add_argument("--steps", type=int, default=10, help="of each round")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--compile", action="store_true", help="each precision compiled by torch too")
    arguments = parser.parse_args()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        sys.exit("There is no GPU here; a trial does without: --device cpu --width 4 --batch 8 --steps 1")
    main(
        torch.device(arguments.device),
        Size(arguments.width, arguments.batch, arguments.steps),
        arguments.rounds,
        compilations=(False, True) if arguments.compile else (False,),
    )
