"""Mean ranks of several methods, and which of them do not differ (Demšar 2006, JMLR 7:1-30)."""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lapwing.results import leaderboard
from lapwing.results.artefact import Artefact
from lapwing.results.figures.panels import Cells, Material, grid, read, say_nothing_was_run
from lapwing.results.figures.style import CORRUPT, style
from lapwing.results.published import title_of
from lapwing.results.statistics import cliques, critical_difference, friedman

LINE = 0.23
"""Inches of a line of names."""


def ranks(artefact: Artefact, cells: Cells, material: Material) -> Figure:
    """Draw the mean rank of each column over the rows, a panel per value of the first row axis.

    The blocks are the rows, each ranked by its means over the seeds. Bars join columns whose mean ranks
    differ by less than Nemenyi's critical difference at 5 %.
    """
    frame, every = material.frame(artefact, cells), read(cells)
    groups = leaderboard.rank_tables(frame, artefact)
    most = max((len(means.columns) for means in groups.values()), default=2)
    with style():
        height = 1.25 + LINE * (-(-most // 2) + 2)
        figure, places = grid(len(groups), 1, artefact, material.scale, (7.0, height))
        for (group, means), (panel,) in zip(groups.items(), places, strict=False):
            found = leaderboard.ranks_of(means, artefact, every)
            _draw(panel, means, found, _title(artefact, group, means, len(found)))
        if not groups:
            say_nothing_was_run(places[0][0])
    return figure


def _title(artefact: Artefact, group: Any, means: pd.DataFrame, ranked: int) -> str:
    """Which rows, how many, and whether the ranks of the `ranked` columns differ at all."""
    named = f"{title_of(group)} {title_of(artefact.rows[0]).lower()}: " if len(artefact.rows) > 1 else ""
    if ranked < 2:
        return named.removesuffix(": ")
    chance = friedman(means)
    tested = f", Friedman test p = {chance:.2g}" if chance == chance else ""
    return f"{named}mean rank (1 = best) over n = {len(means)} rows{tested}"


def _draw(panel: Axes, means: pd.DataFrame, found: "pd.Series[float]", title: str) -> None:
    """The scale above, names at both sides, bars between, the critical difference at the top."""
    panel.set_title(title, loc="left")
    panel.set_axis_off()
    count = len(found)
    if count < 2:
        panel.text(
            0.5, 0.5, "too little was run to rank", ha="center", transform=panel.transAxes, color="0.4"
        )
        return
    difference = critical_difference(count, len(means))
    joined = cliques(found, difference)
    lines = -(-count // 2)
    panel.set(
        xlim=(1 - 0.55 * (count - 1), max(count + 0.55 * (count - 1), 1.1 + difference)),
        ylim=(-(lines + 1.6 + len(joined) * 0.45), 2.2),
    )
    _draw_scale(panel, count, difference)
    for number, clique in enumerate(joined):
        height = -0.5 - 0.45 * number
        reach = 0.012 * (count - 1)
        panel.plot(
            [found[clique[0]] - reach, found[clique[-1]] + reach], [height] * 2, color="black", linewidth=3,
            solid_capstyle="butt", label="_clique",
        )  # fmt: skip
    _draw_names(panel, found.sort_values(kind="stable"), first_line=-(0.9 + 0.45 * len(joined)))


def _draw_scale(panel: Axes, count: int, difference: float) -> None:
    panel.plot([1, count], [0, 0], color="black", linewidth=1)
    for rank in range(1, count + 1):
        panel.plot([rank, rank], [0, 0.2], color="black", linewidth=1)
        panel.text(rank, 0.3, str(rank), ha="center", va="bottom")
    end = 1 + difference
    panel.plot([1, end], [1.5, 1.5], color=CORRUPT, linewidth=1.5, marker="|", markersize=7)
    panel.text(
        (1 + end) / 2, 1.6, f"critical difference {difference:.2f}", ha="center", va="bottom", color=CORRUPT
    )


def _draw_names(panel: Axes, ordered: "pd.Series[float]", first_line: float) -> None:
    """The better half at the left, the best on top; the worse at the right, the worst on top."""
    count = len(ordered)
    left = -(-count // 2)
    for number, (column, rank) in enumerate(ordered.items()):
        is_left = number < left
        height = first_line - (number if is_left else count - 1 - number)
        edge = 1 - 0.06 * (count - 1) if is_left else count + 0.06 * (count - 1)
        panel.plot([rank, rank, edge], [0, height, height], color="0.35", linewidth=0.8)
        name = f"{title_of(column)} ({rank:.2f})"
        panel.text(
            edge,
            height,
            f"{name} " if is_left else f" {name}",
            ha="right" if is_left else "left",
            va="center",
        )
