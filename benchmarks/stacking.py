"""Ratios of the stacked trainer: seeds together against seeds alone, and what LAP adds to a step.

    OMP_NUM_THREADS=1 python -m benchmarks.stacking

All cases take turns in one process on one thread, so that what else the machine does falls on all of them
alike; printed are medians over the rounds, with the quartiles of the ratios. The data are random in the
shape of Fashion-MNIST and CIFAR-10: time does not depend on their values.
"""

import argparse
import statistics
import time
from collections.abc import Sequence

import numpy as np
import torch

from lapwing.training.data import Replica, Rows
from lapwing.training.engine import Training
from lapwing.training.job import Trainee, prepare
from lapwing.training.settings import TrainingSettings

LAP = {"form": "loss", "history_length": 50, "warmup_iters": 0}
MNIST, CIFAR = (1, 28, 28), (3, 32, 32)


def trainee(
    model: str, method: str, shape: tuple[int, ...], replicas: int, batch_size: int, steps: int
) -> Trainee:
    """Random data for some steps per epoch, ten sources in blocks."""
    draw = np.random.default_rng(0)
    samples = batch_size * steps
    inputs, targets = draw.integers(0, 256, (samples, *shape), dtype=np.uint8), draw.integers(0, 10, samples)
    settings = TrainingSettings.model_validate(
        {
            "model": {"name": model, "version": 1, "options": {}},
            "method": {"name": method, "version": 1, "options": LAP if method == "lap" else {}},
            "layout": "blocks",
            "batch_size": batch_size,
            "epochs": 1,
        }
    )
    source = np.arange(samples) // batch_size % 10
    decided = {k: Replica(k, draw.permutation(samples), targets, source) for k in range(replicas)}
    rows = Rows(inputs, 1 / 255)
    return Trainee(settings, rows, Rows(inputs[:10], 1 / 255), targets[:10], decided, classes=10)


def seconds_per_step(training: Training) -> float:
    """Processor time of one pass over the data."""
    start = time.process_time()
    steps = 0
    for batch in training.batches():
        training.step(batch)
        steps += 1
    training.forget_measurements()
    return (time.process_time() - start) / steps


def compare(title: str, cases: dict[str, Training], rounds: int) -> dict[str, list[float]]:
    """Time the cases in turn."""
    for training in cases.values():
        seconds_per_step(training)
    times: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(rounds):
        for name, training in cases.items():
            times[name].append(seconds_per_step(training))
    print(title)
    for name, values in times.items():
        print(f"  {name:28s}{statistics.median(values) * 1e3:8.3f} ms per step")
    return times


def report(what: str, must: str, ratios: Sequence[float]) -> None:
    """One line: the median of a ratio and its quartiles."""
    low, middle, high = statistics.quantiles(ratios, n=4)
    print(f"  {what}: {middle:.2f} ({low:.2f} to {high:.2f}); must be {must}")


def make(
    model: str, method: str, shape: tuple[int, ...], replicas: int, batch_size: int, steps: int
) -> Training:
    """A training of the first seeds on the CPU."""
    made = trainee(model, method, shape, replicas, batch_size, steps)
    return prepare(made, list(range(replicas)), torch.device("cpu"))[0]


def main(rounds: int) -> None:
    """Print the ratios."""
    torch.set_num_threads(1)
    perceptrons = {
        f"{method}, K = {replicas}": make("mlp", method, MNIST, replicas, 200, 50)
        for replicas in (1, 8, 10)
        for method in ("standard", "lap")
    }
    times = compare("MLP 784-16-16-10, batch 200", perceptrons, rounds)

    def ratios(above: str, below: str, factor: float = 1.0) -> list[float]:
        return [factor * a / b for a, b in zip(times[above], times[below], strict=True)]

    report(
        "8 seeds alone / 8 seeds stacked, standard", ">= 2.5", ratios("standard, K = 1", "standard, K = 8", 8)
    )
    report("8 seeds alone / 8 seeds stacked, LAP", ">= 2.5", ratios("lap, K = 1", "lap, K = 8", 8))
    report("LAP / standard, alone", "<= 1.50", ratios("lap, K = 1", "standard, K = 1"))
    report("LAP / standard, 10 stacked", "<= 1.10", ratios("lap, K = 10", "standard, K = 10"))

    convolutions = {method: make("conv3net", method, CIFAR, 1, 128, 2) for method in ("standard", "lap")}
    times = compare("Conv3Net, 3 x 32 x 32, batch 128", convolutions, 2 * rounds)
    report("LAP / standard", "<= 1.05", ratios("lap", "standard"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    main(parser.parse_args().rounds)
