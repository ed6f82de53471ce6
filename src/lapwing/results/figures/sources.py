"""What training showed of each source: by epoch, or by step."""

from collections.abc import Sequence
from itertools import cycle
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import Colormap, to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lapwing.results.artefact import Artefact, Cell, selected
from lapwing.results.collect import at_epoch_ends
from lapwing.results.figures.panels import (
    Cells,
    grid,
    of_cell,
    read,
    say_nothing_was_run,
    symbol,
    titles,
)
from lapwing.results.figures.style import CLEAN, CORRUPT, style
from lapwing.results.measures import corrupts
from lapwing.results.published import title_of

VALUES = {"mean_loss": "Mean loss", "unreliability": "Unreliability", "multiplier": "Multiplier"}
IN_WORDS = {
    ("lap", "unreliability"): "Unreliability $C_s$",
    ("lap", "multiplier"): "Multiplier $1 - d_s$",
    ("arfl", "unreliability"): "Unreliability\n(loss of client)",
    ("arfl", "multiplier"): "Multiplier\n(relative weight)",
}
"""What a method calls its values."""
MOST_LINES = 120
"""Of so many sources and seeds each has a line; of more, a band holds nine in ten."""

MAPS = {"depression_strength": "Blues", "history_length": "Reds", "leniency": "Greens"}
"""The colours of multiplier traces, by hyperparameter (spec lap-core 6.6)."""
OTHER_MAPS = ("Purples", "Oranges", "Greys")


class Group(NamedTuple):
    """Sources that are drawn alike."""

    is_corrupt: bool
    label: str
    colour: str
    dash: str


def source_history(artefact: Artefact, cells: Cells, sources: pd.DataFrame, scale: str) -> Figure:
    """Draw the mean loss, unreliability and multiplier of every source of every seed by epoch.

    A row of three panels per cell, corrupt sources marked. Where another figure or a table stands in the
    foreground, cells whose method counts no unreliability are left out beside those that do.
    """
    chosen = selected(cells)
    ends = at_epoch_ends(sources)
    found = [(cell, of_cell(ends, cell, chosen)) for cell in chosen]
    drawn = [(cell, history) for cell, history in found if len(history)]
    counted = [(cell, history) for cell, history in drawn if history["unreliability"].notna().any()]
    if artefact.draws != "source_history" or artefact.kind == "table":
        drawn = counted or drawn
    with style():
        figure, rows = grid(len(drawn), len(VALUES), artefact, scale, (2.2, 1.7))
        named = titles([cell for cell, _ in drawn], artefact)
        for (cell, history), title, panels in zip(drawn, named, rows, strict=False):
            _draw_cell(panels, cell, history, title)
        if not drawn:
            for panel in rows[0]:
                say_nothing_was_run(panel)
        figure.align_ylabels()
    return figure


def _draw_cell(panels: Sequence[Axes], cell: Cell, history: pd.DataFrame, title: str) -> None:
    """One row: a panel for each value that the method has."""
    panels[0].set_title(title, loc="left", fontweight="bold").set_in_layout(False)  # runs over all panels
    for panel, value in zip(panels, VALUES, strict=True):
        label = IN_WORDS.get((str(cell.axes.get("method")), value), VALUES[value])
        known = history.dropna(subset=[value])
        if known.empty:
            method = title_of(cell.axes.get("method", "this method"))
            panel.text(0.5, 0.5, f"{method} has none", ha="center", transform=panel.transAxes, color="0.4")
            panel.set(xticks=[], yticks=[], ylabel=label)
            continue
        panel.set(xlabel="Epoch", ylabel=label)
        for group in _groups(cell):
            _draw_group(panel, known[known["is_corrupt"].astype(bool) == group.is_corrupt], value, group)
    _explain(panels)


def _groups(cell: Cell) -> tuple[Group, Group]:
    """Those of original data are drawn as corrupt, and supply clean samples."""
    corrupt = "corrupt" if corrupts(cell) else "drawn as corrupt (but nothing is corrupted)"
    return Group(False, "clean", CLEAN, "-"), Group(True, corrupt, CORRUPT, "--")


def _draw_group(panel: Axes, history: pd.DataFrame, value: str, group: Group) -> None:
    """A thin line for each source of each seed, or a band where they are many; a thick one for their mean."""
    if history.empty:
        return
    by_epoch = history.pivot_table(index="epoch", columns=["seed", "source"], values=value)
    if len(by_epoch.columns) > MOST_LINES:
        low, high = by_epoch.quantile(0.05, axis=1), by_epoch.quantile(0.95, axis=1)
        panel.fill_between(by_epoch.index, low, high, color=group.colour, alpha=0.25, linewidth=0)
    else:
        lines = [np.column_stack([by_epoch.index, by_epoch[source]]) for source in by_epoch]
        thin = LineCollection(
            lines, colors=group.colour, linewidths=0.5, alpha=0.4, linestyles=group.dash, rasterized=True
        )
        panel.add_collection(thin)
    mean = by_epoch.mean(axis=1)
    panel.plot(by_epoch.index, mean, color=group.colour, linestyle=group.dash, linewidth=2, label=group.label)


def _explain(panels: Sequence[Axes]) -> None:
    """A legend above the last panel of a row, where it covers nothing."""
    handles, labels = panels[0].get_legend_handles_labels()
    if not handles:
        return
    panels[-1].set_title(" ")  # keeps the height
    legend = panels[-1].legend(
        handles, labels, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=len(handles), frameon=False,
        fontsize=7, borderaxespad=0.2,
    )  # fmt: skip
    legend.set_in_layout(False)  # runs over the panels at its left


# -- by step -------------------------------------------------------------------------------------------


def multiplier_traces(artefact: Artefact, cells: Cells, sources: pd.DataFrame, scale: str) -> Figure:
    """Draw the multiplier of every source by step: a row of panels per row, a panel per column.

    Each row has the shades of one colour, the darkest for the noisiest sources (`source_levels`).
    """
    every = read(cells)
    rows: dict[str, list[Cell]] = {}
    for cell in every:
        rows.setdefault(", ".join(str(cell.axes[axis]) for axis in artefact.rows), []).append(cell)
    across = max((len(row) for row in rows.values()), default=1)
    end = sources["step"].max() if len(sources) else 0
    with style():
        figure, places = grid(len(rows), across, artefact, scale, (1.15, 1.0))
        for (name, row), panels, other in zip(rows.items(), places, cycle(OTHER_MAPS), strict=False):
            _draw_traces(panels, row, artefact, sources, every, MAPS.get(name, other))
        for number, panels in enumerate(places):
            _mark_axes(panels, is_last=number == len(places) - 1, end=float(end))
        if not every:
            say_nothing_was_run(places[0][0])
    return figure


def _draw_traces(
    panels: Sequence[Axes],
    row: Sequence[Cell],
    artefact: Artefact,
    sources: pd.DataFrame,
    cells: Sequence[Cell],
    colours: str,
) -> None:
    """A row of panels, and what its shades mean at its right end."""
    shades: dict[str, str] = {}
    for cell, panel in zip(row, panels, strict=False):
        panel.set_title(_setting(cell, artefact))
        history = of_cell(sources, cell, cells)
        history = history if history.empty else history.dropna(subset=["multiplier"])
        if history.empty:
            panel.text(0.5, 0.5, "not run", ha="center", transform=panel.transAxes, color="0.4")
            continue
        levels = _levels(history, artefact)
        shades |= _shades(levels, mpl.colormaps[colours])
        for _, trace in history.sort_values("step").groupby(["seed", "source"], sort=False):
            colour = shades[levels[int(trace["source"].iloc[0])]]
            panel.plot(trace["step"], trace["multiplier"], color=colour, linewidth=0.9, rasterized=True)
    for unused in panels[len(row) :]:
        unused.set_axis_off()
    handles = [Line2D([], [], color=colour, label=level, linewidth=2) for level, colour in shades.items()]
    if handles:
        panels[-1].legend(
            handles=handles, title="Noise", loc="center left", bbox_to_anchor=(1.02, 0.5), frameon=False,
            fontsize=7, title_fontsize=7,
        )  # fmt: skip


def _setting(cell: Cell, artefact: Artefact) -> str:
    """`δ = 0.5`: the hyperparameter that the row varies, and its value in the column."""
    value = cell.axes[artefact.columns]
    shown = f"{value:g}" if isinstance(value, int | float) else title_of(value)
    varied = str(cell.axes[artefact.rows[0]]) if artefact.rows else artefact.columns
    return f"{symbol(varied)} = {shown}"


def _levels(history: pd.DataFrame, artefact: Artefact) -> dict[int, str]:
    """How noisy each source is, in words; corrupt or clean where the artefact does not say more."""
    levels = artefact.source_levels
    if levels:
        found = sorted(history["source"].unique(), key=lambda source: levels.get(source, 0.0))
        return {source: f"{100 * levels[source]:g} %" if source in levels else "clean" for source in found}
    flags = history.groupby("source")["is_corrupt"].any().sort_values(kind="stable")
    words = ("corrupt" if flag else "clean" for flag in flags)
    return dict(zip(flags.index.tolist(), words, strict=True))


def _shades(levels: dict[int, str], colours: Colormap) -> dict[str, str]:
    """From light for the cleanest to dark for the noisiest."""
    names = list(dict.fromkeys(levels.values()))
    return {
        name: to_hex(colours(0.35 + 0.65 * rank / max(1, len(names) - 1))) for rank, name in enumerate(names)
    }


def _mark_axes(panels: Sequence[Axes], *, is_last: bool, end: float) -> None:
    """Labels at the left and below only; the ticks of the published figure."""
    step = 1000 if end >= 1000 else max(1, int(end // 100) * 100 if end >= 100 else int(end))
    for number, panel in enumerate(panels):
        panel.set(ylim=(0, 1.05), yticks=[0, 0.5, 1], xticks=[0, step])
        panel.tick_params(labelbottom=is_last, labelleft=number == 0)
        panel.set_xlabel("Step" if is_last else "")
        panel.set_ylabel("$1 - d_s$" if number == 0 else "")
