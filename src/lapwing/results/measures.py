"""What is shown of one run: its metric by a reading, a change against standard, the ranking of its sources.

The cells of an artefact may be of studies with different axes; a run is told by the axes of its cell.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from lapwing.corruption import corruptions
from lapwing.errors import UserError
from lapwing.results.artefact import BASELINE, Artefact, Cell
from lapwing.results.collect import Point, Run, at_the_end, by_run, run_of, without_diverged
from lapwing.results.statistics import Summary, last_epochs, ranking_auc, read_run, summarise

Values = dict[int, float]
"""Seed → the number of its run."""

Row = Mapping[str, Cell]
"""The cells of a row, by column."""


@dataclass(frozen=True)
class Measured:
    """The runs of an artefact, and what is shown of each."""

    artefact: Artefact
    results: dict[Run, pd.DataFrame]
    sources: dict[Run, pd.DataFrame]
    """At the end of training."""
    diverged: set[Run]

    def values(self, row: Row, column: str, reading: str) -> Values:
        """One number per seed that ended; none where a run has nothing of the kind."""
        cell = row[column]
        if self.artefact.shows == "source_auc":
            return self._source_auc(cell)
        values = self._read(cell, reading)
        if self.artefact.shows == "metric":
            return values
        against = self._read(self._baseline(row), reading)
        return {
            seed: 100 * (value - against[seed]) / against[seed]
            for seed, value in values.items()
            if against.get(seed)
        }

    def shown(self, row: Row, column: str, reading: str) -> Summary:
        """What a place shows: mean and deviation of the runs, or of their pooled epochs; how many runs."""
        ours = summarise(self.values(row, column, reading).values())
        if not reading.startswith("pooled_"):
            return ours
        factor, epochs = self.artefact.metric_of(row[column]).factor, self._epochs(row[column], reading)
        pooled = summarise(factor * value for _, run in epochs for value in last_epochs(run, reading))
        return Summary(ours.mean, pooled.std, ours.n)

    def lost(self, row: Row, column: str) -> int:
        """How many seeds have no number because a run diverged."""
        cells = [row[column]]
        if self.artefact.shows == "relative_change":
            cells.append(self._baseline(row))
        seeds = row[column].seeds
        return sum(any(run_of(cell.axes, seed) in self.diverged for cell in cells) for seed in seeds)

    def has_none(self, cell: Cell) -> bool:
        """Whether the cell was run, and has nothing of what is shown."""
        ran = any(run_of(cell.axes, seed) in self.sources for seed in cell.seeds)
        return self.artefact.shows == "source_auc" and ran and not self._source_auc(cell)

    def _baseline(self, row: Row) -> Cell:
        if BASELINE not in row:
            axes = next(iter(row.values())).axes
            place = ", ".join(f"{axis}={axes[axis]}" for axis in self.artefact.rows)
            raise UserError(f"{self.artefact.title}: row {place} has no {BASELINE}, to which changes relate.")
        return row[BASELINE]

    def _read(self, cell: Cell, reading: str) -> Values:
        """The metric in the unit in which it is shown."""
        metric = self.artefact.metric_of(cell)
        return {
            seed: read_run(epochs, reading, metric.better) * metric.factor
            for seed, epochs in self._epochs(cell, reading)
        }

    def _epochs(self, cell: Cell, reading: str) -> Iterator[tuple[int, pd.DataFrame]]:
        """The rows of the metric that a reading looks at, of each seed.

        Raises:
            UserError: a run has not what is read.
        """
        metric = self.artefact.metric_of(cell)
        for seed, epochs in _of_seeds(self.results, cell):
            chosen = epochs[(epochs["metric"] == metric.name) & (epochs["epoch"] >= cell.read_from)]
            if "test" not in set(chosen["split"]):
                raise UserError(f"{self.artefact.title}: {cell.axes} has no metric {metric.name}.")
            if reading == "validation" and "validation" not in set(chosen["split"]):
                raise UserError(
                    f"{self.artefact.title}: {cell.axes} leaves no data aside for the reading validation; "
                    "split.kind fraction or after_corruption does."
                )
            yield seed, chosen

    def _source_auc(self, cell: Cell) -> Values:
        """Of the runs with a corrupt and a clean source; corrupt are none where nothing is corrupted."""
        if not corrupts(cell):
            return {}
        found = {seed: _auc(sources) for seed, sources in _of_seeds(self.sources, cell)}
        return {seed: auc for seed, auc in found.items() if auc == auc}


def measure(
    artefact: Artefact,
    cells: Sequence[Cell],
    results: pd.DataFrame,
    runs: pd.DataFrame,
    sources: pd.DataFrame | None = None,
) -> Measured:
    """Take the runs of an artefact from the tidy tables of its studies.

    Args:
        artefact: says what is shown of them.
        cells: those of the artefact.
        results: tidy results of the studies behind it.
        runs: their runs; those that diverged count as lost.
        sources: their sources; only for what is shown of sources.
    """
    of_sources = pd.DataFrame()
    if artefact.shows == "source_auc" and sources is not None:
        of_sources = at_the_end(without_diverged(sources, runs))
    return Measured(
        artefact,
        by_run(cells, without_diverged(results, runs)),
        by_run(cells, of_sources),
        set() if runs.empty else set(by_run(cells, runs[runs["diverged_epoch"].notna()])),
    )


def rows_of(artefact: Artefact, cells: Sequence[Cell]) -> dict[Point, dict[str, Cell]]:
    """The cells of each row by column, both in the order of the cells.

    Raises:
        UserError: a cell has not the axes, or two cells fall on one place.
    """
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


def corrupts(cell: Cell) -> bool:
    """Whether the samples of the cell's corrupt sources are corrupted: those of original data are not."""
    corruption = str(cell.axes.get("corruption"))
    return bool(corruptions.get(corruption).corrupts) if corruption in corruptions.names() else True


def _auc(sources: pd.DataFrame) -> float:
    """By the unreliability at the end, else by the mean loss in the last epoch."""
    counted = sources["unreliability"]
    scores = counted if counted.notna().any() else sources["mean_loss"]
    return ranking_auc(scores.tolist(), sources["is_corrupt"].tolist())


def _of_seeds(table: Mapping[Run, pd.DataFrame], cell: Cell) -> Iterator[tuple[int, pd.DataFrame]]:
    for seed in cell.seeds:
        rows = table.get(run_of(cell.axes, seed))
        if rows is not None:
            yield seed, rows
