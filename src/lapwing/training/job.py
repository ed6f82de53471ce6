"""A training job: the runs of a part, from what was finished before, from checkpoints, or from the start."""

from __future__ import annotations

import logging
import time
from collections.abc import Hashable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import torch
from torch import Tensor

from lapwing import files
from lapwing.errors import UserError
from lapwing.files import Array
from lapwing.methods import methods
from lapwing.methods.base import Method, check_processes
from lapwing.models import models
from lapwing.schema import validate
from lapwing.training.data import (
    Replica,
    TestData,
    TrainingData,
    flags_problem,
    index_problem,
    target_problem,
    widest_stack,
)
from lapwing.training.distributed import ALONE, Processes, check_gpus, run_together
from lapwing.training.engine import Training, below
from lapwing.training.finished import Checkpoint, FinishedRun, FinishedRuns, data_digest, run_key
from lapwing.training.gpus import gpus_of_job
from lapwing.training.metrics import History, extended, metrics_table, sources_table
from lapwing.training.origin import Cache, Counting, Origin, origins_of
from lapwing.training.precision import DTYPES, deterministic
from lapwing.training.provenance import Environment, Spent, about_run
from lapwing.training.resident import Rows
from lapwing.training.settings import (
    ENGINE_VERSION,
    Device,
    RunSettings,
    TrainingSettings,
    check_augmentation,
)
from lapwing.training.stack import Build, build_replica, choose_backend, has_convolutions

log = logging.getLogger(__name__)

OF_AN_ARTEFACT = {"index", "targets", "source", "is_corrupt_source", "is_corrupted"}
"""The arrays that every corruption artefact holds."""


@dataclass(frozen=True)
class Cell:
    """A cell with its seeds, as a part names it."""

    axes: Mapping[str, Any]
    settings: RunSettings
    seeds: Sequence[int]

    def __str__(self) -> str:
        return " ".join(str(value) for value in self.axes.values())


@dataclass(frozen=True)
class Trainee:
    """Everything that a stack of runs is trained from."""

    settings: TrainingSettings
    rows: Rows
    test_rows: Rows
    test_targets: Array | Mapping[int, Array]
    """Of all test rows; by seed where each seed tests on rows of its own."""
    replicas: Mapping[int, Replica]
    """By seed."""
    test_index: Mapping[int, Array] | None = None
    """By seed, where each seed tests on rows of its own."""
    classes: int | None = None
    train_targets: Array | None = None
    """The true ones of all rows; the targets of a replica's meta set."""
    left_aside: Mapping[int, Replica] = field(default_factory=dict)
    """By seed, what the study leaves aside for validation; empty where it leaves nothing."""
    groups: Mapping[str, Sequence[int]] = field(default_factory=dict)
    """Name → classes whose accuracy is measured apart."""


@dataclass
class Progress:
    """What a stack of runs has measured so far."""

    history: History = field(default_factory=dict)
    seconds: float = 0.0
    resumed: int = 0
    """The epoch (1-based) after which it went on; 0: it began anew."""
    origins: Sequence[Origin] = ()
    """Where it was trained, in order; here it is the last."""


def train_part(
    cells: Sequence[Mapping[str, Any]],
    data: Iterable[Path],
    corrupted: Sequence[Path],
    finished: Path,
    out: Mapping[str, Path],
    *,
    device: Device = "auto",
    processes: int = 1,
    deterministic: bool = False,
    cache: Mapping[str, bool] | None = None,
) -> None:
    """Train the runs of a part that were not trained before, and write what all of them measured.

    Args:
        cells: `{"axes": {…}, "settings": RunSettings, "seeds": […]}` each.
        data: prepared files; each says which dataset it holds.
        corrupted: the corruption artefacts of all cells and seeds.
        finished: the folder of finished runs.
        out: where `metrics`, `sources` (parquet) and `runs` (JSON) go.
        device: what the networks are on.
        processes: that train each run together, one GPU each (`lapwing.training.distributed`).
        deterministic: only operations that give the same bits every time on the same device.
        cache: `{"other_machine", "other_lock"}`: whether what was trained elsewhere counts; None: all does.

    Raises:
        UserError: an input is missing, damaged, or belongs to something else; several processes cannot train
            with a method; one of them failed; a GPU is not there; or an operation is not deterministic.
    """
    asked = [
        Cell(cell["axes"], validate(RunSettings, cell["settings"], "cell"), cell["seeds"]) for cell in cells
    ]
    prepared = {files.read_about(path)["dataset"]: path for path in data}
    artefacts = {
        (about["key"], about["seed"]): path for path in corrupted for about in [files.read_about(path)]
    }
    for cell in asked:
        check_processes(cell.settings.training, processes, str(cell))
    accepted = validate(Cache, cache or {}, "cache")
    part = Part(asked, prepared, artefacts, finished, out, device, deterministic, accepted)
    with nullcontext() if device == "cpu" else gpus_of_job(processes):
        if device == "cuda" or (device == "auto" and processes > 1):
            check_gpus(processes)
        if processes == 1:
            _work(ALONE, part)
        else:
            run_together(_work, processes, part)


@dataclass(frozen=True)
class Part:
    """What `train_part` was asked for, as each of its processes has it."""

    cells: Sequence[Cell]
    prepared: Mapping[str, Path]
    """By dataset."""
    artefacts: Mapping[tuple[str, int], Path]
    """By corruption and seed."""
    finished: Path
    out: Mapping[str, Path]
    device: Device
    deterministic: bool
    cache: Cache


class Start(NamedTuple):
    """What the first process of several says when a stack begins: which it is, and where it stands."""

    cell: Cell
    seeds: Sequence[int]
    state: Mapping[str, Tensor]
    counters: Mapping[str, Any]


def _work(processes: Processes, part: Part) -> None:
    """What a process of the job does."""
    torch.set_num_threads(1)  # small models are several times slower with two
    with deterministic(part.deterministic):
        environment = Environment.here(part.device, processes)
        if processes.first:
            log.info("trains on %s", environment.devices)
            _lead(part, environment)
        else:
            _follow(part, environment)


def _follow(part: Part, environment: Environment) -> None:
    """Train what the first process says, step by step beside it, and keep nothing."""
    held: tuple[Cell, Trainee] | None = None
    while (start := environment.processes.told_by_first()) is not None:
        if held is None or held[0] != start.cell:
            held = None  # the data of one cell make room for those of the next
            inputs = _Inputs(start.cell, part.prepared, part.artefacts)
            held = start.cell, inputs.read(start.cell.seeds)
        _train_along(held[1], start, environment)


def _train_along(trainee: Trainee, start: Start, environment: Environment) -> None:
    """Train one stack beside the first process; all of it is let go of at the end."""
    training, held_out = prepare(trainee, start.seeds, environment.device, environment.processes)
    training.load(start.state, start.counters)
    while not training.ended:
        training.train_epoch(held_out.test, held_out.validation)


def _lead(part: Part, environment: Environment) -> None:
    """Train the runs, with the other processes where there are any, and write what they measured."""
    tables: dict[str, list[pd.DataFrame]] = {"metrics": [], "sources": []}
    runs, cells = [], []
    counting = Counting(environment.origin, part.cache)
    for cell in part.cells:
        inputs = _Inputs(cell, part.prepared, part.artefacts)
        store = FinishedRuns(part.finished, run_key(cell.settings, data_digest(inputs.data)), counting)
        cells.append({"axes": dict(cell.axes), "seeds": list(cell.seeds), "key": store.key})
        for seed, run in train_cell(cell, inputs, store, environment).items():
            columns = {**cell.axes, "seed": seed}
            tables["metrics"].append(run.metrics.assign(**columns)[[*columns, *run.metrics.columns]])
            tables["sources"].append(run.sources.assign(**columns)[[*columns, *run.sources.columns]])
            runs.append({**columns, **run.about})
    environment.processes.told_by_first(None)
    for name, found in tables.items():
        files.write_table(part.out[name], pd.concat(found, ignore_index=True), {"cells": cells})
    files.write_json(part.out["runs"], runs, {"cells": cells})


class _Inputs:
    """The files behind a cell; they are read only if a run must be trained."""

    def __init__(
        self, cell: Cell, prepared: Mapping[str, Path], artefacts: Mapping[tuple[str, int], Path]
    ) -> None:
        corruption = cell.settings.corruption
        self.cell = cell
        self.data = _needed(
            prepared, corruption.dataset, f"{cell}: the prepared data of {corruption.dataset}"
        )
        self.artefacts = {
            seed: _needed(
                artefacts, (corruption.key, seed), f"{cell}: the corruption {corruption.key} of seed {seed}"
            )
            for seed in cell.seeds
        }

    def read(self, seeds: Sequence[int]) -> Trainee:
        """The data, checked to belong together."""
        prepared, about = files.read_arrays(self.data)
        digest = files.content_hash(self.data)
        classes = about["classes"] if about["task"] == "classification" else None
        replicas, left_aside, test_index, test_targets = {}, {}, {}, {}
        for seed in seeds:
            arrays, decided = files.read_arrays(self.artefacts[seed])
            if decided["data"] != digest:
                raise UserError(
                    f"{self.artefacts[seed]} was made from other data than {self.data}; "
                    "delete it and start again, it will be made anew."
                )
            lacking = ", ".join(sorted(OF_AN_ARTEFACT - arrays.keys()))
            _refuse(self.artefacts[seed], f"it holds no {lacking}" if lacking else None)
            _refuse(self.artefacts[seed], flags_problem(arrays))
            replica = Replica.from_artefact(arrays, decided)
            if (aside := Replica.left_aside(arrays, decided)) is not None:
                left_aside[seed] = aside
            for decisions in filter(None, (replica, aside)):
                _refuse(self.artefacts[seed], decisions.problem(len(prepared["train/targets"]), classes))
            replicas[seed] = self._trained_on(replica, arrays)
            if "test_index" in arrays:
                test_index[seed], test_targets[seed] = arrays["test_index"], arrays["test_targets"]
                of_all = len(prepared[f"{decided['test_rows']}/targets"])
                _refuse(self.artefacts[seed], index_problem("test row", test_index[seed], of_all))
                number = test_index[seed].size
                _refuse(self.artefacts[seed], target_problem(test_targets[seed], number, classes))
        part = decided["test_rows"]
        targets = prepared[f"{part}/targets"]
        _refuse(self.data, target_problem(targets, len(prepared[f"{part}/inputs"]), classes))
        rows = {
            split: Rows(
                prepared[f"{split}/inputs"],
                scale=about["scale"],
                normalisation=about.get("normalisation"),
                vocabulary=about.get("vocabulary"),
            )
            for split in {"train", part}
        }
        return Trainee(
            settings=self.cell.settings.training,
            rows=rows["train"],
            test_rows=rows[part],
            test_targets=test_targets or targets,
            replicas=replicas,
            left_aside=left_aside,
            groups=about.get("groups", {}),
            test_index=test_index or None,
            classes=classes,
            train_targets=prepared["train/targets"],
        )

    def _trained_on(self, replica: Replica, arrays: Mapping[str, Array]) -> Replica:
        if self.cell.settings.train_on == "clean_sources":
            return replica.of_clean_sources(arrays["is_corrupted"])
        return replica


def _refuse(path: Path, problem: str | None) -> None:
    """A file that is whole, and says what cannot be."""
    if problem:
        raise UserError(f"{path}: {problem}; delete it and start again, it will be made anew: rm {path}")


def _needed(known: Mapping[Any, Path], key: Any, what: str) -> Path:
    if key not in known:
        raise UserError(f"{what} is not among the files of this job.")
    return known[key]


# -- a cell ----------------------------------------------------------------------------------------


def train_cell(
    cell: Cell, inputs: _Inputs, store: FinishedRuns, environment: Environment
) -> dict[int, FinishedRun]:
    """All runs of a cell by seed, in the order asked for; those not finished are trained."""
    runs = _finished(cell.seeds, store)
    with store.locked([seed for seed in cell.seeds if seed not in runs]):
        runs |= _finished([seed for seed in cell.seeds if seed not in runs], store)  # while we waited
        log.info("%s: %d of %d runs were finished before", cell, len(runs), len(cell.seeds))
        _say_what_varies(cell, runs)
        pending = [seed for seed in cell.seeds if seed not in runs]
        if pending:
            trainee = inputs.read(pending)
            for seeds, checkpoint in _stacks(trainee, pending, store, environment.device):
                runs |= _train_stack(cell, trainee, seeds, checkpoint, store, environment)
        store.forget_checkpoints()
    return {seed: runs[seed] for seed in cell.seeds}


def _finished(seeds: Sequence[int], store: FinishedRuns) -> dict[int, FinishedRun]:
    """Those that are finished and count."""
    found = {seed: store.read(seed) for seed in seeds}
    return {seed: _found(run, store.counting) for seed, run in found.items() if run is not None}


def _say_what_varies(cell: Cell, found: Mapping[int, FinishedRun]) -> None:
    """A run counts that was finished without what is asked for now; the log says so."""
    if torch.are_deterministic_algorithms_enabled():
        without = [seed for seed, run in found.items() if not run.about.get("deterministic")]
        if without:
            log.info("%s: seeds %s were finished without deterministic: true, and count", cell, without)


def _found(run: FinishedRun, counting: Counting) -> FinishedRun:
    words = {"trained": "found finished", "elsewhere": counting.elsewhere(run.about)}
    return FinishedRun(run.metrics, run.sources, {**run.about, **words})


def _stacks(
    trainee: Trainee, pending: Sequence[int], store: FinishedRuns, device: torch.device
) -> list[tuple[list[int], Checkpoint | None]]:
    """Which seeds train together, no more than architecture and memory want, and where they go on."""
    groups: list[tuple[list[int], Checkpoint | None]] = [
        (seeds, checkpoint) for checkpoint, seeds in store.checkpoints(pending)
    ]
    resumed = {seed for seeds, _ in groups for seed in seeds}
    groups += [(seeds, None) for seeds in _alike(trainee, [seed for seed in pending if seed not in resumed])]
    width = stack_width(trainee, device)
    return [
        (seeds[start : start + width], checkpoint)
        for seeds, checkpoint in groups
        for start in range(0, len(seeds), width)
    ]


def _alike(trainee: Trainee, seeds: Sequence[int]) -> list[list[int]]:
    """Seeds that can share a stack, as far as the method asks."""
    method: type[Method] = methods.get(trainee.settings.method.name)
    groups: dict[Hashable, list[int]] = {}
    for seed in seeds:
        groups.setdefault(method.alike(trainee.replicas[seed]), []).append(seed)
    return list(groups.values())


def stack_width(trainee: Trainee, device: torch.device) -> int:
    """How many seeds train together at most."""
    settings = trainee.settings
    _, stacks = choose_backend(build_replica(builder(trainee), 0, 0), device)
    if not (stacks and methods.get(settings.method.name).stacks):
        return 1
    replica = next(iter(trainee.replicas.values()))
    aside = next(iter(trainee.left_aside.values()), None)
    return widest_stack(trainee.rows, replica, settings.layout, DTYPES[settings.precision], aside)


def builder(trainee: Trainee) -> Build:
    """What builds the network of these settings."""
    settings = trainee.settings.model
    model = models.get(settings.name)
    options = validate(model.Options, settings.options, f"options of {settings.name}")
    _check_version(f"model {settings.name}", settings.version, model.version)
    if model.tokens and trainee.rows.vocabulary is None:
        raise UserError(f"model {settings.name} reads words, and the data do not say how many there are.")
    words = (trainee.rows.vocabulary,) if model.tokens else ()
    return lambda: model.build(options, trainee.rows.shape, trainee.classes or 1, *words)


def _check_version(what: str, asked: int, here: int) -> None:
    """A checkout may have been updated since the job was planned: its numbers would stand under old keys."""
    if asked != here:
        raise UserError(f"{what}: the settings ask for version {asked}, and this Lapwing has version {here}.")


# -- a stack ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class HeldOut:
    """What a stack of runs is evaluated on."""

    test: TestData
    validation: TrainingData | None = None
    """What the study leaves aside, corrupted as a training set of its own; labels of every step are true."""


def prepare(
    trainee: Trainee, seeds: Sequence[int], device: torch.device, processes: Processes = ALONE
) -> tuple[Training, HeldOut]:
    """Bring the data of some seeds to the device and build their networks."""
    settings, build = trainee.settings, builder(trainee)
    _check_version("engine", settings.engine, ENGINE_VERSION)
    check_augmentation(settings.augmentation, trainee.rows.shape, "these inputs")
    network = build_replica(build, 0, 0)
    backend, _ = choose_backend(network, device)
    dtype = DTYPES[settings.precision]
    places: dict[str, Any] = {
        "dtype": dtype,
        "device": device,
        "channels_last": has_convolutions(network) and (device.type == "cpu" or backend == "loop"),
    }
    replicas = [trainee.replicas[seed] for seed in seeds]
    data = TrainingData(trainee.rows, replicas, layout=settings.layout, **places)
    held_out = _held_out(trainee, seeds, places)
    kind = methods.get(settings.method.name)
    _check_version(f"method {settings.method.name}", settings.method.version, kind.version)
    hyperparameters = validate(
        kind.Hyperparameters, settings.method.options, f"options of {settings.method.name}"
    )
    meta = _meta_set(trainee, replicas, places)
    method = kind(hyperparameters)
    training = Training(
        settings,
        method,
        build,
        seeds,
        data,
        classes=trainee.classes,
        backend=backend,
        meta=meta,
        groups=trainee.groups,
        processes=processes,
    )
    return training, held_out


def _held_out(trainee: Trainee, seeds: Sequence[int], places: Mapping[str, Any]) -> HeldOut:
    index = None if trainee.test_index is None else [trainee.test_index[seed] for seed in seeds]
    targets = trainee.test_targets
    of_each = [targets[seed] for seed in seeds] if isinstance(targets, Mapping) else [targets]
    test = TestData(trainee.test_rows, of_each, index, **places)
    aside = [trainee.left_aside[seed] for seed in seeds if seed in trainee.left_aside]
    return HeldOut(test, TrainingData(trainee.rows, aside, layout="mixed", **places) if aside else None)


def _meta_set(
    trainee: Trainee, replicas: Sequence[Replica], places: Mapping[str, Any]
) -> TrainingData | None:
    """The clean samples that the artefacts set aside; None where one of them does not."""
    targets, clean = trainee.train_targets, []
    for replica in replicas:
        if replica.meta_index is None or targets is None:
            return None
        clean.append(Replica(replica.seed, replica.meta_index, targets[replica.meta_index]))
    return TrainingData(trainee.rows, clean, layout="mixed", **places)


def _train_stack(
    cell: Cell,
    trainee: Trainee,
    seeds: Sequence[int],
    checkpoint: Checkpoint | None,
    store: FinishedRuns,
    environment: Environment,
) -> dict[int, FinishedRun]:
    training, held_out, progress = _begun(trainee, seeds, checkpoint, store, environment)
    if progress.resumed:
        log.info("%s: seeds %s go on after epoch %d", cell, list(seeds), progress.resumed)
    if not environment.processes.alone:
        state = {name: tensor.cpu() for name, tensor in training.state().items()}
        environment.processes.told_by_first(Start(cell, seeds, state, training.counters()))
    while not training.ended:
        train_one_epoch(training, held_out, progress, str(cell))
        # after the last epoch too: a kill while the runs are written loses none
        save(store, training, progress)
    runs, spent = {}, Spent(progress.seconds, progress.resumed, progress.origins)
    for row, seed in enumerate(seeds):
        about = about_run(cell.settings, store.key, training, row, environment, spent)
        runs[seed] = finished_run(training, progress, row, trainee.replicas[seed].is_corrupt_source, about)
        store.write(seed, runs[seed])
    return runs


def _begun(
    trainee: Trainee,
    seeds: Sequence[int],
    checkpoint: Checkpoint | None,
    store: FinishedRuns,
    environment: Environment,
) -> tuple[Training, HeldOut, Progress]:
    """A stack where its checkpoint is; one that does not fit is set aside, and the stack begins anew."""
    where = environment.device, environment.processes
    training, held_out = prepare(trainee, seeds, *where)
    anew = Progress(origins=[store.counting.here])
    if checkpoint is None:
        return training, held_out, anew
    try:
        return training, held_out, resume(training, checkpoint, store.counting.here)
    except (LookupError, RuntimeError, TypeError, ValueError) as error:
        store.set_aside(checkpoint.path, error)
        return *prepare(trainee, seeds, *where), anew


def train_one_epoch(training: Training, held_out: HeldOut, progress: Progress, name: str) -> None:
    """Train an epoch, keep what it measured, and say so in the log."""
    start = time.perf_counter()
    before = list(training.diverged)
    measured = training.train_epoch(held_out.test, held_out.validation)
    seconds = time.perf_counter() - start
    progress.history = extended(progress.history, measured)
    progress.seconds += seconds
    shown = {
        key: values[training.alive.cpu()].mean().item()
        for key, values in measured.items()
        if values.ndim == 1
    }
    text = ", ".join(f"{key} {value:.4f}" for key, value in shown.items() if key in _SHOWN)
    log.info("%s: epoch %d of %d: %s, %.2f s", name, training.epoch, training.settings.epochs, text, seconds)
    for seed, old, new in zip(training.seeds, before, training.diverged, strict=True):
        if new is not None and old is None:
            log.warning("%s: seed %d diverged in epoch %d, step %d; it stops there", name, seed, *new)


_SHOWN = ("train/loss", "train/top_1", "test/loss", "test/top_1")


def finished_run(
    training: Training, progress: Progress, row: int, is_corrupt: Array | None, about: dict[str, Any]
) -> FinishedRun:
    """What one replica measured in its whole epochs."""
    ended = training.diverged[row]
    epochs = training.epoch if ended is None else ended[0] - 1
    metrics = metrics_table(progress.history, row, epochs)
    steps = training.steps // max(training.epoch, 1)
    return FinishedRun(metrics, sources_table(progress.history, row, epochs, is_corrupt, steps), about)


def save(store: FinishedRuns, training: Training, progress: Progress) -> None:
    """Checkpoint a stack at the end of an epoch: one file."""
    arrays = {f"state/{name}": t.detach().cpu().numpy() for name, t in training.state().items()}
    arrays |= {f"history/{name}": values for name, values in progress.history.items()}
    shared = {"counters": training.counters(), "diverged": training.diverged, "seconds": progress.seconds}
    shared["origins"] = [asdict(origin) for origin in progress.origins]
    store.save(training.seeds, arrays, shared)


def resume(training: Training, checkpoint: Checkpoint, here: Origin) -> Progress:
    """Put a new training where the checkpoint of its seeds, or of more seeds, is."""
    arrays = checkpoint.of(training.seeds)
    state = {name: torch.from_numpy(a) for name, a in below("state/", arrays).items()}
    training.load(state, checkpoint.about["counters"])
    ended = dict(zip(checkpoint.seeds, checkpoint.about["diverged"], strict=True))
    training.diverged = [None if ended[seed] is None else tuple(ended[seed]) for seed in training.seeds]
    share = len(training.seeds) / len(checkpoint.seeds)
    seconds = checkpoint.about["seconds"] * share
    origins = list(dict.fromkeys([*origins_of(checkpoint.about), here]))
    return Progress(dict(below("history/", arrays)), seconds, training.epoch, origins)
