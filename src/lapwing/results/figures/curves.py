"""The metric by epoch."""

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lapwing.results.artefact import Artefact, Cell, Curve
from lapwing.results.beside import Beside, PublishedRow
from lapwing.results.figures.panels import (
    Cells,
    column_of,
    columns_of,
    explain,
    grid,
    in_words,
    metric_label,
    of_cell,
    read,
    row_titles,
    say_nothing_was_run,
)
from lapwing.results.figures.style import Look, looks_of, style


def learning_curves(
    artefact: Artefact, cells: Cells, results: pd.DataFrame, scale: str, published: Path | None = None
) -> Figure:
    """Draw a metric by epoch: a line per column ± one deviation over the seeds.

    A panel per row of the artefact, of the metric on the test split; a line of panels per row where the
    artefact lists `curves`. Published curves stand beside these as thin lines.

    Args:
        artefact: what is drawn.
        cells: those of the artefact.
        results: tidy results of the studies behind it.
        scale: below `paper` there is a notice.
        published: the folder of the published values; None: ours alone.
    """
    every = read(cells)
    rows: dict[str, list[Cell]] = {}
    for cell, title in zip(every, row_titles(every, artefact), strict=True):
        rows.setdefault(title, []).append(cell)
    drawn = _Curves(artefact, every, results, columns_of(artefact, every))
    beside = Beside.read(artefact, published) if published and artefact.curves else None
    panels = [(title, row, curve) for title, row in rows.items() for curve in curves_of(artefact, row)]
    across = len(artefact.curves) or min(4, max(1, len(rows)))
    with style():
        size = (2.9, 2.2) if artefact.curves else (2.2, 1.9)
        figure, lines = grid(-(-len(panels) // across), across, artefact, scale, size)
        places = [place for line in lines for place in line]
        for (title, row, curve), panel in zip(panels, places, strict=False):
            drawn.draw(panel, row, curve, _published_row(artefact, row, beside))
            label = metric_label(curve.metric, curve.split)
            panel.set(title=textwrap.fill(title, 30), xlabel="Epoch", ylabel=label)
            panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        for unused in places[max(1, len(panels)) :]:
            unused.set_axis_off()
        if not panels:
            say_nothing_was_run(places[0])
        explain(figure, places, artefact)
    return figure


def curves_of(artefact: Artefact, row: Sequence[Cell]) -> tuple[Curve, ...]:
    """What the panels of a row show."""
    return artefact.curves or (Curve(split="test", metric=artefact.metric_of(row[0])),)


def _published_row(artefact: Artefact, row: Sequence[Cell], beside: Beside | None) -> PublishedRow | None:
    return beside.row({column_of(artefact, cell): cell for cell in row}) if beside else None


def draw_curve(
    panel: Axes, mean: "pd.Series[float]", spread: "pd.Series[float]", label: str, look: Look, number: int
) -> None:
    """Draw a line with a band around it; the one with the smallest `number` lies above all others."""
    spread = spread.fillna(0.0)
    panel.plot(
        mean.index, mean, label=label, color=look.colour, linestyle=look.dash, marker=look.marker,
        markersize=5, markeredgecolor="white", markeredgewidth=0.5, markevery=max(1, len(mean) // 10),
        zorder=3 - 0.01 * number,
    )  # fmt: skip
    panel.fill_between(mean.index, mean - spread, mean + spread, color=look.colour, alpha=0.2, linewidth=0)


@dataclass(frozen=True)
class _Curves:
    """The curves of all cells of an artefact."""

    artefact: Artefact
    cells: Sequence[Cell]
    results: pd.DataFrame
    columns: Sequence[str]

    def draw(self, panel: Axes, row: Sequence[Cell], curve: Curve, beside: PublishedRow | None) -> None:
        """Draw a curve of every column of a row, and the published one beside it."""
        looks, ran = looks_of(self.columns), False
        for number, column, cell in self._in_order(row):
            runs = self._of_runs(cell, curve)
            look, name = looks[column], in_words(self.artefact.columns, cell.axes[self.artefact.columns])
            if len(runs):
                ran = True
                draw_curve(panel, runs.mean(axis=1), runs.std(axis=1), name, look, number)
            if beside:
                theirs = beside.curve(column, curve.split, curve.metric.name)
                _draw_published(panel, theirs, f"{name}, published", look)
        if not panel.lines:
            say_nothing_was_run(panel)
        elif not ran:
            panel.text(0.5, 0.5, "not run", ha="center", transform=panel.transAxes, color="0.4")
        elif (epoch := self._best_epoch(row)) is not None:
            panel.axvline(epoch, color="black", linestyle="--", linewidth=0.8)

    def _in_order(self, row: Sequence[Cell]) -> Iterator[tuple[int, str, Cell]]:
        for cell in sorted(row, key=lambda cell: self.columns.index(column_of(self.artefact, cell))):
            column = column_of(self.artefact, cell)
            yield self.columns.index(column), column, cell

    def _of_runs(self, cell: Cell, curve: Curve) -> pd.DataFrame:
        """A cell's metric as it is shown: a row per epoch, a column per seed."""
        rows = of_cell(self.results, cell, self.cells)
        if rows.empty:
            return pd.DataFrame()
        chosen = rows[(rows["split"] == curve.split) & (rows["metric"] == curve.metric.name)]
        return chosen.pivot_table(index="epoch", columns="seed", values="value") * curve.metric.factor

    def _best_epoch(self, row: Sequence[Cell]) -> int | None:
        """The epoch of the best single test value over all runs of the marked column."""
        for cell in row:
            metric = self.artefact.metric_of(cell)
            runs = self._of_runs(cell, Curve(split="test", metric=metric))
            if column_of(self.artefact, cell) == self.artefact.marks_best_of and len(runs):
                best = runs.max(axis=1) if metric.better == "higher" else -runs.min(axis=1)
                return int(runs.index[int(best.to_numpy().argmax())])
        return None


def _draw_published(panel: Axes, mean: "pd.Series[float]", label: str, look: Look) -> None:
    """A thin line without marks."""
    if mean.empty:
        return
    panel.plot(
        mean.index, mean, label=label, color=look.colour, linestyle=look.dash, linewidth=0.7, alpha=0.8
    )
