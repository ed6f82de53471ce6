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
from lapwing.corruption.sources import SEED_LIMIT, Sources, assign_sources
from lapwing.corruption.split import Rows, Split, split_rows
from lapwing.errors import UserError
from lapwing.files import Array, content_hash, content_key, read_arrays, write_arrays
from lapwing.schema import Closed, Name, validate

__all__ = [
    "Corruption",
    "CorruptionSettings",
    "Decision",
    "Samples",
    "Sources",
    "Split",
    "corrupt_inputs",
    "decide",
    "write_corruption",
]

SHARED_VERSION = 1
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
    input_shape: tuple[int, ...]
    """Of one sample."""
    classes: int | None
    """None: regression."""

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
    """Entries of the artefact's `about`: `input_rule` for what `corrupt_inputs` does to inputs."""


def _leave_labels(options: Closed, samples: Samples) -> Decision:
    return Decision(samples.targets)


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
    check: Callable[[Any, tuple[int, ...], int | None], None] = _fits_all
    """(options, shape of one input, classes or None): a `UserError` where the data do not fit; called
    before any job, and again with the prepared data."""
    alter: Callable[[Any, int, Array, Array], Array] | None = None
    """(options, the rule's seed, inputs [n, …], positions [n]) → inputs [n, …]; None: inputs stay."""
    in_blocks: bool = False
    """Whether it looks at whole blocks of labels, which only sources assigned in blocks have."""
    corrupts: bool = True
    """False: corrupt sources are drawn, but none of their samples is corrupted."""


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
    options = _options_of(settings.name, settings.options)
    input_shape, classes = prepared["train/inputs"].shape[1:], prepared_about["classes"]
    _check_prepared(settings, prepared, prepared_about, seed)
    corruption.check(options, input_shape, classes)
    rows = split_rows(settings.split, len(prepared["train/targets"]), seed)
    assignment = assign_sources(settings.sources, len(rows.train), seed)
    index = rows.train[assignment.order]
    is_corrupt_source = np.isin(np.arange(settings.sources.number), assignment.corrupt)
    samples = Samples(
        settings=settings,
        seed=seed,
        corruption_seed=assignment.corruption_seed,
        targets=prepared["train/targets"][index],
        source=assignment.source,
        is_corrupted=_chosen(is_corrupt_source[assignment.source], corruption, settings.level, seed),
        input_shape=input_shape,
        classes=classes,
    )
    decision = corruption.decide(options, samples)
    arrays = {
        "index": index,
        "source": samples.source,
        "is_corrupt_source": is_corrupt_source,
        "is_corrupted": samples.is_corrupted,
        "targets": decision.targets,
        **_other_rows(rows),
    }
    return arrays, _about(samples, assignment.corrupt, decision)


def corrupt_inputs(rule: Rule, inputs: Array, positions: Array) -> Array:
    """Do to corrupted samples what the artefact's `input_rule` says.

    Args:
        rule: the artefact's `about["input_rule"]`.
        inputs: [n, …] float32, already scaled: corrupted samples only.
        positions: [n] their training positions.

    Returns:
        [n, …] new inputs; a sample's depends on rule, position and sample only, not on its company.
    """
    if len(inputs) != len(positions):
        raise ValueError(f"{len(inputs)} inputs at {len(positions)} positions")
    corruption: Corruption = corruptions.get(rule["name"])
    if corruption.alter is None:
        raise UserError(f"input_rule.name: the corruption {rule['name']} does nothing to inputs.")
    options = {key: value for key, value in rule.items() if key not in ("name", "seed")}
    return corruption.alter(_options_of(rule["name"], options), rule["seed"], inputs, positions)


def _chosen(belongs: Array, corruption: Corruption, level: float, seed: int) -> Array:
    """Which samples are corrupted, [N]: of those that belong to a corrupt source, a share `level`."""
    chosen = belongs & corruption.corrupts
    if level < 1:
        positions = np.flatnonzero(chosen).tolist()
        chosen[positions] = [
            np.random.default_rng(position + seed).random() < level for position in positions
        ]
    return chosen


def _other_rows(rows: Rows) -> dict[str, Array]:
    parts = {"validation_index": rows.validation, "test_index": rows.test}
    return {name: part for name, part in parts.items() if part is not None}


def _about(samples: Samples, corrupt_sources: list[int], decision: Decision) -> dict[str, Any]:
    changed = decision.targets != samples.targets
    return {
        "settings": samples.settings.model_dump(mode="json"),
        "key": samples.settings.key,
        "seed": samples.seed,
        "corrupt_sources": corrupt_sources,
        "changed_labels": float(changed[samples.is_corrupted].mean()) if samples.is_corrupted.any() else 0.0,
        "input_rule": None,
        **decision.rules,
    }


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
