"""The metric by epoch."""

import textwrap
from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lapwing.results.artefact import Artefact, Cell
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


def learning_curves(artefact: Artefact, cells: Cells, results: pd.DataFrame, scale: str) -> Figure:
    """Draw the metric on the test split by epoch: a line per column ± one deviation, a panel per row."""
    every = read(cells)
    panels: dict[str, list[Cell]] = {}
    for cell, title in zip(every, row_titles(every, artefact), strict=True):
        panels.setdefault(title, []).append(cell)
    columns = columns_of(artefact, every)
    across = min(4, max(1, len(panels)))
    with style():
        figure, rows = grid(-(-len(panels) // across), across, artefact, scale, (2.2, 1.9))
        places = [place for row in rows for place in row]
        for (title, row), panel in zip(panels.items(), places, strict=False):
            _draw_row(panel, artefact, row, columns, results, every)
            panel.set(
                title=textwrap.fill(title, 30),
                xlabel="Epoch",
                ylabel=metric_label(artefact.metric_of(row[0])),
            )
        for unused in places[max(1, len(panels)) :]:
            unused.set_axis_off()
        if not panels:
            say_nothing_was_run(places[0])
        explain(figure, places, artefact)
    return figure


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


def _draw_row(
    panel: Axes,
    artefact: Artefact,
    row: Sequence[Cell],
    columns: Sequence[str],
    results: pd.DataFrame,
    cells: Sequence[Cell],
) -> None:
    looks = looks_of(columns)
    for cell in sorted(row, key=lambda cell: columns.index(column_of(artefact, cell))):
        column = column_of(artefact, cell)
        curve = _curve(artefact, cell, results, cells)
        if len(curve):
            label = in_words(artefact.columns, cell.axes[artefact.columns])
            number = columns.index(column)
            draw_curve(panel, curve.mean(axis=1), curve.std(axis=1), label, looks[column], number)
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
