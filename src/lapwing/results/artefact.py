"""What an artefact of a study is: a table or figure that a reader looks at, and the cells behind it."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from lapwing.schema import Closed, Name, validate

Reading = Annotated[str, Field(pattern=r"^(last|best|worst|validation|(mean|pooled)_last_[1-9]\d*)$")]
"""How one number is read from the epochs of a run on the test set: the last, the best or the worst epoch,
the one that is best on the validation data, the mean of the last k. `pooled_last_<k>` reads that mean too,
and shows the deviation of all last k epochs of all runs at once (spec lap-experiments 6.9)."""

Axis = str | int | float | bool

BASELINE = "standard"
"""The method against which differences and changes within a seed are taken."""


def _keys_as_text(values: object) -> object:
    """YAML reads the column 10 as a number; columns are called by text."""
    return {str(key): value for key, value in values.items()} if isinstance(values, Mapping) else values


ByColumn = Annotated[dict[str, Name], BeforeValidator(_keys_as_text)]


class Metric(Closed):
    """A metric of the test split: what it is called, which direction is better, and how it is shown."""

    name: Name
    better: Literal["higher", "lower"]
    unit: Literal["percent", "share", "mse", "loss"] = "percent"
    """`percent`: a share that is shown in percent; `share`: one that is shown as it is, from 0 to 1."""

    @property
    def factor(self) -> float:
        """What a stored value is multiplied by to be shown: results hold fractions."""
        return 100.0 if self.unit == "percent" else 1.0

    @property
    def smallest_margin(self) -> float:
        """The least margin of equivalence: one point for a share, none for an error."""
        return {"percent": 1.0, "share": 0.01}.get(self.unit, 0.0)


class Curve(Closed):
    """What a panel of learning curves shows."""

    split: Literal["train", "validation", "test"]
    metric: Metric


class Cell(Closed):
    """One point of a study's grid, as an artefact sees it."""

    axes: dict[Name, Axis]
    metric: Metric
    seeds: tuple[int, ...]
    """The seeds asked for; empty where the cell was not selected."""
    read_from: int = 1
    """The first epoch that a reading looks at."""

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> "Cell":
        """The cell written as `{dataset: …, method: …, metric: {…}, seeds: […]}`: the axes lie flat."""
        apart = {name: values[name] for name in ("metric", "seeds", "read_from") if name in values}
        axes = {key: value for key, value in values.items() if key not in apart}
        whole = {"metric": None, "seeds": (), **apart, "axes": axes}
        return validate(cls, whole, f"cell {axes}")


def selected(cells: Iterable[Mapping[str, Any]]) -> list[Cell]:
    """The cells that were asked for."""
    return [cell for cell in map(Cell.read, cells) if cell.seeds]


class NotComparable(Closed):
    """Cells whose published values are of something else: beside ours for orientation, without a verdict."""

    where: dict[Name, Axis | list[Axis]] = Field(min_length=1)
    """Axis → a value or several."""
    why: str
    """In a sentence: what differs, of whom."""

    def matches(self, cell: Cell) -> bool:
        """Whether it speaks of this cell."""
        pairs = ((cell.axes.get(axis), wanted) for axis, wanted in self.where.items())
        return all(value in (wanted if isinstance(wanted, list) else [wanted]) for value, wanted in pairs)


class Published(Closed):
    """Where an artefact's published values are."""

    study: Name
    """`published/<study>_runs.csv`, and the rows of `published/summary.csv`."""
    table: str
    """As `summary.csv` calls it: Table 1. It holds the published values of the first reading."""
    further_tables: tuple[str, ...] = ()
    """Further printed tables of the study: what the first has not, by readings that are shown."""
    columns: Name | ByColumn = Field({}, union_mode="left_to_right")
    """Where the columns are not methods: the published method of all columns, or that of each. A column
    axis by which the published values are told apart too (`n_sources`) is matched as well."""
    where: dict[Name, Axis] = {}
    """Axis → value: the cells of which the published values are, where they name no such axis."""
    not_comparable: tuple[NotComparable, ...] = ()


class Artefact(Closed):
    """A table or figure: what it shows and how."""

    kind: Literal["table", "figure"]
    title: str
    rows: tuple[Name, ...] = ()
    """The axes whose values make the rows of a table, or the panels of a figure."""
    columns: Name = "method"
    studies: tuple[Name, ...] = ()
    """Further studies whose cells it shows beside those of its own."""
    only: dict[Name, list[str | int | float]] = {}
    """Axis → the values of which it shows the cells; empty: it shows all."""
    stand_in: dict[Name, Name] = {}
    """Our dataset and the published one that it stands in for: published values are for orientation only."""
    remarks: tuple[str, ...] = ()
    """Sentences that stand below it: what a reader must know of its conditions."""
    published: Published | None = None
    published_columns: tuple[Name, ...] = ()
    """Further methods, shown with their published values only."""
    metric: Metric | None = None
    """Another metric than the one by which the cells are judged."""
    shows: Literal["metric", "relative_change", "source_auc"] = "metric"
    """`relative_change`: that of the metric against standard of the same seed; `source_auc`: how well the
    ranking of the sources at the end of training tells the corrupt ones from the others."""
    readings: tuple[Reading, ...] = Field(("last",), min_length=1)
    """The first is the published rule and is compared; the others are shown beside it."""
    decimals: int = Field(2, ge=0, le=6)
    bold: Literal["best", "within_one_std", "none"] = "best"
    draws: Literal[
        "learning_curves", "source_history", "multiplier_traces", "lines", "boxes", "ranks", "records"
    ] = "learning_curves"
    """What the general notebook draws for a figure. `multiplier_traces`: the multiplier of every source by
    step, a panel per cell; `lines`: each reading along the last axis of the rows, which is a number;
    `boxes`: the runs of each column; `ranks`: mean ranks of the columns and their critical difference;
    `records`: an electrocardiogram of some sources as the learner sees it."""
    curves: tuple[Curve, ...] = ()
    """The panels of its learning curves; none: one, of the metric on the test split. Published curves are
    thin lines in these."""
    marks_best_of: Name | None = None
    """A dashed line stands in every panel of its learning curves at the epoch of this column's best single
    test value."""
    classes: tuple[str, ...] = ()
    """What a reader calls the classes; their numbers where there are none. Only `records` names classes."""
    source_levels: dict[int, float] = {}
    """How noisy each corrupt source is, for figures that tell their sources apart by it; others are clean."""

    @model_validator(mode="after")
    def _whole(self) -> "Artefact":
        if self.kind == "table" and not self.rows:
            raise ValueError("a table needs the axes of its rows (rows: [dataset, corruption])")
        if self.kind == "figure" and self.draws in ("lines", "boxes", "ranks") and not self.rows:
            raise ValueError(f"a figure that draws {self.draws} needs the axes of its rows")
        if self.columns in self.rows:
            raise ValueError(f"{self.columns} is a row and a column")
        return self

    @model_validator(mode="after")
    def _shown(self) -> "Artefact":
        if self.shows == "relative_change" and self.columns != "method":
            raise ValueError("a relative change is one of methods against standard: columns are the methods")
        pooled = [reading for reading in self.readings if reading.startswith("pooled_")]
        if pooled and self.shows != "metric":
            raise ValueError(f"{pooled[0]} pools epochs of the metric (shows is {self.shows})")
        if self.shows == "source_auc" and (self.readings != ("last",) or self.metric):
            raise ValueError("shows source_auc: the ranking at the end of training has no reading, no metric")
        return self

    @property
    def shows_records(self) -> bool:
        """Whether it shows single records, which its results do not hold."""
        return self.kind == "figure" and self.draws == "records"

    def has(self, axes: Mapping[str, Any]) -> bool:
        """Whether it shows the cell with these axes."""
        return all(axes.get(axis) in values for axis, values in self.only.items())

    def is_comparable(self, cell: Cell) -> bool:
        """Whether nothing is said against setting what was published of a cell beside it."""
        cases = self.published.not_comparable if self.published else ()
        return not any(case.matches(cell) for case in cases)

    def metric_of(self, cell: Cell) -> Metric:
        """The metric that is read from the runs of a cell."""
        return self.metric or cell.metric

    def shown_of(self, cell: Cell) -> Metric:
        """What is shown of a cell: its metric, or what is made of it."""
        metric = self.metric_of(cell)
        if self.shows == "relative_change":
            return Metric(name=f"{metric.name}_rel_change", better=metric.better)
        if self.shows == "source_auc":
            return Metric(name="source_auc", better="higher", unit="share")
        return metric
