"""What a study file means: validation, and the way from a grid to cells, runs and parts.

A study file is YAML. `conditions` is what its cells share, `grid` what they differ in,
`special` what else differs in some of them, `scales` what differs at a scale. Every study is
built at every scale whenever it is read, so that a mistake at `paper` shows while one works at `demo`.
"""

import difflib
import itertools
import string
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import pydantic
import yaml
from pydantic import Field

from lapwing.conditions import REGISTRIES, Conditions, Overrides, Value, refuse_unknown, resolve
from lapwing.errors import UserError, did_you_mean
from lapwing.results.artefact import BASELINE, Artefact, Metric
from lapwing.schema import Closed, Name, validate
from lapwing.training.settings import RunSettings

Scale = Literal["demo", "paper"]
SCALES: tuple[Scale, ...] = ("demo", "paper")
RESERVED = {"seed", "epoch", "step", "split", "metric", "value", "source", "is_corrupt", "key", "settings"}
"""Columns of results, which no axis may be called."""


Grid = dict[Name, list[Value]]


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
        return [
            self._cell(dict(zip(grid, point, strict=True)))
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
        points = [str(point) for grid in self.grid for point in itertools.product(*grid.values())]
        for point, times in Counter(points).items():
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
        for cell in self.cells if "validation" in artefact.readings else ():
            split = cell.settings.corruption.split
            if split.kind != "fraction":
                raise UserError(
                    f"artefacts.{name}: readings: validation needs data that are left aside "
                    f"(split.kind is {split.kind}; fraction leaves some)."
                )


def _check_grid(grid: Grid) -> None:
    for axis, registry in REGISTRIES.items():
        if axis not in grid:
            raise UserError(f"grid has no axis {axis}.")
        refuse_unknown(grid[axis], registry.names(), f"grid: unknown {axis}")
    for axis, values in grid.items():
        if axis in RESERVED:
            raise UserError(f"grid: an axis cannot be called {axis}, which is a column of results.")
        if not values or len({str(value) for value in values}) < len(values):
            raise UserError(f"grid: axis {axis} needs values that are different (it is {values}).")


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
    _check_scales(path, scales)
    if "name" in content:
        raise UserError(f"{path}: unknown key name; a study is called as its file.")
    refuse_unknown(scales, SCALES, f"{path}: scales: unknown scale")
    studies: dict[str, Study] = {}
    for scale in SCALES:
        values = {"name": path.stem} | merged(content, scales.get(scale, {}))
        studies[scale] = validate(Study, _without_unmet(values), f"{path} ({scale})")
        try:
            studies[scale].check()
        except UserError as error:
            raise UserError(f"{path} ({scale}): {error}") from None
    return studies


def _check_scales(path: Path, scales: Any) -> None:
    if not isinstance(scales, dict) or not all(isinstance(over, dict) for over in scales.values()):
        raise UserError(
            f"{path}: scales: each scale has keys with values, as the study has (it is {scales})."
        )


def _with_base(path: Path, contents: Mapping[str, Overrides], seen: tuple[str, ...] = ()) -> Overrides:
    """A study's content over that of the study which it names as its `base`.

    Its special cases come after those of the base, also at a scale.
    """
    content = dict(contents[path.stem])
    base = content.pop("base", None)
    if base is None:
        return content
    refuse_unknown([str(base)], contents, f"{path}: base: unknown study")
    if base in (path.stem, *seen):
        raise UserError(f"{path}: base: {base} is built on this study; a chain of bases must end.")
    below = _with_base(path.with_name(f"{base}.yaml"), contents, (*seen, path.stem))
    _check_scales(path, content.get("scales", {}))
    whole = merged(_without_artefacts(below), content)
    for scale, over in whole.get("scales", {}).items():
        own, others = content.get("scales", {}).get(scale, {}), below.get("scales", {}).get(scale, {})
        whole["scales"][scale] = over | _special_cases(own, others)
    return whole | _special_cases(content, below)


def _without_artefacts(content: Overrides) -> Overrides:
    """What a study hands on: artefacts belong to it alone."""
    kept = {key: value for key, value in content.items() if key != "artefacts"}
    scales = {scale: _without_artefacts(over) for scale, over in content.get("scales", {}).items()}
    return kept | ({"scales": scales} if scales else {})


INHERITED = "inherited"
"""Marks a special case of a base until the cells are known: it may match none of them."""


def _special_cases(own: Overrides, base: Overrides) -> Overrides:
    """`special` of a study after that of its base; nothing where neither has it, or where it is no list."""
    if "special" not in own and "special" not in base:
        return {}
    ours, theirs = own.get("special", []), base.get("special", [])
    if not isinstance(ours, list) or not isinstance(theirs, list):
        return {"special": ours}
    return {"special": [{**case, INHERITED: True} for case in theirs if isinstance(case, dict)] + ours}


def _without_unmet(values: Overrides) -> Overrides:
    """The content of a study without the inherited special cases that match none of its cells."""
    if not isinstance(values.get("special"), list):
        return values
    kept = []
    for case in values["special"]:
        if not isinstance(case, dict) or INHERITED not in case:
            kept.append(case)
        elif (where := met(case["where"], values.get("grid"))) is not None:
            kept.append({"where": where, "set": case["set"]})
    return values | {"special": kept}


def met(where: Mapping[str, Any], grid: Any) -> Overrides | None:
    """What is left of `where` in a grid, or in several; None if it matches no cell."""
    grids = [one for one in (grid if isinstance(grid, list) else [grid]) if isinstance(one, dict)]
    met = {
        axis: [value for value in as_list(wanted) if any(value in one.get(axis, []) for one in grids)]
        for axis, wanted in where.items()
    }
    return met if all(met.values()) else None


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


def _named(path: str) -> list[str]:
    """The axes whose values stand in a path."""
    return [name for _, name, _, _ in string.Formatter().parse(path) if name is not None]


def _filled(path: str, axes: Mapping[str, Value]) -> str:
    """A path with the values of axes in it."""
    return path.format(**axes)


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
