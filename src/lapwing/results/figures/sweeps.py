"""A metric along an axis of a study: lines over a number, boxes over the values of a hyperparameter."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator

from lapwing.errors import UserError
from lapwing.results.artefact import Artefact, Cell
from lapwing.results.beside import Beside, PublishedRow
from lapwing.results.figures.curves import draw_curve
from lapwing.results.figures.panels import (
    Cells,
    Material,
    columns_of,
    explain,
    grid,
    in_words,
    metric_label,
    read,
    say_at,
    say_nothing_was_run,
    symbol,
)
from lapwing.results.figures.style import CLEAN, CORRUPT, Look, looks_of, style
from lapwing.results.layout import reading_in_words
from lapwing.results.measures import Measured, measure, rows_of
from lapwing.results.published import title_of

# -- lines ---------------------------------------------------------------------------------------------


def lines(artefact: Artefact, cells: Cells, material: Material) -> Figure:
    """Draw the metric against the last axis of the rows: a line per column ± one deviation.

    Published means stand beside ours, hollow and with bars. A panel per reading and value of the other row
    axes. Cells that were not run leave a gap, and words.
    """
    *others, axis = artefact.rows
    every = read(cells)
    columns = columns_of(artefact, every)
    values = _values(artefact, cells, material, columns)
    panels = dict(iter(values.groupby([*others, "reading"], sort=False)))
    readings = len(artefact.readings)
    across = max(1, min(3, len(panels) if readings == 1 else readings))
    with style():
        figure, places = grid(-(-len(panels) // across), across, artefact, material.scale, (3.9, 2.4))
        flat = [place for row in places for place in row]
        for ((*point, reading), rows), panel in zip(panels.items(), flat, strict=False):
            _draw_lines(panel, rows, artefact, columns)
            label = metric_label(artefact.shown_of(every[0]))
            panel.set(
                title=", ".join(map(in_words, others, point)),
                xlabel=f"Number of {title_of(axis)}" if axis.startswith("n_") else symbol(axis),
                ylabel=f"{label},\n{reading_in_words(str(reading))}",
            )
        for unused in flat[max(1, len(panels)) :]:
            unused.set_axis_off()
        explain(figure, flat, artefact)
    return figure


def _values(artefact: Artefact, cells: Cells, material: Material, columns: Sequence[str]) -> pd.DataFrame:
    """The means of the columns; the last axis of the rows as numbers."""
    frame, axis = material.frame(artefact, cells), artefact.rows[-1]
    values = frame[(frame["quantity"] == "value") & frame[artefact.columns].isin(columns)]
    return values.assign(**{axis: _numbers(values[axis], artefact, axis)})


def _numbers(values: "pd.Series[float]", artefact: Artefact, axis: str) -> "pd.Series[float]":
    try:
        return values.astype(float)
    except ValueError:
        first = values.iloc[0]
        raise UserError(
            f"{artefact.title}: lines need a number as the last axis; {axis} is {first}."
        ) from None


def _draw_lines(panel: Axes, rows: pd.DataFrame, artefact: Artefact, columns: Sequence[str]) -> None:
    axis, looks = artefact.rows[-1], looks_of(columns)
    beside = 0.012 * float(np.ptp(rows[axis])) if len(rows) else 0.0
    for number, column in enumerate(columns):
        of_column = rows[rows[artefact.columns] == column].set_index(axis).sort_index()
        look, name = looks[column], title_of(column)
        if (of_column["status"] == "run").any():  # the means of the others are NaN: a gap
            mean, std = of_column["mean"].astype(float), of_column["std"].astype(float)
            draw_curve(panel, mean, std, name, look, number)
        theirs = of_column.dropna(subset=["published_mean"])
        if len(theirs):
            _draw_published(panel, theirs, beside * (1 + number), f"{name}, published", look)
    panel.xaxis.set_major_locator(FixedLocator(sorted(rows[axis].unique())))
    ran = rows["status"] == "run"
    if ran.any():
        for place in sorted(rows.loc[~ran, axis].unique()):
            there = rows[~ran & (rows[axis] == place)]
            say_at(panel, place, _what_is_missing(there, artefact, columns))
    elif len(panel.lines):
        panel.text(0.5, 0.5, "not run", ha="center", transform=panel.transAxes, color="0.4")
    else:
        say_nothing_was_run(panel)


def _draw_published(panel: Axes, theirs: pd.DataFrame, beside: float, label: str, look: Look) -> None:
    """Hollow marks with bars, a little beside ours."""
    places = theirs.index + beside
    panel.errorbar(
        places, theirs["published_mean"], yerr=theirs["published_std"].fillna(0.0), fmt="none",
        ecolor=look.colour, elinewidth=0.8, capsize=2,
    )  # fmt: skip
    panel.plot(
        places, theirs["published_mean"], linestyle="none", marker=look.marker, markerfacecolor="white",
        markeredgecolor=look.colour, label=label,
    )  # fmt: skip


def _what_is_missing(there: pd.DataFrame, artefact: Artefact, columns: Sequence[str]) -> str:
    """`not run` where it is said of all columns, else of which."""
    said = dict(zip(there[artefact.columns], there["status"], strict=True))
    if len(said) == len(columns) and len(set(said.values())) == 1:
        return str(next(iter(said.values())))
    return ", ".join(f"{title_of(column)}: {status}" for column, status in said.items())


# -- boxes ---------------------------------------------------------------------------------------------


def boxes(artefact: Artefact, cells: Cells, material: Material) -> Figure:
    """Draw the runs of each column as a box: a panel per row of the artefact, a line of panels per reading.

    Published means stand beside, with one deviation to each side.
    """
    every = read(cells)
    measured = measure(artefact, every, material.results, material.runs, material.sources)
    published = Beside.read(artefact, material.published)
    rows = rows_of(artefact, every)
    with style():
        across = max(1, len(rows))
        figure, places = grid(len(artefact.readings), across, artefact, material.scale, (2.7, 2.1))
        for reading, panels in zip(artefact.readings, places, strict=True):
            for (point, row), panel in zip(rows.items(), panels, strict=False):
                _draw_boxes(panel, row, measured, published.row(row), reading)
                panel.set_xlabel(", ".join(symbol(str(value)) for value in point))
            if rows:
                metric = artefact.shown_of(every[0])
                _share_height(panels)
                panels[0].set_ylabel(f"{metric_label(metric)},\n{reading_in_words(reading)}")
            else:
                say_nothing_was_run(panels[0])
        _explain_published([panel for panels in places for panel in panels])
    return figure


def _draw_boxes(
    panel: Axes, row: Mapping[str, Cell], measured: Measured, published: PublishedRow, reading: str
) -> None:
    values = {column: list(measured.values(row, column, reading).values()) for column in row}
    for place, column in enumerate(row):
        if values[column]:
            panel.boxplot(
                [values[column]], positions=[place], widths=0.5, patch_artist=True, manage_ticks=False,
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
    _say_what_was_not_run(panel, [place for place, column in enumerate(row) if not values[column]])
    panel.set_xticks(range(len(row)), [_short(column) for column in row])
    panel.set_xlim(-0.6, len(row) - 0.4)
    panel.yaxis.set_major_locator(MaxNLocator(6))


def _say_what_was_not_run(panel: Axes, places: Sequence[int]) -> None:
    """Once in a panel without any box, else where a box is missing."""
    if not panel.patches:
        panel.text(0.5, 0.5, "not run", ha="center", transform=panel.transAxes, color="0.4")
        return
    for place in places:
        say_at(panel, place, "not run")


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
