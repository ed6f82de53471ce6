"""A metric along an axis of a study: lines over a number, boxes over the values of a hyperparameter."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator

from lapwing.errors import UserError
from lapwing.results import tables
from lapwing.results.artefact import Artefact, Cell
from lapwing.results.beside import Beside, PublishedRow
from lapwing.results.figures.curves import draw_curve
from lapwing.results.figures.panels import (
    Cells,
    Material,
    asked,
    columns_of,
    explain,
    grid,
    in_words,
    metric_label,
    say_nothing_was_run,
    symbol,
)
from lapwing.results.figures.style import CLEAN, CORRUPT, MARKERS, colours_of, style
from lapwing.results.layout import reading_in_words
from lapwing.results.measures import Measured, measure, rows_of
from lapwing.results.published import title_of

# -- lines ---------------------------------------------------------------------------------------------


def lines(artefact: Artefact, cells: Cells, material: Material) -> Figure:
    """Draw the first reading against the last axis of the rows: a line per column ± one deviation.

    Published means stand beside ours, hollow and with bars. A panel per value of the other row axes.
    """
    frame = tables.build(
        artefact, cells, material.results, material.runs, material.published, material.scale, material.sources
    )
    *others, axis = artefact.rows
    values = frame[(frame["quantity"] == "value") & (frame["reading"] == artefact.readings[0])]
    values = values.assign(**{axis: _numbers(values[axis], artefact, axis)})
    panels = dict(iter(values.groupby(others, sort=False))) if others else {(): values}
    across = min(3, max(1, len(panels)))
    columns = columns_of(artefact, [Cell.read(cell) for cell in cells])
    with style():
        figure, places = grid(-(-len(panels) // across), across, artefact, material.scale, (3.9, 2.4))
        flat = [place for row in places for place in row]
        for (point, rows), panel in zip(panels.items(), flat, strict=False):
            title = ", ".join(map(in_words, others, point)) if len(panels) > 1 else ""
            _draw_lines(panel, rows, artefact, columns)
            label = metric_label(artefact.shown_of(Cell.read(cells[0])))
            panel.set(title=title, xlabel=f"Number of {title_of(axis)}", ylabel=label)
        for unused in flat[max(1, len(panels)) :]:
            unused.set_axis_off()
        explain(figure, flat, artefact)
    return figure


def _numbers(values: "pd.Series[float]", artefact: Artefact, axis: str) -> "pd.Series[float]":
    try:
        return values.astype(float)
    except ValueError:
        first = values.iloc[0]
        raise UserError(
            f"{artefact.title}: lines need a number as the last axis; {axis} is {first}."
        ) from None


def _draw_lines(panel: Axes, rows: pd.DataFrame, artefact: Artefact, columns: Sequence[str]) -> None:
    axis, colours = artefact.rows[-1], colours_of(columns)
    beside = 0.012 * float(np.ptp(rows[axis])) if len(rows) else 0.0
    for number, column in enumerate(columns):
        of_column = rows[rows[artefact.columns] == column].set_index(axis).sort_index()
        ours = of_column[of_column["status"] == "run"]
        colour, name = colours[column], title_of(column)
        if len(ours):
            draw_curve(panel, ours["mean"].astype(float), ours["std"].astype(float), name, colour, number)
        theirs = of_column.dropna(subset=["published_mean"])
        if len(theirs):
            places = theirs.index + beside * (1 + number)
            panel.errorbar(
                places, theirs["published_mean"], yerr=theirs["published_std"].fillna(0.0), fmt="none",
                ecolor=colour, elinewidth=0.8, capsize=2,
            )  # fmt: skip
            panel.plot(
                places, theirs["published_mean"], linestyle="none", marker=MARKERS[number % len(MARKERS)],
                markerfacecolor="white", markeredgecolor=colour, label=f"{name}, published",
            )  # fmt: skip
    panel.xaxis.set_major_locator(FixedLocator(sorted(rows[axis].unique())))
    if not panel.lines:
        say_nothing_was_run(panel)


# -- boxes ---------------------------------------------------------------------------------------------


def boxes(artefact: Artefact, cells: Cells, material: Material) -> Figure:
    """Draw the runs of each column as a box: a panel per row of the artefact, a line of panels per reading.

    Published means stand beside, with one deviation to each side.
    """
    chosen = asked(cells)
    measured = measure(artefact, chosen, material.results, material.runs, material.sources)
    published = Beside.read(artefact, material.published)
    rows = rows_of(artefact, chosen)
    with style():
        across = max(1, len(rows))
        figure, places = grid(len(artefact.readings), across, artefact, material.scale, (2.7, 2.1))
        for reading, panels in zip(artefact.readings, places, strict=True):
            for (point, row), panel in zip(rows.items(), panels, strict=False):
                _draw_boxes(panel, row, measured, published.row(row), reading)
                panel.set_xlabel(", ".join(symbol(str(value)) for value in point))
            if rows:
                metric = artefact.shown_of(chosen[0])
                _share_height(panels)
                panels[0].set_ylabel(f"{metric_label(metric)},\n{reading_in_words(reading)}")
            else:
                say_nothing_was_run(panels[0])
        _explain_published([panel for panels in places for panel in panels])
    return figure


def _draw_boxes(
    panel: Axes, row: Mapping[str, Cell], measured: Measured, published: PublishedRow, reading: str
) -> None:
    for place, column in enumerate(row):
        values = list(measured.values(row, column, reading).values())
        if values:
            panel.boxplot(
                [values], positions=[place], widths=0.5, patch_artist=True, manage_ticks=False,
                boxprops={"facecolor": "#a9c4dc", "edgecolor": CLEAN},
                medianprops={"color": "black"}, whiskerprops={"color": CLEAN}, capprops={"color": CLEAN},
                flierprops={"marker": ".", "markersize": 4, "markeredgecolor": CLEAN},
            )  # fmt: skip
        mean, std = published.printed(column, reading)
        if mean == mean:
            panel.errorbar(
                [place + 0.36], [mean], yerr=[std if std == std else 0.0], fmt="D", markersize=3.5,
                markerfacecolor="white", color=CORRUPT, elinewidth=0.9, capsize=1.5,
                label="published mean ± deviation",
            )  # fmt: skip
    panel.set_xticks(range(len(row)), [_short(column) for column in row])
    panel.set_xlim(-0.6, len(row) - 0.4)
    panel.yaxis.set_major_locator(MaxNLocator(6))
    if not panel.patches and not panel.lines:
        panel.text(0.5, 0.5, "not run", ha="center", transform=panel.transAxes, color="0.4")


def _share_height(panels: Sequence[Axes]) -> None:
    """The same limits for all, so that boxes can be compared across panels."""
    limits = [panel.get_ylim() for panel in panels if panel.patches or panel.lines]
    for panel in panels if limits else ():
        panel.set_ylim(min(low for low, _ in limits), max(high for _, high in limits))


def _short(column: str) -> str:
    """`0.50` and `0.5` alike; words as they are."""
    try:
        return f"{float(column):g}"
    except ValueError:
        return title_of(column)


def _explain_published(panels: Sequence[Axes]) -> None:
    for panel in panels:
        handles, labels = panel.get_legend_handles_labels()
        if handles:
            panel.legend(handles[:1], labels[:1], frameon=False, fontsize=7)
            return
