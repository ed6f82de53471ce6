"""One run on several GPUs: processes that take a shard of every batch each, and stay equal.

Every process holds the whole training: parameters, optimisers, counters of the method. Of each batch it sees
its shard; gradients of its share of the loss are summed, and so are LAP's sums and counts of each source, so
that the step is the step of the whole batch. Batch norm normalises by the moments of the whole batch, and
masks of dropout are those of the whole batch. All that differs from one process: sums round otherwise.

Why not torch's `DistributedDataParallel`: it averages the gradients of a module's own parameters, and ours
are stacks [K, …] beside a module without any; it gives all processes the same weight, also in a last batch
that does not divide; and methods edit gradients after they are summed. It would send gradients while the
backward pass still runs; instead a ResNet-50 exchanges some 100 MB at once, at the end of it.

`run_together` starts the processes. The first one alone holds locks and writes; the others do what it says.
"""

from __future__ import annotations

import contextlib
import datetime
import itertools
import logging
import multiprocessing
import os
import signal
import socket
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor
from torch.multiprocessing.spawn import ProcessContext, ProcessException, spawn

from lapwing.errors import UserError
from lapwing.job_log import configure_logging, in_one_sentence
from lapwing.training.data import bounds, cut
from lapwing.words import many

# What mypy is told to ignore here torch annotates in some of the versions that we support, and not in others.

PATIENCE = datetime.timedelta(days=30)
"""How long a process waits for the others, which may wait for a lock. One that dies ends all at once."""


class Shard(NamedTuple):
    """Which samples of a batch a process takes."""

    start: int
    own: int
    whole: int
    """How many the batch has."""

    @property
    def is_whole(self) -> bool:
        """Whether it is all of the batch: a process alone, or a batch with fewer samples than processes."""
        return self.own == self.whole

    def of(self, tensor: Tensor) -> Tensor:
        """[K, B, …] to this shard of it, a view."""
        return tensor[:, self.start : self.start + self.own]

    def bounds(self, size: int) -> list[tuple[int, int]]:
        """Begin and end of each `size` samples of it."""
        return [(self.start + begin, self.start + end) for begin, end in bounds(self.own, size)]


@dataclass(frozen=True)
class Processes:
    """The processes that train one run together, seen from one of them. All of them make the same calls.

    A process alone exchanges nothing: what goes in comes out.
    """

    rank: int = 0
    number: int = 1

    @property
    def alone(self) -> bool:
        """Whether there are no others."""
        return self.number == 1

    @property
    def first(self) -> bool:
        """Whether this is the process that reads and writes."""
        return self.rank == 0

    def shard(self, size: int) -> Shard:
        """Which of `size` samples this process takes; each takes all where there is not one for each."""
        if size < self.number:
            return Shard(0, size, size)
        begin, end = (size * rank // self.number for rank in (self.rank, self.rank + 1))
        return Shard(begin, end - begin, size)

    def shards(self, samples: int, size: int) -> Iterable[Shard | None]:
        """The shard of each batch of at most `size` samples; None again and again where nothing is shared."""
        if self.alone:
            return itertools.repeat(None)
        return [self.shard(end - start) for start, end in bounds(samples, size)]

    def of_each(self, batches: Sequence[Tensor]) -> Sequence[Tensor]:
        """The shard of each of the batches [K, B, …]: views."""
        return batches if self.alone else [self.shard(batch.shape[1]).of(batch) for batch in batches]

    def cut(self, tensor: Tensor, size: int) -> Sequence[Tensor]:
        """The shard of each batch of at most `size` of [K, N, …]: views."""
        return self.of_each(cut(tensor, size))

    def counts(self, shard: Shard | None) -> bool:
        """Whether this process counts the samples of a shard; the first counts those that all have."""
        return shard is None or self.first or not shard.is_whole

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum over all processes; gradients pass through it, also under `vmap`."""
        return tensor if self.alone else _summed(tensor)

    def share(self, shard: Shard) -> float:
        """What the mean over this process's shard counts for in the mean over the batch."""
        return 1 / self.number if shard.is_whole else shard.own / shard.whole

    def mean(self, values: Tensor, shard: Shard) -> Tensor:
        """Means over the batch of the means over each process's shard."""
        return self.sum(values * self.share(shard))

    def everywhere(self, mask: Tensor) -> Tensor:
        """Bool: where it is true in all processes."""
        return mask if self.alone else self.sum(mask.int()) == self.number

    def joined(self, values: Tensor, shard: Shard) -> Tensor:
        """The values [K, own, …] of each process's shard as [K, whole, …]."""
        if shard.is_whole:
            return values
        whole = values.new_zeros(len(values), shard.whole, *values.shape[2:])
        shard.of(whole).copy_(values)
        return self.sum(whole)

    def add_up(self, gradients: Iterable[Tensor]) -> None:
        """Turn gradients of each process's share of a loss into those of the loss, in place."""
        if self.alone:
            return
        gradients = list(gradients)
        together = torch.cat([gradient.reshape(-1) for gradient in gradients])
        dist.all_reduce(together)
        parts = torch.split(together, [gradient.numel() for gradient in gradients])  # type: ignore[no-untyped-call,unused-ignore]
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))

    def told_by_first(self, what: Any = None) -> Any:
        """What the first process says; the others wait for it."""
        if self.alone:
            return what
        message = [what]
        dist.broadcast_object_list(message, 0)
        return message[0]


class _Sum(torch.autograd.Function):
    """The sum of a tensor over all processes: each process's tensor has the sum of all their gradients."""

    @staticmethod
    def forward(tensor: Tensor) -> Tensor:
        total = tensor.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        """Nothing is kept."""

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override,unused-ignore]
        return _summed(gradient)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None], tensor: Tensor) -> tuple[Tensor, int | None]:
        return _summed(tensor), in_dims[0]


def _summed(tensor: Tensor) -> Tensor:
    total: Tensor = _Sum.apply(tensor)  # type: ignore[no-untyped-call,unused-ignore]
    return total


ALONE = Processes()
"""A process without others."""


# -- a job of several processes --------------------------------------------------------------------


def check_gpus(number: int) -> None:
    """Whether this process sees a GPU for each of so many.

    Raises:
        UserError: it sees fewer.
    """
    seen = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if seen < number:
        raise UserError(
            f"this job needs {many(number, 'GPU')} (config: gpu, device), and sees {seen} on "
            f"{socket.gethostname()}: {_what_hides_gpus()}; let it see them, or set gpu: 0 and device: cpu."
        )


def _what_hides_gpus() -> str:
    """Why a process may see fewer GPUs than it was granted."""
    if torch.version.cuda is None and torch.version.hip is None:
        return f"its PyTorch {torch.__version__} is made for CPUs"
    if (visible := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return f"CUDA_VISIBLE_DEVICES is '{visible}'"
    return "see nvidia-smi there, and what the cluster granted"


def run_together(work: Callable[..., None], number: int, *arguments: Any) -> None:
    """Call `work(processes, *arguments)` in `number` new processes and wait; if one fails, or we do, all end.

    Args:
        work: a function of a module, with arguments that can be pickled.
        number: of processes.
        arguments: the same for all.

    Raises:
        UserError: what the first failed process has to say, or how it ended.
    """
    with tempfile.TemporaryDirectory(prefix="lapwing-") as folder:
        start = (number, Path(folder), work, arguments)
        before = multiprocessing.active_children()
        try:
            context = spawn(_take_part, start, nprocs=number, join=False)  # type: ignore[no-untyped-call,unused-ignore]
            while not context.join():
                pass
        except ProcessException as error:
            raise UserError(_why_it_ended(context, error, _sentence(Path(folder)))) from error
        finally:  # also where this process is asked to end, be it before all of them have begun
            for process in set(multiprocessing.active_children()).difference(before):
                process.terminate()
                process.join()


def _take_part(rank: int, number: int, folder: Path, work: Callable[..., None], arguments: Any) -> None:
    """The life of one process."""
    configure_logging(logging.WARNING if rank else logging.INFO)
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    meeting = f"file://{folder / 'meeting'}"
    dist.init_process_group(backend, init_method=meeting, rank=rank, world_size=number, timeout=PATIENCE)
    try:
        work(Processes(rank, number), *arguments)
    except UserError as error:
        _say(folder, str(error))
        raise
    except Exception as error:
        _say(folder, f"{_called(rank, number)} failed: {in_one_sentence(error).rstrip('.')}.")
        raise
    dist.destroy_process_group()


def _called(rank: int, number: int) -> str:
    return f"process {rank + 1} of the {number} of this training job"


def _sentence(folder: Path) -> Path:
    """Where the process that fails first leaves why."""
    return folder / "sentence"


def _say(folder: Path, sentence: str) -> None:
    """Leave why this process fails, unless another said so before, and this one lost it."""
    with contextlib.suppress(FileExistsError), _sentence(folder).open("x", encoding="utf-8") as file:
        file.write(sentence)


ENDED_BY_OTHERS = (signal.SIGTERM, signal.SIGABRT)
"""How a process ends that we end, and one that loses the connection to another within an exchange."""


def _why_it_ended(context: ProcessContext, error: ProcessException, sentence: Path) -> str:
    """One sentence about the process that failed first; the others failed because of it, or we ended them."""
    codes = [process.exitcode or 0 for process in context.processes]
    killed = [rank for rank, code in enumerate(codes) if code < 0 and -code not in ENDED_BY_OTHERS]
    if sentence.is_file() and not killed:
        return sentence.read_text(encoding="utf-8")
    rank = killed[0] if killed else error.error_index
    name = _called(rank, len(codes))
    if codes[rank] < 0:
        ended = signal.Signals(-codes[rank]).name
        return f"{name} was ended by {ended}; start the job again, it goes on at its last whole epoch."
    return f"{name} failed: {str(error).strip().splitlines()[-1]}."
