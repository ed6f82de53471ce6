"""What a study file means: validation, and the way from a grid to cells, runs and parts.

A study file is YAML. `conditions` is what its cells share, `grid` what they differ in,
`special` what else differs in some of them, `scales` what differs at a scale. Every study is
built at every scale whenever it is read, so that a mistake at `paper` shows while one works at `demo`.
"""

import difflib
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import pydantic
import yaml
from pydantic import Field

from lapwing.corruption import corruptions
from lapwing.corruption.base import CorruptionSettings, Sources, Split
from lapwing.datasets import datasets
from lapwing.errors import UserError, did_you_mean
from lapwing.methods import methods
from lapwing.models import models
from lapwing.registry import Registry
from lapwing.results.artefact import Artefact, Metric
from lapwing.schema import Closed, Name, validate
from lapwing.training.settings import Layout, Optimiser, RunSettings, Schedule, Versioned

Scale = Literal["demo", "paper"]
SCALES: tuple[Scale, ...] = ("demo", "paper")
Value = str | int | float
Overrides = dict[str, Any]
REGISTRIES: dict[str, Registry] = {"dataset": datasets, "corruption": corruptions, "method": methods}
"""The three axes that every grid with cells has, and where their names are known."""


class Model(Closed):
    """A network architecture and its options."""

    name: Name
    options: Overrides = {}


class Conditions(Closed):
    """What a cell is run under. All of it decides its numbers, `metric` and `minutes_per_run` aside."""

    seeds: list[int] = Field(min_length=1)
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
    """`blocks`: a batch is one block of one source, in the same order in every epoch; `mixed`: shuffled."""
    batch_size: int = Field(ge=1)
    model: Model
    """The network and its options."""
    methods: dict[Name, Overrides] = {}
    """Hyperparameters of methods that differ from their defaults."""
    optimiser: Optimiser = Optimiser()
    schedule: Schedule = Schedule()
    epochs: int = Field(ge=1)
    precision: Literal["float32", "float64"] = "float32"
    metric: Metric
    """What a cell is judged by; results hold every metric."""
    minutes_per_run: float = Field(1.0, gt=0)
    """An estimate, for one core; printed before long runs and nothing else."""

    @pydantic.field_validator("seeds")
    @classmethod
    def _seeds_are_different(cls, seeds: list[int]) -> list[int]:
        twice = {seed for seed in seeds if seeds.count(seed) > 1}
        if twice:
            raise ValueError(f"seed {min(twice)} is listed twice")
        if min(seeds) < 0:
            raise ValueError(f"a seed is 0 or more, not {min(seeds)}")
        return seeds


class Special(Closed):
    """What differs in the cells that `where` describes."""

    where: dict[Name, Value | list[Value]] = Field(min_length=1)
    set: Overrides = Field(min_length=1)

    def matches(self, axes: Mapping[str, Value]) -> bool:
        """Whether a cell with these axes is one of those described."""
        return all(axes[key] in as_list(wanted) for key, wanted in self.where.items())


class Cell(Closed):
    """One point of a study's grid, resolved."""

    axes: dict[str, Value]
    seeds: list[int]
    settings: RunSettings
    metric: Metric
    minutes_per_run: float

    def job(self) -> Overrides:
        """What a training job is told about the cell."""
        return {"axes": self.axes, "seeds": self.seeds, "settings": self.settings.model_dump(mode="json")}

    def shown(self) -> Overrides:
        """What a notebook is told about the cell."""
        return {**self.axes, "metric": self.metric.model_dump(), "seeds": self.seeds}


class Study(Closed):
    """One study at one scale."""

    name: Name
    title: str
    """What the study asks, in a line."""
    artefacts: dict[Name, Artefact] = Field(min_length=1)
    """The tables and figures that it is behind, by name."""
    grid: dict[Name, list[Value]] = {}
    """Axis → values; dataset, corruption and method are axes of every grid."""
    axes: dict[Name, str] = {}
    """What a further axis sets: a dotted path into the conditions, `n_corrupt: sources.corrupt`."""
    parts_by: list[Name] = []
    """The axes that the runs of one training job share; all axes if empty."""
    conditions: Overrides = {}
    """What the cells share; see `conditions`."""
    special: list[Special] = []
    """`where`: axis → a value or several; `set`: the conditions that differ there."""

    @cached_property
    def cells(self) -> list[Cell]:
        """All cells, in the order of the grid."""
        points = itertools.product(*self.grid.values()) if self.grid else []
        return [self._cell(dict(zip(self.grid, point, strict=True))) for point in points]

    def _cell(self, axes: dict[str, Value]) -> Cell:
        where = f"{self.name} ({', '.join(str(value) for value in axes.values())})"
        values = self.conditions
        for special in self.special:
            if special.matches(axes):
                values = merged(values, special.set)
        for axis, path in self.axes.items():
            values = merged(values, _nested(path, axes[axis]))
        conditions = validate(Conditions, values, where)
        return Cell(
            axes=axes,
            seeds=conditions.seeds,
            settings=_run_settings(axes, conditions, where),
            metric=conditions.metric,
            minutes_per_run=conditions.minutes_per_run,
        )

    def check(self) -> None:
        """Refuse names that are not known and special cases that match nothing.

        Raises:
            UserError: names the first of them.
        """
        if not self.grid:
            return
        for axis, registry in REGISTRIES.items():
            for name in self.grid.get(axis, [None]):
                if name is None:
                    raise UserError(f"{self.name}: grid has no axis {axis}.")
                if name not in registry.names():
                    raise UserError(
                        f"{self.name}: unknown {axis} {name}; {did_you_mean(str(name), registry.names())}"
                    )
        further = self.grid.keys() - REGISTRIES.keys()
        for axis in self.axes:
            _known(axis, further, f"{self.name}: axes: the grid has no axis {axis}")
        for axis in further:
            _known(axis, self.axes, f"{self.name}: axes does not say what axis {axis} sets")
        for axis in self.parts_by:
            _known(axis, self.grid, f"{self.name}: parts_by: unknown axis {axis}")
        for special in self.special:
            self._check_special(special)
        _ = self.cells  # builds, and so checks, every cell

    def _check_special(self, special: Special) -> None:
        for axis, wanted in special.where.items():
            _known(axis, self.grid, f"{self.name}: special: unknown axis {axis}")
            for value in as_list(wanted):
                _known(value, self.grid[axis], f"{self.name}: special: no cell has {axis} {value}")


def _known(word: Value, known: Iterable[Value], problem: str) -> None:
    if word not in known:
        raise UserError(f"{problem}; {did_you_mean(str(word), [str(k) for k in known])}")


def _run_settings(axes: Mapping[str, Value], conditions: Conditions, where: str) -> RunSettings:
    """The conditions of one cell with every default filled in and every version named."""
    dataset_name, corruption_name, method_name = (str(axes[axis]) for axis in REGISTRIES)
    dataset, corruption = datasets.get(dataset_name), corruptions.get(corruption_name)
    model, method = models.get(conditions.model.name), methods.get(method_name)
    for kind, known, given in (
        ("corruptions", corruptions.names(), conditions.corruptions),
        ("methods", methods.names(), conditions.methods),
    ):
        for name in given:
            _known(name, known, f"{where}: {kind}: unknown name {name}")
    options = validate(
        corruption.Options,
        conditions.corruptions.get(corruption_name, {}),
        f"{where}: corruptions.{corruption_name}",
    )
    model_options = validate(model.Options, conditions.model.options, f"{where}: model.options")
    hyperparameters = validate(
        method.Hyperparameters, conditions.methods.get(method_name, {}), f"{where}: methods.{method_name}"
    )
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
        model=Versioned(
            name=conditions.model.name, version=model.version, options=model_options.model_dump(mode="json")
        ),
        method=Versioned(
            name=method_name, version=method.version, options=hyperparameters.model_dump(mode="json")
        ),
        layout=conditions.layout,
        batch_size=conditions.batch_size,
        epochs=conditions.epochs,
        optimiser=conditions.optimiser,
        schedule=conditions.schedule,
        precision=conditions.precision,
    )
    method.check(hyperparameters, settings, dataset, where)
    try:
        corruption.check(options, dataset.input_shape, dataset.classes)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    return settings


# -- reading ---------------------------------------------------------------------------------------


def read_studies(folder: Path, scale: Scale) -> dict[str, Study]:
    """Every study of a folder at one scale, checked at every scale.

    Raises:
        UserError: one sentence about the first mistake: file, key, what would be right.
    """
    if not folder.is_dir():
        raise UserError(f"studies: There is no folder {folder}.")
    contents = {path.stem: _read_yaml(path) for path in sorted(folder.glob("*.yaml"))}
    read = {name: _at_every_scale(folder / f"{name}.yaml", contents)[scale] for name in contents}
    _refuse_artefacts_of_two(read.values())
    return read


def _read_yaml(path: Path) -> Overrides:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise UserError(f"{path}: not YAML{f', line {mark.line + 1}' if mark else ''}.") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: not UTF-8 text.") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: a study is a list of keys and values.")
    return content


def _at_every_scale(path: Path, contents: Mapping[str, Overrides]) -> dict[str, Study]:
    content = _with_base(path, contents)
    scales = content.pop("scales", {})
    if not isinstance(scales, dict):
        raise UserError(f"{path}: scales: a list of scales and what differs at them.")
    for scale in scales:
        _known(scale, SCALES, f"{path}: unknown scale {scale}")
    studies: dict[str, Study] = {}
    for scale in SCALES:
        values = {"name": path.stem} | merged(content, scales.get(scale) or {})
        studies[scale] = validate(Study, values, f"{path} ({scale})")
        try:
            studies[scale].check()
        except UserError as error:
            raise UserError(f"{path} ({scale}): {error}") from None
    return studies


def _with_base(path: Path, contents: Mapping[str, Overrides], seen: tuple[str, ...] = ()) -> Overrides:
    """A study's content over that of the study which it names as its `base`."""
    content = dict(contents[path.stem])
    base = content.pop("base", None)
    if base is None:
        return content
    if base not in contents:
        raise UserError(f"{path}: base: unknown study {base}; {did_you_mean(str(base), contents)}")
    if base in (path.stem, *seen):
        raise UserError(f"{path}: base: {base} is built on this study; a chain of bases must end.")
    below = _with_base(path.with_name(f"{base}.yaml"), contents, (*seen, path.stem))
    return merged({key: value for key, value in below.items() if key != "artefacts"}, content)


def _refuse_artefacts_of_two(studies: Iterable[Study]) -> None:
    owner: dict[str, str] = {}
    for study in studies:
        for artefact in study.artefacts:
            if artefact in owner:
                raise UserError(f"{study.name}: artefact {artefact} is already made by {owner[artefact]}.")
            owner[artefact] = study.name


def merged(base: Overrides, over: Overrides) -> Overrides:
    """`base` with what `over` says; mappings are merged, all else is replaced."""
    both = {
        key: merged(base[key], value)
        for key, value in over.items()
        if isinstance(base.get(key), dict) and isinstance(value, dict)
    }
    return base | over | both


def as_list(value: Value | list[Value]) -> list[Value]:
    """One value or several, as several."""
    return value if isinstance(value, list) else [value]


def _nested(path: str, value: Value) -> Overrides:
    first, _, rest = path.partition(".")
    return {first: _nested(rest, value) if rest else value}


# -- selection and parts ---------------------------------------------------------------------------


def select(studies: Mapping[str, Study], only: Sequence[Mapping[str, Any]]) -> dict[str, list[Cell]]:
    """The cells of each study that `only` leaves, with the seeds that it leaves.

    Args:
        studies: by name.
        only: selections, of which a run must meet one; each is axis, or `seed`, → a value or several.
            Values are compared as text, because the command line gives text. None: everything.

    Raises:
        UserError: an axis or a value that no study has; names the near ones.
    """
    cells = [cell for study in studies.values() for cell in study.cells]
    for selection in only:
        _refuse_empty(selection, cells)
    return {name: list(_selected(study.cells, only)) for name, study in studies.items()}


def _refuse_empty(selection: Mapping[str, Any], cells: Sequence[Cell]) -> None:
    for axis, wanted in selection.items():
        have = set(map(str, _values(cells, axis)))
        if not have:
            axes = {"seed", *itertools.chain.from_iterable(cell.axes for cell in cells)}
            raise UserError(f"only: unknown axis {axis}; {did_you_mean(axis, axes)}")
        for value in map(str, as_list(wanted)):
            if value not in have:
                near = difflib.get_close_matches(value, have, n=3, cutoff=0.5)
                hint = f"near: {', '.join(near)}." if near else did_you_mean(value, have)
                raise UserError(f"only: no run has {axis} {value}; {hint}")


def _values(cells: Iterable[Cell], axis: str) -> list[Value]:
    if axis == "seed":
        return [seed for cell in cells for seed in cell.seeds]
    return [cell.axes[axis] for cell in cells if axis in cell.axes]


def _selected(cells: Iterable[Cell], only: Sequence[Mapping[str, Any]]) -> Iterator[Cell]:
    for cell in cells:
        seeds = [seed for seed in cell.seeds if not only or any(_meets(cell, seed, which) for which in only)]
        if seeds:
            yield cell.model_copy(update={"seeds": seeds})


def _meets(cell: Cell, seed: int, selection: Mapping[str, Any]) -> bool:
    run = cell.axes | {"seed": seed}
    return all(
        axis in run and str(run[axis]) in map(str, as_list(wanted)) for axis, wanted in selection.items()
    )


def parts(study: Study, cells: Sequence[Cell]) -> dict[str, list[Cell]]:
    """The training jobs of a study: name of a part → its cells."""
    axes = study.parts_by or list(study.grid)
    named: dict[str, list[Cell]] = {}
    for cell in cells:
        named.setdefault("-".join(str(cell.axes[axis]) for axis in axes), []).append(cell)
    return named
