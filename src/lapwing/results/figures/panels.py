"""What the figures of a study share: the cells asked for, places for panels, and the words around them."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lapwing.results import tables
from lapwing.results.artefact import Artefact, Cell, Metric
from lapwing.results.collect import of_axes
from lapwing.results.excerpt import NOTHING, Excerpt
from lapwing.results.layout import UNITS, metric_in_words, notice
from lapwing.results.published import title_of

Cells = Sequence[Mapping[str, Any]]
"""As the workflow gives them: axes, metric, seeds."""

SYMBOLS = {"depression_strength": r"$\delta$", "history_length": "$H$", "leniency": r"$\lambda$"}
"""How the hyperparameters of LAP are written."""

SPLITS = {"train": "Training", "validation": "Validation", "test": "Test"}

MOST_IN_A_PANEL = 3
"""So many lines are explained inside a panel, more below all of them."""

LETTERS = 14.0
"""Of a heading, in an inch: fewer than the 14.7 to 15.5 that were measured."""
LINE = 0.17
"""Inches of a line of letters."""


@dataclass(frozen=True)
class Material:
    """What a figure is drawn from."""

    scale: str
    results: pd.DataFrame = field(default_factory=pd.DataFrame)
    """Tidy results, without the runs that diverged."""
    sources: pd.DataFrame = field(default_factory=pd.DataFrame)
    runs: pd.DataFrame = field(default_factory=pd.DataFrame)
    published: Path = Path("published")
    """The folder of the published values."""
    excerpt: Excerpt = NOTHING
    """The records, where single ones are drawn."""

    def frame(self, artefact: Artefact, cells: Cells) -> pd.DataFrame:
        """The numbers of an artefact beside the published ones, as a table has them."""
        return tables.build(
            artefact, cells, self.results, self.runs, self.published, self.scale, self.sources
        )


def read(cells: Cells) -> list[Cell]:
    """The cells of an artefact, those that were not selected too."""
    return [Cell.read(cell) for cell in cells]


def of_cell(table: pd.DataFrame, cell: Cell, cells: Sequence[Cell]) -> pd.DataFrame:
    """The rows of a cell, among those of all cells of an artefact."""
    table = of_axes(table, cell.axes, cells)
    for axis, value in cell.axes.items():
        table = table[table[axis] == value] if axis in table else table.iloc[:0]
    return table


def column_of(artefact: Artefact, cell: Cell) -> str:
    """The column in which a cell stands."""
    return str(cell.axes[artefact.columns])


def columns_of(artefact: Artefact, cells: Sequence[Cell]) -> list[str]:
    """The columns in the order of the cells; LAP is first, as in every published legend."""
    found = dict.fromkeys(column_of(artefact, cell) for cell in cells)
    return sorted(found, key=lambda column: column != "lap")


def titles(cells: Sequence[Cell], artefact: Artefact) -> list[str]:
    """A title for each cell: every axis that changes among them, or the row where none does."""
    axes = dict.fromkeys([*artefact.rows, *(axis for cell in cells for axis in cell.axes)])
    return _titles(cells, artefact, list(axes))


def row_titles(cells: Sequence[Cell], artefact: Artefact) -> list[str]:
    """The title of each cell's row, which leaves out what never changes."""
    return _titles(cells, artefact, artefact.rows)


def _titles(cells: Sequence[Cell], artefact: Artefact, axes: Sequence[str]) -> list[str]:
    changing = [axis for axis in axes if len({cell.axes.get(axis) for cell in cells}) > 1]
    shown = changing or artefact.rows
    return [
        ", ".join(in_words(axis, cell.axes[axis]) for axis in shown if axis in cell.axes) for cell in cells
    ]


def in_words(axis: str, value: Any) -> str:
    """The value of an axis; a number alone says nothing, so its axis stands before it."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return f"{symbol(axis)} = {value:g}" if is_number else title_of(value)


def symbol(axis: str) -> str:
    """A hyperparameter as it is written; another axis by its title."""
    return SYMBOLS.get(axis) or title_of(axis)


def metric_label(metric: Metric, split: str = "test") -> str:
    """What stands at the axis of a metric."""
    return f"{SPLITS[split]} {metric_in_words(metric.name)}{UNITS[metric.unit]}"


def grid(
    down: int, across: int, artefact: Artefact, scale: str, size: tuple[float, float]
) -> tuple[Figure, list[list[Axes]]]:
    """A figure with its places, row by row; the notice is its first line.

    Args:
        down: rows of panels; one is there in any case.
        across: panels in a row.
        artefact: whose title stands above.
        scale: below `paper` there is a notice.
        size: inches of one panel: across, down.
    """
    width, height = size
    inches = max(width * across + 0.6, 3.4)
    heading = _heading(artefact, scale, int(inches * LETTERS))
    figure = Figure(figsize=(inches, height * max(1, down) + 0.3 + LINE * len(heading)), layout="constrained")
    axes = figure.subplots(max(1, down), across, squeeze=False)
    figure.suptitle("\n".join(heading), fontsize=9)
    return figure, [list(row) for row in np.asarray(axes)]


def explain(figure: Figure, panels: Sequence[Axes], artefact: Artefact) -> None:
    """A legend in the first panel that has lines, or below all panels where it would cover them."""
    handles: dict[str, Artist] = {}
    for panel in panels:
        drawn, labels = panel.get_legend_handles_labels()
        handles |= {label: line for label, line in zip(labels, drawn, strict=True) if label not in handles}
    if not handles:
        return
    title, shown = title_of(artefact.columns), (list(handles.values()), list(handles))
    if len(handles) > MOST_IN_A_PANEL:
        entry = 0.6 + max(map(len, handles)) / LETTERS  # inches: the line, the gap, the letters
        across = max(1, min(len(handles), int(figure.get_figwidth() / entry)))
        lines = 1 + math.ceil(len(handles) / across)
        figure.set_figheight(figure.get_figheight() + LINE * lines)
        figure.legend(*shown, loc="outside lower center", ncols=across, title=title, frameon=False)
    else:
        first = next(panel for panel in panels if panel.get_legend_handles_labels()[1])
        first.legend(*shown, title=title, frameon=False)


def say_nothing_was_run(panel: Axes) -> None:
    """Mark a panel of which there are no runs."""
    panel.text(0.5, 0.5, "not run", ha="center", va="center", transform=panel.transAxes, color="0.4")
    panel.set(xticks=[], yticks=[])


def say_at(panel: Axes, place: float, words: str) -> None:
    """Mark a place of an axis of which there are no runs."""
    panel.text(
        place, 0.03, words, transform=panel.get_xaxis_transform(), rotation=90, ha="center", va="bottom",
        color="0.4", fontsize=7, bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5}, zorder=1,
    )  # fmt: skip


def _heading(artefact: Artefact, scale: str, width: int) -> list[str]:
    """The notice and the title, in lines that fit."""
    said = filter(None, [notice(scale, artefact), artefact.title])
    return [line for text in said for line in textwrap.wrap(text, width, break_on_hyphens=False)]
