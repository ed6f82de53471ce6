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

import yaml
from pydantic import Field

from lapwing.conditions import REGISTRIES, Conditions, Overrides, Value, refuse_unknown, resolve
from lapwing.errors import UserError, did_you_mean
from lapwing.results.artefact import Artefact, Metric
from lapwing.schema import Closed, Name, validate
from lapwing.training.settings import RunSettings

Scale = Literal["demo", "paper"]
SCALES: tuple[Scale, ...] = ("demo", "paper")
RESERVED = {"seed", "epoch", "split", "metric", "value", "source", "is_corrupt", "key", "settings"}
"""Columns of results, which no axis may be called."""


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
        where = f"cell {', '.join(str(value) for value in axes.values())}"
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
            settings=resolve(axes, conditions, where),
            metric=conditions.metric,
            minutes_per_run=conditions.minutes_per_run,
        )

    def check(self) -> None:
        """Refuse names that are not known, and whatever matches nothing.

        Raises:
            UserError: names the first of them.
        """
        if self.grid:
            self._check_grid()
        elif self.conditions or self.special or self.axes:
            raise UserError("grid: a study with conditions needs axes: dataset, corruption and method.")
        refuse_unknown(self.parts_by, self.grid, "parts_by: unknown axis")
        for special in self.special:
            self._check_special(special)
        _ = self.cells  # builds, and so checks, every cell
        for name, artefact in self.artefacts.items():
            self._check_artefact(name, artefact)

    def _check_grid(self) -> None:
        for axis, registry in REGISTRIES.items():
            if axis not in self.grid:
                raise UserError(f"grid has no axis {axis}.")
            refuse_unknown(self.grid[axis], registry.names(), f"grid: unknown {axis}")
        for axis, values in self.grid.items():
            if axis in RESERVED:
                raise UserError(f"grid: an axis cannot be called {axis}, which is a column of results.")
            if not values or len({str(value) for value in values}) < len(values):
                raise UserError(f"grid: axis {axis} needs values that are different (it is {values}).")
        further = self.grid.keys() - REGISTRIES.keys()
        refuse_unknown(self.axes, further, "axes: the grid has no axis")
        refuse_unknown(further, self.axes, "axes does not say what this axis sets:")

    def _check_special(self, special: Special) -> None:
        refuse_unknown(special.where, self.grid, "special: unknown axis")
        for axis, wanted in special.where.items():
            refuse_unknown(as_list(wanted), self.grid[axis], f"special: no cell has {axis}")

    def _check_artefact(self, name: str, artefact: Artefact) -> None:
        """Whether the cells make its rows and columns, one cell each."""
        if not self.grid or artefact.studies:
            return  # nothing to arrange, or not from this study alone
        shown = (*artefact.rows, artefact.columns)
        refuse_unknown(shown, self.grid, f"artefacts.{name}: rows and columns: unknown axis")
        if len(set(artefact.readings)) < len(artefact.readings):
            raise UserError(f"artefacts.{name}: readings: one is listed twice (it is {artefact.readings}).")
        places = [tuple(cell.axes[axis] for axis in shown) for cell in self.cells]
        if artefact.kind == "table" and len(set(places)) < len(places):
            left = ", ".join(sorted(self.grid.keys() - set(shown)))
            raise UserError(f"artefacts.{name}: several cells share a place; add to rows: {left}.")
        metrics: dict[tuple[Value, ...], Metric] = {}
        for cell, place in zip(self.cells, places, strict=True):
            if metrics.setdefault(place[:-1], cell.metric) != cell.metric:
                raise UserError(f"artefacts.{name}: the cells of row {place[:-1]} have different metrics.")


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
    _check_together(read)
    return read


class _Loader(yaml.SafeLoader):
    """YAML in which a key that is given twice is a mistake; plain YAML keeps the last without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        for key, _ in reversed(node.value):
            if keys.count(key.value) > 1:
                raise yaml.YAMLError(f"line {key.start_mark.line + 1}: the key {key.value} is given twice")
        return super().construct_mapping(node, deep)


def _read_yaml(path: Path) -> Overrides:
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _Loader)  # noqa: S506 - a SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        raise UserError(f"{path}: not YAML{f', line {mark.line + 1}' if mark else ''}.") from None
    except yaml.YAMLError as error:
        raise UserError(f"{path}: {error}.") from None
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise UserError(f"{path}: it cannot be read: {why}.") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: a study is keys with values (it is {type(content).__name__}).")
    return content


def _at_every_scale(path: Path, contents: Mapping[str, Overrides]) -> dict[str, Study]:
    content = _with_base(path, contents)
    scales = content.pop("scales", {})
    if not isinstance(scales, dict) or not all(isinstance(over, dict) for over in scales.values()):
        raise UserError(
            f"{path}: scales: each scale has keys with values, as the study has (it is {scales})."
        )
    if "name" in content:
        raise UserError(f"{path}: unknown key name; a study is called as its file.")
    refuse_unknown(scales, SCALES, f"{path}: scales: unknown scale")
    studies: dict[str, Study] = {}
    for scale in SCALES:
        values = {"name": path.stem} | merged(content, scales.get(scale, {}))
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
    refuse_unknown([str(base)], contents, f"{path}: base: unknown study")
    if base in (path.stem, *seen):
        raise UserError(f"{path}: base: {base} is built on this study; a chain of bases must end.")
    below = _with_base(path.with_name(f"{base}.yaml"), contents, (*seen, path.stem))
    return merged({key: value for key, value in below.items() if key != "artefacts"}, content)


def _check_together(studies: Mapping[str, Study]) -> None:
    """What no study can see alone: an artefact has one owner, and further studies exist."""
    owner: dict[str, str] = {}
    for name, study in studies.items():
        for artefact, description in study.artefacts.items():
            if artefact in owner:
                raise UserError(f"{name}: artefact {artefact} is already made by {owner[artefact]}.")
            owner[artefact] = name
            refuse_unknown(
                description.studies, studies, f"{name}: artefacts.{artefact}.studies: unknown study"
            )


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


def notebook_of(artefact: str, folder: Path = Path("notebooks")) -> Path:
    """The notebook that makes an artefact: the one of its name, else the general one."""
    own = folder / f"{artefact}.ipynb"
    return own if own.is_file() else folder / "artefact.ipynb"


# -- selection and parts ---------------------------------------------------------------------------


def select(studies: Mapping[str, Study], only: Sequence[Mapping[str, Any]]) -> dict[str, list[Cell]]:
    """The cells of each study that `only` leaves, with the seeds that it leaves.

    Args:
        studies: by name.
        only: selections, of which a run must meet one; each is axis, or `seed`, → a value or several.
            Values are compared as text, because the command line gives text. Empty: everything.

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
