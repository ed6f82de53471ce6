"""A study's results in the published layout, beside the published values: the numbers, not yet the words.

`build` makes one tidy frame; `layout` turns it into Markdown, LaTeX and HTML.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from lapwing import files
from lapwing.errors import UserError
from lapwing.results import layout, published
from lapwing.results.artefact import Artefact, Axis, Cell, Metric
from lapwing.results.collect import Point, of_axes, without_diverged
from lapwing.results.statistics import (
    Comparison,
    Summary,
    Verdict,
    compare,
    in_standard_errors,
    paired_differences,
    read_run,
    same_ordering,
    summarise,
)

BASELINE = "standard"
"""Differences within a seed are taken against this method."""

MEASURES = [
    *["against", "quantity", "reading", "metric", "unit", "status", "mean", "std", "n", "asked", "diverged"],
    *["bold", "published_mean", "published_std", "published_n", "published_bold"],
    *["difference", "low", "high", "margin", "verdict", "standard_errors", "ordering_agrees"],
]
"""The columns of a table's frame after scale, row axes and column axis."""

COUNTS = ["n", "asked", "diverged", "published_n"]
TEXTS = ["verdict", "against", "unit", "status"]

Row = dict[str, Any]
Values = dict[int, float]
Run = frozenset[tuple[str, Axis]]
"""The axes of a run's cell, and its seed."""


@dataclass(frozen=True)
class PublishedValues:
    """The published side of an artefact, for one row: empty frames where there is none."""

    summary: pd.DataFrame
    runs: pd.DataFrame
    is_stand_in: bool = False

    def of(self, method: str) -> Summary | None:
        """The published sample of a method."""
        rows = self._rows(method)
        if rows.empty:
            return None
        mean, std, n = rows[["mean", "std", "n"]].iloc[0]
        return Summary(float(mean), float(std), 0 if pd.isna(n) else int(n))

    def printed(self, method: str) -> tuple[float, float]:
        """Mean and deviation as printed; NaN where there are none."""
        rows = self._rows(method)
        if rows.empty:
            return math.nan, math.nan
        return float(rows["printed_mean"].iloc[0]), float(rows["printed_std"].iloc[0])

    def paired(self, method: str, against: str) -> Summary:
        """The published differences within a run.

        A run is called by its seed or by its number, as the method's authors liked: those of two
        methods belong together only where both have the same.
        """
        values, others = self._runs_of(method), self._runs_of(against)
        return paired_differences(values, others) if values.keys() == others.keys() else summarise(())

    def _runs_of(self, method: str) -> Values:
        if self.runs.empty:
            return {}
        runs = self.runs[self.runs["method"] == method]
        return dict(zip(runs["seed"].tolist(), runs["value"].tolist(), strict=True))

    def _rows(self, method: str) -> pd.DataFrame:
        return self.summary[self.summary["method"] == method] if len(self.summary) else self.summary


def build(
    artefact: Artefact,
    cells: Sequence[Mapping[str, Any]],
    results: pd.DataFrame,
    runs: pd.DataFrame,
    published_folder: Path,
    scale: str,
) -> pd.DataFrame:
    """Set a table's numbers beside the published ones.

    Args:
        artefact: the description of the table.
        cells: `{axes…, "metric": {…}, "seeds": […]}`, in the order of the table; cells without
            results show as "not run".
        results: tidy results of the studies behind it.
        runs: their runs; those that diverged count as lost.
        published_folder: holds `summary.csv` and the values per run.
        scale: at `demo` there is no verdict.

    Returns:
        Tidy: a row per cell and reading (`quantity` value), per method that is shown as published
        only, and per difference within a seed (`quantity` paired_difference).

    Raises:
        UserError: two cells fall on one place, the published table is unknown, or it has a row of
            the table by another metric or reading, or several times.
    """
    parsed = [Cell.read(cell) for cell in cells]
    by_run = _by_run(parsed, _of_test(without_diverged(results, runs)))
    diverged = _diverged(parsed, runs)
    everything = _published(artefact, published_folder)
    rows: list[Row] = []
    for point, in_row in _rows_of(artefact, parsed).items():
        beside = _beside(artefact, next(iter(in_row.values())), everything)
        builder = _RowBuilder(artefact, in_row, by_run, diverged, beside, scale)
        head = {"scale": scale, **dict(zip(artefact.rows, point, strict=True))}
        rows += [head | row for row in builder.rows()]
    columns = ["scale", *artefact.rows, artefact.columns, *MEASURES]
    frame = pd.DataFrame(rows, columns=columns)
    return frame.astype(dict.fromkeys(COUNTS, "Int64"))


def save(frame: pd.DataFrame, artefact: Artefact, paths: Mapping[str, str | Path]) -> None:
    """Write the frame as CSV, and its layout as Markdown and LaTeX, each whole."""
    laid_out = layout.lay_out(frame, artefact)
    write = {
        "csv": lambda: frame.to_csv(index=False, lineterminator="\n"),
        "md": lambda: layout.to_markdown(laid_out),
        "tex": lambda: layout.to_latex(laid_out),
    }
    for kind, path in paths.items():
        files.write_text(Path(path), write[kind]())


def read(path: Path, artefact: Artefact) -> pd.DataFrame:
    """Read a frame that `save` wrote as CSV.

    Raises:
        UserError: it is missing, or is not a table of this artefact.
    """
    if not path.is_file():
        raise UserError(f"There is no file {path}.")
    frame = pd.read_csv(path, dtype=dict.fromkeys(TEXTS, "string"))
    expected = ["scale", *artefact.rows, artefact.columns, *MEASURES]
    if list(frame.columns) != expected:
        raise UserError(f"{path} is not the table of this artefact; delete it and start again: rm {path}")
    return frame.astype(dict.fromkeys(COUNTS, "Int64"))


# -- which runs, where ---------------------------------------------------------------------------------


def _rows_of(artefact: Artefact, cells: list[Cell]) -> dict[Point, dict[str, Cell]]:
    """The cells of each row by column, both in the order of the cells."""
    needed = {*artefact.rows, artefact.columns}
    rows: dict[Point, dict[str, Cell]] = {}
    for cell in cells:
        if not needed <= set(cell.axes):
            missing = ", ".join(sorted(needed - set(cell.axes)))
            raise UserError(f"{artefact.title}: its cells have no axis {missing}.")
        row = rows.setdefault(tuple(cell.axes[axis] for axis in artefact.rows), {})
        column = str(cell.axes[artefact.columns])
        if column in row:
            both = f"{row[column].axes}, {cell.axes}"
            raise UserError(f"{artefact.title}: two cells fall on one place: {both}.")
        row[column] = cell
    return rows


def _run(axes: Mapping[str, Axis], seed: int) -> Run:
    return frozenset({**axes, "seed": seed}.items())


def _by_run(cells: list[Cell], results: pd.DataFrame) -> dict[Run, pd.DataFrame]:
    """The rows of each run; the cells of an artefact may be of studies with different axes."""
    by_run: dict[Run, pd.DataFrame] = {}
    for axes in dict.fromkeys(tuple(cell.axes) for cell in cells):
        keys = [*axes, "seed"]
        if set(keys) <= set(results):
            groups = of_axes(results, axes, cells).groupby(keys, sort=False)
            by_run |= {_run_at(keys, point): rows for point, rows in groups}
    return by_run


def _run_at(keys: list[str], point: Any) -> Run:
    return frozenset(zip(keys, point, strict=True))


def _of_test(results: pd.DataFrame) -> pd.DataFrame:
    return results if results.empty else results[results["split"] == "test"]


def _diverged(cells: list[Cell], runs: pd.DataFrame) -> set[Run]:
    return set() if runs.empty else set(_by_run(cells, runs[runs["diverged_epoch"].notna()]))


# -- the published side --------------------------------------------------------------------------------


def _published(artefact: Artefact, folder: Path) -> PublishedValues | None:
    if artefact.published is None:
        return None
    wanted = artefact.published
    summary = published.read_summary(folder, wanted.study, wanted.table)
    return PublishedValues(summary, published.read_runs(folder, wanted.study))


def _beside(artefact: Artefact, cell: Cell, everything: PublishedValues | None) -> PublishedValues:
    """The published values of a cell's row; those of the dataset for which a stand-in stands."""
    if everything is None or artefact.published is None:
        return PublishedValues(pd.DataFrame(), pd.DataFrame())
    decided = {"dataset", "corruption", *artefact.rows} - {artefact.columns}
    row = {axis: value for axis, value in cell.axes.items() if axis in decided}
    stand_in = artefact.published.stand_in
    is_stand_in = row.get("dataset") in stand_in
    row |= {"dataset": stand_in[str(row["dataset"])]} if is_stand_in else {}
    read: dict[str, Axis] = {"metric": cell.metric.name, "reading": artefact.readings[0]}
    summary = _matching(everything.summary, row | read)
    _refuse_unclear(artefact, row | read, summary, _matching(everything.summary, row))
    return PublishedValues(summary, _matching(everything.runs, row | read), is_stand_in)


def _refuse_unclear(
    artefact: Artefact, wanted: dict[str, Axis], found: pd.DataFrame, in_row: pd.DataFrame
) -> None:
    """One published value per method: not by another metric or reading, and not several."""
    place = ", ".join(f"{axis}={value}" for axis, value in wanted.items())
    where = f"{artefact.title}: published: {artefact.published and artefact.published.table}"
    if found.empty and len(in_row):
        there = in_row[["metric", "reading"]].drop_duplicates().itertuples(index=False)
        instead = " and ".join(f"metric={metric}, reading={reading}" for metric, reading in there)
        raise UserError(f"{where} has no {place}; it has {instead} there.")
    twice = found[found.duplicated("method")]
    if len(twice):
        method = twice["method"].iloc[0]
        raise UserError(
            f"{where} has several values of {place}, method={method}; its rows must tell them apart."
        )


def _matching(frame: pd.DataFrame, row: dict[str, Axis]) -> pd.DataFrame:
    if not set(row) <= set(frame.columns):
        return frame.iloc[:0]
    for axis, value in row.items():
        frame = frame[frame[axis] == value]
    return frame


# -- one row -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _RowBuilder:
    """A row of a table: its cells by column, and what was published for it."""

    artefact: Artefact
    cells: dict[str, Cell]
    by_run: dict[Run, pd.DataFrame]
    diverged: set[Run]
    beside: PublishedValues
    scale: str

    def rows(self) -> list[Row]:
        """The row's part of the frame."""
        rows = [self._value(column, r) for r in self.artefact.readings for column in self.cells]
        rows += [self._published_only(method) for method in self.artefact.published_columns]
        self._mark_bold(rows)
        agrees = self._ordering()
        for row in rows:
            row["ordering_agrees"] = agrees if row["reading"] == self.artefact.readings[0] else None
        return rows + [self._difference(method) for method in self.cells if self._has_difference(method)]

    def _values(self, cell: Cell, reading: str) -> Values:
        """One number per seed that ended."""
        values = {}
        for seed in cell.seeds:
            epochs = self.by_run.get(_run(cell.axes, seed))
            if epochs is None:
                continue
            chosen = epochs[epochs["metric"] == cell.metric.name]
            if chosen.empty:
                raise UserError(f"{self.artefact.title}: {cell.axes} has no metric {cell.metric.name}.")
            values[seed] = read_run(chosen, reading, cell.metric.better) * cell.metric.factor
        return values

    def _value(self, column: str, reading: str) -> Row:
        cell = self.cells[column]
        values = self._values(cell, reading)
        ours = summarise(values.values())
        lost = sum(_run(cell.axes, seed) in self.diverged for seed in cell.seeds)
        row = self._head(column, "value", reading, cell.metric) | _columns(ours)
        row |= {"asked": len(cell.seeds), "diverged": lost, "status": _status(ours.n, lost)}
        if reading == self.artefact.readings[0]:
            row |= self._against_published(column, cell.metric, ours)
        return row

    def _against_published(self, column: str, metric: Metric, ours: Summary) -> Row:
        theirs = self.beside.of(column)
        if theirs is None:
            return {}
        mean, std = self.beside.printed(column)
        row: Row = {"published_mean": mean, "published_std": std, "published_n": theirs.n or None}
        if not ours.n:
            return row
        compared = compare(ours, theirs, metric.smallest_margin)
        return row | _comparison(compared, self._verdict(compared.verdict))

    def _verdict(self, verdict: Verdict) -> str:
        if self.scale == "demo":
            return ""
        return "not comparable" if self.beside.is_stand_in else verdict

    def _published_only(self, method: str) -> Row:
        metric = next(iter(self.cells.values())).metric
        theirs, (mean, std) = self.beside.of(method), self.beside.printed(method)
        row = self._head(method, "value", self.artefact.readings[0], metric)
        n = theirs.n or None if theirs else None
        beside = {"published_mean": mean, "published_std": std, "published_n": n}
        return row | {"status": "published only"} | beside

    def _ordering(self) -> bool | None:
        """Whether the methods that were run stand in the published order; None for a stand-in."""
        if self.beside.is_stand_in:
            return None
        reading = self.artefact.readings[0]
        ours = {m: summarise(self._values(cell, reading).values()) for m, cell in self.cells.items()}
        means = {m: summary.mean for m, summary in ours.items() if summary.n}
        theirs = {m: published.mean for m in means if (published := self.beside.of(m))}
        return same_ordering(means, theirs, self.artefact.decimals)

    def _has_difference(self, method: str) -> bool:
        return self.artefact.columns == "method" and method != BASELINE and BASELINE in self.cells

    def _difference(self, method: str) -> Row:
        """Method minus the baseline within a seed, ours and the published."""
        reading, cell = self.artefact.readings[0], self.cells[method]
        ours = paired_differences(self._values(cell, reading), self._values(self.cells[BASELINE], reading))
        theirs = self.beside.paired(method, BASELINE)
        row = self._head(method, "paired_difference", reading, cell.metric) | _columns(ours)
        row |= {"against": BASELINE, "asked": len(cell.seeds), "status": _status(ours.n, 0)}
        if not theirs.n:
            return row
        row |= {"published_mean": theirs.mean, "published_std": theirs.std, "published_n": theirs.n}
        if ours.n and not self.beside.is_stand_in:
            row["difference"] = ours.mean - theirs.mean
            row["standard_errors"] = in_standard_errors(ours, theirs)
        return row

    def _head(self, column: str, quantity: str, reading: str, metric: Metric) -> Row:
        head = {self.artefact.columns: column, "quantity": quantity, "reading": reading}
        return head | {"metric": metric.name, "unit": metric.unit, "bold": False, "published_bold": False}

    def _mark_bold(self, rows: list[Row]) -> None:
        better = next(iter(self.cells.values())).metric.better
        for reading in self.artefact.readings:
            line = [row for row in rows if row["reading"] == reading and row.get("n")]
            _mark(line, "", self.artefact, better)
        theirs = [row for row in rows if _known(row.get("published_mean"))]
        _mark(theirs, "published_", self.artefact, better)


def _mark(rows: list[Row], prefix: str, artefact: Artefact, better: str) -> None:
    """Mark the cells that the rule makes bold, by their means as they are printed.

    The best is the first of equals (spec lap-experiments 8); nothing is best where there is one cell.
    """
    if artefact.bold == "none" or len(rows) < 2:
        return
    means = [round(row[f"{prefix}mean"], artefact.decimals) for row in rows]
    best = means.index(max(means) if better == "higher" else min(means))
    spread = rows[best][f"{prefix}std"]
    reach = spread if _known(spread) else 0.0
    for number, row in enumerate(rows):
        near = artefact.bold == "within_one_std" and abs(means[number] - means[best]) <= reach
        row[f"{prefix}bold"] = number == best or near


def _columns(summary: Summary) -> Row:
    return {"mean": summary.mean, "std": summary.std, "n": summary.n}


def _comparison(compared: Comparison, verdict: str) -> Row:
    numbers = {"difference": compared.difference, "low": compared.low, "high": compared.high}
    return numbers | {"margin": compared.margin, "verdict": verdict}


def _status(n: int, lost: int) -> str:
    return "run" if n else "diverged" if lost else "not run"


def _known(value: Any) -> bool:
    return value is not None and not math.isnan(value)


def verdicts(frames: Iterable[pd.DataFrame]) -> dict[str, int]:
    """Count the verdicts of several tables."""
    given = Counter(verdict for frame in frames for verdict in frame["verdict"].dropna())
    return {str(verdict): count for verdict, count in given.items() if verdict}
