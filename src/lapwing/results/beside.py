"""The published side of an artefact: which published values stand beside which cells."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from lapwing.errors import UserError
from lapwing.results import published
from lapwing.results.artefact import Artefact, Axis, Cell, Published
from lapwing.results.measures import Row, Values
from lapwing.results.statistics import Summary, paired_differences, summarise

Place = dict[str, Axis]
"""What the published rows of a place have: method, and conditions."""


@dataclass(frozen=True)
class PublishedRow:
    """The published values of one row: empty frames where there are none."""

    summary: pd.DataFrame
    runs: pd.DataFrame
    places: Mapping[str, Place]
    """By column."""
    is_stand_in: bool = False
    curves: pd.DataFrame = field(default_factory=pd.DataFrame)

    def curve(self, column: str, split: str, metric: str) -> "pd.Series[float]":
        """The published mean by epoch; empty where there is none."""
        wanted: Place = {"split": split, "metric": metric}
        found = matching(self.curves, self.places[column] | wanted)
        means: pd.Series[float] = (
            found.groupby("epoch")["value"].mean() if len(found) else pd.Series(dtype=float)
        )
        return means

    def of(self, column: str, reading: str) -> Summary | None:
        """The published sample of a column."""
        rows = self._rows(column, reading)
        if rows.empty:
            return None
        mean, std, n = rows[["mean", "std", "n"]].iloc[0]
        return Summary(float(mean), float(std), 0 if pd.isna(n) else int(n))

    def printed(self, column: str, reading: str) -> tuple[float, float]:
        """Mean and deviation as printed, else of the published runs; NaN where there are none."""
        rows = self._rows(column, reading)
        if rows.empty:
            return math.nan, math.nan
        prefix = "" if pd.isna(rows["printed_mean"].iloc[0]) else "printed_"
        return float(rows[f"{prefix}mean"].iloc[0]), float(rows[f"{prefix}std"].iloc[0])

    def paired(self, column: str, against: str, reading: str) -> Summary:
        """The published differences within a run.

        A run is called by its seed or by its number, as the method's authors liked: those of two
        methods belong together only where both have the same.
        """
        values, others = self._runs_of(column, reading), self._runs_of(against, reading)
        return paired_differences(values, others) if values.keys() == others.keys() else summarise(())

    def _runs_of(self, column: str, reading: str) -> Values:
        runs = matching(self.runs, self.places[column] | {"reading": _of_runs(reading)})
        if runs.empty or runs["seed"].duplicated().any():
            return {}  # of several settings, of which the table shows one
        return dict(zip(runs["seed"].tolist(), runs["value"].tolist(), strict=True))

    def _rows(self, column: str, reading: str) -> pd.DataFrame:
        return matching(self.summary, self.places[column] | {"reading": _of_runs(reading)})


@dataclass(frozen=True)
class Beside:
    """All published values of an artefact."""

    artefact: Artefact
    summary: pd.DataFrame
    runs: pd.DataFrame
    curves: pd.DataFrame = field(default_factory=pd.DataFrame)
    """Only where the artefact shows curves."""

    @classmethod
    def read(cls, artefact: Artefact, folder: Path) -> "Beside":
        """Read them from `published/`.

        Raises:
            UserError: a table is not there, or is one of a reading that the artefact does not show.
        """
        wanted = artefact.published
        if wanted is None:
            return cls(artefact, pd.DataFrame(), pd.DataFrame())
        summary = published.read_summary(folder, wanted.study, wanted.table)
        for name in wanted.further_tables:
            table = published.read_summary(folder, wanted.study, name)
            if not set(table["reading"]) <= set(map(_of_runs, artefact.readings)):
                reading = " and ".join(table["reading"].unique())
                raise UserError(
                    f"{artefact.title}: published: {name} has the reading {reading}; "
                    "a further table has one of the readings that are shown."
                )
            summary = pd.concat([summary, published.only_new(table, summary)], ignore_index=True)
        curves = published.read_curves(folder, wanted.study) if artefact.curves else pd.DataFrame()
        return cls(artefact, summary, published.read_runs(folder, wanted.study), curves)

    def row(self, cells: Row) -> PublishedRow:
        """What was published for a row, that of the dataset for which a stand-in stands.

        Raises:
            UserError: there is no value of the first reading but others, or several of one place.
        """
        where, cell = self.artefact.published, next(iter(cells.values()))
        if where is None or any(cell.axes.get(axis) != value for axis, value in where.where.items()):
            nothing = self.summary.iloc[:0], self.runs.iloc[:0]
            return PublishedRow(*nothing, dict.fromkeys(self._columns(cells), {}))
        is_stand_in = cell.axes.get("dataset") in self.artefact.stand_in
        wanted = self._of_row(where, cell)
        places = self._places(where, cells)
        metric: Place = {"metric": self.artefact.shown_of(cell).name}
        summary, runs = (matching(table, wanted | metric) for table in (self.summary, self.runs))
        if not self.artefact.curves:  # these have no reading
            self._refuse_another_reading(wanted | metric, summary, matching(self.summary, wanted))
        row = PublishedRow(summary, runs, places, is_stand_in, matching(self.curves, wanted))
        self._refuse_several(wanted | metric, row)
        return row

    def _of_row(self, where: Published, cell: Cell) -> Place:
        """The axes that a row's published values have; the dataset is the published one."""
        rows = set(self.artefact.rows)
        # Axes of every cell; where the published values name none, they are of one only.
        shared = {axis for axis in ("dataset", "corruption") if self.summary[axis].notna().any()}
        decided = (rows | shared) - {self.artefact.columns, *where.where}
        row: Place = {axis: value for axis, value in cell.axes.items() if axis in decided}
        if "dataset" in row:
            row["dataset"] = self.artefact.stand_in.get(str(row["dataset"]), row["dataset"])
        return row

    def _places(self, where: Published, cells: Row) -> dict[str, Place]:
        """What the published values of each column have."""
        axis, method_of = self.artefact.columns, where.columns
        places: dict[str, Place] = {column: {"method": column} for column in self._columns(cells)}
        if axis == "method":
            return places
        for column, cell in cells.items():
            method = method_of if isinstance(method_of, str) else method_of.get(column, column)
            condition = {axis: cell.axes[axis]} if axis in published.CONDITIONS else {}
            places[column] = {"method": method, **condition}
        return places

    def _columns(self, cells: Row) -> list[str]:
        return [*cells, *self.artefact.published_columns]

    def _refuse_another_reading(self, wanted: Place, found: pd.DataFrame, in_row: pd.DataFrame) -> None:
        """The first reading is the published rule: not another one, nor another metric."""
        reading = _of_runs(self.artefact.readings[0])
        if len(in_row) and reading not in set(found["reading"]):
            there = in_row[["metric", "reading"]].drop_duplicates().itertuples(index=False)
            instead = " and ".join(f"metric={metric}, reading={reading}" for metric, reading in there)
            place = _shown(wanted | {"reading": reading})
            raise UserError(f"{self._where()} has no {place}; it has {instead} there.")

    def _refuse_several(self, wanted: Place, row: PublishedRow) -> None:
        for place in row.places.values():
            found = matching(row.summary, place)
            if found.duplicated("reading").any():
                shown = _shown(wanted | {"reading": found["reading"].iloc[0]} | place)
                raise UserError(
                    f"{self._where()} has several values of {shown}; its rows must tell them apart."
                )

    def _where(self) -> str:
        table = self.artefact.published.table if self.artefact.published else "none"
        return f"{self.artefact.title}: published: {table}"


def _of_runs(reading: str) -> str:
    """Pooled epochs are published under the mean of the same epochs: only their deviation is another."""
    return reading.replace("pooled_", "mean_")


def matching(table: pd.DataFrame, place: Place) -> pd.DataFrame:
    """The rows that have these values; none where the table has not these columns."""
    if not set(place) <= set(table.columns):
        return table.iloc[:0]
    for axis, value in place.items():
        table = table[table[axis] == value]
    return table


def _shown(place: Place) -> str:
    return ", ".join(f"{axis}={value}" for axis, value in place.items())
