"""What a study means: validation, and the way from a grid to cells, runs and parts.

`conditions` is what its cells share, `grid` what they differ in, `special` what else differs in some of them.
How files become studies is said in `study_files`.
"""

import difflib
import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import pydantic
from pydantic import Field

from lapwing.conditions import (
    REGISTRIES,
    Conditions,
    Overrides,
    Value,
    check_metric,
    refuse_unknown,
    resolve,
)
from lapwing.datasets import datasets
from lapwing.errors import UserError, did_you_mean
from lapwing.results.artefact import BASELINE, Artefact, Metric
from lapwing.schema import Closed, Name, validate
from lapwing.training.settings import RunSettings

RESERVED = {
    "seed",
    "epoch",
    "step",
    "split",
    "metric",
    "value",
    "source",
    "is_corrupt",
    "key",
    "settings",
    "read_from",
}
"""Columns of results, which no axis may be called."""


Grid = dict[Name, list[Value]]
Where = dict[Name, Value | list[Value]]


class Special(Closed):
    """What differs in the cells that `where` describes."""

    where: Where = Field(min_length=1)
    set: Overrides = Field(min_length=1)

    def matches(self, axes: Mapping[str, Value]) -> bool:
        """Whether a cell with these axes is one of those described."""
        return all(axes[key] in as_list(wanted) for key, wanted in self.where.items())


def met(where: Mapping[str, Value | list[Value]], grids: Iterable[Grid]) -> Where | None:
    """What is left of `where` in those grids that have a cell which it describes; None if none has."""
    left = [
        {
            axis: [value for value in as_list(wanted) if value in grid.get(axis, [])]
            for axis, wanted in where.items()
        }
        for grid in grids
    ]
    met = [each for each in left if all(each.values())]
    if not met:
        return None
    return {axis: list(dict.fromkeys(value for each in met for value in each[axis])) for axis in where}


class Cell(Closed):
    """One point of a study's grid, resolved."""

    axes: dict[str, Value]
    seeds: list[int]
    settings: RunSettings
    metric: Metric
    minutes_per_run: float
    minutes_on_gpu: float | None
    read_from: int

    def job(self) -> Overrides:
        """What a training job is told about the cell."""
        return {"axes": self.axes, "seeds": self.seeds, "settings": self.settings.model_dump(mode="json")}

    def shown(self) -> Overrides:
        """What a notebook is told about the cell."""
        about = {"metric": self.metric.model_dump(), "seeds": self.seeds, "read_from": self.read_from}
        return {**self.axes, **about}


class Study(Closed):
    """One study at one scale."""

    name: Name
    title: str
    """What the study asks, in a line."""
    artefacts: dict[Name, Artefact] = Field(min_length=1)
    """The tables and figures that it is behind, by name."""
    grid: list[Grid] = []
    """Axis → values; dataset, corruption and method are axes of every grid. Several grids, of the same axes,
    make cells one after another."""
    axes: dict[Name, str] = {}
    """What a further axis sets: a dotted path into the conditions, `n_corrupt: sources.corrupt`, in which
    `{…}` is the value of another axis. An axis that sets nothing by itself stands in `special`."""
    parts_by: list[Name] = []
    """The axes that the runs of one training job share; all axes if empty."""
    conditions: Overrides = {}
    """What the cells share; see `conditions`."""
    special: list[Special] = []
    """`where`: axis → a value or several; `set`: the conditions that differ there."""

    @cached_property
    def cells(self) -> list[Cell]:
        """All cells, in the order of the grid."""
        return [self._cell(axes) for axes in self._points]

    @cached_property
    def _points(self) -> list[dict[str, Value]]:
        """The axes of all cells."""
        return [
            dict(zip(grid, point, strict=True))
            for grid in self.grid
            for point in itertools.product(*grid.values())
        ]

    @pydantic.field_validator("grid", mode="before", json_schema_input_type=Grid | list[Grid])
    @classmethod
    def _one_or_several(cls, grid: Any) -> Any:
        return [grid] if isinstance(grid, dict) else grid

    @cached_property
    def values(self) -> Grid:
        """The values of each axis, of all grids."""
        axes = self.grid[0] if self.grid else {}
        return {axis: list(dict.fromkeys(v for grid in self.grid for v in grid[axis])) for axis in axes}

    def _cell(self, axes: dict[str, Value]) -> Cell:
        where = f"cell {', '.join(str(value) for value in axes.values())}"
        values = self.conditions
        for special in self.special:
            if special.matches(axes):
                values = merged(values, special.set)
        for axis, path in self.axes.items():
            values = merged(values, _nested(_filled(path, axes), axes[axis]))
        conditions = validate(Conditions, values, where)
        return Cell(
            axes=axes,
            seeds=conditions.seeds,
            settings=resolve(axes, conditions, where),
            metric=conditions.metric,
            minutes_per_run=conditions.minutes_per_run,
            minutes_on_gpu=conditions.minutes_on_gpu,
            read_from=conditions.read_from,
        )

    def check(self) -> None:
        """Refuse names that are not known, and whatever matches nothing.

        Raises:
            UserError: names the first of them.
        """
        if self.grid:
            self._check_grids()
        elif self.conditions or self.special or self.axes:
            raise UserError("grid: a study with conditions needs axes: dataset, corruption and method.")
        refuse_unknown(self.parts_by, self.values, "parts_by: unknown axis")
        for special in self.special:
            self._check_special(special)
        _ = self.cells  # builds, and so checks, every cell
        for name, artefact in self.artefacts.items():
            self._check_artefact(name, artefact)

    def _check_grids(self) -> None:
        for grid in self.grid:
            if list(grid) != list(self.grid[0]):
                axes = ", ".join(grid)
                raise UserError(f"grid: each grid has the same axes in the same order ({axes} differ).")
            _check_grid(grid)
        points = [tuple(axes.values()) for axes in self._points]
        texts = [tuple(map(str, point)) for point in points]
        for point, times in (*Counter(points).items(), *Counter(texts).items()):
            if times > 1:
                raise UserError(f"grid: two grids make the cell {point}.")
        further = self.values.keys() - REGISTRIES.keys()
        refuse_unknown(self.axes, further, "axes: the grid has no axis")
        for axis, path in self.axes.items():
            refuse_unknown(_named(path), self.values.keys() - {axis}, f"axes: {axis}: unknown axis")
        used = {axis for special in self.special for axis in special.where}
        used |= {*self.axes, *(name for path in self.axes.values() for name in _named(path))}
        refuse_unknown(further, used, "neither axes nor special says what this axis sets:")

    def _check_special(self, special: Special) -> None:
        refuse_unknown(special.where, self.values, "special: unknown axis")
        for axis, wanted in special.where.items():
            refuse_unknown(as_list(wanted), self.values[axis], f"special: no cell has {axis}")
        if not any(special.matches(axes) for axes in self._points):
            raise UserError(f"special: no cell has all of {special.where}.")

    def _check_artefact(self, name: str, artefact: Artefact) -> None:
        """Whether the cells make its rows and columns, one cell each."""
        if not self.grid or artefact.studies:
            return  # nothing to arrange, or not from this study alone
        shown = (*artefact.rows, artefact.columns)
        refuse_unknown(shown, self.values, f"artefacts.{name}: rows and columns: unknown axis")
        if len(set(artefact.readings)) < len(artefact.readings):
            raise UserError(f"artefacts.{name}: readings: one is listed twice (it is {artefact.readings}).")
        refuse_unknown(artefact.only, self.values, f"artefacts.{name}: only: unknown axis")
        for axis, values in artefact.only.items():
            refuse_unknown(values, self.values[axis], f"artefacts.{name}: only: no cell has {axis}")
        for case in artefact.published.not_comparable if artefact.published else ():
            where = f"artefacts.{name}: published.not_comparable: unknown axis"
            refuse_unknown(case.where, self.values, where)
        cells = [cell for cell in self.cells if artefact.has(cell.axes)]
        places = [tuple(cell.axes[axis] for axis in shown) for cell in cells]
        is_arranged = artefact.kind == "table" or artefact.draws in ("lines", "boxes", "ranks")
        if is_arranged and len(set(places)) < len(places):
            left = ", ".join(sorted(self.values.keys() - set(shown)))
            raise UserError(f"artefacts.{name}: several cells share a place; add to rows: {left}.")
        metrics: dict[tuple[Value, ...], Metric] = {}
        for cell, place in zip(cells, places, strict=True):
            metric = artefact.metric or cell.metric
            if metrics.setdefault(place[:-1], metric) != metric:
                raise UserError(f"artefacts.{name}: the cells of row {place[:-1]} have different metrics.")
        self._check_readings(name, artefact)

    def _check_readings(self, name: str, artefact: Artefact) -> None:
        """Whether the cells have what is read from them."""
        if artefact.shows == "relative_change":
            refuse_unknown(
                [BASELINE], self.values["method"], f"artefacts.{name}: changes relate to a method:"
            )
        if artefact.kind == "figure" and artefact.draws == "lines":
            axis = artefact.rows[-1]
            if any(isinstance(value, str) for value in self.values[axis]):
                raise UserError(f"artefacts.{name}: lines need numbers; {axis} has {self.values[axis]}.")
        if artefact.marks_best_of:
            columns, where = map(str, self.values[artefact.columns]), f"artefacts.{name}: marks_best_of"
            refuse_unknown([artefact.marks_best_of], columns, f"{where}: there is no column")
        self._check_curves(name, artefact)
        is_asked = "validation" in (*artefact.readings, *(curve.split for curve in artefact.curves))
        for cell in self.cells if is_asked else ():
            split = cell.settings.corruption.split
            if not split.leaves_aside:
                raise UserError(
                    f"artefacts.{name}: validation needs data that are left aside "
                    f"(split.kind is {split.kind}; fraction and after_corruption leave some)."
                )

    def _check_curves(self, name: str, artefact: Artefact) -> None:
        """Whether what its learning curves show is measured of their splits."""
        shown = {str(cell.axes["dataset"]) for cell in self.cells if artefact.has(cell.axes)}
        for curve, dataset in itertools.product(artefact.curves, sorted(shown)):
            try:
                check_metric(curve.metric, datasets.get(dataset), curve.split)
            except UserError as error:
                where = f"artefacts.{name}: curves: {curve.split}"
                raise UserError(f"{where}: {error} This is of {dataset}.") from None


def _check_grid(grid: Grid) -> None:
    for axis, registry in REGISTRIES.items():
        if axis not in grid:
            raise UserError(f"grid has no axis {axis}.")
        refuse_unknown(grid[axis], registry.names(), f"grid: unknown {axis}")
    for axis, values in grid.items():
        if axis in RESERVED:
            raise UserError(f"grid: an axis cannot be called {axis}, which is a column of results.")
        if not values or min(len(set(values)), len(set(map(str, values)))) < len(values):
            raise UserError(f"grid: axis {axis} needs values that are different (it is {values}).")


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


_AXIS = re.compile(r"\{([^{}]*)\}")
"""The name of an axis in a path."""


def _named(path: str) -> list[str]:
    """The axes whose values stand in a path."""
    return _AXIS.findall(path)


def _filled(path: str, axes: Mapping[str, Value]) -> str:
    """A path with the values of axes in it."""
    return _AXIS.sub(lambda found: str(axes[found[1]]), path)


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
    axes = study.parts_by or list(study.values)
    named: dict[str, list[Cell]] = {}
    for cell in cells:
        named.setdefault("-".join(str(cell.axes[axis]) for axis in axes), []).append(cell)
    return named
