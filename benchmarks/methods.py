"""What each method costs per step, relative to standard training: alone, and with five seeds stacked.

    OMP_NUM_THREADS=1 python -m benchmarks.methods

The perceptron of Fashion-MNIST (784-16-16-10, batch 200) on random data of that shape: time does not
depend on their values. All methods take turns in one process on one thread, so that what else the machine
does falls on all of them alike. Printed are medians over the rounds, and the quartiles of the ratio to the
standard training of the same round. An epoch counts with all that a method does around it (IDPA's full pass
at the switch, which comes once per training, is left out), divided by the steps that it takes.
"""

import argparse
import statistics
import time
from typing import Any

import numpy as np
import torch

from benchmarks.stacking import MNIST
from lapwing.methods import methods
from lapwing.training.data import Replica, Rows
from lapwing.training.engine import Training
from lapwing.training.job import Trainee, prepare
from lapwing.training.settings import TrainingSettings

BATCH, STEPS, SOURCES = 200, 50, 10
STACKED = (1, 5)
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "standard": ("standard", {}),
    "LAP": ("lap", {"warmup_iters": 0, "history_length": 5}),
    "Label Smoothing": ("nls", {}),
    "CDR": ("cdr", {}),
    "IDPA, first phase": ("idpa", {"warmup_epochs": 9}),
    "IDPA, second phase": ("idpa", {"warmup_epochs": 0}),
    "ARFL": ("arfl", {}),
    "Co-teaching (two networks)": ("coteaching", {"ramp_epochs": 0}),
}
"""What is printed: a method and its options, so that they are at work soon: LAP's history of five steps of
each source is full after the epoch that is not timed. In blocks, its other form stands beside."""
IN_BLOCKS: dict[str, tuple[str, dict[str, Any]]] = {
    "LAP, gradients": ("lap", {"warmup_iters": 0, "history_length": 5, "form": "gradient"}),
}


def make(method: str, options: dict[str, Any], replicas: int, layout: str) -> Training:
    """A training of the first seeds on the CPU, ten sources in blocks."""
    draw = np.random.default_rng(0)
    samples = BATCH * STEPS
    inputs, targets = draw.integers(0, 256, (samples, *MNIST), dtype=np.uint8), draw.integers(0, 10, samples)
    settings = TrainingSettings.model_validate(
        {
            "model": {"name": "mlp", "version": 1, "options": {}},
            "method": {"name": method, "version": methods.get(method).version, "options": options},
            "layout": layout,
            "batch_size": BATCH,
            "epochs": 10,
        }
    )
    source = np.arange(samples) // BATCH % SOURCES
    decided = {k: Replica(k, draw.permutation(samples), targets, source) for k in range(replicas)}
    rows = Rows(inputs, 1 / 255)
    made = Trainee(settings, rows, Rows(inputs[:10], 1 / 255), targets[:10], decided, classes=10)
    return prepare(made, list(range(replicas)), torch.device("cpu"))[0]


def milliseconds_per_step(training: Training) -> float:
    """Processor time of one epoch, without its test, per step."""
    before, start = training.steps, time.process_time()
    training.method.run_epoch(training)
    seconds = time.process_time() - start
    training.forget_measurements()
    return seconds * 1e3 / (training.steps - before)


def trainings(replicas: int, layout: str) -> dict[str, Training]:
    """One training of each case, ready to be timed: warm, and in the second phase where there is one."""
    cases = CASES | (IN_BLOCKS if layout == "blocks" else {})
    made = {name: make(method, options, replicas, layout) for name, (method, options) in cases.items()}
    for training in made.values():
        training.method.on_epoch_start(training)
        milliseconds_per_step(training)
        training.epoch += 1
    return made


def main(rounds: int, layout: str) -> None:
    """Print one table for each number of seeds."""
    torch.set_num_threads(1)
    for replicas in STACKED:
        made = trainings(replicas, layout)
        times: dict[str, list[float]] = {name: [] for name in made}
        for _ in range(rounds):
            for name, training in made.items():
                times[name].append(milliseconds_per_step(training))
        print(f"K = {replicas}{'':27s}ms per step   / standard   (quartiles)")
        for name, values in times.items():
            ratios = [value / plain for value, plain in zip(values, times["standard"], strict=True)]
            low, middle, high = statistics.quantiles(ratios, n=4)
            print(f"  {name:30s}{statistics.median(values):11.3f}{middle:13.2f}   ({low:.2f} to {high:.2f})")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--layout", choices=("mixed", "blocks"), default="mixed")
    arguments = parser.parse_args()
    main(arguments.rounds, arguments.layout)
