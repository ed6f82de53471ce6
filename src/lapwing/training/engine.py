"""The trainer: K runs of one cell side by side; nothing in a step waits for the device."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from lapwing.methods.base import Batch, Method, Term
from lapwing.training.augmentation import HorizontalFlip
from lapwing.training.data import Arranged, Evaluated, TrainingData
from lapwing.training.distributed import ALONE, Processes
from lapwing.training.metrics import (
    evaluation_sums,
    mean_objective,
    of_groups,
    train_metrics,
    two_class_metrics,
)
from lapwing.training.optimisers import StackedOptimiser, maker, options_of
from lapwing.training.precision import DTYPES, products_in
from lapwing.training.randomness import generator
from lapwing.training.settings import TrainingSettings
from lapwing.training.stack import Backend, Build, Stack

Value = TypeVar("Value")


@dataclass
class _Log:
    """What the steps of an epoch leave on the device; it is read once, at the end."""

    losses: list[Tensor] = field(default_factory=list)
    """[K, B] per step."""
    correct: list[Tensor] = field(default_factory=list)
    """[K, B] bool per step; none for regression."""
    sources: list[Tensor] = field(default_factory=list)
    """[K, B] per step; none where samples have no source."""
    objectives: list[list[Tensor]] = field(default_factory=list)
    """[K] per network and step."""
    sizes: list[int] = field(default_factory=list)
    """Of each step, how many samples this process counts."""
    records: list[tuple[int, Tensor, Tensor]] = field(default_factory=list)
    """Step, unreliability and multiplier [K, S] where `record_every` asks for them."""


class Training:
    """K runs of one cell while they train. It is also what a method sees: it holds no truth about corruption.

    Attributes:
        replicas: K.
        seeds: of each replica.
        networks: the stacks of networks, one for most methods.
        optimisers: one for each network.
        epoch: 0-based; epochs trained so far when none is under way.
        steps: taken so far.
        classes: None for regression.
        samples: N, training positions.
        sources: S, 0 where samples have no source.
        processes: those that share every batch; most trainings have one.
        alive: [K] bool; false once a replica has diverged.
        diverged: for each replica None, or the epoch and the step in it (both 1-based) that ended it; the
            last step where the test showed it.
    """

    def __init__(
        self,
        settings: TrainingSettings,
        method: Method,
        build: Build,
        seeds: Sequence[int],
        data: TrainingData,
        *,
        classes: int | None,
        backend: Backend = "loop",
        meta: TrainingData | None = None,
        groups: Mapping[str, Sequence[int]] | None = None,
        processes: Processes = ALONE,
    ) -> None:
        self.settings, self.method, self.data, self.meta = settings, method, data, meta
        self.processes = processes
        members = {name: list(classes) for name, classes in (groups or {}).items()}
        self._groups = {name: torch.tensor(m, device=data.device) for name, m in members.items()}
        self.seeds, self.replicas, self.classes = list(seeds), len(seeds), classes
        self.samples, self.sources = data.samples, data.sources
        self.device, self.dtype = data.device, DTYPES[settings.precision]
        self.networks = [
            Stack(
                build,
                seeds,
                network=n,
                backend=backend,
                dtype=self.dtype,
                device=self.device,
                autocast=settings.precision == "bf16",
                processes=processes,
            )
            for n in range(method.networks)
        ]
        make = maker(settings.optimiser)
        self.optimisers = [StackedOptimiser(network.parameters.values(), make) for network in self.networks]
        self.epoch = self.steps = 0
        self.alive = torch.ones(self.replicas, dtype=torch.bool, device=self.device)
        self.diverged: list[tuple[int, int] | None] = [None] * self.replicas
        self._all_alive = True
        self._ones = torch.ones(self.replicas, dtype=self.dtype, device=self.device)
        self._positions = torch.arange(self.samples, device=self.device).expand(self.replicas, -1)
        self._in_order: list[Batch] | None = None
        flips = settings.augmentation == "horizontal_flip"
        self._flip = HorizontalFlip(seeds, self.device) if flips else None
        self._log = _Log()
        method.setup(self)

    # -- data --------------------------------------------------------------------------------------

    def batches(self, members: Tensor | None = None, purpose: str = "order") -> Iterator[Batch]:
        """All batches of an epoch, in the order of the layout.

        Args:
            members: [K, n] positions to go through, equally many for each replica; None: all.
            purpose: names the shuffle, for methods that go through the data in several ways.
        """
        sliced = isinstance(self.data.inputs, Arranged) and not self.data.redraws and self._flip is None
        if members is None and self.data.layout == "blocks" and sliced:
            if self._in_order is None:
                self._in_order = list(self._sliced())
            return iter(self._in_order)
        members = self._positions if members is None else members
        if self.data.layout == "mixed":
            members = members.gather(1, self._permutations(members.shape[1], purpose, self.epoch))
        if self.data.layout == "balanced":
            members = self.data.drawn_evenly(members, self._uniform(members.shape[1], purpose))
        size, targets = self.settings.batch_size, self._redrawn(members, purpose)
        return map(self._augmented, self._gathered(self.data, members, size, targets, self.processes))

    def _augmented(self, batch: Batch) -> Batch:
        """A batch to learn from, its inputs as the settings change them."""
        if self._flip is None:
            return batch
        return replace(batch, inputs=self._flip(batch.inputs, self.epoch, batch.index))

    def meta_batch(self, size: int) -> Batch:
        """`size` clean samples; which, is a function of seed and step only."""
        if self.meta is None:
            raise ValueError("this training has no meta set")
        size = min(size, self.meta.samples)
        turn, place = divmod(self.steps, self.meta.samples // size)
        order = self._permutations(self.meta.samples, "meta", turn)
        return next(self._gathered(self.meta, order[:, place * size : (place + 1) * size], size))

    def full_pass(self, network: int = 0) -> Iterator[tuple[Batch, Any]]:
        """Every training sample in order of position, with the outputs of a network in evaluation."""
        redrawn = self._redrawn(self._positions, "full pass")
        for batch in self._gathered(self.data, self._positions, self.settings.batch_size, redrawn):
            with self._evaluating():
                outputs = self.networks[network](batch.inputs)
            yield batch, outputs

    def _permutations(self, number: int, purpose: str, turn: int) -> Tensor:
        orders = [torch.randperm(number, generator=generator(seed, purpose, turn)) for seed in self.seeds]
        return torch.stack(orders).to(self.device)

    def _uniform(self, number: int, purpose: str) -> Tensor:
        """[K, 2, number] numbers of [0, 1): a function of seed, purpose and epoch."""
        streams = [generator(seed, purpose, self.epoch) for seed in self.seeds]
        drawn = [torch.rand(2, number, generator=stream, dtype=torch.float64) for stream in streams]
        return torch.stack(drawn).to(self.device)

    def _redrawn(self, positions: Tensor, purpose: str) -> Tensor | None:
        """Targets at positions [K, n] where some are drawn anew: a function of seed, purpose and epoch."""
        if not self.data.redraws:
            return None
        number, size = positions.shape[1], self.settings.batch_size
        streams = [generator(seed, "labels", purpose, self.epoch) for seed in self.seeds]
        uniform = torch.stack([torch.rand(number, generator=stream) for stream in streams])
        return self.data.redrawn_targets(positions, size, uniform.to(self.device))

    def _sliced(self) -> Iterator[Batch]:
        """The batches of the layout `blocks`: views that are made once, the same in every epoch."""
        size, processes = self.settings.batch_size, self.processes
        inputs = processes.of_each(cast(Arranged, self.data.inputs).slices(size))
        index = processes.cut(self._positions, size)
        decisions = _batched(self.data.decisions, size, processes)
        shards = processes.shards(self.samples, size)
        # not strict: what is not known comes again and again
        for shard, rows, places, *decided in zip(shards, inputs, index, *decisions):  # noqa: B905
            targets, source, noise_variance = decided
            yield Batch(rows, targets, places, source, noise_variance, shard=shard)

    def _gathered(
        self,
        data: TrainingData,
        positions: Tensor,
        size: int,
        targets: Tensor | None = None,
        processes: Processes = ALONE,
    ) -> Iterator[Batch]:
        """Batches at positions [K, n]; what is small is gathered once, the inputs batch by batch."""
        places = processes.cut(data.inputs.prepare(positions), size)
        decisions = [None if t is None else t.gather(1, positions) for t in data.decisions]
        decisions[0] = decisions[0] if targets is None else targets
        known = processes.cut(positions, size), *_batched(decisions, size, processes)
        shards = processes.shards(positions.shape[1], size)
        # not strict: what is not known comes again and again
        for shard, place, index, target, *decided in zip(shards, places, *known):  # noqa: B905
            source, noise_variance = decided
            yield Batch(data.inputs.gather(place), target, index, source, noise_variance, shard=shard)

    def source_of(self, batch: Batch) -> Tensor:
        """The source ids [K, B] of a batch.

        Raises:
            ValueError: the data have none.
        """
        if batch.source is None:
            raise ValueError("these data have no sources")
        return batch.source

    # -- training ----------------------------------------------------------------------------------

    def sample_losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy on outputs [K, B, C], whatever they are, or squared error on [K, B, 1]: [K, B]."""
        if self.classes is None:
            return (outputs.squeeze(-1) - targets).square()
        classes_first = outputs.movedim(-1, 0).contiguous().unsqueeze(0)  # far faster on a CPU
        return F.cross_entropy(classes_first, targets.unsqueeze(0), reduction="none").squeeze(0)

    def step(self, batch: Batch) -> None:
        """One step of all networks of all replicas; the order of the hooks is the contract's."""
        method = self.method
        for network in self.networks:
            network.shard = batch.shard
        outputs = [method.forward(self, network, batch) for network in self.networks]
        losses = [method.sample_losses(self, output, batch) for output in outputs]
        terms = method.objectives(self, batch, outputs, losses)
        for optimiser in self.optimisers:
            optimiser.clear_gradients()
        share = self._ones if batch.shard is None else self._ones * self.processes.share(batch.shard)
        torch.autograd.backward([term.value for term in terms], [share] * len(terms))
        for network in self.networks:
            self.processes.add_up(p.grad for p in network.parameters.values() if p.grad is not None)
        detached = [loss.detach() for loss in losses]
        for network, loss in zip(self.networks, detached, strict=True):
            method.edit_gradients(self, batch, network, loss)
        for optimiser, term in zip(self.optimisers, terms, strict=True):
            optimiser.step(self._active(term))
        method.after_step(self, batch, outputs, detached)
        self.steps += 1
        self._record(batch, method.predictions(outputs[0]), detached[0], terms)

    def _active(self, term: Term) -> Tensor | None:
        if self._all_alive:
            return term.active
        return self.alive if term.active is None else term.active & self.alive

    def _record(self, batch: Batch, predictions: Tensor, losses: Tensor, terms: Sequence[Term]) -> None:
        """Keep what the metrics of the epoch need; nothing is computed that can wait."""
        log = self._log
        log.objectives.append([term.value.detach() for term in terms])
        counts = self.processes.counts(batch.shard)
        log.sizes.append(losses.shape[1] if counts else 0)
        if counts:
            log.losses.append(losses)
            if self.classes is not None:
                log.correct.append(predictions.detach().contiguous().argmax(-1) == batch.targets)
            if batch.source is not None:
                log.sources.append(batch.source)
        every = self.settings.record_every
        if every and self.steps % every == 0 and (found := self.method.source_diagnostics()) is not None:
            log.records.append((self.steps, found.unreliability.clone(), found.multiplier.clone()))

    def train_epoch(self, test: Evaluated, validation: Evaluated | None = None) -> dict[str, Tensor]:
        """Train one epoch, then test, and validate on what is left aside for it.

        Returns:
            Metric → [K], [K, S] for those of the sources, or [K, R, S] for R records within the epoch, on the
            host: the only wait for the device.
        """
        for optimiser in self.optimisers:
            optimiser.set_options(self._options())
        self.forget_measurements()
        with products_in(self.settings.precision):
            self.method.on_epoch_start(self)
            self.method.run_epoch(self)
            self.method.on_epoch_end(self)
        measured = {**self._train_metrics(), **self.evaluate(test), **self._source_metrics()}
        if validation is not None:
            measured |= self.evaluate(validation, "validation")
        self._stop_diverged([measured[name] for name in ("test/loss", "validation/loss") if name in measured])
        self.epoch += 1
        return {name: values.detach().to("cpu", torch.float64) for name, values in measured.items()}

    @property
    def ended(self) -> bool:
        """Whether there is nothing left to train; waits for the device."""
        return self.epoch >= self.settings.epochs or not bool(self.alive.any())

    def forget_measurements(self) -> None:
        """Drop what steps left to be measured, for who calls `step` without `train_epoch`."""
        self._log = _Log()

    def _options(self) -> dict[str, Any]:
        settings = self.settings
        return options_of(settings.optimiser, settings.schedule, self.epoch, settings.epochs)

    def _stop_diverged(self, evaluated: Sequence[Tensor]) -> None:
        """Freeze replicas with an objective or an evaluated loss [K] that is not finite; remember where."""
        steps = [torch.stack(values).isfinite().all(0) for values in self._log.objectives]
        finite = self.processes.everywhere(torch.stack([*steps, *(loss.isfinite() for loss in evaluated)]))
        first = finite.long().cumprod(0).sum(0).clamp(max=max(len(steps) - 1, 0))
        self.alive &= finite.all(0)
        self._all_alive = bool(self.alive.all())
        if self._all_alive:
            return
        for row, (alive, step) in enumerate(zip(self.alive.tolist(), first.tolist(), strict=True)):
            if not alive and self.diverged[row] is None:
                self.diverged[row] = (self.epoch + 1, step + 1)

    # -- measuring ---------------------------------------------------------------------------------

    def _train_metrics(self) -> dict[str, Tensor]:
        """Those of all steps; NaN where the method took none."""
        log, nothing = self._log, torch.empty(self.replicas, 0, dtype=self.dtype, device=self.device)
        losses = torch.cat([nothing, *log.losses], 1)
        correct = torch.cat([nothing.bool(), *log.correct], 1) if self.classes is not None else None
        source = torch.cat([nothing.long(), *log.sources], 1) if self.sources else None
        found = train_metrics(losses, correct, source, self.sources, self.processes)
        objectives = torch.cat([nothing, *(first.unsqueeze(1) for first, *_ in log.objectives)], 1)
        sizes = torch.tensor(log.sizes, device=self.device)
        return {**found, "train/objective": mean_objective(objectives, sizes, self.processes)}

    def _source_metrics(self) -> dict[str, Tensor]:
        found = self.method.source_diagnostics()
        if found is None:
            return {}
        metrics = {"source/unreliability": found.unreliability, "source/multiplier": found.multiplier}
        if self._log.records:
            steps, unreliability, multiplier = zip(*self._log.records, strict=True)
            at = torch.tensor(steps, device=self.device).expand(self.replicas, -1)
            metrics |= {
                "record/step": at,
                "record/unreliability": torch.stack(unreliability, 1),
                "record/multiplier": torch.stack(multiplier, 1),
            }
        return metrics

    @contextlib.contextmanager
    def _evaluating(self) -> Iterator[None]:
        """All networks in evaluation, and no gradients."""
        with contextlib.ExitStack() as modes, torch.no_grad(), products_in(self.settings.precision):
            for network in self.networks:
                modes.enter_context(network.evaluating())
            yield

    def evaluate(self, data: Evaluated, split: str = "test") -> dict[str, Tensor]:
        """Loss and accuracies [K] of what the method predicts, under names `<split>/<metric>`."""
        with self._evaluating():
            sums, scores = self._summed(data)
        counts = of_groups(data.targets, self._groups)
        found = {name: sums[name] / counts.get(name, data.samples) for name in sums}
        if scores is not None:
            found |= two_class_metrics(scores, data.targets.expand(self.replicas, -1))
        return {f"{split}/{name}": values for name, values in found.items()}

    def _summed(self, data: Evaluated) -> tuple[dict[str, Tensor], Tensor | None]:
        """Sums over samples [K] by metric, and of two classes the outputs [K, M, 2] of all samples."""
        shard = self.processes.shard(data.samples)
        sums: dict[str, Tensor] = {}
        scores = []
        for start, stop in shard.bounds(data.at_once):
            inputs, targets = data.take(self.replicas, start, stop)
            outputs = self.method.predictions(self.method.predict(self, inputs))
            losses = self.sample_losses(outputs, targets)
            for name, values in evaluation_sums(losses, outputs, targets, self.classes, self._groups).items():
                sums[name] = sums[name] + values if name in sums else values
            scores += [outputs] if self.classes == 2 else []
        if not shard.is_whole:
            sums = {name: self.processes.sum(values) for name, values in sums.items()}
        return sums, self.processes.joined(torch.cat(scores, 1), shard) if scores else None

    # -- state -------------------------------------------------------------------------------------

    def state(self) -> dict[str, Tensor]:
        """All that a replica owns, [K, …] each; random streams are functions of the seed: nothing to save."""
        state = self._live()
        for number, optimiser in enumerate(self.optimisers):
            state |= {
                f"network_{number}/optimiser/{parameter}/{what}": tensor
                for parameter, kept in zip(self.networks[number].parameters, optimiser.states(), strict=True)
                for what, tensor in kept.items()
            }
        return state

    def _live(self) -> dict[str, Tensor]:
        """The tensors of replicas, networks and method themselves."""
        live: dict[str, Tensor] = {"alive": self.alive}
        live |= {f"method/{name}": tensor for name, tensor in self.method.state().items()}
        for number, network in enumerate(self.networks):
            live |= {
                f"network_{number}/parameter/{name}": p.detach() for name, p in network.parameters.items()
            }
            live |= {f"network_{number}/buffer/{name}": b for name, b in network.buffers.items()}
        return live

    def counters(self) -> dict[str, Any]:
        """What all replicas share."""
        return {"epoch": self.epoch, "steps": self.steps, "calls": [n.calls for n in self.networks]}

    @torch.no_grad()
    def load(self, state: Mapping[str, Tensor], counters: Mapping[str, Any]) -> None:
        """Go on where another training of the same runs was."""
        self.epoch, self.steps = counters["epoch"], counters["steps"]
        for name, tensor in self._live().items():
            tensor.copy_(state[name].view_as(tensor))  # never broadcast
        for number, (network, optimiser) in enumerate(zip(self.networks, self.optimisers, strict=True)):
            network.calls = counters["calls"][number]
            kept = [below(f"network_{number}/optimiser/{name}/", state) for name in network.parameters]
            optimiser.load(kept)
        self._all_alive = bool(self.alive.all())


def _batched(decisions: Sequence[Tensor | None], size: int, processes: Processes) -> list[Iterable[Any]]:
    """[K, n] each as views [K, B]; None again and again for what is not known: zip cannot be strict then."""
    return [itertools.repeat(None) if t is None else processes.cut(t, size) for t in decisions]


def below(prefix: str, state: Mapping[str, Value]) -> dict[str, Value]:
    """The entries whose names begin with `prefix`, by what follows it."""
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
