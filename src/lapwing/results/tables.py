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
from lapwing.results import layout
from lapwing.results.artefact import BASELINE, Artefact, Cell, Metric
from lapwing.results.beside import Beside, PublishedRow
from lapwing.results.measures import Measured, Values, measure, rows_of
from lapwing.results.statistics import (
    Comparison,
    Summary,
    Verdict,
    compare,
    in_standard_errors,
    paired_differences,
    same_ordering,
    summarise,
)

MEASURES = [
    *["against", "quantity", "reading", "metric", "unit", "status", "mean", "std", "n", "asked", "diverged"],
    *["bold", "published_mean", "published_std", "published_n", "published_bold"],
    *["difference", "low", "high", "margin", "verdict", "standard_errors", "ordering_agrees"],
]
"""The columns of a table's frame after scale, row axes and column axis."""

COUNTS = ["n", "asked", "diverged", "published_n"]
TEXTS = ["verdict", "against", "unit", "status"]

Line = dict[str, Any]
"""A row of the frame."""


def build(
    artefact: Artefact,
    cells: Sequence[Mapping[str, Any]],
    results: pd.DataFrame,
    runs: pd.DataFrame,
    published_folder: Path,
    scale: str,
    sources: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Set a table's numbers beside the published ones.

    Args:
        artefact: the description of the table.
        cells: `{axes…, "metric": {…}, "seeds": […]}`, in the order of the table; cells without
            results show as "not run".
        results: tidy results of the studies behind it.
        runs: their runs; those that diverged count as lost.
        published_folder: holds `summary.csv` and the values per run.
        scale: at `paper` only there are verdicts.
        sources: their sources; only an artefact that shows something of sources reads them.

    Returns:
        Tidy: a row per cell and reading (`quantity` value), per method that is shown as published
        only, and per difference within a seed (`quantity` paired_difference).

    Raises:
        UserError: two cells fall on one place, a run has not what is shown, the published table is
            unknown, or it has a row of the table by another metric or reading, or several times.
    """
    parsed = [Cell.read(cell) for cell in cells]
    measured = measure(artefact, parsed, results, runs, sources)
    published = Beside.read(artefact, published_folder)
    lines: list[Line] = []
    for point, in_row in rows_of(artefact, parsed).items():
        builder = _RowBuilder(artefact, in_row, measured, published.row(in_row), scale)
        head = {"scale": scale, **dict(zip(artefact.rows, point, strict=True))}
        lines += [head | line for line in builder.lines()]
    columns = ["scale", *artefact.rows, artefact.columns, *MEASURES]
    frame = pd.DataFrame(lines, columns=columns)
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
    frame = pd.read_csv(path, dtype=dict.fromkeys([*TEXTS, artefact.columns], "string"))
    expected = ["scale", *artefact.rows, artefact.columns, *MEASURES]
    if list(frame.columns) != expected:
        raise UserError(f"{path} is not the table of this artefact; delete it and start again: rm {path}")
    return frame.astype(dict.fromkeys([*COUNTS, *_whole(frame, artefact)], "Int64"))


def _whole(frame: pd.DataFrame, artefact: Artefact) -> list[str]:
    """The axes of whole numbers that have gaps, in the lines below all rows: read as fractions."""
    floats = [axis for axis in artefact.rows if pd.api.types.is_float_dtype(frame[axis])]
    return [axis for axis in floats if frame[axis].hasnans and (frame[axis].dropna() % 1 == 0).all()]


# -- one row -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _RowBuilder:
    """A row of a table: its cells by column, and what was published for it."""

    artefact: Artefact
    cells: dict[str, Cell]
    measured: Measured
    published: PublishedRow
    scale: str

    def lines(self) -> list[Line]:
        """The row's part of the frame."""
        lines = [self._value(column, r) for r in self.artefact.readings for column in self._columns()]
        lines += [line for method in self.artefact.published_columns for line in self._published_only(method)]
        self._mark_bold(lines)
        agrees = self._ordering()
        for line in lines:
            line["ordering_agrees"] = agrees if line["reading"] == self.artefact.readings[0] else None
        return lines + [self._difference(method) for method in self.cells if self._has_difference(method)]

    def _columns(self) -> list[str]:
        """A change against standard has no column for standard."""
        is_change = self.artefact.shows == "relative_change"
        return [column for column in self.cells if not (is_change and column == BASELINE)]

    def _metric(self) -> Metric:
        return self.artefact.shown_of(next(iter(self.cells.values())))

    def _values(self, column: str, reading: str) -> Values:
        return self.measured.values(self.cells, column, reading)

    def _value(self, column: str, reading: str) -> Line:
        cell = self.cells[column]
        ours = summarise(self._values(column, reading).values())
        lost = self.measured.lost(self.cells, column)
        status = "has none" if self.measured.has_none(cell) else _status(ours.n, lost)
        line = self._head(column, "value", reading)
        line |= _numbers(self.measured.shown(self.cells, column, reading))
        line |= {"asked": len(cell.seeds), "diverged": lost, "status": status}
        return line | self._against_published(column, reading, ours)

    def _against_published(self, column: str, reading: str, ours: Summary) -> Line:
        theirs = self.published.of(column, reading)
        if theirs is None:
            return {}
        mean, std = self.published.printed(column, reading)
        line: Line = {"published_mean": mean, "published_std": std, "published_n": theirs.n or None}
        if not ours.n:
            return line
        compared = compare(ours, theirs, self._metric().smallest_margin)
        return line | _comparison(compared, self._verdict(column, compared.verdict))

    def _verdict(self, column: str, verdict: Verdict) -> str:
        if not layout.is_reproduction(self.scale):
            return ""
        return verdict if self._is_comparable(column) else "not comparable"

    def _is_comparable(self, column: str) -> bool:
        return not self.published.is_stand_in and self.artefact.is_comparable(self.cells[column])

    def _published_only(self, method: str) -> list[Line]:
        """A line for each reading of which values were published; always one for the first."""
        readings = [r for r in self.artefact.readings[1:] if self.published.of(method, r)]
        return [self._published_by(method, reading) for reading in (self.artefact.readings[0], *readings)]

    def _published_by(self, method: str, reading: str) -> Line:
        theirs, (mean, std) = self.published.of(method, reading), self.published.printed(method, reading)
        n = theirs.n or None if theirs else None
        beside = {"published_mean": mean, "published_std": std, "published_n": n}
        return self._head(method, "value", reading) | {"status": "published only"} | beside

    def _ordering(self) -> bool | None:
        """Whether the comparable columns that were run stand in the published order; None for a stand-in."""
        if self.published.is_stand_in:
            return None
        reading = self.artefact.readings[0]
        ours = {column: summarise(self._values(column, reading).values()) for column in self._columns()}
        means = {c: summary.mean for c, summary in ours.items() if summary.n and self._is_comparable(c)}
        theirs = {c: published.mean for c in means if (published := self.published.of(c, reading))}
        return same_ordering(means, theirs, self.artefact.decimals)

    def _has_difference(self, column: str) -> bool:
        is_method = self.artefact.columns == "method" and self.artefact.shows != "relative_change"
        return is_method and column != BASELINE and BASELINE in self.cells

    def _difference(self, method: str) -> Line:
        """Method minus the baseline within a seed, ours and the published."""
        reading, cell = self.artefact.readings[0], self.cells[method]
        ours = paired_differences(self._values(method, reading), self._values(BASELINE, reading))
        theirs = self.published.paired(method, BASELINE, reading)
        line = self._head(method, "paired_difference", reading) | _numbers(ours)
        lost = self.measured.lost(self.cells, method) + self.measured.lost(self.cells, BASELINE)
        status = "has none" if self.measured.has_none(cell) else _status(ours.n, lost)
        line |= {"against": BASELINE, "asked": len(cell.seeds), "status": status}
        if not theirs.n:
            return line
        line |= {"published_mean": theirs.mean, "published_std": theirs.std, "published_n": theirs.n}
        if ours.n and self._is_comparable(method) and self._is_comparable(BASELINE):
            line["difference"] = ours.mean - theirs.mean
            line["standard_errors"] = in_standard_errors(ours, theirs)
        return line

    def _head(self, column: str, quantity: str, reading: str) -> Line:
        metric = self._metric()
        head = {self.artefact.columns: column, "quantity": quantity, "reading": reading}
        return head | {"metric": metric.name, "unit": metric.unit, "bold": False, "published_bold": False}

    def _mark_bold(self, lines: list[Line]) -> None:
        better = self._metric().better
        for reading in self.artefact.readings:
            by_reading = [line for line in lines if line["reading"] == reading]
            _mark([line for line in by_reading if line.get("n")], "", self.artefact, better)
            theirs = [line for line in by_reading if _known(line.get("published_mean"))]
            _mark(theirs, "published_", self.artefact, better)


def _mark(lines: list[Line], prefix: str, artefact: Artefact, better: str) -> None:
    """Mark the cells that the rule makes bold, by their means as they are printed.

    The best is the first of equals (spec lap-experiments 8); nothing is best where there is one cell.
    """
    if artefact.bold == "none" or len(lines) < 2:
        return
    means = [round(line[f"{prefix}mean"], artefact.decimals) for line in lines]
    best = means.index(max(means) if better == "higher" else min(means))
    spread = lines[best][f"{prefix}std"]
    reach = spread if _known(spread) else 0.0
    for number, line in enumerate(lines):
        near = artefact.bold == "within_one_std" and abs(means[number] - means[best]) <= reach
        line[f"{prefix}bold"] = number == best or near


def _numbers(summary: Summary) -> Line:
    return {"mean": summary.mean, "std": summary.std, "n": summary.n}


def _comparison(compared: Comparison, verdict: str) -> Line:
    numbers = {"difference": compared.difference, "low": compared.low, "high": compared.high}
    return numbers | {"margin": compared.margin, "verdict": verdict}


def _status(n: int, lost: int) -> str:
    return "run" if n else "diverged" if lost else "not run"


def _known(value: Any) -> bool:
    return value is not None and not math.isnan(value)


def verdicts(frames: Iterable[pd.DataFrame]) -> dict[str, int]:
    """Count the verdicts of several tables, of each by its first reading."""
    first = [frame[frame["reading"] == frame["reading"].iloc[0]] for frame in frames if len(frame)]
    given = Counter(verdict for frame in first for verdict in frame["verdict"].dropna())
    return {str(verdict): count for verdict, count in given.items() if verdict}
