"""Time one LAP step against the plain reference, interleaved in one run on one thread.

    python -m benchmarks.lap_step [--rounds 15]

Prints medians and the spread (10th to 90th percentile) in microseconds of process time, and the ratios.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from benchmarks.reference_lap import ReferenceLap
from lapwing.weighting import SourceGradientMultiplier, SourceLossWeighting

HISTORY = 25
SIZES = ((10, 128), (100, 128), (1000, 512))
"""Sources and batch size of the steps that are compared with the reference."""


@dataclass
class Contender:
    """One thing to time: `step` is called with each of the batches that `batch` draws."""

    name: str
    step: Callable[[Tensor, Tensor], object]
    batch: Callable[[], tuple[Tensor, Tensor]]
    calls: int
    microseconds: list[float] = field(default_factory=list)

    def time(self) -> None:
        """Time `calls` steps once."""
        batches = [self.batch() for _ in range(self.calls)]
        start = time.process_time()
        for batch in batches:
            self.step(*batch)
        self.microseconds.append((time.process_time() - start) / self.calls * 1e6)

    @property
    def median(self) -> float:
        """Median over the rounds, in microseconds."""
        return float(np.median(self.microseconds))

    def line(self) -> str:
        """Median and spread, as a line of the output."""
        low, high = np.percentile(self.microseconds, (10, 90))
        return f"{self.name:44s} {self.median:9.1f} us   ({low:.1f} to {high:.1f})"


def random_batches(shape: tuple[int, ...], sources: int) -> Callable[[], tuple[Tensor, Tensor]]:
    """Draw losses and source ids of this shape, the same stream for every contender."""
    generator = torch.Generator().manual_seed(0)

    def draw() -> tuple[Tensor, Tensor]:
        return torch.rand(shape, generator=generator), torch.randint(sources, shape, generator=generator)

    return draw


def fill(step: Callable[[Tensor, Tensor], object], sources: int, replicas: tuple[int, ...] = ()) -> None:
    """Complete every source's history, so that each later step decides about all that are present."""
    ids = torch.arange(sources).expand(*replicas, sources)
    for _ in range(HISTORY):
        step(torch.rand(ids.shape), ids)


def loss_form(sources: int, batch_size: int) -> tuple[Contender, Contender, Contender]:
    """The reference, and ours with the sources named and looked up."""
    plain = ReferenceLap(HISTORY, warmup_iters=0)
    named = SourceLossWeighting(HISTORY, warmup_iters=0, num_sources=sources)
    looked_up = SourceLossWeighting(HISTORY, warmup_iters=0)
    size = f"{sources} sources, batch {batch_size}"
    contenders = []
    for name, step, calls in (
        ("reference", plain, 20 if sources < 50 else 2),
        ("Lapwing", named, 100),
        ("Lapwing, ids looked up", looked_up, 100),
    ):
        fill(step, sources)
        contenders.append(Contender(f"{size}: {name}", step, random_batches((batch_size,), sources), calls))
    return contenders[0], contenders[1], contenders[2]


def stacked_loss_form(replicas: int, sources: int, batch_size: int) -> Contender:
    """The loss form with a replica axis, as the trainer calls it: only the factors."""
    step = SourceLossWeighting(HISTORY, warmup_iters=0, num_sources=sources, replicas=replicas).multipliers
    fill(step, sources, (replicas,))
    name = f"{replicas} replicas, {sources} sources, batch {batch_size}"
    return Contender(name, step, random_batches((replicas, batch_size), sources), 100)


def gradient_form(replicas: int, sources: int) -> Contender:
    """The factor of the gradient form, one batch of one source per replica."""
    step = SourceGradientMultiplier(HISTORY, num_sources=sources, replicas=replicas).multipliers
    for source in range(sources):
        for _ in range(HISTORY):
            step(torch.rand(replicas), torch.full((replicas,), source))
    name = f"gradient form, {replicas} replicas, {sources} sources"
    return Contender(name, step, random_batches((replicas,), sources), 100)


def main(rounds: int) -> None:
    """Time all contenders in turn, `rounds` times."""
    torch.set_num_threads(1)
    pairs = [loss_form(*size) for size in SIZES]
    stacked = [stacked_loss_form(1, 10, 200), stacked_loss_form(10, 10, 200)]
    gradients = [gradient_form(1, 10), gradient_form(10, 10)]
    contenders = [one for pair in pairs for one in pair] + stacked + gradients
    for _ in range(rounds):
        for contender in contenders:
            contender.time()
    print(*(contender.line() for contender in contenders), sep="\n")
    print()
    for (sources, batch_size), (plain, named, _) in zip(SIZES, pairs, strict=True):
        ratios = np.array(plain.microseconds) / np.array(named.microseconds)
        low, high = np.percentile(ratios, (10, 90))
        print(
            f"{sources} sources, batch {batch_size}: reference / Lapwing = {plain.median / named.median:.1f}"
            f"   ({low:.1f} to {high:.1f})"
        )
    print(f"1000 sources / 10 sources = {pairs[2][1].median / pairs[0][1].median:.2f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    main(parser.parse_args().rounds)
