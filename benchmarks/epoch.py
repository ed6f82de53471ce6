"""A whole epoch of the Fashion-MNIST MLP: ten seeds stacked, per seed, against one seed in a plain loop.

    OMP_NUM_THREADS=1 python -m benchmarks.epoch

The plain loop is what one would write first: a cached dataset of tensors, a shuffling DataLoader, an
ordinary network, Adam, loss and accuracy summed up per batch, a test pass per epoch. Both train on 45 000
random images of that shape with standard training, test on 10 000, in turn, in one process on one thread. A
run is forty such epochs; what surrounds them (loading, one checkpoint per epoch) is timed and printed too.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lapwing.training.data import Replica, Rows
from lapwing.training.finished import FinishedRuns
from lapwing.training.job import Progress, Trainee, prepare, save, train_one_epoch
from lapwing.training.settings import TrainingSettings

TRAIN, TEST, BATCH, SEEDS = 45_000, 10_000, 200, 10


class PlainLoop:
    """One seed, written plainly."""

    def __init__(self, inputs: torch.Tensor, targets: torch.Tensor) -> None:
        self.train_data = DataLoader(
            TensorDataset(inputs[:TRAIN], targets[:TRAIN], torch.zeros(TRAIN)), BATCH, shuffle=True
        )
        self.test_data = DataLoader(TensorDataset(inputs[TRAIN:], targets[TRAIN:]), BATCH)
        self.network = nn.Sequential(
            nn.Linear(784, 16), nn.Dropout(0.2), nn.ReLU(), nn.Linear(16, 16), nn.Dropout(0.2), nn.ReLU(),
            nn.Linear(16, 10), nn.Softmax(dim=1),
        )  # fmt: skip
        self.optimiser = torch.optim.Adam(self.network.parameters(), 0.001)
        self.loss = nn.CrossEntropyLoss()

    def epoch(self) -> float:
        """Train and test once; the test accuracy."""
        self.network.train()
        total, correct = 0.0, 0
        for inputs, targets, _ in self.train_data:
            self.optimiser.zero_grad()
            outputs = self.network(inputs)
            loss = self.loss(outputs, targets)
            loss.backward()
            self.optimiser.step()
            total += loss.item() * len(targets)
            correct += int((outputs.argmax(1) == targets).sum())
        self.network.eval()
        with torch.no_grad():
            right = sum(int((self.network(x).argmax(1) == y).sum()) for x, y in self.test_data)
        return right / TEST


def trainee(inputs: np.ndarray, targets: np.ndarray, layout: str) -> Trainee:
    """Ten seeds on the same random images."""
    settings = TrainingSettings.model_validate(
        {
            "model": {"name": "mlp", "version": 1, "options": {}},
            "method": {"name": "standard", "version": 1, "options": {}},
            "layout": layout,
            "batch_size": BATCH,
            "epochs": 40,
        }
    )
    draw, source = np.random.default_rng(0), np.arange(TRAIN) // BATCH % 10
    orders = {seed: draw.permutation(TRAIN) for seed in range(SEEDS)}
    replicas = {seed: Replica(seed, order, targets[order], source) for seed, order in orders.items()}
    test = Rows(inputs[TRAIN:], 1 / 255)
    return Trainee(settings, Rows(inputs, 1 / 255), test, targets[TRAIN:], replicas, classes=10)


def main(rounds: int) -> None:
    """Print the ratio, and what a checkpoint costs."""
    torch.set_num_threads(1)
    draw = np.random.default_rng(0)
    inputs = draw.integers(0, 256, (TRAIN + TEST, 1, 28, 28), dtype=np.uint8)
    targets = draw.integers(0, 10, TRAIN + TEST)
    plain = PlainLoop(torch.from_numpy(inputs).flatten(1).float().div(255), torch.from_numpy(targets))
    start = time.perf_counter()
    stacks = {
        layout: prepare(trainee(inputs, targets, layout), list(range(SEEDS)), torch.device("cpu"))
        for layout in ("blocks", "mixed")
    }
    print(f"both layouts made ready in {time.perf_counter() - start:.2f} s")
    progress = {layout: Progress() for layout in stacks}
    times: dict[str, list[float]] = {"plain": [], **{layout: [] for layout in stacks}, "checkpoint": []}
    with tempfile.TemporaryDirectory() as folder:
        store = FinishedRuns(Path(folder), "benchmark")
        for _ in range(rounds):
            times["plain"].append(timed(plain.epoch))
            for layout, (training, test) in stacks.items():
                times[layout].append(timed(partial(train_one_epoch, training, test, progress[layout], "")))
            training = stacks["blocks"][0]
            times["checkpoint"].append(timed(partial(save, store, training, progress["blocks"])))
    show("plain loop, one seed", times["plain"], 1)
    for layout in stacks:
        show(f"stacked, {layout}, per seed", times[layout], SEEDS)
        ratios = [SEEDS * a / b for a, b in zip(times["plain"], times[layout], strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        print(f"    plain / stacked: {middle:.2f} ({low:.2f} to {high:.2f}); must be >= 5")
    share = statistics.median(times["checkpoint"]) / statistics.median(times["blocks"])
    print(f"checkpoint of ten seeds: {share:.1%} of an epoch; must be about 3 % or less")


def timed(work: Callable[[], object]) -> float:
    """Wall seconds of a call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def show(what: str, seconds: list[float], seeds: int) -> None:
    """Median and quartiles of an epoch, per seed."""
    low, middle, high = (1e3 * value / seeds for value in statistics.quantiles(seconds, n=4))
    print(f"{what}: {middle:.1f} ms per epoch ({low:.1f} to {high:.1f}), {middle / 25:.2f} s per run of 40")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=6)
    main(parser.parse_args().rounds)
