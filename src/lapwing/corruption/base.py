"""Who is corrupted and how, for one seed: the artefact holds what is decided, no second copy of the data.

A corruption is one file of this package that holds `CORRUPTION = Corruption(...)`. It changes labels once
(the artefact's `targets`), or it leaves a rule in the artefact's `about`: what is done to a sample
later, as a pure function of the rule and the sample's training position.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field, ValidationInfo, field_validator

from lapwing.corruption import corruptions
from lapwing.corruption.sources import SEED_LIMIT, Assignment, Sources, assign_sources
from lapwing.corruption.split import Split, split_rows
from lapwing.datasets import datasets
from lapwing.errors import UserError
from lapwing.files import Array, content_hash, content_key, read_arrays, write_arrays
from lapwing.schema import Closed, Name, validate

__all__ = [
    "Corruption",
    "CorruptionSettings",
    "Dealt",
    "Decision",
    "Pool",
    "Samples",
    "Sources",
    "Split",
    "corrupt_inputs",
    "corrupt_rows",
    "decide",
    "write_corruption",
]

SHARED_VERSION = 2
"""Raised when what all corruptions share gives other numbers: split, sources, level, the seeds of rules."""

Rule = Mapping[str, Any]


class NoOptions(Closed):
    """A corruption without options."""


class CorruptionSettings(Closed):
    """Everything that decides a corruption artefact, the seed aside."""

    dataset: Name
    dataset_version: int
    split: Split = Split()
    sources: Sources
    name: Name
    """The corruption's key."""
    version: int
    """The corruption's version, so that other numbers have another key."""
    options: dict[str, Any] = Field(default_factory=dict, validate_default=True)
    """The corruption's own; those left out are filled in, so that equal settings have equal keys."""
    level: float = Field(default=1.0, ge=0, le=1)
    """The share of a corrupt source's samples that is corrupted."""
    shared: int = SHARED_VERSION
    """The version of what all corruptions share."""

    @field_validator("options")
    @classmethod
    def _whole_options(cls, options: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        if "name" not in info.data:
            return options
        name = info.data["name"]
        return _options_of(name, options).model_dump(mode="json")

    @property
    def key(self) -> str:
        """The short hash that names the artefact's folder."""
        return content_key(self.model_dump(mode="json"))


@dataclass(frozen=True)
class Pool:
    """The n prepared rows that a seed trains on, or validates on, before anybody has supplied them."""

    rows: Array
    """[n] row numbers of the prepared `train/`."""
    targets: Array
    """[n] the true ones."""
    source: Array | None = None
    """[n] who supplied each, where the dataset says it; negative: not known."""
    labels: Mapping[str, Array] = field(default_factory=dict)
    """[n] each: what others call the rows, for instance human annotators."""
    classes: int | None = None
    """What labels are drawn from, where it is less than all classes of the dataset."""

    def at(self, places: Array) -> "Pool":
        """The rows at some places."""
        source = None if self.source is None else self.source[places]
        labels = {name: values[places] for name, values in self.labels.items()}
        return Pool(self.rows[places], self.targets[places], source, labels, self.classes)


@dataclass(frozen=True)
class Dealt:
    """Who supplies what, and which samples are to be corrupted."""

    assignment: Assignment
    is_corrupted: Array
    """[N] bool."""


@dataclass(frozen=True)
class Samples:
    """The N training positions of one seed before they are corrupted: what a corruption decides upon."""

    settings: CorruptionSettings
    seed: int
    """The run's."""
    corruption_seed: int
    """Drawn from the run's seed for the corruption."""
    targets: Array
    """[N] the true ones."""
    source: Array
    """[N]"""
    is_corrupted: Array
    """[N] bool: to be corrupted."""
    corrupt_sources: list[int]
    """In the order in which they were drawn."""
    labels: Mapping[str, Array]
    """[N] each: what others call the samples."""
    input_shape: tuple[int, ...]
    """Of one sample."""
    classes: int | None
    """None: regression."""
    vocabulary: int | None = None
    """How many words there are; None: the inputs are no tokens."""

    def rule(self) -> Rule:
        """The corruption, its options and the seed of its draws per position (s0 of lap-core 4.4)."""
        seed = np.random.default_rng(self.corruption_seed).integers(1, SEED_LIMIT)
        return {"name": self.settings.name, "seed": int(seed), **self.settings.options}


@dataclass(frozen=True)
class Decision:
    """What a corruption decides about all samples."""

    targets: Array
    """[N] as the learner sees them."""
    rules: Mapping[str, Rule] = field(default_factory=dict)
    """Entries of the artefact's `about`: `input_rule` for what `corrupt_inputs` does to inputs, `label_rule`
    for labels that are drawn anew in every step (`Corruption.redraw`)."""
    is_corrupted: Array | None = None
    """[N] bool, where not all that were to be corrupted are."""
    is_altered: Array | None = None
    """[N] bool: those whose inputs the `input_rule` alters, where these are not all that are corrupted."""


def _leave_labels(options: Closed, samples: Samples) -> Decision:
    return Decision(samples.targets)


def _never(options: Closed) -> bool:
    return False


def _takes_all(options: Closed, sources: Sources, further: Mapping[str, str]) -> None:
    """Nothing is asked of the sources."""


def _fits_all(options: Closed, input_shape: tuple[int, ...], classes: int | None) -> None:
    """Nothing is asked of the data."""


@dataclass(frozen=True)
class Corruption:
    """One corruption: what `lapwing.corruption.<key>.CORRUPTION` is."""

    title: str
    """Its name in the published tables."""
    version: int
    """Raised when its numbers change."""
    Options: type[Closed] = NoOptions
    decide: Callable[[Any, Samples], Decision] = _leave_labels
    """(options, samples) → decision; it leaves the samples that are not `is_corrupted` alone."""
    check_data: Callable[[Any, tuple[int, ...], int | None], None] = _fits_all
    """(options, shape of one input, classes or None): a `UserError` where the data do not fit."""
    alter: Callable[[Any, int, Array, Array], Array] | None = None
    """(options, the rule's seed, inputs [n, …], positions [n]) → inputs [n, …]; None: inputs stay. Inputs are
    scaled to float32, tokens int32."""
    alter_rows: Callable[[Any, int, Any, Any], Any] | None = None
    """(options, the rule's seed, rows [n, …], index [n]) → rows [n, …]: in place of `alter`, on prepared rows
    in their own type, batch by batch on the device, for data of which no altered copy fits into memory; a
    function of seed and `index`, the numbers of the prepared rows."""
    tokens: bool = False
    """Whether the inputs that it alters are numbers of words."""
    seed_first: bool = False
    """Whether its seed is the first draw of the run's generator, in front of the sources, as published."""
    redraw: Callable[[Any, Any], Any] | None = None
    """(labels of a batch [K, B], uniform numbers of [0, 1) [K, B]) → new labels [K, B] on the device; the
    corrupted samples take theirs: what a `label_rule` means."""
    in_blocks: Callable[[Any], bool] = _never
    """(options) → whether it looks at whole blocks of labels, which only sources assigned in blocks have."""
    check_sources: Callable[[Any, Sources, Mapping[str, str]], None] = _takes_all
    """(options, sources, kinds of the dataset's further arrays): a `UserError` where they do not fit."""
    deal: Callable[[Any, CorruptionSettings, Pool, int], Dealt] | None = None
    """(options, settings, rows, seed) → who supplies what; only with `sources.assignment: dealt`."""
    corrupts: bool = True
    """False: corrupt sources are drawn, but none of their samples is corrupted."""

    def check(
        self, options: Any, input_shape: tuple[int, ...], classes: int | None, *, tokens: bool = False
    ) -> None:
        """Refuse data that it is not for; called before any job, and again with the prepared data.

        Raises:
            UserError: names what it alters, or what data it needs.
        """
        alters = self.alter is not None or self.alter_rows is not None
        if alters and tokens != self.tokens:
            kinds = {True: "words", False: "numbers"}
            raise UserError(f"{self.title} alters {kinds[self.tokens]}, and the inputs are {kinds[tokens]}.")
        self.check_data(options, input_shape, classes)


# -- the artefact ----------------------------------------------------------------------------------


def write_corruption(
    data: Path, settings: CorruptionSettings | Mapping[str, Any], seed: int, out: Path
) -> None:
    """Write the corruption artefact of a prepared file and a seed.

    Raises:
        UserError: settings and data do not fit together, or the prepared file is damaged.
    """
    if not isinstance(settings, CorruptionSettings):
        settings = validate(CorruptionSettings, settings, "corruption")
    prepared, prepared_about = read_arrays(data)
    arrays, about = decide(settings, prepared, prepared_about, seed)
    write_arrays(out, arrays, {**about, "data": content_hash(data)})


def decide(
    settings: CorruptionSettings, prepared: Mapping[str, Array], prepared_about: Mapping[str, Any], seed: int
) -> tuple[dict[str, Array], dict[str, Any]]:
    """Decide split, sources, corrupt sources, labels and rules of one seed.

    Args:
        settings: what to do.
        prepared: `train/inputs`, `train/targets`, and `test/targets` where there is a test set.
        prepared_about: what the prepared data say about themselves.
        seed: the run's.

    Returns:
        Arrays and `about` of the artefact.

    Raises:
        UserError: settings and data do not fit together.
    """
    corruption = _corruption_of(settings)
    _check_prepared(settings, prepared, prepared_about, seed)
    input_shape = prepared["train/inputs"].shape[1:]
    options = _options_of(settings.name, settings.options)
    tokens = prepared_about.get("vocabulary") is not None
    corruption.check(options, input_shape, prepared_about["classes"], tokens=tokens)
    pool, test = _taken(settings.dataset, prepared, seed)
    rows = split_rows(settings.split, len(pool.rows), seed)

    def decided(some: Pool) -> _Part:
        return _decide_part(settings, corruption, some, seed, input_shape, prepared_about)

    if settings.split.kind == "after_corruption":
        together = decided(pool)
        train = together.at(rows.train)
        aside = None if rows.validation is None else together.at(rows.validation)
    else:
        train = decided(pool.at(rows.train))
        aside = None if rows.validation is None else decided(pool.at(rows.validation))
    arrays = train.arrays
    if aside is not None:
        arrays |= {f"validation_{name}": aside.arrays[name] for name in VALIDATION if name in aside.arrays}
    if rows.test is not None:
        test = {"test_index": pool.rows[rows.test], "test_targets": pool.targets[rows.test]}
    return arrays | test, {**train.about, "test_rows": "test" if rows.test is None else "train"}


VALIDATION = ("index", "targets", "is_corrupted", "is_altered")
"""What an artefact holds of the rows left aside, where it is known. `split.kind: fraction` corrupts them as a
training set of their own (lap-core 4.1), so the class maps of random labels are drawn anew there."""


def _taken(dataset: str, prepared: Mapping[str, Array], seed: int) -> tuple[Pool, dict[str, Array]]:
    """What a seed takes of the prepared rows: to train on, and to test on where it takes not all."""
    declared = datasets.get(dataset) if dataset in datasets.names() else None  # one's own data are not
    kinds = declared.further if declared else {}
    labels = {name: prepared[f"train/{name}"] for name, kind in kinds.items() if kind == "labels"}
    source = prepared.get("train/source")
    if declared is None or declared.view is None:
        everything = np.arange(len(prepared["train/targets"]), dtype=np.int64)
        return Pool(everything, prepared["train/targets"], source, labels), {}
    view = declared.view(prepared, seed)
    chosen = {name: values[view.train] for name, values in labels.items()}
    test = {"test_index": view.test, "test_targets": view.test_targets}
    return Pool(view.train, view.train_targets, view.source, chosen, view.classes), test


@dataclass(frozen=True)
class _Part:
    arrays: dict[str, Array]
    about: dict[str, Any]

    def at(self, positions: Array) -> "_Part":
        """What is decided about some positions."""
        of_sources = {"is_corrupt_source": self.arrays["is_corrupt_source"]}
        of_samples = {name: array for name, array in self.arrays.items() if name not in of_sources}
        return _Part({name: array[positions] for name, array in of_samples.items()} | of_sources, self.about)


def _decide_part(
    settings: CorruptionSettings,
    corruption: Corruption,
    pool: Pool,
    seed: int,
    input_shape: tuple[int, ...],
    prepared_about: Mapping[str, Any],
) -> _Part:
    """Decide who supplies the rows of a pool, and what they are told of them."""
    options = _options_of(settings.name, settings.options)
    dealt = _deal(settings, corruption, options, pool, seed)
    assignment = dealt.assignment
    ordered = pool.at(assignment.order)
    classes = prepared_about["classes"]
    samples = Samples(
        settings=settings,
        seed=seed,
        corruption_seed=assignment.corruption_seed,
        targets=ordered.targets,
        source=assignment.source,
        is_corrupted=dealt.is_corrupted,
        corrupt_sources=assignment.corrupt,
        labels=ordered.labels,
        input_shape=input_shape,
        classes=classes if ordered.classes is None else ordered.classes,
        vocabulary=prepared_about.get("vocabulary"),
    )
    decision = corruption.decide(options, samples)
    is_corrupted = samples.is_corrupted if decision.is_corrupted is None else decision.is_corrupted
    arrays = {
        "index": ordered.rows,
        "source": samples.source,
        "is_corrupt_source": np.isin(np.arange(settings.sources.number), assignment.corrupt),
        "is_corrupted": is_corrupted,
        "targets": decision.targets,
    }
    if decision.is_altered is not None:
        arrays["is_altered"] = decision.is_altered
    return _Part(arrays, _about(samples, is_corrupted, decision))


def _deal(
    settings: CorruptionSettings, corruption: Corruption, options: Closed, pool: Pool, seed: int
) -> Dealt:
    if corruption.deal is not None:
        return corruption.deal(options, settings, pool, seed)
    assignment = assign_sources(
        settings.sources, len(pool.rows), seed, pool.source, seed_first=corruption.seed_first
    )
    belongs = np.isin(assignment.source, assignment.corrupt)
    return Dealt(assignment, _chosen(belongs, corruption, settings.level, seed))


def corrupt_inputs(rule: Rule, inputs: Array, positions: Array) -> Array:
    """Do to corrupted samples what the artefact's `input_rule` says.

    Args:
        rule: the artefact's `about["input_rule"]`.
        inputs: [n, …] float32, already scaled, or int32 tokens: corrupted samples only.
        positions: [n] their training positions.

    Returns:
        [n, …] new inputs; a sample's depends on rule, position and sample only, not on its company.
    """
    if len(inputs) != len(positions):
        raise ValueError(f"{len(inputs)} inputs at {len(positions)} positions")
    corruption: Corruption = corruptions.get(rule["name"])
    if corruption.alter is None:
        raise UserError(f"input_rule.name: the corruption {rule['name']} does nothing to inputs.")
    return corruption.alter(_options_in(rule), rule["seed"], inputs, positions)


def corrupt_rows(rule: Rule, rows: Any, index: Any) -> Any:
    """Do to prepared rows, tensors [n, …] in their own type, what the artefact's `input_rule` says.

    Args:
        rule: the artefact's `about["input_rule"]`, of a corruption that has `alter_rows`.
        rows: [n, …]; they stay as they are.
        index: [n] their numbers in the prepared file.

    Returns:
        [n, …] new rows; each depends on rule, number and row only, not on its company.
    """
    corruption: Corruption = corruptions.get(rule["name"])
    if corruption.alter_rows is None:
        raise UserError(f"input_rule.name: the corruption {rule['name']} does nothing to prepared rows.")
    return corruption.alter_rows(_options_in(rule), rule["seed"], rows, index)


def _options_in(rule: Rule) -> Closed:
    options = {key: value for key, value in rule.items() if key not in ("name", "seed")}
    return _options_of(rule["name"], options)


def _chosen(belongs: Array, corruption: Corruption, level: float, seed: int) -> Array:
    """Which samples are corrupted, [N]: of those that belong to a corrupt source, a share `level`."""
    chosen = belongs & corruption.corrupts
    if level < 1:
        positions = np.flatnonzero(chosen).tolist()
        chosen[positions] = [
            np.random.default_rng(position + seed).random() < level for position in positions
        ]
    return chosen


def _about(samples: Samples, is_corrupted: Array, decision: Decision) -> dict[str, Any]:
    changed = decision.targets != samples.targets
    return {
        "settings": samples.settings.model_dump(mode="json"),
        "key": samples.settings.key,
        "seed": samples.seed,
        "corrupt_sources": samples.corrupt_sources,
        "changed_labels": None if "label_rule" in decision.rules else _share(changed, is_corrupted),
        "input_rule": None,
        "label_rule": None,
        **decision.rules,
    }


def _share(changed: Array, is_corrupted: Array) -> float:
    return float(changed[is_corrupted].mean()) if is_corrupted.any() else 0.0


# -- what is asked for must exist and fit ----------------------------------------------------------


def _options_of(name: str, options: Mapping[str, Any]) -> Closed:
    corruption: Corruption = corruptions.get(name)
    return validate(corruption.Options, dict(options), f"options of {name}")


def _corruption_of(settings: CorruptionSettings) -> Corruption:
    corruption: Corruption = corruptions.get(settings.name)
    if corruption.version != settings.version:
        raise UserError(
            f"version: the settings ask for version {settings.version} of {settings.name}, "
            f"and this Lapwing has version {corruption.version}."
        )
    if settings.shared != SHARED_VERSION:
        raise UserError(
            f"shared: the settings ask for version {settings.shared} of what all corruptions share, "
            f"and this Lapwing has version {SHARED_VERSION}."
        )
    return corruption


def _check_prepared(
    settings: CorruptionSettings, prepared: Mapping[str, Array], about: Mapping[str, Any], seed: int
) -> None:
    if not 0 <= seed < 2**32:
        raise UserError(f"seed: it must lie between 0 and {2**32 - 1} (it is {seed}).")
    for key, asked, found in (
        ("dataset", settings.dataset, about["dataset"]),
        ("dataset_version", settings.dataset_version, about["version"]),
    ):
        if asked != found:
            raise UserError(f"{key}: the settings ask for {asked}, and the prepared data are of {found}.")
    if settings.split.kind != "random_rows" and "test/targets" not in prepared:
        raise UserError(
            f"split.kind: {settings.dataset} has no test rows of its own, so they must be split off: "
            f"random_rows (it is {settings.split.kind})."
        )
    _check_targets(settings.dataset, prepared, about)


def _check_targets(dataset: str, prepared: Mapping[str, Array], about: Mapping[str, Any]) -> None:
    targets, inputs, classes = prepared["train/targets"], prepared["train/inputs"], about["classes"]
    if targets.ndim != 1 or len(targets) != len(inputs) or not len(targets):
        raise UserError(
            f"dataset: {dataset} needs one target for each of its training inputs, and at least one "
            f"(it has targets {targets.shape} and {len(inputs)} inputs)."
        )
    if about["task"] == "regression":
        wrong, what = ~np.isfinite(targets), "a finite number"
    elif classes is None or not np.issubdtype(targets.dtype, np.integer):
        raise UserError(
            f"dataset: {dataset} needs a number of classes and integer labels for classification."
        )
    else:
        wrong, what = (targets < 0) | (targets >= classes), f"a label between 0 and {classes - 1}"
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise UserError(
            f"dataset: the target of training row {row} of {dataset} is not {what} (it is {targets[row]})."
        )
