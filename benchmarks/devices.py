"""What bfloat16, channels that come last and deterministic operations cost or bring on this device.

    OMP_NUM_THREADS=1 python -m benchmarks.devices                          time of a step
    OMP_NUM_THREADS=1 python -m benchmarks.devices --device cuda            the same on a GPU
    OMP_NUM_THREADS=1 python -m benchmarks.devices --accuracy               what bfloat16 loses, on digits
    OMP_NUM_THREADS=1 python -m benchmarks.devices --accuracy --data FILE   the same on prepared images

Times: Conv3Net in the shapes of Fashion-MNIST and CIFAR-10 and a ResNet-20, batch 128. Each is trained as
one would write it in PyTorch, in float32 and in bfloat16, with channels first and last, and by Lapwing, which
puts them last by itself. All cases take turns in one process on one thread, so that what else the machine
does falls on all alike; printed are medians over the rounds, with the quartiles of the ratios to the first
case. The data are random: time does not depend on their values.

Accuracy: Conv3Net with LAP in float32 and in bfloat16, ten sources, four of which supply random labels.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits

from lapwing import files
from lapwing.methods import methods
from lapwing.training.data import Replica
from lapwing.training.job import Trainee, builder, prepare
from lapwing.training.library import Samples, train_arrays
from lapwing.training.precision import CUBLAS, REPEATABLE, deterministic, products_in
from lapwing.training.resident import Rows
from lapwing.training.settings import Precision, TrainingSettings

BATCH, STEPS = 128, 2
NETWORKS = {
    "Conv3Net, 1 x 28 x 28": ("conv3net", (1, 28, 28)),
    "Conv3Net, 3 x 32 x 32": ("conv3net", (3, 32, 32)),
    "ResNet-20, 3 x 32 x 32": ("resnet20", (3, 32, 32)),
}
SOURCES, CORRUPT = 10, 4

Step = Callable[[], None]


def settings_of(
    model: str, precision: Precision, method: str = "standard", epochs: int = 1
) -> TrainingSettings:
    """Those of a short training."""
    return TrainingSettings.model_validate(
        {
            "model": {"name": model, "version": 1, "options": {}},
            "method": {"name": method, "version": methods.get(method).version, "options": {}},
            "layout": "mixed",
            "batch_size": BATCH,
            "epochs": epochs,
            "precision": precision,
        }
    )


def random_images(model: str, shape: tuple[int, ...], precision: Precision) -> Trainee:
    """Images of any content, for some steps."""
    draw = np.random.default_rng(0)
    samples = BATCH * STEPS
    rows = Rows(draw.integers(0, 256, (samples, *shape), dtype=np.uint8), 1 / 255)
    replica = Replica(0, draw.permutation(samples), draw.integers(0, 10, samples))
    return Trainee(settings_of(model, precision), rows, rows, replica.targets, {0: replica}, classes=10)


# -- time ------------------------------------------------------------------------------------------


def ours(trainee: Trainee, device: torch.device, *, repeatable: bool = False) -> Step:
    """A pass of the engine."""
    training, _ = prepare(trainee, [0], device)

    def run() -> None:
        with products_in(trainee.settings.precision), deterministic(repeatable):
            training.method.run_epoch(training)
        training.forget_measurements()

    return run


def plain(trainee: Trainee, device: torch.device, *, channels_last: bool) -> Step:
    """The same pass in plain PyTorch."""
    order = torch.channels_last if channels_last else torch.contiguous_format
    network = builder(trainee)().to(device).to(memory_format=order)  # type: ignore[call-overload]
    optimiser = torch.optim.Adam(network.parameters(), fused=True)
    inputs = torch.from_numpy(trainee.rows.inputs).to(device).to(memory_format=order)
    targets = torch.from_numpy(trainee.replicas[0].targets).to(device)
    half = torch.autocast(device.type, torch.bfloat16, enabled=trainee.settings.precision == "bf16")

    def run() -> None:
        for start in range(0, len(inputs), BATCH):
            chosen = torch.randperm(len(inputs))[start : start + BATCH].to(device)
            batch = inputs[chosen].float().mul_(1 / 255)
            optimiser.zero_grad()
            with half:
                outputs = network(batch)
            torch.autograd.backward(F.cross_entropy(outputs.float(), targets[chosen]))
            optimiser.step()

    return run


def cases(model: str, shape: tuple[int, ...], device: torch.device) -> dict[str, Step]:
    """What takes turns."""
    exact, half = (random_images(model, shape, precision) for precision in ("float32", "bf16"))
    return {
        "PyTorch, float32": plain(exact, device, channels_last=False),
        "PyTorch, float32, channels last": plain(exact, device, channels_last=True),
        "PyTorch, bf16": plain(half, device, channels_last=False),
        "PyTorch, bf16, channels last": plain(half, device, channels_last=True),
        "Lapwing, float32": ours(exact, device),
        "Lapwing, float32, deterministic": ours(exact, device, repeatable=True),
        "Lapwing, bf16": ours(half, device),
        "Lapwing, bf16, deterministic": ours(half, device, repeatable=True),
    }


def seconds(step: Step, device: torch.device) -> float:
    """Processor time of a step of training on a CPU; on a GPU time until all is done."""
    if device.type == "cpu":
        start = time.process_time()
        step()
        return (time.process_time() - start) / STEPS
    torch.cuda.synchronize(device)
    start = time.perf_counter()
    step()
    torch.cuda.synchronize(device)
    return (time.perf_counter() - start) / STEPS


def compare(title: str, steps: dict[str, Step], rounds: int, device: torch.device) -> None:
    """Time the cases in turn, and print a line for each."""
    for step in steps.values():
        step()
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            times[name].append(seconds(step, device))
    print(f"{title}, batch {BATCH}")
    first = next(iter(times.values()))
    for name, values in times.items():
        ratios = [a / b for a, b in zip(first, values, strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        ms = statistics.median(values) * 1e3
        print(f"  {name:34s}{ms:8.2f} ms, {middle:.2f} times as fast ({low:.2f} to {high:.2f})", flush=True)


# -- accuracy --------------------------------------------------------------------------------------


def images(data: Path | None, samples: int | None) -> tuple[Samples, Samples]:
    """Training images whose sources supply random labels in part, and test images."""
    if data is None:
        digits = load_digits()
        inputs, targets = (
            (digits.images[:, None] * (255 / 16)).astype(np.uint8),
            digits.target.astype(np.int64),
        )
        train, test = (inputs[:1400], targets[:1400]), (inputs[1400:], targets[1400:])
    else:
        arrays, _ = files.read_arrays(data)
        train, test = ((arrays[f"{split}/inputs"], arrays[f"{split}/targets"]) for split in ("train", "test"))
    draw = np.random.default_rng(0)
    inputs, targets = (np.array(values[:samples]) for values in train)
    source = draw.integers(0, SOURCES, len(targets))
    corrupt = source < CORRUPT
    targets[corrupt] = draw.integers(0, 10, corrupt.sum())
    return Samples(inputs, targets, source), Samples(*map(np.array, test))


def accuracies(train: Samples, test: Samples, precision: Precision, seeds: int, epochs: int) -> list[float]:
    """Test accuracy in percent after the last epoch, by seed."""
    settings = settings_of("conv3net", precision, "lap", epochs)
    runs = train_arrays(settings, train, test, list(range(seeds)), classes=10)
    wanted = f"split == 'test' and metric == 'top_1' and epoch == {epochs}"
    return [100 * float(run.metrics.query(wanted)["value"].item()) for run in runs]


def compare_accuracy(train: Samples, test: Samples, seeds: int, epochs: int) -> None:
    """Train in both precisions, and print the accuracies and their difference seed by seed."""
    exact, half = (accuracies(train, test, precision, seeds, epochs) for precision in ("float32", "bf16"))
    print(f"Conv3Net with LAP on {len(train.inputs)} images, {epochs} epochs, test accuracy in percent")
    for name, values in {"float32": exact, "bf16": half}.items():
        print(f"  {name:8s}{statistics.mean(values):6.2f}   {', '.join(f'{value:.2f}' for value in values)}")
    lost = [a - b for a, b in zip(exact, half, strict=True)]
    spread = statistics.stdev(lost) if seeds > 1 else float("nan")
    print(f"  bf16 loses {statistics.mean(lost):.2f} points (standard deviation of a seed {spread:.2f})")


def main() -> None:
    """Print times or accuracies."""
    os.environ[CUBLAS] = REPEATABLE  # read once, when the first case uses a GPU
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--accuracy", action="store_true")
    parser.add_argument("--data", type=Path, help="a prepared file of images in ten classes")
    parser.add_argument("--samples", type=int, help="how many of them to train on")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=10)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    if asked.accuracy:
        compare_accuracy(*images(asked.data, asked.samples), asked.seeds, asked.epochs)
        return
    device = torch.device(asked.device)
    for title, (model, shape) in NETWORKS.items():
        compare(title, cases(model, shape, device), asked.rounds, device)


if __name__ == "__main__":
    main()
