"""The metric by epoch."""

import textwrap
from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lapwing.results.artefact import Artefact, Cell
from lapwing.results.figures.panels import (
    Cells,
    asked,
    column_of,
    columns_of,
    explain,
    grid,
    in_words,
    metric_label,
    of_cell,
    say_nothing_was_run,
)
from lapwing.results.figures.style import DASHES, MARKERS, colours_of, style


def learning_curves(artefact: Artefact, cells: Cells, results: pd.DataFrame, scale: str) -> Figure:
    """Draw the metric on the test split by epoch: a line per column ± one deviation, a panel per row."""
    chosen = asked(cells)
    panels = _panels(artefact, chosen)
    columns = columns_of(artefact, chosen)
    across = min(4, max(1, len(panels)))
    with style():
        figure, rows = grid(-(-len(panels) // across), across, artefact, scale, (2.2, 1.9))
        places = [place for row in rows for place in row]
        for (title, row), panel in zip(panels.items(), places, strict=False):
            _draw_row(panel, artefact, row, columns, results, chosen)
            panel.set(
                title=textwrap.fill(title, 30),
                xlabel="Epoch",
                ylabel=metric_label(artefact.metric_of(row[0])),
            )
        for unused in places[max(1, len(panels)) :]:
            unused.set_axis_off()
        explain(figure, places, artefact)
    return figure


def draw_curve(
    panel: Axes, mean: "pd.Series[float]", spread: "pd.Series[float]", label: str, colour: str, number: int
) -> None:
    """Draw a line with a band around it; `number` chooses its dash and marker."""
    spread = spread.fillna(0.0)
    panel.plot(
        mean.index, mean, label=label, color=colour, linestyle=DASHES[number % len(DASHES)],
        marker=MARKERS[number % len(MARKERS)], markersize=5, markeredgecolor="white", markeredgewidth=0.5,
        markevery=max(1, len(mean) // 10),
    )  # fmt: skip
    panel.fill_between(mean.index, mean - spread, mean + spread, color=colour, alpha=0.2, linewidth=0)


def _draw_row(
    panel: Axes,
    artefact: Artefact,
    row: Sequence[Cell],
    columns: Sequence[str],
    results: pd.DataFrame,
    cells: Sequence[Cell],
) -> None:
    colours = colours_of(columns)
    for cell in sorted(row, key=lambda cell: columns.index(column_of(artefact, cell))):
        column = column_of(artefact, cell)
        curve = _curve(artefact, cell, results, cells)
        if len(curve):
            label = in_words(artefact.columns, cell.axes[artefact.columns])
            number = columns.index(column)
            draw_curve(panel, curve.mean(axis=1), curve.std(axis=1), label, colours[column], number)
    if not panel.lines:
        say_nothing_was_run(panel)


def _curve(artefact: Artefact, cell: Cell, results: pd.DataFrame, cells: Sequence[Cell]) -> pd.DataFrame:
    """A cell's metric on the test split as it is shown: a row per epoch, a column per seed."""
    rows = of_cell(results, cell, cells)
    if rows.empty:
        return pd.DataFrame()
    metric = artefact.metric_of(cell)
    test = rows[(rows["split"] == "test") & (rows["metric"] == metric.name)]
    return test.pivot_table(index="epoch", columns="seed", values="value") * metric.factor


def _panels(artefact: Artefact, cells: Sequence[Cell]) -> dict[str, list[Cell]]:
    """The cells that were asked for, by row; the title of a row leaves out what never changes."""
    changing = [axis for axis in artefact.rows if len({cell.axes[axis] for cell in cells}) > 1]
    rows: dict[str, list[Cell]] = {}
    for cell in cells:
        title = ", ".join(in_words(axis, cell.axes[axis]) for axis in changing or artefact.rows)
        rows.setdefault(title, []).append(cell)
    return rows
