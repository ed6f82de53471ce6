"""Figures in one style; saved whole, and the same bytes from the same numbers."""

import contextlib
import io
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch
from matplotlib.ticker import MultipleLocator

from lapwing import files
from lapwing.corruption import corruptions
from lapwing.results.artefact import Artefact, Cell
from lapwing.results.collect import of_axes
from lapwing.results.layout import METRICS, notice
from lapwing.results.published import title_of

WIDTH = 4.227
"""Inches of a column (spec lap-experiments 8)."""

COLOURS = {"lap": "#35b779", "standard": "#31688e"}
"""The published pair, apart in lightness too; other methods take the next of `OTHER_COLOURS`."""

OTHER_COLOURS = ["#cc5500", "#440154", "#b8a100", "#8c6bb1", "#7f7f7f", "#e0529c"]
DASHES = ["-", "--", ":", "-.", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 3))]
MARKERS = ["o", "X", "s", "^", "D", "v"]
CORRUPT, CLEAN = "#cc5500", "#31688e"

_METADATA: dict[str, dict[str, None]] = {
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    "svg": {"Date": None, "Creator": None},
    "png": {"Software": None},
}


@contextlib.contextmanager
def style() -> Iterator[None]:
    """The common style: white grid, dashed grey lines, serif letters, no spines at top and right."""
    settings: Any = {
        "font.family": "serif",
        "mathtext.fontset": "dejavuserif",
        "font.size": 8,
        "axes.grid": True,
        "grid.linestyle": "--",
        "grid.color": "0.8",
        "axes.axisbelow": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "text.usetex": False,
        "svg.hashsalt": "lapwing",
        "savefig.dpi": 300,
    }
    with mpl.rc_context(settings):
        yield


def save(figure: Figure, paths: Mapping[str, str | Path]) -> None:
    """Save a figure in each format (`pdf`, `png`, `svg`), whole and without a date."""
    for kind, path in paths.items():
        with files.written_aside(Path(path)) as aside, style():
            figure.savefig(aside, format=kind, metadata=_METADATA[kind])


def as_png(figure: Figure) -> bytes:
    """A figure as the bytes of a PNG, to be shown in a page."""
    held = io.BytesIO()
    with style():
        figure.savefig(held, format="png", dpi=130, metadata=_METADATA["png"])
    return held.getvalue()


def colours_of(methods: Sequence[str]) -> dict[str, str]:
    """A colour for each method."""
    others = iter(OTHER_COLOURS * (1 + len(methods) // len(OTHER_COLOURS)))
    return {method: COLOURS.get(method) or next(others) for method in methods}


# -- figure 1 ------------------------------------------------------------------------------------------

PANELS: list[tuple[str, list[float], float, list[int]]] = [
    ("Early Training", [1, 2, 3, 4, 8], 1.0, [10000, 10000, 10000, 10000, 9000]),
    ("Mid Training", [0.5, 0.6, 1, 3, 9], 0.5, [10000, 10000, 9000, 7000, 5000]),
    ("Late Training", [0.2, 0.3, 0.8, 3, 10], 0.2, [10000, 10000, 7000, 5000, 1000]),
]
"""Title, mean loss of each source, their common deviation, points of each source (spec lap-core 6.5)."""

LENIENCY = 0.5


def demonstration_losses(seed: int) -> list[pd.DataFrame]:
    """Draw the made-up losses of Figure 1: per panel the columns loss and source (1 to 5)."""
    generator = np.random.default_rng(seed)
    return [
        pd.DataFrame(
            {
                "loss": generator.normal(np.repeat(means, points), deviation),
                "source": np.repeat(np.arange(1, 6), points),
            }
        )
        for _, means, deviation, points in PANELS
    ]


def figure_1(seed: int = 0) -> Figure:
    """Draw how LAP sees five sources early, midway and late in training (spec lap-core 6.5).

    Fewer points of worse sources stand for their reduced weight. The losses are made up; the
    published figure was not seeded.
    """
    losses = demonstration_losses(seed)
    with style():
        figure = Figure(figsize=(2 * WIDTH, 2 * WIDTH / 4))
        panels = figure.subplots(1, 3)
        figure.subplots_adjust(left=0.04, right=0.99, top=0.88, bottom=0.34, wspace=0.08)
        for panel, (title, *_), drawn in zip(panels, PANELS, losses, strict=True):
            _draw_losses(panel, title, drawn)
        panels[0].set_ylabel(r"Density $\times\ 1/f(C_s)$")
        _draw_directions(panels[0], losses[0]["loss"])
        _draw_time(figure)
    return figure


def _draw_losses(panel: Axes, title: str, drawn: pd.DataFrame) -> None:
    """One panel: the losses of all sources, their mean, and the threshold beside it."""
    shown = drawn.astype({"source": str})
    sns.histplot(
        shown, x="loss", hue="source", bins=50, kde=True, multiple="stack", palette="viridis",
        linewidth=0.2, legend=title.startswith("Early"), ax=panel,
    )  # fmt: skip
    panel.set(title=title, xlabel="Loss", ylabel="", yticks=[0, 3000, 6000], yticklabels=[])
    panel.xaxis.set_major_locator(MultipleLocator(3))  # leaves the ends free: the panels stand close
    top = max(panel.get_ylim()[1], 6000) * 1.35
    panel.set_ylim(0, top)
    mean, reach = drawn["loss"].mean(), LENIENCY * drawn["loss"].std()
    for place in (mean, mean + reach):
        panel.axvline(place, color="black", linestyle="--", linewidth=0.9)
    _arrow(panel, (mean, 0.80 * top), (mean + reach, 0.80 * top))
    panel.text(mean, 0.9 * top, r"$\mu_{s'}$ ", ha="right")
    panel.text(mean + reach, 0.78 * top, r" $\lambda\sigma_{s'}$", ha="left")
    if (legend := panel.get_legend()) is not None:
        legend.set(title="Source", frame_on=False)
        sns.move_legend(panel, "center right", title="Source", frameon=False, fontsize=6, title_fontsize=7)


def _draw_directions(panel: Axes, losses: "pd.Series[float]") -> None:
    """Which way the counter goes on each side of the threshold."""
    threshold = losses.mean() + LENIENCY * losses.std()
    height = 0.92 * panel.get_ylim()[1]
    _arrow(panel, (threshold, height), (threshold + 2.5, height))
    panel.text(threshold + 2.7, height, r"$C_s \uparrow$", va="center")
    low = 0.62 * panel.get_ylim()[1]
    _arrow(panel, (threshold, low), (threshold - 4.0, low))
    panel.text(threshold - 4.2, low, r"$C_s \downarrow$", va="center", ha="right")


def _arrow(panel: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    panel.annotate("", xy=end, xytext=start, arrowprops={"arrowstyle": "->", "shrinkA": 0, "shrinkB": 0})


def _draw_time(figure: Figure) -> None:
    """The arrow of time under the panels, and what happens meanwhile."""
    across = FancyArrowPatch(
        (0.04, 0.13), (0.99, 0.13), transform=figure.transFigure, arrowstyle="->", mutation_scale=10
    )
    figure.add_artist(across)
    figure.text(0.5, 0.03, r"$C_s$ Increases for Unreliable Sources", ha="center")


# -- figures of a study ---------------------------------------------------------------------------------


def learning_curves(
    artefact: Artefact, cells: Sequence[Mapping[str, Any]], results: pd.DataFrame, scale: str
) -> Figure:
    """Draw the metric on the test split by epoch: a line per method ± one deviation, a panel per row."""
    asked = _asked(cells)
    panels = _panels(artefact, asked)
    found = dict.fromkeys(str(cell.axes[artefact.columns]) for row in panels.values() for cell in row)
    methods = sorted(found, key=lambda method: method != "lap")  # LAP is listed first, as published
    colours = colours_of(methods)
    with style():
        figure, axes = _grid(len(panels), artefact, scale)
        for (title, row), panel in zip(panels.items(), axes, strict=False):
            for cell in sorted(row, key=lambda cell: methods.index(str(cell.axes[artefact.columns]))):
                number = methods.index(str(cell.axes[artefact.columns]))
                curve = _curve(cell, results, asked)
                _draw_curve(panel, curve, title_of(methods[number]), colours[methods[number]], number)
            metric = row[0].metric.name
            unit = " (%)" if row[0].metric.unit == "percent" else ""
            panel.set(title=title, xlabel="Epoch", ylabel=f"Test {METRICS.get(metric, metric)}{unit}")
        if axes[0].lines:
            axes[0].legend(title=title_of(artefact.columns), frameon=False)
    return figure


def _draw_curve(panel: Axes, curve: pd.DataFrame, label: str, colour: str, number: int) -> None:
    if curve.empty:
        return
    mean, spread = curve.mean(axis=1), curve.std(axis=1).fillna(0.0)
    panel.plot(
        mean.index, mean, label=label, color=colour, linestyle=DASHES[number % len(DASHES)],
        marker=MARKERS[number % len(MARKERS)], markersize=5, markeredgecolor="white", markeredgewidth=0.5,
        markevery=max(1, len(mean) // 10),
    )  # fmt: skip
    panel.fill_between(mean.index, mean - spread, mean + spread, color=colour, alpha=0.2, linewidth=0)


def _curve(cell: Cell, results: pd.DataFrame, cells: Sequence[Cell]) -> pd.DataFrame:
    """A cell's metric on the test split as it is shown: a row per epoch, a column per seed."""
    rows = _of_cell(results, cell, cells)
    if rows.empty:
        return pd.DataFrame()
    test = rows[(rows["split"] == "test") & (rows["metric"] == cell.metric.name)]
    return test.pivot_table(index="epoch", columns="seed", values="value") * cell.metric.factor


def source_history(
    artefact: Artefact, cells: Sequence[Mapping[str, Any]], sources: pd.DataFrame, scale: str
) -> Figure:
    """Draw the unreliability of every source of every seed by epoch, corrupt sources marked.

    A panel per cell; cells whose method has no unreliability are left out.
    """
    asked = _asked(cells)
    histories = [_of_cell(sources, cell, asked).dropna(subset=["unreliability"]) for cell in asked]
    drawn = [(cell, history) for cell, history in zip(asked, histories, strict=True) if len(history)]
    titles = _titles([cell for cell, _ in drawn], artefact)
    with style():
        figure, axes = _grid(len(drawn), artefact, scale)
        for (cell, history), title, panel in zip(drawn, titles, axes, strict=False):
            panel.set(title=title, xlabel="Epoch", ylabel="Unreliability $C_s$")
            _draw_sources(panel, history, _corrupt_label(cell))
        _explain(axes[: len(drawn)])
    return figure


def _corrupt_label(cell: Cell) -> str:
    """What a corrupt source is called: those of original data are drawn, and supply clean samples."""
    corruption = cell.axes.get("corruption")
    is_known = corruption in corruptions.names()
    corrupts = corruptions.get(str(corruption)).corrupts if is_known else True
    return "corrupt" if corrupts else "drawn as corrupt\n(nothing is corrupted here)"


def _explain(panels: Sequence[Axes]) -> None:
    """A legend in the first panel, and in each whose lines it does not explain."""
    explained: set[str] = set()
    for panel in panels:
        labels = set(panel.get_legend_handles_labels()[1])
        if labels - explained:
            panel.legend(title="Sources", frameon=False, fontsize=6, title_fontsize=7)
            explained |= labels


def _draw_sources(panel: Axes, history: pd.DataFrame, corrupt: str) -> None:
    for is_corrupt, label, colour, dash in ((False, "clean", CLEAN, "-"), (True, corrupt, CORRUPT, "--")):
        group = history[history["is_corrupt"].astype(bool) == is_corrupt]
        if group.empty:
            continue
        by_epoch = group.pivot_table(index="epoch", columns=["seed", "source"], values="unreliability")
        lines = [np.column_stack([by_epoch.index, by_epoch[source]]) for source in by_epoch]
        thin = LineCollection(lines, colors=colour, linewidths=0.5, alpha=0.35, rasterized=True)
        panel.add_collection(thin)
        mean = by_epoch.mean(axis=1)
        panel.plot(by_epoch.index, mean, color=colour, linestyle=dash, linewidth=2, label=label)


def _of_cell(table: pd.DataFrame, cell: Cell, cells: Sequence[Cell]) -> pd.DataFrame:
    table = of_axes(table, cell.axes, cells)
    for axis, value in cell.axes.items():
        table = table[table[axis] == value] if axis in table else table.iloc[:0]
    return table


def _asked(cells: Sequence[Mapping[str, Any]]) -> list[Cell]:
    return [cell for cell in map(Cell.read, cells) if cell.seeds]


def _titles(cells: Sequence[Cell], artefact: Artefact) -> list[str]:
    """A title for each cell: every axis that changes among them, or the row where none does."""
    axes = dict.fromkeys([*artefact.rows, *(axis for cell in cells for axis in cell.axes)])
    changing = [axis for axis in axes if len({cell.axes.get(axis) for cell in cells}) > 1]
    shown = changing or artefact.rows
    return [", ".join(title_of(cell.axes[axis]) for axis in shown if axis in cell.axes) for cell in cells]


def _panels(artefact: Artefact, asked: Sequence[Cell]) -> dict[str, list[Cell]]:
    """The cells that were asked for, by row; the title of a row leaves out what never changes."""
    changing = [axis for axis in artefact.rows if len({cell.axes[axis] for cell in asked}) > 1]
    rows: dict[str, list[Cell]] = {}
    for cell in asked:
        title = ", ".join(title_of(cell.axes[axis]) for axis in changing or artefact.rows)
        rows.setdefault(title, []).append(cell)
    return rows


def _grid(panels: int, artefact: Artefact, scale: str) -> tuple[Figure, list[Axes]]:
    """A figure with one place per panel, at most four in a line; the notice is its first line."""
    number = max(1, panels)
    across = min(4, number)
    down = -(-number // across)
    figure = Figure(figsize=(2.2 * across + 0.6, 1.9 * down + 0.8), layout="constrained")
    axes = list(np.atleast_1d(figure.subplots(down, across, squeeze=False)).flat)
    for unused in axes[number:]:
        unused.set_axis_off()
    figure.suptitle(
        "\n".join(filter(None, [_wrapped(notice(scale, artefact), across), artefact.title])), fontsize=9
    )
    return figure, axes


def _wrapped(text: str, across: int) -> str:
    return "\n".join(textwrap.wrap(text, 38 * across))
