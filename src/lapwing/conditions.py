"""What a cell is run under: validation, and the way to settings in which nothing is left open."""

from collections.abc import Iterable, Mapping
from typing import Any

import pydantic
from pydantic import Field

from lapwing.corruption import corruptions
from lapwing.corruption.base import Corruption, CorruptionSettings, Sources, Split
from lapwing.datasets import datasets
from lapwing.datasets.base import Dataset
from lapwing.errors import UserError, did_you_mean
from lapwing.methods import methods
from lapwing.models import models
from lapwing.registry import Registry
from lapwing.results.artefact import Metric
from lapwing.schema import Closed, Name, validate
from lapwing.training.settings import (
    Augmentation,
    Layout,
    Optimiser,
    Precision,
    RunSettings,
    Schedule,
    TrainOn,
    Versioned,
    check_augmentation,
)

Value = str | int | float
Overrides = dict[str, Any]
REGISTRIES: dict[str, Registry] = {"dataset": datasets, "corruption": corruptions, "method": methods}
"""The three axes that every grid has, and where their names are known."""
LARGEST_SEED = 2**32 - 1
OF_TWO_CLASSES = ["auc_pr", "auc_pr_softmax", "auc", "precision", "recall", "f1"]
"""What is measured of two classes beside loss and accuracy, with class 1 as the one that is looked for."""


class Model(Closed):
    """A network architecture and its options."""

    name: Name
    options: Overrides = {}


class Conditions(Closed):
    """What a cell is run under: all that decides its numbers, and how they are read."""

    seeds: list[pydantic.StrictInt] = Field(min_length=1)
    """One run each."""
    split: Split = Split()
    """Which rows are trained on."""
    sources: Sources
    """How many there are, how many of them are corrupt, and who gets which sample."""
    level: float = Field(1.0, ge=0, le=1)
    """Share of a corrupt source's samples that is corrupted."""
    corruptions: dict[Name, Overrides] = {}
    """Options of corruptions that differ from their defaults."""
    layout: Layout
    """`blocks`: a batch is one block of one source, in the same order in every epoch; `mixed`: shuffled;
    `balanced`: drawn with replacement, from every source equally often."""
    batch_size: int = Field(ge=1)
    model: Model
    """The network and its options."""
    methods: dict[Name, Overrides] = {}
    """Hyperparameters of methods that differ from their defaults."""
    optimiser: Optimiser = Optimiser()
    schedule: Schedule = Schedule()
    epochs: int = Field(ge=1)
    precision: Precision = "float32"
    augmentation: Augmentation = "none"
    """What is done to the inputs of training batches: `horizontal_flip` mirrors half of them."""
    train_on: TrainOn = "all_sources"
    """`clean_sources`: the corruption oracle, an upper bound."""
    record_every: int = Field(0, ge=0)
    """Steps between two records of what the method thinks of each source; 0: at the ends of epochs only."""
    metric: Metric
    """What a cell is judged by; results hold every metric."""
    read_from: int = Field(1, ge=1)
    """The first epoch (1-based) that a reading looks at: published values of IDPA are of its second phase."""
    minutes_per_run: float = Field(1.0, gt=0)
    """An estimate, for one core: printed before long runs, and the time that a cluster is asked for."""
    minutes_on_gpu: float | None = Field(None, gt=0)
    """The same on a GPU, where it is much less, and a guess: none was at hand. It counts where `gpu` in
    config.yaml grants one."""

    @pydantic.model_validator(mode="after")
    def _within_the_epochs(self) -> "Conditions":
        for name, epoch in (("read_from", self.read_from), ("schedule.start", self.schedule.start + 1)):
            if epoch > self.epochs:
                raise ValueError(f"{name} is after the last of the {self.epochs} epochs")
        if self.schedule.late_beta is not None and self.optimiser.name != "adam":
            raise ValueError(f"schedule.late_beta belongs to adam, the optimiser is {self.optimiser.name}")
        return self

    @pydantic.field_validator("seeds")
    @classmethod
    def _seeds_are_different(cls, seeds: list[int]) -> list[int]:
        for seed in seeds:
            if not 0 <= seed <= LARGEST_SEED:
                raise ValueError(f"a seed lies between 0 and {LARGEST_SEED}, not {seed}")
            if seeds.count(seed) > 1:
                raise ValueError(f"seed {seed} is listed twice")
        return seeds


def resolve(axes: Mapping[str, Value], conditions: Conditions, where: str) -> RunSettings:
    """The settings of one cell: every default filled in, every version named.

    Raises:
        UserError: a name is not known, or dataset, corruption, model, method and metric do not fit together.
    """
    dataset_name, corruption_name, method_name = (str(axes[axis]) for axis in REGISTRIES)
    dataset, corruption = datasets.get(dataset_name), corruptions.get(corruption_name)
    model, method = models.get(conditions.model.name), methods.get(method_name)
    refuse_unknown(conditions.corruptions, corruptions.names(), f"{where}: corruptions: unknown name")
    refuse_unknown(conditions.methods, methods.names(), f"{where}: methods: unknown name")
    options = _options(corruption.Options, conditions.corruptions, corruption_name, f"{where}: corruptions")
    hyperparameters = _options(method.Hyperparameters, conditions.methods, method_name, f"{where}: methods")
    model_options = validate(model.Options, conditions.model.options, f"{where}: model.options")
    settings = RunSettings(
        corruption=CorruptionSettings(
            dataset=dataset_name,
            dataset_version=dataset.version,
            split=conditions.split,
            sources=conditions.sources,
            name=corruption_name,
            version=corruption.version,
            options=options.model_dump(mode="json"),
            level=conditions.level,
        ),
        model=_versioned(conditions.model.name, model, model_options),
        method=_versioned(method_name, method, hyperparameters),
        layout=conditions.layout,
        batch_size=conditions.batch_size,
        epochs=conditions.epochs,
        optimiser=conditions.optimiser,
        schedule=conditions.schedule,
        precision=conditions.precision,
        augmentation=conditions.augmentation,
        train_on=conditions.train_on,
        record_every=conditions.record_every,
    )
    method.check(hyperparameters, settings, dataset, where)
    try:
        tokens = dataset.inputs == "tokens"
        corruption.check(options, dataset.input_shape, dataset.classes, tokens=tokens)
        model.check(model_options, dataset.input_shape, dataset.task, tokens=tokens)
        _check_data(conditions, dataset_name, dataset)
        check_augmentation(conditions.augmentation, dataset.input_shape, f"inputs of {dataset_name}")
        _check_sources(conditions.sources, corruption, options, dataset)
        check_metric(conditions.metric, dataset)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    return settings


def refuse_unknown(words: Iterable[Value], known: Iterable[Value], problem: str) -> None:
    """Raise a `UserError` about the first word that is not known; names the nearest."""
    known = list(known)
    for word in words:
        if word not in known:
            raise UserError(f"{problem} {word}; {did_you_mean(str(word), map(str, known))}")


def _options(model: type[Closed], given: Mapping[str, Overrides], name: str, where: str) -> Closed:
    return validate(model, given.get(name, {}), f"{where}.{name}")


def _versioned(name: str, entry: Any, options: Closed) -> Versioned:
    return Versioned(name=name, version=entry.version, options=options.model_dump(mode="json"))


def _check_data(conditions: Conditions, name: str, dataset: Dataset) -> None:
    """Whether a dataset has the rows that the conditions take."""
    split, rows = conditions.split, dataset.rows
    if split.kind != "random_rows" and "test" not in rows:
        raise UserError(f"split.kind: {name} has no test rows of its own; use random_rows.")
    train = rows["train"] if split.kind == "given" else int(split.train * rows["train"])
    if conditions.batch_size > train:
        raise UserError(
            f"batch_size: {name} has {train} rows to train on, fewer than a batch ({conditions.batch_size})."
        )


def _check_sources(sources: Sources, corruption: Corruption, options: Closed, dataset: Dataset) -> None:
    """Whether the sources are assigned as the corruption and the dataset need it."""
    name, assignment = corruption.title, sources.assignment
    if corruption.in_blocks(options) and assignment != "blocks":
        raise UserError(
            f"{name} looks at blocks of one source; it needs sources.assignment: blocks (it is {assignment})."
        )
    if (corruption.deal is not None) != (assignment == "dealt"):
        needed = "dealt" if corruption.deal is not None else "blocks, random or given"
        raise UserError(f"sources.assignment: {name} needs {needed} (it is {assignment}).")
    if assignment == "given" and "source" not in dataset.further:
        raise UserError(f"sources.assignment: {dataset.title} does not say who supplied its samples.")
    if dataset.view is not None and assignment != "random":
        raise UserError(
            f"sources.assignment: {dataset.title} brings a source of its own; it needs random "
            f"(it is {assignment})."
        )
    corruption.check_sources(options, sources, dataset.further)


def check_metric(metric: Metric, dataset: Dataset, split: str = "test") -> None:
    """Whether results will hold a metric of a split, and whether it is read the right way round.

    Raises:
        UserError: they will not, or it is read the wrong way round.
    """
    shares = _shares(dataset, split)
    errors = ["loss", "objective"] if split == "train" else ["loss"]
    refuse_unknown([metric.name], [*shares, *errors], "metric.name: unknown metric")
    unit = "percent" if metric.name in shares else "mse" if dataset.task == "regression" else "loss"
    better = "higher" if metric.name in shares else "lower"
    if (metric.better, metric.unit) != (better, unit):
        raise UserError(f"metric: {metric.name} is better {better} and its unit is {unit}.")


def _shares(dataset: Dataset, split: str) -> list[str]:
    """What is measured of a split from 0 to 1."""
    if split == "train":
        return [] if dataset.classes is None else ["top_1"]
    shares = [f"top_{k}" for k in (1, 2, 5) if dataset.classes is not None and k < dataset.classes]
    shares += [f"top_1_of_{group}" for group in dataset.groups]
    return shares + (OF_TWO_CLASSES if dataset.classes == 2 else [])
